//! The same ten losses with our own kernels and with their references, on every device.

use std::process::Command;

use serde_json::Value;

use crate::checkpoints::scratch;
use crate::{devices, golden};

const STEPS: usize = 10;

#[test]
fn ten_losses_are_the_same_whichever_kernels_and_device_compute_them() {
    let dir = scratch("ten-losses");
    let data = dir.join("sft.jsonl");
    let lines: Vec<String> = (0..12)
        .map(|i| {
            format!(
                r#"{{"prompt": "Count to {i}.", "completion": "{}"}}"#,
                "one two ".repeat(1 + i % 5)
            )
        })
        .collect();
    std::fs::write(&data, lines.join("\n")).expect("the folder is writable");
    for family in ["gemma2", "qwen3"] {
        let losses = |kernels: &str, device: &str| -> Vec<[f64; 2]> {
            let output = dir.join(format!("{family}-{kernels}-{device}"));
            let done = Command::new(env!("CARGO_BIN_EXE_trainer"))
                .env("KEEP_KERNELS", kernels)
                .args([
                    "--stage", "sft", "--seed", "3", "--tui", "never", "--device", device,
                ])
                .args([
                    "--set",
                    "learning_rate=1e-3",
                    "--max-steps",
                    &STEPS.to_string(),
                ])
                .arg("--model")
                .arg(golden::model_dir(family))
                .arg("--data")
                .arg(&data)
                .arg("--output")
                .arg(&output)
                .output()
                .expect("the program starts");
            let stderr = String::from_utf8_lossy(&done.stderr);
            assert!(done.status.success(), "{kernels} on {device}: {stderr}");
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
