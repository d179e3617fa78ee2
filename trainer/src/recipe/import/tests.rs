//! Configurations in `tests/imports/`, each with the recipe and the notes that it gives.

use std::path::{Path, PathBuf};

use super::*;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/imports")
}

fn imported(program: Program, text: &str, stage: Option<StageName>) -> Imported {
    import(program, "c.yaml", text, stage).unwrap_or_else(|error| panic!("{error}"))
}

fn trl(text: &str) -> Imported {
    imported(Program::Trl, text, None)
}

#[track_caller]
fn has(imported: &Imported, line: &str) {
    let toml = &imported.toml;
    assert!(toml.lines().any(|l| l == line), "no `{line}` in\n{toml}");
}

#[track_caller]
fn lacks(imported: &Imported, key: &str, why: &str) {
    let note = imported.notes.iter().find(|note| note.key == key);
    let note = note.unwrap_or_else(|| panic!("no note on {key} in {:?}", imported.notes));
    assert!(!note.carried && note.why.contains(why), "{note}");
}

/// After a change that is meant to show, such as a new key of the schema, run it once with
/// `KEEP_ACCEPT=1` and read the difference.
#[test]
fn each_configuration_gives_its_recipe_and_its_notes_and_the_recipe_resolves() {
    let entries = std::fs::read_dir(folder()).expect("the folder is there");
    let mut files: Vec<PathBuf> = entries
        .map(|entry| entry.expect("a readable folder").path())
        .filter(|path| path.extension().is_some_and(|end| end == "yaml"))
        .collect();
    files.sort();
    assert!(files.len() >= 5, "only {} configurations", files.len());
    for path in files {
        let name = path.file_name().expect("a name").to_string_lossy();
        let program = match name.starts_with("trl") {
            true => Program::Trl,
            false => Program::Axolotl,
        };
        let text = std::fs::read_to_string(&path).expect("a readable file");
        let imported = import(program, &name, &text, None)
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let notes: String = imported
            .notes
            .iter()
            .map(|note| format!("{note}\n"))
            .collect();
        let raw = RawRecipe::parse("r.toml", &imported.toml).expect("TOML");
        for_stage(&raw, imported.stage).unwrap_or_else(|errors| panic!("{errors}"));
        assert_eq!(super::super::unused_keys(&raw, imported.stage), []);
        for (extension, got) in [("toml", &imported.toml), ("notes.txt", &notes)] {
            let golden = path.with_extension(extension);
            if std::env::var_os("KEEP_ACCEPT").is_some() {
                telemetry::atomic::write_atomic(&golden, got).expect("the folder is writable");
            }
            let want = std::fs::read_to_string(&golden).unwrap_or_default();
            assert_eq!(*got, want, "{}", golden.display());
        }
    }
}

#[test]
fn the_stage_is_inferred_and_can_be_said() {
    for (text, stage) in [
        ("num_generations: 8\nbeta: 0.1", StageName::Rl),
        ("beta: 0.1", StageName::Po),
        ("loss_type: ipo", StageName::Po),
        ("packing: true", StageName::Sft),
    ] {
        assert_eq!(trl(text).stage, stage, "{text}");
    }
    let error = import(Program::Trl, "c.yaml", "learning_rate: 1e-5", None);
    assert!(
        error
            .expect_err("nothing says it")
            .to_string()
            .contains("--stage")
    );
    let said = imported(Program::Trl, "learning_rate: 1e-5", Some(StageName::Cpt));
    assert_eq!(said.stage, StageName::Cpt);
    has(&said, "learning_rate = 1e-5");
    for (text, stage) in [
        ("rl: grpo", StageName::Rl),
        ("rl: ipo", StageName::Po),
        (
            "datasets: [{path: a.jsonl, type: completion}]",
            StageName::Cpt,
        ),
        ("datasets: [{path: a.jsonl, type: alpaca}]", StageName::Sft),
    ] {
        assert_eq!(
            imported(Program::Axolotl, text, None).stage,
            stage,
            "{text}"
        );
    }
}

