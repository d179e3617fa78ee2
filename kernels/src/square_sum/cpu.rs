use burn::backend::tensor::FloatTensor;
use burn_flex::Flex;
use rayon::prelude::*;

use super::SquareSumOps;
use crate::cpu::{contiguous, dot, tensor, values, vectorized};

/// Values summed in float32 before they join the float64 total.
const CHUNK: usize = 256;
/// Chunks a thread takes at a time. Fixed, so that the order of the sum is.
const CHUNKS: usize = 64;

impl SquareSumOps for Flex {
    fn square_sum(x: FloatTensor<Self>) -> FloatTensor<Self> {
        let x = contiguous(x);
        let parts: Vec<f64> = values(&x)
            .par_chunks(CHUNK * CHUNKS)
            .map(|x| vectorized!(x.chunks(CHUNK).map(|x| f64::from(dot(x, x))).sum()))
            .collect();
        tensor(vec![parts.into_iter().sum::<f64>() as f32], [1])
    }
}
