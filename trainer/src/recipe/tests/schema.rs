//! The schema, and the resolved recipe that it writes and reads.

use toml::Value;

use super::super::{RawRecipe, Recipe, StageName, StageSettings, for_stage, schema};
use super::{STAGES, resolve};

#[test]
fn the_schema_and_the_structs_have_the_same_keys() {
    for stage in STAGES {
        let mut recipe = for_stage(&RawRecipe::new(), stage).expect("the defaults are sound");
        recipe.model.model_name_or_path = Some("model".into());
        recipe.run.metric_for_best_model = Some("loss".into());
        recipe.run.greater_is_better = Some(false);
        if let StageSettings::Rl(rl) = &mut recipe.stage {
            rl.delta = Some(2.0);
            rl.off_policy_mask_threshold = Some(0.5);
            rl.watch_metric = Some("chrf".into());
        }
        let keys = schema::groups(stage)
            .flat_map(|group| group.keys)
            .map(|key| key.name);
        assert_eq!(
            recipe.to_table().keys().collect::<Vec<_>>(),
            keys.collect::<Vec<_>>()
        );
    }
}

#[test]
fn no_stage_has_two_keys_of_one_name() {
    for stage in STAGES {
        let keys = || schema::groups(stage).flat_map(|group| group.keys);
        for name in keys().flat_map(|key| key.spec.aliases.iter().copied().chain([key.name])) {
            assert_eq!(
                keys().filter(|key| key.is_called(name)).count(),
                1,
                "{name} in {stage}"
            );
        }
    }
}

#[test]
fn a_resolved_recipe_reads_back_exactly() {
    let text = r#"
        model = "models/a \"quoted\" name"
        train_data = ["a.jsonl", "b 世界.jsonl"]
        learning_rate = 1.2345678901234567e-7
        adam_epsilon = 1e-8
        num_train_epochs = 3
        [rl]
        reward_funcs = ["chrf", "language"]
        reward_weights = [0.1, 2]
        reward_args = { chrf = { word_order = 2, list = ["a", "b"] } }
        loss_type = "dr_grpo"
    "#;
    for stage in STAGES {
        for recipe in [resolve(text, stage), resolve("", stage)] {
            let written = recipe.to_toml();
            let read = Recipe::from_toml(&written).unwrap_or_else(|e| panic!("{e}\n{written}"));
            assert_eq!(read, recipe);
            assert_eq!(read.to_toml(), written);
        }
    }
}

#[test]
fn a_resolved_recipe_explains_each_key_and_is_a_recipe_file() {
    let recipe = resolve("", StageName::Rl);
    let text = recipe.to_toml();
    let row = "# Peak learning rate, reached at the end of warm-up.\n\
               # A number from 0 to 1; by default 1e-6.\nlearning_rate = 1e-6\n";
    assert!(text.contains(row), "{text}");
    assert_eq!(resolve(&text, StageName::Rl), recipe);
}

#[test]
fn a_resolved_recipe_is_for_one_stage() {
    for text in [
        "",
        "seed = 1",
        "[po]\nseed = 1\n[rl]\nseed = 1",
        "seed = 1\n[po]\nseed = 2",
    ] {
        let errors = Recipe::from_toml(text).expect_err(text);
        assert!(errors.to_string().contains("one table"), "{errors}");
    }
}

#[test]
fn every_default_is_in_its_range() {
    for stage in STAGES {
        for key in schema::groups(stage).flat_map(|group| group.keys) {
            if let schema::DefaultValue::Toml(text) = key.default(stage) {
                let value: Value = text.parse().unwrap_or_else(|e| panic!("{}: {e}", key.name));
                assert!(
                    key.spec.kind.accept(&value).is_some(),
                    "{} = {text}",
                    key.name
                );
            }
        }
    }
}
