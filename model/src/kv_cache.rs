use burn::tensor::{DType, Device};
use kernels::LayerCache;

use crate::ModelConfig;

/// The keys and values of all layers, allocated once for `slots` sequences of up to `capacity`
/// tokens.
pub struct KvCache {
    layers: Vec<LayerCache>,
    slots: usize,
    capacity: usize,
}

impl KvCache {
    /// An empty cache. It takes `2 · layers · slots · capacity · kv_heads · head_dim` values.
    pub fn new(
        config: &ModelConfig,
        slots: usize,
        capacity: usize,
        dtype: DType,
        device: &Device,
    ) -> Self {
        let heads = [config.num_key_value_heads, config.head_dim];
        let layers = (0..config.num_hidden_layers)
            .map(|_| LayerCache::new([slots, capacity], heads, dtype, device))
            .collect();
        KvCache {
            layers,
            slots,
            capacity,
        }
    }

    /// Sequences it can hold at a time.
    pub fn slots(&self) -> usize {
        self.slots
    }

    /// Tokens a sequence can have.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    pub(crate) fn layer(&mut self, index: usize) -> &mut LayerCache {
        &mut self.layers[index]
    }

    /// Gives one slot the first `length` tokens of another: a group shares its prompt's prefill.
    pub(crate) fn copy(&mut self, from: usize, to: usize, length: usize) {
        for layer in &mut self.layers {
            layer.copy(from, to, length);
        }
    }
}
