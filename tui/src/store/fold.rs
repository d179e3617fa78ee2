//! One event after the other.

use telemetry::event::{
    Alert, Checkpoint, Control, ControlStatus, Evaluation, Failed, Finished, Resumed, RunStarted,
    Step, Warning,
};
use telemetry::{Event, Line};

use super::Store;
use super::journal::Level;
use super::pace::Pace;
use super::status::Status;
use crate::format;
use crate::text::clean;

const MAX_CHECKPOINTS: usize = 256;
const MAX_RESUMES: usize = 64;

impl Store {
    /// Takes in the next line of the log.
    pub fn fold(&mut self, line: Line) {
        let time = line.time_ms;
        // A clock that was set back must not make a run look silent.
        self.last_event_ms = Some(self.last_event_ms.map_or(time, |last| last.max(time)));
        match line.event {
            Event::RunStarted(run) => self.started(time, run),
            Event::Step(step) => self.stepped(time, &step),
            Event::Evaluation(evaluation) => self.evaluated(time, evaluation),
            Event::Checkpoint(checkpoint) => self.saved(time, checkpoint),
            Event::Resumed(resumed) => self.resumed(time, &resumed),
            Event::Phase(phase) => self.pace.phase(time, &clean(&phase.name)),
            Event::Heartbeat(_) => {}
            Event::System(system) => self.system = Some(system),
            Event::Warning(Warning { message, step, .. }) => {
                self.journal
                    .push(time, Level::Warning, step, clean(&message));
            }
            Event::Preflight(preflight) => {
                for message in &preflight.warnings {
                    self.journal
                        .push(time, Level::Warning, None, clean(message));
                }
            }
            Event::Alert(Alert { message, step, .. }) => {
                self.journal.push(time, Level::Alert, step, clean(&message));
            }
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
        (self.end, self.failure, self.has_stepped) = (None, None, false);
    }

    fn stepped(&mut self, time: u64, step: &Step) {
        let number = step.step;
        let named = [
            ("loss", step.loss.0),
            ("grad_norm", step.grad_norm.0),
            ("learning_rate", step.learning_rate.0),
            ("tokens_per_second", step.tokens_per_second.0),
        ];
        for (name, value) in named.into_iter().chain(step.fields.scalars()) {
            self.steps.push(name, name, number, value);
        }
        self.last_step = Some(number);
        self.pace.step(time, number);
        (self.end, self.has_stepped) = (None, true);
        let broken = named[..2].iter().find(|(_, value)| !value.is_finite());
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
        self.evaluation = Some(evaluation);
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
            .retain(|known| known.step != checkpoint.step);
        if self.checkpoints.len() == MAX_CHECKPOINTS {
            self.checkpoints.pop_front();
        }
        self.checkpoints.push_back(checkpoint);
    }

    fn resumed(&mut self, time: u64, resumed: &Resumed) {
        let from = resumed.from_step;
        self.steps.cut(from);
        self.held_out.cut(from);
        self.evaluation.take_if(|evaluation| evaluation.step > from);
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
        let message = clean(&failed.message);
        self.journal
            .push(time, Level::Alert, self.last_step, message.clone());
        self.failure = Some(message);
    }
}
