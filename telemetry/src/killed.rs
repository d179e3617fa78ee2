//! What `kill -9` leaves behind, with a real process killed for real.

use crate::line::tests::step;
use crate::{Event, EventLog, EventTail, RunDir, StagedDir, TelemetryError};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

const RUN_DIR: &str = "KEEP_TEST_RUN_DIR";

/// The process that is killed: a trainer that does nothing but log and write checkpoints. The tests
/// below start it as a process of its own; among the other tests it does nothing.
#[test]
fn victim() {
    let Some(dir) = std::env::var_os(RUN_DIR) else {
        return;
    };
    let run = RunDir::create(dir).unwrap();
    let _lock = run.lock().unwrap();
    let log = EventLog::open(&run).unwrap();
    for n in 1.. {
        log.append(step(n, 1.0 / n as f64)).unwrap();
        let staged = StagedDir::create(run.checkpoint_dir(n % 3)).unwrap();
        for file in ["config.json", "model.safetensors", "tokenizer.json"] {
            std::fs::write(staged.path().join(file), n.to_string()).unwrap();
        }
        staged.commit().unwrap();
    }
}

fn start(run: &RunDir) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", "killed::victim"])
        .env(RUN_DIR, run.path());
    let mut child = command
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut tail = EventTail::new(run.events_file());
    tail.poll().unwrap();
    while tail.poll().unwrap().lines.is_empty() {
        assert_eq!(
            child.try_wait().unwrap(),
            None,
            "the victim died before it was killed"
        );
        thread::yield_now();
    }
    child
}

#[test]
fn a_killed_trainer_leaves_whole_lines_whole_checkpoints_and_no_lock() {
    let dir = tempfile::tempdir().unwrap();
    let run = RunDir::create(dir.path()).unwrap();
    let mut lines_before = 0;
    for round in 0..8u64 {
        let mut child = start(&run);
        assert!(matches!(run.lock(), Err(TelemetryError::Locked { .. })));
        thread::sleep(Duration::from_micros(500 + 3_700 * round));
        child.kill().unwrap();
        child.wait().unwrap();

        let _lock = run
            .lock()
            .expect("the lock of a dead process does not block");
        EventLog::open(&run).unwrap();
        let (lines, counts) = EventTail::read_all(run.events_file()).unwrap();
        assert!(
            lines
                .iter()
                .all(|line| matches!(line.event, Event::Step(_)))
        );
        assert_eq!(counts.malformed, 0);
        assert!(lines.len() > lines_before);
        lines_before = lines.len();

        for checkpoint in run.checkpoints().unwrap() {
            let read = |file| std::fs::read_to_string(checkpoint.path.join(file)).unwrap();
            assert_eq!(read("config.json"), read("tokenizer.json"));
            assert_eq!(read("config.json"), read("model.safetensors"));
        }
    }
    assert!(!run.checkpoints().unwrap().is_empty());
}
