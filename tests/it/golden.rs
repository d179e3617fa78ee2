//! The golden values of `tests/golden/`, see its README.

use std::path::PathBuf;

use model::checkpoint::TensorFile;
use serde_json::Value;

pub const FAMILIES: [&str; 4] = ["gemma2", "gemma3", "qwen2", "qwen3"];

/// Where the tests were built, or, for a binary that was carried to another machine, beside the
/// package's folder that it runs in.
pub fn dir() -> PathBuf {
    let built = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/golden"));
    if built.exists() {
        built
    } else {
        PathBuf::from("../tests/golden")
    }
}

pub fn model_dir(family: &str) -> PathBuf {
    dir().join("models").join(family)
}

pub fn json(path: &str) -> Value {
    let path = dir().join(path);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// `golden.safetensors` of a family.
pub struct Tensors(TensorFile);

impl Tensors {
    pub fn of(family: &str) -> Self {
        let path = model_dir(family).join("golden.safetensors");
        Tensors(TensorFile::open(path).expect("the golden file is there"))
    }

    pub fn f32(&self, name: &str) -> Vec<f32> {
        self.0
            .tensor(name)
            .unwrap_or_else(|e| panic!("{name}: {e}"))
            .to_f32()
    }

    pub fn names(&self) -> Vec<String> {
        self.0.names().map(str::to_owned).collect()
    }
}

pub fn numbers(value: &Value) -> Vec<f64> {
    let numbers = value.as_array().expect("a list of numbers").iter();
    numbers.map(|v| v.as_f64().expect("a number")).collect()
}

pub fn ids(value: &Value) -> Vec<u32> {
    let ids = value.as_array().expect("a list of ids").iter();
    ids.map(|v| v.as_u64().expect("an id") as u32).collect()
}
