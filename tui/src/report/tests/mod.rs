//! Whole reports, from recorded runs to their text.

mod balanced;

use std::fs;

use balanced::elements;
use serde_json::Value;
use telemetry::Line;

use super::record::RunRecord;
use super::{Report, Requirement};
use crate::tests::{fixtures, put_run};

/// When reports are made: shortly after the recorded runs.
const NOW_MS: u64 = 1_763_910_000_000;

const FIXTURES: [&str; 11] = [
    "booting", "cpt", "failed", "finished", "nan", "paused", "po", "resumed", "rl", "sft", "wide",
];

/// A run directory with a fixture's logs in it.
fn fixture(name: &str) -> tempfile::TempDir {
    let file = |ending: &str| fs::read(fixtures().join(format!("{name}{ending}")));
    let dir = tempfile::tempdir().unwrap();
    put_run(
        &dir.path().join("runs").join(name),
        &file(".jsonl").unwrap(),
        file(".samples.jsonl").ok().as_deref(),
    );
    dir
}

fn report(name: &str) -> Report {
    let dir = fixture(name);
    Report::read(&dir.path().join("runs").join(name), NOW_MS).unwrap()
}

#[test]
fn every_run_gives_a_page_that_is_whole_and_fetches_nothing() {
    for name in FIXTURES {
        let page = report(name).html();
        let names = elements(&page).unwrap_or_else(|wrong| panic!("{name}: {wrong}"));
        let fetching = [
            "link", "img", "iframe", "object", "embed", "base", "use", "image",
        ];
        assert!(
            !names.iter().any(|n| fetching.contains(&n.as_str())),
            "{name}"
        );
        for word in ["http:", "https:", "url(", "@import", " src=", "fetch("] {
            assert!(!page.contains(word), "{name}: {word}");
        }
        assert!(page.contains(&format!(">runs&#x2f;{name}</h2>")));
    }
    let names = elements(&report("rl").html()).unwrap();
    assert!(names.iter().filter(|name| *name == "figure").count() > 20);
}

#[test]
fn an_empty_run_and_a_log_cut_anywhere_have_a_report() {
    let dir = tempfile::tempdir().unwrap();
    put_run(dir.path(), b"", None);
    let empty = Report::read(dir.path(), NOW_MS).unwrap();
    assert!(empty.html().contains("waiting for the first event"));
    assert!(empty.markdown().contains("No metric was logged"));
    let log = fs::read(fixtures().join("rl.jsonl")).unwrap();
    let samples = fs::read(fixtures().join("rl.samples.jsonl")).unwrap();
    for cut in (0..64).map(|n| log.len() * n / 63) {
        let dir = tempfile::tempdir().unwrap();
        put_run(
            dir.path(),
            &log[..cut],
            Some(&samples[..samples.len() * cut / log.len()]),
        );
        let torn = Report::read(dir.path(), NOW_MS).unwrap();
        assert_eq!(elements(&torn.html()).err(), None, "cut at {cut}");
        serde_json::from_str::<Value>(&torn.json()).unwrap();
    }
}

/// What a model may write, and what a file may be called.
const ATTACK: &str = r#"</p></pre></style></script><script>alert(1)</script><img src=x onerror='alert(1)'>"><b onclick=\"x\">{{ 7 * 7 }}"#;

