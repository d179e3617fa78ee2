//! Folders that are not whole, and names of other makers.

use std::{fs, path::Path};

use serde_json::{Value, json};

use super::{Scratch, assert_says, specs, tiny, values, write};
use crate::{
    checkpoint::{Checkpoint, Dtype, TensorFile, read_tensors, write_tensors},
    error::CheckpointError,
};

fn open_error(dir: &Path) -> CheckpointError {
    Checkpoint::open(dir).expect_err("the folder is broken")
}

/// A sound checkpoint of several shards.
fn sharded() -> Scratch {
    let dir = Scratch::new();
    let config = tiny();
    write(
        &dir,
        &config,
        &specs(&config.expected_tensors(), Dtype::Bfloat16),
        4000,
    );
    dir
}

fn change_index(dir: &Path, change: impl FnOnce(&mut Value)) {
    let path = dir.join("model.safetensors.index.json");
    let mut index: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    change(&mut index);
    fs::write(path, index.to_string()).unwrap();
}

#[test]
fn a_folder_without_safetensors_is_named_with_what_to_do() {
    let dir = Scratch::new();
    assert_says(
        &open_error(&dir),
        &["no weights", "model.safetensors", "hint: give a folder"],
    );
    for (file, hint) in [
        ("model-00001-of-00002.safetensors", "index.json"),
        ("model.gguf", "GGUF"),
        ("adapter_model.safetensors", "LoRA"),
        ("pytorch_model.bin", "safe_serialization"),
    ] {
        fs::write(dir.join(file), b"").unwrap();
        assert_says(&open_error(&dir), &["safetensors", hint]);
    }
    assert_says(&open_error(&dir.join("no")), &["/no: cannot be read"]);
    assert_says(
        &open_error(&dir.join("model.gguf")),
        &["model.gguf: cannot be read"],
    );
}

#[test]
fn truncated_and_junk_files_are_named() {
    let dir = Scratch::new();
    let config = tiny();
    write(
        &dir,
        &config,
        &specs(&config.expected_tensors(), Dtype::Float32),
        u64::MAX,
    );
    let path = dir.join("model.safetensors");
    let whole = fs::read(&path).unwrap();
    for length in [0, 7, 8, 100, whole.len() / 2, whole.len() - 1] {
        fs::write(&path, &whole[..length]).unwrap();
        assert_says(
            &open_error(&dir),
            &["model.safetensors: ", "hint: the file is damaged"],
        );
    }
    fs::write(&path, [0xff; 4096]).unwrap();
    assert_says(
        &open_error(&dir),
        &["model.safetensors: not a safetensors file", "ff"],
    );
    fs::write(&path, [&whole[..], b"more"].concat()).unwrap();
    assert_says(&open_error(&dir), &["behind the last tensor"]);
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    assert_says(
        &open_error(&dir),
        &["model.safetensors: cannot be read: it is not a file"],
    );
}

#[test]
fn an_index_that_does_not_fit_its_folder_is_named() {
    let dir = sharded();
    change_index(&dir, |index| {
        index["weight_map"]["model.extra.weight"] = json!("model-00001-of-00001.safetensors")
    });
    assert_says(
        &open_error(&dir),
        &[
            "index.json",
            "file model-00001-of-00001.safetensors",
            "`model.extra.weight`",
            "is missing",
        ],
    );

    let dir = sharded();
    let first = |index: &Value| index["weight_map"]["model.embed_tokens.weight"].clone();
    change_index(&dir, |index| {
        index["weight_map"]["model.extra.weight"] = first(index)
    });
    assert_says(
        &open_error(&dir),
        &["tensor `model.extra.weight` is not in model-00001-of-"],
    );

    for outside in [
        "../model.safetensors",
        "/etc/passwd",
        "a/b.safetensors",
        ".",
        "",
    ] {
        let dir = sharded();
        change_index(&dir, |index| {
            index["weight_map"]["model.norm.weight"] = json!(outside)
        });
        assert_says(
            &open_error(&dir),
            &["`model.norm.weight` should be in a file of this folder"],
        );
    }
    for content in ["{", "[]", "{\"weight_map\": 3}"] {
        let dir = sharded();
        fs::write(dir.join("model.safetensors.index.json"), content).unwrap();
        assert_says(&open_error(&dir), &["model.safetensors.index.json: "]);
    }
}

