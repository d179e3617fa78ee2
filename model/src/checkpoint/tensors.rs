//! Named f32 tensors in one safetensors file, for state that is no model: an optimizer's moments,
//! master weights.

use std::{borrow::Cow, path::Path};

use super::{
    dtype::Dtype,
    file::TensorFile,
    writer::{TensorData, TensorToWrite, write_tensor_file},
};
use crate::error::CheckpointError;

/// A tensor that was read whole.
#[derive(Clone, Debug, PartialEq)]
pub struct OwnedTensor {
    /// Its name.
    pub name: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// Its values.
    pub values: Vec<f32>,
}

/// Writes `(name, shape, values)` as f32 into a file that does not exist yet. What is too large to
/// be in memory at once goes through [`write_tensor_file`].
///
/// # Errors
/// The file exists or cannot be written.
///
/// # Panics
/// Two tensors have one name, or a shape does not match its values.
pub fn write_tensors(
    path: &Path,
    tensors: &[(&str, &[usize], &[f32])],
) -> Result<(), CheckpointError> {
    let to_write = |(name, shape, _): &(&str, &[usize], &[f32])| TensorToWrite {
        name: (*name).to_owned(),
        shape: shape.to_vec(),
        dtype: Dtype::Float32,
    };
    let specs: Vec<TensorToWrite> = tensors.iter().map(to_write).collect();
    let by_name: std::collections::HashMap<&str, &[f32]> = tensors
        .iter()
        .map(|(name, _, values)| (*name, *values))
        .collect();
    write_tensor_file(path, &specs, |tensor| {
        let values = by_name[tensor.name.as_str()];
        Ok(TensorData::Float32(Cow::Borrowed(values)))
    })
}

/// Reads every tensor of a file as f32, sorted by name. What is too large to be in memory at once
/// is read through [`TensorFile`].
///
/// # Errors
/// The file cannot be read, is cut short, or is not safetensors.
pub fn read_tensors(path: &Path) -> Result<Vec<OwnedTensor>, CheckpointError> {
    let file = TensorFile::open(path)?;
    let read = |name: &str| {
        let tensor = file.tensor(name)?;
        Ok(OwnedTensor {
            name: name.to_owned(),
            shape: tensor.shape.to_vec(),
            values: file.read_f32(name)?,
        })
    };
    file.names().map(read).collect()
}
