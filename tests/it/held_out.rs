//! What evaluations say of a model's answers, and what a run does when they get worse.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::checkpoints::scratch;
use crate::golden;
use crate::program::{events, run, succeed, text, write};

const PAIRS: [&str; 3] = [
    r#"{"source": "the tower", "target": "der Turm", "source_lang": "en", "target_lang": "de"}"#,
    r#"{"source": "a stone", "target": "une pierre", "source_lang": "en", "target_lang": "fr"}"#,
    r#"{"source": "塔", "target": "石头", "source_lang": "en", "target_lang": "zh"}"#,
];

#[test]
fn evaluations_answer_held_out_pairs_and_the_best_chrf_is_kept() {
    let dir = scratch("eval-generate");
    let pairs = write(&dir, "pairs.jsonl", &PAIRS);
    let preferences = write(
        &dir,
        "preferences.jsonl",
        &[r#"{"prompt": "tower", "chosen": "Turm", "rejected": "Tor"}"#],
    );
    for (stage, data) in [("cpt", &pairs), ("sft", &pairs), ("po", &preferences)] {
        let output = dir.join(stage);
        let eval_data = format!("eval_data={:?}", text(data));
        train(
            stage,
            &golden::model_dir("gemma3"),
            data,
            &output,
            4,
            &[
                &eval_data,
                "eval_steps=2",
                "eval_generate=8",
                "eval_max_new_tokens=6",
                "metric_for_best_model=eval/chrf",
                "learning_rate=1e-2",
            ],
        );
        let evaluation = events(&output, "evaluation").pop().expect("one at the end");
        let rows = answered(&evaluation);
        let groups: Vec<&str> = rows.iter().map(|row| string(&row["group"])).collect();
        match stage {
            "po" => assert_eq!(groups, ["conversations"]),
            _ => assert_eq!(groups, ["en-de", "en-fr", "en-zh"], "{stage}"),
        }
        for name in ["chrf", "bleu"] {
            let of_rows = rows.iter().map(|row| number(&row["metrics"][name]));
            let mean = of_rows.sum::<f64>() / rows.len() as f64;
            assert_eq!(number(&evaluation[name]), mean, "{stage}: {name}");
        }
        let best = std::fs::read(output.join("best.json")).expect("it is there");
        let best: Value = serde_json::from_slice(&best).expect("JSON");
        assert_eq!(best["metric_for_best_model"], "eval/chrf", "{stage}");

        // One record a group, so each sample is all that its row is about.
        for (sample, row) in list(&evaluation["samples"]).iter().zip(rows) {
            assert_eq!(sample["group"], row["group"]);
            let tokenize = match string(&row["group"]) {
                "en-zh" => "zh",
                _ => "13a",
            };
            let score = metrics(&dir, sample, tokenize);
            for name in ["chrf", "bleu"] {
                assert_eq!(
                    row["metrics"][name], score[name]["score"],
                    "{stage}: {name}"
                );
            }
            if stage == "sft" {
                let saved = output.join("checkpoint-4");
                assert_eq!(
                    generated(&saved, string(&sample["prompt"])),
                    sample["completion"]
                );
            }
        }
    }
}

#[test]
fn a_watched_metric_that_falls_while_the_reward_rises_does_what_the_recipe_says() {
    let dir = scratch("watched");
    let (short, data) = short_answers(&dir);
    let eval_data = format!("eval_data={:?}", text(&data));
    for on_watch in ["alert", "stop", "rollback"] {
        let output = dir.join(on_watch);
        let on_watch_setting = format!("on_watch={on_watch}");
        let settings = [
            &*eval_data,
            &on_watch_setting,
            "watch_metric=chrf",
            "eval_steps=4",
            "save_steps=4",
            "num_generations=8",
            "max_completion_length=8",
            "learning_rate=3e-3",
        ];
        train("rl", &short, &data, &output, 40, &settings);
        let alerts = events(&output, "alert");
        // The learning rate is one that other rules have something to say about as well.
        let alert = alerts
            .iter()
            .find(|alert| alert["rule"] == "watched_metric_fell")
            .unwrap_or_else(|| panic!("{on_watch}: no alert"));
        assert!(
            number(&alert["best_value"]) - number(&alert["value"]) > 0.02,
            "{alert}"
        );
        assert!(
            number(&alert["reward"]) - number(&alert["best_reward"]) > 0.02,
            "{alert}"
        );
        let end = events(&output, "finished").pop().expect("an end");
        let resumed = events(&output, "resumed");
        match on_watch {
            "alert" => {
                assert_eq!(
                    (&end["reason"], &end["step"]),
                    (&json!("completed"), &json!(40))
                );
                assert!(resumed.is_empty());
            }
            "stop" => {
                let reason = json!("watched_metric_fell");
                assert_eq!((&end["reason"], &end["step"]), (&reason, &alert["step"]));
                // It has ended for good.
                let steps = events(&output, "step").len();
                train("rl", &short, &data, &output, 40, &settings);
                assert_eq!(events(&output, "step").len(), steps);
            }
            _ => {
                assert_eq!(resumed[0]["from_step"], alert["best_step"], "{resumed:?}");
                assert_eq!(resumed[0]["reason"], "watched_metric_fell");
                assert!(resumed.len() <= 3, "{resumed:?}");
            }
        }
    }

    let rewarded = write(
        &dir,
        "rewarded.jsonl",
        &[r#"{"prompt": "tower", "verifier": "chrf", "ground_truth": "1"}"#],
    );
    let refused = run(&[
        "--stage",
        "rl",
        "--model",
        text(&short),
        "--data",
        text(&rewarded),
        "--device",
        "cpu",
        "--output",
        text(&dir.join("refused")),
        "--tui",
        "never",
        "--set",
        &eval_data,
        "--set",
        "watch_metric=chrf",
    ]);
    let stderr = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(2), "{stderr}");
    assert!(
        stderr.contains("is a verifier of train_data's records"),
        "{stderr}"
    );
}

/// A model that answers with one word, prompts whose reward is length alone, and a right answer
/// that is short.
pub fn short_answers(dir: &Path) -> (PathBuf, PathBuf) {
    let asked = ["tower", "stone", "well", "gate"];
    let answers = asked.map(|word| {
        let user = json!({"role": "user", "content": word});
        let assistant = json!({"role": "assistant", "content": "1"});
        json!({"messages": [user, assistant]}).to_string()
    });
    let answers = write(
        dir,
        "answers.jsonl",
        &answers.each_ref().map(String::as_str),
    );
    let run = dir.join("short");
    let settings = ["learning_rate=1e-2", "lr_scheduler_type=constant"];
    train(
        "sft",
        &golden::model_dir("gemma2"),
        &answers,
        &run,
        12,
        &settings,
    );
    let prompts = asked.map(|word| {
        json!({"prompt": word, "verifier": "length", "args": {"min": 8}, "reference": "1"})
            .to_string()
    });
    let prompts = write(
        dir,
        "prompts.jsonl",
        &prompts.each_ref().map(String::as_str),
    );
    (run.join("checkpoint-12"), prompts)
}

fn train(stage: &str, model: &Path, data: &Path, output: &Path, steps: u32, settings: &[&str]) {
    let steps = steps.to_string();
    let base = [
        "--stage",
        stage,
        "--model",
        text(model),
        "--data",
        text(data),
        "--output",
        text(output),
        "--device",
        "cpu",
        "--max-steps",
        &steps,
        "--seed",
        "3",
        "--tui",
        "never",
        "--set",
        "per_device_train_batch_size=4",
        "--set",
        "warmup_ratio=0",
    ];
    let set = settings.iter().flat_map(|setting| ["--set", setting]);
    succeed(&base.into_iter().chain(set).collect::<Vec<_>>());
}

/// The rows with chrF.
fn answered(evaluation: &Value) -> Vec<&Value> {
    let rows = list(&evaluation["table"]).iter();
    rows.filter(|row| row["metrics"]["chrf"].is_number())
        .collect()
}

/// What `trainer metrics` says of a sample.
fn metrics(dir: &Path, sample: &Value, tokenize: &str) -> Value {
    let file = |name: &str, key: &str| -> PathBuf { write(dir, name, &[string(&sample[key])]) };
    let output = succeed(&[
        "metrics",
        "--hypotheses",
        text(&file("hyp.txt", "completion")),
        "--references",
        text(&file("ref.txt", "reference")),
        "--metrics",
        "bleu,chrf",
        "--tokenize",
        tokenize,
        "--json",
    ]);
    serde_json::from_slice(&output.stdout).expect("JSON")
}

fn generated(model: &Path, prompt: &str) -> String {
    let output = succeed(&[
        "generate",
        "--model",
        text(model),
        "--prompt",
        prompt,
        "--max-new-tokens",
        "6",
        "--device",
        "cpu",
    ]);
    let line: Value = serde_json::from_slice(&output.stdout).expect("a line of JSON");
    string(&line["text"]).trim().to_owned()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn string(value: &Value) -> &str {
    value.as_str().expect("text")
}

fn number(value: &Value) -> f64 {
    value
        .as_f64()
        .unwrap_or_else(|| panic!("{value} is no number"))
}
