//! A small grammar: noun phrases and sentences about towers, rivers and cats, with each language's articles, agreement and cases.
//!
//! A sentence is its meaning (which words, which numbers); the module of a language writes it.

mod english;
mod french;
mod german;
mod italian;
mod portuguese;
mod spanish;

use super::language::Language;
use super::lexicon::{
    ADJECTIVES, Adjective, Kind, NOUNS, Noun, Number, PREPOSITIONS, Preposition, VERBS, Verb,
};
use super::random::Random;

/// `the old towers`: always with the definite article.
#[derive(Clone, Copy, Debug)]
pub struct NounPhrase {
    pub noun: &'static Noun,
    pub adjective: Option<&'static Adjective>,
    pub number: Number,
}

/// A sentence in the present tense.
#[derive(Clone, Copy, Debug)]
pub enum Sentence {
    /// `The tower is old.` Its subject has no adjective.
    Is {
        subject: NounPhrase,
        adjective: &'static Adjective,
    },
    /// `The old tower is behind the house.`
    IsAt {
        subject: NounPhrase,
        place: Preposition,
        landmark: &'static Noun,
    },
    /// `The cat sees the old tower.`
    Does {
        subject: NounPhrase,
        verb: &'static Verb,
        object: NounPhrase,
    },
}

impl NounPhrase {
    /// A noun with an adjective, one in four in the plural.
    pub fn random(random: &mut Random) -> Self {
        let adjective = random.pick(&ADJECTIVES.each_ref());
        Self {
            adjective: Some(adjective),
            ..Self::bare(random, |_| true)
        }
    }

    /// The phrase in small letters.
    pub fn render(&self, language: Language) -> String {
        match language {
            Language::English => english::noun_phrase(self),
            Language::German => german::noun_phrase(self, german::Case::Nominative),
            Language::French => french::noun_phrase(self),
            Language::Spanish => spanish::noun_phrase(self),
            Language::Portuguese => portuguese::noun_phrase(self),
            Language::Italian => italian::noun_phrase(self),
        }
    }

    fn bare(random: &mut Random, allowed: impl Fn(Kind) -> bool) -> Self {
        let number = if random.chance(25) {
            Number::Plural
        } else {
            Number::Singular
        };
        Self {
            noun: noun(random, allowed),
            adjective: None,
            number,
        }
    }
}

impl Sentence {
    /// A sentence of at most eight words: one noun has an adjective, or the predicate is one.
    pub fn random(random: &mut Random) -> Self {
        match random.below(3) {
            0 => Self::Is {
                subject: NounPhrase::bare(random, |_| true),
                adjective: random.pick(&ADJECTIVES.each_ref()),
            },
            1 => {
                let landmark = noun(random, |kind| kind == Kind::Place);
                let subject = loop {
                    let subject = NounPhrase::bare(random, |_| true);
                    if !std::ptr::eq(subject.noun, landmark) {
                        break subject;
                    }
                };
                Self::IsAt {
                    subject,
                    place: random.pick(&PREPOSITIONS),
                    landmark,
                }
            }
            _ => Self::Does {
                subject: NounPhrase::bare(random, |kind| kind == Kind::Being),
                verb: random.pick(&VERBS.each_ref()),
                object: NounPhrase {
                    adjective: random
                        .chance(50)
                        .then(|| random.pick(&ADJECTIVES.each_ref())),
                    ..NounPhrase::bare(random, |kind| kind != Kind::Being)
                },
            },
        }
    }

    /// The sentence with its capital and its full stop.
    pub fn render(&self, language: Language) -> String {
        let clause = match language {
            Language::English => english::clause(self),
            Language::German => german::clause(self),
            Language::French => french::clause(self),
            Language::Spanish => spanish::clause(self),
            Language::Portuguese => portuguese::clause(self),
            Language::Italian => italian::clause(self),
        };
        format!("{}{}.", clause[..1].to_uppercase(), &clause[1..])
    }

    /// The noun phrases in the sentence that have an adjective.
    pub fn described(&self) -> Option<NounPhrase> {
        let phrases = match self {
            Self::Is { subject, .. } | Self::IsAt { subject, .. } => [Some(*subject), None],
            Self::Does {
                subject, object, ..
            } => [Some(*subject), Some(*object)],
        };
        phrases
            .into_iter()
            .flatten()
            .find(|phrase| phrase.adjective.is_some())
    }
}

fn noun(random: &mut Random, allowed: impl Fn(Kind) -> bool) -> &'static Noun {
    loop {
        let noun = random.pick(&NOUNS.each_ref());
        if allowed(noun.kind) {
            return noun;
        }
    }
}

/// The form of a word that has one for each number.
fn by_number<T>(number: Number, singular: T, plural: T) -> T {
    match number {
        Number::Singular => singular,
        Number::Plural => plural,
    }
}

fn starts_with_vowel(word: &str) -> bool {
    word.starts_with(['a', 'e', 'i', 'o', 'u', 'é', 'á'])
}

#[cfg(test)]
mod tests;
