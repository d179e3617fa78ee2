//! Which checkpoint is the best one by a metric, and when to stop for lack of a better one.
//!
//! The loop tells the steps ([`BestTracker::add_step`]) and asks at each evaluation
//! ([`BestTracker::judge`]). As in transformers, any better value makes a checkpoint the best one,
//! but patience begins anew only where it is better by more than `early_stopping_threshold`.

use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::json;
use telemetry::atomic::write_atomic;
use telemetry::event::Step;
use telemetry::metric::Better;
use telemetry::{Fields, RunDir, Scalar};

use crate::TrainError;
use crate::recipe::RunSettings;
use crate::stage::Evaluation;

/// How the metrics of evaluations are named, apart from those of steps.
const EVAL: &str = "eval/";

/// What a resumed run needs to judge as if it had not stopped.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct BestState {
    /// The best evaluation so far.
    pub best: Option<Best>,
    /// Evaluations since the last one that was better by more than the threshold.
    pub num_without_improvement: usize,
    /// Optimizer steps before the last evaluation that was judged.
    pub judged_step: u64,
    /// The sum and number of a step metric's values since then.
    pub since: (Scalar, u64),
}

/// An evaluation and what it measured: `{"step": 40, "metric": "eval/loss", "value": 1.92}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Best {
    /// Optimizer steps taken before it, and the number of its checkpoint.
    pub step: u64,
    /// The metric's name.
    pub metric: String,
    /// Its value, a finite one.
    pub value: f64,
}

/// The checkpoint that a finished run hands on: the best one by its recipe's metric where it keeps one,
/// else the newest. `None` where none was written.
///
/// # Errors
/// The folder cannot be read, or `best.json` is not what [`BestTracker::write`] writes.
pub fn result_checkpoint(
    run_dir: &RunDir,
    settings: &RunSettings,
) -> Result<Option<PathBuf>, TrainError> {
    let newest = run_dir.newest_checkpoint()?.map(|newest| newest.path);
    let Some(metric) = &settings.metric_for_best_model else {
        return Ok(newest);
    };
    let path = run_dir.best_file();
    let text = match fs::read_to_string(&path) {
        // No evaluation had a finite value.
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(newest),
        text => text.map_err(TrainError::io(&path))?,
    };
    let best: BestFile = serde_json::from_str(&text)
        .map_err(|error| TrainError::Checkpoint(format!("{}: {error}", path.display())))?;
    let saved = run_dir.checkpoint_dir(best.best_global_step);
    match best.metric_for_best_model == *metric && saved.is_dir() {
        true => Ok(Some(saved)),
        false => Ok(newest),
    }
}

/// What is read of `best.json`.
#[derive(Deserialize)]
struct BestFile {
    metric_for_best_model: String,
    best_global_step: u64,
}

/// Keeps the best evaluation in mind.
#[derive(Clone, Debug)]
pub struct BestTracker {
    metric: String,
    better: Better,
    patience: usize,
    threshold: f64,
    state: BestState,
    /// Steps that this process has taken in.
    num_steps: u64,
}

impl BestTracker {
    /// `None` where the recipe names no metric. A state of another metric is forgotten.
    pub fn new(settings: &RunSettings, mut state: BestState) -> Option<Self> {
        let metric = settings.metric_for_best_model.clone()?;
        if state
            .best
            .as_ref()
            .is_some_and(|best| best.metric != metric)
        {
            state = BestState::default();
        }
        Some(BestTracker {
            better: settings
                .direction()
                .expect("a recipe says which way is better"),
            patience: settings.early_stopping_patience,
            threshold: settings.early_stopping_threshold,
            metric,
            state,
            num_steps: 0,
        })
    }

    /// What goes into a checkpoint.
    pub fn state(&self) -> &BestState {
        &self.state
    }

    /// Optimizer steps of the best checkpoint.
    pub fn step(&self) -> Option<u64> {
        self.state.best.as_ref().map(|best| best.step)
    }

