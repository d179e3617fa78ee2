//! One event after the other.

use serde_json::Value;
use telemetry::event::{
    Alert, AlertCleared, AlertLevel, Checkpoint, Control, ControlStatus, Evaluation, Failed,
    Finished, Resumed, RunStarted, Step, System, Warning,
};
use telemetry::{Event, Line};

use super::journal::{Entry, Level};
use super::pace::Pace;
use super::status::Status;
use super::{Raised, Saved, Store};
use crate::format;
use crate::text::clean;

const MAX_CHECKPOINTS: usize = 256;
const MAX_EVALUATIONS: usize = 256;
const MAX_RESUMES: usize = 64;
const MAX_ANSWERS: usize = 64;
const MAX_ALERTS: usize = 64;

impl Store {
    /// Takes in the next line of the log.
    pub fn fold(&mut self, line: Line) {
        let time = line.time_ms;
        // A clock that was set back must not make a run look silent.
        self.last_event_ms = Some(self.last_event_ms.map_or(time, |last| last.max(time)));
        self.first_event_ms.get_or_insert(time);
        match line.event {
            Event::RunStarted(run) => self.started(time, run),
            Event::Step(step) => self.stepped(time, &step),
            Event::Evaluation(evaluation) => self.evaluated(time, evaluation),
            Event::Checkpoint(checkpoint) => self.saved(time, checkpoint),
            Event::Resumed(resumed) => self.resumed(time, &resumed),
            Event::CheckpointRemoved(removed) => {
                let known = self.checkpoints.iter_mut().rev();
                let mut same = known.filter(|saved| saved.checkpoint.step == removed.step);
                if let Some(saved) = same.next() {
                    saved.is_removed = true;
                }
            }
            Event::Phase(phase) => {
                // A process may be at work for hours before it says what it trains.
                self.end = None;
                self.pace.phase(time, &clean(&phase.name));
                self.timeline.phase(time, &phase.name);
            }
            Event::Heartbeat(_) => {}
            Event::System(system) => self.measured(time, system),
            Event::Data(data) => self.data = Some(data),
            Event::Warning(Warning { message, step, .. }) => {
                self.journal
                    .push(time, Level::Warning, step, sentence(&message));
            }
            Event::Preflight(preflight) => {
                for message in &preflight.warnings {
                    self.journal
                        .push(time, Level::Warning, None, sentence(message));
                }
                self.preflight = Some(preflight);
            }
            Event::Alert(alert) => self.raised(time, &alert),
            Event::AlertCleared(cleared) => self.cleared(time, &cleared),
            Event::Control(control) => self.answered(time, &control),
            Event::Finished(finished) => self.finished(time, &finished),
            Event::Failed(failed) => self.failed(time, failed),
            _ => self.num_unknown += 1,
        }
    }

    fn note(&mut self, time: u64, text: String) {
        self.journal
            .push(time, Level::Note, self.last_step, clean(&text));
    }

    fn started(&mut self, time: u64, run: RunStarted) {
        let parameters = format::amount(run.parameters as f64);
        let text = format!(
            "{} started: {} ({parameters} parameters) on {} in {}, {} steps",
            run.stage,
            run.model,
            run.device,
            run.dtype,
            format::count(run.total_steps),
        );
        self.note(time, text);
        self.run = Some(run);
        self.pace = Pace::default();
        self.timeline.begin(time);
        self.started_ms = Some(time);
        (self.end, self.failure, self.has_stepped) = (None, None, false);
    }

    fn stepped(&mut self, time: u64, step: &Step) {
        let number = step.step;
        for (name, value) in step.scalars() {
            self.steps.push(name, name, number, value);
        }
        self.last_step = Some(number);
        self.pace.step(time, number);
        if let Some(whole) = step.fields.scalar("step_time") {
            let parts = step.fields.scalars();
            let parts =
                parts.filter_map(|(name, secs)| Some((name.strip_prefix("time/")?, secs * 1e3)));
            self.pace.parts(whole * 1e3, parts);
        }
        let tokens = step.fields.scalar("num_tokens").unwrap_or(f64::NAN);
        self.timeline.step(time, number, tokens);
        (self.end, self.has_stepped) = (None, true);
        let watched = [("loss", step.loss.0), ("grad_norm", step.grad_norm.0)];
        let broken = watched.into_iter().find(|(_, value)| !value.is_finite());
        if let Some((name, value)) = broken.filter(|_| !self.is_broken) {
            let text = format!("{name} is {value}");
            self.journal.push(time, Level::Alert, Some(number), text);
        }
        self.is_broken = broken.is_some();
    }

    fn evaluated(&mut self, time: u64, evaluation: Evaluation) {
        let suite = clean(&evaluation.name);
        let mut shown = Vec::new();
        for (name, value) in evaluation.fields.scalars() {
            let series = format!("{suite}/{name}");
            self.held_out.push(&series, name, evaluation.step, value);
            let key = self.held_out.get(&series).and_then(|metric| metric.key);
            shown.push(format!("{name} {}", format::value(value, key)));
        }
        shown.truncate(4);
        self.note(time, format!("{suite}: {}", shown.join("  ")));
        self.baselines
            .entry(suite)
            .or_insert_with(|| evaluation.clone());
        // Texts are kept of the latest alone.
        if let Some(before) = self.evaluations.back_mut() {
            before.fields.remove("samples");
        }
        let is_same =
            |known: &Evaluation| (known.step, &known.name) == (evaluation.step, &evaluation.name);
        self.evaluations.retain(|known| !is_same(known));
        if self.evaluations.len() == MAX_EVALUATIONS {
            self.evaluations.pop_front();
        }
        self.evaluations.push_back(evaluation);
    }

