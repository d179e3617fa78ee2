//! The program itself, as a user calls it.

use std::ffi::OsStr;
use std::fmt::Debug;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::checkpoints::scratch;
use crate::golden;

pub fn trainer() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_trainer"));
    command.env_remove("KEEP_KERNELS");
    command
}

pub fn run(args: &[impl AsRef<OsStr>]) -> Output {
    trainer().args(args).output().expect("the program starts")
}

pub fn succeed(args: &[impl AsRef<OsStr> + Debug]) -> Output {
    let output = run(args);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{args:?}: {}\n{stderr}",
        output.status
    );
    output
}

pub fn text(path: &Path) -> &str {
    path.to_str().expect("test paths are UTF-8")
}

pub fn events(run_dir: &Path, kind: &str) -> Vec<Value> {
    let log = std::fs::read_to_string(run_dir.join("events.jsonl")).expect("an event log");
    // A run at work may be in the middle of its last line.
    let whole = log.rfind('\n').map_or("", |end| &log[..end]);
    whole
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("a line is JSON"))
        .filter(|event| event["kind"] == kind)
        .collect()
}

pub fn write(dir: &Path, name: &str, lines: &[&str]) -> PathBuf {
    let path = dir.join(name);
    std::fs::write(&path, lines.join("\n") + "\n").expect("the folder is writable");
    path
}

pub fn prompts(dir: &Path) -> PathBuf {
    write(
        dir,
        "prompts.jsonl",
        &[
            r#"{"prompt": "Add 2 and 3.", "verifier": "exact_match", "ground_truth": "5"}"#,
            r#"{"prompt": "tower", "verifier": ["exact_match", "chrf"], "ground_truth": "Turm", "source_lang": "en", "target_lang": "de"}"#,
            r#"{"messages": [{"role": "user", "content": "Hi"}], "verifier": "length", "args": {"max": 4}}"#,
        ],
    )
}

pub fn conversations(dir: &Path) -> PathBuf {
    let lines: Vec<String> = (0..12)
        .map(|i| {
            format!(
                r#"{{"messages": [{{"role": "user", "content": "Count to {i}."}}, {{"role": "assistant", "content": "{}"}}]}}"#,
                (1..=i + 1).map(|n| n.to_string()).collect::<Vec<_>>().join(" ")
            )
        })
        .collect();
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    write(dir, "sft.jsonl", &lines)
}

#[test]
fn reinforcement_learning_trains_a_checkpoint_of_each_family() {
    for family in golden::FAMILIES {
        let dir = scratch(&format!("rl-{family}"));
        let data = prompts(&dir);
        let output = dir.join("run");
        let model = golden::model_dir(family);
        succeed(&[
            "--stage",
            "rl",
            "--model",
            text(&model),
            "--data",
            text(&data),
            "--output",
            text(&output),
            "--device",
            "cpu",
            "--max-steps",
            "2",
            "--tui",
            "never",
            "--set",
            "num_generations=4",
            "--set",
            "per_device_train_batch_size=2",
            "--set",
            "gradient_accumulation_steps=2",
            "--set",
            "max_completion_length=8",
            "--set",
            "beta=0.01",
            "--set",
            "learning_rate=1e-3",
        ]);
        let steps = events(&output, "step");
        assert_eq!(steps.len(), 2, "{family}");
        for key in [
            "reward",
            "kl",
            "entropy",
            "rewards/exact_match/mean",
            "frac_reward_zero_std",
        ] {
            assert!(steps[0][key].is_number(), "{family}: {key} in {}", steps[0]);
        }
        let difference = steps[1]["sampling/logp_difference/max"].as_f64();
        assert!(
            difference.is_some_and(|d| d < 1e-4),
            "{family}: {difference:?}"
        );
        assert!(
            output
                .join("checkpoint-2/trainer_state/state.json")
                .exists(),
            "{family}"
        );
        let samples = std::fs::read_to_string(output.join("samples.jsonl")).expect("samples");
        let sample: Value =
            serde_json::from_str(samples.lines().next().expect("one")).expect("JSON");
        assert_eq!(
            sample["completions"].as_array().map(Vec::len),
            Some(4),
            "{family}"
        );
        // What was saved is a model: it generates.
        let saved = output.join("checkpoint-2");
        let line = succeed(&[
            "generate",
            "--model",
            text(&saved),
            "--prompt",
            "Hi",
            "--max-new-tokens",
            "3",
            "--device",
            "cpu",
        ]);
        let line: Value = serde_json::from_slice(&line.stdout).expect("a line of JSON");
        assert!(line["finish_reason"].is_string(), "{line}");
    }
}

