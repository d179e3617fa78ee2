//! French: some adjectives stand before the noun, articles elide before vowels, and "de" contracts with them.

use super::{NounPhrase, Sentence, by_number, starts_with_vowel};
use crate::demo::language::Language;
use crate::demo::lexicon::{Adjective, Gender, NounForms, Number, Preposition};

pub fn noun_phrase(phrase: &NounPhrase) -> String {
    let forms = phrase.noun.in_language[Language::French as usize];
    let noun = described(forms, phrase.adjective, phrase.number);
    format!("{}{noun}", article(forms.gender, phrase.number, &noun))
}

pub fn clause(sentence: &Sentence) -> String {
    match sentence {
        Sentence::Is { subject, adjective } => {
            let gender = subject.noun.in_language[Language::French as usize].gender;
            let adjective = adjective.french.form(gender, subject.number);
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
            let landmark = NounPhrase {
                noun: landmark,
                adjective: None,
                number: Number::Singular,
            };
            let landmark = noun_phrase(&landmark);
            let place = match place {
                Preposition::Behind => format!("derrière {landmark}"),
                Preposition::InFrontOf => format!("devant {landmark}"),
                Preposition::NextTo => match landmark.strip_prefix("le ") {
                    Some(noun) => format!("à côté du {noun}"),
                    None => format!("à côté de {landmark}"),
                },
            };
            format!("{} {} {place}", noun_phrase(subject), is(subject.number))
        }
        Sentence::Does {
            subject,
            verb,
            object,
        } => {
            let [singular, plural] = verb.in_language[Language::French as usize];
            let verb = by_number(subject.number, singular, plural);
            format!("{} {verb} {}", noun_phrase(subject), noun_phrase(object))
        }
    }
}

/// The noun with its adjective on the right side: `vieil arbre`, `arbre rouge`.
fn described(noun: NounForms, adjective: Option<&Adjective>, number: Number) -> String {
    let word = noun.form(number);
    let Some(adjective) = adjective else {
        return word.to_owned();
    };
    let form = adjective.french.form(noun.gender, number);
    match adjective.french_before_vowel {
        None => format!("{word} {form}"),
        Some(liaison)
            if noun.gender == Gender::Masculine
                && number == Number::Singular
                && starts_with_vowel(word) =>
        {
            format!("{liaison} {word}")
        }
        Some(_) => format!("{form} {word}"),
    }
}

fn is(number: Number) -> &'static str {
    by_number(number, "est", "sont")
}

/// The article with the space after it, if there is one.
fn article(gender: Gender, number: Number, next: &str) -> &'static str {
    match (number, gender) {
        (Number::Plural, _) => "les ",
        _ if starts_with_vowel(next) => "l'",
        (_, Gender::Feminine) => "la ",
        _ => "le ",
    }
}
