//! `trainer merge`, as a user calls it.

use std::path::{Path, PathBuf};

use burn::tensor::{DType, Device};
use model::checkpoint::{Checkpoint, Dtype};
use model::{CausalLm, host_values};

use crate::checkpoints::scratch;
use crate::golden;
use crate::program::{conversations, run, succeed, text, write};

/// A model of the same architecture with other weights, and no tokenizer.
fn other_model(dir: &Path, family: &str) -> PathBuf {
    let (model, _) = CausalLm::load(&golden::model_dir(family), &Device::flex(), DType::F32)
        .expect("the golden model loads");
    let parameters = model.parameters();
    let moved = model.with_parameters(|name| {
        let values = host_values(parameters[name].clone());
        let move_one = |(i, value): (usize, f32)| 0.8 * value + 0.05 * (i as f32).sin();
        Ok::<_, ()>(values.into_iter().enumerate().map(move_one).collect())
    });
    let other = dir.join(format!("other-{family}"));
    std::fs::create_dir(&other).expect("the folder is new");
    let saved = moved.expect("every name is known");
    saved.save(&other, Dtype::Float32).expect("it saves");
    other
}

/// What a file of this dtype holds for a float32: the nearest value, a tie to the even one.
fn stored(dtype: Dtype, value: f32) -> f32 {
    let bits = value.to_bits();
    match dtype {
        Dtype::Float32 => value,
        Dtype::Bfloat16 => f32::from_bits((bits + 0x7fff + ((bits >> 16) & 1)) & 0xffff_0000),
        other => panic!("no golden model is stored in {other:?}"),
    }
}

#[test]
fn a_merge_is_a_model_folder_with_the_first_models_files() {
    for family in golden::FAMILIES {
        let dir = scratch(&format!("merge-{family}"));
        let first = golden::model_dir(family);
        let second = other_model(&dir, family);
        let output = dir.join("merged");
        let printed = succeed(&[
            "merge",
            "--model",
            text(&first),
            "--model",
            text(&second),
            "--weight",
            "0.5",
            "--output",
            text(&output),
        ]);
        assert_eq!(
            String::from_utf8_lossy(&printed.stdout).trim(),
            text(&output)
        );
        for file in ["config.json", "tokenizer.json", "tokenizer_config.json"] {
            let [kept, was] = [&output, &first].map(|dir| std::fs::read(dir.join(file)));
            assert_eq!(kept.expect(file), was.expect(file), "{family}: {file}");
        }
        let [a, b, merged] =
            [&first, &second, &output].map(|dir| Checkpoint::open(dir).expect("it opens"));
        assert_eq!(merged.dtype(), a.dtype(), "{family}");
        for name in a.names() {
            let dtype = a.tensor(name).expect(name).dtype;
            let [a, b, merged] = [&a, &b, &merged].map(|c| c.read_f32(name).expect(name));
            for ((a, b), merged) in a.iter().zip(b).zip(merged) {
                let mean = stored(dtype, 0.5 * a + 0.5 * b);
                assert_eq!(merged.to_bits(), mean.to_bits(), "{family}: {name}");
            }
        }
        succeed(&[
            "generate",
            "--model",
            text(&output),
            "--prompt",
            "Hi",
            "--max-new-tokens",
            "2",
            "--device",
            "cpu",
        ]);
    }
}

