//! General tasks: sums, lists, casing, JSON and counting, each with a single right answer.

use super::language::Language;
use super::lexicon::{ADJECTIVES, NOUNS};
use super::numbers;
use super::random::Random;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Skill {
    Add,
    Subtract,
    Multiply,
    /// Figures to words of some language.
    Spell,
    /// Words of some language to figures.
    Figures,
    Reverse,
    Sort,
    First,
    Last,
    Largest,
    Uppercase,
    Lowercase,
    TitleCase,
    WriteJson,
    ReadJson,
    CountLetters,
    CountWords,
}

/// One exercise of a skill.
#[derive(Clone, Debug)]
pub struct Exercise {
    pub instruction: String,
    pub input: String,
    pub answer: String,
    /// What decides whether it is held out: its values, in an order that does not depend on how they are asked for.
    pub content: String,
}

impl Skill {
    /// The task's name in a record and in the table of an evaluation.
    pub fn name(self) -> &'static str {
        match self {
            Self::Add | Self::Subtract | Self::Multiply => "arithmetic",
            Self::Spell | Self::Figures => "figures",
            Self::Reverse | Self::Sort | Self::First | Self::Last | Self::Largest => "list",
            Self::Uppercase | Self::Lowercase | Self::TitleCase => "casing",
            Self::WriteJson | Self::ReadJson => "json",
            Self::CountLetters | Self::CountWords => "counting",
        }
    }

    pub fn exercise(self, random: &mut Random) -> Exercise {
        match self {
            Self::Add | Self::Subtract | Self::Multiply => arithmetic(self, random),
            Self::Spell | Self::Figures => figures(self, random),
            Self::Reverse | Self::First | Self::Last => words_of_a_list(self, random),
            Self::Sort | Self::Largest => numbers_of_a_list(self, random),
            Self::Uppercase | Self::Lowercase | Self::TitleCase => casing(self, random),
            Self::WriteJson | Self::ReadJson => json(self, random),
            Self::CountLetters => count_letters(random),
            Self::CountWords => count_words(random),
        }
    }
}

fn arithmetic(skill: Skill, random: &mut Random) -> Exercise {
    let (a, b, sign, result) = match skill {
        Skill::Add => {
            let (a, b) = (random.between(1, 30), random.between(1, 30));
            (a, b, '+', a + b)
        }
        Skill::Subtract => {
            let a = random.between(1, 30);
            let b = random.between(0, a);
            (a, b, '-', a - b)
        }
        _ => {
            let (a, b) = (random.between(1, 10), random.between(1, 10));
            (a, b, '*', a * b)
        }
    };
    // 2+3 is 3+2, but 3-2 is not 2-3.
    let (first, second) = if sign == '-' {
        (a, b)
    } else {
        (a.min(b), a.max(b))
    };
    Exercise {
        instruction: "Calculate".to_owned(),
        input: format!("{a}{sign}{b}"),
        answer: result.to_string(),
        content: format!("{first}{sign}{second}"),
    }
}

fn figures(skill: Skill, random: &mut Random) -> Exercise {
    let language = random.pick(&Language::ALL);
    let number = random.between(0, usize::from(numbers::LARGEST)) as u8;
    let words = numbers::in_words(number, language);
    // By its words, not by the language's name: "uno" is Spanish and Italian.
    let content = format!("figures/{words}");
    if skill == Skill::Spell {
        let instruction = format!("Write in {}", language.name());
        Exercise {
            instruction,
            input: number.to_string(),
            answer: words,
            content,
        }
    } else {
        Exercise {
            instruction: "Write in figures".to_owned(),
            input: words,
            answer: number.to_string(),
            content,
        }
    }
}

fn words_of_a_list(skill: Skill, random: &mut Random) -> Exercise {
    let nouns = NOUNS
        .each_ref()
        .map(|noun| noun.in_language[Language::English as usize].singular);
    let length = random.between(2, 4);
    let items = random.sample(&nouns, length);
    let (instruction, answer) = match skill {
        Skill::Reverse => (
            "Reverse",
            items.iter().rev().copied().collect::<Vec<_>>().join(", "),
        ),
        Skill::First => ("First of", items[0].to_owned()),
        _ => ("Last of", items[length - 1].to_owned()),
    };
    let input = items.join(", ");
    Exercise {
        instruction: instruction.to_owned(),
        input: input.clone(),
        answer,
        content: input,
    }
}

fn numbers_of_a_list(skill: Skill, random: &mut Random) -> Exercise {
    let length = random.between(3, 4);
    let items = random.sample(&[1, 2, 3, 4, 5, 6, 7, 8, 9], length);
    let mut sorted = items.clone();
    sorted.sort_unstable();
    let (instruction, answer) = match skill {
        Skill::Sort => ("Sort", join(&sorted)),
        _ => ("Largest of", sorted[length - 1].to_string()),
    };
    // By its numbers in order: else the sorted list of a held-out one would be the answer to another.
    Exercise {
        instruction: instruction.to_owned(),
        input: join(&items),
        answer,
        content: join(&sorted),
    }
}

fn join(numbers: &[u8]) -> String {
    numbers
        .iter()
        .map(u8::to_string)
        .collect::<Vec<_>>()
        .join(",")
}

