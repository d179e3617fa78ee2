//! What can be wrong with a model folder, in words that name the file, the place and the way out.

use std::{fmt, io, path::PathBuf};

use crate::checkpoint::Dtype;

/// Anything that can be wrong with a model folder.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// `config.json` is missing, broken, or of a model that is not supported.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The weights are missing, broken, or not those that `config.json` describes.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// Models that cannot be merged.
    #[error(transparent)]
    Merge(#[from] MergeError),
}

/// What can be wrong with a `config.json`.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file is not there or cannot be read.
    #[error(
        "{path}: cannot be read: {source}\nhint: a model is a folder in Hugging Face's layout, \
         with config.json, tokenizer.json and *.safetensors in it; give its path",
        path = .path.display()
    )]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The file is not JSON.
    #[error("{path}: not valid JSON: {source}", path = .path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// What is wrong, with line and column.
        source: serde_json::Error,
    },
    /// A key that has no safe default is not there.
    #[error("{path}: `{key}` is missing; expected {expected}", path = .path.display())]
    Missing {
        /// The file.
        path: PathBuf,
        /// The key, with a dot for each level.
        key: String,
        /// What its value should be.
        expected: String,
    },
    /// A key has a value of the wrong type or out of range.
    #[error("{path}: `{key}` is {value}; expected {expected}", path = .path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// The key, with a dot for each level.
        key: String,
        /// Its value as JSON, shortened.
        value: String,
        /// What it should be.
        expected: String,
    },
    /// A key asks for something that changes the model's mathematics and is not implemented.
    #[error("{path}: `{key}` is {value}, which is not supported\nhint: {hint}", path = .path.display())]
    Unsupported {
        /// The file.
        path: PathBuf,
        /// The key, with a dot for each level.
        key: String,
        /// Its value as JSON, shortened.
        value: String,
        /// What to do about it.
        hint: String,
    },
}

/// What can be wrong with files of weights.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// A file or folder cannot be read.
    #[error("{path}: cannot be read: {source}", path = .path.display())]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A folder holds no safetensors.
    #[error(
        "{dir}: no weights: neither model.safetensors nor model.safetensors.index.json is there\nhint: {hint}",
        dir = .dir.display()
    )]
    NoWeights {
        /// The folder.
        dir: PathBuf,
        /// What to do, by what the folder does hold.
        hint: &'static str,
    },
    /// A file is not whole or not safetensors.
    #[error(
        "{path}: {problem}\nhint: the file is damaged or its copy was cut short; fetch it again",
        path = .path.display()
    )]
    Broken {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// `model.safetensors.index.json` does not describe the folder it lies in.
    #[error(
        "{path}: {problem}\nhint: the folder is incomplete or its index belongs to another model; fetch it again",
        path = .path.display()
    )]
    Index {
        /// The index.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// A tensor was asked for that is not there.
    #[error("{place}: no tensor `{name}`", place = .place.display())]
    NoTensor {
        /// The file or folder.
        place: PathBuf,
        /// The tensor.
        name: String,
    },
    /// A tensor holds numbers of a kind that is not read.
    #[error(
        "{path}: tensor `{name}` is {found}; expected one of {expected}\n\
         hint: quantized checkpoints cannot be trained; use the one in bfloat16 or float32",
        path = .path.display(), expected = Dtype::SAFETENSORS_NAMES
    )]
    Dtype {
        /// The file.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// Its kind of number, as safetensors spells it.
        found: String,
    },
    /// The weights are not those of the model in `config.json`.
    #[error("{dir}: the weights do not fit config.json:{problems}\nhint: both must come from the same model",
        dir = .dir.display(), problems = Lines(.problems))]
    DoesNotFit {
        /// The folder.
        dir: PathBuf,
        /// Every tensor that does not fit, in the model's order; never empty.
        problems: Vec<TensorProblem>,
    },
    /// A file cannot be written.
    #[error("{path}: cannot be written: {source}\nhint: {hint}", path = .path.display(), hint = write_hint(.source, *.bytes))]
    Write {
        /// The file.
        path: PathBuf,
        /// How large it would have become.
        bytes: u64,
        /// What the system says.
        source: io::Error,
    },
}

/// Why one tensor does not fit the model.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TensorProblem {
    /// It is not there.
    #[error("tensor `{name}` of shape {expected:?} is missing")]
    Missing {
        /// The tensor.
        name: String,
        /// Its shape by `config.json`.
        expected: Vec<usize>,
    },
    /// It has another shape.
    #[error("tensor `{name}` in {file} has shape {found:?}, config.json asks for {expected:?}")]
    Shape {
        /// The tensor, as the file names it.
        name: String,
        /// The file's name.
        file: String,
        /// Its shape in the file.
        found: Vec<usize>,
        /// Its shape by `config.json`.
        expected: Vec<usize>,
    },
    /// It holds numbers of a kind that is not read.
    #[error("tensor `{name}` in {file} is {found}, expected one of {expected}", expected = Dtype::SAFETENSORS_NAMES)]
    Dtype {
        /// The tensor, as the file names it.
        name: String,
        /// The file's name.
        file: String,
        /// Its kind of number, as safetensors spells it.
        found: String,
    },
}

/// Two models that are not of one architecture.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{other} cannot be merged with {first}:{differences}\n\
     hint: merge checkpoints of one architecture, such as two that were trained from one model",
    other = .other.display(), first = .first.display(), differences = Lines(.differences)
)]
pub struct MergeError {
    /// The first model's folder.
    pub first: PathBuf,
    /// The other's.
    pub other: PathBuf,
    /// What differs, a sentence each; never empty.
    pub differences: Vec<String>,
}

/// The first few problems, one a line, and how many more there are.
struct Lines<'a, T>(&'a [T]);

impl<T: fmt::Display> fmt::Display for Lines<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 4;
        for problem in self.0.iter().take(SHOWN) {
            write!(f, "\n  {problem}")?;
        }
        match self.0.len().saturating_sub(SHOWN) {
            0 => Ok(()),
            more => write!(f, "\n  … and {more} more"),
        }
    }
}

fn write_hint(source: &io::Error, bytes: u64) -> String {
    match source.kind() {
        io::ErrorKind::FileTooLarge => format!(
            "this file needs {bytes} bytes, more than one file may have here; raise the limit \
             (`ulimit -f`), or point `--output` at another file system"
        ),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => format!(
            "the disk is full; this file alone needs {bytes} bytes; free space on that disk, keep fewer checkpoints \
             (`save_total_limit`), or point `--output` at another disk"
        ),
        io::ErrorKind::AlreadyExists => {
            "nothing is ever overwritten; remove the file or choose another folder".to_owned()
        }
        _ => "check that the folder exists and may be written to".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_named_with_the_space_needed() {
        let error = CheckpointError::Write {
            path: "/run/checkpoint-5/model.safetensors".into(),
            bytes: 12_345,
            source: io::ErrorKind::StorageFull.into(),
        };
        let message = error.to_string();
        assert!(message.starts_with("/run/checkpoint-5/model.safetensors: cannot be written"));
        assert!(message.contains("12345 bytes") && message.contains("--output"));
    }

    #[test]
    fn many_problems_are_shown_as_a_few_and_a_count() {
        let missing = |i: usize| TensorProblem::Missing {
            name: format!("t{i}"),
            expected: vec![i],
        };
        let error = CheckpointError::DoesNotFit {
            dir: "m".into(),
            problems: (0..10).map(missing).collect(),
        };
        let message = error.to_string();
        assert!(message.contains("`t3`") && !message.contains("`t4`"));
        assert!(message.contains("and 6 more"));
    }
}
