//! Languages by code and by the English name that prompts use.

/// A language or a variety of one: `{code: "pt-BR", name: "Portuguese (Brazilian)"}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Language {
    /// ISO 639-1 code, with a region or script where varieties are told apart.
    pub code: &'static str,
    /// English name, as in Tower+'s prompts.
    pub name: &'static str,
}

impl Language {
    /// Finds a language by its code or English name; case and `_` for `-` do not matter, an unknown region falls back to
    /// the language (`de-AT` is German).
    ///
    /// ```
    /// use datasets::language::Language;
    /// assert_eq!(Language::find("pt_br").unwrap().name, "Portuguese (Brazilian)");
    /// assert_eq!(Language::find("German").unwrap().code, "de");
    /// assert_eq!(Language::find("de-AT").unwrap().code, "de");
    /// assert!(Language::find("Klingon").is_none());
    /// ```
    pub fn find(tag: &str) -> Option<&'static Language> {
        let tag = tag.trim().replace('_', "-");
        let matches = |known: &str| known.eq_ignore_ascii_case(&tag);
        let named = LANGUAGES
            .iter()
            .find(|language| matches(language.code) || matches(language.name));
        let alias = || {
            ALIASES
                .iter()
                .find(|(alias, _)| matches(alias))
                .and_then(|(_, code)| Self::find(code))
        };
        let parent = || {
            tag.split_once('-')
                .and_then(|(language, _)| Self::find(language))
        };
        named.or_else(alias).or_else(parent)
    }

    /// The English name for a code or name; what is not in the table stands for itself.
    pub fn name_of(tag: &str) -> &str {
        Self::find(tag).map_or(tag, |language| language.name)
    }
}

/// The languages of Tower+ (its model card lists them with these names), then further ones of WMT24++.
pub const LANGUAGES: [Language; 58] = [
    language("de", "German"),
    language("es", "Spanish"),
    language("es-419", "Spanish (Latin America)"),
    language("fr", "French"),
    language("it", "Italian"),
    language("ko", "Korean"),
    language("nl", "Dutch"),
    language("ru", "Russian"),
    language("en", "English"),
    language("pt", "Portuguese (Portugal)"),
    language("pt-BR", "Portuguese (Brazilian)"),
    language("zh", "Chinese (Simplified)"),
    language("zh-Hant", "Chinese (Traditional)"),
    language("cs", "Czech"),
    language("uk", "Ukrainian"),
    language("hi", "Hindi"),
    language("is", "Icelandic"),
    language("ja", "Japanese"),
    language("pl", "Polish"),
    language("sv", "Swedish"),
    language("hu", "Hungarian"),
    language("ro", "Romanian"),
    language("da", "Danish"),
    language("nn", "Norwegian (Nynorsk)"),
    language("nb", "Norwegian (Bokmål)"),
    language("fi", "Finnish"),
    language("ar", "Arabic"),
    language("bg", "Bulgarian"),
    language("bn", "Bengali"),
    language("ca", "Catalan"),
    language("el", "Greek"),
    language("et", "Estonian"),
    language("fa", "Persian"),
    language("fil", "Filipino"),
    language("gl", "Galician"),
    language("gu", "Gujarati"),
    language("he", "Hebrew"),
    language("hr", "Croatian"),
    language("id", "Indonesian"),
    language("kn", "Kannada"),
    language("lt", "Lithuanian"),
    language("lv", "Latvian"),
    language("ml", "Malayalam"),
    language("mr", "Marathi"),
    language("pa", "Punjabi"),
    language("sk", "Slovak"),
    language("sl", "Slovenian"),
    language("sr", "Serbian"),
    language("sw", "Swahili"),
    language("ta", "Tamil"),
    language("te", "Telugu"),
    language("th", "Thai"),
    language("tr", "Turkish"),
    language("ur", "Urdu"),
    language("vi", "Vietnamese"),
    language("zu", "Zulu"),
    language("eu", "Basque"),
    language("ga", "Irish"),
];

/// Other spellings that data sets use.
const ALIASES: [(&str, &str); 16] = [
    ("no", "nb"),
    ("Norwegian", "nb"),
    ("Norwegian (Bokmal)", "nb"),
    ("Chinese", "zh"),
    ("zh-Hans", "zh"),
    ("zh-CN", "zh"),
    ("zh-TW", "zh-Hant"),
    ("zh-HK", "zh-Hant"),
    ("Portuguese", "pt"),
    ("Portuguese (Brazil)", "pt-BR"),
    ("Brazilian Portuguese", "pt-BR"),
    ("Spanish (Spain)", "es"),
    ("es-MX", "es-419"),
    ("es-LA", "es-419"),
    ("iw", "he"),
    ("Farsi", "fa"),
];

const fn language(code: &'static str, name: &'static str) -> Language {
    Language { code, name }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_and_names_are_unique_and_every_alias_leads_to_a_language() {
        for (i, language) in LANGUAGES.iter().enumerate() {
            assert_eq!(Language::find(language.code), Some(language));
            assert_eq!(Language::find(language.name), Some(language));
            assert!(
                LANGUAGES[i + 1..]
                    .iter()
                    .all(|other| other.code != language.code && other.name != language.name)
            );
        }
        assert!(
            ALIASES
                .iter()
                .all(|(alias, code)| Language::find(alias) == Language::find(code))
        );
    }

    #[test]
    fn a_variety_is_kept_apart_and_an_unknown_one_is_its_language() {
        assert_eq!(Language::name_of("zh_TW"), "Chinese (Traditional)");
        assert_eq!(Language::name_of("zh-SG"), "Chinese (Simplified)");
        assert_eq!(Language::name_of("pt-PT"), "Portuguese (Portugal)");
        assert_eq!(Language::name_of("tlh"), "tlh");
    }
}