#[test]
fn a_grpo_batch_of_completions_becomes_one_of_prompts() {
    let batch = |size: u32, accumulation: u32, generations: u32| {
        trl(&format!(
            "per_device_train_batch_size: {size}\ngradient_accumulation_steps: {accumulation}\n\
             num_generations: {generations}"
        ))
    };
    let whole = batch(16, 2, 8);
    has(&whole, "per_device_train_batch_size = 2");
    has(&whole, "gradient_accumulation_steps = 2");
    // 2 · 16 completions of a step are 4 groups of 8.
    let split = batch(2, 16, 8);
    has(&split, "per_device_train_batch_size = 1");
    has(&split, "gradient_accumulation_steps = 4");
    let odd = batch(6, 1, 8);
    lacks(
        &odd,
        "per_device_train_batch_size",
        "no multiple of num_generations = 8",
    );
}

#[test]
fn completions_that_are_sampled_at_once_become_mini_batches() {
    let of = |text: &str| {
        trl(&format!(
            "num_generations: 4\nper_device_train_batch_size: 8\ngradient_accumulation_steps: 2\n{text}"
        ))
    };
    has(
        &of("steps_per_generation: 8"),
        "num_mini_batches = 4  # steps_per_generation",
    );
    has(
        &of("generation_batch_size: 32"),
        "num_mini_batches = 2  # generation_batch_size",
    );
    let key = "steps_per_generation";
    lacks(&of("steps_per_generation: 2"), key, "not needed");
    lacks(&of("steps_per_generation: 3"), key, "whole optimizer steps");
}

#[test]
fn without_a_batch_there_is_the_default_one_by_the_completions_of_a_prompt() {
    let of = |text: &str| trl(&format!("scale_rewards: group\n{text}"));
    for (generations, prompts) in [(2, 4), (4, 2), (8, 1)] {
        let batch = format!("per_device_train_batch_size = {prompts}  # TRL's default");
        has(&of(&format!("num_generations: {generations}")), &batch);
    }
    // 8 · 4 completions of a step are two groups of 16.
    let split = of("num_generations: 16\ngradient_accumulation_steps: 4");
    has(&split, "per_device_train_batch_size = 1  # TRL's default");
    has(&split, "gradient_accumulation_steps = 2");
    // TRL refuses 8 completions in groups of 16.
    let odd = of("num_generations: 16");
    has(&odd, "per_device_train_batch_size = 1  # TRL's default");
    let remark = odd.notes.iter().find(|note| note.key == "num_generations");
    assert!(
        remark.is_some_and(|note| note.carried && note.why.contains("no multiple")),
        "{:?}",
        odd.notes
    );
    // RLOO has two completions of a prompt unless it is told.
    has(
        &trl("normalize_advantages: true"),
        "per_device_train_batch_size = 4  # TRL's default",
    );
    has(
        &trl("normalize_advantages: true\nper_device_train_batch_size: 16"),
        "per_device_train_batch_size = 8",
    );
    let rloo = trl("normalize_advantages: true\nnum_generations: 4");
    has(&rloo, "per_device_train_batch_size = 2  # TRL's default");
}

#[test]
fn an_orpo_configuration_is_told_how_to_say_its_loss() {
    let vague = import(Program::Trl, "c.yaml", "max_length: 1024", None);
    let error = vague.expect_err("nothing says it").to_string();
    assert!(error.contains("`loss_type: orpo`"), "{error}");
    let beta = trl("beta: 0.1");
    let note = beta.notes.iter().find(|note| note.key == "beta");
    assert!(
        note.is_some_and(|note| note.carried && note.why.contains("loss_type = \"orpo\"")),
        "{:?}",
        beta.notes
    );
    for told in [
        "loss_type: sigmoid",
        "rpo_alpha: 0.1",
        "f_divergence_type: reverse_kl",
    ] {
        let told = trl(&format!("beta: 0.1\n{told}"));
        assert!(told.notes.is_empty(), "{:?}", told.notes);
    }
    let said = trl("beta: 0.1\nloss_type: orpo");
    has(&said, "loss_type = [\"orpo\"]");
    assert!(said.notes.is_empty(), "{:?}", said.notes);
}

