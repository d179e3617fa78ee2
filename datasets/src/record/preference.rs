//! Two answers to one prompt, one of them preferred.

use serde::Serialize;
use serde_json::Value;

use super::Record;
use super::document::Translation;
use super::fields::Fields;
use super::message::{Message, messages_or_turn_of};
use crate::error::RecordError;

/// Two answers to one prompt:
/// `{"prompt": "Translate to German: tower", "chosen": "Turm", "rejected": "Tor"}`.
///
/// A string prompt is a user turn, string answers are assistant turns. Where `chosen` and `rejected` are whole
/// conversations, the turns that they share are the prompt.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PreferencePair {
    /// The turns before the answers, none of them supervised.
    pub prompt: Vec<Message>,
    /// The preferred answer: messages with at least one assistant turn.
    pub chosen: Vec<Message>,
    /// The other answer.
    pub rejected: Vec<Message>,
    /// What is translated, where the line has a `target_lang`.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub translation: Option<Translation>,
}

const SHAPE: &str =
    r#"{"prompt": "Translate to German: tower", "chosen": "Turm", "rejected": "Tor"}"#;

impl Record for PreferencePair {
    fn from_json(value: Value) -> Result<Self, RecordError> {
        let mut fields = Fields::of(value, SHAPE)?;
        let prompt = match fields.take("prompt") {
            Some(prompt) => {
                Some(messages_or_turn_of("user", prompt).map_err(|e| e.within("prompt"))?)
            }
            None => None,
        };
        let mut chosen = answer(&mut fields, "chosen")?;
        let mut rejected = answer(&mut fields, "rejected")?;
        let prompt = match prompt {
            Some(prompt) => {
                without_prompt(&prompt, &mut chosen);
                without_prompt(&prompt, &mut rejected);
                prompt
            }
            None => shared_prompt(&fields, &mut chosen, &mut rejected)?,
        };
        check_answer("chosen", &chosen)?;
        check_answer("rejected", &rejected)?;
        Ok(Self {
            prompt,
            chosen,
            rejected,
            translation: fields.translation()?,
        })
    }
}

fn answer(fields: &mut Fields, name: &str) -> Result<Vec<Message>, RecordError> {
    let value = fields.require(name, "an answer: text or a list of messages")?;
    messages_or_turn_of("assistant", value).map_err(|e| e.within(name))
}

/// Some data sets repeat the prompt at the head of each answer (UltraFeedback does).
pub(super) fn without_prompt(prompt: &[Message], answer: &mut Vec<Message>) {
    if answer.starts_with(prompt) {
        answer.drain(..prompt.len());
    }
}

fn shared_prompt(
    fields: &Fields,
    chosen: &mut Vec<Message>,
    rejected: &mut Vec<Message>,
) -> Result<Vec<Message>, RecordError> {
    let equal = chosen
        .iter()
        .zip(rejected.iter())
        .take_while(|(c, r)| c == r)
        .count();
    // Equal answers share their last turn as well, which is not a part of the prompt.
    let shared = equal.min(chosen.len() - 1).min(rejected.len() - 1);
    if shared == 0 {
        return Err(fields.missing("prompt", "text or a list of messages"));
    }
    rejected.drain(..shared);
    Ok(chosen.drain(..shared).collect())
}

pub(super) fn check_answer(name: &str, answer: &[Message]) -> Result<(), RecordError> {
    if answer.iter().any(Message::is_supervised) {
        return Ok(());
    }
    let roles: Vec<&str> = answer.iter().map(|message| message.role.as_str()).collect();
    Err(RecordError::field(
        name,
        "at least one assistant turn",
        format!("the roles [{}]", roles.join(", ")),
    )
    .hint(format!(
        "`{name}` holds the answer alone: a string, or messages of role `assistant`"
    )))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn expected() -> PreferencePair {
        PreferencePair {
            prompt: vec![Message::user("tower")],
            chosen: vec![Message::assistant("Turm")],
            rejected: vec![Message::assistant("Tor")],
            translation: None,
        }
    }

    #[test]
    fn strings_messages_and_whole_conversations_are_the_same_pair() {
        let user = json!({"role": "user", "content": "tower"});
        let turm = json!({"role": "assistant", "content": "Turm"});
        let tor = json!({"role": "assistant", "content": "Tor"});
        for record in [
            json!({"prompt": "tower", "chosen": "Turm", "rejected": "Tor"}),
            json!({"prompt": [user], "chosen": [turm], "rejected": [tor]}),
            json!({"prompt": [user], "chosen": turm, "rejected": tor}),
            json!({"prompt": "tower", "chosen": [user, turm], "rejected": [user, tor]}),
            json!({"chosen": [user, turm], "rejected": [user, tor]}),
        ] {
            assert_eq!(
                PreferencePair::from_json(record.clone()),
                Ok(expected()),
                "{record}"
            );
        }
    }

    #[test]
    fn a_target_language_makes_a_source_a_text_to_translate() {
        let mut record =
            json!({"prompt": "tower", "chosen": "Turm", "rejected": "Tor", "source": "ultrachat"});
        let pair = PreferencePair::from_json(record.clone()).unwrap();
        assert_eq!(pair, expected(), "it is where the data set is from");
        record["source"] = "tower".into();
        record["target_lang"] = "de".into();
        let pair = PreferencePair::from_json(record).unwrap();
        let translation = Translation {
            source: Some("tower".into()),
            source_lang: None,
            target_lang: "de".into(),
        };
        assert_eq!(pair.translation, Some(translation));
    }

    #[test]
    fn a_pair_without_rejected_names_it() {
        let error = PreferencePair::from_json(json!({"prompt": "a", "chosen": "b"})).unwrap_err();
        assert_eq!(error.field_path(), "rejected");
    }

    #[test]
    fn a_pair_without_any_prompt_names_it() {
        let error = PreferencePair::from_json(json!({"chosen": "a", "rejected": "b"})).unwrap_err();
        assert_eq!(error.field_path(), "prompt");
    }

    #[test]
    fn an_answer_that_is_a_user_turn_is_an_error() {
        let record =
            json!({"prompt": "a", "chosen": [{"role": "user", "content": "b"}], "rejected": "c"});
        let error = PreferencePair::from_json(record).unwrap_err();
        assert!(
            error.field_path() == "chosen" && error.to_string().contains("assistant"),
            "{error}"
        );
    }
}
