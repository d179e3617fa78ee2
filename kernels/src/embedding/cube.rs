//! The look-up gives each value a unit. The backward sorts the tokens by id on the host, so that a
//! cube adds up one row of the table, in the order of its tokens.

use std::sync::Arc;

use burn::backend::tensor::FloatTensor;
use burn_backend::TensorMetadata;
use burn_cubecl::CubeBackend;
use cubecl::ir::ElemType;
use cubecl::prelude::*;

use super::EmbeddingOps;
use crate::cube::{contiguous, cubes, element, elementwise, empty, units_for, upload, zeros};

impl EmbeddingOps for CubeBackend {
    fn embedding(weight: FloatTensor<Self>, ids: Arc<[u32]>, scale: f32) -> FloatTensor<Self> {
        let [_, width] = weight.shape().dims();
        let weight = contiguous(weight);
        let output = empty(&weight, [ids.len(), width], weight.dtype);
        let (cubes, units) = elementwise(ids.len() * width);
        look_up::launch(
            &weight.client.clone(),
            cubes,
            units,
            weight.clone().into_buffer_arg(),
            upload(&weight, &ids),
            output.clone().into_buffer_arg(),
            ids.len() * width,
            width,
            scale,
            element(&weight),
        );
        output
    }

    fn embedding_backward(
        grad: FloatTensor<Self>,
        ids: Arc<[u32]>,
        scale: f32,
        vocab: usize,
    ) -> FloatTensor<Self> {
        let [_, width] = grad.shape().dims();
        let grad = contiguous(grad);
        let table = zeros(&grad, [vocab, width]);
        let rows = Rows::of(&ids);
        add_rows::launch(
            &grad.client.clone(),
            cubes(rows.count),
            CubeDim::new_1d(units_for(width)),
            grad.clone().into_buffer_arg(),
            upload(&grad, &rows.table),
            table.clone().into_buffer_arg(),
            rows.count,
            width,
            scale,
            element(&grad),
        );
        table
    }
}

/// Which tokens add to which row of the table.
struct Rows {
    count: usize,
    /// An id and the end of its tokens for each row, then the tokens.
    table: Vec<u32>,
}

impl Rows {
    fn of(ids: &[u32]) -> Self {
        let mut tokens: Vec<u32> = (0..ids.len() as u32).collect();
        // Stable, so the tokens of a row stay in their order.
        tokens.sort_by_key(|&token| ids[token as usize]);
        let mut table = Vec::new();
        for (end, &token) in (1..).zip(&tokens) {
            let id = ids[token as usize];
            match table.as_chunks_mut::<2>().0.last_mut() {
                Some(last) if last[0] == id => last[1] = end,
                _ => table.extend([id, end]),
            }
        }
        let count = table.len() / 2;
        table.extend(tokens);
        Rows { count, table }
    }
}

#[cube(launch)]
fn look_up<F: Float>(
    weight: &[F],
    ids: &[u32],
    output: &mut [F],
    count: usize,
    width: usize,
    scale: f32,
    #[define(F)] _element: ElemType,
) {
    let i = ABSOLUTE_POS;
    if i < count {
        let id = ids[i / width] as usize;
        output[i] = F::cast_from(f32::cast_from(weight[id * width + i % width]) * scale);
    }
}

#[cube(launch)]
fn add_rows<F: Float>(
    grad: &[F],
    rows: &[u32],
    table: &mut [f32],
    count: usize,
    width: usize,
    scale: f32,
    #[define(F)] _element: ElemType,
) {
    let row = CUBE_POS;
    if row >= count {
        terminate!();
    }
    let id = rows[2 * row] as usize;
    let end = rows[2 * row + 1] as usize;
    let mut start = 0usize;
    if row > 0 {
        start = rows[2 * row - 1] as usize;
    }
    let mut column = UNIT_POS as usize;
    while column < width {
        let mut total = 0.0f32;
        for i in start..end {
            let token = rows[2 * count + i] as usize;
            total += f32::cast_from(grad[token * width + column]) * scale;
        }
        table[id * width + column] = total;
        column += CUBE_DIM as usize;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_of_one_id_stand_together_in_their_order() {
        let rows = Rows::of(&[3, 0, 3, 3, 6]);
        assert_eq!(rows.count, 3);
        assert_eq!(rows.table, [0, 1, 3, 4, 6, 5, 1, 0, 2, 3, 4]);
    }
}
