//! A held-out metric that is never a reward, and the rule that it must not fall while the reward
//! rises: what a policy does that has learnt to please its reward functions and nothing else.
//!
//! At each evaluation, *w* is the watched metric on held-out completions and *r* the mean reward of
//! the training completions since the evaluation before. The rule fires where
//!
//! ```text
//! w < w* − watch_tolerance   and   r > r* + watch_tolerance
//! ```
//!
//! where *w\** is the highest *w* so far and *r\** the *r* of that evaluation; for the evaluation
//! before the first step, that of the steps up to the next one. It fires once, and again only after
//! a higher *w\**.

use serde::{Deserialize, Serialize};
use telemetry::event::{Alert, AlertCleared, AlertLevel, Step};
use telemetry::{Fields, Scalar};

use crate::TrainError;
use crate::recipe::{OnWatch, Recipe, StageSettings};
use crate::stage::Evaluation;

/// The rule's name in alerts.
pub const RULE: &str = "watched_metric_fell";

/// How often a run goes back to the same best evaluation.
const MAX_ROLLBACKS: usize = 3;

/// What a resumed run needs to judge as if it had not stopped.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct WatchState {
    /// The evaluation with the highest value so far.
    best: Option<BestWatched>,
    /// Optimizer steps before the last evaluation that was judged.
    judged_step: u64,
    /// The sum and number of the rewards since then.
    since: (Scalar, u64),
    /// Whether the rule has fired since the best evaluation.
    fired: bool,
    /// How often the run went back to the best evaluation.
    num_rollbacks: usize,
}

/// `{"step": 40, "value": 0.61, "reward": 0.35}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct BestWatched {
    step: u64,
    value: f64,
    /// Unknown before the first step.
    reward: Option<Scalar>,
}

/// What an evaluation says.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// Nothing in particular.
    Fine,
    /// No evaluation had a higher value. Where the rule had fired, its alert is cleared.
    Best(Option<Box<AlertCleared>>),
    /// The rule fired.
    Fell(Box<Alert>),
}

/// Keeps the watched metric in mind.
#[derive(Clone, Debug)]
pub struct Watch {
    metric: String,
    tolerance: f64,
    on_watch: OnWatch,
    state: WatchState,
}

impl Watch {
    /// `None` where the recipe watches nothing.
    pub fn new(recipe: &Recipe, state: WatchState) -> Option<Self> {
        let StageSettings::Rl(settings) = &recipe.stage else {
            return None;
        };
        Some(Watch {
            metric: metric_name(settings.watch_metric.as_ref()?),
            tolerance: settings.watch_tolerance,
            on_watch: settings.on_watch,
            state,
        })
    }

    /// What goes into a checkpoint.
    pub fn state(&self) -> &WatchState {
        &self.state
    }

    /// Optimizer steps before the last evaluation that was judged.
    pub fn judged_step(&self) -> u64 {
        self.state.judged_step
    }

    /// Whether the rule has fired since the best evaluation: then its alert holds.
    pub fn has_fired(&self) -> bool {
        self.state.fired
    }

    /// Whether the run ended, or ends now, because the rule fired.
    pub fn ends_run(&self) -> bool {
        let out_of_rollbacks = self.state.num_rollbacks >= MAX_ROLLBACKS;
        self.state.fired
            && match self.on_watch {
                OnWatch::Alert => false,
                OnWatch::Stop => true,
                OnWatch::Rollback => out_of_rollbacks,
            }
    }

    /// The step whose checkpoint has to be there to go back to.
    pub fn kept_step(&self) -> Option<u64> {
        let best = self.state.best.as_ref()?;
        (self.on_watch == OnWatch::Rollback).then_some(best.step)
    }

    /// The step to go back to now, if any.
    pub fn rollback_step(&self) -> Option<u64> {
        self.kept_step()
            .filter(|_| self.state.fired && !self.ends_run())
    }

    /// The state with which training goes on from the best evaluation's checkpoint, `then` being
    /// what that checkpoint knows.
    pub fn after_rollback(&self, then: WatchState) -> WatchState {
        WatchState {
            num_rollbacks: self.state.num_rollbacks + 1,
            best: self.state.best.clone(),
            ..then
        }
    }

    /// Whether evaluations have the metric.
    ///
    /// # Errors
    /// They have not.
    pub fn check(&self, evaluation: Option<&Evaluation>) -> Result<f64, TrainError> {
        let value = evaluation.and_then(|evaluation| evaluation.metrics.scalar(&self.metric));
        value.ok_or_else(|| {
            TrainError::Usage(format!(
                "watch_metric: no evaluation has {}\nhint: it compares with the `reference` or \
                 the `ground_truth` of eval_data's records",
                self.metric
            ))
        })
    }

    /// Takes in a step's reward.
    pub fn add_step(&mut self, step: &Step) {
        if let Some(reward) = step.fields.scalar("reward") {
            let (sum, count) = &mut self.state.since;
            *sum = Scalar(sum.0 + reward);
            *count += 1;
        }
    }

