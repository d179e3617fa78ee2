//! Whole steps in bfloat16, as CUDA takes them, beside the same ones in float32 on the CPU.

use std::path::Path;

use serde_json::Value;

use crate::checkpoints::scratch;
use crate::preference::pairs;
use crate::program::{conversations, events, trainer, write};
use crate::stage_run::arguments;
use crate::stand_in;

/// The steps of a short run.
fn steps(stage: &str, data: &Path, output: &Path, on: [&str; 2], settings: &[&str]) -> Vec<Value> {
    let mut arguments = arguments(stage, "gemma2", (data, output), 2, settings);
    arguments.extend(["--dtype", on[1]].map(str::to_owned));
    let device = arguments.iter_mut().find(|argument| *argument == "cpu");
    *device.expect("it runs on the CPU") = on[0].to_owned();
    let mut program = trainer();
    let program = match on[0] {
        "cuda" => stand_in::give(&mut program),
        _ => &mut program,
    };
    let run = program.args(&arguments).output().expect("it starts");
    let stderr = String::from_utf8_lossy(&run.stderr);
    assert!(run.status.success(), "{stage} on {on:?}: {stderr}");
    events(output, "step")
}

fn number(step: &Value, key: &str) -> f64 {
    step[key]
        .as_f64()
        .unwrap_or_else(|| panic!("{key} in {step}"))
}

/// Eight bits of mantissa, of which roundings here and there take away from each other.
const RELATIVE: f64 = 0.02;

#[test]
fn steps_on_cuda_in_bfloat16_are_nearly_those_in_float32() {
    if !stand_in::can_run() {
        return;
    }
    let dir = scratch("half-precision");
    // A pair's weight is the exponential of a sum: what is rounded in that is not small in it.
    let unweighted: &[&str] = &["use_weighting=false"];
    let conversations = conversations(&dir);
    let adapters: &[&str] = &["lora_r=2", "gradient_checkpointing=true"];
    let options: &[&str] = &["label_smoothing=0.1", "z_loss=1e-3", "optim=adamw_8bit"];
    let noise: &[&str] = &["gradient_checkpointing=true", "neftune_noise_alpha=5"];
    let runs = [
        ("sft", &conversations, &[][..]),
        ("sft", &conversations, noise),
        ("sft", &conversations, adapters),
        ("sft", &conversations, options),
        ("po", &pairs(&dir), unweighted),
    ];
    for (run_number, (stage, data, settings)) in runs.into_iter().enumerate() {
        let run = |on: [&str; 2]| {
            let output = dir.join(format!("{run_number}-{}", on[0]));
            steps(stage, data, &output, on, settings)
        };
        let (half, whole) = (run(["cuda", "bfloat16"]), run(["cpu", "float32"]));
        assert_eq!((half.len(), whole.len()), (2, 2), "{stage}");
        for (half, whole) in half.iter().zip(&whole) {
            for key in ["loss", "grad_norm"] {
                let [got, want] = [half, whole].map(|step| number(step, key));
                assert!(
                    (got - want).abs() <= RELATIVE * want,
                    "{stage} {settings:?}: {key} is {got} in bfloat16, {want} in float32"
                );
            }
        }
    }
}

/// A copy that the optimizer writes is the number that a cast would be, so every step has the same bits:
/// with adapters, with moments of eight bits and micro-batches that add up, and with completions that the
/// copies sample.
#[test]
fn steps_with_copies_are_those_with_casts() {
    if !stand_in::can_run() {
        return;
    }
    let dir = scratch("copies");
    let conversations = conversations(&dir);
    let prompt = r#"{"prompt": "Say e.", "verifier": "chrf", "ground_truth": "tea eat ate e a t"}"#;
    let prompts = write(&dir, "prompts.jsonl", &[prompt; 4]);
    let adapters: &[&str] = &["lora_r=2", "gradient_checkpointing=true"];
    let moments: &[&str] = &[
        "optim=adamw_8bit",
        "per_device_train_batch_size=1",
        "gradient_accumulation_steps=2",
    ];
    let sampled: &[&str] = &[
        "num_generations=4",
        "per_device_train_batch_size=2",
        "max_completion_length=4",
        "preflight=off",
    ];
    // Steps that move what bfloat16 tells apart, the first one too.
    let moving = [
        "learning_rate=1e-2",
        "lr_scheduler_type=constant",
        "warmup_ratio=0",
    ];
    let runs = [
        ("sft", &conversations, adapters),
        ("sft", &conversations, moments),
        ("rl", &prompts, sampled),
    ];
    for (stage, data, settings) in runs {
        let run = |copies: &str| {
            let copies = format!("low_precision_copies={copies}");
            let output = dir.join(format!("{stage}-{}-{copies}", settings[0]));
            let settings = [settings, &moving, &[&copies]].concat();
            let steps = steps(stage, data, &output, ["cuda", "bfloat16"], &settings);
            let numbers = |step: &Value| ["loss", "grad_norm"].map(|key| number(step, key));
            steps.iter().map(numbers).collect::<Vec<_>>()
        };
        let (with, without) = (run("true"), run("false"));
        assert_eq!(with.len(), 2);
        assert_ne!(with[0], with[1], "{stage} {settings:?}");
        assert_eq!(with, without, "{stage} {settings:?}");
    }
}

/// Generation and training compute a log-probability of one from the same float32 logits.
#[test]
fn generation_in_bfloat16_agrees_with_training() {
    if !stand_in::can_run() {
        return;
    }
    let dir = scratch("half-precision-rl");
    let prompt = r#"{"prompt": "Say e.", "verifier": "chrf", "ground_truth": "tea eat ate e a t"}"#;
    let data = write(&dir, "prompts.jsonl", &[prompt; 4]);
    let settings = [
        "num_generations=4",
        "per_device_train_batch_size=4",
        "gradient_accumulation_steps=1",
        "max_completion_length=6",
        "preflight=off",
    ];
    let run = |on: [&str; 2]| steps("rl", &data, &dir.join(on[0]), on, &settings);
    let (half, whole) = (run(["cuda", "bfloat16"]), run(["cpu", "float32"]));
    // A token that is drawn otherwise in the one would change it more.
    let [got, want] = [&half[0], &whole[0]].map(|step| number(step, "grad_norm"));
    assert!((got / want - 1.0).abs() < 0.25, "{got} for {want}");
    for step in &half {
        assert!(number(step, "grad_norm") > 0.0, "{step}");
        let difference = number(step, "sampling/logp_difference/mean");
        // Of logits that were rounded to bfloat16 it would be some 1e-3.
        assert!(difference < 1e-4, "{step}");
    }
}
