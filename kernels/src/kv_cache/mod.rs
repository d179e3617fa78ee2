//! The key-value cache of one layer, and attention of one new token a sequence against it.
//!
//! The cache is allocated once: `slots` sequences of up to `capacity` tokens. What a slot holds
//! beyond its length is never read.

mod cpu;
#[cfg(feature = "cube")]
mod cube;
mod reference;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use burn::backend::{Backend, Dispatch, backend_extension, tensor::FloatTensor};
use burn::tensor::{DType, Device, Tensor};

use crate::AttentionOptions;

/// Where the new tokens of a decoding step go, and how far each sequence then reaches.
#[derive(Clone, Debug, PartialEq)]
pub struct CacheRows {
    /// The slot of each query.
    pub slots: Arc<[usize]>,
    /// Tokens in each of those slots, the new one included.
    pub lengths: Arc<[usize]>,
}

/// Keys and values of one layer.
#[derive(Clone, Debug)]
pub struct LayerCache {
    /// `[slots · capacity, kv_heads, head_dim]` each; absent only while an operation owns them.
    tensors: Option<[Tensor<3>; 2]>,
    capacity: usize,
}

impl LayerCache {
    /// An empty cache.
    pub fn new(
        [slots, capacity]: [usize; 2],
        [kv_heads, head_dim]: [usize; 2],
        dtype: DType,
        device: &Device,
    ) -> Self {
        let shape = [slots * capacity, kv_heads, head_dim];
        let zeros = || Tensor::zeros(shape, (device, dtype));
        LayerCache {
            tensors: Some([zeros(), zeros()]),
            capacity,
        }
    }

    /// Tokens a slot can hold.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Writes row i of `keys` and `values` to position `positions[i]` of slot `slots[i]`.
    ///
    /// # Shapes
    /// - keys, values: `[rows, kv_heads, head_dim]`
    pub fn write(
        &mut self,
        keys: Tensor<3>,
        values: Tensor<3>,
        slots: &[usize],
        positions: &[u32],
    ) {
        let rows: Arc<[usize]> = slots
            .iter()
            .zip(positions)
            .map(|(slot, &position)| {
                let position = position as usize;
                assert!(position < self.capacity, "position {position} of the cache");
                slot * self.capacity + position
            })
            .collect();
        let [k, v] = self.tensors.take().expect("no operation owns the cache");
        self.tensors = Some([
            write_rows(k, keys, rows.clone()),
            write_rows(v, values, rows),
        ]);
    }

    /// Copies the first `length` tokens of one slot to another.
    pub fn copy(&mut self, from: usize, to: usize, length: usize) {
        let start = from * self.capacity;
        let rows: Arc<[usize]> = (0..length).map(|i| to * self.capacity + i).collect();
        let tensors = self.tensors.take().expect("no operation owns the cache");
        self.tensors = Some(tensors.map(|cache| {
            let prefix = cache.clone().narrow(0, start, length);
            // A copy of its own, so that the cache is held once and changes in place.
            let prefix = prefix.mul_scalar(1.0);
            write_rows(cache, prefix, rows.clone())
        }));
    }
}

/// One query a sequence against its cache.
///
/// # Shapes
/// - q and the output: `[sequences, heads, head_dim]`
pub fn decode_attention(
    q: Tensor<3>,
    cache: &LayerCache,
    rows: &CacheRows,
    options: AttentionOptions,
) -> Tensor<3> {
    let [k, v] = cache.tensors.clone().expect("no operation owns the cache");
    if !crate::choice::fused(&q) {
        return reference::decode_attention(q, k, v, cache.capacity, rows, options);
    }
    Tensor::from_dispatch(<Dispatch as KvCacheOps>::decode_attention(
        q.into_dispatch(),
        k.into_dispatch(),
        v.into_dispatch(),
        cache.capacity,
        rows.clone(),
        options,
    ))
}

fn write_rows(cache: Tensor<3>, new: Tensor<3>, rows: Arc<[usize]>) -> Tensor<3> {
    if !crate::choice::fused(&new) {
        return reference::write_rows(cache, new, &rows);
    }
    Tensor::from_dispatch(<Dispatch as KvCacheOps>::write_rows(
        cache.into_dispatch(),
        new.into_dispatch(),
        rows,
    ))
}

/// The operations on a backend's own tensors.
#[backend_extension(Cube: cfg(feature = "cube"), Flex, Fusion: cfg(feature = "fusion"))]
pub(crate) trait KvCacheOps: Backend {
    /// The cache with row i of `new` at `rows[i]`, in place where nothing else holds it.
    #[fusion(dtype = cache, shape = cache)]
    fn write_rows(
        cache: FloatTensor<Self>,
        new: FloatTensor<Self>,
        rows: Arc<[usize]>,
    ) -> FloatTensor<Self>;

    #[fusion(dtype = q, shape = q)]
    fn decode_attention(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        capacity: usize,
        rows: CacheRows,
        options: AttentionOptions,
    ) -> FloatTensor<Self>;
}
