//! A disk that fills up ends a run with a sentence, and costs nothing that was saved.

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::checkpoints::scratch;
use crate::golden;
use crate::program::{conversations, events, text, trainer};

/// A file system of its own that holds one checkpoint and a half. Only where the system lets a
/// process have a mount of its own; the two tests below need nothing.
#[cfg(target_os = "linux")]
#[test]
fn a_run_on_a_full_disk_says_so_and_goes_on_when_there_is_space() {
    if !in_own_mounts("mount -t tmpfs none /mnt").status.success() {
        eprintln!("left out: this system lets no process mount a file system of its own");
        return;
    }
    let dir = scratch("full-disk");
    let whole = dir.join("whole");
    assert!(
        sft(&dir, &whole)
            .output()
            .expect("it starts")
            .status
            .success()
    );
    let checkpoint = events(&whole, "checkpoint").pop().expect("one was saved");
    let bytes = checkpoint["bytes"].as_u64().expect("a size");

    let (disk, copy) = (dir.join("disk"), dir.join("copy"));
    fs::create_dir(&disk).expect("the folder is writable");
    let run = disk.join("run");
    let command = shell_words(&sft(&dir, &run));
    let output = in_own_mounts(&format!(
        "set -e; mount -t tmpfs -o size={} none '{}'
         {command} && exit 99 || echo \"ended with $?\" >&2
         ls -A '{}' >&2
         mount -o remount,size={} '{}'
         {command}
         cp -r '{}' '{}'",
        bytes * 3 / 2,
        text(&disk),
        text(&run),
        bytes * 9,
        text(&disk),
        text(&run),
        text(&copy),
    ));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    for words in [
        "ended with 1\n",
        "No space left on device",
        "hint: the disk is full",
        "checkpoint-4",
    ] {
        assert!(stderr.contains(words), "no `{words}` in\n{stderr}");
    }
    assert!(!stderr.contains("panicked"), "{stderr}");
    let failed = events(&copy, "failed");
    let message = failed[0]["message"].as_str().expect("a sentence");
    assert!(message.contains("No space left"), "{message}");
    assert_eq!(events(&copy, "resumed")[0]["from_step"], 2, "{stderr}");
    let weights =
        |run: &Path| fs::read(run.join("checkpoint-6/model.safetensors")).expect("weights");
    assert!(weights(&whole) == weights(&copy));
}

/// The same through a limit on the size of a file, which every system has.
#[cfg(unix)]
#[test]
fn a_file_that_may_not_grow_is_named_and_the_checkpoint_before_stays() {
    let dir = scratch("file-limit");
    let whole = dir.join("whole");
    assert!(
        sft(&dir, &whole)
            .output()
            .expect("it starts")
            .status
            .success()
    );
    let run = dir.join("run");
    for limited in ["checkpoint-4", "events.jsonl"] {
        // The run with a first checkpoint, to which nothing can be added: blocks are of 512
        // bytes, or of 1024 in some shells.
        if run.exists() {
            fs::remove_dir_all(&run).expect("the test's own folder can be removed");
        }
        let first = steps(2, &dir, &run).output().expect("it starts");
        assert!(first.status.success());
        let blocks = match limited {
            "events.jsonl" => {
                let log = fs::OpenOptions::new()
                    .append(true)
                    .open(run.join("events.jsonl"));
                let filler = "x".repeat(4_000_000);
                let filler =
                    format!("{{\"v\":1,\"time\":0,\"kind\":\"filler\",\"text\":\"{filler}\"}}\n");
                std::io::Write::write_all(&mut log.expect("a log"), filler.as_bytes())
                    .expect("space");
                2_000_000 / 512
            }
            _ => 50_000 / 512,
        };
        let command = shell_words(&sft(&dir, &run));
        // SIGXFSZ would end the process before it could say anything.
        let script = format!("trap '' XFSZ; ulimit -f {blocks}; exec {command}");
        let output = Command::new("sh")
            .args(["-c", &script])
            .output()
            .expect("sh is there");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{stderr}");
        for words in [limited, "File too large", "hint: ", "ulimit -f"] {
            assert!(stderr.contains(words), "no `{words}` in\n{stderr}");
        }
        assert!(!stderr.contains("panicked"), "{stderr}");

        let resumed = sft(&dir, &run).output().expect("it starts");
        assert!(resumed.status.success());
        assert_eq!(events(&run, "resumed").last().expect("one")["from_step"], 2);
        let weights =
            |run: &Path| fs::read(run.join("checkpoint-6/model.safetensors")).expect("weights");
        assert!(weights(&whole) == weights(&run), "{limited}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_under_the_event_log_ends_the_run_and_one_under_the_terminals_log_does_not() {
    let dir = scratch("dev-full");
    let run = dir.join("run");
    fs::create_dir(&run).expect("the folder is writable");
    std::os::unix::fs::symlink("/dev/full", run.join("events.jsonl")).expect("a link");
    let output = sft(&dir, &run).output().expect("it starts");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    let words = format!(
        "error: cannot write {}: No space left",
        text(&run.join("events.jsonl"))
    );
    assert!(
        stderr.contains(&words) && stderr.contains("hint: the disk is full"),
        "{stderr}"
    );

    let full = fs::OpenOptions::new()
        .write(true)
        .open("/dev/full")
        .expect("Linux has it");
    let status = sft(&dir, &dir.join("silent"))
        .stderr(Stdio::from(full))
        .status();
    assert!(status.expect("it starts").success());
}

fn sft(dir: &Path, output: &Path) -> Command {
    steps(6, dir, output)
}

fn steps(max_steps: u32, dir: &Path, output: &Path) -> Command {
    let data = conversations(dir);
    let mut command = trainer();
    command
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
        .args([
            "--max-steps",
            &max_steps.to_string(),
            "--seed",
            "3",
            "--tui",
            "never",
        ])
        .args(["--set", "save_steps=2", "--set", "save_total_limit=0"])
        .args([
            "--set",
            "lr_scheduler_type=constant",
            "--set",
            "warmup_ratio=0",
        ])
        .args([
            "--set",
            "max_length=64",
            "--set",
            "per_device_train_batch_size=2",
        ])
        .stdout(Stdio::null());
    command
}

fn shell_words(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let quoted = words.map(|word| format!("'{}'", word.to_str().expect("test paths are UTF-8")));
    quoted.collect::<Vec<_>>().join(" ")
}

#[cfg(target_os = "linux")]
fn in_own_mounts(script: &str) -> Output {
    Command::new("unshare")
        .args(["--map-root-user", "--mount", "sh", "-c", script])
        .output()
        .unwrap_or_else(|_| Command::new("false").output().expect("every system has it"))
}
