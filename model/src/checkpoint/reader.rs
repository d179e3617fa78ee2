//! The weights of a model folder, tensor by tensor.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use super::{
    dtype::Dtype,
    file::{TensorFile, TensorView},
    names, shards,
};
use crate::{
    config::{EMBEDDING, LM_HEAD},
    error::CheckpointError,
};

/// An open checkpoint. Tensors go by the names of [`crate::config::ModelConfig::expected_tensors`],
/// whatever prefix the files put before them.
#[derive(Debug)]
pub struct Checkpoint {
    dir: PathBuf,
    files: Vec<TensorFile>,
    places: BTreeMap<String, Place>,
}

/// Where a tensor lies.
#[derive(Debug)]
pub(super) struct Place {
    /// Which of the files.
    file: usize,
    /// Its name there.
    pub stored_name: String,
}

impl Checkpoint {
    /// Opens the weights of a model folder and reads their headers, not their values.
    ///
    /// # Errors
    /// The folder holds no safetensors, or one of its files is missing, cut short or damaged.
    pub fn open(dir: impl AsRef<Path>) -> Result<Self, CheckpointError> {
        let dir = dir.as_ref();
        let (files, stored) = shards::open(dir)?;
        let mut places = BTreeMap::new();
        for (stored_name, file) in stored {
            let name = names::canonical(&stored_name);
            let place = Place {
                file,
                stored_name: stored_name.clone(),
            };
            if let Some(other) = places.insert(name, place) {
                return Err(CheckpointError::Broken {
                    path: files[file].path().into(),
                    problem: format!(
                        "`{}` and `{stored_name}` name the same tensor",
                        other.stored_name
                    ),
                });
            }
        }
        Ok(Self {
            dir: dir.into(),
            files,
            places,
        })
    }

    /// The folder.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Names of all its tensors, sorted; those that are no part of the decoder have the file's
    /// name.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.places.keys().map(String::as_str)
    }

    /// Whether there is a tensor of this name.
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        self.places.contains_key(name)
    }

    /// What the file calls a tensor, to save it under the same name.
    #[must_use]
    pub fn stored_name(&self, name: &str) -> Option<&str> {
        Some(&self.places.get(name)?.stored_name)
    }

    /// A tensor's dtype, shape and bytes, still on disk.
    ///
    /// A checkpoint that has only the head of the two tied tensors gives that for the embedding.
    ///
    /// # Errors
    /// There is none of that name, or its numbers are not of a [`Dtype`].
    pub fn tensor(&self, name: &str) -> Result<TensorView<'_>, CheckpointError> {
        let (file, stored_name) = self.stored(name)?;
        file.tensor(stored_name)
    }

    /// A tensor's values, read into memory of their own: exact, unless they are `Float64`.
    ///
    /// # Errors
    /// As [`Self::tensor`], or a file cannot be read.
    pub fn read_f32(&self, name: &str) -> Result<Vec<f32>, CheckpointError> {
        let (file, stored_name) = self.stored(name)?;
        file.read_f32(stored_name)
    }

    /// A tensor's bytes as the file has them, read into memory of their own.
    ///
    /// # Errors
    /// As [`Self::read_f32`].
    pub fn read_bytes(&self, name: &str) -> Result<Vec<u8>, CheckpointError> {
        let (file, stored_name) = self.stored(name)?;
        file.read_bytes(stored_name)
    }

    /// As [`Self::read_f32`], into memory that is there already.
    ///
    /// # Errors
    /// As [`Self::read_f32`].
    ///
    /// # Panics
    /// `values` is not as long as the tensor.
    pub fn read_f32_into(&self, name: &str, values: &mut [f32]) -> Result<(), CheckpointError> {
        let (file, stored_name) = self.stored(name)?;
        file.read_f32_into(stored_name, values)
    }

    /// Asks the system to read a tensor ahead of its use; only a hint.
    pub fn prefetch(&self, name: &str) {
        if let Some((file, place)) = self.locate(name) {
            file.prefetch(&place.stored_name);
        }
    }

    /// The dtype that most bytes of the checkpoint are in; `None` where it holds no tensor of a
    /// [`Dtype`].
    #[must_use]
    pub fn dtype(&self) -> Option<Dtype> {
        let mut sizes: Vec<(Dtype, usize)> = Vec::new();
        for name in self.names() {
            let Ok(tensor) = self.tensor(name) else {
                continue;
            };
            match sizes.iter_mut().find(|(dtype, _)| *dtype == tensor.dtype) {
                Some((_, size)) => *size += tensor.bytes.len(),
                None => sizes.push((tensor.dtype, tensor.bytes.len())),
            }
        }
        sizes
            .into_iter()
            .max_by_key(|(_, size)| *size)
            .map(|(dtype, _)| dtype)
    }

    /// The file that holds a tensor, and its name there.
    fn stored(&self, name: &str) -> Result<(&TensorFile, &str), CheckpointError> {
        let head_for = (name == EMBEDDING && !self.contains(EMBEDDING)).then_some(LM_HEAD);
        match self.locate(head_for.unwrap_or(name)) {
            Some((file, place)) => Ok((file, &place.stored_name)),
            None => Err(CheckpointError::NoTensor {
                place: self.dir.clone(),
                name: name.to_owned(),
            }),
        }
    }

    pub(super) fn locate(&self, name: &str) -> Option<(&TensorFile, &Place)> {
        let place = self.places.get(name)?;
        Some((&self.files[place.file], place))
    }
}
