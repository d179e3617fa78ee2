//! Running text, and sentences with their translation.

use serde::Serialize;
use serde_json::Value;

use super::Record;
use super::fields::Fields;
use crate::error::RecordError;

/// A piece of running text: `{"text": "The old stone tower."}`, or, of another part of a mixture,
/// `{"text": "Translate to German: tower\nTurm", "component": "instruction"}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Document {
    /// The text, not blank.
    pub text: String,
    /// Which part of the mixture it counts to; `monolingual` where the line does not say. Losses are
    /// shown by it, and it changes nothing else: every token of the text is trained on.
    pub component: Component,
}

/// The parts of a continued-pretraining mixture (Tower+: 66 % monolingual, 33 % parallel, 1 % instructions).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Component {
    /// Text in one language.
    Monolingual,
    /// A text and its translation.
    Parallel,
    /// An instruction with its answer.
    Instruction,
}

impl Component {
    /// The name as data files write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Monolingual => "monolingual",
            Self::Parallel => "parallel",
            Self::Instruction => "instruction",
        }
    }
}

/// A text and its translation:
/// `{"source": "tower", "target": "Turm", "source_lang": "en", "target_lang": "de"}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TranslationPair {
    /// The text, not blank.
    pub source: String,
    /// Its translation, not blank.
    pub target: String,
    /// Language of `source`: a code of [`crate::language`] or a name.
    pub source_lang: String,
    /// Language of `target`.
    pub target_lang: String,
}

/// What a request to translate says of itself beside its words:
/// `{"source": "tower", "source_lang": "en", "target_lang": "de"}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Translation {
    /// The text to translate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Its language: a code of [`crate::language`] or a name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_lang: Option<String>,
    /// The language to translate to.
    pub target_lang: String,
}

/// What continued pretraining reads: documents, and pairs that are written out as documents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CorpusRecord {
    /// A line with `text`.
    Document(Document),
    /// A line with `source` and `target`.
    Pair(TranslationPair),
}

impl Record for Document {
    fn from_json(value: Value) -> Result<Self, RecordError> {
        let mut fields = Fields::of(value, r#"{"text": "The old stone tower."}"#)?;
        let text = fields.filled_text("text")?;
        let component = match fields.optional_text("component")?.as_deref() {
            None | Some("monolingual") => Component::Monolingual,
            Some("parallel") => Component::Parallel,
            Some("instruction") => Component::Instruction,
            Some(other) => {
                let expected = "`monolingual`, `parallel` or `instruction`";
                let found = format!("`{other}`");
                let hint = "the loss is shown by it: write one of these, or leave it out";
                return Err(RecordError::field("component", expected, found).hint(hint));
            }
        };
        Ok(Self { text, component })
    }

    fn component(&self) -> Option<Component> {
        Some(self.component)
    }
}

impl Record for TranslationPair {
    fn from_json(value: Value) -> Result<Self, RecordError> {
        let shape =
            r#"{"source": "tower", "target": "Turm", "source_lang": "en", "target_lang": "de"}"#;
        let mut fields = Fields::of(value, shape)?;
        Ok(Self {
            source: fields.filled_text("source")?,
            target: fields.filled_text("target")?,
            source_lang: fields.filled_text("source_lang")?,
            target_lang: fields.filled_text("target_lang")?,
        })
    }
}

impl Record for CorpusRecord {
    fn from_json(value: Value) -> Result<Self, RecordError> {
        if is_pair(&value) {
            return TranslationPair::from_json(value).map(Self::Pair);
        }
        match conversation_field(&value) {
            Some(field) => Err(RecordError::field(
                "text",
                "text, as continued pretraining reads documents",
                format!("a conversation under `{field}`"),
            )
            .hint(
                "train on conversations with --stage sft, or write each out as {\"text\": …, \
                 \"component\": \"instruction\"}",
            )),
            None => Document::from_json(value).map(Self::Document),
        }
    }

    fn component(&self) -> Option<Component> {
        match self {
            Self::Document(document) => Some(document.component),
            Self::Pair(_) => Some(Component::Parallel),
        }
    }
}

/// Whether a line is a translation pair rather than something else with a `source` of its own.
pub(super) fn is_pair(value: &Value) -> bool {
    value.get("source").is_some() && value.get("target").is_some()
}

/// The field by which a line without `text` is a conversation or an answer to a prompt.
fn conversation_field(value: &Value) -> Option<&'static str> {
    let has = |name: &&str| value.get(name).is_some_and(|value| !value.is_null());
    let fields = ["messages", "conversations", "instruction", "prompt"];
    match has(&"text") {
        true => None,
        false => fields.into_iter().find(has),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_corpus_line_is_a_document_or_a_pair() {
        let pair =
            json!({"source": "tower", "target": "Turm", "source_lang": "en", "target_lang": "de"});
        assert!(
            matches!(CorpusRecord::from_json(pair), Ok(CorpusRecord::Pair(p)) if p.target == "Turm")
        );
        let text = json!({"text": "tower", "component": "instruction", "url": 3});
        let expected = Document {
            text: "tower".into(),
            component: Component::Instruction,
        };
        assert_eq!(
            CorpusRecord::from_json(text),
            Ok(CorpusRecord::Document(expected))
        );
    }

    #[test]
    fn a_document_names_the_field_it_lacks_and_the_ones_it_has() {
        let error = Document::from_json(json!({"txt": "a", "id": 1}))
            .unwrap_err()
            .to_string();
        assert_eq!(
            error,
            "field `text`: expected text, found only `txt`, `id`\nhint: a line looks like {\"text\": \"The old stone tower.\"}"
        );
    }

    #[test]
    fn a_conversation_in_a_corpus_is_told_the_stage_for_it_and_the_form_of_a_document() {
        let turns = json!([{"role": "assistant", "content": "Hi"}]);
        for (field, record) in [
            ("messages", json!({"messages": turns})),
            ("prompt", json!({"prompt": "Hello", "completion": "Hi"})),
        ] {
            let error = CorpusRecord::from_json(record).unwrap_err();
            assert_eq!(error.field_path(), "text");
            let text = error.to_string();
            for words in [field, "--stage sft", r#""component": "instruction""#] {
                assert!(text.contains(words), "no `{words}` in {text}");
            }
        }
        let both = json!({"text": "Hello Hi", "messages": turns});
        assert!(CorpusRecord::from_json(both).is_ok());
    }

    #[test]
    fn a_blank_document_and_a_pair_without_a_language_are_errors() {
        assert!(
            Document::from_json(json!({"text": " \n"}))
                .unwrap_err()
                .to_string()
                .contains("blank")
        );
        let pair = json!({"source": "tower", "target": "Turm", "source_lang": "en"});
        assert_eq!(
            CorpusRecord::from_json(pair).unwrap_err().field_path(),
            "target_lang"
        );
    }
}
