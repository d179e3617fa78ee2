//! One turn of a conversation.

use serde::Serialize;
use serde_json::{Map, Value};

use super::fields::{Fields, kind_of, text_of};
use crate::error::RecordError;

/// One turn of a conversation: `{"role": "user", "content": "Translate to German: tower"}`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Message {
    /// Who speaks: `system`, `user`, `assistant`, or a role that the chat template knows.
    pub role: String,
    /// What is said. A list of `{"type":"text","text"}` parts is joined while parsing.
    pub content: String,
    /// `false` leaves an assistant turn unsupervised. The chat template does not see this key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub train: Option<bool>,
    /// Further keys, handed to the chat template as they are (`reasoning_content`, `name`, …).
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

impl Message {
    /// A message without further keys.
    pub fn new(role: impl Into<String>, content: impl Into<String>) -> Self {
        Self {
            role: role.into(),
            content: content.into(),
            train: None,
            extra: Map::new(),
        }
    }

    /// A turn of the system.
    pub fn system(content: impl Into<String>) -> Self {
        Self::new("system", content)
    }

    /// A turn of the user.
    pub fn user(content: impl Into<String>) -> Self {
        Self::new("user", content)
    }

    /// A turn of the assistant.
    pub fn assistant(content: impl Into<String>) -> Self {
        Self::new("assistant", content)
    }

    /// Whether the assistant speaks.
    pub fn is_assistant(&self) -> bool {
        self.role == "assistant"
    }

    /// Whether the turn is one to learn from: the assistant's, and not marked `"train": false`.
    pub fn is_supervised(&self) -> bool {
        self.is_assistant() && self.train != Some(false)
    }
}

const SHAPE: &str = r#"{"role": "user", "content": "Hello"}"#;

/// Parses `{"role","content"}`, or ShareGPT's `{"from","value"}`.
pub(super) fn message(value: Value) -> Result<Message, RecordError> {
    let mut fields = Fields::of(value, SHAPE)?;
    let (role_key, content_key) = if !fields.has("role") && fields.has("from") {
        ("from", "value")
    } else {
        ("role", "content")
    };
    let role = fields.filled_text(role_key)?;
    let role = if role_key == "from" {
        sharegpt_role(role)
    } else {
        role
    };
    let content = fields.require(content_key, "text")?;
    let content = content_text(content).map_err(|e| e.within(content_key))?;
    let train = match fields.take("train") {
        None => None,
        Some(Value::Bool(train)) => Some(train),
        Some(other) => {
            return Err(RecordError::field(
                "train",
                "true or false",
                kind_of(&other),
            ));
        }
    };
    Ok(Message {
        role,
        content,
        train,
        extra: fields.into_rest(),
    })
}

/// Parses a list of messages that is not empty.
pub(super) fn messages(value: Value) -> Result<Vec<Message>, RecordError> {
    let hint = r#"messages look like [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]"#;
    let expected = "a list of messages, not empty";
    let Value::Array(items) = value else {
        return Err(RecordError::line(expected, kind_of(&value)).hint(hint));
    };
    if items.is_empty() {
        return Err(RecordError::line(expected, "an empty list").hint(hint));
    }
    items
        .into_iter()
        .enumerate()
        .map(|(i, item)| message(item).map_err(|e| e.within(&format!("[{i}]"))))
        .collect()
}

/// A list of messages, one message, or a string, which becomes one turn of `role`.
pub(super) fn messages_or_turn_of(role: &str, value: Value) -> Result<Vec<Message>, RecordError> {
    match value {
        Value::String(content) => Ok(vec![Message::new(role, content)]),
        Value::Object(_) => Ok(vec![message(value)?]),
        Value::Array(_) => messages(value),
        other => Err(RecordError::line(
            "text or a list of messages",
            kind_of(&other),
        )),
    }
}

/// Text, or a list of text parts, joined.
fn content_text(value: Value) -> Result<String, RecordError> {
    let Value::Array(parts) = value else {
        return text_of(value);
    };
    let mut content = String::new();
    for (i, part) in parts.into_iter().enumerate() {
        content.push_str(&part_text(part).map_err(|e| e.within(&format!("[{i}]")))?);
    }
    Ok(content)
}

fn part_text(part: Value) -> Result<String, RecordError> {
    if part.is_string() {
        return text_of(part);
    }
    let mut fields = Fields::of(part, r#"{"type": "text", "text": "Hello"}"#)?;
    match fields.optional_text("type")?.as_deref() {
        None | Some("text") => fields.text("text"),
        Some(other) => Err(RecordError::field("type", "`text`", format!("`{other}`"))
            .hint("only text can be trained on; remove images, sound and tool parts")),
    }
}

/// ShareGPT's speakers under Hugging Face's names.
fn sharegpt_role(speaker: String) -> String {
    match speaker.as_str() {
        "human" => "user".into(),
        "gpt" | "chatgpt" | "model" | "bot" => "assistant".into(),
        "observation" | "function" => "tool".into(),
        _ => speaker,
    }
}
