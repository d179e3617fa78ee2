//! The one loop: micro-batches → clip → step → log → evaluate → save → control. The stages do the
//! rest.

mod observing;
mod saving;

use std::path::PathBuf;
use std::time::Duration;

use burn_train::Interrupter;
use model::CausalLm;
use model::checkpoint::Dtype;
use serde_json::json;
use telemetry::event::{self, EvaluationRow};
use telemetry::{Event, EventLog, Fields, RunDir, SampleLog, Scalar};

use crate::TrainError;
use crate::best::BestTracker;
use crate::control::{Next, Requests};
use crate::forward::{Forward, Recompute};
use crate::going_back::Target;
use crate::monitor::{Alerts, LatestSystem, Observation, Part, StepMeter, Throughput, Utilization};
use crate::optimizer::{AdamW, GradientBuffer, StepOutcome};
use crate::recipe::{OnNonfinite, Recipe};
use crate::say;
use crate::schedule::Schedule;
use crate::stage::{Evaluation, Stage};
use crate::watched::{self, Verdict, Watch};

/// What the loop works on besides the stage.
pub struct Training {
    /// The run's directory.
    pub run_dir: RunDir,
    /// Its event log.
    pub log: EventLog,
    /// Its samples.
    pub samples: SampleLog,
    /// The resolved recipe.
    pub recipe: Recipe,
    /// The model being trained.
    pub model: CausalLm,
    /// What a forward pass keeps.
    pub recompute: Recompute,
    /// The fingerprint of the model beside which adapters are learnt.
    pub base: Option<Vec<(String, String)>>,
    /// The optimizer with its moments.
    pub optimizer: AdamW,
    /// Optimizer steps taken.
    pub step: u64,
    /// The last optimizer step.
    pub total_steps: u64,
    /// Where to leave off without evaluating or saving.
    pub until: Option<Until>,
    /// Whether a signal cut short the evaluation after the last step, which then is all that is left
    /// to do.
    pub lacks_evaluation: bool,
    /// What makes a checkpoint the best one, where the recipe says so.
    pub best: Option<BestTracker>,
    /// The rule about a metric that is never a reward, where the recipe has one.
    pub watch: Option<Watch>,
    /// The rules that the run is watched by.
    pub alerts: Alerts,
    /// What the log says of the data so far, in this process.
    pub reported_data: Option<event::Data>,
    /// The checkpoint that this process began with.
    pub began_with: Option<PathBuf>,
    /// The model that the run began with; checkpoints take the tokenizer's files from it.
    pub source_dir: PathBuf,
    /// What checkpoints store weights in.
    pub save_dtype: Dtype,
    /// What the model and the device can do, where that is known.
    pub utilization: Option<Utilization>,
    /// Says when the user wants to stop.
    pub interrupter: Interrupter,
    /// What is asked of the run through its control box.
    pub requests: Requests,
    /// The machine's latest state, for the alert rules.
    pub system: LatestSystem,
}

/// A step of a run that may take it more than once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Until {
    /// The step.
    pub step: u64,
    /// How often this process has gone back by then.
    pub times_back: usize,
}

/// How a run began and ended on held-out data.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outcome {
    /// Before the first step of this process; `None` without held-out data.
    pub start: Option<Evaluation>,
    /// After the last.
    pub end: Option<Evaluation>,
    /// Why it ended.
    pub ended: Ended,
}

/// Why a run ended that nobody stopped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ended {
    /// It trained to its last step.
    #[default]
    Completed,
    /// No better evaluation came.
    EarlyStopped,
    /// The watched metric fell while the reward rose.
    WatchedMetricFell,
}

impl Ended {
    /// Why a run ends before its last step, if it does.
    pub fn early(best: Option<&BestTracker>, watch: Option<&Watch>) -> Option<Self> {
        if watch.is_some_and(Watch::ends_run) {
            return Some(Ended::WatchedMetricFell);
        }
        let out_of_patience = best.and_then(BestTracker::out_of_patience).is_some();
        out_of_patience.then_some(Ended::EarlyStopped)
    }

    /// As the log has it.
    pub fn reason(self) -> &'static str {
        match self {
            Ended::Completed => "completed",
            Ended::EarlyStopped => "early_stopped",
            Ended::WatchedMetricFell => watched::RULE,
        }
    }
}

/// Times that a run goes back to one checkpoint for a loss that is not finite.
pub(crate) const MAX_ROLLBACKS: usize = 3;

impl Training {
    /// Of a model as it was loaded, where the recipe asks for them.
    pub(crate) fn keep_copies(&mut self) {
        if self.recipe.model.low_precision_copies {
            self.model.keep_copies();
        }
    }

