//! The control box: asking a running trainer for something without talking to it.
//!
//! A request is one file in `control/`, e.g. `{"action":"stop"}` in `control/1763906709000-4711-0.json`; the file's
//! stem is the request's id. The trainer takes the files between steps and answers in the event log with
//! `control` events: `accepted` or `refused`, later `done`.

use crate::Fields;
use crate::event::{Control, ControlStatus};
use serde::{Deserialize, Serialize};

/// What can be asked for. All of it happens between two optimizer steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ControlAction {
    /// Save a checkpoint now.
    Checkpoint,
    /// Evaluate now.
    Evaluate,
    /// Wait until told to continue.
    Pause,
    /// Go on after a pause.
    Continue,
    /// Save a checkpoint and end the run.
    Stop,
}

impl ControlAction {
    /// All actions.
    pub const ALL: [Self; 5] = [
        Self::Checkpoint,
        Self::Evaluate,
        Self::Pause,
        Self::Continue,
        Self::Stop,
    ];

    /// The word in the request.
    pub fn name(self) -> &'static str {
        match self {
            Self::Checkpoint => "checkpoint",
            Self::Evaluate => "evaluate",
            Self::Pause => "pause",
            Self::Continue => "continue",
            Self::Stop => "stop",
        }
    }
}

/// A request with its id, and the answers to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ControlRequest {
    /// Unique in the run; later requests sort after earlier ones.
    pub id: String,
    /// What is asked for.
    pub action: ControlAction,
}

impl ControlRequest {
    /// The event that says it will be done.
    pub fn accepted(&self) -> Control {
        answer(&self.id, self.action.name(), ControlStatus::Accepted, None)
    }

    /// The event that says it will not be done, and why.
    pub fn refused(&self, reason: &str) -> Control {
        answer(
            &self.id,
            self.action.name(),
            ControlStatus::Refused,
            Some(reason),
        )
    }

    /// The event that says it has been done.
    pub fn done(&self) -> Control {
        answer(&self.id, self.action.name(), ControlStatus::Done, None)
    }
}

pub(crate) fn answer(
    id: &str,
    action: &str,
    status: ControlStatus,
    reason: Option<&str>,
) -> Control {
    Control {
        id: id.to_owned(),
        action: action.to_owned(),
        status,
        reason: reason.map(str::to_owned),
        fields: Fields::new(),
    }
}
