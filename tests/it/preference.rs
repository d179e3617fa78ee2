//! Preference optimization, as a user runs it: that it learns, that nothing depends on how a step is
//! cut, and that its reference is computed once.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::checkpoints::scratch;
use crate::golden;
use crate::program::{conversations, events, run, succeed, text, write};

pub fn pairs(dir: &Path) -> PathBuf {
    let words = ["Turm", "Haus", "Fluss", "Brot", "Licht", "Wind"];
    let lines: Vec<String> = (0..words.len())
        .map(|i| {
            let (chosen, rejected) = (words[i], words[(i + 2) % words.len()].repeat(1 + i % 3));
            format!(
                r#"{{"prompt": "Say word {i}.", "chosen": "{chosen}", "rejected": "{rejected}"}}"#
            )
        })
        .collect();
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    write(dir, "po.jsonl", &lines)
}

/// The steps of a run of two steps over four pairs each.
fn steps(dir: &Path, name: &str, family: &str, sets: &[&str]) -> Vec<Value> {
    let output = dir.join(name);
    let (model, data) = (golden::model_dir(family), pairs(dir));
    let mut args = vec![
        "--stage",
        "po",
        "--model",
        text(&model),
        "--data",
        text(&data),
    ];
    args.extend([
        "--output",
        text(&output),
        "--device",
        "cpu",
        "--tui",
        "never",
    ]);
    args.extend(["--max-steps", "2", "--set", "learning_rate=1e-3"]);
    args.extend(["--set", "warmup_ratio=0", "--set", "shuffle=false"]);
    for set in sets {
        args.extend(["--set", set]);
    }
    succeed(&args);
    let steps = events(&output, "step");
    assert_eq!(steps.len(), 2, "{name}");
    steps
}

fn number(step: &Value, key: &str) -> f64 {
    step[key]
        .as_f64()
        .unwrap_or_else(|| panic!("{key} in {step}"))
}

#[test]
fn every_loss_trains_whichever_way_its_step_is_cut() {
    let dir = scratch("po-losses");
    let losses = trainer::recipe::PreferenceLossType::NAMES;
    for (index, loss) in losses.iter().enumerate() {
        let family = golden::FAMILIES[index % golden::FAMILIES.len()];
        let weighting = format!("use_weighting={}", !loss.starts_with("aot"));
        let loss_type = format!("loss_type={loss}");
        let same = [&*loss_type, &*weighting, "beta=0.1", "label_smoothing=0.05"];
        let mut runs = Vec::new();
        for (size, accumulation) in [(4, 1), (1, 4)] {
            let size = format!("per_device_train_batch_size={size}");
            let accumulation = format!("gradient_accumulation_steps={accumulation}");
            let sets = [&same[..], &[&*size, &*accumulation]].concat();
            runs.push(steps(&dir, &format!("{loss}-{size}"), family, &sets));
        }
        for (whole, cut) in runs[0].iter().zip(&runs[1]) {
            for key in ["loss", "grad_norm"] {
                let (a, b) = (number(whole, key), number(cut, key));
                assert!(
                    (a - b).abs() <= 1e-5 * a.abs().max(1e-2),
                    "{loss}: {key} {a} and {b}"
                );
            }
            assert!(number(whole, "grad_norm") > 0.0, "{loss}");
        }
    }
}

#[test]
fn the_first_step_is_at_the_reference_and_the_second_prefers_the_chosen() {
    let dir = scratch("po-first");
    let sets = [
        "beta=0.1",
        "use_weighting=false",
        "per_device_train_batch_size=6",
        "lr_scheduler_type=constant",
    ];
    let steps = steps(&dir, "run", "gemma2", &sets);
    assert_eq!(number(&steps[0], "rewards/margins"), 0.0);
    assert!((number(&steps[0], "loss") - std::f64::consts::LN_2).abs() < 1e-6);
    assert!(number(&steps[1], "rewards/margins") > 0.0, "{}", steps[1]);
    for key in [
        "rewards/accuracies",
        "logps/chosen",
        "entropy",
        "mean_token_accuracy",
    ] {
        number(&steps[1], key);
    }
}

#[test]
fn a_reference_is_computed_once_and_again_where_it_no_longer_fits() {
    let dir = scratch("po-reference");
    let (model, data) = (golden::model_dir("qwen3"), pairs(&dir));
    let output = dir.join("run");
    let train = |steps: &str, length: &str| {
        let length = format!("max_length={length}");
        let args = [
            "--stage",
            "po",
            "--model",
            text(&model),
            "--data",
            text(&data),
            "--output",
        ];
        let more = [
            text(&output),
            "--device",
            "cpu",
            "--tui",
            "never",
            "--max-steps",
            steps,
        ];
        let sets = [
            "--set",
            &length,
            "--set",
            "save_steps=1",
            "--set",
            "eval_steps=1",
        ];
        let output = succeed(&[&args[..], &more, &sets].concat());
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    // Four pairs make the first step, and no more are asked for.
    assert!(train("1", "64").contains("log-probabilities of 4 records"));
    assert!(train("2", "64").contains("log-probabilities of 2 records"));
    let cached = std::fs::read(output.join("reference.jsonl")).expect("it is kept");
    assert!(
        !train("3", "64").contains("log-probabilities of"),
        "resumed"
    );
    let now = std::fs::read(output.join("reference.jsonl")).expect("it is kept");
    assert_eq!(now, cached);
    // Under another key what is still to come is computed anew: one step of four pairs.
    assert!(train("4", "48").contains("log-probabilities of 4 records"));
}

#[test]
fn another_stage_does_not_go_on_where_one_ended() {
    let dir = scratch("po-other-stage");
    steps(&dir, "run", "qwen2", &[]);
    let (model, data) = (golden::model_dir("qwen2"), conversations(&dir));
    let output = dir.join("run");
    let args = [
        "--stage",
        "sft",
        "--model",
        text(&model),
        "--data",
        text(&data),
    ];
    let refused = run(&[&args[..], &["--output", text(&output), "--device", "cpu"]].concat());
    let stderr = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(2), "{stderr}");
    assert!(stderr.contains("is of stage po"), "{stderr}");
}

#[test]
fn losses_that_do_not_go_together_are_refused() {
    for (sets, word) in [
        (
            &["loss_type=['sigmoid','sft']", "loss_weights=[1.0]"][..],
            "loss_weights",
        ),
        (&["loss_type=exo_pair"], "label_smoothing"),
        (&["loss_type=aot", "use_weighting=true"], "use_weighting"),
        (&["loss_type=['sigmoid','simp']"], "simpo"),
    ] {
        let mut args = vec!["--stage", "po", "--model", "m", "--data", "d"];
        for set in sets {
            args.extend(["--set", set]);
        }
        let output = run(&args);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{stderr}");
        assert!(stderr.contains(word), "{stderr}");
    }
}
