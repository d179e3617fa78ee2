//! What of a model trains, from the recipe's keys.

use model::{LINEAR_MODULES, LoraConfig, Trainable};

use crate::recipe::{LoraTarget, ModelSettings};

/// The parameters that a recipe trains.
pub fn trainable(settings: &ModelSettings) -> Trainable {
    let target_modules = settings.lora_target_modules.iter().flat_map(|target| {
        let named: &[&str] = match target {
            LoraTarget::AllLinear => &LINEAR_MODULES,
            one => &[one.as_str()],
        };
        named
            .iter()
            .map(|&name| name.to_owned())
            .collect::<Vec<_>>()
    });
    Trainable {
        lora: (settings.lora_r > 0).then(|| LoraConfig {
            r: settings.lora_r,
            alpha: settings.lora_alpha,
            use_rslora: settings.use_rslora,
            target_modules: target_modules.collect(),
            seed: settings.seed,
        }),
        freeze_embeddings: settings.freeze_embeddings,
    }
}
