use std::path::PathBuf;

use clap::Args;

use super::values::{StageChoice, path_value};
use crate::recipe::{RawRecipe, RecipeErrors, StageName};
use kernels::device::{DEVICE_HELP, DeviceName};

/// Say what the stages of a recipe will take, before anything is loaded.
///
/// For each stage: memory item by item, its peak and where in a step it is reached, tokens and
/// arithmetic of a step, and checkpoints on disk. Only config.json is read. A micro-batch is taken to
/// be as large as the recipe allows.
#[derive(Debug, Clone, Args)]
#[command(
    after_long_help = "Examples:\n  trainer plan --recipe recipe.toml --model gemma-2-9b \
                       --device cuda --memory 139\n  \
                       trainer plan --recipe recipe.toml --stage sft --config config.json \
                       --set optim=adamw_8bit\n\n\
                       Exit codes: 0 fits, 1 does not fit, 2 usage or recipe."
)]
pub struct PlanArgs {
    /// Recipe file.
    #[arg(long, value_name = "FILE.toml")]
    pub recipe: PathBuf,

    /// One stage, or all that the recipe has a table for; without tables, all four.
    #[arg(long, value_name = "STAGE", default_value = "all")]
    pub stage: StageChoice,

    /// Set a key of the recipe, as in training. May be repeated.
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,

    /// Model folder, of which only config.json is read.
    #[arg(long, value_name = "DIR", conflicts_with = "config")]
    pub model: Option<PathBuf>,

    /// A config.json alone. Without it and --model, the recipe's model is taken, or the config.json
    /// beside the recipe.
    #[arg(long, value_name = "FILE.json")]
    pub config: Option<PathBuf>,

    /// Device to plan for; only --measure needs it.
    #[arg(long, value_name = "D", default_value_t, help = DEVICE_HELP)]
    pub device: DeviceName,

    /// Memory of the device in GiB. On the CPU, the machine's where it is not given.
    #[arg(long, value_name = "GIB", value_parser = memory)]
    pub memory: Option<f64>,

    /// Time a step of this size on the device, with the weights of --model or, for a small model,
    /// random ones.
    #[arg(long)]
    pub measure: bool,
}

impl PlanArgs {
    /// The recipe with the flags over it.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn raw_recipe(&self) -> Result<RawRecipe, RecipeErrors> {
        let mut raw = RawRecipe::read(&self.recipe)?;
        for assignment in &self.set {
            raw.set(self.stage.named(), assignment);
        }
        if let Some(model) = &self.model {
            raw.flag(None, "--model", "model_name_or_path", path_value(model));
        }
        Ok(raw)
    }

    /// The stages to plan.
    pub fn stages(&self, raw: &RawRecipe) -> Vec<StageName> {
        match (self.stage.named(), raw.stages_with_a_table()) {
            (Some(stage), _) => vec![stage],
            (None, stages) if stages.is_empty() => StageName::ALL.to_vec(),
            (None, stages) => stages,
        }
    }
}

fn memory(word: &str) -> Result<f64, String> {
    let gib = word
        .parse()
        .ok()
        .filter(|gib: &f64| gib.is_finite() && *gib > 0.0);
    gib.ok_or_else(|| "expected a number of GiB above 0, such as 139".to_owned())
}
