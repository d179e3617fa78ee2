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
        let half = head_dim / 2;
        let (cubes, units) = elementwise(tokens * heads * half);
        turn_pairs::launch(
            &x.client.clone(),
            cubes,
            units,
            x.clone().into_buffer_arg(),
            table.interleaved(&x).into_buffer_arg(),
            output.clone().into_buffer_arg(),
            tokens * heads * half,
            heads,
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

/// A unit turns one pair. `angles` is `[tokens, 2, half]`: cosines, then sines.
#[cube(launch)]
fn turn_pairs<F: Float>(
    x: &[F],
    angles: &[f32],
    output: &mut [F],
    pairs: usize,
    heads: usize,
    half: usize,
    sign: f32,
    #[define(F)] _element: ElemType,
) {
    let pair = ABSOLUTE_POS;
    if pair < pairs {
        let column = pair % half;
        let head = pair / half;
        let token = head / heads;
        let first = head * half * 2 + column;
        let angle = token * half * 2 + column;
        let cos = angles[angle];
        let sin = sign * angles[angle + half];
        let a = f32::cast_from(x[first]);
        let b = f32::cast_from(x[first + half]);
        output[first] = F::cast_from(a * cos - b * sin);
        output[first + half] = F::cast_from(b * cos + a * sin);
    }
}
