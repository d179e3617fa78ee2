//! Whether the weights are those of the model in `config.json`, found out before anything is
//! loaded.

use std::{fmt, path::Path};

use super::{Checkpoint, Dtype, file::TensorFile, names};
use crate::{
    config::{EMBEDDING, LM_HEAD, ModelConfig, TensorSpec},
    error::{CheckpointError, TensorProblem},
};

/// What a checkpoint that fits its configuration holds.
#[derive(Clone, Debug, PartialEq)]
pub struct LoadReport {
    /// Parameters of the model, a tied head counted once.
    pub num_parameters: u64,
    /// The dtype of the embedding; others may be in another.
    pub dtype: Dtype,
    /// The vision half, which is not loaded: a saved checkpoint should carry these tensors over as
    /// they are.
    pub vision: Vec<String>,
    /// What a person should be told.
    pub warnings: Vec<LoadWarning>,
}

/// Something odd about a checkpoint that does not stop it from being used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LoadWarning {
    /// `config.json` ties the head to the embedding, and yet the file holds another head. It is not
    /// used: transformers did likewise until version 4, and since 5 uses the head and unties the
    /// two.
    TiedHeadDiffers {
        /// The head, as the file names it.
        name: String,
    },
    /// Tensors that the model has no place for. They are not used.
    UnknownTensors {
        /// Their names in the file.
        names: Vec<String>,
    },
}

impl fmt::Display for LoadWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TiedHeadDiffers { name } => write!(
                f,
                "`{name}` differs from the embedding, but config.json ties them: the embedding is \
                 used for both \
                 (`tie_word_embeddings` false in config.json would use `{name}`)"
            ),
            Self::UnknownTensors { names } => {
                const SHOWN: usize = 3;
                let shown: Vec<String> =
                    names.iter().take(SHOWN).map(|n| format!("`{n}`")).collect();
                write!(
                    f,
                    "not part of this model and not loaded: {}",
                    shown.join(", ")
                )?;
                match names.len().saturating_sub(SHOWN) {
                    0 => Ok(()),
                    more => write!(f, " and {more} more"),
                }
            }
        }
    }
}

impl Checkpoint {
    /// Checks that every tensor of a model is there, in its shape and in a readable dtype.
    ///
    /// # Errors
    /// [`CheckpointError::DoesNotFit`] with every tensor that does not.
    pub fn validate(&self, config: &ModelConfig) -> Result<LoadReport, CheckpointError> {
        let expected = config.expected_tensors();
        let problems: Vec<TensorProblem> = expected
            .iter()
            .filter_map(|spec| self.problem(spec, config))
            .collect();
        if !problems.is_empty() {
            return Err(CheckpointError::DoesNotFit {
                dir: self.dir().into(),
                problems,
            });
        }
        let mut warnings = Vec::new();
        if config.tie_word_embeddings && self.head_differs()? {
            warnings.push(LoadWarning::TiedHeadDiffers {
                name: self.stored_name(LM_HEAD).unwrap_or(LM_HEAD).to_owned(),
            });
        }
        let (vision, unknown) = self.not_loaded(&expected);
        if !unknown.is_empty() {
            warnings.push(LoadWarning::UnknownTensors { names: unknown });
        }
        Ok(LoadReport {
            num_parameters: config.num_parameters(),
            dtype: self.tensor(EMBEDDING)?.dtype,
            vision,
            warnings,
        })
    }

    /// What is wrong with a tensor of the model, if anything.
    fn problem(&self, spec: &TensorSpec, config: &ModelConfig) -> Option<TensorProblem> {
        let mut located = self.locate(&spec.name);
        if located.is_none() && spec.name == EMBEDDING && config.tie_word_embeddings {
            located = self.locate(LM_HEAD);
        }
        let Some((file, place)) = located else {
            return Some(TensorProblem::Missing {
                name: spec.name.clone(),
                expected: spec.shape.clone(),
            });
        };
        let info = file.info(&place.stored_name)?;
        if info.shape != spec.shape {
            return Some(TensorProblem::Shape {
                name: place.stored_name.clone(),
                file: file_name(file),
                found: info.shape.clone(),
                expected: spec.shape.clone(),
            });
        }
        Dtype::from_safetensors(info.dtype)
            .is_none()
            .then(|| TensorProblem::Dtype {
                name: place.stored_name.clone(),
                file: file_name(file),
                found: info.dtype.to_string(),
            })
    }

    /// Whether the file holds a head that is not its embedding.
    fn head_differs(&self) -> Result<bool, CheckpointError> {
        if !self.contains(LM_HEAD) {
            return Ok(false);
        }
        let (head, embedding) = (self.tensor(LM_HEAD)?, self.tensor(EMBEDDING)?);
        Ok(head.dtype != embedding.dtype
            || head.shape != embedding.shape
            || head.bytes != embedding.bytes)
    }

    /// Names in the file of the vision half, and of what has no place in the model.
    fn not_loaded(&self, expected: &[TensorSpec]) -> (Vec<String>, Vec<String>) {
        let known: std::collections::HashSet<&str> =
            expected.iter().map(|t| t.name.as_str()).collect();
        let stored = |name: &str| self.stored_name(name).unwrap_or(name).to_owned();
        let rest = self
            .names()
            .filter(|name| !known.contains(name) && *name != LM_HEAD && !names::is_computed(name));
        let (vision, unknown): (Vec<&str>, Vec<&str>) =
            rest.partition(|name| names::is_vision(name));
        (
            vision.into_iter().map(stored).collect(),
            unknown.into_iter().map(stored).collect(),
        )
    }
}

fn file_name(file: &TensorFile) -> String {
    let name = file.path().file_name().map(Path::new);
    name.unwrap_or(file.path()).display().to_string()
}
