use std::sync::Arc;

use burn::backend::tensor::FloatTensor;
use burn_backend::TensorMetadata;
use burn_flex::Flex;
use rayon::prelude::*;

use super::EmbeddingOps;
use crate::cpu::{contiguous, tensor, values, vectorized};

/// Rows that a thread looks up at a time, at least.
const ROWS: usize = 64;

impl EmbeddingOps for Flex {
    fn embedding(weight: FloatTensor<Self>, ids: Arc<[u32]>, scale: f32) -> FloatTensor<Self> {
        let [_, width] = weight.shape().dims();
        let weight = contiguous(weight);
        let weight = values(&weight);
        let mut output = vec![0.0; ids.len() * width];
        output
            .par_chunks_mut(width)
            .zip(&*ids)
            .with_min_len(ROWS)
            .for_each(|(output, &id)| {
                let row = &weight[id as usize * width..][..width];
                for (output, value) in output.iter_mut().zip(row) {
                    *output = value * scale;
                }
            });
        tensor(output, [ids.len(), width])
    }

    fn embedding_backward(
        grad: FloatTensor<Self>,
        ids: Arc<[u32]>,
        scale: f32,
        vocab: usize,
    ) -> FloatTensor<Self> {
        let [_, width] = grad.shape().dims();
        let grad = contiguous(grad);
        let mut table = vec![0.0; vocab * width];
        vectorized!({
            for (&id, grad) in ids.iter().zip(values(&grad).chunks(width)) {
                let row = &mut table[id as usize * width..][..width];
                for (total, grad) in row.iter_mut().zip(grad) {
                    *total += grad * scale;
                }
            }
        });
        tensor(table, [vocab, width])
    }
}
