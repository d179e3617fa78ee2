//! What can be translated: something meant, that each language writes in its own way.

use super::dates::Date;
use super::grammar::{NounPhrase, Sentence};
use super::language::Language;
use super::numbers;
use super::prices::Price;
use super::quantities::Quantity;
use super::random::Random;
use super::split::is_held_out;
use super::times::Time;

/// The kinds of content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    Number,
    Date,
    Time,
    Price,
    Quantity,
    Phrase,
    Sentence,
}

/// Something that can be written in every language.
#[derive(Clone, Copy, Debug)]
pub enum Content {
    /// From 0 to 100, in words.
    Number(u8),
    Date(Date),
    Time(Time),
    Price(Price),
    Quantity(Quantity),
    Phrase(NounPhrase),
    Sentence(Sentence),
}

impl Content {
    pub fn random(kind: Kind, random: &mut Random) -> Self {
        match kind {
            Kind::Number => Self::Number(random.between(0, usize::from(numbers::LARGEST)) as u8),
            Kind::Date => Self::Date(Date::random(random)),
            Kind::Time => Self::Time(Time::random(random)),
            Kind::Price => Self::Price(Price::random(random)),
            Kind::Quantity => Self::Quantity(Quantity::random(random)),
            Kind::Phrase => Self::Phrase(NounPhrase::random(random)),
            Kind::Sentence => Self::Sentence(Sentence::random(random)),
        }
    }

    pub fn render(&self, language: Language) -> String {
        match self {
            Self::Number(number) => numbers::in_words(*number, language),
            Self::Date(date) => date.render(language),
            Self::Time(time) => time.render(language),
            Self::Price(price) => price.render(language),
            Self::Quantity(quantity) => quantity.render(language),
            Self::Phrase(phrase) => phrase.render(language),
            Self::Sentence(sentence) => sentence.render(language),
        }
    }

    /// Whether the content, written in these languages together, belongs to the evaluation.
    ///
    /// A number is held out for a pair of languages only (in both directions): its words are learned from its other
    /// translations. Everything else is held out in all languages, by its parts: a sentence also for the phrase in it, a date
    /// with a year also for its day.
    pub fn is_held_out(&self, languages: &[Language]) -> bool {
        match self {
            Self::Number(_) => pairs(languages).any(|(a, b)| {
                // By its words, not by the languages' names: "uno" is Spanish and Italian.
                let mut words = [self.render(a), self.render(b)];
                words.sort_unstable();
                is_held_out(&words.join("/"))
            }),
            Self::Date(Date { day, month, year }) => {
                is_held_out(&format!("date/{day}/{month}"))
                    || year.is_some_and(|year| is_held_out(&format!("date/{day}/{month}/{year}")))
            }
            Self::Phrase(phrase) => phrase_is_held_out(phrase),
            Self::Sentence(sentence) => {
                self.is_held_out_by_english()
                    || sentence
                        .described()
                        .is_some_and(|phrase| phrase_is_held_out(&phrase))
            }
            Self::Time(_) | Self::Price(_) | Self::Quantity(_) => self.is_held_out_by_english(),
        }
    }

    fn is_held_out_by_english(&self) -> bool {
        is_held_out(&self.render(Language::English))
    }
}

fn phrase_is_held_out(phrase: &NounPhrase) -> bool {
    is_held_out(&phrase.render(Language::English))
}

/// Every two of the languages.
fn pairs(languages: &[Language]) -> impl Iterator<Item = (Language, Language)> {
    languages
        .iter()
        .enumerate()
        .flat_map(move |(i, a)| languages[..i].iter().map(move |b| (*a, *b)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_held_out_for_both_directions_of_a_pair() {
        let mut held_out = 0;
        for number in 0..=numbers::LARGEST {
            let content = Content::Number(number);
            let there = content.is_held_out(&[Language::German, Language::French]);
            assert_eq!(
                there,
                content.is_held_out(&[Language::French, Language::German])
            );
            assert!(!content.is_held_out(&[Language::German]));
            held_out += usize::from(there);
        }
        assert!(held_out > 0, "no number from German to French is held out");
    }

    #[test]
    fn a_held_out_phrase_holds_out_its_sentences() {
        for index in 0..500 {
            let content = Content::random(Kind::Sentence, &mut Random::new(0, "sentences", index));
            let Content::Sentence(sentence) = content else {
                unreachable!()
            };
            let Some(phrase) = sentence.described() else {
                continue;
            };
            if Content::Phrase(phrase).is_held_out(&Language::ALL) {
                assert!(
                    content.is_held_out(&Language::ALL),
                    "{}",
                    content.render(Language::English)
                );
            }
        }
    }
}
