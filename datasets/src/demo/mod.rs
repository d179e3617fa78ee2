//! The demo corpus: everything a small model needs to learn to translate a little and to do a few other things, made up by rule.
//!
//! [`DemoCorpus`] gives the records of each stage in the forms that files hold (a [`serde_json::Value`] a line), [`write()`] puts
//! them into files, [`tokenizer`] trains the tokenizer that goes with them. Six languages write the same contents: numbers in
//! words, dates, times, prices, quantities, phrases and sentences of a small grammar. Records depend on the seed alone; what is
//! held out for evaluation does not even depend on that (`split`).

mod content;
mod dates;
mod documents;
mod flaws;
mod grammar;
mod language;
mod lexicon;
mod mix;
mod numbers;
mod preferences;
mod prices;
mod quantities;
mod random;
mod skills;
mod split;
mod task;
mod times;
pub mod tokenizer;
mod write;

pub use language::Language;
pub use write::{DemoFiles, Sizes, write};

use documents::document;
use preferences::preference;
use random::Random;
use serde_json::Value;
use std::collections::HashSet;
use std::path::PathBuf;
use task::{Split, Task};

/// The records of the demo, endless and the same for the same seed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DemoCorpus {
    seed: u64,
}

impl DemoCorpus {
    /// The corpus of a seed.
    pub fn new(seed: u64) -> Self {
        Self { seed }
    }

    /// Documents for continued pretraining: `{"text"}`, and `{"source", "target", "source_lang", "target_lang"}`.
    pub fn documents(&self, count: usize) -> impl Iterator<Item = Value> + use<> {
        records(self.seed, "cpt", count, document)
    }

    /// Conversations for fine-tuning, some of them with a flaw: `{"messages": [user, assistant]}`.
    pub fn conversations(&self, count: usize) -> impl Iterator<Item = Value> + use<> {
        records(self.seed, "sft", count, |random| {
            let task = Task::random(Split::Train, random);
            let answer = flaws::answer(&task, random);
            task.conversation(&answer)
        })
    }

    /// Pairs for preference optimization: `{"prompt", "chosen", "rejected"}`.
    pub fn preferences(&self, count: usize) -> impl Iterator<Item = Value> + use<> {
        records(self.seed, "po", count, preference)
    }

    /// Prompts for reinforcement learning: `{"prompt", "verifier", "ground_truth", "task"}` and, of translations, `source`,
    /// `reference`, `source_lang` and `target_lang`.
    pub fn prompts(&self, count: usize) -> impl Iterator<Item = Value> + use<> {
        records(self.seed, "rl", count, |random| {
            Task::random(Split::Train, random).verifiable_prompt()
        })
    }

    /// Prompts like those of [`Self::prompts`] that no training set holds for any seed, none of them twice. There are some
    /// thousands: `count` is the most that come.
    pub fn held_out(&self, count: usize) -> impl Iterator<Item = Value> + use<> {
        let mut seen = HashSet::new();
        records(self.seed, "eval", 20 * count, |random| {
            Task::random(Split::HeldOut, random)
        })
        .filter(move |task| seen.insert(task.prompt.clone()))
        .map(|task| task.verifiable_prompt())
        .take(count)
    }
}

fn records<T>(
    seed: u64,
    stream: &'static str,
    count: usize,
    record: impl Fn(&mut Random) -> T,
) -> impl Iterator<Item = T> {
    (0..count as u64).map(move |index| record(&mut Random::new(seed, stream, index)))
}

/// Why the demo's files could not be made.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// A file cannot be written.
    #[error("{}: {source}\n  hint: the demo writes its corpus and tokenizer there; choose a folder you may write with --output", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The `tokenizers` crate refused one of its parts.
    #[error("training the demo's tokenizer: {0}")]
    Tokenizer(#[from] tokenizers::Error),
}

#[cfg(test)]
mod tests;
