use std::path::PathBuf;

use model::ModelConfig;

use super::*;
use crate::recipe::{RawRecipe, for_stage};

const GIB: u64 = 1 << 30;

/// What the shipped recipes are for.
const DEVICE_GIB: u64 = 139;

fn folder(name: &str) -> PathBuf {
    let recipes = "../examples/recipes";
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join(recipes)
        .join(name)
}

fn shape(name: &str) -> ModelConfig {
    ModelConfig::from_dir(folder(name)).expect("the shape beside a recipe")
}

fn recipe(text: &str, stage: StageName) -> Recipe {
    let raw = RawRecipe::parse("test.toml", text).expect("TOML");
    for_stage(&raw, stage).unwrap_or_else(|errors| panic!("{errors}"))
}

fn assert_fits(name: &str, plan: &StagePlan) {
    let (peak, moment) = plan.memory.peak();
    let stage = plan.stage;
    assert!(
        peak <= DEVICE_GIB * GIB,
        "{name} {stage}: {} in {moment:?}",
        report::size(peak)
    );
}

#[test]
fn the_full_recipes_fit_a_gpu_of_139_gib() {
    for name in ["tower_plus_2b", "tower_plus_9b"] {
        let raw = RawRecipe::read(&folder(name).join("recipe.toml")).expect("a recipe");
        for stage in StageName::ALL {
            let recipe = for_stage(&raw, stage).unwrap_or_else(|errors| panic!("{errors}"));
            let plan = StagePlan::of(&recipe, &shape(name), Hardware::Cuda);
            assert_fits(name, &plan);
        }
    }
}

#[test]
fn the_72b_recipe_fits_where_frozen_blocks_stream_and_not_where_they_stay() {
    let name = "tower_plus_72b";
    let raw = RawRecipe::read(&folder(name).join("recipe.toml")).expect("a recipe");
    for stage in StageName::ALL {
        let mut recipe = for_stage(&raw, stage).unwrap_or_else(|errors| panic!("{errors}"));
        let plan = |recipe: &Recipe| StagePlan::of(recipe, &shape(name), Hardware::Cuda);
        let streamed = plan(&recipe);
        assert_fits(name, &streamed);
        // The blocks of 80 layers, 877.7 M parameters each, in bfloat16.
        let host = streamed.memory.host_peak();
        assert!((130 * GIB..132 * GIB).contains(&host), "{host}");
        recipe.model.stream_frozen_blocks = false;
        let resident = plan(&recipe).memory.peak().0;
        assert!(resident > DEVICE_GIB * GIB, "{}", report::size(resident));
    }
}

#[test]
fn full_training_of_2b_takes_sixteen_bytes_a_parameter_in_the_optimizers_step() {
    let recipe = recipe("gradient_checkpointing = true", StageName::Sft);
    let plan = StagePlan::of(&recipe, &shape("tower_plus_2b"), Hardware::Cuda);
    let at_step: u64 = plan
        .memory
        .items
        .iter()
        .map(|item| item.at(Moment::Step))
        .sum();
    assert_eq!(at_step, 16 * 2_614_341_888);
}

#[test]
fn a_token_of_a_2b_model_costs_six_operations_a_matrix_parameter_and_two_more_where_recomputed() {
    let flops = |checkpointing: &str| {
        let text = format!(
            "gradient_checkpointing = {checkpointing}\nper_device_train_batch_size = 1\nmax_length = 2"
        );
        let recipe = recipe(&text, StageName::Sft);
        StagePlan::of(&recipe, &shape("tower_plus_2b"), Hardware::Cpu).flops_per_step as f64
    };
    // 26 blocks of 77,856,768 matrix parameters and a head of 589,824,000, for the second token.
    let [blocks, head] = [26.0 * 77_856_768.0 * 2.0, 589_824_000.0];
    let close = |got: f64, want: f64| assert!((got / want - 1.0).abs() < 1e-4, "{got} {want}");
    close(flops("false"), 6.0 * blocks + 6.0 * head);
    close(flops("true"), 8.0 * blocks + 6.0 * head);
}

#[test]
fn what_is_proposed_is_smaller_and_sorted_by_what_it_saves() {
    let text = "gradient_checkpointing = false\nper_device_train_batch_size = 16";
    let recipe = recipe(text, StageName::Sft);
    let changes = changes(&recipe, &shape("tower_plus_9b"), Hardware::Cuda);
    let keys: Vec<&str> = changes.iter().map(|change| change.keys.as_str()).collect();
    for key in [
        "gradient_checkpointing = true",
        "optim = \"adamw_8bit\"",
        "lora_r = 16",
        "per_device_train_batch_size = 1, gradient_accumulation_steps = 16",
    ] {
        assert!(keys.contains(&key), "{key} in {keys:?}");
    }
    assert!(changes.is_sorted_by(|a, b| a.saves >= b.saves));
}

#[test]
fn sampling_beside_training_takes_another_copy_of_the_trained_weights_and_the_cache_all_along() {
    let plan = |text: &str| {
        let recipe = recipe(text, StageName::Rl);
        StagePlan::of(&recipe, &shape("tower_plus_2b"), Hardware::Cuda)
    };
    let (plain, beside) = (plan(""), plan("one_step_off_policy = true"));
    let item = |plan: &StagePlan, name: &str, moment| {
        let items = &plan.memory.items;
        let item = items.iter().find(|item| item.name == name);
        item.map_or(0, |item| item.at(moment))
    };
    let copy = "weights that sample";
    assert_eq!(item(&beside, copy, Moment::Step), 4 * 2_614_341_888);
    assert_eq!(item(&plain, copy, Moment::Step), 0);
    let cache = "key-value cache";
    let sampling = item(&plain, cache, Moment::Sampling);
    assert!(sampling > 0);
    assert_eq!(item(&beside, cache, Moment::Head), sampling);
    assert_eq!(item(&plain, cache, Moment::Head), 0);
    let changes = changes(
        &recipe("one_step_off_policy = true", StageName::Rl),
        &shape("tower_plus_2b"),
        Hardware::Cuda,
    );
    let keys = |change: &Change| change.keys == "one_step_off_policy = false";
    assert!(changes.iter().any(keys));
}

#[test]
fn a_stage_fits_up_to_the_last_byte_and_says_what_to_change_beyond() {
    let verdict = |peak| report::Verdict {
        available: DEVICE_GIB * GIB,
        peak,
    };
    assert!(verdict(DEVICE_GIB * GIB).fits());
    assert!(!verdict(DEVICE_GIB * GIB + 1).fits());
    let text = report::verdict(
        verdict(140 * GIB),
        &[Change {
            keys: "optim = \"adamw_8bit\"".to_owned(),
            peak: 120 * GIB,
            saves: 20 * GIB,
        }],
    );
    assert_eq!(
        text,
        "  does not fit in 139 GiB: 1.0 GiB too much\n    optim = \"adamw_8bit\"  saves 20.0 GiB  \
         then it fits\n"
    );
}

#[test]
fn counts_are_written_with_commas() {
    assert_eq!(report::thousands(7), "7");
    assert_eq!(report::thousands(123_456), "123,456");
    assert_eq!(report::thousands(9_241_705_984), "9,241,705,984");
}
