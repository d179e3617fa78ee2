//! Which layer wins, and what is refused.

use std::path::{Path, PathBuf};

use super::super::{RawRecipe, StageName, for_stage, unused_keys};
use super::{resolve, rl};

#[test]
fn later_layers_win() {
    let text = "max_steps = 1\nseed = 1\nsave_steps = 1\nlogging_steps = 1\n\
                [sft]\nseed = 2\nsave_steps = 2\nlogging_steps = 2\n[rl]\nseed = 9\n";
    let mut raw = RawRecipe::parse("test.toml", text).expect("TOML");
    let stage = Some(StageName::Sft);
    raw.flag(stage, "--seed", "seed", 4);
    raw.set(stage, "save_steps=3");
    raw.set(stage, "seed=3");
    let recipe = for_stage(&raw, StageName::Sft).expect("sound");
    let run = &recipe.run;
    assert_eq!(
        (run.eval_steps, run.max_steps, run.logging_steps),
        (100, 1, 2)
    );
    assert_eq!((run.save_steps, recipe.model.seed), (3, 4));
    let other = for_stage(&raw, StageName::Rl).expect("sound");
    assert_eq!(
        (other.run.save_steps, other.model.seed),
        (1, 9),
        "--set is for the named stage"
    );
}

#[test]
fn a_set_for_one_table_beats_a_set_for_all_and_the_last_of_two_wins() {
    let mut raw = RawRecipe::new();
    raw.set(None, "rl.seed=5");
    raw.set(None, "seed=6");
    raw.set(None, "seed=7");
    assert_eq!(for_stage(&raw, StageName::Rl).expect("sound").model.seed, 5);
    assert_eq!(for_stage(&raw, StageName::Po).expect("sound").model.seed, 7);
}

#[test]
fn all_errors_come_at_once() {
    let text = "learning_rat = 1\nseed = \"x\"\n[rl]\nbeta = -1\n[sft]\npacking = 1\n";
    let mut raw = RawRecipe::parse("my.toml", text).expect("TOML");
    raw.set(Some(StageName::Sft), "oops");
    let errors = for_stage(&raw, StageName::Sft).expect_err("five mistakes");
    assert_eq!(errors.iter().count(), 5, "{errors}");
    let text = errors.to_string();
    for place in [
        "5 errors",
        "my.toml:1",
        "my.toml:2",
        "my.toml:4",
        "my.toml:6",
        "--set: `oops`",
    ] {
        assert!(text.contains(place), "{place} in\n{text}");
    }
}

#[test]
fn a_key_the_stage_does_not_use_is_reported_and_not_refused() {
    let mut raw = RawRecipe::parse("my.toml", "beta = 0.1\n[rl]\ntop_k = 5").expect("TOML");
    raw.set(Some(StageName::Po), "packing=false");
    for_stage(&raw, StageName::Po).expect("PO does not pack");
    let unused: Vec<String> = unused_keys(&raw, StageName::Po)
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(
        unused,
        ["--set: stage po does not use packing (used by cpt, sft)"]
    );
    assert_eq!(
        unused_keys(&raw, StageName::Cpt)[0].used_by,
        [StageName::Po, StageName::Rl]
    );
}

#[test]
fn a_top_level_key_is_checked_by_the_stage_that_runs() {
    assert_eq!(rl(&resolve("beta = 0", StageName::Rl)).beta, 0.0);
    let raw = RawRecipe::parse("my.toml", "beta = 0").expect("TOML");
    let errors = for_stage(&raw, StageName::Po)
        .expect_err("PO needs a beta")
        .to_string();
    assert!(
        errors.contains("beta = 0 is not allowed in stage po: expected a number above 0"),
        "{errors}"
    );
}

#[test]
fn keys_and_words_of_other_programs_are_told_keeps() {
    for (text, says) in [
        (
            "precompute_ref_log_probs = true",
            "hint: leave it out; TRL's key is not needed: how the reference is computed",
        ),
        (
            "gradient_checkpointing_kwargs = { use_reentrant = false }",
            "hint: leave it out; TRL's key is not needed: gradient_checkpointing says it",
        ),
        (
            "optim = \"adamw_bnb_8bit\"",
            "hint: write `optim = \"adamw_8bit\"`",
        ),
        (
            "optim = \"adamw_8bit_bnb\"",
            "hint: the nearest to `adamw_8bit_bnb` is `adamw_8bit`",
        ),
        (
            "lr_scheduler_type = \"cosine_with_min_lr\"",
            "hint: write `lr_scheduler_type = \"cosine\"`, and min_lr_ratio",
        ),
        (
            "lr_scheduler_type = \"cosine_with_restarts\"",
            "is `cosine`",
        ),
    ] {
        let raw = RawRecipe::parse("my.toml", text).expect("TOML");
        let errors = for_stage(&raw, StageName::Po).expect_err(text).to_string();
        assert!(errors.contains(says), "{errors}");
    }
}

