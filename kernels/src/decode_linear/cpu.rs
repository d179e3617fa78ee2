use burn::backend::tensor::FloatTensor;
use burn_backend::TensorMetadata;
use burn_flex::Flex;
use rayon::prelude::*;

use super::DecodeLinearOps;
use crate::cpu::{Into, Mat, Threads, contiguous, gemm, tensor, values};

/// Rows of one gemm. Sixteen fills the gemm's registers on the machines at hand.
const ROWS: usize = 16;
/// Columns of one gemm, and what a thread takes at a time.
const COLUMNS: usize = 128;

impl DecodeLinearOps for Flex {
    fn decode_linear(x: FloatTensor<Self>, weight: FloatTensor<Self>) -> FloatTensor<Self> {
        let [rows, width] = x.shape().dims();
        let [columns, _] = weight.shape().dims();
        let (x, weight) = (contiguous(x), contiguous(weight));
        let weight = values(&weight);
        let padded_rows = rows.next_multiple_of(ROWS);
        let mut padded = values(&x).to_vec();
        padded.resize(padded_rows * width, 0.0);

        let mut tasks = Vec::new();
        for row in (0..padded_rows).step_by(ROWS) {
            tasks.extend((0..columns).step_by(COLUMNS).map(|column| (row, column)));
        }
        let blocks: Vec<Vec<f32>> = tasks
            .par_iter()
            .map(|&(row, column)| {
                let n = COLUMNS.min(columns - column);
                let mut block = vec![0.0; ROWS * n];
                gemm(
                    [ROWS, n, width],
                    &mut block,
                    n,
                    Into::Overwrite,
                    1.0,
                    Mat::rows(&padded[row * width..], width),
                    Mat::rows(&weight[column * width..], width).transposed(),
                    Threads::One,
                );
                block
            })
            .collect();
        let mut output = vec![0.0; rows * columns];
        for ((row, column), block) in tasks.into_iter().zip(blocks) {
            let n = COLUMNS.min(columns - column);
            for (row, values) in (row..rows).zip(block.chunks(n)) {
                output[row * columns + column..][..n].copy_from_slice(values);
            }
        }
        tensor(output, [rows, columns])
    }
}
