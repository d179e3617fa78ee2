use burn::backend::tensor::FloatTensor;
use burn_backend::TensorMetadata;
use burn_cubecl::CubeBackend;
use cubecl::ir::ElemType;
use cubecl::prelude::*;

use super::{RopeOps, RotaryTable, Turn};
use crate::cube::{contiguous, element, elementwise, empty};

impl RopeOps for CubeBackend {
    fn rope(x: FloatTensor<Self>, table: RotaryTable, turn: Turn) -> FloatTensor<Self> {
        let [tokens, heads, head_dim] = x.shape().dims();
        let x = contiguous(x);
        let output = empty(&x, [tokens, heads, head_dim], x.dtype);
        let half = table.rotary_dim() / 2;
        // A unit for each pair, and for each value that stays.
        let per_head = head_dim - half;
        let (cubes, units) = elementwise(tokens * heads * per_head);
        turn_pairs::launch(
            &x.client.clone(),
            cubes,
            units,
            x.clone().into_buffer_arg(),
            table.interleaved(&x).into_buffer_arg(),
            output.clone().into_buffer_arg(),
            tokens * heads * per_head,
            heads,
            per_head,
            half,
            match turn {
                Turn::Forward => 1.0,
                Turn::Backward => -1.0,
            },
            element(&x),
        );
        output
    }
}

/// A unit turns one pair, or copies one value. `angles` is `[tokens, 2, half]`: cosines, then sines.
#[cube(launch)]
fn turn_pairs<F: Float>(
    x: &[F],
    angles: &[f32],
    output: &mut [F],
    count: usize,
    heads: usize,
    per_head: usize,
    half: usize,
    sign: f32,
    #[define(F)] _element: ElemType,
) {
    let i = ABSOLUTE_POS;
    if i < count {
        let column = i % per_head;
        let head = i / per_head;
        let first = head * (per_head + half) + column;
        if column < half {
            let angle = head / heads * half * 2 + column;
            let cos = angles[angle];
            let sin = sign * angles[angle + half];
            let a = f32::cast_from(x[first]);
            let b = f32::cast_from(x[first + half]);
            output[first] = F::cast_from(a * cos - b * sin);
            output[first + half] = F::cast_from(b * cos + a * sin);
        } else {
            output[first + half] = x[first + half];
        }
    }
}
