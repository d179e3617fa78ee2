//! What a run writes for TensorBoard and Prometheus.

use std::fs;
use std::path::{Path, PathBuf};

use crate::checkpoints::scratch;
use crate::program::{conversations, events, run, succeed, text};
use crate::stage_run;

#[test]
fn a_run_reports_to_tensorboard_and_prometheus_and_goes_on_doing_so() {
    let dir = scratch("report-to");
    let (data, run_dir) = (conversations(&dir), dir.join("run"));
    let train = |steps: u32| {
        let setting = "report_to=['tensorboard', 'prometheus']";
        succeed(&arguments(&data, &run_dir, steps, setting));
    };
    train(3);
    let first = files(&run_dir.join("tensorboard"));
    assert_eq!(first.len(), 1);
    assert_eq!(metric(&run_dir, "keep_step{"), 3.0);
    train(5);
    let all = files(&run_dir.join("tensorboard"));
    assert_eq!((all.len(), &all[0]), (2, &first[0]));

    // The file's version, the machine, the evaluation before the first step, three steps, the last
    // evaluation; then the same of two steps with the start of a session between.
    let records: Vec<Vec<Vec<u8>>> = all.iter().map(|file| records(file)).collect();
    let has = |record: &[u8], tag: &str| record.windows(tag.len()).any(|w| w == tag.as_bytes());
    let count = |file: usize, tag: &str| records[file].iter().filter(|r| has(r, tag)).count();
    let tags = ["train/loss", "train/time/data", "eval/loss", "system/"];
    assert_eq!(tags.map(|tag| count(0, tag)), [3, 3, 2, 1]);
    assert_eq!(tags.map(|tag| count(1, tag)), [2, 2, 2, 1]);
    // `Event{wall_time, step: 4, session_log: {status: START}}`.
    let session = [&[0x10, 4][..], &[0x3a, 2, 0x08, 1]].concat();
    let starts = |file: usize| {
        records[file]
            .iter()
            .any(|record| record.ends_with(&session))
    };
    assert!(!starts(0) && starts(1));

    let loss = events(&run_dir, "step")[4]["loss"]
        .as_f64()
        .expect("a loss");
    assert_eq!(metric(&run_dir, "keep_train_loss{"), loss);
    assert_eq!(metric(&run_dir, "keep_step{"), 5.0);
    assert_eq!(metric(&run_dir, "keep_total_steps{"), 5.0);
    assert_eq!(metric(&run_dir, "keep_running{"), 0.0);
    let labels = format!("{{run=\"{}\",stage=\"sft\"", run_dir.display());
    let held_out = format!("keep_eval_loss{labels},evaluation=\"held_out\"}}");
    assert!(metric(&run_dir, &held_out).is_finite());
}

#[test]
fn an_export_that_cannot_be_written_does_not_end_the_run() {
    let dir = scratch("report-to-fails");
    let (data, run_dir) = (conversations(&dir), dir.join("run"));
    // What `metrics.prom` would replace cannot be replaced.
    fs::create_dir_all(run_dir.join("metrics.prom/in-the-way")).expect("the folder is writable");
    let output = run(&arguments(&data, &run_dir, 3, "report_to=prometheus"));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    let said = stderr
        .matches("warning: report_to = prometheus: cannot write")
        .count();
    assert_eq!(said, 1, "{stderr}");
    let warnings = events(&run_dir, "warning");
    let logged = |warning: &&serde_json::Value| {
        let message = warning["message"].as_str().expect("a message");
        message.starts_with("report_to = prometheus: cannot write")
    };
    assert_eq!(warnings.iter().filter(logged).count(), 1);
    assert_eq!(events(&run_dir, "step").len(), 3);
}

fn arguments(data: &Path, output: &Path, steps: u32, setting: &str) -> Vec<String> {
    let eval = format!("eval_data={:?}", text(data));
    let settings = [setting, &eval, "max_length=64"];
    stage_run::arguments("sft", "gemma2", (data, output), steps, &settings)
}

/// The value of the one sample that begins so.
fn metric(run_dir: &Path, start: &str) -> f64 {
    let text = fs::read_to_string(run_dir.join("metrics.prom")).expect("the metrics");
    let mut samples = text.lines().filter(|line| line.starts_with(start));
    let sample = samples
        .next()
        .unwrap_or_else(|| panic!("no {start} in\n{text}"));
    assert_eq!(samples.next(), None);
    let (_, value) = sample.rsplit_once(' ').expect("a value");
    value.parse().expect("a number")
}

/// In the order in which TensorBoard reads them.
fn files(dir: &Path) -> Vec<Vec<u8>> {
    let entries = fs::read_dir(dir).expect("a folder");
    let mut paths: Vec<PathBuf> = entries
        .map(|entry| entry.expect("an entry").path())
        .collect();
    paths.sort();
    let read = |path| fs::read(path).expect("a readable file");
    paths.into_iter().map(read).collect()
}

/// The data of TFRecords: length, checksum, data, checksum.
fn records(mut file: &[u8]) -> Vec<Vec<u8>> {
    let mut records = Vec::new();
    while let Some((length, rest)) = file.split_first_chunk::<8>() {
        let length = u64::from_le_bytes(*length) as usize;
        records.push(rest[4..4 + length].to_vec());
        file = &rest[4 + length + 4..];
    }
    records
}
