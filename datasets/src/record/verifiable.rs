//! Prompts whose answers a program can check.

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::Record;
use super::fields::{Fields, kind_of};
use super::message::{Message, messages, messages_or_turn_of};
use crate::error::RecordError;

/// A prompt whose answer a program can check:
/// `{"prompt": "What is 6 · 7?", "verifier": "gsm8k", "ground_truth": "42"}`.
///
/// `verifier` is a name, or a list of names or of `{"name","args"}`. `args` is an object that every listed verifier
/// gets, or a list with one entry a verifier; `ground_truth` is short for `"args": {"ground_truth": …}`. Without a
/// `verifier`, the functions that a recipe names judge, and get these arguments.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct VerifiablePrompt {
    /// The turns before the answer.
    pub messages: Vec<Message>,
    /// What checks the answer; empty where the line names nothing. Only the crate `rewards` knows the names.
    #[serde(rename = "verifier", skip_serializing_if = "Vec::is_empty")]
    pub verifiers: Vec<VerifierCall>,
    /// Of a line without verifiers: what others get that judge it.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub args: Map<String, Value>,
    /// The text to translate, for metrics and tables.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// A reference translation or answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// The language to answer in, a code or a name, where the line says it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_lang: Option<String>,
    /// The row of a table that the prompt counts to: its `task`, else `source_lang-target_lang`.
    #[serde(rename = "task", skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
}

/// A verifier's name and its arguments: `{"name": "gsm8k", "args": {"ground_truth": "42"}}`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct VerifierCall {
    /// The name in the registry of `rewards`.
    pub name: String,
    /// Whatever that verifier takes; an empty object where the line gives nothing.
    pub args: Value,
}

const SHAPE: &str = r#"{"prompt": "What is 6 · 7?", "verifier": "gsm8k", "ground_truth": "42"}"#;

impl Record for VerifiablePrompt {
    fn from_json(value: Value) -> Result<Self, RecordError> {
        let mut fields = Fields::of(value, SHAPE)?;
        let messages = if fields.has("messages") {
            let value = fields.require("messages", "a list of messages")?;
            messages(value).map_err(|e| e.within("messages"))?
        } else {
            let value = fields.require("prompt", "text or a list of messages (or `messages`)")?;
            messages_or_turn_of("user", value).map_err(|e| e.within("prompt"))?
        };
        let (verifiers, args) = match fields.has("verifier") {
            true => (verifiers(&mut fields)?, Map::new()),
            false => (Vec::new(), arguments(&mut fields)?),
        };
        let source = fields.optional_text("source")?;
        let reference = fields.optional_text("reference")?;
        let source_lang = fields.optional_text("source_lang")?;
        let target_lang = fields.optional_text("target_lang")?;
        let task = fields.optional_text("task")?;
        let pair = || Some(format!("{}-{}", source_lang?, target_lang.as_ref()?));
        let group = task.or_else(pair);
        Ok(Self {
            messages,
            verifiers,
            args,
            source,
            reference,
            group,
            target_lang,
        })
    }
}

/// The arguments of a line without verifiers.
fn arguments(fields: &mut Fields) -> Result<Map<String, Value>, RecordError> {
    let ground_truth = fields.take("ground_truth");
    let mut args = match fields.take("args") {
        None => Map::new(),
        Some(Value::Object(args)) => args,
        Some(other) => {
            let error = RecordError::field("args", "an object", kind_of(&other));
            return Err(error.hint(SHAPE));
        }
    };
    if let Some(truth) = ground_truth {
        args.entry("ground_truth").or_insert(truth);
    }
    Ok(args)
}

fn verifiers(fields: &mut Fields) -> Result<Vec<VerifierCall>, RecordError> {
    let expected = "the name of a verifier, or a list of names";
    let value = fields.require("verifier", expected)?;
    let args = fields.take("args");
    let ground_truth = fields.take("ground_truth");
    let listed = match value {
        Value::Array(items) if !items.is_empty() => items,
        Value::String(_) | Value::Object(_) => vec![value],
        other => return Err(RecordError::field("verifier", expected, kind_of(&other)).hint(SHAPE)),
    };
    let args = spread(args, listed.len())?;
    let mut calls = Vec::with_capacity(listed.len());
    for (i, (item, shared)) in listed.into_iter().zip(args).enumerate() {
        let mut call =
            verifier_call(item, shared).map_err(|e| e.within(&format!("verifier[{i}]")))?;
        if let Some(truth) = &ground_truth {
            let Value::Object(map) = &mut call.args else {
                let found = kind_of(&call.args);
                return Err(RecordError::field(
                    "args",
                    "an object beside `ground_truth`",
                    found,
                ));
            };
            map.entry("ground_truth").or_insert_with(|| truth.clone());
        }
        calls.push(call);
    }
    Ok(calls)
}