#[test]
fn schedules_end_where_they_did() {
    let rate = trl(
        "packing: false\nlearning_rate: 2e-5\nlr_scheduler_type: cosine_with_min_lr\n\
         lr_scheduler_kwargs: {min_lr: 2e-6}\nwarmup_steps: 0.1",
    );
    has(&rate, "lr_scheduler_type = \"cosine\"");
    has(&rate, "min_lr_ratio = 0.1  # lr_scheduler_kwargs.min_lr");
    has(&rate, "warmup_ratio = 0.1  # warmup_steps");
    let constant = trl("packing: false\nlr_scheduler_type: constant\nwarmup_ratio: 0.1");
    has(&constant, "warmup_ratio = 0.0  # TRL's default");
    lacks(&constant, "warmup_ratio", "no warm-up");
    let warm = trl("packing: false\nlr_scheduler_type: constant_with_warmup\nwarmup_ratio: 0.1");
    has(&warm, "warmup_ratio = 0.1");
    lacks(
        &trl("packing: false\nlr_scheduler_type: cosine_with_restarts"),
        "lr_scheduler_type",
        "takes one of constant, linear",
    );
}

#[test]
fn what_the_schema_lacks_is_said_not_to_be_there_yet() {
    let some_day = imported(
        Program::Axolotl,
        "rl: dpo\nan_option: 1\nkto_desirable_weight: 1.5\nlora_fan_in_fan_out: false",
        None,
    );
    lacks(&some_day, "an_option", "unknown to Keep");
    lacks(&some_day, "lora_fan_in_fan_out", "not needed");
    let weights = trl("num_generations: 8\nreward_weights: [1.0, 0.5]");
    lacks(&weights, "reward_weights", "reward_funcs");
    let python = trl("num_generations: 8\nreward_funcs: [my.module.score]");
    lacks(&python, "reward_funcs", "`my.module.score` is Python");
    let ours = trl("reward_funcs: [exact_match, chrf]\nreward_weights: [1.0, 0.5]");
    has(&ours, "reward_weights = [1.0, 0.5]");
}

#[test]
fn a_value_that_two_keys_give_is_the_first_ones() {
    let twice = trl("packing: false\nbf16: true\ndtype: float32\ntorch_dtype: bfloat16");
    has(&twice, "dtype = \"bfloat16\"  # bf16");
    lacks(&twice, "dtype", "`bf16` says dtype already");
    let single = trl("packing: false\nbf16: false");
    has(&single, "dtype = \"float32\"  # bf16");
    let half = trl("packing: false\nbf16: false\nfp16: true");
    has(&half, "dtype = \"bfloat16\"  # fp16");
    assert!(
        half.notes
            .iter()
            .any(|note| note.carried && note.key == "fp16")
    );
}

#[test]
fn tensorboard_goes_along_and_other_loggers_stay() {
    let some = trl("packing: false\nreport_to: [wandb, tensorboard]");
    has(&some, "report_to = [\"tensorboard\"]");
    let note = some.notes.iter().find(|note| note.key == "report_to");
    assert!(note.is_some_and(|note| note.carried && note.why.contains("only to tensorboard")));
    let axolotl = |text| imported(Program::Axolotl, text, Some(StageName::Sft));
    has(
        &axolotl("use_tensorboard: true\n"),
        "report_to = [\"tensorboard\"]  # use_tensorboard",
    );
    lacks(
        &axolotl("use_tensorboard: false\n"),
        "use_tensorboard",
        "not needed",
    );
}

