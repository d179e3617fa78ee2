//! Spanish: adjectives follow the noun; "estar" says where something is and "ser" what it is like.

use super::{NounPhrase, Sentence, by_number};
use crate::demo::language::Language;
use crate::demo::lexicon::{Gender, Number, Preposition};

pub fn noun_phrase(phrase: &NounPhrase) -> String {
    let forms = phrase.noun.in_language[Language::Spanish as usize];
    let article = article(forms.gender, phrase.number);
    let noun = forms.form(phrase.number);
    match phrase.adjective {
        Some(adjective) => {
            format!(
                "{article} {noun} {}",
                adjective.spanish.form(forms.gender, phrase.number)
            )
        }
        None => format!("{article} {noun}"),
    }
}

pub fn clause(sentence: &Sentence) -> String {
    match sentence {
        Sentence::Is { subject, adjective } => {
            let gender = subject.noun.in_language[Language::Spanish as usize].gender;
            let adjective = adjective.spanish.form(gender, subject.number);
            format!(
                "{} {} {adjective}",
                noun_phrase(subject),
                by_number(subject.number, "es", "son")
            )
        }
        Sentence::IsAt {
            subject,
            place,
            landmark,
        } => {
            let place = match place {
                Preposition::Behind => "detrás",
                Preposition::InFrontOf => "delante",
                Preposition::NextTo => "al lado",
            };
            let forms = landmark.in_language[Language::Spanish as usize];
            // "de" and "el" contract.
            let of = if forms.gender == Gender::Feminine {
                "de la"
            } else {
                "del"
            };
            let is = by_number(subject.number, "está", "están");
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
            let [singular, plural] = verb.in_language[Language::Spanish as usize];
            let verb = by_number(subject.number, singular, plural);
            format!("{} {verb} {}", noun_phrase(subject), noun_phrase(object))
        }
    }
}

fn article(gender: Gender, number: Number) -> &'static str {
    match (gender, number) {
        (Gender::Feminine, Number::Singular) => "la",
        (Gender::Feminine, Number::Plural) => "las",
        (_, Number::Singular) => "el",
        (_, Number::Plural) => "los",
    }
}
