//! Which files of a folder hold the weights: one `model.safetensors`, or those of
//! `model.safetensors.index.json`.

use std::{
    collections::BTreeMap,
    fs,
    path::{Component, Path, PathBuf},
};

use serde_json::Value;

use super::file::TensorFile;
use crate::error::CheckpointError;

/// A checkpoint of one file.
pub(super) const SINGLE: &str = "model.safetensors";

/// The list of files of a checkpoint of many.
pub(super) const INDEX: &str = "model.safetensors.index.json";

/// Files of weights, and for each tensor, by its name in the file, which of them holds it.
pub(super) type Shards = (Vec<TensorFile>, BTreeMap<String, usize>);

/// Opens the files of weights in a folder; a single file goes before an index, as in transformers.
pub(super) fn open(dir: &Path) -> Result<Shards, CheckpointError> {
    let read_error = |source| CheckpointError::Read {
        path: dir.into(),
        source,
    };
    let exists = |name: &str| fs::exists(dir.join(name)).map_err(read_error);
    if exists(SINGLE)? {
        let file = TensorFile::open(dir.join(SINGLE))?;
        let places = file.names().map(|name| (name.to_owned(), 0)).collect();
        Ok((vec![file], places))
    } else if exists(INDEX)? {
        open_indexed(dir, &dir.join(INDEX))
    } else {
        let entries = fs::read_dir(dir).map_err(read_error)?;
        let names =
            entries.map(|entry| entry.map(|e| e.file_name().to_string_lossy().into_owned()));
        let names: Vec<String> = names.collect::<Result<_, _>>().map_err(read_error)?;
        Err(CheckpointError::NoWeights {
            dir: dir.into(),
            hint: what_to_do(&names),
        })
    }
}

fn open_indexed(dir: &Path, path: &Path) -> Result<Shards, CheckpointError> {
    let index_error = |problem: String| CheckpointError::Index {
        path: path.into(),
        problem,
    };
    let json = fs::read(path).map_err(|source| CheckpointError::Read {
        path: path.into(),
        source,
    })?;
    let index: Value =
        serde_json::from_slice(&json).map_err(|e| index_error(format!("not valid JSON: {e}")))?;
    let Some(weight_map) = index.get("weight_map").and_then(Value::as_object) else {
        return Err(index_error(
            "`weight_map` should be an object of tensor names and file names".into(),
        ));
    };
    let mut files: Vec<TensorFile> = Vec::new();
    let mut numbers: BTreeMap<&str, usize> = BTreeMap::new();
    let mut places: BTreeMap<String, usize> = BTreeMap::new();
    for (tensor, file_name) in weight_map {
        let Some(file_name) = file_name.as_str().filter(|name| is_plain_name(name)) else {
            return Err(index_error(format!(
                "tensor `{tensor}` should be in a file of this folder, not in {file_name}"
            )));
        };
        let number = match numbers.get(file_name) {
            Some(number) => *number,
            None => {
                files.push(open_shard(dir.join(file_name), tensor, &index_error)?);
                numbers.insert(file_name, files.len() - 1);
                files.len() - 1
            }
        };
        if files[number].info(tensor).is_none() {
            return Err(index_error(format!(
                "tensor `{tensor}` is not in {file_name}"
            )));
        }
        places.insert(tensor.clone(), number);
    }
    // transformers loads whole files, so what the index forgets counts too.
    for (number, file) in files.iter().enumerate() {
        for name in file.names() {
            places.entry(name.to_owned()).or_insert(number);
        }
    }
    Ok((files, places))
}

fn open_shard(
    path: PathBuf,
    tensor: &str,
    index_error: &impl Fn(String) -> CheckpointError,
) -> Result<TensorFile, CheckpointError> {
    let name = path
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    match TensorFile::open(path) {
        Err(CheckpointError::Read { source, .. })
            if source.kind() == std::io::ErrorKind::NotFound =>
        {
            Err(index_error(format!(
                "file {name}, which should hold tensor `{tensor}`, is missing"
            )))
        }
        opened => opened,
    }
}

/// A file name and nothing else, so that an index cannot reach outside its folder.
fn is_plain_name(name: &str) -> bool {
    let mut components = Path::new(name).components();
    matches!(components.next(), Some(Component::Normal(first)) if first == name)
        && components.next().is_none()
}

/// What the files of a folder without `model.safetensors` suggest.
fn what_to_do(names: &[String]) -> &'static str {
    let any = |found: fn(&str) -> bool| names.iter().any(|name| found(name));
    if any(|name| name.starts_with("pytorch_model") || name.ends_with(".pth")) {
        "the weights here are PyTorch's; save them with `save_pretrained(…, safe_serialization=True)`"
    } else if any(|name| name.starts_with("adapter_model")) {
        "this is a LoRA adapter; merge it into its base model and give that folder"
    } else if any(|name| name.ends_with(".gguf")) {
        "the weights here are GGUF, which cannot be trained; use the original safetensors"
    } else if any(|name| name.ends_with(".safetensors")) {
        "files of another name are; fetch model.safetensors.index.json too, which lists them"
    } else {
        "give a folder that holds a whole model"
    }
}
