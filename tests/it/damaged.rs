//! What a run does with a checkpoint that something happened to after it was written.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use serde_json::Value;

use crate::checkpoints::scratch;
use crate::golden;
use crate::program::{conversations, events, text, trainer};

/// The file, words that tell what is wrong with it, and how it comes to be so.
type Damage = (&'static str, &'static [&'static str], fn(&Path));

#[test]
fn a_damaged_checkpoint_is_named_and_the_one_before_is_taken() {
    let dir = scratch("damaged");
    let whole = dir.join("whole");
    assert!(sft(&dir, &whole, &[]).status.success());
    let weights =
        |run: &Path| fs::read(run.join("checkpoint-9/model.safetensors")).expect("weights");
    let damages: [Damage; 5] = [
        ("model.safetensors", &["is cut short"], |file| {
            let bytes = fs::read(file).expect("it is there");
            fs::write(file, &bytes[..bytes.len() / 2]).expect("it is writable");
        }),
        (
            "trainer_state/moments.safetensors",
            &["has changed"],
            |file| {
                let mut bytes = fs::read(file).expect("it is there");
                *bytes.last_mut().expect("it is not empty") ^= 1;
                fs::write(file, bytes).expect("it is writable");
            },
        ),
        ("tokenizer.json", &["is missing"], |file| {
            fs::remove_file(file).expect("it is there")
        }),
        (
            "trainer_state/state.json",
            &["is cut short: 0 of"],
            |file| {
                fs::write(file, "").expect("it is writable");
            },
        ),
        (
            "trainer_state/checksums.json",
            &["checksums is missing"],
            |file| {
                fs::remove_file(file).expect("it is there");
            },
        ),
    ];
    for (file, words, damage) in damages {
        let run = dir.join("run");
        copy(&whole, &run);
        let checkpoint = run.join("checkpoint-9");
        damage(&checkpoint.join(file));

        let refused = sft(&dir, &dir.join("other"), &["--resume", text(&checkpoint)]);
        let stderr = String::from_utf8_lossy(&refused.stderr);
        assert_eq!(refused.status.code(), Some(1), "{file}: {stderr}");
        let named = match file {
            "trainer_state/checksums.json" => "checkpoint-9",
            file => file,
        };
        for word in [named, "hint: ", "--resume auto"].iter().chain(words) {
            assert!(stderr.contains(word), "{file}: no `{word}` in\n{stderr}");
        }

        let resumed = sft(&dir, &run, &["--set", "save_total_limit=1"]);
        let stderr = String::from_utf8_lossy(&resumed.stderr);
        assert!(resumed.status.success(), "{file}: {stderr}");
        let warnings = events(&run, "warning");
        for word in [named].iter().chain(words) {
            assert!(stderr.contains(word), "{file}: no `{word}` in\n{stderr}");
            let is_logged =
                |event: &Value| event["message"].as_str().is_some_and(|m| m.contains(word));
            assert!(
                warnings.iter().any(is_logged),
                "{file}: no `{word}` in {warnings:?}"
            );
        }
        assert_eq!(events(&run, "resumed")[0]["from_step"], 6, "{file}");
        assert!(weights(&run) == weights(&whole), "{file}");
        // The damaged one did not count as the newest when old ones were dropped.
        assert_eq!(
            folders(&run),
            ["abandoned-checkpoint-9", "checkpoint-9", "control"],
            "{file}"
        );
    }
}

#[test]
fn a_checkpoint_of_an_older_version_is_taken_with_a_note() {
    let dir = scratch("unlisted");
    let run = dir.join("run");
    assert!(sft(&dir, &run, &[]).status.success());
    fs::remove_dir_all(run.join("checkpoint-9")).expect("it is there");
    let state_dir = run.join("checkpoint-6/trainer_state");
    fs::remove_file(state_dir.join("checksums.json")).expect("it is there");
    let state = fs::read(state_dir.join("state.json")).expect("it is there");
    let mut state: Value = serde_json::from_slice(&state).expect("JSON");
    for key in ["has_checksums", "best"] {
        state
            .as_object_mut()
            .expect("an object")
            .remove(key)
            .expect("a key of today");
    }
    fs::write(state_dir.join("state.json"), state.to_string()).expect("it is writable");
    let resumed = sft(&dir, &run, &[]);
    let stderr = String::from_utf8_lossy(&resumed.stderr);
    assert!(resumed.status.success(), "{stderr}");
    assert!(
        stderr.contains("note: ") && stderr.contains("older version"),
        "{stderr}"
    );
    assert_eq!(events(&run, "resumed")[0]["from_step"], 6);
}

fn sft(dir: &Path, output: &Path, more: &[&str]) -> Output {
    let data = conversations(dir);
    trainer()
        .args([
            "--stage",
            "sft",
            "--model",
            text(&golden::model_dir("gemma2")),
        ])
        .args([
            "--data",
            text(&data),
            "--output",
            text(output),
            "--device",
            "cpu",
        ])
        .args(["--max-steps", "9", "--seed", "3", "--tui", "never"])
        .args(["--set", "save_steps=3", "--set", "save_total_limit=0"])
        .args([
            "--set",
            "max_length=64",
            "--set",
            "per_device_train_batch_size=2",
        ])
        .args(more)
        .output()
        .expect("the program starts")
}

fn copy(from: &Path, to: &Path) {
    if to.exists() {
        fs::remove_dir_all(to).expect("the test's own folder can be removed");
    }
    copy_into(from, to);
}

fn copy_into(from: &Path, to: &Path) {
    if !from.is_dir() {
        fs::copy(from, to).expect("the target folder is writable");
        return;
    }
    fs::create_dir(to).expect("the target folder is writable");
    for path in entries(from) {
        copy_into(
            &path,
            &to.join(path.file_name().expect("an entry has a name")),
        );
    }
}

fn folders(dir: &Path) -> Vec<String> {
    let folders = entries(dir).into_iter().filter(|path| path.is_dir());
    let name = |path: PathBuf| {
        path.file_name()
            .map(|name| name.to_string_lossy().into_owned())
    };
    let mut names: Vec<String> = folders.filter_map(name).collect();
    names.sort();
    names
}

fn entries(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).expect("a readable folder");
    entries
        .map(|entry| entry.expect("an entry").path())
        .collect()
}