    /// The best value so far.
    pub fn value(&self) -> Option<f64> {
        self.state.best.as_ref().map(|best| best.value)
    }

    /// Optimizer steps before the last evaluation that was judged.
    pub fn judged_step(&self) -> u64 {
        self.state.judged_step
    }

    /// Whether so many evaluations were no better that the run should end, and what to say then.
    pub fn out_of_patience(&self) -> Option<String> {
        let number = self.state.num_without_improvement;
        (self.patience > 0 && number >= self.patience).then(|| {
            format!(
                "{} was no better in {number} evaluations (early_stopping_patience)",
                self.metric
            )
        })
    }

    /// Whether an evaluation has the metric, where it is one of evaluations.
    ///
    /// # Errors
    /// It has not; the message names those that it has.
    pub fn check(&self, evaluation: Option<&Evaluation>) -> Result<(), TrainError> {
        let Some(name) = self.metric.strip_prefix(EVAL) else {
            return Ok(());
        };
        let Some(evaluation) = evaluation else {
            return Err(self.unmeasured("there is no held-out data", "name files in eval_data"));
        };
        if evaluation.metrics.scalar(name).is_some() {
            return Ok(());
        }
        let names: Vec<String> = evaluation
            .metrics
            .scalars()
            .map(|(name, _)| format!("{EVAL}{name}"))
            .collect();
        Err(self.unmeasured(
            "no evaluation has it",
            &format!("there are {}", names.join(", ")),
        ))
    }

    /// Takes in a step's metrics.
    pub fn add_step(&mut self, step: &Step) {
        self.num_steps += 1;
        if let Some(value) = step.scalar(&self.metric) {
            let (sum, count) = &mut self.state.since;
            *sum = Scalar(sum.0 + value);
            *count += 1;
        }
    }

    /// Takes in the evaluation after `step` optimizer steps, and returns whether it is the best so
    /// far. A value that is not finite never is.
    ///
    /// # Errors
    /// The metric was not measured.
    pub fn judge(
        &mut self,
        step: u64,
        evaluation: Option<&Evaluation>,
    ) -> Result<bool, TrainError> {
        self.check(evaluation)?;
        let (sum, count) = std::mem::take(&mut self.state.since);
        self.state.judged_step = step;
        let value = match self.metric.strip_prefix(EVAL) {
            Some(name) => evaluation.and_then(|evaluation| evaluation.metrics.scalar(name)),
            None => (count > 0).then(|| sum.0 / count as f64),
        };
        let is_of_steps = !self.metric.starts_with(EVAL);
        if value.is_none() && (self.num_steps == 0 || is_of_steps && self.state.best.is_some()) {
            // A run that goes on from a checkpoint with a metric it did not have before, or a reward, which
            // only the steps have that begin a set of completions.
            return Ok(false);
        }
        let Some(value) = value else {
            let hint = "the events.jsonl of a run shows what its steps measure";
            return Err(self.unmeasured("no step since the last evaluation has it", hint));
        };
        let best = self.state.best.as_ref().map(|best| best.value);
        match self.is_better(value, best, self.threshold) {
            true => self.state.num_without_improvement = 0,
            false => self.state.num_without_improvement += 1,
        }
        let is_best = self.is_better(value, best, 0.0);
        if is_best {
            let metric = self.metric.clone();
            self.state.best = Some(Best {
                step,
                metric,
                value,
            });
        }
        Ok(is_best)
    }

    /// What a checkpoint's event says about the best one, in transformers' words.
    pub fn fields(&self) -> Fields {
        let Some(best) = &self.state.best else {
            return Fields::new();
        };
        Fields::new()
            .with("metric_for_best_model", best.metric.as_str())
            .with("best_metric", best.value)
            .with("best_global_step", best.step)
            .with("best_model_checkpoint", checkpoint_name(best.step))
    }

