//! Products of rows by rows, both contiguous in memory, so nothing is packed: with few rows the gemm
//! crate spends more time on rearranging the weight than on multiplying by it.
//!
//! A product is a sum over the inner dimension in a fixed number of lanes, which are then added in a
//! fixed order. So a value depends on its row and its column of the weight alone.

use burn::backend::tensor::FloatTensor;
use burn_backend::TensorMetadata;
use burn_flex::Flex;
use rayon::prelude::*;

use super::DecodeLinearOps;
use super::dot::Instructions;
use crate::cpu::{contiguous, tensor, values};

/// Rows of x that meet a block of the weight before the next rows do: both fit the second cache.
const ROWS: usize = 32;
/// Columns of the result, rows of the weight, that a thread takes at a time.
const COLUMNS: usize = 64;

impl DecodeLinearOps for Flex {
    fn decode_linear(x: FloatTensor<Self>, weight: FloatTensor<Self>) -> FloatTensor<Self> {
        let [rows, width] = x.shape().dims();
        let [columns, _] = weight.shape().dims();
        let (x, weight) = (contiguous(x), contiguous(weight));
        let (x, weight) = (values(&x), values(&weight));
        let mut output = vec![0.0; rows * columns];
        let output_rows = Rows::of(&mut output, columns);
        let instructions = Instructions::of_this_machine();
        weight
            .par_chunks(COLUMNS * width)
            .enumerate()
            .for_each(|(block, weight)| {
                let mut products = [0.0; ROWS * COLUMNS];
                let block_columns = weight.len() / width;
                for (row, x) in (0..rows).step_by(ROWS).zip(x.chunks(ROWS * width)) {
                    let products = &mut products[..x.len() / width * block_columns];
                    instructions.products(x, weight, width, products);
                    for (i, products) in products.chunks(block_columns).enumerate() {
                        // SAFETY: blocks have columns of their own, and a block one thread.
                        let into =
                            unsafe { output_rows.piece(row + i, block * COLUMNS, block_columns) };
                        into.copy_from_slice(products);
                    }
                }
            });
        tensor(output, [rows, columns])
    }
}

/// A matrix whose columns are shared out among threads.
struct Rows {
    values: *mut f32,
    len: usize,
    columns: usize,
}

// SAFETY: `piece` is how threads reach the values, and its contract keeps them apart.
unsafe impl Sync for Rows {}

impl Rows {
    fn of(values: &mut [f32], columns: usize) -> Self {
        Rows {
            values: values.as_mut_ptr(),
            len: values.len(),
            columns,
        }
    }

    /// # Safety
    /// No other piece that is alive overlaps, and neither outlives the matrix.
    #[allow(clippy::mut_from_ref)]
    unsafe fn piece(&self, row: usize, column: usize, count: usize) -> &mut [f32] {
        let start = row * self.columns + column;
        assert!(column + count <= self.columns && start + count <= self.len);
        // SAFETY: in bounds by the assertion, alone by the caller's word.
        unsafe { std::slice::from_raw_parts_mut(self.values.add(start), count) }
    }
}