#[test]
fn no_row_is_shadowed_by_an_earlier_one() {
    for rows in [trl::ROWS, axolotl::ROWS] {
        let names: Vec<&str> = rows
            .iter()
            .flat_map(|(names, _)| names.iter().copied())
            .collect();
        for (index, name) in names.iter().enumerate() {
            assert!(!names[..index].contains(name), "{name} has two rows");
        }
    }
}

#[test]
fn the_best_checkpoint_is_kept_by_the_metric_that_is_named_or_by_the_loss() {
    let best = "load_best_model_at_end: true\n";
    let named = trl(&format!(
        "{best}metric_for_best_model: eval_chrf\ngreater_is_better: true\npacking: true"
    ));
    has(&named, "metric_for_best_model = \"eval/chrf\"");
    has(&named, "greater_is_better = true");
    lacks(&named, "load_best_model_at_end", "best.json names it");

    let higher = trl(&format!("{best}metric_for_best_model: chrf\npacking: true"));
    has(&higher, "greater_is_better = true  # metric_for_best_model");

    let unnamed = trl(&format!("{best}packing: true"));
    let line = "metric_for_best_model = \"eval/loss\"";
    has(&unnamed, &format!("{line}  # load_best_model_at_end"));
    assert!(unnamed.notes.iter().any(|note| note.carried));

    let neither = trl("load_best_model_at_end: false\npacking: true");
    assert!(!neither.toml.contains("\nmetric_for_best_model"));

    let text = "early_stopping_patience: 3\ndatasets:\n  - path: a.jsonl\n";
    let patient = imported(Program::Axolotl, text, None);
    has(&patient, "early_stopping_patience = 3");
    has(&patient, &format!("{line}  # early_stopping_patience"));
}

#[test]
fn a_configuration_without_its_losses_name_has_the_loss_of_its_kind() {
    let kto = trl("desirable_weight: 1.33\nlearning_rate: 1e-6");
    assert_eq!(kto.stage, StageName::Po);
    has(&kto, "loss_type = [\"kto\"]  # TRL's default");
    has(
        &trl("cpo_alpha: 1.0"),
        "loss_type = [\"cpo\"]  # TRL's default",
    );
    let rloo = trl("normalize_advantages: true");
    assert_eq!(rloo.stage, StageName::Rl);
    has(&rloo, "loss_type = \"rloo\"  # TRL's default");
    has(&rloo, "beta = 0.05  # TRL's default");
    has(&rloo, "num_generations = 2  # TRL's default");
    assert_eq!(trl("reward_clip_range: [-1, 1]").stage, StageName::Rl);
}

#[test]
fn a_loss_of_cpo_has_dpos_name_there() {
    for (theirs, ours) in [
        ("sigmoid", "cpo"),
        ("hinge", "cpo_hinge"),
        ("ipo", "cpo_ipo"),
    ] {
        let cpo = trl(&format!("loss_type: {theirs}\ncpo_alpha: 0.5"));
        has(&cpo, &format!("loss_type = [\"{ours}\"]"));
        let dpo = trl(&format!("loss_type: {theirs}\nbeta: 0.1"));
        assert!(!dpo.toml.contains("cpo"), "{}", dpo.toml);
    }
    has(
        &trl("loss_type: simpo\ncpo_alpha: 0.0"),
        "loss_type = [\"simpo\"]",
    );
}

#[test]
fn several_losses_keep_their_weights() {
    let mpo = trl("loss_type: [sigmoid, bco_pair, sft]\nloss_weights: [0.8, 0.2, 1.0]");
    has(&mpo, "loss_weights = [0.8, 0.2, 1.0]");
    assert_eq!(mpo.notes, []);
}

#[test]
fn a_length_without_a_limit_and_offloading_are_told_of() {
    let sft = trl("packing: true\nmax_length: null\nactivation_offloading: true");
    lacks(&sft, "max_length", "always a longest record");
    has(&sft, "activation_offloading = true");
}
