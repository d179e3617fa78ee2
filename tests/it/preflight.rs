//! The look at the data before the first step, and `trainer inspect`, as a user calls them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use serde_json::Value;

use crate::checkpoints::scratch;
use crate::golden;
use crate::program::{conversations, events, prompts, run, succeed, text, write};

/// A stage of two steps on a small model.
fn train(stage: &str, family: &str, data: &Path, output: &Path, settings: &[&str]) -> Output {
    train_model(stage, &golden::model_dir(family), data, output, settings)
}

fn train_model(stage: &str, model: &Path, data: &Path, output: &Path, settings: &[&str]) -> Output {
    let mut args = vec!["--stage", stage, "--device", "cpu", "--max-steps", "2"];
    args.extend(["--model", text(model), "--data", text(data)]);
    args.extend(["--output", text(output)]);
    for setting in settings {
        args.extend(["--set", setting]);
    }
    run(&args)
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn preflight(run_dir: &Path) -> Value {
    let events = events(run_dir, "preflight");
    assert_eq!(events.len(), 1, "one event a run");
    events[0].clone()
}

#[test]
fn a_run_says_what_it_found_and_goes_on_and_a_strict_one_does_not() {
    let dir = scratch("preflight-sft");
    let data = conversations(&dir);
    let lines = fs::read_to_string(&data).expect("it was written");
    let first = lines.lines().next().expect("a conversation");
    let data = write(&dir, "repeated.jsonl", &[lines.trim_end(), first]);
    let output = dir.join("warn");
    let ended = train("sft", "gemma2", &data, &output, &[]);
    assert!(ended.status.success(), "{}", stderr(&ended));
    let event = preflight(&output);
    assert_eq!(
        (&event["records"], &event["looked_at"]),
        (&13.into(), &13.into())
    );
    assert!(
        event["supervised_tokens/median"].as_u64() > Some(2),
        "{event}"
    );
    let warned = event["warnings"].to_string();
    assert!(warned.contains("1 of 13"), "{warned}");
    let said = stderr(&ended);
    assert!(said.contains("pre-flight: all 13 records"), "{said}");
    assert!(
        said.contains("hint: take the repeated records out"),
        "{said}"
    );

    // What was looked at is not looked at again.
    train("sft", "gemma2", &data, &output, &["max_steps=3"]);
    preflight(&output);

    let strict = train(
        "sft",
        "gemma2",
        &data,
        &dir.join("strict"),
        &["preflight=strict"],
    );
    assert_eq!(strict.status.code(), Some(2));
    let said = stderr(&strict);
    assert!(
        said.contains("preflight = \"strict\"") && said.contains("1 of 13"),
        "{said}"
    );
    assert!(events(&dir.join("strict"), "step").is_empty());

    let off = train("sft", "gemma2", &data, &dir.join("off"), &["preflight=off"]);
    assert!(off.status.success() && !stderr(&off).contains("pre-flight"));
    assert!(events(&dir.join("off"), "preflight").is_empty());
}

/// The golden model's generation_config.json stops at <eos> (1) alone, its template ends turns with
/// <end_of_turn> (4). What was taught to end turns with it has to stop there in other programs too.
#[test]
fn a_chat_models_checkpoint_names_the_end_of_a_turn_and_a_document_models_is_as_it_was() {
    let dir = scratch("end-of-turn");
    let source = golden::model_dir("gemma2").join("generation_config.json");
    let bytes = |path: &Path| fs::read(path).expect("the file is there");
    let json = |path: &Path| -> Value { serde_json::from_slice(&bytes(path)).expect("JSON") };
    let stages = [
        ("sft", conversations(&dir)),
        ("po", pairs(&dir)),
        ("rl", prompts(&dir)),
    ];
    for (stage, data) in stages {
        let ended = train(stage, "gemma2", &data, &dir.join(stage), &[]);
        assert!(ended.status.success(), "{}", stderr(&ended));
        let written = json(&dir.join(stage).join("checkpoint-2/generation_config.json"));
        let mut want = json(&source);
        want["eos_token_id"] = [1, 4].into();
        want.as_object_mut()
            .expect("fields")
            .remove("_from_model_config");
        assert_eq!(written, want, "{stage}");
    }
    let data = write(
        &dir,
        "documents.jsonl",
        &[r#"{"text": "The tower stands."}"#; 2],
    );
    let ended = train("cpt", "gemma2", &data, &dir.join("cpt"), &[]);
    assert!(ended.status.success(), "{}", stderr(&ended));
    let written = dir.join("cpt/checkpoint-2/generation_config.json");
    assert_eq!(bytes(&written), bytes(&source));

    // The next stage begins with a checkpoint, and has nothing to add.
    let sft = dir.join("sft/checkpoint-2");
    let (data, output) = (dir.join("sft.jsonl"), dir.join("again"));
    let ended = train_model("sft", &sft, &data, &output, &[]);
    assert!(ended.status.success(), "{}", stderr(&ended));
    let written = output.join("checkpoint-2/generation_config.json");
    assert_eq!(bytes(&written), bytes(&sft.join("generation_config.json")));
}

#[test]
fn a_run_that_would_learn_nothing_is_refused() {
    let dir = scratch("preflight-nothing");
    let data = conversations(&dir);
    let ended = train("sft", "gemma2", &data, &dir.join("run"), &["max_length=4"]);
    let said = stderr(&ended);
    assert_eq!(ended.status.code(), Some(2), "{said}");
    assert!(
        said.contains("nothing is supervised in any of 12 records"),
        "{said}"
    );
    assert!(said.contains("raise max_length (4 now)"), "{said}");
}

#[test]
fn a_second_bos_and_repeated_documents_are_found() {
    let dir = scratch("preflight-cpt");
    let lines = [
        r#"{"text": "<bos>The tower stands."}"#,
        r#"{"text": "The river runs."}"#,
    ];
    let lines: Vec<&str> = lines.into_iter().cycle().take(8).collect();
    let data = write(&dir, "documents.jsonl", &lines);
    let output = dir.join("run");
    let ended = train("cpt", "gemma2", &data, &output, &["max_length=64"]);
    assert!(ended.status.success(), "{}", stderr(&ended));
    let event = preflight(&output);
    assert_eq!(event["records_with_two_BOS"], 4);
    assert_eq!(event["duplicates"], 6);
    assert!(event["packed_rows"].as_f64() > Some(0.0), "{event}");
    assert_eq!(
        event["warnings"].as_array().map(Vec::len),
        Some(2),
        "{event}"
    );
    let clean = write(&dir, "clean.jsonl", &lines[1..2]);
    let ended = train(
        "cpt",
        "gemma2",
        &clean,
        &dir.join("clean"),
        &["preflight=strict"],
    );
    assert!(ended.status.success(), "{}", stderr(&ended));
}

#[test]
fn pairs_that_teach_length_or_nothing_are_found() {
    let dir = scratch("preflight-po");
    let data = pairs(&dir);
    let output = dir.join("run");
    let ended = train("po", "qwen3", &data, &output, &[]);
    assert!(ended.status.success(), "{}", stderr(&ended));
    let event = preflight(&output);
    assert_eq!(event["equal_answers"], 1);
    assert!(
        event["chosen_over_rejected_tokens"].as_f64() > Some(1.5),
        "{event}"
    );
    let warned = event["warnings"].to_string();
    assert!(
        warned.contains("same answer twice") && warned.contains("length alone"),
        "{warned}"
    );
}

fn pairs(dir: &Path) -> PathBuf {
    let long = "a long and careful answer about the tower, the river and the hill";
    let pair = |chosen: &str, rejected: &str| {
        format!(r#"{{"prompt": "tower", "chosen": "{chosen}", "rejected": "{rejected}"}}"#)
    };
    let lines = [pair(long, "no"), pair("Turm", "Turm"), pair(long, "never")];
    write(dir, "pairs.jsonl", &lines.each_ref().map(String::as_str))
}

/// Same losses with and without: the probe draws from numbers of its own.
#[test]
fn a_probe_says_how_the_model_fares_and_changes_nothing() {
    let dir = scratch("preflight-rl");
    let data = prompts(&dir);
    let settings = ["num_generations=4", "max_completion_length=8"];
    let losses = |name: &str, more: &[&str]| {
        let output = dir.join(name);
        let settings = [&settings[..], more].concat();
        let ended = train("rl", "gemma2", &data, &output, &settings);
        assert!(ended.status.success(), "{}", stderr(&ended));
        let steps = events(&output, "step");
        let numbers = steps
            .iter()
            .map(|step| (step["loss"].clone(), step["reward"].clone()));
        (output, numbers.collect::<Vec<_>>())
    };
    let (output, with) = losses("with", &[]);
    assert_eq!(with, losses("without", &["preflight=off"]).1);
    let event = preflight(&output);
    assert_eq!(event["records"], 3);
    assert!(event["answer_tokens/max"].as_u64() <= Some(8), "{event}");
    for key in [
        "answers_of_reward_0",
        "answers_cut_off",
        "prompts_of_equal_rewards",
    ] {
        assert!(event[key].is_u64(), "{key} in {event}");
    }
    assert!(event["sampled_tokens_a_second"].as_f64() > Some(0.0));
}

fn inspect(args: &[&str]) -> String {
    let output = succeed(&[&["inspect"], args].concat());
    let shown = String::from_utf8(output.stdout).expect("UTF-8");
    assert!(
        !shown.contains('\u{1b}'),
        "no colour where there is no terminal"
    );
    let widest = shown.lines().map(|line| line.chars().count()).max();
    assert!(widest <= Some(80), "{widest:?} columns:\n{shown}");
    shown
}

#[test]
fn inspect_shows_the_mask_the_lengths_and_what_is_rejected() {
    let dir = scratch("inspect-sft");
    let sound = r#"{"messages": [{"role": "user", "content": "tower"}, {"role": "assistant", "content": "Turm"}]}"#;
    let data = write(&dir, "chats.jsonl", &[sound, r#"{"messages": 3}"#, sound]);
    let model = golden::model_dir("gemma2");
    let files = ["--model", text(&model), "--data", text(&data)];
    let shown = inspect(&[&["--stage", "sft"], &files[..]].concat());
    assert!(shown.contains("⟦Turm<end_of_turn>⟧"), "{shown}");
    assert!(shown.contains("supervised tokens in all"), "{shown}");
    assert!(
        shown.contains("rejected lines: 1") && shown.contains("chats.jsonl:2"),
        "{shown}"
    );
    assert!(!shown.contains("packing:"), "{shown}");
    let packed = ["--stage", "sft", "--set", "packing=true", "--records", "0"];
    let shown = inspect(&[&packed[..], &files].concat());
    assert!(shown.contains("packing: 2 records fill 1 rows"), "{shown}");
    assert!(!shown.contains('⟦'), "{shown}");
}

#[test]
fn inspect_shows_pairs_prompts_and_documents() {
    let dir = scratch("inspect-others");
    let model = golden::model_dir("qwen3");
    let data = pairs(&dir);
    let shown = inspect(&[
        "--stage",
        "po",
        "--model",
        text(&model),
        "--data",
        text(&data),
    ]);
    assert!(
        shown.contains(" chosen  ") && shown.contains("⟦"),
        "{shown}"
    );
    let data = prompts(&dir);
    let shown = inspect(&[
        "--stage",
        "rl",
        "--model",
        text(&model),
        "--data",
        text(&data),
    ]);
    assert!(
        shown.contains("judged by: exact_match, chrf; reference: Turm"),
        "{shown}"
    );
    // Without a model the demo's tokenizer stands in.
    let data = write(
        &dir,
        "documents.jsonl",
        &[r#"{"text": "The tower stands."}"#],
    );
    let shown = inspect(&["--stage", "cpt", "--data", text(&data)]);
    assert!(shown.contains("<bos>⟦The tower stands.<eos>⟧"), "{shown}");
}