#[test]
fn a_stopped_run_saves_exits_130_and_goes_on_to_the_same_bits() {
    for (stage, extra) in [("sft", "packing=true"), ("rl", "num_iterations=2")] {
        let dir = scratch(&format!("resume-{stage}"));
        let data = match stage {
            "rl" => prompts(&dir),
            _ => conversations(&dir),
        };
        let model = golden::model_dir("gemma2");
        let args = |output: &Path| -> Vec<String> {
            let args = [
                "--stage",
                stage,
                "--model",
                text(&model),
                "--data",
                text(&data),
                "--output",
                text(output),
                "--device",
                "cpu",
                "--max-steps",
                "40",
                "--seed",
                "3",
                "--tui",
                "never",
                "--set",
                "learning_rate=1e-3",
                "--set",
                "per_device_train_batch_size=2",
                "--set",
                "max_length=64",
                "--set",
                "max_completion_length=6",
                "--set",
                extra,
                "--set",
                "save_steps=7",
            ];
            args.map(str::to_owned).to_vec()
        };
        let whole = dir.join("whole");
        assert!(
            trainer()
                .args(args(&whole))
                .output()
                .expect("it starts")
                .status
                .success()
        );

        let cut = dir.join("cut");
        let mut child = trainer()
            .args(args(&cut))
            .stderr(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .expect("it starts");
        // Until it has taken three steps, whatever the machine's speed.
        let deadline = Instant::now() + Duration::from_secs(60);
        while !cut.join("events.jsonl").exists() || events(&cut, "step").len() < 3 {
            assert!(
                Instant::now() < deadline,
                "{stage}: no third step in a minute"
            );
            std::thread::sleep(Duration::from_millis(2));
        }
        let pid = child.id().to_string();
        let killed = Command::new("kill").args(["-INT", &pid]).status();
        assert!(killed.expect("kill is there").success());
        let status = child.wait().expect("it ends");
        // A fast machine may have finished by then; the comparison below holds all the same.
        assert!(matches!(status.code(), Some(130 | 0)), "{stage}: {status}");

        let resumed = trainer().args(args(&cut)).output().expect("it starts");
        assert!(resumed.status.success());
        let weights = |run: &Path| {
            let file = run.join("checkpoint-40/model.safetensors");
            std::fs::read(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display()))
        };
        assert!(
            weights(&whole) == weights(&cut),
            "{stage}: weights differ after a resume"
        );
        let losses = |run: &Path| -> Vec<(u64, u64)> {
            let mut by_step = std::collections::BTreeMap::new();
            for step in events(run, "step") {
                let loss = step["loss"].as_f64().expect("a loss").to_bits();
                by_step.insert(step["step"].as_u64().expect("a step"), loss);
            }
            by_step.into_iter().collect()
        };
        assert_eq!(losses(&whole), losses(&cut), "{stage}");
    }
}

#[test]
fn gradient_accumulation_does_not_change_the_loss() {
    let dir = scratch("accumulation");
    let data = conversations(&dir);
    let model = golden::model_dir("qwen2");
    let losses = [("8", "1"), ("1", "8")].map(|(batch, accumulation)| {
        let output = dir.join(batch);
        let batch = format!("per_device_train_batch_size={batch}");
        let accumulation = format!("gradient_accumulation_steps={accumulation}");
        succeed(&[
            "--stage",
            "sft",
            "--model",
            text(&model),
            "--data",
            text(&data),
            "--output",
            text(&output),
            "--device",
            "cpu",
            "--max-steps",
            "5",
            "--seed",
            "3",
            "--tui",
            "never",
            "--set",
            &batch,
            "--set",
            &accumulation,
            "--set",
            "learning_rate=1e-3",
        ]);
        let steps = events(&output, "step");
        steps
            .iter()
            .map(|step| step["loss"].as_f64().expect("a loss"))
            .collect::<Vec<_>>()
    });
    for (a, b) in losses[0].iter().zip(&losses[1]) {
        // Sums of some thousand float32 terms in another order.
        assert!((a - b).abs() <= 1e-5 * a.abs(), "{losses:?}");
    }
}

