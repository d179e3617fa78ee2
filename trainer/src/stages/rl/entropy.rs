//! The weight of the entropy in the objective.

use serde::{Deserialize, Serialize};

use crate::recipe::RlSettings;

/// The weight, which `use_adaptive_entropy` moves towards a target from step to step (Skywork-OR1,
/// arXiv 2505.22312).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct EntropyCoef {
    value: f64,
    /// Mean entropy of the step before, in nats.
    last: Option<f64>,
}

impl EntropyCoef {
    pub(super) fn new(settings: &RlSettings) -> Self {
        EntropyCoef {
            value: settings.entropy_coef,
            last: None,
        }
    }

    /// What the next step weighs the entropy with: nothing where the step before had more than the target,
    /// or was none.
    pub(super) fn applied(self, settings: &RlSettings) -> f64 {
        let is_low = |entropy: f64| entropy <= settings.entropy_target;
        match settings.use_adaptive_entropy {
            true if self.last.is_some_and(is_low) => self.value,
            true => 0.0,
            false => settings.entropy_coef,
        }
    }

    /// A step ended whose tokens had this mean entropy.
    pub(super) fn observe(&mut self, mean: f64, settings: &RlSettings) {
        if !settings.use_adaptive_entropy || !mean.is_finite() {
            return;
        }
        let delta = settings.entropy_coef_delta;
        self.value = match mean <= settings.entropy_target {
            true => (self.value + delta).min(settings.entropy_coef_max),
            false => (self.value - delta).max(settings.entropy_coef_min),
        };
        self.last = Some(mean);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipe::{RawRecipe, StageName, StageSettings, for_stage};

    fn settings(keys: &[&str]) -> RlSettings {
        let mut raw = RawRecipe::new();
        for key in keys {
            raw.set(Some(StageName::Rl), key);
        }
        let recipe = for_stage(&raw, StageName::Rl).expect("a sound recipe");
        let StageSettings::Rl(settings) = recipe.stage else {
            unreachable!("the stage's own settings");
        };
        settings
    }

    #[test]
    fn a_weight_that_is_not_adaptive_stays() {
        let settings = settings(&["entropy_coef=0.01"]);
        let mut coef = EntropyCoef::new(&settings);
        assert_eq!(coef.applied(&settings), 0.01);
        coef.observe(0.0, &settings);
        assert_eq!(coef.applied(&settings), 0.01);
        // Nor does one that was left by a recipe that had it so.
        coef.value = 0.3;
        assert_eq!(coef.applied(&settings), 0.01);
    }

    /// Below the target it grows and is applied, above it shrinks and is not; the bounds hold.
    #[test]
    fn an_adaptive_weight_follows_the_entropy() {
        let settings = settings(&[
            "use_adaptive_entropy=true",
            "entropy_coef=0.5",
            "entropy_coef_delta=0.25",
            "entropy_coef_min=0.125",
            "entropy_coef_max=0.875",
            "entropy_target=0.4",
        ]);
        let mut coef = EntropyCoef::new(&settings);
        assert_eq!(coef.applied(&settings), 0.0, "nothing is known yet");
        let applied = [0.4, 0.3, 0.5, 0.6, 0.9, f64::NAN, 0.1].map(|mean| {
            coef.observe(mean, &settings);
            (coef.value, coef.applied(&settings))
        });
        let want = [
            (0.75, 0.75),
            (0.875, 0.875),
            (0.625, 0.0),
            (0.375, 0.0),
            (0.125, 0.0),
            (0.125, 0.0),
            (0.375, 0.375),
        ];
        assert_eq!(applied, want);
    }
}
