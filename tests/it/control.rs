//! A running trainer does what it is asked for, answers, and learns what it would have learnt.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::checkpoints::scratch;
use crate::golden;
use crate::program::{conversations, events, prompts, run, text, trainer, write};

/// A run that takes a second or two and saves at its end.
pub fn training(stage: &str, output: &Path) -> Command {
    let dir = output.parent().expect("runs lie in a test's folder");
    let (data, settings): (_, &[&str]) = match stage {
        "rl" => (
            prompts(dir),
            &[
                "max_completion_length=8",
                "num_generations=4",
                "num_iterations=3",
                "beta=0.01",
            ],
        ),
        _ => (conversations(dir), &["max_length=64"]),
    };
    let mut command = trainer();
    command.args(["--stage", stage, "--device", "cpu", "--seed", "3"]);
    command.args(["--model", text(&golden::model_dir("qwen2"))]);
    command.args(["--data", text(&data), "--output", text(output)]);
    command.args(["--set", "learning_rate=1e-3"]);
    command.args(["--set", "per_device_train_batch_size=2"]);
    command.args(["--set", "save_steps=0", "--set", "eval_steps=0"]);
    command.args(settings.iter().flat_map(|setting| ["--set", setting]));
    command
}

pub const STEPS: [&str; 2] = ["--max-steps", "300"];

pub fn weights(run_dir: &Path) -> Vec<u8> {
    let file = run_dir.join("checkpoint-300/model.safetensors");
    std::fs::read(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display()))
}

/// The weights of a run that nobody disturbs.
pub fn undisturbed(stage: &str, output: &Path) -> Vec<u8> {
    let mut command = training(stage, output);
    let ended = command.args(STEPS).output().expect("it starts");
    assert!(
        ended.status.success(),
        "{}",
        String::from_utf8_lossy(&ended.stderr)
    );
    weights(output)
}