#[test]
fn losses_that_all_weigh_nothing_are_refused() {
    let weights = |weights: &str| {
        let text = format!("loss_type = [\"sigmoid\", \"sft\"]\nloss_weights = {weights}");
        let raw = RawRecipe::parse("my.toml", &text).expect("TOML");
        for_stage(&raw, StageName::Po)
    };
    let errors = weights("[0, 0]").expect_err("nothing to learn").to_string();
    assert!(errors.contains("loss_weights are all 0"), "{errors}");
    assert!(weights("[1, 0]").is_ok());
}

#[test]
fn normalized_advantages_are_rloos_alone() {
    let normalized = |loss: &str| {
        let text = format!("normalize_advantages = true\nloss_type = \"{loss}\"");
        let raw = RawRecipe::parse("my.toml", &text).expect("TOML");
        for_stage(&raw, StageName::Rl)
    };
    let errors = normalized("grpo").expect_err("it is not read").to_string();
    assert!(errors.contains("set loss_type = \"rloo\""), "{errors}");
    assert!(normalized("rloo").is_ok());
}

#[test]
fn epsilon_high_follows_epsilon_unless_given() {
    assert_eq!(
        rl(&resolve("epsilon = 0.1", StageName::Rl)).epsilon_high,
        0.1
    );
    assert_eq!(
        rl(&resolve("epsilon_high = 0.28", StageName::Rl)).epsilon_high,
        0.28
    );
}

#[test]
fn reward_weights_go_by_name_or_by_order() {
    let by_order = "[rl]\nreward_funcs = [\"b\", \"a\"]\nreward_weights = [2, 1]";
    let by_name = "[rl]\nreward_funcs = [\"b\", \"a\"]\n[rl.reward_weights]\na = 1.0\nb = 2.0";
    assert_eq!(
        resolve(by_order, StageName::Rl),
        resolve(by_name, StageName::Rl)
    );
    assert_eq!(
        rl(&resolve("reward_weights = { gsm8k = 2 }", StageName::Rl)).reward_weights["gsm8k"],
        2.0
    );
}

#[test]
fn other_programs_names_are_accepted() {
    let recipe = resolve(
        "model = \"m\"\nmicro_batch_size = 3\nnum_epochs = 2",
        StageName::Sft,
    );
    assert_eq!(recipe.model.model_name_or_path, Some("m".into()));
    assert_eq!(
        (
            recipe.data.per_device_train_batch_size,
            recipe.run.num_train_epochs
        ),
        (3, 2.0)
    );
}

#[test]
fn missing_inputs_are_told_with_the_flag_that_gives_them() {
    let recipe = resolve("", StageName::Sft);
    assert!(
        recipe
            .require_model()
            .expect_err("no model")
            .to_string()
            .contains("--model DIR")
    );
    assert!(
        recipe
            .require_train_data()
            .expect_err("no data")
            .to_string()
            .contains("--data FILE")
    );
    let recipe = resolve("model = \"m\"\ntrain_data = \"d\"", StageName::Sft);
    assert_eq!(recipe.require_model().expect("given"), Path::new("m"));
    assert_eq!(
        recipe.require_train_data().expect("given"),
        [PathBuf::from("d")]
    );
}

#[test]
fn wpos_weights_are_for_dpos_losses_unless_they_are_asked_for() {
    use super::super::stage_settings::StageSettings;
    let weighing = |text: &str| match resolve(text, StageName::Po).stage {
        StageSettings::Po(po) => po.use_weighting,
        other => panic!("{other:?}"),
    };
    assert!(weighing(""));
    assert!(weighing("loss_type = 'ipo'"));
    assert!(weighing("loss_type = ['sigmoid', 'sft']"));
    for loss in [
        "kto",
        "cpo",
        "simpo",
        "alphapo",
        "orpo",
        "arpo",
        "aot",
        "apo_zero_unpaired",
    ] {
        assert!(!weighing(&format!("loss_type = '{loss}'")), "{loss}");
    }
    assert!(!weighing("loss_type = ['sigmoid', 'kto']"));
    assert!(weighing("loss_type = 'simpo'\nuse_weighting = true"));
    assert!(!weighing("use_weighting = false"));
}
