//! A cube a row; in the backward a cube takes several, and keeps its share of the weight's gradient
//! in registers.

use burn::backend::tensor::FloatTensor;
use burn::tensor::DType;
use burn_backend::TensorMetadata;
use burn_cubecl::CubeBackend;
use burn_cubecl::tensor::CubeTensor;
use cubecl::ir::ElemType;
use cubecl::prelude::*;

use super::{NormWeight, RmsNormOps};
use crate::cube::{contiguous, cube_sum, cubes, element, empty, sum_parts, units_for};

/// Rows of one cube in the backward. Fixed, so that the sums of the weight's gradient have one
/// order.
const ROWS: usize = 16;

impl RmsNormOps for CubeBackend {
    fn rms_norm(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        eps: f64,
        kind: NormWeight,
    ) -> FloatTensor<Self> {
        normalise(None, x, weight, eps, kind)
    }

    fn rms_norm_add(
        residual: FloatTensor<Self>,
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        eps: f64,
        kind: NormWeight,
    ) -> FloatTensor<Self> {
        normalise(Some(residual), x, weight, eps, kind)
    }

    fn rms_norm_backward(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        eps: f64,
        kind: NormWeight,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let [rows, width] = x.shape().dims();
        let [x, weight, grad] = [x, weight, grad].map(contiguous);
        let grad_x = empty(&x, [rows, width], x.dtype);
        let chunks = rows.div_ceil(ROWS);
        let parts = empty(&x, [chunks, width], DType::F32);
        let units = units_for(width);
        backward::launch(
            &x.client.clone(),
            cubes(chunks),
            CubeDim::new_1d(units),
            x.clone().into_buffer_arg(),
            weight.clone().into_buffer_arg(),
            grad.into_buffer_arg(),
            grad_x.clone().into_buffer_arg(),
            parts.clone().into_buffer_arg(),
            rows,
            width,
            eps as f32,
            kind.offset(),
            units,
            width.div_ceil(units as usize),
            element(&x),
            element(&weight),
        );
        (grad_x, sum_parts(parts, weight.dtype))
    }
}

fn normalise(
    residual: Option<CubeTensor>,
    x: CubeTensor,
    weight: CubeTensor,
    eps: f64,
    kind: NormWeight,
) -> CubeTensor {
    let [rows, width] = x.shape().dims();
    let (x, weight) = (contiguous(x), contiguous(weight));
    let output = empty(&x, [rows, width], x.dtype);
    let units = units_for(width);
    let adds = residual.is_some();
    // Without one something has to be bound in its place.
    let residual = residual.map_or_else(|| weight.clone(), contiguous);
    forward::launch(
        &x.client.clone(),
        cubes(rows),
        CubeDim::new_1d(units),
        x.clone().into_buffer_arg(),
        weight.clone().into_buffer_arg(),
        residual.clone().into_buffer_arg(),
        output.clone().into_buffer_arg(),
        rows,
        width,
        eps as f32,
        kind.offset(),
        units,
        adds,
        element(&x),
        element(&weight),
        element(&residual),
    );
    output
}

impl NormWeight {
    /// What is added to the stored weight.
    fn offset(self) -> f32 {
        match self {
            NormWeight::Plain => 0.0,
            NormWeight::OnePlus => 1.0,
        }
    }
}

#[cube(launch)]
fn forward<F: Float, W: Float, R: Float>(
    x: &[F],
    weight: &[W],
    residual: &[R],
    output: &mut [F],
    rows: usize,
    width: usize,
    eps: f32,
    offset: f32,
    #[comptime] units: u32,
    #[comptime] adds: bool,
    #[define(F)] _element: ElemType,
    #[define(W)] _weight_element: ElemType,
    #[define(R)] _residual_element: ElemType,
) {
    let row = CUBE_POS;
    if row >= rows {
        terminate!();
    }
    let mut scratch = Shared::<[f32]>::new_slice(units as usize);
    let step = units as usize;
    let start = row * width;
    let mut squares = 0.0f32;
    let mut column = UNIT_POS as usize;
    while column < width {
        let value = f32::cast_from(x[start + column]);
        squares += value * value;
        column += step;
    }
    let mean = cube_sum(squares, &mut scratch, units) / f32::cast_from(width);
    let scale = 1.0 / (mean + eps).sqrt();
    let mut column = UNIT_POS as usize;
    while column < width {
        let value = f32::cast_from(x[start + column]) * scale;
        let factor = f32::cast_from(weight[column]) + offset;
        let mut normal = F::cast_from(value * factor);
        if comptime!(adds) {
            let sum = f32::cast_from(residual[start + column]) + f32::cast_from(normal);
            normal = F::cast_from(sum);
        }
        output[start + column] = normal;
        column += step;
    }
}

/// With x̂ = x·r and g = dy·w: dx = r·(g − x̂·mean(g·x̂)), dw = Σ dy·x̂ over the rows.
#[cube(launch)]
fn backward<F: Float, W: Float>(
    x: &[F],
    weight: &[W],
    grad: &[F],
    grad_x: &mut [F],
    grad_weight_parts: &mut [f32],
    rows: usize,
    width: usize,
    eps: f32,
    offset: f32,
    #[comptime] units: u32,
    #[comptime] columns: usize,
    #[define(F)] _element: ElemType,
    #[define(W)] _weight_element: ElemType,
) {
    let chunk = CUBE_POS;
    let first = chunk * ROWS;
    if first >= rows {
        terminate!();
    }
    let mut scratch = Shared::<[f32]>::new_slice(units as usize);
    let step = units as usize;
    let mut grad_weight = Array::<f32>::new(columns);
    #[unroll]
    for i in 0..columns {
        grad_weight[i] = 0.0;
    }
    for row in first..min(first + ROWS, rows) {
        let start = row * width;
        let mut squares = 0.0f32;
        let mut products = 0.0f32;
        #[unroll]
        for i in 0..columns {
            let column = UNIT_POS as usize + i * step;
            if column < width {
                let value = f32::cast_from(x[start + column]);
                let factor = f32::cast_from(weight[column]) + offset;
                squares += value * value;
                products += f32::cast_from(grad[start + column]) * factor * value;
            }
        }
        let mean_square = cube_sum(squares, &mut scratch, units) / f32::cast_from(width);
        let scale = 1.0 / (mean_square + eps).sqrt();
        let mean = cube_sum(products, &mut scratch, units) * scale / f32::cast_from(width);
        #[unroll]
        for i in 0..columns {
            let column = UNIT_POS as usize + i * step;
            if column < width {
                let normal = f32::cast_from(x[start + column]) * scale;
                let dy = f32::cast_from(grad[start + column]);
                let factor = f32::cast_from(weight[column]) + offset;
                grad_weight[i] += dy * normal;
                grad_x[start + column] = F::cast_from(scale * (dy * factor - normal * mean));
            }
        }
    }
    #[unroll]
    for i in 0..columns {
        let column = UNIT_POS as usize + i * step;
        if column < width {
            grad_weight_parts[chunk * width + column] = grad_weight[i];
        }
    }
}