    /// Trains to the last step.
    ///
    /// # Errors
    /// [`TrainError::Stopped`] after a signal or on request, with a checkpoint saved; [`TrainError::Diverged`]
    /// where the loss or the gradient is not a number and the recipe says to stop, or going back
    /// did not help; or what a stage, a file or the disk fails with.
    pub fn run<S: Stage>(&mut self, stage: &mut S) -> Result<Outcome, TrainError> {
        let schedule = Schedule::new(&self.recipe.schedule, self.total_steps);
        let meter = StepMeter::new(&self.log)
            .with_utilization(self.utilization.clone())
            .for_model(&self.model);
        let mut throughput = Throughput::default();
        self.report_data(stage)?;
        let mut outcome = Outcome {
            start: self.evaluate(stage)?,
            ..Outcome::default()
        };
        let mut ended = self.begin(stage, outcome.start.as_ref())?;
        if ended.is_some() {
            outcome.end = outcome.start.clone();
        }
        let mut saved = self.step;
        let mut has_trained = false;
        let mut num_rollbacks = 0;
        let mut times_back = 0;
        let mut warned = Vec::new();
        while self.step < self.total_steps && ended.is_none() {
            let saved_before = saved;
            if self.serve_requests(stage, &mut saved)? == Next::Stop {
                return self.stop(stage, saved);
            }
            if saved > saved_before {
                num_rollbacks = 0;
            }
            has_trained = true;
            let began = self.log.clock().elapsed();
            let step = self.step + 1;
            meter.begin(step);
            let step_event = match self.optimizer_step(stage, step, &schedule, &meter) {
                Err(TrainError::Stopped { .. }) => return self.stop(stage, saved),
                Err(error @ TrainError::Diverged { .. })
                    if self.recipe.run.on_nonfinite == OnNonfinite::Rollback
                        && num_rollbacks < MAX_ROLLBACKS =>
                {
                    num_rollbacks += 1;
                    self.go_back(stage, Target::Newest, &error.cause())?;
                    saved = self.step;
                    times_back += 1;
                    continue;
                }
                result => result?,
            };
            self.step = step;
            let took = self.log.clock().elapsed() - began;
            throughput.add(took);
            self.report(stage, step_event, (took, &meter), &throughput)?;
            if self.until == Some(Until { step, times_back }) {
                return Ok(outcome);
            }
            for warning in stage.warnings() {
                if !warned.contains(&warning) {
                    self.warn(&warning)?;
                    warned.push(warning);
                }
            }
            if let Some(state) = self.system.take() {
                self.observe(Observation::System(&state))?;
            }
            if step == self.total_steps {
                break;
            }
            let mut is_best = false;
            if self.is_due(self.recipe.run.eval_steps) {
                let evaluation = self.evaluate(stage)?;
                is_best = self.judge(evaluation.as_ref())?;
                ended = self.ends_early()?;
                if ended.is_some() {
                    outcome.end = evaluation;
                    break;
                }
                if self.go_back_to_watched(stage)? {
                    saved = self.step;
                    times_back += 1;
                    continue;
                }
            }
            if is_best || self.is_due(self.recipe.run.save_steps) {
                self.save(stage)?;
                saved = step;
                num_rollbacks = 0;
            }
            if self.interrupter.should_stop() {
                return self.stop(stage, saved);
            }
        }
        let mut is_best = false;
        let lacked = self.lacks_evaluation;
        if ended.is_none() {
            outcome.end = match has_trained {
                true => self.evaluate(stage)?,
                false => outcome.start.clone(),
            };
            self.lacks_evaluation = self.interrupter.should_stop();
            if self.lacks_evaluation {
                return self.stop(stage, saved);
            }
            is_best = self.judge(outcome.end.as_ref())?;
        }
        if is_best || lacked || saved < self.step || self.run_dir.newest_checkpoint()?.is_none() {
            self.save(stage)?;
        }
        self.report_data(stage)?;
        outcome.ended = ended.unwrap_or_default();
        Ok(outcome)
    }

