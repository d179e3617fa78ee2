//! The best checkpoint by a metric, and the end for lack of a better one.

use std::path::Path;
use std::process::Output;

use serde_json::{Value, json};

use crate::checkpoints::scratch;
use crate::golden;
use crate::program::{conversations, events, prompts, succeed, text, trainer, write};

/// Training lowers the loss, so where more of it is taken to be better, the first evaluation is the
/// best one.
const BACKWARDS: [&str; 2] = ["metric_for_best_model=eval/loss", "greater_is_better=true"];

#[test]
fn the_best_checkpoint_stays_and_the_run_ends_when_no_better_one_comes() {
    let dir = scratch("best");
    let run = dir.join("run");
    let patient = [&BACKWARDS[..], &["early_stopping_patience=3"]].concat();
    let output = sft(&dir, &run, 40, &patient);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    assert!(
        stderr.contains("the run ends at step 8: eval/loss was no better in 3"),
        "{stderr}"
    );
    let end = events(&run, "finished").pop().expect("an end");
    assert_eq!(
        (&end["reason"], &end["step"]),
        (&json!("early_stopped"), &json!(8))
    );

    // Evaluations were at 2, 4, 6 and 8; a limit of one checkpoint leaves the newest and the best.
    assert!(run.join("checkpoint-2").is_dir() && run.join("checkpoint-8").is_dir());
    assert!(!run.join("checkpoint-3").exists() && !run.join("checkpoint-6").exists());
    let evaluations = events(&run, "evaluation");
    let at_2 = evaluations
        .iter()
        .find(|event| event["step"] == 2)
        .expect("one at 2");
    let best = std::fs::read(run.join("best.json")).expect("it is there");
    let best: Value = serde_json::from_slice(&best).expect("JSON");
    assert_eq!(
        best,
        json!({
            "metric_for_best_model": "eval/loss",
            "greater_is_better": true,
            "best_metric": at_2["loss"],
            "best_global_step": 2,
            "best_model_checkpoint": "checkpoint-2",
        })
    );
    let saved = events(&run, "checkpoint").pop().expect("one was saved");
    assert_eq!(saved["best_model_checkpoint"], "checkpoint-2");
    assert_eq!(saved["best_metric"], at_2["loss"]);

    // It has ended for good, until the recipe has more patience.
    assert!(sft(&dir, &run, 40, &patient).status.success());
    assert_eq!(events(&run, "step").len(), 8);
    assert!(sft(&dir, &run, 10, &BACKWARDS).status.success());
    assert_eq!(events(&run, "resumed")[0]["from_step"], 8);
    assert!(run.join("checkpoint-2").is_dir() && run.join("checkpoint-10").is_dir());
}

#[test]
fn a_metric_that_nothing_measures_is_refused_with_those_that_are_there() {
    let dir = scratch("no-such-metric");
    for (metric, word) in [("eval/chrf", "there are eval/loss"), ("reward", "no step")] {
        let setting = format!("metric_for_best_model={metric}");
        let output = sft(&dir, &dir.join("run"), 4, &[&setting]);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{stderr}");
        assert!(stderr.contains(metric) && stderr.contains(word), "{stderr}");
    }
}

#[test]
fn the_next_stage_builds_on_the_best_checkpoint_and_else_on_the_newest() {
    let dir = scratch("best-handed-on");
    let conversations = conversations(&dir);
    let documents = write(&dir, "cpt.jsonl", &[r#"{"text": "The old stone tower."}"#]);
    let (pairs, prompts) = (crate::preference::pairs(&dir), prompts(&dir));
    let quoted = |path: &Path| format!("{:?}", text(path));
    let recipe = format!(
        "model = {}\nmax_steps = 3\nwarmup_ratio = 0\nlearning_rate = 1e-2\nsave_steps = 1\n\
         [cpt]\ntrain_data = [{}]\n\
         [sft]\ntrain_data = [{sft}]\neval_data = [{sft}]\neval_steps = 1\n\
         metric_for_best_model = \"eval/loss\"\ngreater_is_better = true\n\
         [po]\ntrain_data = [{}]\n\
         [rl]\ntrain_data = [{}]\nnum_generations = 2\nmax_completion_length = 4\n",
        quoted(&golden::model_dir("qwen3")),
        quoted(&documents),
        quoted(&pairs),
        quoted(&prompts),
        sft = quoted(&conversations),
    );
    let recipe = write(&dir, "recipe.toml", &[&recipe]);
    let output = dir.join("run");
    let mut args = vec![
        "--stage",
        "all",
        "--recipe",
        text(&recipe),
        "--device",
        "cpu",
    ];
    args.extend(["--output", text(&output), "--tui", "never"]);
    succeed(&args);
    let began_with = |stage: &str| {
        let manifest =
            std::fs::read(output.join(stage).join("manifest.json")).expect("it is there");
        let manifest: Value = serde_json::from_slice(&manifest).expect("JSON");
        manifest["model"].as_str().expect("a folder").to_owned()
    };
    for (stage, from) in [
        ("sft", "cpt/checkpoint-3"),
        ("po", "sft/checkpoint-1"),
        ("rl", "po/checkpoint-3"),
    ] {
        assert_eq!(began_with(stage), text(&output.join(from)), "{stage}");
    }
}

fn sft(dir: &Path, output: &Path, steps: u32, settings: &[&str]) -> Output {
    let data = conversations(dir);
    let eval_data = format!("eval_data={:?}", text(&data));
    trainer()
        .args([
            "--stage",
            "sft",
            "--model",
            text(&golden::model_dir("qwen3")),
        ])
        .args([
            "--data",
            text(&data),
            "--output",
            text(output),
            "--device",
            "cpu",
        ])
        .args([
            "--max-steps",
            &steps.to_string(),
            "--seed",
            "3",
            "--tui",
            "never",
        ])
        .args([
            "--set",
            &eval_data,
            "--set",
            "eval_steps=2",
            "--set",
            "save_steps=3",
        ])
        .args(["--set", "save_total_limit=1", "--set", "learning_rate=1e-2"])
        .args([
            "--set",
            "lr_scheduler_type=constant",
            "--set",
            "warmup_ratio=0",
        ])
        .args(["--set", "per_device_train_batch_size=2"])
        .args(settings.iter().flat_map(|setting| ["--set", setting]))
        .output()
        .expect("the program starts")
}