/// Waits until the condition holds, whatever the machine's speed.
pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !condition() {
        assert!(Instant::now() < deadline, "not within a minute: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

pub fn has_steps(run_dir: &Path, steps: usize) -> bool {
    run_dir.join("events.jsonl").exists() && events(run_dir, "step").len() >= steps
}

fn start(command: &mut Command) -> Child {
    let quiet = command.stdout(Stdio::null()).stderr(Stdio::null());
    quiet.spawn().expect("it starts")
}

fn signal(child: &Child, signal: &str) {
    let pid = child.id().to_string();
    let sent = Command::new("kill").args([signal, &pid]).status();
    assert!(sent.expect("kill is there").success());
}

fn ask(run_dir: &Path, action: &str) -> Output {
    run(&["control", text(run_dir), action])
}

/// Asks for something that is granted.
pub fn asked(run_dir: &Path, action: &str) {
    let output = ask(run_dir, action);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{action}: {stderr}");
}

fn refused(run_dir: &Path, action: &str, words: &str) {
    let output = ask(run_dir, action);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{action}: {stderr}");
    assert!(stderr.contains(words), "{action}: no `{words}` in {stderr}");
}

/// What was answered, in order: `pause accepted`, …
fn answers(run_dir: &Path) -> Vec<String> {
    let word = |event: &Value, key: &str| event[key].as_str().expect("a word").to_owned();
    events(run_dir, "control")
        .iter()
        .map(|event| format!("{} {}", word(event, "action"), word(event, "status")))
        .collect()
}

#[test]
fn a_request_waits_while_the_demo_is_made_and_goes_to_the_stage_that_comes() {
    let dir = scratch("control-demo");
    let mut command = trainer();
    command.args(["--stage", "cpt", "--device", "cpu", "--output", text(&dir)]);
    command.args(["--set", "eval_steps=0", "--set", "preflight=off"]);
    let mut child = start(&mut command);
    wait_until("a mark", || dir.join(".process").exists());
    asked(&dir, "stop");
    let status = child.wait().expect("it ends");
    assert_eq!(status.code(), Some(130));
    assert_eq!(answers(&dir), ["stop accepted", "stop done"]);
}

#[test]
fn a_trainer_between_two_stages_says_what_it_does() {
    let dir = scratch("control-between");
    std::fs::create_dir(dir.join("cpt")).expect("the folder is new");
    std::fs::write(dir.join("cpt/recipe.toml"), "").expect("it is writable");
    let no_wait = || {
        let output = run(&["control", text(&dir), "pause", "--no-wait"]);
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let mark = telemetry::ProcessMark::leave(&dir, "is at stage sft").expect("it is writable");
    let words = no_wait();
    let process = format!(
        "the trainer (process {}) is at stage sft",
        std::process::id()
    );
    assert!(words.contains(&process), "{words}");
    drop(mark);
    let words = no_wait();
    assert!(words.contains("no trainer is at work on"), "{words}");
}

#[test]
fn each_request_is_answered_and_none_changes_what_is_learnt() {
    for stage in ["sft", "rl"] {
        let dir = scratch(&format!("control-{stage}"));
        let whole = undisturbed(stage, &dir.join("whole"));
        let run_dir = dir.join("asked");
        let data = match stage {
            "rl" => dir.join("prompts.jsonl"),
            _ => dir.join("sft.jsonl"),
        };
        let eval_data = format!("eval_data={:?}", text(&data));
        let mut command = training(stage, &run_dir);
        let mut child =
            start(
                command
                    .args(STEPS)
                    .args(["--set", &eval_data, "--set", "eval_steps=0"]),
            );
        wait_until("a step", || has_steps(&run_dir, 1));

        asked(&run_dir, "pause");
        let steps = events(&run_dir, "step").len();
        asked(&run_dir, "checkpoint");
        asked(&run_dir, "checkpoint");
        asked(&run_dir, "evaluate");
        refused(&run_dir, "pause", "paused already");
        std::thread::sleep(Duration::from_millis(300));
        assert_eq!(events(&run_dir, "step").len(), steps, "a paused run holds");
        let phases = events(&run_dir, "phase");
        assert_eq!(phases.last().expect("phases")["name"], "paused");

        asked(&run_dir, "continue");
        assert!(child.wait().expect("it ends").success(), "{stage}");
        assert_eq!(
            answers(&run_dir),
            [
                "pause accepted",
                "pause done",
                "checkpoint accepted",
                "checkpoint done",
                "checkpoint accepted",
                "checkpoint done",
                "evaluate accepted",
                "evaluate done",
                "pause refused",
                "continue accepted",
                "continue done",
            ]
        );
        let saved = events(&run_dir, "checkpoint");
        let saved: Vec<_> = saved.iter().map(|event| event["step"].as_u64()).collect();
        assert_eq!(saved, [Some(steps as u64), Some(300)], "{stage}");
        // At the start, when asked for, and at the end.
        assert_eq!(events(&run_dir, "evaluation").len(), 3, "{stage}");
        let held = |event: &Value| event["step_time"].as_f64().expect("a time") > 0.3;
        assert!(
            !events(&run_dir, "step").iter().any(held),
            "{stage}: a pause is no time of a step"
        );
        assert!(whole == weights(&run_dir), "{stage}: weights differ");
    }
}

#[test]
fn a_run_that_was_asked_to_stop_goes_on_to_the_same_bits() {
    let dir = scratch("control-stop");
    let whole = undisturbed("sft", &dir.join("whole"));
    let run_dir = dir.join("stopped");
    let mut child = start(training("sft", &run_dir).args(STEPS));
    wait_until("a step", || has_steps(&run_dir, 1));
    asked(&run_dir, "pause");
    asked(&run_dir, "stop");
    assert_eq!(child.wait().expect("it ends").code(), Some(130));
    let steps = events(&run_dir, "step").len();
    assert!(steps < 300);
    assert!(run_dir.join(format!("checkpoint-{steps}")).is_dir());
    assert_eq!(events(&run_dir, "finished")[0]["reason"], "stopped");
    assert_eq!(answers(&run_dir)[2..], ["stop accepted", "stop done"]);
    refused(&run_dir, "stop", "no trainer is at work");

    // What is in the box when a trainer starts was not meant for it.
    write(
        &run_dir.join("control"),
        "1-old.json",
        &[r#"{"action": "stop"}"#],
    );
    let resumed = start(training("sft", &run_dir).args(STEPS)).wait();
    assert!(resumed.expect("it ends").success());
    let old = &events(&run_dir, "control")[4];
    assert_eq!(
        (&old["id"], &old["status"]),
        (&"1-old".into(), &"refused".into())
    );
    assert!(whole == weights(&run_dir));
}

#[test]
fn what_cannot_be_done_is_refused_with_the_reason() {
    let dir = scratch("control-refused");
    let run_dir = dir.join("run");
    let mut child = start(training("sft", &run_dir).args(["--max-steps", "3000"]));
    wait_until("a step", || has_steps(&run_dir, 1));
    refused(&run_dir, "evaluate", "no eval_data");
    // The stages of a run lie in the folder of the last one, and a request finds the one at work.
    let stages = dir.join("all");
    std::fs::create_dir(&stages).expect("the folder is writable");
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink(&run_dir, stages.join("sft")).expect("a link");
        refused(&stages, "continue", "not paused");
    }
    let left = run(&["control", text(&run_dir), "pause", "--no-wait"]);
    assert!(left.status.success());
    let is_paused = || {
        events(&run_dir, "phase")
            .iter()
            .any(|p| p["name"] == "paused")
    };
    wait_until("the pause", is_paused);
    signal(&child, "-INT");
    assert_eq!(child.wait().expect("it ends").code(), Some(130));

    let nothing = dir.join("nothing");
    refused(&nothing, "stop", "nothing");
    refused(&dir.join("sft.jsonl"), "stop", "is a file");
    std::fs::create_dir(&nothing).expect("the folder is writable");
    refused(&nothing, "stop", "hint: name the folder");
    let output = ask(&run_dir, "explode");
    assert_eq!(output.status.code(), Some(2));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("checkpoint, evaluate"), "{stderr}");
}

/// Closing a terminal or losing a connection: SIGHUP, and nobody reads what is written.
#[cfg(unix)]
#[test]
fn a_run_whose_terminal_is_gone_trains_to_its_end() {
    let dir = scratch("hangup");
    let whole = undisturbed("sft", &dir.join("whole"));
    let run_dir = dir.join("run");
    let mut command = training("sft", &run_dir);
    let pipes = command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = pipes.args(STEPS).spawn().expect("it starts");
    wait_until("a step", || has_steps(&run_dir, 1));
    drop((child.stdout.take(), child.stderr.take()));
    signal(&child, "-HUP");
    signal(&child, "-HUP");
    let status = child.wait().expect("it ends");
    assert!(status.success(), "{status}");
    assert!(whole == weights(&run_dir));
}

#[test]
fn standard_error_can_be_the_event_log() {
    let dir = scratch("log-format");
    let run_dir = dir.join("run");
    let json = ["--log-format", "json", "--max-steps", "3"];
    let output = training("sft", &run_dir).args(json).output();
    let output = output.expect("it starts");
    assert!(output.status.success());
    let log = std::fs::read(run_dir.join("events.jsonl")).expect("a log");
    assert!(output.stderr == log, "every line of the log and no other");
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(stdout.contains("checkpoint-3"), "{stdout}");

    let missing = dir.join("missing.jsonl");
    let cases: [(&[&str], &str); 3] = [
        (&["--set", "learning_rate=-1"], "learning_rate"),
        (&["--data", text(&missing)], "missing.jsonl"),
        (&["--set", "beta=0"], "beta"),
    ];
    for (arguments, words) in cases {
        let run_dir: PathBuf = dir.join(words);
        let mut command = training("sft", &run_dir);
        let output = command.args(json).args(arguments).output();
        let output = output.expect("it starts");
        let stderr = String::from_utf8_lossy(&output.stderr);
        let lines: Vec<Value> = stderr
            .lines()
            .map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{line}: {e}")))
            .collect();
        let said: Vec<&Value> = lines
            .iter()
            .filter(|line| line["message"].as_str().is_some_and(|m| m.contains(words)))
            .collect();
        assert_eq!(said.len(), 1, "{stderr}");
        let kind = if output.status.success() {
            "warning"
        } else {
            "failed"
        };
        assert_eq!(said[0]["kind"], kind, "{stderr}");
    }
}
