//! What of a model trains, from the recipe's keys.

use model::{LINEAR_MODULES, LoraConfig, Trainable};

use crate::recipe::{LoraTarget, ModelSettings};

/// The parameters that a recipe trains.
pub fn trainable(settings: &ModelSettings) -> Trainable {
    let targets = &settings.lora_target_modules;
    let is_target = |name: &&str| {
        let named = |target: &LoraTarget| target.as_str() == *name;
        targets.contains(&LoraTarget::AllLinear) || targets.iter().any(named)
    };
    let target_modules = LINEAR_MODULES.into_iter().filter(is_target);
    Trainable {
        lora: (settings.lora_r > 0).then(|| LoraConfig {
            r: settings.lora_r,
            alpha: settings.lora_alpha,
            use_rslora: settings.use_rslora,
            target_modules: target_modules.map(str::to_owned).collect(),
            seed: settings.seed,
        }),
        frozen: false,
        freeze_embeddings: settings.freeze_embeddings,
        stream_frozen_blocks: settings.stream_frozen_blocks,
    }
}
