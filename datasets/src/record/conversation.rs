//! Conversations to learn from, in the forms that data sets write them in.

use serde::Serialize;
use serde_json::Value;

use super::Record;
use super::document::{Translation, TranslationPair, is_pair};
use super::fields::{Fields, kind_of};
use super::message::{Message, messages, messages_or_turn_of};
use crate::error::RecordError;

/// A conversation with at least one assistant turn to learn from.
///
/// Accepted forms, which all become messages:
/// ```json
/// {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]}
/// {"conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello"}], "system": "Be kind."}
/// {"instruction": "Translate to German.", "input": "tower", "output": "Turm"}
/// {"prompt": "Translate to German: tower", "completion": "Turm"}
/// ```
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Conversation {
    /// The turns, in order.
    pub messages: Vec<Message>,
    /// What is translated, where the line has a `target_lang`.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub translation: Option<Translation>,
}

/// What supervised fine-tuning reads: conversations, and pairs that become a translation request and its answer.
#[derive(Debug, Clone, PartialEq)]
pub enum InstructionRecord {
    /// A line with a conversation in one of its forms.
    Conversation(Conversation),
    /// A line with `source` and `target`.
    Pair(TranslationPair),
}

impl Record for InstructionRecord {
    fn from_json(value: Value) -> Result<Self, RecordError> {
        if is_pair(&value) {
            TranslationPair::from_json(value).map(Self::Pair)
        } else {
            Conversation::from_json(value).map(Self::Conversation)
        }
    }
}

impl Record for Conversation {
    fn from_json(value: Value) -> Result<Self, RecordError> {
        let mut fields = Fields::of(value, SHAPES)?;
        let (field, messages) = if fields.has("messages") {
            ("messages", field_messages(&mut fields, "messages")?)
        } else if fields.has("conversations") {
            ("conversations", sharegpt(&mut fields)?)
        } else if fields.has("instruction") {
            ("output", alpaca(&mut fields)?)
        } else if fields.has("completion") {
            ("completion", prompt_and_completion(&mut fields)?)
        } else {
            return Err(fields.missing("messages", "a list of messages"));
        };
        check_supervised(&messages, field)?;
        Ok(Self {
            messages,
            translation: fields.translation()?,
        })
    }
}

const SHAPES: &str = r#"{"messages": [{"role", "content"}, …]}, {"conversations": [{"from", "value"}, …]}, {"instruction", "input", "output"} or {"prompt", "completion"}"#;

fn field_messages(fields: &mut Fields, name: &str) -> Result<Vec<Message>, RecordError> {
    let value = fields.require(name, "a list of messages")?;
    messages(value).map_err(|e| e.within(name))
}

fn sharegpt(fields: &mut Fields) -> Result<Vec<Message>, RecordError> {
    let mut turns: Vec<Message> = system_turn(fields)?.into_iter().collect();
    turns.extend(field_messages(fields, "conversations")?);
    Ok(turns)
}

fn alpaca(fields: &mut Fields) -> Result<Vec<Message>, RecordError> {
    let mut turns: Vec<Message> = system_turn(fields)?.into_iter().collect();
    if let Some(history) = fields.take("history") {
        turns.extend(earlier_turns(history).map_err(|e| e.within("history"))?);
    }
    let mut request = fields.text("instruction")?;
    if let Some(input) = fields
        .optional_text("input")?
        .filter(|input| !input.is_empty())
    {
        request = if request.is_empty() {
            input
        } else {
            format!("{request}\n{input}")
        };
    }
    turns.push(Message::user(request));
    turns.push(Message::assistant(fields.text("output")?));
    Ok(turns)
}

/// Alpaca's `history`: a list of `[request, answer]`.
fn earlier_turns(history: Value) -> Result<Vec<Message>, RecordError> {
    let wrong =
        |value: &Value| RecordError::line("a list of [request, answer] texts", kind_of(value));
    let rounds = history.as_array().ok_or_else(|| wrong(&history))?;
    let mut turns = Vec::new();
    for round in rounds {
        match round.as_array().map(Vec::as_slice) {
            Some([Value::String(request), Value::String(answer)]) => {
                turns.extend([Message::user(request), Message::assistant(answer)]);
            }
            _ => return Err(wrong(round)),
        }
    }
    Ok(turns)
}

fn prompt_and_completion(fields: &mut Fields) -> Result<Vec<Message>, RecordError> {
    let prompt = fields.require("prompt", "text or a list of messages")?;
    let mut turns = messages_or_turn_of("user", prompt).map_err(|e| e.within("prompt"))?;
    // The prompt is given, not learnt, even where it holds earlier assistant turns.
    for turn in turns.iter_mut().filter(|turn| turn.is_assistant()) {
        turn.train = Some(false);
    }
    let completion = fields.require("completion", "text or a list of messages")?;
    turns.extend(messages_or_turn_of("assistant", completion).map_err(|e| e.within("completion"))?);
    Ok(turns)
}

fn system_turn(fields: &mut Fields) -> Result<Option<Message>, RecordError> {
    Ok(fields
        .optional_text("system")?
        .filter(|text| !text.is_empty())
        .map(Message::system))
}

