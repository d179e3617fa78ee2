use std::cell::RefCell;
use std::sync::Arc;

use burn::module::Param;
use burn::tensor::{DType, Tensor};
use kernels::{AttentionOptions, CacheRows, RotaryTable, Segments};

use crate::config::LayerKind;
use crate::lora::Adapters;
use crate::{Copies, KvCache, Part};

/// What the blocks are told about the tokens of one forward pass: their positions, which of them
/// see which, and where keys and values go.
pub struct Pass<'a> {
    mode: Mode<'a>,
    /// Rotary tables of full and of sliding layers.
    tables: [RotaryTable; 2],
    adapters: Adapters,
    copies: Arc<Copies>,
    /// The layer that is visited after the next one that runs, where it is not the one above.
    next: Option<usize>,
    /// What the blocks computed on the way, where someone watches.
    parts: Option<RefCell<Vec<Part>>>,
}

pub(crate) enum Mode<'a> {
    /// A packed row, as in training and scoring.
    Packed(Segments),
    /// A packed row of prompts whose keys and values are kept, one slot a prompt.
    Prefill {
        segments: Segments,
        /// The slot of each token.
        slots: Vec<usize>,
        cache: &'a mut KvCache,
    },
    /// One new token a sequence.
    Decode {
        rows: CacheRows,
        positions: Arc<[u32]>,
        cache: &'a mut KvCache,
    },
}

impl Mode<'_> {
    pub(crate) fn positions(&self) -> Arc<[u32]> {
        match self {
            Mode::Packed(segments) | Mode::Prefill { segments, .. } => segments.positions(),
            Mode::Decode { positions, .. } => positions.clone(),
        }
    }
}

impl<'a> Pass<'a> {
    pub(crate) fn new(
        mode: Mode<'a>,
        tables: [RotaryTable; 2],
        adapters: Adapters,
        copies: Arc<Copies>,
    ) -> Self {
        Pass {
            mode,
            tables,
            adapters,
            copies,
            next: None,
            parts: None,
        }
    }

    /// Says which layer is visited after the next one that runs, where that is not the one above it
    /// or, above the last, the first: blocks that are streamed are read ahead. Only a hint.
    pub fn followed_by(&mut self, layer: usize) {
        self.next = Some(layer);
    }

    /// The layer to read ahead while `layer` of `count` runs.
    pub(crate) fn take_next(&mut self, layer: usize, count: usize) -> usize {
        self.next.take().unwrap_or((layer + 1) % count)
    }

    /// Keeps the named results inside blocks from now on.
    pub fn watched(self) -> Self {
        Pass {
            parts: Some(RefCell::default()),
            ..self
        }
    }

    /// What a watched pass has kept since it was last asked, in the order of computation.
    pub fn take_parts(&self) -> Vec<Part> {
        self.parts.as_ref().map(RefCell::take).unwrap_or_default()
    }

    /// Gives a result inside a block its name, for those who watch.
    pub(crate) fn part<const D: usize>(&self, name: &'static str, x: Tensor<D>) -> Tensor<D> {
        let Some(parts) = &self.parts else {
            return x;
        };
        let (part, x) = Part::tap(name, x);
        parts.borrow_mut().push(part);
        x
    }

    /// The rotary angles of the tokens, for layers of a kind.
    pub fn rotary(&self, kind: LayerKind) -> &RotaryTable {
        match kind {
            LayerKind::Full => &self.tables[0],
            LayerKind::Sliding => &self.tables[1],
        }
    }

    /// Whether the linear layers' adapters count.
    pub(crate) fn has_adapters(&self) -> bool {
        self.adapters == Adapters::On
    }

    /// A matrix in the dtype of the computation.
    pub(crate) fn matrix(&self, weight: &Param<Tensor<2>>, dtype: DType) -> Tensor<2> {
        self.copies.matrix(weight, dtype)
    }

    /// `x · weightᵀ`. In generation a row's result does not depend on the other rows.
    pub(crate) fn linear(&self, x: Tensor<2>, weight: Tensor<2>) -> Tensor<2> {
        match self.mode {
            Mode::Packed(_) => kernels::linear(x, weight),
            Mode::Prefill { .. } | Mode::Decode { .. } => {
                let dtype = x.dtype();
                kernels::decode_linear(x, weight, dtype)
            }
        }
    }

    /// Attention of a layer's queries over the keys they may see, the new ones included.
    ///
    /// # Shapes
    /// - q and the output: `[tokens, heads, head_dim]`
    /// - k, v: `[tokens, kv_heads, head_dim]`
    pub(crate) fn attend(
        &mut self,
        layer: usize,
        q: Tensor<3>,
        k: Tensor<3>,
        v: Tensor<3>,
        options: AttentionOptions,
    ) -> Tensor<3> {
        let (q, k, v) = (self.part("q", q), self.part("k", k), self.part("v", v));
        let attended = match &mut self.mode {
            Mode::Packed(segments) => kernels::attention(q, k, v, segments, options),
            Mode::Prefill {
                segments,
                slots,
                cache,
            } => {
                let positions = segments.positions();
                cache
                    .layer(layer)
                    .write(k.clone(), v.clone(), slots, &positions);
                kernels::attention(q, k, v, segments, options)
            }
            Mode::Decode {
                rows,
                positions,
                cache,
            } => {
                let cache = cache.layer(layer);
                cache.write(k, v, &rows.slots, positions);
                kernels::decode_attention(q, cache, rows, options)
            }
        };
        self.part("attention", attended)
    }
}
