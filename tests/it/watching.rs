//! What a run says of itself: alerts, guards, its data and its checkpoints.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::checkpoints::scratch;
use crate::golden;
use crate::preference::pairs;
use crate::program::{conversations, events, succeed, text, write};

/// Runs a stage in `output` and returns what it told the terminal.
fn train(stage: &str, data: &[PathBuf], output: &Path, settings: &[&str]) -> String {
    let model = golden::model_dir("gemma2");
    let mut args = vec!["--stage", stage, "--model", text(&model)];
    args.extend([
        "--output",
        text(output),
        "--device",
        "cpu",
        "--tui",
        "never",
    ]);
    args.extend(data.iter().flat_map(|file| ["--data", text(file)]));
    args.extend(settings.iter().flat_map(|setting| ["--set", *setting]));
    String::from_utf8_lossy(&succeed(&args).stderr).into_owned()
}

fn translations(dir: &Path) -> PathBuf {
    write(
        dir,
        "translations.jsonl",
        &[
            r#"{"prompt": "To Japanese: The old tower stands here.", "verifier": "chrf", "source": "The old tower stands here.", "reference": "古い塔がここに立っている。", "source_lang": "en", "target_lang": "ja"}"#,
            r#"{"prompt": "To German: tower", "verifier": "chrf", "source": "tower", "reference": "Turm", "target_lang": "German"}"#,
        ],
    )
}

const RL: [&str; 3] = [
    "num_generations=2",
    "per_device_train_batch_size=2",
    "max_completion_length=2",
];

#[test]
fn completions_that_are_all_cut_off_raise_an_alarm_which_changes_nothing() {
    let dir = scratch("alarm");
    let data = [translations(&dir)];
    let [watched, unwatched] = ["watched", "unwatched"].map(|name| dir.join(name));
    let settings = [&RL[..], &["max_steps=12"]].concat();
    let told = train("rl", &data, &watched, &settings);
    let rule = "completions/clipped_ratio > 0.8";
    let alerts = events(&watched, "alert");
    let of_rule = alerts.iter().filter(|alert| alert["rule"] == rule);
    let of_rule: Vec<&Value> = of_rule.collect();
    assert_eq!(of_rule.len(), 1, "it is raised once: {alerts:?}");
    assert_eq!(
        of_rule[0]["step"], 10,
        "a median of ten steps: {}",
        of_rule[0]
    );
    assert_eq!(of_rule[0]["level"], "alarm");
    assert_eq!(of_rule[0]["threshold"], 0.8);
    let line = told
        .lines()
        .find(|line| line.starts_with("alert: completions/clipped_ratio is"));
    let said = line.unwrap_or_else(|| panic!("{told}"));
    assert!(said.contains("healthy is at most"), "{said}");

    let settings = [&settings[..], &["alert_rules=['off']"]].concat();
    train("rl", &data, &unwatched, &settings);
    assert_eq!(events(&unwatched, "alert"), [] as [Value; 0]);
    let weights =
        |run: &Path| fs::read(run.join("checkpoint-12/model.safetensors")).expect("the weights");
    assert_eq!(weights(&watched), weights(&unwatched));

    // Going on ends all alerts for whoever reads the log, and this one holds all the same.
    let settings = [&RL[..], &["max_steps=13"]].concat();
    train("rl", &data, &watched, &settings);
    let log = fs::read_to_string(watched.join("events.jsonl")).expect("a log");
    let mut after = log
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("JSON"))
        .skip_while(|event| event["kind"] != "resumed");
    assert_eq!(after.next().expect("it went on")["from_step"], 12);
    let again: Vec<Value> = after
        .take_while(|event| event["kind"] == "alert")
        .filter(|alert| alert["rule"] == rule)
        .collect();
    assert_eq!(again, [with_time_of(&again[0], of_rule[0])]);
    let of_rule = events(&watched, "alert");
    let of_rule = of_rule.iter().filter(|alert| alert["rule"] == rule).count();
    assert_eq!(of_rule, 2, "raised once, and told again");
}

/// An event as if it had been logged when another one was.
fn with_time_of(other: &Value, event: &Value) -> Value {
    let mut event = event.clone();
    event["time"] = other["time"].clone();
    event
}

