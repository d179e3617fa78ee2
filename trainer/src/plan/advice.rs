use model::ModelConfig;

use super::{Hardware, StagePlan};
use crate::recipe::{GradientCheckpointing, Optim, Recipe, StageSettings};

/// A change of a recipe that makes a stage smaller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The keys to set, as a recipe writes them.
    pub keys: String,
    /// The peak with it.
    pub peak: u64,
    /// What it takes off the peak.
    pub saves: u64,
}

/// Rank of the adapters that are proposed.
const PROPOSED_RANK: usize = 16;

/// What would make a stage smaller, the most first.
pub fn changes(recipe: &Recipe, config: &ModelConfig, hardware: Hardware) -> Vec<Change> {
    let peak = |recipe: &Recipe| StagePlan::of(recipe, config, hardware).memory.peak().0;
    let now = peak(recipe);
    let mut changes: Vec<Change> = candidates(recipe)
        .into_iter()
        .filter_map(|(keys, recipe)| {
            let peak = peak(&recipe);
            let saves = now.checked_sub(peak).filter(|saves| *saves > 0)?;
            Some(Change { keys, peak, saves })
        })
        .collect();
    changes.sort_by_key(|change| std::cmp::Reverse(change.saves));
    changes
}

fn candidates(recipe: &Recipe) -> Vec<(String, Recipe)> {
    let mut candidates = Vec::new();
    let mut add = |keys: &str, change: &dyn Fn(&mut Recipe)| {
        let mut changed = recipe.clone();
        change(&mut changed);
        if changed != *recipe {
            candidates.push((keys.to_owned(), changed));
        }
    };
    add("gradient_checkpointing = true", &|recipe| {
        recipe.model.gradient_checkpointing = GradientCheckpointing::True;
    });
    add(
        "gradient_checkpointing = true, activation_offloading = true",
        &|recipe| {
            recipe.model.gradient_checkpointing = GradientCheckpointing::True;
            recipe.model.activation_offloading = true;
        },
    );
    add("low_precision_copies = false", &|recipe| {
        recipe.model.low_precision_copies = false;
    });
    add("optim = \"adamw_8bit\"", &|recipe| {
        recipe.optimizer.optim = Optim::Adamw8bit;
    });
    if recipe.model.lora_r == 0 {
        add(&format!("lora_r = {PROPOSED_RANK}"), &|recipe| {
            recipe.model.lora_r = PROPOSED_RANK;
        });
    }
    let batch = recipe.data.per_device_train_batch_size;
    if batch > 1 {
        let accumulation = recipe.data.gradient_accumulation_steps * batch;
        let keys = format!(
            "per_device_train_batch_size = 1, gradient_accumulation_steps = {accumulation}"
        );
        add(&keys, &|recipe| {
            recipe.data.per_device_train_batch_size = 1;
            recipe.data.gradient_accumulation_steps = accumulation;
        });
    }
    if let StageSettings::Rl(settings) = &recipe.stage
        && settings.beta > 0.0
    {
        add("beta = 0", &|recipe| {
            if let StageSettings::Rl(settings) = &mut recipe.stage {
                settings.beta = 0.0;
            }
        });
    }
    if let StageSettings::Rl(settings) = &recipe.stage
        && !settings.sft_data.is_empty()
        && settings.sft_batch_size > 1
    {
        add("sft_batch_size = 1", &|recipe| {
            if let StageSettings::Rl(settings) = &mut recipe.stage {
                settings.sft_batch_size = 1;
            }
        });
    }
    if let StageSettings::Rl(settings) = &recipe.stage
        && settings.one_step_off_policy
    {
        add("one_step_off_policy = false", &|recipe| {
            if let StageSettings::Rl(settings) = &mut recipe.stage {
                settings.one_step_off_policy = false;
            }
        });
    }
    candidates
}
