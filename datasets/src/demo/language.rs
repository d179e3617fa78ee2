//! The languages of the demo corpus.

/// A language that every content of the corpus can be written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Language {
    /// American English: `March 3`, `2:30 PM`, `€3.50`, `kilometers`.
    English,
    /// German of Germany: `3,50 €`, `3. März`.
    German,
    /// French of France, with the spelling from before 1990: `vingt et un`.
    French,
    /// Spanish of Spain: `3,50 €`.
    Spanish,
    /// Portuguese of Portugal: `dezasseis`, `quilómetro`.
    Portuguese,
    /// Italian of Italy: `ventuno`.
    Italian,
}

impl Language {
    /// Every language, in the order of the columns of the lexicon's tables.
    pub const ALL: [Self; 6] = [
        Self::English,
        Self::German,
        Self::French,
        Self::Spanish,
        Self::Portuguese,
        Self::Italian,
    ];

    /// The ISO 639-1 code, as in `source_lang`.
    pub fn code(self) -> &'static str {
        ["en", "de", "fr", "es", "pt", "it"][self as usize]
    }

    /// The English name, as in `Translate to German:`.
    pub fn name(self) -> &'static str {
        [
            "English",
            "German",
            "French",
            "Spanish",
            "Portuguese",
            "Italian",
        ][self as usize]
    }
}
