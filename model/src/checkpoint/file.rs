//! One safetensors file: its header is read and checked at once, its tensors when asked for.
//!
//! A tensor can be looked at in place, where the file is mapped, or read into memory of its own. What
//! is looked at in place counts as the process's memory until the map goes; so whole models and
//! moments are read.

use std::{
    fs::File,
    path::{Path, PathBuf},
};

use memmap2::Mmap;
use safetensors::tensor::TensorInfo;

use super::{dtype::Dtype, header::Header};
use crate::error::CheckpointError;

/// A safetensors file whose header holds together: no tensor reaches outside the file or into
/// another.
#[derive(Debug)]
pub struct TensorFile {
    path: PathBuf,
    file: File,
    map: Mmap,
    header: Header,
}

/// Bytes that are read at a time where they are converted.
const PIECE: usize = 1 << 20;

/// A tensor in a mapped file; its bytes are read from the disk when touched.
#[derive(Clone, Copy, Debug)]
pub struct TensorView<'a> {
    /// Its name in the file.
    pub name: &'a str,
    /// The kind of its numbers.
    pub dtype: Dtype,
    /// Its shape; the last dimension is contiguous.
    pub shape: &'a [usize],
    /// Its values, little-endian.
    pub bytes: &'a [u8],
}

impl TensorFile {
    /// Opens a file and reads its header.
    ///
    /// # Errors
    /// The file cannot be read, is cut short, or is not safetensors.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, CheckpointError> {
        let path = path.into();
        let (file, map) = match map(&path) {
            Ok(opened) => opened,
            Err(source) => return Err(CheckpointError::Read { path, source }),
        };
        match Header::parse(&map) {
            Ok(header) => Ok(Self {
                path,
                file,
                map,
                header,
            }),
            Err(problem) => Err(CheckpointError::Broken { path, problem }),
        }
    }

    /// Where the file lies.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Names of its tensors, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.header.tensors.keys().map(String::as_str)
    }

    /// A tensor, by its name in the file.
    ///
    /// # Errors
    /// There is none of that name, or its numbers are not of a [`Dtype`].
    pub fn tensor(&self, name: &str) -> Result<TensorView<'_>, CheckpointError> {
        let Some((name, info)) = self.header.tensors.get_key_value(name) else {
            return Err(CheckpointError::NoTensor {
                place: self.path.clone(),
                name: name.to_owned(),
            });
        };
        let Some(dtype) = Dtype::from_safetensors(info.dtype) else {
            return Err(CheckpointError::Dtype {
                path: self.path.clone(),
                name: name.to_owned(),
                found: info.dtype.to_string(),
            });
        };
        let (start, end) = info.data_offsets;
        Ok(TensorView {
            name,
            dtype,
            shape: &info.shape,
            bytes: &self.map[self.header.data_start..][start..end],
        })
    }

    /// A tensor's bytes, read into memory of their own.
    ///
    /// # Errors
    /// As [`Self::tensor`], or the file cannot be read.
    pub fn read_bytes(&self, name: &str) -> Result<Vec<u8>, CheckpointError> {
        let tensor = self.tensor(name)?;
        let mut bytes = vec![0; tensor.bytes.len()];
        self.read_at(&tensor, 0, &mut bytes)?;
        Ok(bytes)
    }

    /// A tensor's values as f32, read into memory of their own: exact, unless they are `Float64`.
    ///
    /// # Errors
    /// As [`Self::read_bytes`].
    pub fn read_f32(&self, name: &str) -> Result<Vec<f32>, CheckpointError> {
        let mut values = vec![0.0; self.tensor(name)?.num_elements()];
        self.read_f32_into(name, &mut values)?;
        Ok(values)
    }

    /// As [`Self::read_f32`], into memory that is there already.
    ///
    /// # Errors
    /// As [`Self::read_bytes`].
    ///
    /// # Panics
    /// `values` is not as long as the tensor.
    pub fn read_f32_into(&self, name: &str, values: &mut [f32]) -> Result<(), CheckpointError> {
        let tensor = self.tensor(name)?;
        tensor.check_length(values.len());
        let width = tensor.dtype.num_bytes();
        let mut piece = vec![0; PIECE.min(tensor.bytes.len())];
        for (index, values) in values.chunks_mut(PIECE / width).enumerate() {
            let piece = &mut piece[..values.len() * width];
            self.read_at(&tensor, index * PIECE, piece)?;
            tensor.dtype.decode(piece, values);
        }
        Ok(())
    }

    /// Reads a tensor's bytes from `offset` on.
    fn read_at(
        &self,
        tensor: &TensorView,
        offset: usize,
        bytes: &mut [u8],
    ) -> Result<(), CheckpointError> {
        let start = tensor.bytes.as_ptr() as usize - self.map.as_ptr() as usize;
        read_exact_at(&self.file, bytes, (start + offset) as u64).map_err(|source| {
            CheckpointError::Read {
                path: self.path.clone(),
                source,
            }
        })
    }

    /// Asks the system to read a tensor ahead of its use; only a hint.
    pub(super) fn prefetch(&self, name: &str) {
        #[cfg(unix)]
        if let Some(info) = self.header.tensors.get(name) {
            let (start, end) = info.data_offsets;
            let offset = self.header.data_start + start;
            // A system that does not take the hint reads the tensor when it is touched.
            let _ = self
                .map
                .advise_range(memmap2::Advice::WillNeed, offset, end - start);
        }
        #[cfg(not(unix))]
        let _ = name;
    }

    /// Dtype as the file spells it, shape and number of bytes of a tensor that is there.
    pub(super) fn info(&self, name: &str) -> Option<&TensorInfo> {
        self.header.tensors.get(name)
    }
}

impl TensorView<'_> {
    /// Number of values.
    #[must_use]
    pub fn num_elements(&self) -> usize {
        self.shape.iter().product()
    }

    /// Its values as f32: exact, unless they are `Float64`.
    #[must_use]
    pub fn to_f32(&self) -> Vec<f32> {
        let mut values = vec![0.0; self.num_elements()];
        self.copy_f32_to(&mut values);
        values
    }

    /// As [`Self::to_f32`], into memory that is there already.
    ///
    /// # Panics
    /// `values` is not [`Self::num_elements`] long.
    pub fn copy_f32_to(&self, values: &mut [f32]) {
        self.check_length(values.len());
        self.dtype.decode(self.bytes, values);
    }

    fn check_length(&self, length: usize) {
        assert_eq!(
            length,
            self.num_elements(),
            "values for tensor `{}` of shape {:?}",
            self.name,
            self.shape
        );
    }
}

#[cfg(unix)]
fn read_exact_at(file: &File, bytes: &mut [u8], offset: u64) -> std::io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, bytes, offset)
}

#[cfg(windows)]
fn read_exact_at(file: &File, mut bytes: &mut [u8], mut offset: u64) -> std::io::Result<()> {
    while !bytes.is_empty() {
        let read = std::os::windows::fs::FileExt::seek_read(file, bytes, offset)?;
        if read == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        bytes = &mut bytes[read..];
        offset += read as u64;
    }
    Ok(())
}

fn map(path: &Path) -> std::io::Result<(File, Mmap)> {
    let file = File::open(path)?;
    if !file.metadata()?.is_file() {
        return Err(std::io::Error::other("it is not a file"));
    }
    // SAFETY: the map is read-only and private to us. Its bytes would change under a `&[u8]` only
    // if somebody rewrote the file in place while it is open, which every user of mapped
    // checkpoints has to refrain from; our own writer creates files anew and never opens an
    // existing one.
    let map = unsafe { Mmap::map(&file) }?;
    Ok((file, map))
}