/// (what is wrong, the arguments, exit code, words of the message).
#[test]
fn wrong_usage_is_answered_with_a_sentence_and_the_right_exit_code() {
    let dir = scratch("wrong-usage");
    let model = golden::model_dir("gemma2");
    let model = text(&model);
    let sound = conversations(&dir);
    let sound = text(&sound);
    let unknown = write(
        &dir,
        "unknown.jsonl",
        &[r#"{"prompt": "a", "verifier": "nope", "args": {}}"#],
    );
    let torn = write(&dir, "torn.jsonl", &[r#"{"messages": [{"role": "user""#]);
    let no_folder = dir.join("no-folder");
    let output = dir.join("out");
    let train = |stage: &str, data: &str, more: &[&str]| -> Vec<String> {
        let base = [
            "--stage",
            stage,
            "--model",
            model,
            "--data",
            data,
            "--output",
            text(&output),
            "--device",
            "cpu",
            "--max-steps",
            "1",
            "--tui",
            "never",
        ];
        base.iter().chain(more).map(|s| (*s).to_owned()).collect()
    };
    let owned = |args: &[&str]| args.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>();
    let cases: Vec<(Vec<String>, i32, &[&str])> = vec![
        (
            train("rl", text(&unknown), &[]),
            1,
            &["unknown.jsonl:1", "nope", "exact_match"],
        ),
        (train("sft", text(&torn), &[]), 1, &["torn.jsonl:1"]),
        (train("sft", text(&no_folder), &[]), 1, &["no-folder"]),
        (
            train("sft", sound, &["--set", "learning_rat=1"]),
            2,
            &["learning_rat", "learning_rate"],
        ),
        (
            train("sft", sound, &["--set", "learning_rate=-1"]),
            2,
            &["learning_rate", "-1"],
        ),
        (train("po", sound, &[]), 1, &["sft.jsonl:1", "chosen"]),
        (
            train("rl", text(&unknown), &["--set", "loss_type=cispo"]),
            2,
            &["epsilon_high", "5.0"],
        ),
        (
            owned(&[
                "score", "--model", model, "--data", sound, "--device", "tpu",
            ]),
            2,
            &["tpu"],
        ),
        (
            owned(&["score", "--model", text(&no_folder), "--data", sound]),
            1,
            &["config.json"],
        ),
        (
            owned(&[
                "--stage", "sft", "--model", model, "--output", sound, "--data", sound,
            ]),
            1,
            &["sft.jsonl"],
        ),
        (
            owned(&[
                "generate", "--model", model, "--prompt", "a", "--dtype", "bfloat16", "--device",
                "wgpu",
            ]),
            2,
            &["wgpu"],
        ),
    ];
    for (args, code, words) in cases {
        let output = trainer().args(&args).output().expect("it starts");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{args:?}\n{stderr}");
        assert!(!stderr.contains("panicked"), "{args:?}\n{stderr}");
        for word in words {
            assert!(stderr.contains(word), "{args:?}: no `{word}` in\n{stderr}");
        }
    }
}

#[test]
fn doctor_names_the_cpu_and_what_auto_means() {
    let output = succeed(&["doctor"]);
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(
        stdout.contains("cpu") && stdout.contains("--device auto is"),
        "{stdout}"
    );
}

#[test]
fn metrics_are_sacrebleus() {
    let dir = scratch("metrics");
    let hypotheses = write(&dir, "hyp.txt", &["the old tower", "", "stone"]);
    let references = write(&dir, "ref.txt", &["the old stone tower", "a", "stone"]);
    let output = succeed(&[
        "metrics",
        "--hypotheses",
        text(&hypotheses),
        "--references",
        text(&references),
        "--metrics",
        "bleu,chrf,chrf++",
        "--json",
    ]);
    let result: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    for metric in ["bleu", "chrf", "chrf++"] {
        assert!(result[metric]["score"].is_number(), "{result}");
        assert!(result[metric]["signature"].is_string(), "{result}");
    }
    let short = write(&dir, "short.txt", &["the old tower"]);
    let output = run(&[
        "metrics",
        "--hypotheses",
        text(&short),
        "--references",
        text(&references),
    ]);
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn a_step_that_trains_on_nothing_logs_no_means() {
    let dir = scratch("rl-nothing");
    let line = r#"{"prompt": "Hi", "verifier": "length", "args": {"max": 1000}}"#;
    let data = write(&dir, "prompts.jsonl", &[line; 2]);
    let (model, output) = (golden::model_dir("qwen2"), dir.join("run"));
    let args = ["--stage", "rl", "--device", "cpu", "--max-steps", "1"];
    let paths = [
        "--model",
        text(&model),
        "--data",
        text(&data),
        "--output",
        text(&output),
    ];
    let small = [
        "--set",
        "num_generations=2",
        "--set",
        "max_completion_length=4",
    ];
    let sets = ["--set", "loss_type=dapo", "--set", "dynamic_sampling=1"];
    succeed(&[&args[..], &paths, &small, &sets].concat());
    let step = &events(&output, "step")[0];
    assert!(step["entropy"].is_null(), "{step}");
    assert!(!step.to_string().contains("nan"), "{step}");
    assert!(step["reward"].is_number(), "{step}");
}

#[test]
fn every_policy_loss_trains_and_does_not_depend_on_how_a_step_is_cut() {
    let dir = scratch("rl-losses");
    let (data, conversations) = (prompts(&dir), conversations(&dir));
    let model = golden::model_dir("qwen2");
    let sft = format!("sft_data={}", text(&conversations));
    let variants: [&[&str]; 12] = [
        &["loss_type=dapo", "dynamic_sampling=3"],
        &[
            "loss_type=grpo",
            "importance_sampling_level=sequence",
            "epsilon=3e-4",
        ],
        &["loss_type=dr_grpo", "scale_rewards=none", "delta=1.5"],
        &["loss_type=luspo", "entropy_coef=0.01"],
        &["loss_type=cispo", "epsilon_high=5.0"],
        &["loss_type=sapo", "kl_estimator=k2", "beta=0.1"],
        &[
            "use_adaptive_entropy=true",
            "entropy_target=9.0",
            "kl_estimator=k3+",
            "beta=0.1",
        ],
        &["loss_type=rloo", "beta=0.1", "normalize_advantages=true"],
        &[
            "loss_type=dapo",
            "multi_objective_aggregation=normalize_then_sum",
        ],
        &["loss_type=dapo", &sft],
        &["loss_type=vespo", "off_policy_mask_threshold=0.0"],
        &[
            "loss_type=rloo",
            "beta=0.1",
            "mask_truncated_completions=true",
        ],
    ];
    for (number, variant) in variants.iter().enumerate() {
        let mut losses = Vec::new();
        for (size, accumulation) in [(3, 1), (1, 3)] {
            let output = dir.join(format!("{number}-{size}"));
            let mut args = vec![
                "--stage",
                "rl",
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
            args.extend(["--max-steps", "4", "--set", "learning_rate=1e-4"]);
            args.extend(["--set", "num_iterations=2", "--set", "num_generations=4"]);
            args.extend(["--set", "max_completion_length=8"]);
            let size = format!("per_device_train_batch_size={size}");
            let accumulation = format!("gradient_accumulation_steps={accumulation}");
            args.extend(["--set", &size, "--set", &accumulation]);
            for set in *variant {
                args.extend(["--set", set]);
            }
            succeed(&args);
            let steps = events(&output, "step");
            assert_eq!(steps.len(), 4, "{variant:?}");
            losses.push(steps);
        }
        for (whole, cut) in losses[0].iter().zip(&losses[1]) {
            for key in ["loss", "grad_norm", "reward"] {
                // A step that goes on with the samples of the one before has no reward.
                if key == "reward" && whole[key].is_null() && cut[key].is_null() {
                    continue;
                }
                let number = |step: &Value| step[key].as_f64().expect("a number");
                let (a, b) = (number(whole), number(cut));
                assert!(
                    (a - b).abs() <= 1e-4 * a.abs().max(0.1),
                    "{variant:?}: {key} {a} and {b}"
                );
            }
        }
    }
}
