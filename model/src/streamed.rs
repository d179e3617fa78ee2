//! Frozen blocks that stay on the disk: each is read before a pass reaches it, one block ahead of the
//! computation, by a thread.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use burn::tensor::{DType, TensorData};

use crate::ModelConfig;
use crate::checkpoint::{Checkpoint, CheckpointError, Dtype};

/// The frozen tensors of a block, by name.
pub(crate) type Block = BTreeMap<String, TensorData>;

/// The blocks of a checkpoint, read one at a time. At any moment two are in memory: the one that was
/// asked for last, while it computes, and the next one.
pub(crate) struct Streamed {
    source: Arc<Source>,
    ahead: Mutex<Option<Ahead>>,
    num_ahead: AtomicUsize,
    num_late: AtomicUsize,
}

struct Source {
    checkpoint: Checkpoint,
    /// Names and shapes of each block's tensors.
    blocks: Vec<Vec<(String, Vec<usize>)>>,
    /// Of the computation.
    dtype: DType,
}

struct Ahead {
    layer: usize,
    thread: JoinHandle<Result<Block, CheckpointError>>,
}

/// How often a streamed block was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StreamedReads {
    /// While the one before it in the order of visits computed.
    pub ahead: usize,
    /// Only when a pass had reached it.
    pub late: usize,
}

impl Streamed {
    /// The blocks of a checkpoint that was validated, in this dtype where the file has their matrices
    /// in it and in float32 elsewhere.
    pub(crate) fn new(checkpoint: Checkpoint, config: &ModelConfig, dtype: DType) -> Self {
        let mut blocks = vec![Vec::new(); config.num_hidden_layers];
        for (layer, block) in blocks.iter_mut().enumerate() {
            let prefix = format!("model.layers.{layer}.");
            let own = config.expected_tensors().into_iter();
            let own = own.filter(|spec| spec.name.starts_with(&prefix));
            block.extend(own.map(|spec| (spec.name, spec.shape)));
        }
        Streamed {
            source: Arc::new(Source {
                checkpoint,
                blocks,
                dtype,
            }),
            ahead: Mutex::default(),
            num_ahead: AtomicUsize::default(),
            num_late: AtomicUsize::default(),
        }
    }

    /// The file.
    pub(crate) fn checkpoint(&self) -> &Checkpoint {
        &self.source.checkpoint
    }

    /// How its blocks were read so far.
    pub(crate) fn reads(&self) -> StreamedReads {
        StreamedReads {
            ahead: self.num_ahead.load(Ordering::Relaxed),
            late: self.num_late.load(Ordering::Relaxed),
        }
    }

    /// A block, after which `next` is visited and so is read from now on.
    ///
    /// # Errors
    /// A file cannot be read any more.
    pub(crate) fn take(&self, layer: usize, next: Option<usize>) -> Result<Block, CheckpointError> {
        let mut ahead = self.ahead.lock().unwrap_or_else(PoisonError::into_inner);
        let mut block = None;
        // What nobody is going to ask for is waited for as well: no third block is ever in memory.
        if let Some(read) = ahead.take_if(|a| a.layer == layer || Some(a.layer) != next) {
            let is_this = read.layer == layer;
            let values = read.thread.join().expect("reading a file does not panic");
            if is_this {
                block = Some(values?);
            }
        }
        let count = match block {
            Some(_) => &self.num_ahead,
            None => &self.num_late,
        };
        count.fetch_add(1, Ordering::Relaxed);
        let block = match block {
            Some(block) => block,
            None => self.source.read(layer)?,
        };
        if let (Some(layer), None) = (next, &*ahead) {
            let source = self.source.clone();
            let thread = std::thread::spawn(move || source.read(layer));
            *ahead = Some(Ahead { layer, thread });
        }
        Ok(block)
    }
}

impl Source {
    fn read(&self, layer: usize) -> Result<Block, CheckpointError> {
        let names = &self.blocks[layer];
        for (name, _) in names {
            self.checkpoint.prefetch(name);
        }
        let read = |(name, shape): &(String, Vec<usize>)| {
            let stored = match self.checkpoint.tensor(name)?.dtype {
                Dtype::Bfloat16 => Some(DType::BF16),
                Dtype::Float16 => Some(DType::F16),
                Dtype::Float32 | Dtype::Float64 => None,
            };
            let shape = shape.clone();
            let data = match stored {
                Some(dtype) if shape.len() == 2 && dtype == self.dtype => {
                    TensorData::from_bytes_vec(self.checkpoint.read_bytes(name)?, shape, dtype)
                }
                _ => TensorData::new(self.checkpoint.read_f32(name)?, shape),
            };
            Ok((name.clone(), data))
        };
        names.iter().map(read).collect()
    }
}
