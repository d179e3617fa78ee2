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
        // The blocks of 80 layers, 877.7 M parameters each, in bfloat16; a few of them in memory.
        let [blocks, step] = streamed.streamed_bytes.expect("they are streamed");
        assert!((130 * GIB..132 * GIB).contains(&blocks), "{blocks}");
        assert!(step >= 2 * blocks, "{step}");
        let block = blocks / 80;
        let host = streamed.memory.host_peak();
        assert!((2 * block..6 * block).contains(&host), "{host}");
        recipe.model.stream_frozen_blocks = false;
        let resident = plan(&recipe).memory.peak().0;
        assert!(resident > DEVICE_GIB * GIB, "{}", report::size(resident));
    }
}

#[test]
fn full_training_of_2b_takes_sixteen_bytes_a_parameter_in_the_optimizers_step_and_two_for_copies() {
    let at_step = |copies: &str| -> u64 {
        let text = format!("gradient_checkpointing = true\nlow_precision_copies = {copies}");
        let recipe = recipe(&text, StageName::Sft);
        let plan = StagePlan::of(&recipe, &shape("tower_plus_2b"), Hardware::Cuda);
        let items = plan.memory.items.iter();
        items.map(|item| item.at(Moment::Step)).sum()
    };
    assert_eq!(at_step("false"), 16 * 2_614_341_888);
    assert_eq!(at_step("true"), 16 * 2_614_341_888 + 2 * MATRICES_OF_2B);
}

/// Of 26 blocks, and where the head has its gradient beside those of the blocks, of the tied embedding.
#[test]
fn gradients_that_pass_beside_the_sum_take_two_bytes_a_parameter_less_with_copies() {
    let at = |copies: bool, moment: Moment| {
        let text = format!(
            "gradient_checkpointing = false\ngradient_accumulation_steps = 2\n\
             low_precision_copies = {copies}"
        );
        let recipe = recipe(&text, StageName::Sft);
        let plan = StagePlan::of(&recipe, &shape("tower_plus_2b"), Hardware::Cuda);
        let gradients = plan.memory.items.iter();
        let gradients = gradients.filter(|item| item.name == "gradients, float32");
        gradients.map(|item| item.at(moment)).sum::<u64>()
    };
    let less = |moment| at(false, moment) - at(true, moment);
    let (embedding, block) = (589_824_000, 77_856_768);
    assert_eq!(less(Moment::LastBlock), 2 * embedding);
    assert_eq!(less(Moment::FirstBlock), 2 * (embedding + 25 * block));
    assert_eq!(less(Moment::Embedding), 2 * 26 * block);
    assert_eq!(less(Moment::Step), 0);
}

/// All but the norms.
const MATRICES_OF_2B: u64 = 2_614_341_888 - (26 * 4 + 1) * 2304;

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
fn streamed_blocks_are_read_twice_for_gradients_and_once_a_token_for_all_sequences() {
    let streamed = |stage: StageName, keys: &str| {
        let text = format!("lora_r = 8\nstream_frozen_blocks = true\n{keys}");
        let plan = StagePlan::of(
            &recipe(&text, stage),
            &shape("tower_plus_2b"),
            Hardware::Cpu,
        );
        let [blocks, step] = plan.streamed_bytes.expect("they are streamed");
        assert_eq!(step % blocks, 0);
        step / blocks
    };
    let keys = "gradient_accumulation_steps = 3";
    assert_eq!(streamed(StageName::Sft, keys), 6);
    // 128 sequences go through a cache for 64 in two turns of 10 tokens; one set for two steps.
    let keys = "per_device_train_batch_size = 16\nnum_generations = 8\nmax_completion_length = 10\n\
                num_iterations = 2\nbeta = 0.0";
    assert_eq!(streamed(StageName::Rl, keys), 2 + 10);
    assert_eq!(streamed(StageName::Rl, &keys.replace("0.0", "0.1")), 3 + 10);
    // Twice as many in four turns, for two parts; one of them is run before the policy moves.
    let keys = keys.replace("num_iterations", "num_mini_batches");
    assert_eq!(
        streamed(StageName::Rl, &keys),
        2 + (4 * 10 + 1_u64).div_ceil(2)
    );
}

