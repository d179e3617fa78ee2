//! A run that is killed again and again ends with the bits of one that never was.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use crate::checkpoints::scratch;
use crate::golden;
use crate::preference::pairs;
use crate::program::{conversations, events, prompts, text, trainer, write};

/// A stage with what makes its state hard to carry over.
struct Row {
    stage: &'static str,
    family: &'static str,
    data: fn(&Path) -> PathBuf,
    settings: &'static [&'static str],
}

const STEPS: u64 = 60;
const SAVE_STEPS: u64 = 4;
const KILLS: usize = 6;

const STAGES: [Row; 5] = [
    Row {
        stage: "cpt",
        family: "qwen2",
        data: documents,
        settings: &[
            "packing=true",
            "max_length=48",
            "metric_for_best_model=eval/loss",
        ],
    },
    Row {
        stage: "sft",
        family: "gemma3",
        data: conversations,
        settings: &[
            "optim=adamw_8bit",
            "max_length=64",
            "metric_for_best_model=loss",
        ],
    },
    Row {
        stage: "po",
        family: "qwen3",
        data: pairs,
        settings: &[
            "max_length=64",
            "loss_type=['sigmoid', 'sft']",
            "beta=0.1",
            "metric_for_best_model=loss",
        ],
    },
    Row {
        stage: "rl",
        family: "gemma2",
        data: prompts,
        settings: &[
            "num_generations=4",
            "num_mini_batches=3",
            "num_iterations=2",
            "max_completion_length=24",
            "beta=0.01",
            "metric_for_best_model=reward",
        ],
    },
    // Each checkpoint has the samples that were being drawn when it was saved.
    Row {
        stage: "rl",
        family: "qwen2",
        data: prompts,
        settings: &[
            "one_step_off_policy=true",
            "use_adaptive_entropy=true",
            "entropy_target=9.0",
            "num_generations=4",
            "num_mini_batches=3",
            "max_completion_length=24",
            "beta=0.01",
            "metric_for_best_model=reward",
        ],
    },
];

#[test]
fn a_run_killed_at_random_moments_ends_with_the_same_bits() {
    for row in &STAGES {
        // RL also where the user stops it, for which it has to leave a rollout half way.
        let signals: &[&str] = match row.stage {
            "rl" => &["-KILL", "-INT"],
            _ => &["-KILL"],
        };
        let dir = scratch(&format!("killed-{}-{}", row.stage, row.family));
        let whole = dir.join("whole");
        assert!(
            started(row, &dir, &whole)
                .wait()
                .expect("it ends")
                .success()
        );
        for signal in signals {
            let cut = dir.join(format!("cut{signal}"));
            let kills = run_and_kill(row, &dir, &cut, signal);
            same_bits(row, &whole, &cut);
            let resumed_from: Vec<u64> = events(&cut, "resumed")
                .iter()
                .map(|event| event["from_step"].as_u64().expect("a step"))
                .collect();
            let place = format!("{}{signal}: {kills} kills, resumed from", row.stage);
            eprintln!("{place} {resumed_from:?}");
            assert!(kills >= 3, "{place} {resumed_from:?}");
            assert_eq!(resumed_from.len(), kills, "{place} {resumed_from:?}");
            assert!(
                resumed_from.iter().any(|&step| step > 0),
                "{place} {resumed_from:?}"
            );
        }
    }
}

#[test]
fn a_run_killed_after_its_last_checkpoint_gets_its_last_event_when_started_again() {
    let dir = scratch("killed-last");
    let run = dir.join("run");
    let start = || started(&STAGES[1], &dir, &run).wait().expect("it ends");
    assert!(start().success());
    let path = run.join("events.jsonl");
    let whole = std::fs::read_to_string(&path).expect("an event log");
    let (before, last) = whole.trim_end().rsplit_once('\n').expect("two lines");
    assert!(last.contains("finished"), "{last}");
    std::fs::write(&path, format!("{before}\n")).expect("it is writable");
    for _ in 0..2 {
        assert!(start().success());
        assert_eq!(lines(&run), whole.lines().count());
        assert_eq!(events(&run, "finished")[0]["step"], STEPS);
    }
}

/// Starts the run, kills it a few steps on, and so forth; then lets it end.
fn run_and_kill(row: &Row, dir: &Path, cut: &Path, signal: &str) -> usize {
    let mut random = Random(row.stage.bytes().map(u64::from).sum());
    let mut kills = 0;
    for kill in 0..KILLS {
        let mut child = started(row, dir, cut);
        let before = lines(cut);
        // The first one before any checkpoint, the others a random number of lines after it has said
        // where it goes on: in a step, between two of them, in an evaluation or while a checkpoint is
        // written.
        let more = random.below(40);
        let status = wait(&mut child, || match kill {
            0 => steps(cut) >= 2,
            _ => lines(cut) >= before + 6 + more,
        });
        if status.is_none() {
            std::thread::sleep(Duration::from_micros(random.below(8000) as u64));
            let sent = Command::new("kill")
                .args([signal, &child.id().to_string()])
                .status();
            assert!(sent.expect("kill is there").success());
        }
        let status = child.wait().expect("it ends");
        if status.success() {
            return kills;
        }
        kills += 1;
    }
    let status = started(row, dir, cut).wait().expect("it ends");
    assert!(status.success(), "{}: {status}", row.stage);
    kills
}

