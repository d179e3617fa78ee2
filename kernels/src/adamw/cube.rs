use burn::backend::tensor::FloatTensor;
use burn::tensor::DType;
use burn_backend::TensorMetadata;
use burn_cubecl::CubeBackend;
use cubecl::ir::ElemType;
use cubecl::prelude::*;

use super::{AdamWOps, AdamWStep, Factors, copy_shape};
use crate::cube::{contiguous, element, elementwise, empty, owned};

impl AdamWOps for CubeBackend {
    fn adamw(
        parameter: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        first: FloatTensor<Self>,
        second: FloatTensor<Self>,
        scale: FloatTensor<Self>,
        copy: Option<DType>,
        step: AdamWStep,
    ) -> (
        FloatTensor<Self>,
        FloatTensor<Self>,
        FloatTensor<Self>,
        FloatTensor<Self>,
    ) {
        let grad = contiguous(grad);
        let [parameter, first, second] = [parameter, first, second].map(owned);
        let count = parameter.shape().num_elements();
        let shape = copy_shape(copy, &parameter.shape());
        let rounded = empty(&parameter, shape, copy.unwrap_or(DType::F32));
        let factors = Factors::of(step);
        let (cubes, units) = elementwise(count);
        update::launch(
            &parameter.client.clone(),
            cubes,
            units,
            parameter.clone().into_buffer_arg(),
            grad.clone().into_buffer_arg(),
            first.clone().into_buffer_arg(),
            second.clone().into_buffer_arg(),
            rounded.clone().into_buffer_arg(),
            scale.into_buffer_arg(),
            count,
            factors.decay,
            factors.step_size,
            factors.root_correction,
            factors.beta1,
            factors.beta2,
            factors.rest1,
            factors.rest2,
            factors.epsilon,
            element(&parameter),
            element(&grad),
            element(&rounded),
            copy.is_some(),
        );
        (parameter, first, second, rounded)
    }
}

#[cube(launch)]
fn update<P: Float, G: Float, C: Float>(
    parameter: &mut [P],
    grad: &[G],
    first: &mut [P],
    second: &mut [P],
    copy: &mut [C],
    scale: &[f32],
    count: usize,
    decay: f32,
    step_size: f32,
    root_correction: f32,
    beta1: f32,
    beta2: f32,
    rest1: f32,
    rest2: f32,
    epsilon: f32,
    #[define(P)] _parameter_element: ElemType,
    #[define(G)] _grad_element: ElemType,
    #[define(C)] _copy_element: ElemType,
    #[comptime] copies: bool,
) {
    let i = ABSOLUTE_POS;
    let factor = scale[0];
    if i < count {
        let mut p = f32::cast_from(parameter[i]);
        if factor >= 0.0f32 {
            let g = f32::cast_from(grad[i]) * factor;
            let m = beta1 * f32::cast_from(first[i]) + rest1 * g;
            let v = beta2 * f32::cast_from(second[i]) + rest2 * (g * g);
            let denominator = v.sqrt() / root_correction + epsilon;
            p = decay * p - step_size * (m / denominator);
            first[i] = P::cast_from(m);
            second[i] = P::cast_from(v);
            parameter[i] = P::cast_from(p);
        }
        if comptime!(copies) {
            copy[i] = C::cast_from(p);
        }
    }
}