    /// Looks at the evaluation before this process's first step. Returns why the run ends at once,
    /// if it does.
    fn begin<S: Stage>(
        &mut self,
        stage: &mut S,
        evaluation: Option<&Evaluation>,
    ) -> Result<Option<Ended>, TrainError> {
        if self.interrupter.should_stop() {
            return Ok(None);
        }
        if let Some(best) = &self.best {
            best.check(evaluation)?;
            best.write(&self.run_dir)?;
        }
        if let Some(watch) = &mut self.watch {
            watch.check(evaluation)?;
            if self.step == 0 {
                watch.judge(0, evaluation)?;
            }
        }
        if self.step == self.total_steps {
            // It is the last one, which is judged where all runs end.
            return Ok(None);
        }
        // Where a signal cut short the evaluation of this step, it is due again.
        let judged = [
            self.best.as_ref().map(BestTracker::judged_step),
            self.watch.as_ref().map(Watch::judged_step),
        ];
        let is_missing = judged.into_iter().flatten().any(|step| step < self.step);
        if !self.is_due(self.recipe.run.eval_steps) || !is_missing {
            return Ok(None);
        }
        self.judge(evaluation)?;
        let ended = self.ends_early()?;
        if !self.go_back_to_watched(stage)? {
            self.save(stage)?;
        }
        Ok(ended)
    }

    /// Goes back to the best evaluation of the watched metric, where the rule asks for it.
    fn go_back_to_watched<S: Stage>(&mut self, stage: &mut S) -> Result<bool, TrainError> {
        let Some(step) = self.watch.as_ref().and_then(Watch::rollback_step) else {
            return Ok(false);
        };
        if step > 0 && !self.run_dir.checkpoint_dir(step).is_dir() {
            // The rule was another one when that evaluation was made.
            self.warn(&format!(
                "{}: the checkpoint of step {step} is not there to go back to",
                watched::RULE
            ))?;
            return Ok(false);
        }
        self.go_back(stage, Target::Watched(step), watched::RULE)?;
        Ok(true)
    }

    fn is_due(&self, every: usize) -> bool {
        every > 0 && self.step.is_multiple_of(every as u64)
    }

    /// Whether an evaluation's checkpoint has to be kept: it is the best one so far. One that a
    /// signal cut short is not judged: it comes again when the run goes on.
    fn judge(&mut self, evaluation: Option<&Evaluation>) -> Result<bool, TrainError> {
        if self.interrupter.should_stop() {
            return Ok(false);
        }
        let mut is_best = match &mut self.best {
            Some(best) => best.judge(self.step, evaluation)?,
            None => false,
        };
        if let Some(watch) = &mut self.watch {
            match watch.judge(self.step, evaluation)? {
                Verdict::Fine => {}
                Verdict::Best(cleared) => {
                    is_best |= watch.kept_step().is_some();
                    if let Some(cleared) = cleared {
                        self.tell((*cleared).into())?;
                    }
                }
                Verdict::Fell(alert) => self.tell((*alert).into())?,
            }
        }
        Ok(is_best)
    }

    /// Whether the run ends before its last step; then the log says why.
    fn ends_early(&self) -> Result<Option<Ended>, TrainError> {
        let ended = Ended::early(self.best.as_ref(), self.watch.as_ref());
        let why = match ended {
            None | Some(Ended::Completed) => return Ok(None),
            Some(Ended::EarlyStopped) => self.best.as_ref().and_then(BestTracker::out_of_patience),
            Some(Ended::WatchedMetricFell) => Some("the watched metric fell (on_watch)".to_owned()),
        };
        let why = why.unwrap_or_default();
        self.warn(&format!("the run ends at step {}: {why}", self.step))?;
        Ok(ended)
    }

    fn optimizer_step<S: Stage>(
        &mut self,
        stage: &mut S,
        step: u64,
        schedule: &Schedule,
        meter: &StepMeter,
    ) -> Result<event::Step, TrainError> {
        let interrupter = self.interrupter.clone();
        let should_stop = || interrupter.should_stop();
        let next = || stage.next_step(step, &self.model, meter, &should_stop);
        let batches = meter.time(Part::Data, next)?;
        let learning_rate = schedule.learning_rate(step);
        let max_norm = self.recipe.optimizer.max_grad_norm;
        let (optimizer, model) = (&mut self.optimizer, &mut self.model);
        let recompute = self.recompute;
        let StepOutcome {
            loss,
            grad_norm,
            is_taken,
        } = meter.time(Part::ForwardBackward, || {
            let mut gradients = GradientBuffer::default();
            let mut losses = Vec::new();
            for batch in &batches {
                let forward = Forward::new(model, recompute).metered(meter);
                if let Some(loss) = stage.loss(&forward, batch) {
                    forward.backward(&loss, &mut gradients);
                    losses.push(loss.inner());
                }
            }
            if losses.is_empty() {
                return StepOutcome::NOTHING;
            }
            // On a GPU the optimizer is enqueued before the norm is known here.
            let (scale, values) = gradients.clip(losses, max_norm);
            meter.time(Part::Optimizer, || {
                optimizer.step(model, gradients, &scale, learning_rate, step);
            });
            values.wait()
        });
        let event = event::Step {
            step,
            loss: Scalar(loss),
            grad_norm: Scalar(grad_norm),
            learning_rate: Scalar(learning_rate),
            tokens_per_second: Scalar(f64::NAN),
            fields: stage.metrics(),
        };
        if is_taken {
            return Ok(event);
        }
        let (what, value) = match loss.is_finite() {
            true => ("the gradient norm", grad_norm),
            false => ("the loss", loss),
        };
        match self.recipe.run.on_nonfinite {
            OnNonfinite::Stop | OnNonfinite::Rollback => {
                self.log.append(event.clone())?;
                self.observe(Observation::Step(&event))?;
                Err(TrainError::Diverged { step, what, value })
            }
            OnNonfinite::Skip => {
                self.warn(&format!("step {step} was left out: {what} is {value}"))?;
                Ok(event)
            }
        }
    }

