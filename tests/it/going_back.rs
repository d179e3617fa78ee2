//! A run that meets a loss that is not a number goes back to its newest checkpoint and past the
//! records that made it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread::sleep;
use std::time::Duration;

use burn::tensor::{DType, Device};
use datasets::{ChatTokenizer, DocumentStart, GenerationPrompt, Message};
use model::checkpoint::Dtype;
use model::{CausalLm, host_values};
use serde_json::Value;
use trainer::checkpoint::copy_tokenizer;

use crate::checkpoints::scratch;
use crate::golden;
use crate::held_out::short_answers;
use crate::program::{events, succeed, text, trainer, write};

/// Its bytes are in no other record.
const POISON: &str = "§";

/// Records a step, and the record that breaks it: step 5 has the records 8 and 9.
const BATCH: usize = 2;
const POISONED_RECORD: usize = 9;

#[test]
fn the_step_that_failed_is_taken_again_with_the_records_after_it() {
    let dir = scratch("going-back");
    let (model, data) = (poisoned_model(&dir), records(&dir));
    let whole = dir.join("whole");
    let output = sft(&model, &data, &whole, 9, &["on_nonfinite=rollback"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let resumed = events(&whole, "resumed");
    assert_eq!(resumed.len(), 1, "{resumed:?}");
    assert_eq!(resumed[0]["from_step"], 4);
    let reason = resumed[0]["reason"].as_str().expect("a reason");
    assert_eq!(reason, "step 5: the loss is NaN");
    let steps = events(&whole, "step");
    let numbers: Vec<u64> = steps
        .iter()
        .filter_map(|step| step["step"].as_u64())
        .collect();
    assert_eq!(numbers, [1, 2, 3, 4, 5, 5, 6, 7, 8, 9]);
    assert_eq!(steps[4]["loss"], "nan");
    assert!(steps[5..].iter().all(|step| step["loss"].is_number()));
    // Step 5 comes again with the records 10 and 11, the last ones of the epoch.
    assert_eq!(
        (&steps[5]["epoch"], &steps[6]["epoch"]),
        (&1.into(), &1.into())
    );

    // A step that the run took twice is replayed as it was the second time.
    let twice = dir.join("twice");
    let settings = ["on_nonfinite=rollback", "save_steps=3"];
    let output = sft(&model, &data, &twice, 6, &settings);
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(events(&twice, "resumed")[0]["from_step"], 3);
    for step in ["4", "5"] {
        let replayed = succeed(&["replay", text(&twice), "--step", step]);
        let stdout = String::from_utf8_lossy(&replayed.stdout);
        assert!(stdout.contains("the same bits"), "{stdout}");
    }

    // What was skipped is in the checkpoints: a run that ends after it and goes on is the same.
    let cut = dir.join("cut");
    for steps in [7, 9] {
        let output = sft(&model, &data, &cut, steps, &["on_nonfinite=rollback"]);
        assert!(output.status.success(), "{}", stderr(&output));
    }
    for file in ["model.safetensors", "trainer_state/moments.safetensors"] {
        let [a, b] = [&whole, &cut].map(|run| bytes(&run.join("checkpoint-9"), file));
        assert!(a == b, "{file} differs");
    }

    // The other policies, on the same records.
    let left_out = sft(&model, &data, &dir.join("skip"), 9, &["on_nonfinite=skip"]);
    assert!(left_out.status.success(), "{}", stderr(&left_out));
    let stopped = sft(&model, &data, &dir.join("stop"), 9, &[]);
    assert_eq!(stopped.status.code(), Some(3), "{}", stderr(&stopped));
}

#[test]
fn a_run_that_diverges_wherever_it_goes_back_to_gives_up() {
    let dir = scratch("going-back-in-vain");
    let data = records(&dir);
    // Each step multiplies the weights by about -10^27.
    let settings = ["on_nonfinite=rollback", "weight_decay=1e30"];
    let run = dir.join("run");
    let output = sft(&golden::model_dir("qwen2"), &data, &run, 9, &settings);
    assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
    let resumed = events(&run, "resumed");
    assert_eq!(resumed.len(), 3, "{resumed:?}");
    assert!(
        resumed
            .iter()
            .all(|event| event["from_step"] == resumed[0]["from_step"])
    );
    let end = events(&run, "finished").pop().expect("an end");
    assert_eq!(end["reason"], "diverged");
}

#[test]
fn a_run_killed_around_where_it_goes_back_ends_with_the_same_bits() {
    let dir = scratch("going-back-killed");
    let (model, data) = (poisoned_model(&dir), records(&dir));
    let poisoned = |output: &Path| {
        let mut command = sft_command(&model, &data, output, 20);
        command.args(["--set", "on_nonfinite=rollback"]);
        command
    };
    killed_and_whole(&dir.join("sft"), 20, &poisoned);

    let (model, data) = short_answers(&dir);
    let eval_data = format!("eval_data={:?}", text(&data));
    let watched = |output: &Path| {
        let mut command = trainer();
        let files = [
            "--model",
            text(&model),
            "--data",
            text(&data),
            "--output",
            text(output),
        ];
        command
            .args([
                "--stage",
                "rl",
                "--device",
                "cpu",
                "--max-steps",
                "24",
                "--seed",
                "3",
            ])
            .args(files)
            .args([
                "--tui",
                "never",
                "--set",
                &eval_data,
                "--set",
                "watch_metric=chrf",
            ])
            .args([
                "--set",
                "on_watch=rollback",
                "--set",
                "use_adaptive_entropy=true",
                "--set",
                "entropy_target=9.0",
                "--set",
                "eval_steps=4",
                "--set",
                "save_steps=3",
            ])
            .args([
                "--set",
                "num_generations=8",
                "--set",
                "max_completion_length=8",
            ])
            .args(["--set", "learning_rate=3e-3", "--set", "save_total_limit=3"])
            .args([
                "--set",
                "per_device_train_batch_size=4",
                "--set",
                "num_iterations=2",
            ]);
        command
    };
    killed_and_whole(&dir.join("rl"), 0, &watched);
    // The weight of the entropy grew with every step, and begins anew with older weights.
    let whole = dir.join("rl/whole");
    let steps = events(&whole, "step");
    let grew = |step: &Value| step["entropy_coef"].as_f64().is_some_and(|coef| coef > 0.0);
    assert!(steps.iter().any(grew), "it is never weighed");
    for back in events(&whole, "resumed") {
        let first = back["from_step"].as_u64().expect("a step") + 1;
        let again = steps.iter().rfind(|step| step["step"] == first);
        let again = again.expect("it was taken");
        assert_eq!(again["entropy_coef"], 0.0, "step {first}");
    }
}

/// Lets the run end once as it is and once killed at many places, and compares its last checkpoint,
/// which is after `last_step` steps, or wherever the run ended.
fn killed_and_whole(dir: &Path, last_step: u64, command: &dyn Fn(&Path) -> Command) {
    let [whole, cut] = ["whole", "cut"].map(|name| dir.join(name));
    let start = |output: &Path| {
        let mut command = command(output);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().expect("the program starts")
    };
    assert!(start(&whole).wait().expect("it ends").success());
    let went_back = |run: &Path| {
        let resumed = events(run, "resumed").into_iter();
        resumed.filter(|event| event["reason"].is_string()).count()
    };
    assert!(
        went_back(&whole) > 0,
        "{}: it never went back",
        dir.display()
    );
    let lines = |run: &Path| {
        let log = std::fs::read(run.join("events.jsonl")).unwrap_or_default();
        log.iter().filter(|&&byte| byte == b'\n').count()
    };
    let mut kills = 0;
    for more in [7, 24, 11, 35, 3, 19, 28, 14] {
        let mut child = start(&cut);
        let before = lines(&cut);
        let ended = loop {
            match child.try_wait().expect("a child can be asked") {
                None if lines(&cut) < before + more => sleep(Duration::from_millis(1)),
                ended => break ended,
            }
        };
        if ended.is_none() {
            child.kill().expect("it runs");
            kills += 1;
        }
        child.wait().expect("it ends");
    }
    assert!(start(&cut).wait().expect("it ends").success());
    assert!(kills > 3, "{}: {kills} kills", dir.display());
    let end = |run: &Path| {
        let end = events(run, "finished").pop().expect("an end");
        (end["reason"].clone(), end["step"].as_u64().expect("a step"))
    };
    assert_eq!(end(&whole), end(&cut), "{}", dir.display());
    let last_step = if last_step == 0 {
        end(&whole).1
    } else {
        last_step
    };
    let checkpoint = format!("checkpoint-{last_step}");
    for file in [
        "model.safetensors",
        "trainer_state/moments.safetensors",
        "trainer_state/state.json",
    ] {
        let [a, b] = [&whole, &cut].map(|run| bytes(&run.join(&checkpoint), file));
        assert!(
            a == b,
            "{}: {file} differs after {kills} kills",
            dir.display()
        );
    }
}

/// The tiny Qwen 2, whose embeddings are no head, with NaN for a token of the poison.
fn poisoned_model(dir: &Path) -> PathBuf {
    let source = golden::model_dir("qwen2");
    let tokenizer = ChatTokenizer::from_dir(&source, DocumentStart::Text).expect("a template");
    let ids = |content: &str| {
        let message = [Message::user(content)];
        let ids = tokenizer.encode_chat(&message, GenerationPrompt::Add);
        ids.expect("it renders")
    };
    let common = ids("Count to 0123456789.");
    let token = ids(POISON).into_iter().find(|id| !common.contains(id));
    let token = token.expect("a token of its own") as usize;
    let (model, _) = CausalLm::load(&source, &Device::flex(), DType::F32).expect("it loads");
    let parameters = model.parameters();
    let width = 48;
    let poisoned = model.with_parameters(|name| {
        let mut values = host_values(parameters[name].clone());
        if name == "model.embed_tokens.weight" {
            values[token * width..][..width].fill(f32::NAN);
        }
        Ok::<_, ()>(values)
    });
    let target = dir.join("model");
    std::fs::create_dir(&target).expect("a folder of this test's own");
    let poisoned = poisoned.expect("every name is known");
    poisoned.save(&target, Dtype::Float32).expect("it saves");
    copy_tokenizer(&source, &target).expect("it copies");
    target
}

fn records(dir: &Path) -> PathBuf {
    let lines: Vec<String> = (0..12)
        .map(|i| {
            let asked = match i == POISONED_RECORD {
                true => POISON.to_owned(),
                false => format!("Count to {i}."),
            };
            format!(
                r#"{{"messages": [{{"role": "user", "content": "{asked}"}}, {{"role": "assistant", "content": "{i}"}}]}}"#
            )
        })
        .collect();
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    write(dir, "records.jsonl", &lines)
}

fn sft(model: &Path, data: &Path, output: &Path, steps: u32, settings: &[&str]) -> Output {
    let mut command = sft_command(model, data, output, steps);
    let settings = settings.iter().flat_map(|setting| ["--set", setting]);
    command.args(settings).output().expect("the program starts")
}

fn sft_command(model: &Path, data: &Path, output: &Path, steps: u32) -> Command {
    let batch = format!("per_device_train_batch_size={BATCH}");
    let mut command = trainer();
    command
        .args([
            "--stage",
            "sft",
            "--model",
            text(model),
            "--data",
            text(data),
        ])
        .args([
            "--output",
            text(output),
            "--device",
            "cpu",
            "--seed",
            "3",
            "--tui",
            "never",
        ])
        .args([
            "--max-steps",
            &steps.to_string(),
            "--set",
            &batch,
            "--set",
            "shuffle=false",
        ])
        .args([
            "--set",
            "save_steps=2",
            "--set",
            "learning_rate=1e-3",
            "--set",
            "warmup_ratio=0",
        ])
        .args([
            "--set",
            "lr_scheduler_type=constant",
            "--set",
            "weight_decay=0",
        ]);
    command
}

fn bytes(checkpoint: &Path, file: &str) -> Vec<u8> {
    let path = checkpoint.join(file);
    std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}