    /// Takes in the evaluation after `step` optimizer steps. A value that is not finite never is
    /// the best, and the rule does not fire on it.
    ///
    /// # Errors
    /// The metric was not measured.
    pub fn judge(
        &mut self,
        step: u64,
        evaluation: Option<&Evaluation>,
    ) -> Result<Verdict, TrainError> {
        let value = self.check(evaluation)?;
        let (sum, count) = std::mem::take(&mut self.state.since);
        let reward = (count > 0).then(|| Scalar(sum.0 / count as f64));
        self.state.judged_step = step;
        let is_best = |best: &BestWatched| value > best.value;
        if value.is_finite() && self.state.best.as_ref().is_none_or(is_best) {
            self.state.best = Some(BestWatched {
                step,
                value,
                reward,
            });
            self.state.num_rollbacks = 0;
            let had_fired = std::mem::take(&mut self.state.fired);
            let cleared = had_fired.then(|| Box::new(self.cleared(step, value)));
            return Ok(Verdict::Best(cleared));
        }
        let Some(best) = &mut self.state.best else {
            return Ok(Verdict::Fine);
        };
        if best.reward.is_none() {
            best.reward = reward;
        }
        let before = best.reward.unwrap_or(Scalar(f64::NAN));
        let now = reward.map_or(f64::NAN, |reward| reward.0);
        let fell = best.value - value > self.tolerance && now - before.0 > self.tolerance;
        if !fell || self.state.fired {
            return Ok(Verdict::Fine);
        }
        self.state.fired = true;
        Ok(Verdict::Fell(Box::new(Alert {
            rule: RULE.to_owned(),
            message: format!(
                "{} fell from {:.4} at step {} to {value:.4} while the reward rose from {:.4} to \
                 {now:.4}",
                self.metric, best.value, best.step, before.0
            ),
            step: Some(step),
            level: Some(AlertLevel::Alarm),
            fields: Fields::new()
                .with("watch_metric", self.metric.as_str())
                .with("value", value)
                .with("best_value", best.value)
                .with("best_step", best.step)
                .with("reward", now)
                .with("best_reward", before.0),
        })))
    }

    fn cleared(&self, step: u64, value: f64) -> AlertCleared {
        AlertCleared {
            rule: RULE.to_owned(),
            message: format!("{} is {value:.4}, higher than ever before", self.metric),
            step: Some(step),
            fields: Fields::new()
                .with("watch_metric", self.metric.as_str())
                .with("value", value),
        }
    }
}

/// How an evaluation names the watched metric, apart from rewards.
pub fn metric_name(verifier: &str) -> String {
    format!("watch/{verifier}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipe::{RawRecipe, StageName, for_stage};

    fn watch(on_watch: &str) -> Watch {
        let mut raw = RawRecipe::new();
        let on_watch = format!("on_watch={on_watch}");
        for assignment in [
            "watch_metric=chrf",
            "watch_tolerance=0.1",
            "eval_data=e.jsonl",
            &on_watch,
        ] {
            raw.set(Some(StageName::Rl), assignment);
        }
        let recipe = for_stage(&raw, StageName::Rl).expect("a sound recipe");
        Watch::new(&recipe, WatchState::default()).expect("it watches")
    }

    /// Steps with this reward, then an evaluation with this value.
    fn evaluate(watch: &mut Watch, step: u64, reward: f64, value: f64) -> Verdict {
        let fields = Fields::new().with("reward", reward);
        let none = Scalar(0.0);
        watch.add_step(&Step {
            step,
            loss: none,
            grad_norm: none,
            learning_rate: none,
            tokens_per_second: none,
            fields,
        });
        judge(watch, step, value)
    }

    fn judge(watch: &mut Watch, step: u64, value: f64) -> Verdict {
        let evaluation = Evaluation {
            metrics: Fields::new().with("watch/chrf", value),
            rows: Vec::new(),
            samples: Vec::new(),
        };
        watch
            .judge(step, Some(&evaluation))
            .expect("it was measured")
    }

    #[test]
    fn it_fires_once_where_the_reward_rises_and_the_metric_falls_by_more_than_the_tolerance() {
        let mut watch = watch("alert");
        assert_eq!(judge(&mut watch, 0, 0.5), Verdict::Best(None));
        // (mean reward, watched value, whether the rule fires)
        for (step, (reward, value, fires)) in (1..).zip([
            (0.2, 0.3, false),  // the first reward is what later ones are compared with
            (0.25, 0.3, false), // it rose by less than the tolerance
            (0.4, 0.45, false), // the metric fell by less
            (0.4, f64::NAN, false),
            (0.4, 0.3, true),
            (0.5, 0.2, false), // it has fired
        ]) {
            let verdict = evaluate(&mut watch, step, reward, value);
            assert_eq!(matches!(verdict, Verdict::Fell(_)), fires, "step {step}");
        }
        let Verdict::Best(Some(cleared)) = evaluate(&mut watch, 7, 0.5, 0.6) else {
            panic!("a higher value clears the alert");
        };
        assert_eq!((&*cleared.rule, cleared.step), (RULE, Some(7)));
        assert_eq!(cleared.fields.scalar("value"), Some(0.6));
        assert_eq!(evaluate(&mut watch, 7, 0.5, 0.7), Verdict::Best(None));
        let Verdict::Fell(alert) = evaluate(&mut watch, 8, 0.7, 0.4) else {
            panic!("it fires again after a better evaluation");
        };
        assert_eq!(alert.fields.scalar("best_step"), Some(7.0));
        assert_eq!(alert.fields.scalar("best_reward"), Some(0.5));
        assert!(!watch.ends_run() && watch.rollback_step().is_none());
    }

    #[test]
    fn a_run_goes_back_three_times_to_one_evaluation_and_then_ends() {
        let mut watch = watch("rollback");
        judge(&mut watch, 0, 0.5);
        evaluate(&mut watch, 10, 0.2, 0.6);
        let at_10 = watch.state().clone();
        for _ in 0..MAX_ROLLBACKS {
            evaluate(&mut watch, 20, 0.6, 0.3);
            assert_eq!(watch.rollback_step(), Some(10));
            watch.state = watch.after_rollback(at_10.clone());
        }
        evaluate(&mut watch, 20, 0.6, 0.3);
        assert!(watch.ends_run() && watch.rollback_step().is_none());
    }
}
