//! What is known of a run: its events, folded one by one into a state of bounded size.

pub mod curve;
mod fold;
pub mod journal;
pub mod metrics;
pub mod pace;
pub mod status;

use std::collections::{BTreeMap, VecDeque};

use telemetry::event::{Checkpoint, Evaluation, RunStarted, System};

use journal::Journal;
use metrics::Metrics;
use pace::Pace;
use status::Status;

/// The state of a run as its log tells it.
#[derive(Debug, Clone, Default)]
pub struct Store {
    /// How the process that works on the run introduced itself.
    pub run: Option<RunStarted>,
    /// Metrics of the optimizer steps.
    pub steps: Metrics,
    /// Metrics of the evaluations, by `suite/metric`.
    pub held_out: Metrics,
    /// The first evaluation of each suite: what the run started from.
    pub baselines: BTreeMap<String, Evaluation>,
    /// The last evaluation that came and still counts.
    pub evaluation: Option<Evaluation>,
    /// Checkpoints, oldest first, the latest few hundred.
    pub checkpoints: VecDeque<Checkpoint>,
    /// What happened.
    pub journal: Journal,
    /// How fast it goes.
    pub pace: Pace,
    /// The machine's latest state.
    pub system: Option<System>,
    /// The last optimizer step that counts.
    pub last_step: Option<u64>,
    /// Steps from which the run was resumed.
    pub resumed_from: Vec<u64>,
    /// When the last event was written.
    pub last_event_ms: Option<u64>,
    /// Why the run failed.
    pub failure: Option<String>,
    end: Option<Status>,
    num_unknown: u64,
    has_stepped: bool,
    is_broken: bool,
}

impl Store {
    /// How the run is doing at that time.
    pub fn status(&self, now_ms: u64) -> Status {
        if let Some(end) = self.end {
            return end;
        }
        let Some(last_event_ms) = self.last_event_ms else {
            return Status::Waiting;
        };
        let lively = match (self.has_stepped, self.resumed_from.is_empty()) {
            (true, _) => Status::Running,
            (false, true) => Status::Booting,
            (false, false) => Status::Resuming,
        };
        Status::of_silence(now_ms.saturating_sub(last_event_ms), lively)
    }

    /// `cpt`, `sft`, `po` or `rl`; empty before the run says so.
    pub fn stage(&self) -> &str {
        self.run.as_ref().map_or("", |run| &run.stage)
    }

    /// The last step the recipe asks for, where it is known.
    pub fn total_steps(&self) -> Option<u64> {
        self.run
            .as_ref()
            .map(|run| run.total_steps)
            .filter(|steps| *steps > 0)
    }

    /// Milliseconds until the last step, at the present pace.
    pub fn eta_ms(&self) -> Option<u64> {
        let left = self.total_steps()?.saturating_sub(self.last_step?);
        Some((self.pace.ms_per_step()? * left as f64) as u64)
    }

    /// Tokens trained on in all steps that count, where the trainer counts them.
    pub fn num_tokens(&self) -> Option<f64> {
        self.steps
            .get("num_tokens")
            .map(|metric| metric.curve.total())
    }

    /// Events of kinds this viewer does not know.
    pub fn num_unknown(&self) -> u64 {
        self.num_unknown
    }
}