#[test]
fn a_truncated_shard_is_named() {
    let dir = sharded();
    let shard = fs::read_dir(&*dir).unwrap().map(|e| e.unwrap().path());
    let shard = shard
        .into_iter()
        .find(|p| p.to_string_lossy().contains("model-00002"))
        .unwrap();
    let whole = fs::read(&shard).unwrap();
    fs::write(&shard, &whole[..whole.len() - 1]).unwrap();
    assert_says(&open_error(&dir), &["model-00002-of-", "cut short"]);
}

#[test]
fn a_tensor_that_the_index_forgets_is_found_all_the_same() {
    let dir = sharded();
    change_index(&dir, |index| {
        index["weight_map"]
            .as_object_mut()
            .unwrap()
            .shift_remove("model.layers.0.mlp.up_proj.weight");
    });
    Checkpoint::open(&*dir).unwrap().validate(&tiny()).unwrap();
}

#[test]
fn tensors_of_a_multimodal_checkpoint_go_by_the_decoders_names() {
    let config = tiny();
    for prefix in ["language_model.model.", "model.language_model."] {
        let dir = Scratch::new();
        let mut tensors = specs(&config.expected_tensors(), Dtype::Bfloat16);
        for tensor in &mut tensors {
            tensor.name = tensor.name.replacen("model.", prefix, 1);
        }
        tensors.push(tensors[0].clone());
        tensors.last_mut().unwrap().name = "vision_tower.vision_model.head.weight".into();
        write(&dir, &config, &tensors, u64::MAX);
        let checkpoint = Checkpoint::open(&*dir).unwrap();
        let report = checkpoint.validate(&config).unwrap();
        assert_eq!(report.vision, ["vision_tower.vision_model.head.weight"]);
        assert_eq!(report.warnings, []);
        let stored = format!("{prefix}norm.weight");
        assert_eq!(
            checkpoint.stored_name("model.norm.weight"),
            Some(stored.as_str())
        );
        assert_eq!(
            checkpoint.read_f32("model.norm.weight").unwrap(),
            values(&stored, 24)
        );
    }
}

#[test]
fn two_names_of_one_tensor_are_refused() {
    let dir = Scratch::new();
    let one: (&[usize], &[f32]) = (&[1], &[1.0]);
    let names = ["model.norm.weight", "language_model.model.norm.weight"];
    let tensors = names.map(|name| (name, one.0, one.1));
    write_tensors(&dir.join("model.safetensors"), &tensors).unwrap();
    assert_says(
        &open_error(&dir),
        &["`language_model.model.norm.weight`", "name the same tensor"],
    );
}

#[test]
fn a_missing_tensor_and_one_of_integers_are_named() {
    let dir = Scratch::new();
    let path = dir.join("model.safetensors");
    let header = br#"{"count":{"dtype":"I64","shape":[1],"data_offsets":[0,8]}}"#;
    fs::write(
        &path,
        [&(header.len() as u64).to_le_bytes()[..], header, &[0; 8]].concat(),
    )
    .unwrap();
    let file = TensorFile::open(&path).unwrap();
    assert_says(
        &file.tensor("model.norm.weight").unwrap_err(),
        &["model.safetensors", "`model.norm.weight`"],
    );
    assert_says(
        &file.tensor("count").unwrap_err(),
        &["`count` is I64", "BF16"],
    );
    assert_says(&read_tensors(&path).unwrap_err(), &["`count` is I64"]);
    let checkpoint = Checkpoint::open(&*dir).unwrap();
    assert_eq!(checkpoint.dtype(), None);
    assert_says(
        &checkpoint.read_f32("lm_head.weight").unwrap_err(),
        &["no tensor `lm_head.weight`"],
    );
}

#[test]
fn reading_ahead_is_harmless_for_any_name() {
    let dir = sharded();
    let checkpoint = Checkpoint::open(&*dir).unwrap();
    for name in checkpoint.names().chain(["nothing"]) {
        checkpoint.prefetch(name);
    }
}
