//! What `trainer generate` and `trainer score` read.

use serde_json::Value;

use super::Record;
use super::fields::Fields;
use super::message::{Message, messages};
use crate::error::RecordError;

/// Something to continue or to answer: `{"prompt": "tower"}` or `{"messages": [{"role": "user", "content": "Hi"}]}`.
#[derive(Debug, Clone, PartialEq)]
pub enum PromptRecord {
    /// A string: one user turn, or running text where the chat template is left out.
    Text(String),
    /// The turns before the answer.
    Messages(Vec<Message>),
}

/// Something to score: `{"text": "tower"}`, which may be empty, or `{"messages": […]}`.
#[derive(Debug, Clone, PartialEq)]
pub enum ScoreRecord {
    /// Running text.
    Text(String),
    /// A conversation under the chat template.
    Messages(Vec<Message>),
}

impl Record for PromptRecord {
    fn from_json(value: Value) -> Result<Self, RecordError> {
        let shape =
            r#"{"prompt": "Hello"} or {"messages": [{"role": "user", "content": "Hello"}]}"#;
        let mut fields = Fields::of(value, shape)?;
        let name = if fields.has("messages") {
            "messages"
        } else {
            "prompt"
        };
        match fields.require(name, "text, or a list of messages under `messages`")? {
            Value::String(text) if name == "prompt" => Ok(Self::Text(text)),
            value => messages(value)
                .map(Self::Messages)
                .map_err(|e| e.within(name)),
        }
    }
}

impl Record for ScoreRecord {
    fn from_json(value: Value) -> Result<Self, RecordError> {
        let shape = r#"{"text": "Hello"} or {"messages": [{"role": "user", "content": "Hello"}]}"#;
        let mut fields = Fields::of(value, shape)?;
        if fields.has("messages") && !fields.has("text") {
            let value = fields.require("messages", "a list of messages")?;
            return messages(value)
                .map(Self::Messages)
                .map_err(|e| e.within("messages"));
        }
        fields.text("text").map(Self::Text)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_prompt_is_text_or_messages() {
        let turns = json!([{"role": "user", "content": "Hi"}]);
        let messages = PromptRecord::Messages(vec![Message::user("Hi")]);
        assert_eq!(
            PromptRecord::from_json(json!({"prompt": "Hi"})),
            Ok(PromptRecord::Text("Hi".into()))
        );
        assert_eq!(
            PromptRecord::from_json(json!({"prompt": turns})),
            Ok(messages.clone())
        );
        assert_eq!(
            PromptRecord::from_json(json!({"messages": turns})),
            Ok(messages)
        );
        assert_eq!(
            PromptRecord::from_json(json!({"text": "Hi"}))
                .unwrap_err()
                .field_path(),
            "prompt"
        );
        assert_eq!(
            PromptRecord::from_json(json!({"messages": "Hi"}))
                .unwrap_err()
                .field_path(),
            "messages"
        );
    }

    #[test]
    fn text_to_score_may_be_empty_but_not_missing() {
        assert_eq!(
            ScoreRecord::from_json(json!({"text": ""})),
            Ok(ScoreRecord::Text(String::new()))
        );
        assert_eq!(
            ScoreRecord::from_json(json!({"txt": ""}))
                .unwrap_err()
                .field_path(),
            "text"
        );
    }
}
