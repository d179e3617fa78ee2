//! Checkpoints in Hugging Face's layout, written one tensor at a time.

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap, HashSet},
    fs::OpenOptions,
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
};

use safetensors::tensor::{Metadata, TensorInfo};
use serde_json::json;

use super::{
    dtype::Dtype,
    shards::{INDEX, SINGLE},
};
use crate::error::CheckpointError;

/// Size that Hugging Face's files do not exceed.
pub const DEFAULT_MAX_SHARD_BYTES: u64 = 5_000_000_000;

/// A tensor that is to be written, without its values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorToWrite {
    /// Its name in the file.
    pub name: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// The dtype to store it in.
    pub dtype: Dtype,
}

/// The values of a tensor that is being written.
#[derive(Clone, Debug)]
pub enum TensorData<'a> {
    /// Values to convert to the tensor's dtype: to the nearest, a tie to the even one.
    Float32(Cow<'a, [f32]>),
    /// Bytes that are in the tensor's dtype already, little-endian: a tensor carried over from
    /// another checkpoint.
    Bytes(Cow<'a, [u8]>),
}

/// What a writer left on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// Every file, in the order of writing.
    pub files: Vec<PathBuf>,
    /// Bytes of all tensors.
    pub total_size: u64,
}

impl TensorToWrite {
    fn num_bytes(&self) -> u64 {
        let num_elements: usize = self.shape.iter().product();
        (num_elements * self.dtype.num_bytes()) as u64
    }
}

/// Writes `config.json` and the weights into a folder that holds neither: `model.safetensors` where
/// all fits into `max_shard_bytes`, else `model-00001-of-0000N.safetensors` and their index.
/// `tensors` are sharded in their order and sorted by name in a file; `values` gives the values of
/// each when its turn comes.
///
/// Each file is flushed to the disk. Making the folder appear whole or not at all is the caller's
/// part.
///
/// # Errors
/// A file exists or cannot be written, or `values` fails; the files written so far stay.
///
/// # Panics
/// Two tensors have one name, or `values` gives too few or too many: mistakes of the program, not
/// of its user.
pub fn write_checkpoint<'a, E: From<CheckpointError>>(
    dir: &Path,
    config_json: &str,
    tensors: &[TensorToWrite],
    max_shard_bytes: u64,
    mut values: impl FnMut(&TensorToWrite) -> Result<TensorData<'a>, E>,
) -> Result<Written, E> {
    check_names(tensors);
    let mut written = Written {
        files: Vec::new(),
        total_size: tensors.iter().map(TensorToWrite::num_bytes).sum(),
    };
    let config_path = dir.join("config.json");
    write_whole(&config_path, config_json.as_bytes())?;
    written.files.push(config_path);

    let shards = split(tensors, max_shard_bytes);
    let mut weight_map = BTreeMap::new();
    for (index, shard) in shards.iter().enumerate() {
        let file_name = match shards.len() {
            1 => SINGLE.to_owned(),
            n => format!("model-{:05}-of-{n:05}.safetensors", index + 1),
        };
        let path = dir.join(&file_name);
        write_tensor_file(&path, shard, &mut values)?;
        written.files.push(path);
        weight_map.extend(shard.iter().map(|t| (t.name.clone(), file_name.clone())));
    }
    if shards.len() > 1 {
        let index =
            json!({"metadata": {"total_size": written.total_size}, "weight_map": weight_map});
        let index =
            serde_json::to_string_pretty(&index).expect("JSON values always serialize") + "\n";
        let path = dir.join(INDEX);
        write_whole(&path, index.as_bytes())?;
        written.files.push(path);
    }
    Ok(written)
}

/// Writes one safetensors file that does not exist yet and flushes it to the disk. Tensors are
/// sorted as the safetensors library does: wider numbers first, which keeps them aligned, then by
/// name.
///
/// # Errors
/// The file exists or cannot be written, or `values` fails.
///
/// # Panics
/// As [`write_checkpoint`].
pub fn write_tensor_file<'a, E: From<CheckpointError>>(
    path: &Path,
    tensors: &[TensorToWrite],
    mut values: impl FnMut(&TensorToWrite) -> Result<TensorData<'a>, E>,
) -> Result<(), E> {
    check_names(tensors);
    let mut sorted: Vec<&TensorToWrite> = tensors.iter().collect();
    sorted.sort_by(|a, b| {
        let wider_first = b.dtype.to_safetensors().cmp(&a.dtype.to_safetensors());
        wider_first.then_with(|| a.name.cmp(&b.name))
    });
    let header = header(&sorted);
    let data_bytes: u64 = sorted.iter().map(|t| t.num_bytes()).sum();
    let mut file = NewFile::create(path, header.len() as u64 + data_bytes)?;
    file.write(&header)?;
    for tensor in sorted {
        let data = values(tensor)?;
        file.write_tensor(tensor, &data)?;
    }
    Ok(file.finish()?)
}

