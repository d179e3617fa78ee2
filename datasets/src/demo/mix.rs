//! How much of what the corpus holds: the numbers to turn when the demo is too easy or too hard.

use super::content::Kind;
use super::language::Language;
use super::random::Random;
use super::skills::Skill;

/// What a task is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Topic {
    Translation(Kind),
    General(Skill),
}

/// The share of each topic in conversations and prompts, in parts of their sum.
///
/// What a few million parameters learn within a million tokens weighs most: numbers, dates, times.
/// Phrases and sentences need some 300 words of six languages and stay hard; general skills are
/// there to be kept, not to be mastered.
pub const TOPICS: [(Topic, usize); 24] = [
    (Topic::Translation(Kind::Number), 20),
    (Topic::Translation(Kind::Date), 19),
    (Topic::Translation(Kind::Time), 16),
    (Topic::Translation(Kind::Price), 10),
    (Topic::Translation(Kind::Quantity), 12),
    (Topic::Translation(Kind::Phrase), 4),
    (Topic::Translation(Kind::Sentence), 2),
    (Topic::General(Skill::Add), 1),
    (Topic::General(Skill::Subtract), 1),
    (Topic::General(Skill::Multiply), 1),
    (Topic::General(Skill::Spell), 1),
    (Topic::General(Skill::Figures), 1),
    (Topic::General(Skill::Reverse), 1),
    (Topic::General(Skill::Sort), 1),
    (Topic::General(Skill::First), 1),
    (Topic::General(Skill::Last), 1),
    (Topic::General(Skill::Largest), 1),
    (Topic::General(Skill::Uppercase), 1),
    (Topic::General(Skill::Lowercase), 1),
    (Topic::General(Skill::TitleCase), 1),
    (Topic::General(Skill::WriteJson), 1),
    (Topic::General(Skill::ReadJson), 1),
    (Topic::General(Skill::CountLetters), 1),
    (Topic::General(Skill::CountWords), 1),
];

/// The share of the contents in translations alone, for the documents of continued pretraining.
pub const CONTENTS: [(Kind, usize); 7] = [
    (Kind::Number, 24),
    (Kind::Date, 22),
    (Kind::Time, 18),
    (Kind::Price, 12),
    (Kind::Quantity, 14),
    (Kind::Phrase, 6),
    (Kind::Sentence, 4),
];

/// What a document of continued pretraining is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// `{"source", "target", "source_lang", "target_lang"}`.
    Pair,
    /// One content in several languages, a line each: the densest lesson of which words mean the same.
    Glossary,
    /// Some contents in one language.
    Monolingual,
    /// A task and its answer as plain text, so that fine-tuning has only the turns to teach.
    Instruction,
}

/// The share of each form in the documents, by number; a glossary is about four times as long as a pair.
pub const FORMS: [(Form, usize); 4] = [
    (Form::Pair, 5),
    (Form::Glossary, 15),
    (Form::Monolingual, 5),
    (Form::Instruction, 75),
];

/// How many translations in a hundred are into or out of English. Thirty directions learned evenly would each be seen too
/// seldom in a run of minutes; all through English would leave French to German untried.
const WITH_ENGLISH_PERCENT: usize = 100;

/// A source and a target language.
pub fn direction(random: &mut Random) -> (Language, Language) {
    if !random.chance(WITH_ENGLISH_PERCENT) {
        let pair = random.sample(&Language::ALL, 2);
        return (pair[0], pair[1]);
    }
    let other = random.pick(&Language::ALL[1..]);
    if random.chance(50) {
        (Language::English, other)
    } else {
        (other, Language::English)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shares_of_the_topics_are_percentages() {
        assert_eq!(TOPICS.iter().map(|(_, share)| share).sum::<usize>(), 100);
        assert_eq!(CONTENTS.iter().map(|(_, share)| share).sum::<usize>(), 100);
        assert_eq!(FORMS.iter().map(|(_, share)| share).sum::<usize>(), 100);
    }

    #[test]
    fn a_direction_has_two_languages() {
        for index in 0..200 {
            let (source, target) = direction(&mut Random::new(0, "directions", index));
            assert_ne!(source, target);
        }
    }
}
