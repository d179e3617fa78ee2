use std::path::Path;

use model::CausalLm;
use model::checkpoint::Dtype;
use tui::format;

use super::Findings;
use crate::monitor::DiskSpace;
use crate::recipe::{Optim, Recipe, RunSettings};

/// What a run writes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Saving {
    /// Parameters of the model.
    pub num_parameters: u64,
    /// Those that are trained.
    pub num_trained: u64,
    /// Bytes of each in a model folder.
    pub weight_bytes: u64,
    /// What keeps the moments.
    pub optim: Optim,
    /// Steps of the whole run.
    pub total_steps: u64,
}

impl Saving {
    /// What a run of this recipe writes.
    pub fn of(model: &CausalLm, dtype: Dtype, recipe: &Recipe, total_steps: u64) -> Self {
        Saving {
            num_parameters: model.config().num_parameters(),
            num_trained: model.num_trained_parameters(),
            weight_bytes: dtype.num_bytes() as u64,
            optim: recipe.optimizer.optim,
            total_steps,
        }
    }

    /// The bytes of a checkpoint: the weights, their float32 originals where they are stored in
    /// less, the moments.
    pub fn checkpoint_bytes(&self) -> u64 {
        // Adapters are kept for themselves, in float32.
        let has_masters = self.weight_bytes < 4 || self.num_trained < self.num_parameters;
        let master = if has_masters { 4 } else { 0 };
        let moments = match self.optim {
            Optim::AdamwTorch => 8,
            Optim::Adamw8bit => 2,
        };
        self.num_parameters * self.weight_bytes + self.num_trained * (master + moments)
    }

    /// Checkpoints on the disk at one time. The one being written is there before the oldest goes.
    pub fn num_checkpoints(&self, run: &RunSettings) -> u64 {
        let written = match run.save_steps as u64 {
            0 => 1,
            every => self.total_steps.div_ceil(every).max(1),
        };
        let best = u64::from(run.metric_for_best_model.is_some());
        match run.save_total_limit as u64 {
            0 => written + best,
            limit => (limit + 1 + best).min(written + best),
        }
    }
}

/// Adds whether the checkpoints of a run fit the disk of `output`.
pub fn disk_room(findings: &mut Findings, saving: Saving, run: &RunSettings, output: &Path) {
    let Some(DiskSpace { free, .. }) = DiskSpace::of(output) else {
        return;
    };
    let (size, count) = (saving.checkpoint_bytes(), saving.num_checkpoints(run));
    let needed = size.saturating_mul(count);
    findings.fields.set("checkpoint_bytes", size);
    findings.fields.set("free_bytes", free);
    if needed > free {
        let [size, needed, free] = [size, needed, free].map(|n| format::bytes(n as f64));
        findings.warn(
            format!(
                "the run keeps {count} checkpoints of {size}, {needed} in all, and the disk of {} \
                 has {free} left",
                output.display()
            ),
            "set save_total_limit lower or save_steps higher, or another --output",
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipe::{RawRecipe, StageName, for_stage};

    const SAVING: Saving = Saving {
        num_parameters: 1000,
        num_trained: 1000,
        weight_bytes: 2,
        optim: Optim::AdamwTorch,
        total_steps: 2000,
    };

    fn run(settings: &[&str]) -> RunSettings {
        let mut raw = RawRecipe::new();
        for setting in settings {
            raw.set(Some(StageName::Sft), setting);
        }
        for_stage(&raw, StageName::Sft).expect("it is sound").run
    }

    #[test]
    fn a_checkpoint_has_weights_masters_and_moments() {
        assert_eq!(SAVING.checkpoint_bytes(), 1000 * (2 + 4 + 8));
        let float32 = Saving {
            weight_bytes: 4,
            optim: Optim::Adamw8bit,
            ..SAVING
        };
        assert_eq!(float32.checkpoint_bytes(), 1000 * (4 + 2));
    }

    #[test]
    fn one_more_checkpoint_than_the_limit_is_there_while_the_last_is_written() {
        let count = |settings: &[&str]| SAVING.num_checkpoints(&run(settings));
        assert_eq!(count(&["save_steps=100"]), 3);
        assert_eq!(count(&["save_steps=100", "save_total_limit=0"]), 20);
        assert_eq!(count(&["save_steps=0"]), 1);
        assert_eq!(
            count(&["save_steps=100", "metric_for_best_model=eval/loss"]),
            4
        );
    }

    #[test]
    fn a_disk_that_is_too_small_is_named_with_the_sizes() {
        let mut findings = Findings::default();
        let huge = Saving {
            num_parameters: u64::MAX / 64,
            num_trained: u64::MAX / 64,
            ..SAVING
        };
        disk_room(&mut findings, huge, &run(&[]), Path::new("."));
        assert_eq!(findings.warnings.len(), 1, "{findings:?}");
        let mut findings = Findings::default();
        disk_room(&mut findings, SAVING, &run(&[]), Path::new("."));
        assert!(findings.warnings.is_empty());
    }
}