fn casing(skill: Skill, random: &mut Random) -> Exercise {
    let words = describe(random);
    let (instruction, input, answer) = match skill {
        Skill::Uppercase => ("Uppercase", words.clone(), words.to_uppercase()),
        Skill::Lowercase => ("Lowercase", words.to_uppercase(), words.clone()),
        _ => (
            "Title case",
            words.clone(),
            words
                .split(' ')
                .map(capitalized)
                .collect::<Vec<_>>()
                .join(" "),
        ),
    };
    Exercise {
        instruction: instruction.to_owned(),
        input,
        answer,
        content: format!("casing/{words}"),
    }
}

/// An English adjective and a noun.
fn describe(random: &mut Random) -> String {
    let adjective = random.pick(&ADJECTIVES.each_ref()).english;
    let noun = random.pick(&NOUNS.each_ref()).in_language[Language::English as usize].singular;
    format!("{adjective} {noun}")
}

fn capitalized(word: &str) -> String {
    format!("{}{}", word[..1].to_uppercase(), &word[1..])
}

const NAMES: [&str; 12] = [
    "Anna", "Ben", "Carla", "David", "Emma", "Felix", "Greta", "Hugo", "Ines", "Jonas", "Klara",
    "Leo",
];
const CITIES: [&str; 8] = [
    "Berlin", "Lisbon", "London", "Madrid", "Milan", "Paris", "Porto", "Rome",
];

fn json(skill: Skill, random: &mut Random) -> Exercise {
    let name = random.pick(&NAMES);
    let (key, plain, quoted) = if random.chance(50) {
        let age = random.between(10, 79).to_string();
        ("age", age.clone(), age)
    } else {
        let city = random.pick(&CITIES);
        ("city", city.to_owned(), format!("\"{city}\""))
    };
    let object = format!("{{\"name\": \"{name}\", \"{key}\": {quoted}}}");
    let content = format!("json/{name}/{plain}");
    if skill == Skill::WriteJson {
        let input = format!("name {name}, {key} {plain}");
        Exercise {
            instruction: "Write as JSON".to_owned(),
            input,
            answer: object,
            content,
        }
    } else {
        let (asked, answer) = if random.chance(50) {
            ("name", name.to_owned())
        } else {
            (key, plain)
        };
        Exercise {
            instruction: format!("Read the {asked}"),
            input: object,
            answer,
            content,
        }
    }
}

fn count_letters(random: &mut Random) -> Exercise {
    let length = random.between(3, 6);
    let letters: Vec<_> = (0..length).map(|_| random.pick(&["a", "b", "c"])).collect();
    let asked = random.pick(&["a", "b", "c"]);
    let count = letters.iter().filter(|letter| **letter == asked).count();
    let input = letters.join(" ");
    Exercise {
        instruction: format!("Count {asked}"),
        input: input.clone(),
        answer: count.to_string(),
        content: input,
    }
}

fn count_words(random: &mut Random) -> Exercise {
    let count = random.between(1, 6);
    let nouns = NOUNS
        .each_ref()
        .map(|noun| noun.in_language[Language::English as usize].singular);
    let input = random.sample(&nouns, count).join(" ");
    let content = format!("count/{input}");
    Exercise {
        instruction: "Count the words".to_owned(),
        input,
        answer: count.to_string(),
        content,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_and_products_are_right() {
        for index in 0..300 {
            for (skill, apply) in [
                (Skill::Add, (|a, b| a + b) as fn(i32, i32) -> i32),
                (Skill::Subtract, |a, b| a - b),
                (Skill::Multiply, |a, b| a * b),
            ] {
                let Exercise { input, answer, .. } =
                    skill.exercise(&mut Random::new(0, "sums", index));
                let (a, b) = input.split_once(['+', '-', '*']).unwrap();
                let expected = apply(a.parse().unwrap(), b.parse().unwrap());
                assert_eq!(answer, expected.to_string(), "{input}");
                assert!((0..=100).contains(&expected), "{input}");
            }
        }
    }

    #[test]
    fn a_list_reversed_twice_is_the_list() {
        for index in 0..100 {
            let Exercise { input, answer, .. } =
                Skill::Reverse.exercise(&mut Random::new(0, "lists", index));
            let mut again: Vec<_> = answer.split(", ").collect();
            again.reverse();
            assert_eq!(again.join(", "), input);
        }
    }

    #[test]
    fn written_json_parses_and_holds_the_fields() {
        for index in 0..100 {
            let Exercise { input, answer, .. } =
                Skill::WriteJson.exercise(&mut Random::new(0, "json", index));
            let object: serde_json::Value = serde_json::from_str(&answer).unwrap();
            for field in input.split(", ") {
                let (key, value) = field.split_once(' ').unwrap();
                let found = object[key]
                    .as_str()
                    .map_or_else(|| object[key].to_string(), str::to_owned);
                assert_eq!(found, value, "{answer}");
            }
        }
    }

    #[test]
    fn both_words_of_a_title_have_capitals() {
        for index in 0..20 {
            let exercise = Skill::TitleCase.exercise(&mut Random::new(0, "titles", index));
            let starts: Vec<_> = exercise
                .answer
                .split(' ')
                .map(|word| word.chars().next().unwrap())
                .collect();
            assert!(
                starts.len() == 2 && starts.iter().all(char::is_ascii_uppercase),
                "{}",
                exercise.answer
            );
            assert_eq!(exercise.answer.to_lowercase(), exercise.input);
        }
    }
}
