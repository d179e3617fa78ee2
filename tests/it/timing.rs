//! What a run says of where its time goes, and of the machine.

use std::path::Path;

use serde_json::Value;

use crate::checkpoints::scratch;
use crate::preference::pairs;
use crate::program::{conversations, events, prompts, succeed};
use crate::stage_run;

#[test]
fn the_parts_of_a_step_make_most_of_its_time_and_never_more() {
    let always = ["time/data", "time/forward_backward", "time/optimizer"];
    let of_rl = ["time/rollout", "time/reward", "time/reference"];
    for stage in ["sft", "po", "rl"] {
        let dir = scratch(&format!("timing-{stage}"));
        let run_dir = dir.join("run");
        let (data, setting) = match stage {
            "sft" => (conversations(&dir), "packing=true"),
            "po" => (pairs(&dir), "loss_type=kto"),
            _ => (prompts(&dir), "beta=0.1"),
        };
        train(stage, &data, &run_dir, setting);
        let steps = events(&run_dir, "step");
        assert_eq!(steps.len(), 4);
        let mut share = 0.0;
        for step in &steps {
            let seconds = |name: &str| step[name].as_f64();
            let parts = step.as_object().expect("an object").keys();
            let parts = parts.filter(|name| name.starts_with("time/"));
            let sum: f64 = parts.filter_map(|name| seconds(name)).sum();
            let step_time = seconds("step_time").expect("it is there");
            assert!(sum <= step_time, "{stage}: {step}");
            share += sum / step_time / steps.len() as f64;
            assert!(always.iter().all(|name| seconds(name).is_some()), "{step}");
            // Every second step of the stage with samples has none of its own.
            let samples = stage == "rl" && step["step"].as_u64().expect("a step") % 2 == 1;
            for name in of_rl {
                let expected = samples || stage == "po" && name == "time/reference";
                assert_eq!(seconds(name).is_some(), expected, "{name} in {step}");
            }
            assert!(step.get("mfu").is_none(), "nobody knows a CPU's peak");
        }
        // What is left is the host's: a few sums. Another program may run in between.
        assert!(share > 0.5, "{stage}: {share}");
    }
}

#[test]
fn the_first_step_announces_its_phases() {
    let dir = scratch("timing-phases");
    let run_dir = dir.join("run");
    train("rl", &prompts(&dir), &run_dir, "beta=0.1");
    let phases: Vec<(String, u64)> = events(&run_dir, "phase")
        .iter()
        .map(|phase| {
            let name = phase["name"].as_str().expect("a name").to_owned();
            (name, phase["step"].as_u64().expect("a step"))
        })
        .collect();
    let phases: Vec<(&str, u64)> = phases.iter().map(|(n, step)| (n.as_str(), *step)).collect();
    let expected = [
        ("preflight", 0),
        ("evaluate", 0),
        ("train", 0),
        ("rollout", 0),
        ("reward", 0),
        ("reference", 0),
        ("train", 0),
    ];
    assert_eq!(phases[..7], expected);
}

#[test]
fn the_references_pass_before_a_run_is_a_phase() {
    let dir = scratch("timing-reference");
    let run_dir = dir.join("run");
    let data = pairs(&dir);
    train("po", &data, &run_dir, "loss_type=sigmoid");
    let log = std::fs::read_to_string(run_dir.join("events.jsonl")).expect("an event log");
    let kind = |line: &str| serde_json::from_str::<Value>(line).expect("JSON")["kind"].clone();
    let kinds: Vec<Value> = log.lines().map(kind).collect();
    assert_eq!(kinds[..2], ["phase", "run_started"]);
    assert_eq!(events(&run_dir, "phase")[0]["name"], "reference");
}

#[test]
fn a_short_run_has_the_state_of_the_machine() {
    let dir = scratch("timing-system");
    let run_dir = dir.join("run");
    train("sft", &conversations(&dir), &run_dir, "packing=true");
    let log = std::fs::read_to_string(run_dir.join("events.jsonl")).expect("an event log");
    let at = |kind: &str| log.find(&format!("\"kind\":\"{kind}\"")).expect("an event");
    assert!(at("run_started") < at("system") && at("system") < at("step"));
    let system = &events(&run_dir, "system")[0];
    let bytes = |name: &str| {
        system[name]
            .as_u64()
            .unwrap_or_else(|| panic!("no {name}: {system}"))
    };
    if cfg!(target_os = "linux") {
        assert!(bytes("process_memory_bytes") < bytes("memory_total_bytes"));
    }
    if cfg!(unix) {
        assert!(bytes("disk_free_bytes") <= bytes("disk_total_bytes"));
    }
    assert!(system.get("gpus").is_none(), "the run is on the CPU");
}

fn train(stage: &str, data: &Path, output: &Path, setting: &str) {
    let settings = [
        setting,
        "per_device_train_batch_size=3",
        "num_generations=4",
        "num_iterations=2",
        "max_completion_length=12",
        "max_length=64",
    ];
    succeed(&stage_run::arguments(
        stage,
        "gemma2",
        (data, output),
        4,
        &settings,
    ));
}
