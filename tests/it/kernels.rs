//! The same ten losses with our own kernels and with their references, on every device.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::checkpoints::scratch;
use crate::{devices, golden};

const STEPS: usize = 10;

fn conversations(dir: &Path) -> PathBuf {
    let data = dir.join("sft.jsonl");
    let lines: Vec<String> = (0..12)
        .map(|i| {
            let answer = "one two ".repeat(1 + i % 5);
            format!(r#"{{"prompt": "Count to {i}.", "completion": "{answer}"}}"#)
        })
        .collect();
    std::fs::write(&data, lines.join("\n")).expect("the folder is writable");
    data
}

fn fine_tune(family: &str, data: &Path, output: &Path, kernels: &str, options: &[&str]) {
    let done = Command::new(env!("CARGO_BIN_EXE_trainer"))
        .env("KEEP_KERNELS", kernels)
        .args(["--stage", "sft", "--seed", "3", "--tui", "never"])
        .args(["--set", "learning_rate=1e-3"])
        .args(options)
        .arg("--model")
        .arg(golden::model_dir(family))
        .arg("--data")
        .arg(data)
        .arg("--output")
        .arg(output)
        .output()
        .expect("the program starts");
    let stderr = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{kernels} {options:?}: {stderr}");
}

#[test]
fn ten_losses_are_the_same_whichever_kernels_and_device_compute_them() {
    let dir = scratch("ten-losses");
    let data = conversations(&dir);
    for family in ["gemma2", "qwen3"] {
        let losses = |kernels: &str, device: &str| -> Vec<[f64; 2]> {
            let output = dir.join(format!("{family}-{kernels}-{device}"));
            let options = ["--device", device, "--max-steps", "10"];
            fine_tune(family, &data, &output, kernels, &options);
            let log = std::fs::read_to_string(output.join("events.jsonl")).expect("an event log");
            log.lines()
                .map(|line| serde_json::from_str::<Value>(line).expect("a line is JSON"))
                .filter(|event| event["kind"] == "step")
                .map(|step| ["loss", "grad_norm"].map(|key| step[key].as_f64().expect("a number")))
                .collect()
        };
        let want = losses("reference", "cpu");
        assert_eq!(want.len(), STEPS);
        assert!(want[STEPS - 1][0] < want[0][0], "it learns: {want:?}");
        for (device, _) in devices::all() {
            let got = losses("fused", device);
            for (step, (got, want)) in got.iter().zip(&want).enumerate() {
                for (got, want) in got.iter().zip(want) {
                    // What the contract allows between this program and PyTorch.
                    assert!(
                        (got - want).abs() <= 1e-4 * want.abs(),
                        "{family}, step {step} on {device}: {got} for {want}"
                    );
                }
            }
        }
    }
}

#[test]
fn a_run_with_moments_of_eight_bits_goes_on_to_the_same_bits() {
    let dir = scratch("eight-bit");
    let data = conversations(&dir);
    let [whole, resumed] = ["whole", "resumed"].map(|name| dir.join(name));
    let options = "optim=adamw_8bit save_steps=3 save_total_limit=9";
    let options: Vec<&str> = options.split(' ').flat_map(|set| ["--set", set]).collect();
    let options = [&options[..], &["--device", "cpu", "--max-steps", "6"]].concat();
    fine_tune("qwen3", &data, &whole, "fused", &options);
    let codes = std::fs::read(whole.join("checkpoint-3/trainer_state/moments.safetensors"));
    let codes = codes.expect("the moments are saved");
    assert!(String::from_utf8_lossy(&codes).contains("codes.model.embed_tokens.weight"));

    fine_tune("qwen3", &data, &resumed, "fused", &options);
    std::fs::remove_dir_all(resumed.join("checkpoint-6")).expect("the last checkpoint is there");
    fine_tune("qwen3", &data, &resumed, "fused", &options);
    for file in ["model.safetensors", "trainer_state/moments.safetensors"] {
        let [a, b] = [&whole, &resumed].map(|run| {
            std::fs::read(run.join("checkpoint-6").join(file)).expect("a whole checkpoint")
        });
        assert!(a == b, "{file} differs after going on from step 3");
    }
}
