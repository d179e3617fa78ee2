//! What is known of a run: its events, folded one by one into a state of bounded size.

pub mod curve;
mod fold;
pub mod journal;
pub mod metrics;
pub mod pace;
pub mod status;
pub mod timeline;

use std::collections::{BTreeMap, VecDeque};
use std::sync::LazyLock;

use serde_json::Value;
use telemetry::event::{
    AlertLevel, Checkpoint, Control, Data, Evaluation, Preflight, RunStarted, System,
};

use journal::Journal;
use metrics::Metrics;
use pace::Pace;
use status::Status;
use timeline::Timeline;

use crate::text::clean;

/// The phase in which the trainer waits to be told to go on.
pub const PAUSED: &str = telemetry::event::Phase::PAUSED;

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
    /// The evaluations that count, oldest first, the latest few hundred.
    pub evaluations: VecDeque<Evaluation>,
    /// Checkpoints, oldest first, the latest few hundred.
    pub checkpoints: VecDeque<Saved>,
    /// What has been read of the data, as last told.
    pub data: Option<Data>,
    /// The look at the data before the first step.
    pub preflight: Option<Preflight>,
    /// Alerts that have not been cleared, oldest first.
    pub alerts: Vec<Raised>,
    /// The latest answer to each of the latest requests, by id.
    pub answers: BTreeMap<String, Control>,
    /// What happened.
    pub journal: Journal,
    /// How fast it goes.
    pub pace: Pace,
    /// Tokens and time spent by each step.
    pub timeline: Timeline,
    /// The machine's latest state.
    pub system: Option<System>,
    /// The machine's state over the seconds since the log began.
    pub machine: Metrics,
    /// The last optimizer step that counts.
    pub last_step: Option<u64>,
    /// Steps from which the run was resumed.
    pub resumed_from: Vec<u64>,
    /// When the last event was written.
    pub last_event_ms: Option<u64>,
    /// Why the run failed.
    pub failure: Option<String>,
    /// When the log began.
    first_event_ms: Option<u64>,
    /// When the process began that works on it now.
    started_ms: Option<u64>,
    end: Option<Status>,
    num_unknown: u64,
    has_stepped: bool,
    is_broken: bool,
}

/// A checkpoint as it was reported.
#[derive(Debug, Clone)]
pub struct Saved {
    /// The report.
    pub checkpoint: Checkpoint,
    /// When it came, in milliseconds since 1970.
    pub time_ms: u64,
    /// Whether it has been removed since, to make room for later ones.
    pub is_removed: bool,
}

/// An alert that holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Raised {
    /// Its rule.
    pub rule: String,
    /// What the rule watches; `eval/…` is a metric of evaluations.
    pub metric: String,
    /// The sentence.
    pub message: String,
    /// How bad it is.
    pub level: AlertLevel,
    /// Optimizer steps taken when it fired.
    pub step: Option<u64>,
    /// When, in milliseconds since 1970.
    pub time_ms: u64,
}

impl Store {
    /// That of a run of which nothing is known.
    pub fn none() -> &'static Self {
        static NONE: LazyLock<Store> = LazyLock::new(Store::default);
        &NONE
    }

    /// The last evaluation that came and still counts.
    pub fn evaluation(&self) -> Option<&Evaluation> {
        self.evaluations.back()
    }

    /// The alert that holds on a metric of the steps or, as `held_out/chrf`, of an evaluation.
    pub fn alert_on(&self, metric: &str) -> Option<&Raised> {
        let is_on = |alert: &&Raised| {
            let of_evaluation = || {
                let (_, watched) = alert
                    .metric
                    .split_once("eval/")
                    .filter(|(b, _)| b.is_empty())?;
                Some(metric.split_once('/')?.1 == watched)
            };
            alert.metric == metric || of_evaluation() == Some(true)
        };
        self.alerts.iter().rev().find(is_on)
    }

    /// When the process began that works on it now; `None` before the first.
    pub fn started_ms(&self) -> Option<u64> {
        self.started_ms
    }

    /// When the log began.
    pub fn first_event_ms(&self) -> Option<u64> {
        self.first_event_ms
    }

    /// Why a checkpoint is kept, or nothing where it is not: the newest and the best are so until a later one
    /// is.
    pub fn kept(&self, saved: &Saved) -> Vec<String> {
        if saved.is_removed {
            return Vec::new();
        }
        let said = saved
            .checkpoint
            .fields
            .get("kept")
            .and_then(Value::as_array);
        let said = said.into_iter().flatten().filter_map(Value::as_str);
        let is_passing = |reason: &&str| matches!(*reason, "newest" | "best");
        let lasting = said.filter(|reason| !is_passing(reason)).map(clean);
        let latest = self
            .checkpoints
            .iter()
            .rev()
            .find(|saved| !saved.is_removed);
        let best = latest.and_then(|latest| latest.checkpoint.fields.scalar("best_global_step"));
        let step = saved.checkpoint.step;
        let is_newest = latest.is_some_and(|latest| latest.checkpoint.step == step);
        let newest = is_newest.then(|| "newest".to_owned());
        let best = (best == Some(step as f64)).then(|| "best".to_owned());
        newest.into_iter().chain(best).chain(lasting).collect()
    }

    /// Whether it waits until it is told to go on.
    pub fn is_paused(&self) -> bool {
        self.pace
            .current_phase()
            .is_some_and(|(name, _)| name == PAUSED)
    }

    /// How the run is doing at that time.
    pub fn status(&self, now_ms: u64) -> Status {
        if let Some(end) = self.end {
            return end;
        }
        let Some(last_event_ms) = self.last_event_ms else {
            return Status::Waiting;
        };
        let lively = match (
            self.is_paused(),
            self.has_stepped,
            self.resumed_from.is_empty(),
        ) {
            (true, _, _) => Status::Paused,
            (false, true, _) => Status::Running,
            (false, false, true) => Status::Booting,
            (false, false, false) => Status::Resuming,
        };
        Status::of_silence(now_ms.saturating_sub(last_event_ms), lively)
    }

    /// The last step that was ever taken, also where the run has gone back since.
    pub fn furthest_step(&self) -> Option<u64> {
        let loss = self.steps.get("loss").map(|metric| &metric.curve);
        let tails = loss.into_iter().flat_map(|curve| curve.abandoned());
        let ends = tails
            .filter_map(|tail| tail.last())
            .map(|bucket| bucket.last);
        ends.chain(self.last_step).max()
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
        self.timeline.tokens()
    }

    /// Events of kinds this viewer does not know.
    pub fn num_unknown(&self) -> u64 {
        self.num_unknown
    }
}
