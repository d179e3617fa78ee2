use std::path::PathBuf;

use clap::Args;

use super::values::{path_value, stage};
use crate::recipe::{RawRecipe, RecipeErrors, StageName};
use toml::Value;

/// Show what a stage will really see of its data.
///
/// Measures lengths and finds what will most likely go wrong, as the pre-flight of a run does, lists
/// the lines that are no records with the reason, plans the packing, and shows records with their
/// loss mask: green on a terminal, in ⟦brackets⟧ elsewhere and under NO_COLOR. Without a model it is
/// the tokenizer and the chat template of the built-in demo that make tokens.
#[derive(Debug, Clone, Args)]
#[command(
    after_long_help = "Examples:\n  trainer inspect --stage sft --model gemma-2-2b-it --data chats.jsonl\n  \
                       trainer inspect --stage po --recipe recipe.toml --set max_length=1024 --records 10"
)]
pub struct InspectArgs {
    /// Stage: cpt, sft, po or rl.
    #[arg(long, value_name = "STAGE", value_parser = stage())]
    pub stage: StageName,

    /// Data of the stage, JSON Lines. May be repeated; without it, train_data of the recipe.
    #[arg(long, value_name = "FILE")]
    pub data: Vec<PathBuf>,

    /// Model whose tokenizer and chat template make tokens; its weights are not read.
    #[arg(long, value_name = "DIR")]
    pub model: Option<PathBuf>,

    /// Recipe file, for max_length, packing and what else decides.
    #[arg(long, value_name = "FILE.toml")]
    pub recipe: Option<PathBuf>,

    /// Set a key of the recipe, such as max_length=1024. May be repeated.
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,

    /// Records to show, spread over the data; 0 shows none.
    #[arg(long, value_name = "N", default_value_t = 3)]
    pub records: usize,
}

impl InspectArgs {
    /// The layers of the recipe, as a run of the stage reads them.
    ///
    /// # Errors
    /// If the recipe file cannot be read.
    pub fn raw_recipe(&self) -> Result<RawRecipe, RecipeErrors> {
        let mut raw = match &self.recipe {
            Some(path) => RawRecipe::read(path)?,
            None => RawRecipe::new(),
        };
        let stage = Some(self.stage);
        for assignment in &self.set {
            raw.set(stage, assignment);
        }
        if let Some(model) = &self.model {
            raw.flag(stage, "--model", "model_name_or_path", path_value(model));
        }
        if !self.data.is_empty() {
            let files = self.data.iter().map(|file| path_value(file)).collect();
            raw.flag(stage, "--data", "train_data", Value::Array(files));
        }
        Ok(raw)
    }
}
