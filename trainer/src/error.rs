//! What ends the program early, and with which exit code.

use std::path::{Path, PathBuf};

use datasets::DataError;
use kernels::device::DeviceUnavailable;
use rewards::RewardError;
use telemetry::TelemetryError;

use crate::recipe::RecipeErrors;

/// Anything that ends a command early, in words for a person.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// The recipe or a flag is wrong.
    #[error(transparent)]
    Recipe(#[from] RecipeErrors),
    /// The command line asks for something that does not go together.
    #[error("{0}")]
    Usage(String),
    /// The device is not there.
    #[error(transparent)]
    Device(#[from] DeviceUnavailable),
    /// The model folder is broken.
    #[error(transparent)]
    Model(#[from] model::Error),
    /// The data or the tokenizer is broken.
    #[error(transparent)]
    Data(#[from] DataError),
    /// A verifier is unknown or its arguments are wrong.
    #[error("{place}: {source}")]
    Reward {
        /// The record or recipe key it stands in.
        place: String,
        /// What is wrong with it.
        source: RewardError,
    },
    /// The run directory cannot be used.
    #[error(transparent)]
    Telemetry(#[from] TelemetryError),
    /// The run cannot be shown.
    #[error(transparent)]
    Tui(#[from] tui::TuiError),
    /// A file cannot be read or written.
    #[error("{path}: {source}{hint}", path = .path.display(), hint = telemetry::io_hint(.source))]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// A checkpoint's training state does not fit.
    #[error("{0}")]
    Checkpoint(String),
    /// What `compare` looks for was found: two sides that differ, or a number that is none.
    #[error("{0}")]
    Diverges(String),
    /// What `report --require` asks of a run it does not have.
    #[error("{0}")]
    Unmet(String),
    /// A stage of a recipe takes more memory than there is.
    #[error("{0}")]
    DoesNotFit(String),
    /// Nothing in the data can be learnt.
    #[error("{0}")]
    NothingToTrain(String),
    /// The look at the data before the first step found what ends the run.
    #[error("{0}")]
    Preflight(String),
    /// The loss or the gradient stopped being a number.
    #[error(
        "step {step}: {what} is {value}\nhint: lower learning_rate, or set on_nonfinite = \"skip\" \
         to leave such steps out"
    )]
    Diverged {
        /// The optimizer step.
        step: u64,
        /// `the loss` or `the gradient norm`.
        what: &'static str,
        /// Its value.
        value: f64,
    },
    /// A running trainer did not do what was asked of it.
    #[error("{0}")]
    Refused(String),
    /// The trainer that was watched ended early; the words are its own.
    #[error("{message}")]
    Trainer {
        /// Its exit code.
        code: u8,
        /// What it said at its end.
        message: String,
    },
    /// The user stopped the run; a checkpoint was saved.
    #[error("stopped at step {step}; `--resume auto` goes on from there")]
    Stopped {
        /// Optimizer steps taken.
        step: u64,
    },
}

impl TrainError {
    /// 2 for usage and recipe, 3 for divergence, 130 for a stop, else 1; of a trainer that was
    /// watched, its own.
    pub fn exit_code(&self) -> u8 {
        match self {
            TrainError::Recipe(_)
            | TrainError::Usage(_)
            | TrainError::Device(_)
            | TrainError::Preflight(_) => 2,
            TrainError::Diverged { .. } => 3,
            TrainError::Stopped { .. } => 130,
            TrainError::Trainer { code, .. } => *code,
            _ => 1,
        }
    }

    /// The message without its hint.
    pub fn cause(&self) -> String {
        let message = self.to_string();
        message
            .split("\nhint: ")
            .next()
            .unwrap_or_default()
            .to_owned()
    }

    /// For `map_err` on file operations.
    pub fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Self + '_ {
        move |source| TrainError::Io {
            path: path.to_owned(),
            source,
        }
    }
}

impl From<model::error::ConfigError> for TrainError {
    fn from(error: model::error::ConfigError) -> Self {
        TrainError::Model(error.into())
    }
}

impl From<model::error::CheckpointError> for TrainError {
    fn from(error: model::error::CheckpointError) -> Self {
        TrainError::Model(error.into())
    }
}