    /// Writes `best.json` where the best checkpoint is there, and removes one that tells of a
    /// checkpoint which a resumed run has left behind.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&self, run_dir: &RunDir) -> Result<(), TrainError> {
        let path = run_dir.best_file();
        let saved = |best: &&Best| run_dir.checkpoint_dir(best.step).is_dir();
        let Some(best) = self.state.best.as_ref().filter(saved) else {
            return match fs::remove_file(&path) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    Err(TrainError::io(&path)(error))
                }
                _ => Ok(()),
            };
        };
        let json = json!({
            "metric_for_best_model": best.metric,
            "greater_is_better": self.better == Better::Higher,
            "best_metric": best.value,
            "best_global_step": best.step,
            "best_model_checkpoint": checkpoint_name(best.step),
        });
        Ok(write_atomic(&path, format!("{json:#}\n"))?)
    }

    fn is_better(&self, value: f64, than: Option<f64>, threshold: f64) -> bool {
        let by = |than: f64| match self.better {
            Better::Higher => value - than,
            _ => than - value,
        };
        value.is_finite() && than.is_none_or(|than| by(than) > threshold)
    }

    fn unmeasured(&self, why: &str, hint: &str) -> TrainError {
        let metric = &self.metric;
        TrainError::Usage(format!(
            "metric_for_best_model = {metric:?}: {why}\nhint: {hint}"
        ))
    }
}

