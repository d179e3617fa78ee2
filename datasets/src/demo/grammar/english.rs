//! English: no gender, and adjectives do not agree.

use super::{NounPhrase, Sentence, by_number};
use crate::demo::language::Language;
use crate::demo::lexicon::{Number, Preposition};

pub fn noun_phrase(phrase: &NounPhrase) -> String {
    let noun = phrase.noun.in_language[Language::English as usize].form(phrase.number);
    match phrase.adjective {
        Some(adjective) => format!("the {} {noun}", adjective.english),
        None => format!("the {noun}"),
    }
}

pub fn clause(sentence: &Sentence) -> String {
    match sentence {
        Sentence::Is { subject, adjective } => {
            format!(
                "{} {} {}",
                noun_phrase(subject),
                is(subject.number),
                adjective.english
            )
        }
        Sentence::IsAt {
            subject,
            place,
            landmark,
        } => {
            let place = match place {
                Preposition::Behind => "behind",
                Preposition::InFrontOf => "in front of",
                Preposition::NextTo => "next to",
            };
            let landmark = landmark.in_language[Language::English as usize].singular;
            format!(
                "{} {} {place} the {landmark}",
                noun_phrase(subject),
                is(subject.number)
            )
        }
        Sentence::Does {
            subject,
            verb,
            object,
        } => {
            let [singular, plural] = verb.in_language[Language::English as usize];
            let verb = by_number(subject.number, singular, plural);
            format!("{} {verb} {}", noun_phrase(subject), noun_phrase(object))
        }
    }
}

fn is(number: Number) -> &'static str {
    by_number(number, "is", "are")
}