fn check_names(tensors: &[TensorToWrite]) {
    let mut seen = HashSet::new();
    for tensor in tensors {
        assert!(
            seen.insert(&tensor.name),
            "two tensors are called `{}`",
            tensor.name
        );
    }
}

/// Consecutive tensors, as many to a file as fit; one that is too large alone gets a file of its
/// own.
fn split(tensors: &[TensorToWrite], max_shard_bytes: u64) -> Vec<&[TensorToWrite]> {
    let mut shards = Vec::new();
    let (mut start, mut size) = (0, 0);
    for (index, tensor) in tensors.iter().enumerate() {
        if index > start && size + tensor.num_bytes() > max_shard_bytes {
            shards.push(&tensors[start..index]);
            (start, size) = (index, 0);
        }
        size += tensor.num_bytes();
    }
    shards.push(&tensors[start..]);
    shards
}

/// Length of the header and the header, padded so that the tensors begin at a multiple of 8 bytes.
fn header(sorted: &[&TensorToWrite]) -> Vec<u8> {
    let mut end = 0;
    let entry = |tensor: &&TensorToWrite| {
        let start = end;
        end += tensor.num_bytes() as usize;
        let info = TensorInfo {
            dtype: tensor.dtype.to_safetensors(),
            shape: tensor.shape.clone(),
            data_offsets: (start, end),
        };
        (tensor.name.clone(), info)
    };
    let entries: Vec<(String, TensorInfo)> = sorted.iter().map(entry).collect();
    let format = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    let metadata = Metadata::new(Some(format), entries).expect("offsets follow one another");
    let mut json = serde_json::to_vec(&metadata).expect("a header always serializes");
    json.resize(json.len().next_multiple_of(8), b' ');
    let mut header = (json.len() as u64).to_le_bytes().to_vec();
    header.append(&mut json);
    header
}

fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), CheckpointError> {
    let mut file = NewFile::create(path, bytes.len() as u64)?;
    file.write(bytes)?;
    file.finish()
}

/// A file in the making, with errors that name it.
struct NewFile<'a> {
    path: &'a Path,
    num_bytes: u64,
    writer: BufWriter<std::fs::File>,
}

impl<'a> NewFile<'a> {
    fn create(path: &'a Path, num_bytes: u64) -> Result<Self, CheckpointError> {
        // Never an existing file: a checkpoint that is being read may be mapped from it.
        match OpenOptions::new().write(true).create_new(true).open(path) {
            Ok(file) => Ok(Self {
                path,
                num_bytes,
                writer: BufWriter::with_capacity(1 << 20, file),
            }),
            Err(source) => Err(write_error(path, num_bytes, source)),
        }
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), CheckpointError> {
        let written = self.writer.write_all(bytes);
        written.map_err(|source| write_error(self.path, self.num_bytes, source))
    }

    fn write_tensor(
        &mut self,
        tensor: &TensorToWrite,
        data: &TensorData,
    ) -> Result<(), CheckpointError> {
        const STEP: usize = 1 << 16;
        let dtype = tensor.dtype;
        let given = match data {
            TensorData::Float32(values) => values.len() * dtype.num_bytes(),
            TensorData::Bytes(bytes) => bytes.len(),
        };
        assert_eq!(given as u64, tensor.num_bytes(), "bytes for {tensor:?}");
        match data {
            TensorData::Bytes(bytes) => self.write(bytes),
            TensorData::Float32(values) => {
                let mut bytes = vec![0; STEP.min(values.len()) * dtype.num_bytes()];
                for step in values.chunks(STEP) {
                    let bytes = &mut bytes[..step.len() * dtype.num_bytes()];
                    dtype.encode(step, bytes);
                    self.write(bytes)?;
                }
                Ok(())
            }
        }
    }

    /// Waits until the file is on the disk.
    fn finish(self) -> Result<(), CheckpointError> {
        let flushed = self
            .writer
            .into_inner()
            .map_err(io::IntoInnerError::into_error);
        flushed
            .and_then(|file| file.sync_all())
            .map_err(|source| write_error(self.path, self.num_bytes, source))
    }
}

fn write_error(path: &Path, bytes: u64, source: io::Error) -> CheckpointError {
    CheckpointError::Write {
        path: path.into(),
        bytes,
        source,
    }
}
