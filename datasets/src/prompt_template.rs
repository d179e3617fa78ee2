//! How a translation is asked for: several wordings, one of which a seed chooses for each pair.
//!
//! One wording alone would tie the skill to its words. The first is Tower+'s own, verbatim from its model card; the
//! others say the same differently.

use crate::counter_rng::below;
use crate::language::Language;
use crate::record::{Component, Conversation, Document, Message, Translation, TranslationPair};

/// A wording of the request. `{source_lang}`, `{target_lang}` and `{source}` stand for the pair's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PromptTemplate(pub &'static str);

/// The wordings, Tower+'s first. Each ends where the translation begins.
pub const PROMPT_TEMPLATES: [PromptTemplate; 8] = [
    PromptTemplate(
        "Translate the following {source_lang} source text to {target_lang}:\n{source_lang}: {source}\n{target_lang}: ",
    ),
    PromptTemplate(
        "Translate the source text from {source_lang} to {target_lang}.\nSource: {source}\nTarget: ",
    ),
    PromptTemplate("Translate from {source_lang} to {target_lang}:\n{source}"),
    PromptTemplate("{source}\n\nTranslate the text above from {source_lang} into {target_lang}."),
    PromptTemplate("Please translate this {source_lang} text into {target_lang}.\n\n{source}"),
    PromptTemplate("How would you say this in {target_lang}?\n\n{source}"),
    PromptTemplate(
        "Write a {target_lang} translation of the following text. Reply with the translation only.\n{source}",
    ),
    PromptTemplate("{source_lang}: {source}\n{target_lang}:"),
];

impl PromptTemplate {
    /// The wording for the pair with this index: the same for the same seed.
    pub fn choose(seed: u64, index: u64) -> Self {
        PROMPT_TEMPLATES[below(PROMPT_TEMPLATES.len(), seed, &[index])]
    }

    /// The request for a text.
    ///
    /// ```
    /// use datasets::prompt_template::PROMPT_TEMPLATES;
    /// assert_eq!(
    ///     PROMPT_TEMPLATES[0].request("Hello world!", "en", "pt"),
    ///     "Translate the following English source text to Portuguese (Portugal):\n\
    ///      English: Hello world!\nPortuguese (Portugal): "
    /// );
    /// ```
    pub fn request(self, source: &str, source_lang: &str, target_lang: &str) -> String {
        // The source goes in last: it may hold braces of its own.
        self.0
            .replace("{source_lang}", Language::name_of(source_lang))
            .replace("{target_lang}", Language::name_of(target_lang))
            .replacen("{source}", source, 1)
    }

    /// A pair as a request of the user and the assistant's answer.
    pub fn conversation(self, pair: &TranslationPair) -> Conversation {
        let request = self.request(&pair.source, &pair.source_lang, &pair.target_lang);
        Conversation {
            messages: vec![
                Message::user(request),
                Message::assistant(pair.target.clone()),
            ],
            translation: Some(Translation {
                source: Some(pair.source.clone()),
                source_lang: Some(pair.source_lang.clone()),
                target_lang: pair.target_lang.clone(),
            }),
        }
    }

    /// A pair as running text, for continued pretraining.
    pub fn document(self, pair: &TranslationPair) -> Document {
        let request = self.request(&pair.source, &pair.source_lang, &pair.target_lang);
        let separator = match request.chars().last() {
            Some(last) if last.is_whitespace() => "",
            Some(':') => " ",
            _ => "\n",
        };
        Document {
            text: format!("{request}{separator}{}", pair.target),
            component: Component::Parallel,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> TranslationPair {
        TranslationPair {
            source: "a {target_lang} tower".into(),
            target: "ein Turm".into(),
            source_lang: "en".into(),
            target_lang: "de".into(),
        }
    }

    #[test]
    fn every_wording_holds_the_source_once_and_names_the_target_language() {
        for template in PROMPT_TEMPLATES {
            let request = template.request("a {target_lang} tower", "en", "Klingon");
            assert_eq!(
                request.matches("a {target_lang} tower").count(),
                1,
                "{request}"
            );
            assert!(request.contains("Klingon"), "{request}");
        }
    }

    #[test]
    fn a_document_is_the_request_and_the_translation_apart_from_it() {
        for template in PROMPT_TEMPLATES {
            let text = template.document(&pair()).text;
            let request = text.strip_suffix("ein Turm").unwrap();
            assert!(
                request.ends_with(char::is_whitespace) && !request.ends_with("  "),
                "{text}"
            );
        }
    }

    #[test]
    fn the_seed_chooses_the_wording_and_all_are_chosen() {
        let chosen = |seed| {
            (0..200)
                .map(|index| PromptTemplate::choose(seed, index))
                .collect::<Vec<_>>()
        };
        assert_eq!(chosen(1), chosen(1));
        assert_ne!(chosen(1), chosen(2));
        assert!(
            PROMPT_TEMPLATES
                .iter()
                .all(|template| chosen(1).contains(template))
        );
        let conversation = PROMPT_TEMPLATES[2].conversation(&pair());
        assert_eq!(
            conversation.messages[0].content,
            "Translate from English to German:\na {target_lang} tower"
        );
    }
}