#[test]
fn a_sweep_shows_every_weight_and_keeps_the_lowest_relative_loss() {
    let dir = scratch("merge-sweep");
    let first = golden::model_dir("qwen3");
    let second = other_model(&dir, "qwen3");
    let skills = conversations(&dir);
    let documents = write(
        &dir,
        "documents.jsonl",
        &[r#"{"text": "The old stone tower."}"#, r#"{"text": "a b"}"#],
    );
    let output = dir.join("merged");
    let printed = succeed(&[
        "merge",
        "--model",
        text(&first),
        "--model",
        text(&second),
        "--sweep",
        "0,0.5,1",
        "--data",
        text(&skills),
        text(&documents),
        "--device",
        "cpu",
        "--output",
        text(&output),
    ]);
    let printed = String::from_utf8_lossy(&printed.stdout);
    let rows: Vec<Vec<&str>> = printed
        .lines()
        .take_while(|line| !line.is_empty())
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert_eq!(
        rows[0],
        ["weight", "sft.jsonl", "documents.jsonl", "relative", "loss"]
    );
    let names: Vec<&str> = rows[1..].iter().map(|row| row[0]).collect();
    assert_eq!(names, ["first", "0", "0.5", "1", "second"], "{printed}");
    // The ends of the line between two models are the models.
    assert_eq!(rows[1][1..], rows[2][1..], "{printed}");
    assert_eq!(rows[4][1..], rows[5][1..], "{printed}");
    let ratio = |row: &[&str]| row[3].parse::<f64>().expect("a number");
    let best = rows[2..5]
        .iter()
        .min_by(|a, b| ratio(a).total_cmp(&ratio(b)));
    let weight = best.expect("three weights")[0];
    assert!(
        printed.contains(&format!("best weight {weight}, relative loss")),
        "{printed}"
    );
    let again = dir.join("again");
    succeed(&[
        "merge",
        "--model",
        text(&first),
        "--model",
        text(&second),
        "--weight",
        weight,
        "--output",
        text(&again),
    ]);
    let weights = |dir: &Path| std::fs::read(dir.join("model.safetensors")).expect("weights");
    assert!(
        weights(&again) == weights(&output),
        "another merge was kept"
    );
    let left: Vec<String> = std::fs::read_dir(&dir)
        .expect("the folder is there")
        .map(|entry| entry.expect("readable").file_name())
        .map(|name| name.to_string_lossy().into_owned())
        .filter(|name| name.starts_with(".tmp"))
        .collect();
    assert_eq!(left, [""; 0], "merges that were not kept");
}

#[test]
fn a_merge_that_cannot_be_is_refused_before_anything_is_written() {
    let dir = scratch("merge-refused");
    let [gemma, qwen] = ["gemma2", "qwen2"].map(golden::model_dir);
    let other = other_model(&dir, "gemma2");
    let (gemma, qwen, other) = (text(&gemma), text(&qwen), text(&other));
    let output = dir.join("merged");
    let cases: [(&[&str], i32, &[&str]); 7] = [
        (
            &["--model", gemma, "--model", qwen, "--weight", "0.5"],
            1,
            &["cannot be merged", "Gemma2", "Qwen2"],
        ),
        (
            &["--model", gemma, "--weight", "0.5"],
            2,
            &["--model twice or more"],
        ),
        (
            &[
                "--model", gemma, "--model", other, "--weight", "0.5", "--weight", "0.6",
            ],
            2,
            &["add up to 1.1"],
        ),
        (
            &["--model", gemma, "--model", other, "--weight", "nan"],
            2,
            &["expected a finite number"],
        ),
        (&["--model", gemma, "--model", other], 2, &["--weight"]),
        (
            &["--model", gemma, "--model", other, "--sweep", "0.5"],
            2,
            &["--data"],
        ),
        (
            &["--model", gemma, "--model", "no-folder", "--weight", "0.5"],
            1,
            &["no-folder", "config.json"],
        ),
    ];
    for (args, code, words) in cases {
        let args = [&["merge", "--output", text(&output)], args].concat();
        let got = run(&args);
        let stderr = String::from_utf8_lossy(&got.stderr);
        assert_eq!(got.status.code(), Some(code), "{args:?}\n{stderr}");
        for word in words {
            assert!(stderr.contains(word), "no `{word}` in\n{stderr}");
        }
        assert!(!output.exists(), "{args:?}");
    }
    std::fs::create_dir(&output).expect("it is not there");
    let args = [
        "merge", "--model", gemma, "--model", other, "--weight", "-0.5",
    ];
    let got = run(&[&args[..], &["--output", text(&output)]].concat());
    let stderr = String::from_utf8_lossy(&got.stderr);
    assert_eq!(got.status.code(), Some(2), "{stderr}");
    assert!(stderr.contains("exists"), "{stderr}");
}