    fn measured(&mut self, time: u64, system: System) {
        let second = (time - self.first_event_ms.unwrap_or(time).min(time)) / 1000;
        // A clock that was set back would look like a run that went back.
        let is_later = |metric: &super::metrics::Metric| {
            metric.curve.latest().is_none_or(|(last, _)| last < second)
        };
        if self.machine.iter().all(is_later) {
            let totals = |(name, _): &(String, f64)| name.ends_with("_total_bytes");
            for (name, value) in system.scalars().into_iter().filter(|named| !totals(named)) {
                self.machine.push(&name, &name, second, value);
            }
        }
        self.system = Some(system);
    }

    fn raised(&mut self, time: u64, alert: &Alert) {
        let level = alert.level.unwrap_or(AlertLevel::Alarm);
        let message = clean(&alert.message);
        let shown = match level {
            AlertLevel::Warning => Level::Warning,
            AlertLevel::Alarm => Level::Alert,
        };
        // One that still holds after a resume is told again, and is no news.
        let is_it = |entry: &Entry| entry.step == alert.step && entry.text == message;
        if !self.journal.newest_first().any(is_it) {
            self.journal.push(time, shown, alert.step, message.clone());
        }
        self.alerts.retain(|known| known.rule != alert.rule);
        if self.alerts.len() == MAX_ALERTS {
            self.alerts.remove(0);
        }
        let metric = alert.fields.get("metric").and_then(Value::as_str);
        let first_word = || alert.rule.split_whitespace().next().unwrap_or_default();
        self.alerts.push(Raised {
            rule: alert.rule.clone(),
            metric: metric.unwrap_or_else(first_word).to_owned(),
            message,
            level,
            step: alert.step,
            time_ms: time,
        });
    }

    fn cleared(&mut self, time: u64, cleared: &AlertCleared) {
        self.alerts.retain(|known| known.rule != cleared.rule);
        let text = clean(&cleared.message);
        self.journal.push(time, Level::Note, cleared.step, text);
    }

    fn saved(&mut self, time: u64, checkpoint: Checkpoint) {
        let text = format!(
            "checkpoint {} saved, {} in {}",
            format::count(checkpoint.step),
            format::bytes(checkpoint.bytes as f64),
            format::seconds(checkpoint.seconds.0),
        );
        self.note(time, text);
        self.checkpoints
            .retain(|known| known.checkpoint.step != checkpoint.step);
        if self.checkpoints.len() == MAX_CHECKPOINTS {
            self.checkpoints.pop_front();
        }
        self.checkpoints.push_back(Saved {
            checkpoint,
            time_ms: time,
            is_removed: false,
        });
    }

    fn resumed(&mut self, time: u64, resumed: &Resumed) {
        let from = resumed.from_step;
        self.steps.cut(from);
        self.held_out.cut(from);
        self.timeline.cut(from);
        // The trainer tells again which alerts still hold, and renames the checkpoints of later steps.
        self.alerts.clear();
        for saved in &mut self.checkpoints {
            saved.is_removed |= saved.checkpoint.step > from;
        }
        self.evaluations
            .retain(|evaluation| evaluation.step <= from);
        self.last_step = Some(from);
        if self.resumed_from.len() < MAX_RESUMES {
            self.resumed_from.push(from);
        }
        self.end = None;
        self.pace = Pace::default();
        self.note(time, format!("resumed from step {}", format::count(from)));
    }

    fn answered(&mut self, time: u64, control: &Control) {
        let (level, how) = match control.status {
            ControlStatus::Accepted => (Level::Note, "accepted"),
            ControlStatus::Done => (Level::Note, "done"),
            ControlStatus::Refused => (Level::Warning, "refused"),
        };
        let reason = control
            .reason
            .as_ref()
            .map(|reason| format!(": {reason}"))
            .unwrap_or_default();
        let text = clean(&format!("request `{}` {how}{reason}", control.action));
        self.journal.push(time, level, self.last_step, text);
        if self.answers.len() == MAX_ANSWERS {
            self.answers.pop_first();
        }
        self.answers.insert(control.id.clone(), control.clone());
    }

    fn finished(&mut self, time: u64, finished: &Finished) {
        self.pace.end_phase(time);
        self.end = Some(match finished.reason.as_str() {
            "stopped" => Status::Stopped,
            "diverged" => Status::Diverged,
            _ => Status::Finished,
        });
        let (step, took) = (
            format::count(finished.step),
            format::seconds(finished.seconds.0),
        );
        let text = clean(&format!("{} after step {step}, in {took}", finished.reason));
        let level = match self.end {
            Some(Status::Diverged) => Level::Alert,
            _ => Level::Note,
        };
        self.journal.push(time, level, Some(finished.step), text);
    }

    fn failed(&mut self, time: u64, failed: Failed) {
        self.pace.end_phase(time);
        self.end = Some(Status::Failed);
        let message = sentence(&failed.message);
        self.journal
            .push(time, Level::Alert, self.last_step, message.clone());
        self.failure = Some(message);
    }
}

/// A message in one line, its hint after it.
fn sentence(message: &str) -> String {
    message.lines().map(clean).collect::<Vec<_>>().join("  ")
}