#[test]
fn no_text_of_a_run_becomes_part_of_the_page() {
    let text = serde_json::to_string(ATTACK).unwrap();
    let log = [
        format!(
            r#"{{"time":1,"kind":"run_started","stage":{text},"model":{text},"device":{text},"dtype":{text},"parameters":1,"seed":1,"total_steps":3}}"#
        ),
        format!(r#"{{"time":2,"kind":"phase","name":{text},"step":0}}"#),
        format!(
            r#"{{"time":3,"kind":"step","step":1,"loss":1,"grad_norm":1,"learning_rate":1,"tokens_per_second":1,{text}:2,"time/a":1,"reward":1}}"#
        ),
        format!(
            r#"{{"time":4,"kind":"evaluation","step":1,"name":{text},"table":[{{"group":{text},"count":1,"metrics":{{{text}:1}}}}],{text}:1,"samples":[{{"group":{text},"prompt":{text},"completion":{text},"reference":{text},"reward":1}}]}}"#
        ),
        format!(
            r#"{{"time":5,"kind":"data","step":1,"sources":[{{"name":{text},"records":1,"records_taken":1,"rejected":{{{text}:1}}}}]}}"#
        ),
        format!(
            r#"{{"time":6,"kind":"checkpoint","step":1,"path":{text},"bytes":1,"seconds":1,"kept":[{text}],"metric":{text}}}"#
        ),
        format!(r#"{{"time":7,"kind":"alert","rule":{text},"message":{text}}}"#),
        format!(r#"{{"time":8,"kind":"system","gpus":[{{"name":{text},"power_watts":1}}]}}"#),
        format!(
            r#"{{"time":9,"kind":"preflight","records":1,"looked_at":1,"warnings":[{text}],{text}:1}}"#
        ),
        format!(r#"{{"time":10,"kind":"failed","message":{text}}}"#),
    ];
    let group = format!(
        r#"{{"step":1,"group":1,"prompt":{text},"source":{text},"reference":{text},"completions":[{{"text":{text},"reward":1,"rewards":{{{text}:1}},"advantage":1,"tokens":1,"finish_reason":{text},"logprob_sum":0}}],"task":{text},"target_lang":{text}}}"#
    );
    let dir = tempfile::tempdir().unwrap();
    let run = put_run(
        dir.path(),
        (log.join("\n") + "\n").as_bytes(),
        Some((group + "\n").as_bytes()),
    );
    fs::write(run.recipe_file(), ATTACK).unwrap();
    let manifest = format!(
        r#"{{"version":1,"stage":"sft","model":{text},"seed":1,"device":{text},"dtype":"f32","program_version":{text},"git_commit":{text},"started_at":{text},"argv":[{text}],"data":[{{"path":{text},"bytes":1,"sha256":{text}}}]}}"#
    );
    fs::write(run.manifest_file(), manifest).unwrap();
    let report = Report::read(dir.path(), 20).unwrap();
    let page = report.html();
    let names = elements(&page).unwrap_or_else(|wrong| panic!("{wrong}"));
    let count = |name: &str| names.iter().filter(|n| *n == name).count();
    assert_eq!((count("script"), count("style"), count("img")), (1, 1, 0));
    assert!(!page.contains("onclick=\"x\"") && !page.contains("49"));
    // Each of them is on the page, and can be read there.
    let shown = page
        .matches("&lt;script&gt;alert(1)&lt;&#x2f;script&gt;")
        .count();
    assert!(shown > 35, "{shown}");
    assert!(!report.markdown().contains("<script"));
}

#[test]
fn samples_say_their_language_and_set_their_own_direction() {
    let record = r#"{"step":1,"group":1,"prompt":"Translate.","source":"Hello","reference":"مرحبا","completions":[{"text":"مرحبا \u202eabc","reward":1,"rewards":{},"advantage":0,"tokens":1,"finish_reason":"stop","logprob_sum":0}],"task":"translate/en-ar"}"#;
    let dir = tempfile::tempdir().unwrap();
    put_run(dir.path(), b"", Some(format!("{record}\n").as_bytes()));
    let page = Report::read(dir.path(), NOW_MS).unwrap().html();
    assert!(page.contains(r#"dir="auto" lang="ar">مرحبا</p>"#));
    assert!(page.contains(r#"dir="auto" lang="en">Hello</p>"#));
    assert!(page.contains("مرحبا [U+202E]abc"));
}

#[test]
fn a_page_of_a_long_run_with_many_metrics_stays_small() {
    // A curve is as long after ten thousand values as after a million.
    let mut record = RunRecord::default();
    for step in (1..=10_000u64).map(|n| n * 100) {
        let mut line = format!(
            r#"{{"time":{step},"kind":"step","step":{step},"loss":1.5,"grad_norm":1,"learning_rate":1,"tokens_per_second":1"#
        );
        for metric in 0..56u64 {
            let noise = step
                .wrapping_mul(2_654_435_761)
                .wrapping_add(metric * 77_777)
                % 100_003;
            line.push_str(&format!(
                r#","rewards/part_{metric}/mean":{}"#,
                noise as f64 / 7.0
            ));
        }
        record
            .store
            .fold(Line::parse((line + "}").as_bytes()).unwrap());
    }
    let report = Report {
        name: "long".to_owned(),
        now_ms: NOW_MS,
        runs: vec![record],
    };
    let page = report.html();
    assert_eq!(page.matches("<figure").count(), 60);
    assert!(page.len() < 2_000_000, "{} bytes", page.len());
}

#[test]
fn the_table_for_a_pull_request_is_short_and_compares_first_with_last() {
    let expected = "\
### runs/finished: ✔ finished, step 20 of 20

sft · runs/demo/cpt (1.84M parameters) · cpu in float32 · 325k tokens · 45 s

| metric | first | last | change |
|:--|--:|--:|--:|
| held\\_out/loss | 2.70 at step 0 | 1.41 at step 20 | -1.29 ✔ |
| loss | 2.69 at step 1 | 1.45 at step 20 | -1.25 ✔ |
| grad\\_norm | 1.82 at step 1 | 0.747 at step 20 | -1.07 |
| tokens\\_per\\_second | 8.21k at step 1 | 8.33k at step 20 | +117 ✔ |
| entropy | 1.61 at step 1 | 1.22 at step 20 | -0.386 |
";
    let table = report("finished").markdown();
    assert_eq!(table, expected);
}

#[test]
fn the_object_has_the_last_value_of_every_metric_and_keeps_nan() {
    let object: Value = serde_json::from_str(&report("nan").json()).unwrap();
    let run = &object["runs"][0];
    assert_eq!(run["metrics"]["loss"]["last"], "nan");
    assert_eq!(run["metrics"]["loss"]["num_not_numbers"], 3);
    assert_eq!((&run["stage"], &run["step"]), (&"cpt".into(), &30.into()));
    let object: Value = serde_json::from_str(&report("rl").json()).unwrap();
    let run = &object["runs"][0];
    assert_eq!(
        run["metrics"]["held_out/chrf"]["last"],
        run["evaluations"][4]["metrics"]["chrf"]
    );
    assert_eq!(run["status"], "silent, presumed dead");
}

#[test]
fn stages_in_a_folder_are_sections_and_the_last_is_the_one_that_is_asked() {
    let dir = tempfile::tempdir().unwrap();
    let log = |name: &str| fs::read(fixtures().join(format!("{name}.jsonl"))).unwrap();
    put_run(&dir.path().join("sft"), &log("sft"), None);
    put_run(&dir.path().join("cpt"), &log("nan"), None);
    put_run(&dir.path().join("other"), &log("po"), None);
    let stages_alone = Report::read(dir.path(), NOW_MS).unwrap();
    assert_eq!(stages_alone.runs.len(), 2);
    put_run(dir.path(), &log("rl"), None);
    let report = Report::read(dir.path(), NOW_MS).unwrap();
    let stages: Vec<&str> = report.runs.iter().map(RunRecord::stage).collect();
    assert_eq!(stages, ["cpt", "sft", "rl"]);
    let page = report.html();
    assert_eq!(page.matches("<article").count(), 3);
    assert!(page.contains(r##"<a href="#run-3">"##) && page.contains(r#"<article id="run-3">"#));
    let requirement: Requirement = "reward>0.5".parse().unwrap();
    assert!(report.check(&requirement).unwrap().holds());
    assert_eq!(report.markdown().matches("### ").count(), 3);
}

#[test]
fn a_folder_of_runs_is_no_run() {
    let dir = tempfile::tempdir().unwrap();
    put_run(&dir.path().join("a"), b"", None);
    let message = Report::read(dir.path(), NOW_MS).unwrap_err().to_string();
    assert!(message.contains("a report is of one of them"), "{message}");
    let message = Report::read(&dir.path().join("no"), NOW_MS)
        .unwrap_err()
        .to_string();
    assert!(message.contains("cannot open"), "{message}");
}
