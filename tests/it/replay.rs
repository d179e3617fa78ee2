//! A recorded step, run once more.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Output;

use crate::checkpoints::scratch;
use crate::program::{conversations, prompts, run, succeed, text};
use crate::stage_run;

#[test]
fn a_step_comes_out_the_same_and_what_differs_is_named() {
    for (stage, data, more) in [
        ("sft", conversations as fn(&Path) -> PathBuf, "seed=3"),
        ("rl", prompts, "seed=3"),
        ("rl", prompts, "one_step_off_policy=true"),
    ] {
        let dir = scratch(&format!("replay-{stage}-{more}"));
        let (data, run_dir) = (data(&dir), dir.join("run"));
        train_with(stage, &data, &run_dir, &[more]);
        let before = files(&run_dir);
        // Steps 3 and 5 come right after a checkpoint, 4 and 6 with a step between, and 2 before all.
        for step in ["2", "3", "4", "6"] {
            let output = replay(&run_dir, step);
            let (stdout, stderr) = texts(&output);
            assert!(output.status.success(), "{stage}: {stdout}{stderr}");
            assert!(stdout.contains("the same bits"), "{stage}: {stdout}");
            // Of two steps on the same completions the first one drew them.
            let draws = stage == "rl" && step == "3";
            assert_eq!(stdout.contains("exact_match"), draws, "{stdout}");
        }
        assert!(files(&run_dir) == before, "{stage}: the run was written to");

        // Another loss, and another word and another part of the reward of a sample.
        edit(&run_dir.join("events.jsonl"), |line| {
            let at = line
                .find("\"loss\":")
                .filter(|_| line.contains("\"step\":5,"))?;
            Some(format!("{}\"loss\":9{}", &line[..at], &line[at + 7..]))
        });
        let mut names = vec!["loss"];
        if stage == "rl" {
            edit(&run_dir.join("samples.jsonl"), |line| {
                let is_first = line.starts_with("{\"step\":5,\"group\":0,");
                let other = line.replacen("\"text\":\"", "\"text\":\"other ", 1);
                let (before, rewards) = other.split_once("\"rewards\":{\"")?;
                let (name, value) = rewards.split_once("\":")?;
                is_first.then(|| format!("{before}\"rewards\":{{\"{name}\":7{value}"))
            });
            names.push("group 0 completion 0 text");
            names.push("group 0 completion 0 rewards/");
        }
        let output = replay(&run_dir, "5");
        let (stdout, stderr) = texts(&output);
        assert_eq!(output.status.code(), Some(1), "{stage}: {stdout}{stderr}");
        for name in names {
            assert!(stdout.contains(name), "{stage}: no {name} in\n{stdout}");
        }
        assert!(!stdout.contains("grad_norm"), "{stage}: {stdout}");
    }
}

#[test]
fn what_cannot_be_run_again_is_answered_with_a_sentence() {
    let dir = scratch("replay-not");
    let (data, run_dir) = (conversations(&dir), dir.join("run"));
    train("sft", &data, &run_dir);
    let refused = |step: &str, code: i32, words: &[&str]| {
        let output = replay(&run_dir, step);
        let (_, stderr) = texts(&output);
        assert_eq!(output.status.code(), Some(code), "{stderr}");
        for word in words {
            assert!(stderr.contains(word), "no {word:?} in\n{stderr}");
        }
    };
    refused("99", 2, &["has no step 99"]);
    let text = std::fs::read_to_string(&data).expect("it is there");
    std::fs::write(&data, text.replace("Count to 1.", "Count to 7.")).expect("it is writable");
    refused("4", 1, &["sft.jsonl has changed since the run", "SHA-256"]);
}

#[test]
fn a_run_that_went_on_from_another_ones_checkpoint_is_not_replayed_from_its_model() {
    let dir = scratch("replay-elsewhere");
    let data = conversations(&dir);
    let [first, second] = ["first", "second"].map(|name| dir.join(name));
    let settings = ["save_steps=2", "save_total_limit=0"];
    let train = |output: &Path, steps: u32, resume: &[&str]| {
        let arguments = stage_run::arguments("sft", "gemma2", (&data, output), steps, &settings);
        let resume = resume.iter().map(|word| (*word).to_owned());
        succeed(&arguments.into_iter().chain(resume).collect::<Vec<_>>());
    };
    train(&first, 2, &[]);
    train(&second, 6, &["--resume", text(&first.join("checkpoint-2"))]);
    let output = replay(&second, "3");
    let (_, stderr) = texts(&output);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("no checkpoint before step 3"), "{stderr}");
    let output = replay(&second, "5");
    assert!(output.status.success(), "{}", texts(&output).1);
}

fn train(stage: &str, data: &Path, output: &Path) {
    train_with(stage, data, output, &[]);
}

fn train_with(stage: &str, data: &Path, output: &Path, more: &[&str]) {
    let mut settings = vec![
        "seed=3",
        "save_steps=2",
        "save_total_limit=0",
        "learning_rate=1e-3",
        "per_device_train_batch_size=2",
        "num_generations=4",
        "num_iterations=2",
        "max_completion_length=6",
        "packing=true",
        "max_length=64",
    ];
    settings.extend(more);
    succeed(&stage_run::arguments(
        stage,
        "gemma2",
        (data, output),
        7,
        &settings,
    ));
}

fn replay(run_dir: &Path, step: &str) -> Output {
    run(&["replay", text(run_dir), "--step", step])
}

fn texts(output: &Output) -> (String, String) {
    let [stdout, stderr] = [&output.stdout, &output.stderr];
    let text = |bytes: &Vec<u8>| String::from_utf8_lossy(bytes).into_owned();
    (text(stdout), text(stderr))
}

/// Changes the first line that `change` has another text for.
fn edit(path: &Path, change: impl Fn(&str) -> Option<String>) {
    let log = std::fs::read_to_string(path).expect("a log");
    let (line, other) = log
        .lines()
        .find_map(|line| Some((line, change(line)?)))
        .expect("a line to change");
    std::fs::write(path, log.replacen(line, &other, 1)).expect("it is writable");
}

fn files(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in std::fs::read_dir(dir).expect("a readable folder") {
        let path = entry.expect("an entry").path();
        match path.is_dir() {
            true => files.extend(self::files(&path)),
            false => {
                files.insert(path.clone(), std::fs::read(&path).expect("a readable file"));
            }
        }
    }
    files
}
