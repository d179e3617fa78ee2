//! What can be wrong with a verifier, always found before training starts.

use std::fmt::Display;

/// A mistake in a record's verifier or in a recipe's reward functions.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum RewardError {
    /// No verifier has this name.
    #[error("unknown verifier {name:?}{}; known: {known}", nearest.as_ref().map(|n| format!(", did you mean {n:?}?")).unwrap_or_default())]
    UnknownVerifier {
        /// The name as written.
        name: String,
        /// The known name closest to it, if one is close.
        nearest: Option<String>,
        /// All known names, separated by commas.
        known: String,
    },
    /// The verifier has no argument of this name.
    #[error("verifier {verifier:?}: unknown argument {key:?}{}; it takes: {known}", nearest.as_ref().map(|n| format!(", did you mean {n:?}?")).unwrap_or_default())]
    UnknownArgument {
        /// The verifier.
        verifier: String,
        /// The argument as written.
        key: String,
        /// The known argument closest to it, if one is close.
        nearest: Option<String>,
        /// All arguments the verifier takes, separated by commas.
        known: String,
    },
    /// An argument is missing, of the wrong type or out of range.
    #[error("verifier {verifier:?}: argument {key:?} should be {expected}, found {found}")]
    Argument {
        /// The verifier.
        verifier: String,
        /// The argument.
        key: String,
        /// What would have been right.
        expected: String,
        /// What was there, shortened.
        found: String,
    },
    /// A regular expression that does not compile.
    #[error(
        "verifier {verifier:?}: bad pattern {pattern:?}: {reason}\nhint: patterns are Rust's `regex` syntax, which has no look-around and no back-references"
    )]
    Pattern {
        /// The verifier.
        verifier: String,
        /// The pattern as written.
        pattern: String,
        /// The regex engine's explanation.
        reason: String,
    },
    /// The verifier compares with a right answer, but neither its args nor the record give one.
    #[error(
        "verifier {verifier:?} needs a right answer: give the record \"ground_truth\", \"reference\" or args with \"ground_truth\""
    )]
    MissingReference {
        /// The verifier.
        verifier: String,
    },
    /// A record has no verifier, and there are no reward functions.
    #[error(
        "nothing judges the answer: the line has no \"verifier\", and no reward_funcs are given\nhint: give the line one, as in {{\"prompt\": \"What is 6 · 7?\", \"verifier\": \"gsm8k\", \"ground_truth\": \"42\"}}, or the recipe reward_funcs"
    )]
    NothingJudges,
    /// One of the above, with where it was found.
    #[error("{record}: {error}")]
    InRecord {
        /// `FILE:LINE`.
        record: String,
        /// What is wrong there.
        error: Box<RewardError>,
    },
}

impl RewardError {
    /// The same error, naming the record it is about (`FILE:LINE`).
    pub fn in_record(self, record: impl Display) -> Self {
        Self::InRecord {
            record: record.to_string(),
            error: Box::new(self),
        }
    }
}

/// The candidate nearest to `name`, where one is near enough to be what was meant.
pub(crate) fn nearest<'a>(
    name: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<String> {
    let name = name.to_lowercase();
    let scored = candidates
        .into_iter()
        .map(|c| (strsim::jaro_winkler(&name, c), c));
    scored
        .filter(|(score, _)| *score > 0.7)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, c)| c.to_owned())
}
