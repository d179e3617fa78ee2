//! Several optimizer steps on the parts of one set of completions.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::checkpoints::scratch;
use crate::program::{events, prompts, succeed};
use crate::stage_run::arguments;

struct Runs {
    dir: PathBuf,
    data: PathBuf,
}

impl Runs {
    /// The steps of a run of two prompts a micro-batch.
    fn steps(&self, name: &str, steps: u32, settings: &[&str]) -> Vec<Value> {
        let output = self.dir.join(name);
        let base = [
            "shuffle=false",
            "per_device_train_batch_size=2",
            "gradient_accumulation_steps=1",
            "num_generations=4",
            "max_completion_length=8",
            "loss_type=grpo",
            "lr_scheduler_type=constant",
            "warmup_ratio=0",
        ];
        let settings = [&base, settings].concat();
        let data = (self.data.as_path(), output.as_path());
        succeed(&arguments("rl", "gemma2", data, steps, &settings));
        events(&output, "step")
    }

    /// How many prompts each step of a run sampled for.
    fn num_sampled(&self, name: &str, steps: u64) -> Vec<usize> {
        let of_step = |step: u64| samples(&self.dir.join(name), step).len();
        (1..=steps).map(of_step).collect()
    }
}

fn samples(run: &Path, step: u64) -> Vec<Value> {
    let lines = std::fs::read_to_string(run.join("samples.jsonl")).expect("samples");
    let lines = lines
        .lines()
        .map(|line| serde_json::from_str(line).expect("a line is JSON"));
    let of_step = lines.filter(|sample: &Value| sample["step"] == step);
    of_step.collect()
}

fn numbers(steps: &[Value], key: &str) -> Vec<f64> {
    let number = |step: &Value| step[key].as_f64().expect("a number");
    steps.iter().map(number).collect()
}

#[test]
fn each_step_trains_on_its_part_of_a_set_with_ratios_to_what_sampled_it() {
    let dir = scratch("mini-batches");
    let runs = Runs {
        data: prompts(&dir),
        dir,
    };
    // Weights that stay as they are: the parts are those of one step that accumulates.
    let still = ["learning_rate=1e-12", "num_mini_batches=2"];
    let parts = runs.steps("parts", 4, &still);
    let whole = runs.steps("whole", 2, &[still[0], "gradient_accumulation_steps=2"]);
    assert_eq!(runs.num_sampled("parts", 4), [4, 0, 4, 0]);
    let of_first = |name: &str| samples(&runs.dir.join(name), 1);
    assert_eq!(of_first("parts"), of_first("whole"));
    let (got, want) = (numbers(&parts, "loss"), numbers(&whole, "loss"));
    for (step, want) in want.iter().enumerate() {
        let got = (got[2 * step] + got[2 * step + 1]) / 2.0;
        assert!(
            (got - want).abs() < 1e-6 * want.abs().max(0.1),
            "{got} for {want}"
        );
    }

    // Weights that move: the first part has ratios of 1, as a step on it alone, and the second has not.
    let moving = ["learning_rate=1e-3", "epsilon=1e-6"];
    let parts = runs.steps("moving", 2, &[&moving[..], &[still[1]]].concat());
    let alone = runs.steps("alone", 1, &moving);
    for key in ["loss", "grad_norm"] {
        assert_eq!(parts[0][key], alone[0][key], "{key}");
    }
    let clipped = numbers(&parts, "clip_ratio/region_mean");
    assert_eq!(clipped[0], 0.0);
    assert!(clipped[1] > 0.0, "{clipped:?}");

    // Parts that are gone through twice, drawn beside training.
    let more = ["num_iterations=2", "one_step_off_policy=true"];
    let twice = runs.steps("twice", 8, &[&moving[..], &[still[1]], &more].concat());
    assert_eq!(runs.num_sampled("twice", 8), [4, 0, 0, 0, 4, 0, 0, 0]);
    // Nothing has moved before the first step, and then all has.
    let clipped = numbers(&twice, "clip_ratio/region_mean");
    assert_eq!(clipped[0], 0.0);
    assert!(clipped[1..].iter().all(|&share| share > 0.0), "{clipped:?}");
    for at in [0, 4] {
        let difference = numbers(&twice[at..=at], "sampling/logp_difference/max")[0];
        assert!(difference < 1e-4, "{difference}");
    }
}