#[test]
fn a_frozen_embedding_has_no_gradient_no_moments_and_no_second_product_with_the_head() {
    let plan = |keys: &str| {
        let text = format!("optim = \"adamw_torch\"\ngradient_checkpointing = true\n{keys}");
        let recipe = recipe(&text, StageName::Sft);
        StagePlan::of(&recipe, &shape("tower_plus_2b"), Hardware::Cuda)
    };
    let [all, frozen] = [plan(""), plan("freeze_embeddings = true")];
    let embedding = all.job.counts.embedding;
    let item = |plan: &StagePlan, name: &str| {
        let items = plan.memory.items.iter().filter(|item| item.name == name);
        items.map(|item| item.at(Moment::Step)).sum::<u64>()
    };
    for (name, bytes) in [("gradients, float32", 4), ("moments, float32", 8)] {
        let less = item(&all, name) - item(&frozen, name);
        assert_eq!(less, bytes * embedding, "{name}");
    }
    // Its file has it in bfloat16, in which the blocks compute.
    assert_eq!(item(&frozen, "frozen embedding"), 2 * embedding);
    let product = 2 * embedding * frozen.job.work.supervised * frozen.job.work.micro_batches;
    assert_eq!(all.flops_per_step - frozen.flops_per_step, product);
    assert_eq!(frozen.job.num_frozen(), embedding);
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
fn sampling_beside_training_takes_its_weights_and_the_cache_all_along() {
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
    // The copies of the weights that train are what samples, or were until the last step.
    let cast = "bfloat16 weights that sample";
    let bytes = 2 * MATRICES_OF_2B;
    assert_eq!(item(&plain, "bfloat16 copies", Moment::Sampling), bytes);
    assert_eq!(item(&plain, cast, Moment::Sampling), 0);
    assert_eq!(item(&beside, cast, Moment::Step), bytes);
    let uncopied = plan("low_precision_copies = false");
    assert_eq!(item(&uncopied, "bfloat16 copies", Moment::Sampling), 0);
    assert_eq!(item(&uncopied, cast, Moment::Sampling), bytes);
    assert_eq!(item(&uncopied, cast, Moment::Step), 0);
    // The embedding is looked up in, and stays as it was.
    let copy = "weights that sample";
    assert_eq!(item(&beside, copy, Moment::Step), 4 * 256_000 * 2304);
    assert_eq!(item(&plain, copy, Moment::Step), 0);
    // An evaluation comes right after the step, while the old ones may still sample.
    assert_eq!(item(&beside, copy, Moment::Answering), 4 * 256_000 * 2304);
    // The policy that drew a set says its own log-probabilities.
    assert!(beside.flops_per_step > plain.flops_per_step);
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
fn answers_are_written_after_the_held_out_loss_is_computed() {
    let text = "eval_data = [\"held_out.jsonl\"]\neval_generate = 16";
    let recipe = recipe(text, StageName::Sft);
    let plan = StagePlan::of(&recipe, &shape("tower_plus_2b"), Hardware::Cuda);
    for (name, there, away) in [
        (
            "held-out rows, one block",
            Moment::Scoring,
            Moment::Answering,
        ),
        ("key-value cache", Moment::Answering, Moment::Scoring),
    ] {
        let items = &plan.memory.items;
        let item = items.iter().find(|item| item.name == name).expect(name);
        assert!(item.at(there) > 0, "{name}");
        assert_eq!(item.at(away), 0, "{name}");
    }
}

#[test]
fn conversations_beside_rewards_are_a_row_of_their_own() {
    let plan = |keys: &str| {
        let text = format!(
            "max_prompt_length = 96\nmax_completion_length = 32\nnum_generations = 2\n\
             per_device_train_batch_size = 1\ngradient_accumulation_steps = 1\nbeta = 0.0\n{keys}"
        );
        let recipe = recipe(&text, StageName::Rl);
        StagePlan::of(&recipe, &shape("tower_plus_2b"), Hardware::Cpu)
    };
    let data = "sft_data = [\"conversations.jsonl\"]\n";
    let with = |count: usize| plan(&format!("{data}sft_batch_size = {count}"));
    let [none, some] = [plan(""), with(3)];
    assert_eq!(
        plan(&format!("{data}sft_alpha = 0.0")).job.work,
        none.job.work
    );
    assert_eq!(none.job.work.tokens_per_step(), 96 + 2 * 32);
    assert_eq!(some.job.work.tokens_per_step(), 96 + 2 * 32 + 3 * 128);
    // Three conversations are the longer row, and the rewards' gradients are there when it passes.
    let at = |plan: &StagePlan, name: &str, moment| {
        let items = plan.memory.items.iter().filter(|item| item.name == name);
        items.map(|item| item.at(moment)).sum::<u64>()
    };
    let results = "activations of one block";
    let row = 4 * 2304;
    let both = |plan: &StagePlan| at(plan, results, Moment::Embedding);
    assert_eq!(both(&none), 2 * row * (96 + 2 * 32));
    assert_eq!(both(&some), 2 * row * 3 * 128);
    let gradients = |plan: &StagePlan| at(plan, "gradients, float32", Moment::FirstBlock);
    assert!(gradients(&some) > gradients(&none));
    // One micro-batch of four conversations costs four times what one of one does.
    let [one, four] = [with(1), with(4)].map(|plan| plan.flops_per_step - none.flops_per_step);
    assert_eq!(four, 4 * one);
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
