//! Learning-rate schedules under Hugging Face's names.

use crate::recipe::{LrSchedulerType, ScheduleSettings};

/// The learning rate of each optimizer step.
#[derive(Clone, Debug, PartialEq)]
pub struct Schedule {
    settings: ScheduleSettings,
    warmup_steps: u64,
    total_steps: u64,
}

impl Schedule {
    /// For a run of `total_steps` optimizer steps.
    pub fn new(settings: &ScheduleSettings, total_steps: u64) -> Self {
        let warmup_steps = match settings.warmup_steps {
            0 => (settings.warmup_ratio * total_steps as f64).ceil() as u64,
            steps => steps as u64,
        };
        Schedule {
            settings: settings.clone(),
            warmup_steps,
            total_steps,
        }
    }

    /// The learning rate of step `step`, from 1. As Hugging Face counts, the first step of a
    /// warm-up has rate 0 and the first step after it the full rate.
    pub fn learning_rate(&self, step: u64) -> f64 {
        self.settings.learning_rate * self.factor(step.saturating_sub(1))
    }

    /// Steps of warm-up.
    pub fn warmup_steps(&self) -> u64 {
        self.warmup_steps
    }

    /// The steps before warmup_stable_decay falls; the other schedules fall from the end of warm-up.
    pub fn decay_start(&self) -> Option<f64> {
        let stable = self.settings.lr_scheduler_type == LrSchedulerType::WarmupStableDecay;
        stable.then(|| self.total_steps as f64 - self.decay_steps())
    }

    /// The highest rate of the run.
    pub fn highest_learning_rate(&self) -> f64 {
        let [rising, risen] = [self.warmup_steps, self.warmup_steps + 1]
            .map(|step| self.learning_rate(step.clamp(1, self.total_steps.max(1))));
        rising.max(risen)
    }

    fn decay_steps(&self) -> f64 {
        self.settings.decay_ratio * self.total_steps as f64
    }

    /// `taken` steps came before.
    fn factor(&self, taken: u64) -> f64 {
        if taken < self.warmup_steps {
            return taken as f64 / self.warmup_steps as f64;
        }
        let after_warmup = (taken - self.warmup_steps) as f64;
        let length = (self.total_steps.saturating_sub(self.warmup_steps)).max(1) as f64;
        let progress = (after_warmup / length).min(1.0);
        let floor = self.settings.min_lr_ratio;
        let above_floor = |factor: f64| floor + (1.0 - floor) * factor;
        match self.settings.lr_scheduler_type {
            LrSchedulerType::Constant => 1.0,
            LrSchedulerType::Linear => above_floor(1.0 - progress),
            LrSchedulerType::Cosine => {
                above_floor(0.5 * (1.0 + (std::f64::consts::PI * progress).cos()))
            }
            LrSchedulerType::WarmupStableDecay => {
                let left = self.total_steps.saturating_sub(taken) as f64;
                above_floor((left / self.decay_steps().max(1.0)).min(1.0))
            }
            LrSchedulerType::InverseSqrt => {
                // Without a warm-up the time scale is 10,000 steps, as in transformers.
                let scale = match self.warmup_steps {
                    0 => 10_000.0,
                    steps => steps as f64,
                };
                (scale / (scale + after_warmup)).sqrt()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipe::{RawRecipe, StageName, for_stage};

    fn schedule(kind: &str, total_steps: u64) -> Schedule {
        let mut raw = RawRecipe::new();
        for set in [
            &format!("lr_scheduler_type={kind}"),
            "learning_rate=1.0",
            "warmup_steps=4",
            "warmup_ratio=0",
            "min_lr_ratio=0.1",
            "decay_ratio=0.25",
        ] {
            raw.set(Some(StageName::Sft), set);
        }
        let recipe = for_stage(&raw, StageName::Sft).expect("the recipe is sound");
        Schedule::new(&recipe.schedule, total_steps)
    }

    #[test]
    fn warm_up_is_linear_from_zero() {
        let schedule = schedule("constant", 20);
        let rates: Vec<f64> = (1..=6).map(|step| schedule.learning_rate(step)).collect();
        assert_eq!(rates, [0.0, 0.25, 0.5, 0.75, 1.0, 1.0]);
    }

    #[test]
    fn cosine_and_linear_go_halfway_in_the_middle_and_end_at_the_floor() {
        for kind in ["cosine", "linear"] {
            let schedule = schedule(kind, 20);
            assert!((schedule.learning_rate(13) - 0.55).abs() < 1e-12, "{kind}");
            assert!((schedule.learning_rate(21) - 0.1).abs() < 1e-12, "{kind}");
        }
    }

    #[test]
    fn the_highest_rate_is_the_peak_where_the_run_gets_there() {
        assert_eq!(schedule("linear", 20).highest_learning_rate(), 1.0);
        assert_eq!(schedule("linear", 5).highest_learning_rate(), 1.0);
        assert_eq!(schedule("linear", 4).highest_learning_rate(), 0.75);
        assert_eq!(schedule("linear", 1).highest_learning_rate(), 0.0);
    }

    #[test]
    fn stable_decay_holds_the_rate_until_the_last_quarter() {
        let schedule = schedule("warmup_stable_decay", 20);
        assert_eq!(schedule.learning_rate(15), 1.0);
        assert!(schedule.learning_rate(19) < 0.6);
    }
}
