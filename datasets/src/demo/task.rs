//! A task: a prompt with one right answer, and the records that are made of it.

use super::content::Content;
use super::language::Language;
use super::mix::{TOPICS, Topic, direction};
use super::random::Random;
use super::split::is_held_out;
use serde_json::{Value, json};

/// A prompt and its answer.
#[derive(Clone, Debug)]
pub struct Task {
    pub topic: Topic,
    /// `translate/en-de` or the name of a skill.
    pub name: String,
    /// `Translate to German:` and, on the next line, what. A text at the start of a line has the same tokens in a question and
    /// in an answer, so the model learns each word once.
    pub prompt: String,
    pub answer: String,
    /// Of a translation: its source text and both languages.
    pub translation: Option<(String, Language, Language)>,
    pub held_out: bool,
}

/// Which part of all tasks to draw from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Split {
    Train,
    HeldOut,
}

impl Task {
    /// A task of this part, in the proportions of [`TOPICS`].
    pub fn random(split: Split, random: &mut Random) -> Self {
        // The topic is drawn once: to draw it anew with each rejected content would favour topics with many of that part.
        let topic = random.weighted(&TOPICS);
        loop {
            let task = Self::of(topic, random);
            if task.held_out == (split == Split::HeldOut) {
                return task;
            }
        }
    }

    fn of(topic: Topic, random: &mut Random) -> Self {
        match topic {
            Topic::Translation(kind) => {
                let content = Content::random(kind, random);
                let (from, to) = direction(random);
                Self::translation(topic, &content, from, to)
            }
            Topic::General(skill) => {
                let exercise = skill.exercise(random);
                Self {
                    topic,
                    name: skill.name().to_owned(),
                    prompt: format!("{}:\n{}", exercise.instruction, exercise.input),
                    answer: exercise.answer,
                    translation: None,
                    held_out: is_held_out(&exercise.content),
                }
            }
        }
    }

    fn translation(topic: Topic, content: &Content, from: Language, to: Language) -> Self {
        let source = content.render(from);
        Self {
            topic,
            name: format!("translate/{}-{}", from.code(), to.code()),
            prompt: format!("Translate to {}:\n{source}", to.name()),
            answer: content.render(to),
            held_out: content.is_held_out(&[from, to]),
            translation: Some((source, from, to)),
        }
    }

    /// `{"messages"}`: a user's turn and an assistant's, with this answer.
    pub fn conversation(&self, answer: &str) -> Value {
        json!({"messages": [{"role": "user", "content": self.prompt}, {"role": "assistant", "content": answer}]})
    }

    /// `{"prompt", "verifier", "ground_truth", "task"}`; of a translation also `source`, `reference` and both languages. An
    /// answer is also scored by chrF, which pays for the part of it that is right.
    pub fn verifiable_prompt(&self) -> Value {
        let Some((source, from, to)) = &self.translation else {
            return json!({
                "prompt": self.prompt,
                "verifier": ["exact_match", "chrf"],
                "ground_truth": self.answer,
                "task": self.name,
            });
        };
        json!({
            "prompt": self.prompt,
            "verifier": ["exact_match", "chrf"],
            "ground_truth": self.answer,
            "source": source,
            "reference": self.answer,
            "source_lang": from.code(),
            "target_lang": to.code(),
            "task": self.name,
        })
    }
}