/// The name that [`RunDir::checkpoint_dir`] gives.
fn checkpoint_name(step: u64) -> String {
    format!("checkpoint-{step}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipe::{RawRecipe, StageName, for_stage};

    fn settings(assignments: &[&str]) -> RunSettings {
        let mut raw = RawRecipe::new();
        for assignment in assignments {
            raw.set(Some(StageName::Sft), assignment);
        }
        for_stage(&raw, StageName::Sft).unwrap().run
    }

    fn tracker(assignments: &[&str]) -> BestTracker {
        BestTracker::new(&settings(assignments), BestState::default()).unwrap()
    }

    fn evaluation(loss: f64) -> Evaluation {
        Evaluation {
            metrics: Fields::new().with("loss", loss),
            rows: Vec::new(),
            samples: Vec::new(),
        }
    }

    fn step(reward: Option<f64>) -> Step {
        let mut fields = Fields::new();
        if let Some(reward) = reward {
            fields.set("reward", reward);
        }
        Step {
            step: 1,
            loss: Scalar(0.0),
            grad_norm: Scalar(0.0),
            learning_rate: Scalar(0.0),
            tokens_per_second: Scalar(0.0),
            fields,
        }
    }

    /// A set of completions may be trained on for longer than from one evaluation to the next.
    #[test]
    fn an_evaluation_without_a_new_reward_says_nothing_of_the_model() {
        let mut best = tracker(&["metric_for_best_model=reward"]);
        best.add_step(&step(Some(0.5)));
        assert!(best.judge(1, None).unwrap());
        best.add_step(&step(None));
        assert!(!best.judge(2, None).unwrap());
        assert_eq!(best.state.num_without_improvement, 0);
        best.add_step(&step(Some(0.75)));
        assert!(best.judge(3, None).unwrap());
    }

    #[test]
    fn every_better_evaluation_is_the_best_and_only_a_clear_one_renews_patience() {
        let mut best = tracker(&[
            "metric_for_best_model=eval/loss",
            "early_stopping_patience=3",
            "early_stopping_threshold=0.5",
        ]);
        // (loss, whether it is the best so far, evaluations without improvement).
        for (step, (loss, is_best, waited)) in (1..).zip([
            (4.0, true, 0),
            (f64::NAN, false, 1),
            (3.75, true, 2),
            (3.0, true, 0),
            (f64::NEG_INFINITY, false, 1),
            (3.0, false, 2),
        ]) {
            assert_eq!(best.judge(step, Some(&evaluation(loss))).unwrap(), is_best);
            assert_eq!(best.state.num_without_improvement, waited, "step {step}");
            assert_eq!(best.out_of_patience(), None);
        }
        assert_eq!(best.step(), Some(4));
        best.judge(7, Some(&evaluation(3.5))).unwrap();
        assert!(
            best.out_of_patience()
                .unwrap()
                .contains("eval/loss was no better in 3")
        );
    }

    #[test]
    fn a_metric_of_steps_counts_with_its_mean_since_the_evaluation_before() {
        let mut best = tracker(&["metric_for_best_model=reward"]);
        for reward in [Some(0.5), None, Some(1.0)] {
            best.add_step(&step(reward));
        }
        assert!(best.judge(3, None).unwrap());
        assert_eq!(best.state.best.as_ref().unwrap().value, 0.75);
        best.add_step(&step(Some(0.5)));
        assert!(!best.judge(4, None).unwrap());
        let mut never = tracker(&["metric_for_best_model=reward"]);
        never.add_step(&step(None));
        let message = never.judge(1, None).unwrap_err().to_string();
        assert!(
            message.contains("reward") && message.contains("hint: "),
            "{message}"
        );
    }

    #[test]
    fn any_metric_that_a_step_has_can_be_the_one() {
        for metric in ["tokens_per_second", "learning_rate", "grad_norm", "loss"] {
            let metric = format!("metric_for_best_model={metric}");
            let mut best = tracker(&[&metric, "greater_is_better=true"]);
            best.add_step(&step(None));
            assert!(best.judge(1, None).expect("it is measured"), "{metric}");
        }
    }

    #[test]
    fn the_state_survives_a_checkpoint_and_is_forgotten_with_its_metric() {
        let mut best = tracker(&["metric_for_best_model=reward"]);
        best.add_step(&step(Some(0.1)));
        best.judge(1, None).unwrap();
        best.add_step(&step(Some(f64::NAN)));
        let json = serde_json::to_string(best.state()).unwrap();
        let state: BestState = serde_json::from_str(&json).unwrap();
        assert_eq!(&state, best.state());
        let other = settings(&["metric_for_best_model=eval/loss"]);
        let other = BestTracker::new(&other, state).unwrap();
        assert_eq!(other.state(), &BestState::default());
    }

    #[test]
    fn a_best_checkpoint_that_is_not_there_has_no_file_that_tells_of_it() {
        let dir = tempfile::tempdir().unwrap();
        let run_dir = RunDir::create(dir.path()).unwrap();
        let mut best = tracker(&["metric_for_best_model=eval/loss"]);
        best.judge(5, Some(&evaluation(2.0))).unwrap();
        best.write(&run_dir).unwrap();
        assert!(!run_dir.best_file().exists());
        for step in [5, 7] {
            fs::create_dir(run_dir.checkpoint_dir(step)).unwrap();
        }
        best.write(&run_dir).unwrap();
        let handed_on = |assignment: &str| {
            let checkpoint = result_checkpoint(&run_dir, &settings(&[assignment])).unwrap();
            checkpoint.unwrap()
        };
        let best_5 = handed_on("metric_for_best_model=eval/loss");
        assert_eq!(best_5, run_dir.checkpoint_dir(5));
        // Without the metric, or by another one, it is the newest.
        for other in ["metric_for_best_model=eval/chrf", "seed=1"] {
            assert_eq!(handed_on(other), run_dir.checkpoint_dir(7));
        }
        let written = fs::read_to_string(run_dir.best_file()).unwrap();
        assert!(
            written.contains("\"best_model_checkpoint\": \"checkpoint-5\""),
            "{written}"
        );
        fs::remove_dir(run_dir.checkpoint_dir(5)).unwrap();
        best.write(&run_dir).unwrap();
        assert!(!run_dir.best_file().exists());
    }
}
