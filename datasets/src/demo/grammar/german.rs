//! German: three genders, and cases that show in the article and in the weak endings of adjectives.

use super::{NounPhrase, Sentence, by_number};
use crate::demo::language::Language;
use crate::demo::lexicon::{Gender, Number, Preposition};

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Case {
    Nominative,
    Accusative,
    /// In the singular only: nouns of this lexicon take no ending there, but would in the plural.
    Dative,
}

pub fn noun_phrase(phrase: &NounPhrase, case: Case) -> String {
    let forms = phrase.noun.in_language[Language::German as usize];
    let article = article(forms.gender, phrase.number, case);
    let noun = forms.form(phrase.number);
    match phrase.adjective {
        // After the definite article an adjective ends in -en, but in -e where the article is that of the dictionary.
        Some(adjective) => {
            let dictionary = phrase.number == Number::Singular
                && ["der", "die", "das"].contains(&article)
                && case != Case::Dative;
            let ending = if dictionary { "e" } else { "en" };
            format!("{article} {}{ending} {noun}", adjective.german)
        }
        None => format!("{article} {noun}"),
    }
}

pub fn clause(sentence: &Sentence) -> String {
    match sentence {
        Sentence::Is { subject, adjective } => {
            format!(
                "{} {} {}",
                nominative(subject),
                is(subject.number),
                adjective.german
            )
        }
        Sentence::IsAt {
            subject,
            place,
            landmark,
        } => {
            let place = match place {
                Preposition::Behind => "hinter",
                Preposition::InFrontOf => "vor",
                Preposition::NextTo => "neben",
            };
            let landmark = NounPhrase {
                noun: landmark,
                adjective: None,
                number: Number::Singular,
            };
            let landmark = noun_phrase(&landmark, Case::Dative);
            format!(
                "{} {} {place} {landmark}",
                nominative(subject),
                is(subject.number)
            )
        }
        Sentence::Does {
            subject,
            verb,
            object,
        } => {
            let [singular, plural] = verb.in_language[Language::German as usize];
            let verb = by_number(subject.number, singular, plural);
            format!(
                "{} {verb} {}",
                nominative(subject),
                noun_phrase(object, Case::Accusative)
            )
        }
    }
}

fn nominative(phrase: &NounPhrase) -> String {
    noun_phrase(phrase, Case::Nominative)
}

fn is(number: Number) -> &'static str {
    by_number(number, "ist", "sind")
}

fn article(gender: Gender, number: Number, case: Case) -> &'static str {
    match (number, gender, case) {
        (Number::Plural, _, Case::Dative) => panic!("the dative plural is not in the lexicon"),
        (Number::Plural, ..) => "die",
        (_, Gender::Feminine, Case::Dative) => "der",
        (_, _, Case::Dative) => "dem",
        (_, Gender::Feminine, _) => "die",
        (_, Gender::Neuter, _) => "das",
        (_, Gender::Masculine, Case::Accusative) => "den",
        (_, Gender::Masculine, Case::Nominative) => "der",
    }
}
