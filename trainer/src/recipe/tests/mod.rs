//! What recipes promise, over all of the modules.

mod files;
mod layers;
mod schema;

use super::{RawRecipe, Recipe, RlSettings, StageName, StageSettings, for_stage};

const STAGES: [StageName; 4] = StageName::ALL;

fn resolve(text: &str, stage: StageName) -> Recipe {
    let raw = RawRecipe::parse("test.toml", text).expect("TOML");
    for_stage(&raw, stage).unwrap_or_else(|errors| panic!("{errors}"))
}

fn rl(recipe: &Recipe) -> &RlSettings {
    match &recipe.stage {
        StageSettings::Rl(settings) => settings,
        other => panic!("an RL recipe, not {other:?}"),
    }
}
