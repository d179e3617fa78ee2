//! Completions sampled beside the training of the step before.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::checkpoints::scratch;
use crate::golden;
use crate::program::{events, prompts, succeed, text};

/// Large enough that another run's seed below differs from it and is one.
const SEED: u64 = (1 << 34) + 3;

struct Run<'a> {
    model: &'a Path,
    data: &'a Path,
    device: &'a str,
    steps: u32,
    seed: u64,
    settings: &'a [&'a str],
}

impl Run<'_> {
    fn to(&self, output: &Path) {
        let (steps, seed) = (self.steps.to_string(), self.seed.to_string());
        let mut args = vec!["--stage", "rl", "--model", text(self.model)];
        args.extend(["--data", text(self.data), "--output", text(output)]);
        args.extend(["--device", self.device, "--tui", "never"]);
        args.extend(["--max-steps", &steps, "--seed", &seed]);
        let base = [
            "shuffle=false",
            "per_device_train_batch_size=3",
            "gradient_accumulation_steps=1",
            "num_generations=4",
            "max_completion_length=8",
            "learning_rate=1e-3",
            "lr_scheduler_type=constant",
            "warmup_ratio=0",
            "save_steps=1",
            "save_total_limit=0",
        ];
        for set in base.iter().chain(self.settings) {
            args.extend(["--set", set]);
        }
        succeed(&args);
    }
}

/// The samples of a step: each prompt with its texts, their log-probabilities and rewards.
fn samples(run: &Path, step: u64) -> Vec<Value> {
    let lines = std::fs::read_to_string(run.join("samples.jsonl")).expect("samples");
    let lines = lines.lines().map(|line| {
        let mut sample: Value = serde_json::from_str(line).expect("a line is JSON");
        let object = sample.as_object_mut().expect("an object");
        let at = object.remove("step");
        object.remove("policy_step");
        (at == Some(step.into())).then_some(sample)
    });
    lines.flatten().collect()
}

fn weights(run: &Path, step: u64) -> Vec<u8> {
    let file = run.join(format!("checkpoint-{step}/model.safetensors"));
    std::fs::read(file).expect("weights")
}

#[test]
fn the_samples_of_a_step_are_those_of_the_weights_before_the_last_one() {
    let dir = scratch("one-step-off-policy");
    let (model, data) = (golden::model_dir("gemma2"), prompts(&dir));
    for (device, _) in crate::devices::all() {
        let run = |name: &str| -> PathBuf { dir.join(format!("{device}-{name}")) };
        let beside = Run {
            model: &model,
            data: &data,
            device,
            steps: 4,
            seed: SEED,
            settings: &["one_step_off_policy=true"],
        };
        let outputs = [run("first"), run("second")];
        for output in &outputs {
            beside.to(output);
        }
        let bits = |output: &PathBuf| (weights(output, 4), samples(output, 4));
        assert!(
            bits(&outputs[0]) == bits(&outputs[1]),
            "{device}: not the same bits"
        );

        // Step 3 was sampled by checkpoint-1. A run that begins with that samples the same in its
        // first step, with the seed that makes the same numbers of it: a step's are
        // seed * (2^32 + 1) + step, and (2^32 + 1) * (1 - 2^32) is 1.
        let checkpoint = outputs[0].join("checkpoint-1");
        let plain = Run {
            model: &checkpoint,
            steps: 1,
            seed: SEED + 2 - (2 << 32),
            settings: &[],
            ..beside
        };
        plain.to(&run("plain"));
        let (got, want) = (samples(&outputs[0], 3), samples(&run("plain"), 1));
        assert_eq!(want.len(), 3, "{device}");
        assert_eq!(got, want, "{device}");
        // The first two steps are the weights' that the run began with.
        let started = Run {
            model: &model,
            steps: 2,
            seed: SEED,
            ..plain
        };
        started.to(&run("started"));
        assert_eq!(
            samples(&outputs[0], 1),
            samples(&run("started"), 1),
            "{device}"
        );
        assert_ne!(
            samples(&outputs[0], 3),
            samples(&run("started"), 2),
            "{device}"
        );

        let steps = events(&outputs[0], "step");
        let number = |step: &Value, key: &str| step[key].as_f64().expect("a number");
        for step in &steps {
            // The ratios are to what sampled, in the numerics of training.
            assert!(
                number(step, "sampling/logp_difference/max") < 1e-4,
                "{step}"
            );
        }
        // A policy that has moved since it sampled: without old log-probabilities of its own, nothing
        // would ever be clipped at the first step on a set.
        let tight = Run {
            settings: &["one_step_off_policy=true", "epsilon=1e-6"],
            model: &model,
            seed: SEED,
            steps: 4,
            ..beside
        };
        tight.to(&run("tight"));
        let clipped: Vec<f64> = events(&run("tight"), "step")
            .iter()
            .map(|step| number(step, "clip_ratio/region_mean"))
            .collect();
        assert_eq!(clipped[0], 0.0, "{device}");
        assert!(
            clipped[1..].iter().any(|&share| share > 0.0),
            "{device}: {clipped:?}"
        );
    }
}