fn verifier_call(item: Value, shared: Value) -> Result<VerifierCall, RecordError> {
    if let Value::String(name) = item {
        return Ok(VerifierCall { name, args: shared });
    }
    let mut fields = Fields::of(item, r#"{"name": "gsm8k", "args": {"ground_truth": "42"}}"#)?;
    let name = fields.filled_text("name")?;
    let args = fields.take("args").unwrap_or(shared);
    if let Some((key, _)) = fields.into_rest().into_iter().next() {
        let error = RecordError::field(&key, "no such key: `name` and `args` are all", "it");
        return Err(error.hint(format!(
            r#"an argument stands in `args`: {{"name": "{name}", "args": {{"{key}": …}}}}"#
        )));
    }
    Ok(VerifierCall { name, args })
}

/// One `args` for each of `count` verifiers: a list gives one each, anything else goes to all.
fn spread(args: Option<Value>, count: usize) -> Result<Vec<Value>, RecordError> {
    match args {
        None => Ok(vec![Value::Object(Map::new()); count]),
        Some(Value::Array(items)) if count > 1 => {
            if items.len() == count {
                return Ok(items);
            }
            let expected = format!("one entry a verifier, {count} in all");
            Err(RecordError::field(
                "args",
                expected,
                format!("{} entries", items.len()),
            ))
        }
        Some(args) => Ok(vec![args; count]),
    }
}

impl VerifierCall {
    /// A call with `{"ground_truth": …}` as its arguments.
    pub fn with_ground_truth(name: impl Into<String>, ground_truth: impl Into<Value>) -> Self {
        Self {
            name: name.into(),
            args: json!({ "ground_truth": ground_truth.into() }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn calls(record: Value) -> Vec<VerifierCall> {
        VerifiablePrompt::from_json(record).unwrap().verifiers
    }

    #[test]
    fn ground_truth_is_short_for_an_argument_of_that_name() {
        let short = calls(json!({"prompt": "6·7?", "verifier": "gsm8k", "ground_truth": "42"}));
        let long =
            calls(json!({"prompt": "6·7?", "verifier": "gsm8k", "args": {"ground_truth": "42"}}));
        assert_eq!(short, long);
        assert_eq!(short, [VerifierCall::with_ground_truth("gsm8k", "42")]);
    }

    #[test]
    fn several_verifiers_share_an_object_or_take_one_entry_each() {
        let shared = calls(json!({"prompt": "a", "verifier": ["x", "y"], "args": {"n": 1}}));
        assert!(shared.iter().all(|call| call.args == json!({"n": 1})));
        let each =
            calls(json!({"prompt": "a", "verifier": ["x", "y"], "args": [{"n": 1}, {"n": 2}]}));
        assert_eq!(
            each[1],
            VerifierCall {
                name: "y".into(),
                args: json!({"n": 2})
            }
        );
        let named =
            calls(json!({"prompt": "a", "verifier": [{"name": "x", "args": {"n": 1}}, "y"]}));
        assert_eq!(
            (named[0].args.clone(), named[1].args.clone()),
            (json!({"n": 1}), json!({}))
        );
    }

    #[test]
    fn the_group_is_the_task_or_the_language_pair() {
        let group = |extra: Value| {
            let mut record = json!({"prompt": "a", "verifier": "x"});
            record
                .as_object_mut()
                .unwrap()
                .extend(extra.as_object().unwrap().clone());
            VerifiablePrompt::from_json(record).unwrap().group
        };
        assert_eq!(
            group(json!({"source_lang": "en", "target_lang": "de"})),
            Some("en-de".into())
        );
        assert_eq!(
            group(json!({"task": "math", "source_lang": "en", "target_lang": "de"})),
            Some("math".into())
        );
        assert_eq!(group(json!({})), None);
    }

    #[test]
    fn errors_name_the_field() {
        let field = |record: Value| {
            VerifiablePrompt::from_json(record)
                .unwrap_err()
                .field_path()
                .to_owned()
        };
        assert_eq!(field(json!({"verifier": "x"})), "prompt");
        assert_eq!(field(json!({"prompt": "a", "args": [1]})), "args");
        assert_eq!(
            field(json!({"prompt": "a", "verifier": {"name": "x", "max": 3}})),
            "verifier[0].max"
        );
        assert_eq!(field(json!({"prompt": "a", "verifier": []})), "verifier");
        assert_eq!(
            field(json!({"prompt": "a", "verifier": ["x", 3]})),
            "verifier[1]"
        );
        assert_eq!(
            field(json!({"prompt": "a", "verifier": ["x", "y"], "args": [{}]})),
            "args"
        );
    }

    #[test]
    fn a_line_without_a_verifier_keeps_what_others_judge_it_by() {
        let record = json!({"prompt": "a", "args": {"max": 4}, "ground_truth": "42"});
        let prompt = VerifiablePrompt::from_json(record).unwrap();
        assert_eq!(prompt.verifiers, []);
        assert_eq!(
            Value::from(prompt.args.clone()),
            json!({"max": 4, "ground_truth": "42"})
        );
        let written = serde_json::to_value(&prompt).unwrap();
        assert_eq!(VerifiablePrompt::from_json(written), Ok(prompt));
    }

    #[test]
    fn a_verifiable_prompt_survives_the_round_trip() {
        let record = json!({"prompt": "a", "verifier": ["x", "y"], "args": [{"n": 1}, {}], "reference": "b", "target_lang": "de", "task": "t"});
        let prompt = VerifiablePrompt::from_json(record).unwrap();
        let written = serde_json::to_value(&prompt).unwrap();
        assert_eq!(VerifiablePrompt::from_json(written), Ok(prompt));
    }
}
