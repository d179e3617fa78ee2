//! Preference optimization on single answers with a label, as a user runs it.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::checkpoints::scratch;
use crate::golden;
use crate::program::{events, run, succeed, text, write};

fn answers(dir: &Path) -> PathBuf {
    let words = ["Turm", "Haus", "Fluss", "Brot", "Licht", "Wind"];
    let lines: Vec<String> = words
        .iter()
        .enumerate()
        .map(|(i, word)| {
            let answer = word.repeat(1 + i % 3);
            let label = i % 3 != 1;
            format!(r#"{{"prompt": "Say {i}.", "completion": "{answer}", "label": {label}}}"#)
        })
        .collect();
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    write(dir, "unpaired.jsonl", &lines)
}

fn arguments<'a>(model: &'a Path, data: &'a Path, output: &'a Path) -> Vec<&'a str> {
    let mut args = vec![
        "--stage",
        "po",
        "--model",
        text(model),
        "--data",
        text(data),
    ];
    args.extend([
        "--output",
        text(output),
        "--device",
        "cpu",
        "--tui",
        "never",
    ]);
    args.extend(["--set", "warmup_ratio=0", "--set", "learning_rate=1e-3"]);
    args
}

#[test]
fn single_answers_train_whichever_way_their_step_is_cut() {
    let dir = scratch("unpaired-cuts");
    let (model, data) = (golden::model_dir("gemma2"), answers(&dir));
    // Both kinds of records, and both losses of single answers.
    let pairs = crate::preference::pairs(&dir);
    let loss = "loss_type=['kto','apo_zero_unpaired','sft']";
    let mut runs: Vec<Vec<Value>> = Vec::new();
    for (size, accumulation) in [("4", "1"), ("1", "4")] {
        let output = dir.join(size);
        let size = format!("per_device_train_batch_size={size}");
        let accumulation = format!("gradient_accumulation_steps={accumulation}");
        let mut args = arguments(&model, &data, &output);
        args.extend(["--data", text(&pairs), "--max-steps", "5"]);
        for set in [loss, "beta=0.1", "ld_alpha=0.5", &size, &accumulation] {
            args.extend(["--set", set]);
        }
        args.extend(["--set", "use_weighting=true"]);
        succeed(&args);
        runs.push(events(&output, "step"));
        assert_eq!(runs.last().map(Vec::len), Some(5));
    }
    for (whole, cut) in runs[0].iter().zip(&runs[1]) {
        for key in ["loss", "grad_norm", "kl", "weights/mean"] {
            let number = |step: &Value| step[key].as_f64().expect("a number");
            let (a, b) = (number(whole), number(cut));
            assert!(
                (a - b).abs() <= 1e-5 * a.abs().max(1e-2),
                "{key} {a} and {b}"
            );
        }
        assert!(whole["grad_norm"].as_f64().expect("a number") > 0.0);
    }
}

#[test]
fn held_out_answers_are_measured_against_their_own_mismatches() {
    let dir = scratch("unpaired-eval");
    let (model, data) = (golden::model_dir("qwen3"), answers(&dir));
    let output = dir.join("run");
    let eval = format!("eval_data={}", text(&data));
    let mut args = arguments(&model, &data, &output);
    for set in ["loss_type=kto", "beta=0.1", "use_weighting=false", &eval] {
        args.extend(["--set", set]);
    }
    args.extend([
        "--max-steps",
        "2",
        "--set",
        "eval_generate=2",
        "--set",
        "eval_steps=1",
    ]);
    succeed(&args);
    let evaluations = events(&output, "evaluation");
    // At the reference every log-ratio is 0, and so is z: 1 - sigmoid(0).
    assert_eq!(evaluations[0]["loss"], 0.5);
    for evaluation in &evaluations {
        for key in [
            "loss",
            "rewards/chosen",
            "rewards/rejected",
            "rewards/margins",
            "chrf",
        ] {
            assert!(evaluation[key].is_number(), "{key} in {evaluation}");
        }
        assert!(evaluation["rewards/accuracies"].is_null(), "{evaluation}");
    }
}

#[test]
fn a_single_answer_to_a_loss_of_two_says_where_it_stands_and_what_to_do() {
    let dir = scratch("unpaired-refused");
    let (model, data) = (golden::model_dir("qwen2"), answers(&dir));
    let output = dir.join("run");
    let refused = |sets: &[&str]| {
        let mut args = arguments(&model, &data, &output);
        for set in sets {
            args.extend(["--set", set]);
        }
        let output = run(&args);
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_ne!(output.status.code(), Some(0), "{stderr}");
        stderr
    };
    for loss in ["loss_type=sigmoid", "loss_type=['kto','sigmoid']"] {
        let stderr = refused(&[loss]);
        for words in ["unpaired.jsonl:1: field `rejected`", "hint:", "kto"] {
            assert!(stderr.contains(words), "no `{words}` in {stderr}");
        }
    }
    let one = "per_device_train_batch_size=1";
    let stderr = refused(&["loss_type=kto", one, "gradient_accumulation_steps=1"]);
    assert!(stderr.contains("a step has one record"), "{stderr}");
    write(
        &dir,
        "unpaired.jsonl",
        &[
            r#"{"prompt": "a", "completion": "b", "label": true}"#,
            r#"{"prompt": "a", "completion": "b", "label": "yes"}"#,
        ],
    );
    let stderr = refused(&["loss_type=kto"]);
    for words in ["unpaired.jsonl:2: field `label`", "found a string", "hint:"] {
        assert!(stderr.contains(words), "no `{words}` in {stderr}");
    }
}

#[test]
fn inspect_and_the_preflight_count_labels_and_weigh_them() {
    let dir = scratch("unpaired-inspect");
    let (model, data) = (golden::model_dir("gemma3"), answers(&dir));
    let shown = |sets: &[&str]| {
        let mut args = vec!["inspect", "--stage", "po", "--model", text(&model)];
        args.extend(["--data", text(&data), "--set", "loss_type=kto"]);
        for set in sets {
            args.extend(["--set", set]);
        }
        String::from_utf8_lossy(&succeed(&args).stdout).into_owned()
    };
    // Four answers to learn, two to unlearn.
    let text = shown(&[]);
    for words in [
        "label true",
        "label false",
        "unpaired.jsonl:1 label true",
        "weigh 2.00 times",
        "desirable_weight between 0.50 and 0.67",
    ] {
        assert!(text.contains(words), "no `{words}` in {text}");
    }
    assert!(!text.contains("equal answers"), "{text}");
    let balanced = shown(&["desirable_weight=0.6"]);
    assert!(!balanced.contains("desirable_weight between"), "{balanced}");
}