#[test]
fn steps_and_evaluations_of_rl_have_the_guards_that_their_records_allow() {
    let dir = scratch("rl-guards");
    let data = [translations(&dir)];
    let output = dir.join("run");
    let eval_data = format!("eval_data={:?}", text(&data[0]));
    let settings = [&RL[..], &["max_steps=1", &eval_data]].concat();
    train("rl", &data, &output, &settings);
    let guards = [
        "off_target_rate",
        "copy_rate",
        "empty_rate",
        "repetition_rate",
        "length_ratio",
    ];
    let evaluation = events(&output, "evaluation").pop().expect("one");
    let table = evaluation["table"].as_array().expect("rows").clone();
    let groups: Vec<&str> = table
        .iter()
        .filter_map(|row| row["group"].as_str())
        .collect();
    assert_eq!(groups, ["all", "en-ja"]);
    for measured in [
        &events(&output, "step")[0],
        &evaluation,
        &table[0]["metrics"],
    ] {
        for guard in guards {
            assert!(measured[guard].is_number(), "{guard} in {measured}");
        }
    }
}

/// A stage's data in two files, one of them with lines that cannot be used.
fn data_of(stage: &str, dir: &Path) -> Vec<PathBuf> {
    match stage {
        "cpt" => {
            let text = |n: usize| format!(r#"{{"text": "{}"}}"#, "a tower by the river ".repeat(n));
            let pair = r#"{"source": "the tower", "target": "der Turm", "source_lang": "en", "target_lang": "de"}"#;
            let mixed = [&*text(1), pair, "{}", &*text(2), pair, "broken"];
            vec![
                write(dir, "mixed.jsonl", &mixed),
                write(dir, "plain.jsonl", &[&*text(3), &*text(1), &*text(2)]),
            ]
        }
        "sft" => vec![conversations(dir)],
        "po" => vec![pairs(dir)],
        _ => vec![translations(dir)],
    }
}

/// The log says of a run that was cut off after step 4 of 8 what it says of one that was not.
#[test]
fn what_was_taken_of_each_source_is_the_same_after_a_resume() {
    for stage in ["cpt", "sft", "po", "rl"] {
        let dir = scratch(&format!("sources-{stage}"));
        let data = data_of(stage, &dir);
        let sft_data = format!("sft_data={:?}", text(&conversations(&dir)));
        let settings: &[&str] = match stage {
            "cpt" => &[
                "packing=true",
                "max_length=48",
                "per_device_train_batch_size=1",
            ],
            "rl" => &[RL[0], RL[1], RL[2], &sft_data, "num_iterations=3"],
            _ => &["per_device_train_batch_size=3", "max_length=40"],
        };
        let settings = [
            settings,
            &[
                "max_steps=8",
                "save_steps=4",
                "save_total_limit=0",
                "on_bad_record=skip",
            ],
        ]
        .concat();
        let whole = dir.join("whole");
        train(stage, &data, &whole, &settings);
        let told = |run: &Path| -> Vec<(Value, Value)> {
            let data = events(run, "data").into_iter();
            data.map(|mut event| (event["step"].take(), event["sources"].take()))
                .collect()
        };
        let first = told(&whole);
        let steps: Vec<&Value> = first.iter().map(|(step, _)| step).collect();
        assert_eq!(
            steps,
            [0, 4, 8],
            "{stage}: the start, the checkpoint, the end"
        );
        for source in first[0].1.as_array().expect("sources") {
            assert_eq!(source["records_taken"], 0, "{stage}");
        }
        let taken = |sources: &Value, key: &str| -> u64 {
            let sources = sources.as_array().expect("sources").iter();
            sources
                .map(|source| source[key].as_u64().expect("a count"))
                .sum()
        };
        let [four, eight] = [&first[1].1, &first[2].1];
        for key in ["records_taken", "tokens_taken"] {
            assert!(
                taken(four, key) > 0 && taken(eight, key) > taken(four, key),
                "{stage}"
            );
        }

        fs::remove_dir_all(whole.join("checkpoint-8")).expect("it was saved");
        train(stage, &data, &whole, &settings);
        let both = told(&whole);
        assert_eq!(both[3..], first[1..], "{stage}");
    }
}

#[test]
fn sources_are_told_apart_with_what_was_rejected_and_why() {
    let dir = scratch("sources");
    let output = dir.join("run");
    let settings = [
        "max_steps=3",
        "on_bad_record=skip",
        "shuffle=false",
        "packing=false",
    ];
    train("cpt", &data_of("cpt", &dir), &output, &settings);
    let told = events(&output, "data").pop().expect("one at the end");
    let sources = told["sources"].as_array().expect("sources");
    let field = |name: &str| -> Vec<Value> { sources.iter().map(|s| s[name].clone()).collect() };
    assert_eq!(
        field("name"),
        [
            "mixed.jsonl (monolingual)",
            "mixed.jsonl (parallel)",
            "plain.jsonl"
        ]
    );
    assert_eq!(field("records"), [2, 2, 3]);
    // Three steps of eight are 24 records of 7: three times all, and the first three once more.
    assert_eq!(field("records_taken"), [8, 7, 9]);
    assert_eq!(field("epoch")[2], 3.0);
    assert_eq!(field("target_share")[2], json!(3.0 / 7.0));
    assert_eq!(field("share")[2], json!(9.0 / 24.0));
    let rejected = sources[0]["rejected"].as_object().expect("reasons");
    assert_eq!(rejected.len(), 2, "{rejected:?}");
    assert!(rejected.values().all(|count| count == 1), "{rejected:?}");
    assert_eq!(sources[2]["rejected"], Value::Null);
}

#[test]
fn checkpoints_say_why_they_are_kept_and_when_they_go() {
    let dir = scratch("kept");
    let data = [conversations(&dir)];
    let output = dir.join("run");
    let eval_data = format!("eval_data={:?}", text(&data[0]));
    let settings = [
        "max_steps=6",
        "save_steps=2",
        "eval_steps=2",
        "save_total_limit=1",
        "learning_rate=1e-3",
        // Training lowers the loss, so the first evaluation after the start is the best one.
        "metric_for_best_model=eval/loss",
        "greater_is_better=true",
        &eval_data,
    ];
    train("sft", &data, &output, &settings);
    let saved = events(&output, "checkpoint");
    let kept: Vec<&Value> = saved.iter().map(|event| &event["kept"]).collect();
    assert_eq!(
        kept,
        [
            &json!(["newest", "best"]),
            &json!(["newest"]),
            &json!(["newest"])
        ]
    );
    assert_eq!(saved[0]["metric"], saved[0]["best_metric"]);
    assert!(saved[0]["metric"].is_number() && saved[1]["metric"].is_null());
    let removed = events(&output, "checkpoint_removed");
    let steps: Vec<&Value> = removed.iter().map(|event| &event["step"]).collect();
    assert_eq!(steps, [4], "the best one stays");
    assert_eq!(removed[0]["path"], saved[1]["path"]);
}

#[test]
fn supervised_stages_measure_perplexity_packing_and_what_is_cut() {
    let dir = scratch("supervised-metrics");
    let output = dir.join("run");
    let data = data_of("cpt", &dir);
    let eval_data = format!("eval_data={:?}", text(&data[1]));
    let settings = [
        "max_steps=1",
        "on_bad_record=skip",
        "packing=true",
        "max_length=8",
        "per_device_train_batch_size=4",
        &eval_data,
    ];
    train("cpt", &data, &output, &settings);
    let step = &events(&output, "step")[0];
    let number = |value: &Value| value.as_f64().expect("a number");
    let tokens = number(&step["num_tokens"]);
    assert_eq!(number(&step["packing_fill"]), tokens / 32.0);
    assert_eq!(
        number(&step["supervised_share"]),
        number(&step["num_supervised"]) / tokens
    );
    assert_eq!(
        number(&step["truncated_share"]),
        1.0,
        "every record is longer than 8 tokens"
    );
    for evaluation in events(&output, "evaluation") {
        let perplexity = number(&evaluation["loss"]).exp();
        assert_eq!(number(&evaluation["perplexity"]), perplexity);
    }
}
