//! Portuguese: adjectives follow the noun; "estar" says where something is and "ser" what it is like.

use super::{NounPhrase, Sentence, by_number};
use crate::demo::language::Language;
use crate::demo::lexicon::{Gender, Number, Preposition};

pub fn noun_phrase(phrase: &NounPhrase) -> String {
    let forms = phrase.noun.in_language[Language::Portuguese as usize];
    let article = article(forms.gender, phrase.number);
    let noun = forms.form(phrase.number);
    match phrase.adjective {
        Some(adjective) => {
            format!(
                "{article} {noun} {}",
                adjective.portuguese.form(forms.gender, phrase.number)
            )
        }
        None => format!("{article} {noun}"),
    }
}

pub fn clause(sentence: &Sentence) -> String {
    match sentence {
        Sentence::Is { subject, adjective } => {
            let gender = subject.noun.in_language[Language::Portuguese as usize].gender;
            let adjective = adjective.portuguese.form(gender, subject.number);
            format!(
                "{} {} {adjective}",
                noun_phrase(subject),
                by_number(subject.number, "é", "são")
            )
        }
        Sentence::IsAt {
            subject,
            place,
            landmark,
        } => {
            let place = match place {
                Preposition::Behind => "atrás",
                Preposition::InFrontOf => "à frente",
                Preposition::NextTo => "ao lado",
            };
            let forms = landmark.in_language[Language::Portuguese as usize];
            // "de" contracts with both articles.
            let of = if forms.gender == Gender::Feminine {
                "da"
            } else {
                "do"
            };
            let is = by_number(subject.number, "está", "estão");
            format!(
                "{} {is} {place} {of} {}",
                noun_phrase(subject),
                forms.singular
            )
        }
        Sentence::Does {
            subject,
            verb,
            object,
        } => {
            let [singular, plural] = verb.in_language[Language::Portuguese as usize];
            let verb = by_number(subject.number, singular, plural);
            format!("{} {verb} {}", noun_phrase(subject), noun_phrase(object))
        }
    }
}

fn article(gender: Gender, number: Number) -> &'static str {
    match (gender, number) {
        (Gender::Feminine, Number::Singular) => "a",
        (Gender::Feminine, Number::Plural) => "as",
        (_, Number::Singular) => "o",
        (_, Number::Plural) => "os",
    }
}
