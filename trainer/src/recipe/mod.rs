//! Recipes: what a run does, in flat keys with Hugging Face's and TRL's names.
//!
//! A value comes from the last of these layers that gives one:
//! 1. the built-in default of the stage,
//! 2. the top level of the recipe file, for every stage,
//! 3. its table `[cpt]`, `[sft]`, `[po]` or `[rl]`,
//! 4. `--set key=value`, for the named stage, or `--set rl.key=value` for the stage it names,
//! 5. other flags such as `--max-steps`, for the named stage.
//!
//! [`RawRecipe`] collects the layers as they were written; [`for_stage`] checks all of them and
//! makes a [`Recipe`], in which every value is there and in range. [`Recipe::to_toml`] writes it
//! down with the meaning of each key, and [`Recipe::from_toml`] reads that back.
//!
//! To add a key, add a row to `settings` or `stage_settings`: see `schema`.

mod alert_rule;
mod choices;
mod error;
pub mod import;
mod kind;
mod nearest;
mod raw;
mod resolve;
pub mod schema;
mod settings;
mod stage_settings;
#[cfg(test)]
mod tests;
mod toml_file;
mod write;

use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use toml::Table;

pub use alert_rule::{AlertRule, Side};
pub use choices::{
    Dtype, FDivergenceType, GradientCheckpointing, ImportanceSamplingLevel, KlEstimator,
    LoraTarget, LrSchedulerType, MultiObjectiveAggregation, OnBadRecord, OnNonfinite, OnWatch,
    Optim, PolicyLossType, PreferenceLossType, Preflight, ScaleRewards, SftLossType, StageName,
    TrainTurns, UnknownWord,
};
pub use error::{Origin, RecipeError, RecipeErrors};
pub use kind::Kind;
pub use raw::RawRecipe;
pub use resolve::{UnusedKey, for_stage, unused_keys};
pub use settings::{DataSettings, ModelSettings, OptimizerSettings, RunSettings, ScheduleSettings};
pub use stage_settings::{CptSettings, PoSettings, RlSettings, SftSettings, StageSettings};

/// What one stage of a run does: every value is there and in its range.
#[derive(Debug, Clone, PartialEq)]
pub struct Recipe {
    /// What is trained, in which precision.
    pub model: ModelSettings,
    /// Which records are read, and how many make a step.
    pub data: DataSettings,
    /// What the stage alone needs.
    pub stage: StageSettings,
    /// The learning rate over the run.
    pub schedule: ScheduleSettings,
    /// AdamW.
    pub optimizer: OptimizerSettings,
    /// How long the run takes, what it saves and what it tells.
    pub run: RunSettings,
}

/// The whole schema, in the order in which a resolved recipe is written.
pub static GROUPS: [schema::Group; 9] = [
    ModelSettings::GROUP,
    DataSettings::GROUP,
    CptSettings::GROUP,
    SftSettings::GROUP,
    PoSettings::GROUP,
    RlSettings::GROUP,
    ScheduleSettings::GROUP,
    OptimizerSettings::GROUP,
    RunSettings::GROUP,
];

impl Recipe {
    /// The stage this recipe is for.
    pub const fn stage_name(&self) -> StageName {
        self.stage.name()
    }

    /// The model to start from, for a stage that no earlier one hands a model to.
    pub fn require_model(&self) -> Result<&Path, RecipeErrors> {
        let missing = || {
            let message = format!(
                "model_name_or_path is missing: stage {} needs a model",
                self.stage_name()
            );
            RecipeError::new(None, message).hint(
                "pass `--model DIR`, a folder with config.json, safetensors and tokenizer.json",
            )
        };
        Ok(self
            .model
            .model_name_or_path
            .as_deref()
            .ok_or_else(missing)?)
    }

    /// The files to train on, for a run that is not the demo.
    pub fn require_train_data(&self) -> Result<&[PathBuf], RecipeErrors> {
        if self.data.train_data.is_empty() {
            let message = format!(
                "train_data is missing: stage {} needs data",
                self.stage_name()
            );
            return Err(RecipeError::new(None, message)
                .hint("pass `--data FILE`, JSON Lines")
                .into());
        }
        Ok(&self.data.train_data)
    }

    /// The recipe of a table that has every key of the stage, each checked by the schema.
    fn from_table(stage: StageName, table: &Table) -> Self {
        Self {
            model: read(table),
            data: read(table),
            stage: match stage {
                StageName::Cpt => StageSettings::Cpt(read(table)),
                StageName::Sft => StageSettings::Sft(read(table)),
                StageName::Po => StageSettings::Po(read(table)),
                StageName::Rl => StageSettings::Rl(read(table)),
            },
            schedule: read(table),
            optimizer: read(table),
            run: read(table),
        }
    }

    /// The keys and values, flat.
    fn to_table(&self) -> Table {
        let stage = match &self.stage {
            StageSettings::Cpt(settings) => Table::try_from(settings),
            StageSettings::Sft(settings) => Table::try_from(settings),
            StageSettings::Po(settings) => Table::try_from(settings),
            StageSettings::Rl(settings) => Table::try_from(settings),
        };
        let groups = [
            Table::try_from(&self.model),
            Table::try_from(&self.data),
            stage,
            Table::try_from(&self.schedule),
            Table::try_from(&self.optimizer),
            Table::try_from(&self.run),
        ];
        let written = groups
            .into_iter()
            .map(|group| group.expect("settings are plain TOML values"));
        written.flatten().collect()
    }
}

fn read<T: DeserializeOwned>(table: &Table) -> T {
    let settings = table.clone().try_into();
    settings.unwrap_or_else(|error| panic!("a row of the schema and its field disagree: {error}"))
}
