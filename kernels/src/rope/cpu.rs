use burn::backend::tensor::FloatTensor;
use burn_backend::TensorMetadata;
use burn_flex::Flex;
use rayon::prelude::*;

use super::{RopeOps, RotaryTable, Turn};
use crate::cpu::{contiguous, tensor, values, vectorized};

/// Tokens a thread takes at a time.
const TOKENS: usize = 64;

impl RopeOps for Flex {
    fn rope(x: FloatTensor<Self>, table: RotaryTable, turn: Turn) -> FloatTensor<Self> {
        let [tokens, heads, head_dim] = x.shape().dims();
        let x = contiguous(x);
        let width = heads * head_dim;
        let sign = match turn {
            Turn::Forward => 1.0,
            Turn::Backward => -1.0,
        };
        let mut output = vec![0.0; tokens * width];
        output
            .par_chunks_mut(TOKENS * width)
            .zip(values(&x).par_chunks(TOKENS * width))
            .zip(table.positions().par_chunks(TOKENS))
            .for_each(|((output, x), positions)| {
                let rows = output.chunks_mut(width).zip(x.chunks(width));
                for ((y, x), &position) in rows.zip(positions) {
                    let (cos, sin) = table.at(position);
                    vectorized!({
                        for (y, x) in y.chunks_mut(head_dim).zip(x.chunks(head_dim)) {
                            turn_head(y, x, cos, sin, sign);
                        }
                    });
                }
            });
        tensor(output, [tokens, heads, head_dim])
    }
}

#[inline(always)]
fn turn_head(y: &mut [f32], x: &[f32], cos: &[f32], sin: &[f32], sign: f32) {
    let half = cos.len();
    let (y1, y) = y.split_at_mut(half);
    let (y2, y_rest) = y.split_at_mut(half);
    let (x1, x) = x.split_at(half);
    let (x2, x_rest) = x.split_at(half);
    y_rest.copy_from_slice(x_rest);
    let halves = y1.iter_mut().zip(y2).zip(x1.iter().zip(x2));
    for (((y1, y2), (x1, x2)), (cos, sin)) in halves.zip(cos.iter().zip(sin)) {
        let sin = sign * sin;
        *y1 = x1 * cos - x2 * sin;
        *y2 = x2 * cos + x1 * sin;
    }
}