fn check_supervised(messages: &[Message], field: &str) -> Result<(), RecordError> {
    if messages.iter().any(Message::is_supervised) {
        return Ok(());
    }
    let roles: Vec<&str> = messages
        .iter()
        .map(|message| message.role.as_str())
        .collect();
    let found = if messages.iter().any(Message::is_assistant) {
        "only assistant turns with \"train\": false or \"weight\": 0".to_owned()
    } else {
        format!("the roles {}", roles.join(", "))
    };
    Err(
        RecordError::field(field, "at least one assistant turn to learn from", found).hint(
            "add the answer as {\"role\": \"assistant\", \"content\": …}, or remove the line",
        ),
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn turns(value: Value) -> Vec<(String, String)> {
        let conversation = Conversation::from_json(value).unwrap();
        conversation
            .messages
            .into_iter()
            .map(|m| (m.role, m.content))
            .collect()
    }

    fn expect(turns: &[(&str, &str)]) -> Vec<(String, String)> {
        turns
            .iter()
            .map(|(role, content)| (role.to_string(), content.to_string()))
            .collect()
    }

    #[test]
    fn every_accepted_form_becomes_the_same_messages() {
        let expected = expect(&[
            ("system", "Be kind."),
            ("user", "Hi"),
            ("assistant", "Hello"),
        ]);
        let forms = [
            json!({"messages": [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]}),
            json!({"conversations": [{"from": "system", "value": "Be kind."}, {"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello"}]}),
            json!({"conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello"}], "system": "Be kind."}),
            json!({"system": "Be kind.", "instruction": "Hi", "input": "", "output": "Hello"}),
            json!({"prompt": [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hi"}], "completion": "Hello"}),
            json!({"messages": [{"role": "system", "content": [{"type": "text", "text": "Be "}, {"type": "text", "text": "kind."}]}, {"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]}),
        ];
        for form in forms {
            assert_eq!(turns(form.clone()), expected, "{form}");
        }
    }

    #[test]
    fn alpaca_puts_the_input_under_the_instruction_and_the_history_before_it() {
        let record = json!({"instruction": "To German.", "input": "tower", "output": "Turm", "history": [["Hi", "Hello"]]});
        let expected = [
            ("user", "Hi"),
            ("assistant", "Hello"),
            ("user", "To German.\ntower"),
            ("assistant", "Turm"),
        ];
        assert_eq!(turns(record), expect(&expected));
    }

    #[test]
    fn assistant_turns_inside_a_prompt_are_not_learnt() {
        let prompt = json!([{"role": "assistant", "content": "How can I help?"}, {"role": "user", "content": "Hi"}]);
        let record =
            json!({"prompt": prompt, "completion": [{"role": "assistant", "content": "Hello"}]});
        let supervised: Vec<bool> = Conversation::from_json(record)
            .unwrap()
            .messages
            .iter()
            .map(Message::is_supervised)
            .collect();
        assert_eq!(supervised, [false, false, true]);
    }

    #[test]
    fn a_line_of_another_shape_is_told_about_messages() {
        let error = Conversation::from_json(json!({"txt": "a"})).unwrap_err();
        assert_eq!(error.field_path(), "messages");
        assert!(error.to_string().contains("only `txt`"), "{error}");
    }

    #[test]
    fn a_conversation_without_an_assistant_turn_to_learn_from_is_an_error() {
        let unanswered = json!({"messages": [{"role": "user", "content": "hi"}]});
        let error = Conversation::from_json(unanswered).unwrap_err().to_string();
        assert!(
            error.contains("assistant turn") && error.contains("the roles user"),
            "{error}"
        );
        let muted = json!({"messages": [{"role": "assistant", "content": "hi", "train": false}]});
        assert!(
            Conversation::from_json(muted)
                .unwrap_err()
                .to_string()
                .contains("\"train\": false")
        );
    }

    #[test]
    fn an_error_inside_a_message_carries_its_path() {
        let record = json!({"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": [{"type": "image"}]}]});
        assert_eq!(
            Conversation::from_json(record).unwrap_err().field_path(),
            "messages[1].content[0].type"
        );
    }

    #[test]
    fn keys_that_a_message_carries_are_kept_and_a_conversation_survives_the_round_trip() {
        let record = json!({"messages": [{"role": "assistant", "content": "hi", "train": true, "reasoning_content": "greet"}]});
        let conversation = Conversation::from_json(record.clone()).unwrap();
        assert_eq!(conversation.messages[0].extra["reasoning_content"], "greet");
        assert_eq!(serde_json::to_value(&conversation).unwrap(), record);
    }

    #[test]
    fn a_pair_in_instruction_data_is_a_pair() {
        let pair =
            json!({"source": "tower", "target": "Turm", "source_lang": "en", "target_lang": "de"});
        assert!(matches!(
            InstructionRecord::from_json(pair),
            Ok(InstructionRecord::Pair(_))
        ));
        let other = json!({"txt": "a"});
        assert_eq!(
            InstructionRecord::from_json(other)
                .unwrap_err()
                .field_path(),
            "messages"
        );
    }
}
