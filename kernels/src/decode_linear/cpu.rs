use burn::backend::tensor::FloatTensor;
use burn::tensor::DType;
use burn_backend::TensorMetadata;
use burn_backend::ops::FloatTensorOps;
use burn_flex::Flex;
use rayon::prelude::*;

use super::DecodeLinearOps;
use super::output::Output;
use super::tile::{Instructions, Panels};
use crate::cpu::{contiguous, tensor, unwritten, values, written};

/// Columns of the result, rows of the weight, that a thread takes at a time.
const COLUMNS: usize = 24;

impl DecodeLinearOps for Flex {
    fn decode_linear(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        dtype: DType,
    ) -> FloatTensor<Self> {
        let [rows, width] = x.shape().dims();
        let [columns, _] = weight.shape().dims();
        let (x, weight) = (contiguous(x), contiguous(weight));
        let panels = Panels::new(values(&x), width, Instructions::of_this_machine());
        let mut output = unwritten(rows * columns);
        let into = Output::of(&mut output, columns);
        values(&weight)
            .par_chunks(COLUMNS * width)
            .enumerate()
            .for_each(|(block, weight)| {
                // SAFETY: blocks have columns of their own, and a block one thread.
                unsafe { panels.products(weight, block * COLUMNS, &into) };
            });
        // SAFETY: the blocks cover the columns, and the panels the rows.
        let output = tensor(unsafe { written(output) }, [rows, columns]);
        match dtype {
            DType::F32 => output,
            _ => Flex::float_cast(output, dtype.into()),
        }
    }
}