fn same_bits(row: &Row, whole: &Path, cut: &Path) {
    let [expected, found] = [whole, cut].map(|run| {
        let mut files = BTreeMap::new();
        files_under(&run.join(format!("checkpoint-{STEPS}")), &mut files);
        files_under(&run.join("best.json"), &mut files);
        if row.stage == "rl" {
            files_under(&run.join("samples.jsonl"), &mut files);
        }
        let files = files.into_iter();
        let named =
            files.map(|(path, bytes)| (path.strip_prefix(run).expect("below").to_owned(), bytes));
        named.collect::<BTreeMap<_, _>>()
    });
    let names = |files: &BTreeMap<PathBuf, Vec<u8>>| files.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&expected), names(&found), "{}", row.stage);
    for (name, bytes) in &expected {
        assert!(
            bytes == &found[name],
            "{}: {} differs",
            row.stage,
            name.display()
        );
    }
    // Also the steps that a kill made the run take twice.
    let step = |event: &serde_json::Value| event["step"].as_u64().expect("a step");
    let whole: BTreeMap<u64, String> = events(whole, "step")
        .iter()
        .map(|event| (step(event), event["loss"].to_string()))
        .collect();
    assert_eq!(whole.len() as u64, STEPS, "{}", row.stage);
    let mut live = Vec::new();
    for event in log(cut) {
        match event["kind"].as_str() {
            Some("step") => {
                let number = step(&event);
                assert_eq!(
                    event["loss"].to_string(),
                    whole[&number],
                    "{}: step {number}",
                    row.stage
                );
                live.push(number);
            }
            Some("resumed") => {
                let from = event["from_step"].as_u64().expect("a step");
                live.retain(|&number| number <= from);
            }
            _ => {}
        }
    }
    assert_eq!(live, (1..=STEPS).collect::<Vec<_>>(), "{}", row.stage);
    let last = log(cut).pop().expect("an event");
    assert_eq!(
        (&last["kind"], &last["reason"]),
        (&"finished".into(), &"completed".into())
    );
}

fn started(row: &Row, dir: &Path, output: &Path) -> Child {
    let data = (row.data)(dir);
    let (max_steps, save_steps) = (STEPS.to_string(), format!("save_steps={SAVE_STEPS}"));
    let eval_data = format!("eval_data={:?}", text(&data));
    let mut command = trainer();
    command
        .args([
            "--stage",
            row.stage,
            "--model",
            text(&golden::model_dir(row.family)),
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
            &max_steps,
            "--seed",
            "3",
            "--tui",
            "never",
            "--resume",
            "auto",
        ])
        .args([
            "--set",
            &save_steps,
            "--set",
            &eval_data,
            "--set",
            "eval_steps=5",
        ])
        .args([
            "--set",
            "learning_rate=1e-3",
            "--set",
            "per_device_train_batch_size=2",
        ])
        .args(row.settings.iter().flat_map(|setting| ["--set", setting]));
    command
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the program starts")
}

/// Waits until the condition holds, or for the end.
fn wait(child: &mut Child, condition: impl Fn() -> bool) -> Option<ExitStatus> {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let ended = child.try_wait().expect("a child can be asked");
        if ended.is_some() || condition() {
            return ended;
        }
        assert!(Instant::now() < deadline, "nothing happened in a minute");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Steps of the event log, whose last line may be torn.
fn steps(run: &Path) -> usize {
    let log = std::fs::read_to_string(run.join("events.jsonl")).unwrap_or_default();
    log.matches("\"kind\":\"step\"").count()
}

/// Lines of the event log.
fn lines(run: &Path) -> usize {
    let log = std::fs::read(run.join("events.jsonl")).unwrap_or_default();
    log.iter().filter(|&&byte| byte == b'\n').count()
}

fn log(run: &Path) -> Vec<serde_json::Value> {
    let log = std::fs::read_to_string(run.join("events.jsonl")).expect("an event log");
    log.lines()
        .map(|line| serde_json::from_str(line).expect("a line is JSON"))
        .collect()
}

fn files_under(path: &Path, files: &mut BTreeMap<PathBuf, Vec<u8>>) {
    if path.is_dir() {
        for entry in std::fs::read_dir(path).expect("a readable folder") {
            files_under(&entry.expect("an entry").path(), files);
        }
    } else {
        let bytes = std::fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        files.insert(path.to_owned(), bytes);
    }
}

fn documents(dir: &Path) -> PathBuf {
    let lines: Vec<String> = (0..12)
        .map(|i| {
            format!(
                r#"{{"text": "{}"}}"#,
                "The tower has stones. ".repeat(i % 5 + 1)
            )
        })
        .collect();
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    write(dir, "cpt.jsonl", &lines)
}

/// The numbers of Knuth's MMIX generator: the same kills every time, as far as the clock lets.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) % limit) as usize
    }
}
