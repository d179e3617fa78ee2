//! Running text, and sentences with their translation.

use serde::Serialize;
use serde_json::Value;

use super::Record;
use super::fields::Fields;
use crate::error::RecordError;

/// A piece of running text: `{"text": "The old stone tower."}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Document {
    /// The text, not blank.
    pub text: String,
    /// Which part of the mixture it counts to; `monolingual` where the line does not say.
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
                return Err(RecordError::field(
                    "component",
                    expected,
                    format!("`{other}`"),
                ));
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
            TranslationPair::from_json(value).map(Self::Pair)
        } else {
            Document::from_json(value).map(Self::Document)
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
