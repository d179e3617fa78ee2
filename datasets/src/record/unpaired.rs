//! One answer to a prompt, and whether it is a good one.

use serde::Serialize;
use serde_json::Value;

use super::Record;
use super::document::Translation;
use super::fields::{Fields, kind_of};
use super::message::{Message, messages_or_turn_of};
use super::preference::{PreferencePair, check_answer, without_prompt};
use crate::error::RecordError;

/// One answer with a verdict, TRL's unpaired preference:
/// `{"prompt": "Translate to German: tower", "completion": "Turm", "label": true}`.
///
/// A string prompt is a user turn, a string completion an assistant turn.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct UnpairedPreference {
    /// The turns before the answer, none of them supervised.
    pub prompt: Vec<Message>,
    /// The answer: messages with at least one assistant turn.
    pub completion: Vec<Message>,
    /// Whether it is one to learn (desirable) or one to unlearn.
    pub label: bool,
    /// What is translated, where the line has a `target_lang`.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub translation: Option<Translation>,
}

/// A line of preference data: two answers, or one with a verdict.
#[derive(Debug, Clone, PartialEq)]
pub enum PreferenceRecord {
    /// A line with `chosen` and `rejected`.
    Pair(PreferencePair),
    /// A line with `completion` and `label`.
    Unpaired(UnpairedPreference),
}

const SHAPE: &str =
    r#"{"prompt": "Translate to German: tower", "completion": "Turm", "label": true}"#;

impl Record for UnpairedPreference {
    fn from_json(value: Value) -> Result<Self, RecordError> {
        let mut fields = Fields::of(value, SHAPE)?;
        let prompt = fields.require("prompt", "text or a list of messages")?;
        let prompt = messages_or_turn_of("user", prompt).map_err(|e| e.within("prompt"))?;
        let completion = fields.require("completion", "an answer: text or a list of messages")?;
        let mut completion =
            messages_or_turn_of("assistant", completion).map_err(|e| e.within("completion"))?;
        without_prompt(&prompt, &mut completion);
        check_answer("completion", &completion)?;
        let expected = "true for an answer to learn, false for one to unlearn";
        let label = match fields.require("label", expected)? {
            Value::Bool(label) => label,
            other => {
                let found = match &other {
                    Value::Number(number) => format!("the number {number}"),
                    other => kind_of(other).to_owned(),
                };
                let hint = "write `\"label\": true` or `\"label\": false`, without quotes";
                return Err(RecordError::field("label", expected, found).hint(hint));
            }
        };
        Ok(Self {
            prompt,
            completion,
            label,
            translation: fields.translation()?,
        })
    }
}

impl Record for PreferenceRecord {
    fn from_json(value: Value) -> Result<Self, RecordError> {
        let has = |name: &str| value.get(name).is_some_and(|value| !value.is_null());
        let is_pair = has("chosen") || has("rejected");
        if !is_pair && (has("completion") || has("label")) {
            UnpairedPreference::from_json(value).map(Self::Unpaired)
        } else {
            PreferencePair::from_json(value).map(Self::Pair)
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn strings_messages_and_whole_conversations_are_the_same_answer() {
        let user = json!({"role": "user", "content": "tower"});
        let turm = json!({"role": "assistant", "content": "Turm"});
        let expected = UnpairedPreference {
            prompt: vec![Message::user("tower")],
            completion: vec![Message::assistant("Turm")],
            label: false,
            translation: None,
        };
        for record in [
            json!({"prompt": "tower", "completion": "Turm", "label": false}),
            json!({"prompt": [user], "completion": [turm], "label": false}),
            json!({"prompt": "tower", "completion": [user, turm], "label": false, "score": 0.1}),
        ] {
            let read = PreferenceRecord::from_json(record.clone());
            let want = PreferenceRecord::Unpaired(expected.clone());
            assert_eq!(read, Ok(want), "{record}");
        }
    }

    #[test]
    fn a_label_that_is_none_says_what_to_write() {
        for (label, found) in [(json!(1), "the number 1"), (json!("true"), "a string")] {
            let record = json!({"prompt": "a", "completion": "b", "label": label});
            let error = PreferenceRecord::from_json(record).unwrap_err();
            assert_eq!(error.field_path(), "label");
            let message = error.to_string();
            assert!(
                message.contains(found) && message.contains("\"label\": true"),
                "{message}"
            );
        }
        let record = json!({"prompt": "a", "completion": "b"});
        let error = PreferenceRecord::from_json(record).unwrap_err();
        assert_eq!(error.field_path(), "label");
    }

    #[test]
    fn what_a_line_lacks_is_named_by_what_it_has() {
        for (record, lacks) in [
            (json!({"prompt": "a", "label": true}), "completion"),
            (json!({"completion": "a", "label": true}), "prompt"),
            // A column that a data set of pairs happens to have.
            (
                json!({"prompt": "a", "chosen": "b", "label": true}),
                "rejected",
            ),
            (json!({"prompt": "a"}), "chosen"),
        ] {
            let error = PreferenceRecord::from_json(record.clone()).unwrap_err();
            assert_eq!(error.field_path(), lacks, "{record}");
        }
    }

    #[test]
    fn a_completion_that_is_a_user_turn_is_an_error() {
        let turn = json!([{"role": "user", "content": "b"}]);
        let record = json!({"prompt": "a", "completion": turn, "label": true});
        let error = PreferenceRecord::from_json(record).unwrap_err();
        assert_eq!(error.field_path(), "completion");
    }
}
