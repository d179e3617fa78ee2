//! The small types of flags.

use std::convert::Infallible;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::ValueEnum;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use toml::Value;

use crate::recipe::{Dtype, StageName};

/// The stages that `--stage` names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum StageChoice {
    /// Continued pre-training on documents and translation pairs.
    Cpt,
    /// Supervised fine-tuning on conversations.
    Sft,
    /// Preference optimization on chosen and rejected answers.
    Po,
    /// Reinforcement learning with verifiable rewards.
    Rl,
    /// The four, each from the checkpoint of the one before it.
    All,
}

impl StageChoice {
    /// The one stage that is named; `None` is all of them.
    pub const fn named(self) -> Option<StageName> {
        match self {
            Self::Cpt => Some(StageName::Cpt),
            Self::Sft => Some(StageName::Sft),
            Self::Po => Some(StageName::Po),
            Self::Rl => Some(StageName::Rl),
            Self::All => None,
        }
    }

    /// The first stage to run.
    pub fn first(self) -> StageName {
        self.named().unwrap_or(StageName::ALL[0])
    }

    /// The stages to run, in order.
    pub fn stages(self) -> Vec<StageName> {
        self.named()
            .map_or_else(|| StageName::ALL.to_vec(), |stage| vec![stage])
    }
}

/// Where a run goes on.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Resume {
    /// At the newest whole checkpoint of the output directory, or at the start where there is none.
    #[default]
    Auto,
    /// At the start.
    Never,
    /// At this checkpoint.
    From(PathBuf),
}

impl FromStr for Resume {
    type Err = Infallible;

    fn from_str(word: &str) -> Result<Self, Infallible> {
        Ok(match word {
            "auto" => Self::Auto,
            "never" => Self::Never,
            folder => Self::From(PathBuf::from(folder)),
        })
    }
}

impl fmt::Display for Resume {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Never => f.write_str("never"),
            Self::From(folder) => folder.display().fmt(f),
        }
    }
}

/// When a run is shown in the terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum TuiMode {
    /// Where standard input, output and error are a terminal.
    #[default]
    Auto,
    /// Or fail where there is no terminal.
    Always,
    /// Not at all: plain lines on standard error.
    Never,
}

/// What standard error carries during training.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum LogFormat {
    /// Sentences for a person.
    #[default]
    Text,
    /// The lines of the event log, a JSON object each, and nothing else.
    Json,
}

/// The size of a frame of the terminal UI, in character cells; `120x40`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameSize {
    /// Cells in a line.
    pub columns: u16,
    /// Lines.
    pub rows: u16,
}

impl FromStr for FrameSize {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        let sides = word
            .split_once('x')
            .map(|(columns, rows)| (columns.parse(), rows.parse()));
        match sides {
            Some((Ok(columns), Ok(rows))) if columns > 0 && rows > 0 => Ok(Self { columns, rows }),
            _ => Err("write COLSxROWS, such as 120x40".to_owned()),
        }
    }
}

/// A temperature: a number from 0, which is greedy decoding.
pub(super) fn temperature(word: &str) -> Result<f32, String> {
    number(word, "a number, 0 or more", |t| t >= 0.0)
}

/// The probability of nucleus sampling: above 0, up to 1.
pub(super) fn top_p(word: &str) -> Result<f32, String> {
    number(word, "a number above 0, up to 1", |p| p > 0.0 && p <= 1.0)
}

/// A weight: any number that is one.
pub(super) fn finite(word: &str) -> Result<f64, String> {
    let number = word.trim().parse().ok().filter(|x: &f64| x.is_finite());
    number.ok_or_else(|| "expected a finite number".to_owned())
}

fn number(word: &str, expected: &str, allowed: fn(f32) -> bool) -> Result<f32, String> {
    let number = word
        .parse()
        .ok()
        .filter(|x: &f32| x.is_finite() && allowed(*x));
    number.ok_or_else(|| format!("expected {expected}"))
}

/// Parses `--dtype`, whose words the recipe knows.
pub(super) fn dtype() -> impl TypedValueParser<Value = Dtype> {
    PossibleValuesParser::new(Dtype::NAMES)
        .map(|word| word.parse().expect("clap takes only words of the list"))
}

/// Parses the name of one stage.
pub(super) fn stage() -> impl TypedValueParser<Value = StageName> {
    PossibleValuesParser::new(StageName::NAMES)
        .map(|word| word.parse().expect("clap takes only words of the list"))
}

/// A path as the value of a recipe's key. TOML is UTF-8: a path that is not cannot be found later,
/// under a name that shows which bytes were wrong.
pub(super) fn path_value(path: &Path) -> Value {
    Value::String(path.to_string_lossy().into_owned())
}