    /// Writes the step's line and samples, and a line of progress.
    fn report<S: Stage>(
        &mut self,
        stage: &mut S,
        mut event: event::Step,
        (took, meter): (Duration, &StepMeter),
        throughput: &Throughput,
    ) -> Result<(), TrainError> {
        let tokens = event.fields.scalar("num_tokens").unwrap_or(f64::NAN);
        event.tokens_per_second = Scalar(tokens / took.as_secs_f64()).shortened();
        // Half of a step's line would be digits that say nothing. Loss and gradient norm keep theirs:
        // they are sums in f64, by which runs are compared to the last bit.
        event.fields.shorten();
        // As its parts below, rounded down, so that they never add up to more.
        event.fields.set("step_time", took.as_micros() as f64 / 1e6);
        meter.report(took, &mut event.fields);
        for sample in stage.samples() {
            self.samples.append(&sample)?;
        }
        let every = self.recipe.run.logging_steps.max(1) as u64;
        if event.step.is_multiple_of(every) || event.step == self.total_steps {
            let eta = throughput.eta(self.total_steps - event.step);
            say!("{}", tui::plain::step_line(&event, self.total_steps, eta));
        }
        if let Some(best) = &mut self.best {
            best.add_step(&event);
        }
        if let Some(watch) = &mut self.watch {
            watch.add_step(&event);
        }
        self.log.append(event.clone())?;
        self.observe(Observation::Step(&event))
    }

    /// Measures the model and logs what came out; nothing is decided by it here.
    pub(crate) fn evaluate<S: Stage>(
        &mut self,
        stage: &mut S,
    ) -> Result<Option<Evaluation>, TrainError> {
        self.phase("evaluate")?;
        let interrupter = self.interrupter.clone();
        let evaluation = stage.evaluate(&self.model, &|| interrupter.should_stop())?;
        // A signal cuts an evaluation short, and part of one is no measurement.
        let evaluation = evaluation.filter(|_| !interrupter.should_stop());
        if let Some(evaluation) = &evaluation {
            let mut event = event::Evaluation {
                step: self.step,
                name: event::Evaluation::HELD_OUT.to_owned(),
                table: evaluation.rows.clone(),
                fields: evaluation.metrics.clone(),
            };
            say!("{}", tui::plain::evaluation_line(&event));
            let samples = evaluation.shown_samples();
            if !samples.is_empty() {
                event.fields.set("samples", json!(samples));
            }
            self.log.append(event.clone())?;
            self.observe(Observation::Evaluation(&event))?;
            self.report_data(stage)?;
        }
        self.phase("train")?;
        Ok(evaluation)
    }

    fn warn(&self, message: &str) -> Result<(), TrainError> {
        say!("warning: {message}");
        let mut warning = event::Warning::new(message);
        warning.step = Some(self.step);
        Ok(self.log.append(warning)?)
    }

    pub(crate) fn phase(&self, name: &str) -> Result<(), TrainError> {
        let phase: Event = event::Phase {
            name: name.to_owned(),
            step: self.step,
            fields: Fields::new(),
        }
        .into();
        Ok(self.log.append(phase)?)
    }
}

/// The rows of two evaluations by group: start, end.
pub fn paired_rows<'a>(
    start: &'a Evaluation,
    end: &'a Evaluation,
) -> Vec<(&'a EvaluationRow, &'a EvaluationRow)> {
    start
        .rows
        .iter()
        .filter_map(|row| {
            let other = end.rows.iter().find(|other| other.group == row.group)?;
            Some((row, other))
        })
        .collect()
}
