//! Italian: adjectives follow the noun; the article depends on its gender and on its first letters, and "a" contracts with it.

use super::{NounPhrase, Sentence, by_number, starts_with_vowel};
use crate::demo::language::Language;
use crate::demo::lexicon::{Gender, NounForms, Number, Preposition};

pub fn noun_phrase(phrase: &NounPhrase) -> String {
    let forms = phrase.noun.in_language[Language::Italian as usize];
    let article = article(forms, phrase.number);
    let noun = forms.form(phrase.number);
    match phrase.adjective {
        Some(adjective) => {
            format!(
                "{article}{noun} {}",
                adjective.italian.form(forms.gender, phrase.number)
            )
        }
        None => format!("{article}{noun}"),
    }
}

pub fn clause(sentence: &Sentence) -> String {
    match sentence {
        Sentence::Is { subject, adjective } => {
            let gender = subject.noun.in_language[Language::Italian as usize].gender;
            let adjective = adjective.italian.form(gender, subject.number);
            format!(
                "{} {} {adjective}",
                noun_phrase(subject),
                is(subject.number)
            )
        }
        Sentence::IsAt {
            subject,
            place,
            landmark,
        } => {
            let forms = landmark.in_language[Language::Italian as usize];
            let noun = forms.singular;
            let place = match place {
                Preposition::Behind => format!("dietro {}{noun}", article(forms, Number::Singular)),
                Preposition::InFrontOf => format!("davanti {}{noun}", to_the(forms)),
                Preposition::NextTo => format!("accanto {}{noun}", to_the(forms)),
            };
            format!("{} {} {place}", noun_phrase(subject), is(subject.number))
        }
        Sentence::Does {
            subject,
            verb,
            object,
        } => {
            let [singular, plural] = verb.in_language[Language::Italian as usize];
            let verb = by_number(subject.number, singular, plural);
            format!("{} {verb} {}", noun_phrase(subject), noun_phrase(object))
        }
    }
}

fn is(number: Number) -> &'static str {
    by_number(number, "è", "sono")
}

/// The article with the space after it, if there is one.
fn article(noun: NounForms, number: Number) -> &'static str {
    let word = noun.form(number);
    match (noun.gender, number) {
        (Gender::Feminine, Number::Plural) => "le ",
        (_, Number::Singular) if starts_with_vowel(word) => "l'",
        (Gender::Feminine, Number::Singular) => "la ",
        (_, Number::Singular) if takes_lo(word) => "lo ",
        (_, Number::Singular) => "il ",
        (_, Number::Plural) if starts_with_vowel(word) || takes_lo(word) => "gli ",
        (_, Number::Plural) => "i ",
    }
}

/// "a" and the singular article in one word.
fn to_the(noun: NounForms) -> &'static str {
    match article(noun, Number::Singular) {
        "l'" => "all'",
        "la " => "alla ",
        "lo " => "allo ",
        _ => "al ",
    }
}

/// Whether a masculine word starts with s and another consonant, the one such start in the lexicon.
fn takes_lo(word: &str) -> bool {
    word.strip_prefix('s')
        .is_some_and(|rest| !starts_with_vowel(rest))
}
