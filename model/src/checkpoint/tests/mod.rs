//! Checkpoints written to a folder, read back, and broken.

mod fitting;
mod merging;
mod reading;
mod writing;

use std::{
    borrow::Cow,
    ops::Deref,
    path::{Path, PathBuf},
    sync::atomic::{AtomicUsize, Ordering},
};

use super::{Dtype, TensorData, TensorToWrite, Written, write_checkpoint};
use crate::{
    config::{Gemma2Shape, ModelConfig, TensorSpec},
    error::CheckpointError,
};

/// A folder that goes away with the test.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let unique = format!(
            "keep-{}-{}",
            std::process::id(),
            COUNT.fetch_add(1, Ordering::Relaxed)
        );
        let dir = std::env::temp_dir().join(unique);
        std::fs::create_dir(&dir).unwrap();
        Self(dir)
    }
}

impl Deref for Scratch {
    type Target = Path;

    fn deref(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).unwrap();
    }
}

/// A model of some 10,000 parameters.
fn tiny() -> ModelConfig {
    let shape = Gemma2Shape {
        vocab_size: 40,
        hidden_size: 24,
        intermediate_size: 30,
        num_hidden_layers: 2,
        head_dim: 6,
        ..Gemma2Shape::default()
    };
    ModelConfig::demo_gemma2(&shape).unwrap()
}

/// Values that bfloat16 and float16 hold exactly and that differ from tensor to tensor.
fn values(name: &str, num_elements: usize) -> Vec<f32> {
    let start = name.bytes().map(usize::from).sum::<usize>();
    (0..num_elements)
        .map(|i| ((start + 7 * i) % 251) as f32 / 8.0 - 15.0)
        .collect()
}

fn specs(tensors: &[TensorSpec], dtype: Dtype) -> Vec<TensorToWrite> {
    let spec = |t: &TensorSpec| TensorToWrite {
        name: t.name.clone(),
        shape: t.shape.clone(),
        dtype,
    };
    tensors.iter().map(spec).collect()
}

/// Writes `tensors`, filled with [`values`].
fn write(
    dir: &Path,
    config: &ModelConfig,
    tensors: &[TensorToWrite],
    max_shard_bytes: u64,
) -> Written {
    write_checkpoint(dir, config.raw(), tensors, max_shard_bytes, |tensor| {
        let num_elements = tensor.shape.iter().product();
        let values = values(&tensor.name, num_elements);
        Ok::<_, CheckpointError>(TensorData::Float32(Cow::Owned(values)))
    })
    .unwrap()
}

#[track_caller]
fn assert_says(error: &CheckpointError, words: &[&str]) {
    let message = error.to_string();
    for word in words {
        assert!(message.contains(word), "{word:?} is not in: {message}");
    }
}
