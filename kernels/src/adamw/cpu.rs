use burn::backend::tensor::FloatTensor;
use burn::tensor::DType;
use burn_backend::ops::FloatTensorOps;
use burn_flex::{Flex, FlexTensor};
use rayon::prelude::*;

use super::{AdamWOps, AdamWStep, Factors};
use crate::cpu::{contiguous, tensor, values, vectorized};

/// Values a thread takes at a time.
const CHUNK: usize = 1 << 14;

impl AdamWOps for Flex {
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
        let factor = values(&scale)[0];
        if factor < 0.0 {
            let copy = copied(&parameter, copy);
            return (parameter, first, second, copy);
        }
        let grad = contiguous(grad);
        let [mut parameter, mut first, mut second] = [parameter, first, second].map(whole);
        let factors = Factors::of(step);
        parameter
            .storage_mut::<f32>()
            .par_chunks_mut(CHUNK)
            .zip(first.storage_mut::<f32>().par_chunks_mut(CHUNK))
            .zip(second.storage_mut::<f32>().par_chunks_mut(CHUNK))
            .zip(values(&grad).par_chunks(CHUNK))
            .for_each(|(((parameter, first), second), grad)| {
                vectorized!({
                    let moments = first.iter_mut().zip(second);
                    for ((p, (m, v)), g) in parameter.iter_mut().zip(moments).zip(grad) {
                        [*p, *m, *v] = factors.update(*p, *g * factor, [*m, *v]);
                    }
                });
            });
        let copy = copied(&parameter, copy);
        (parameter, first, second, copy)
    }
}

/// The parameter rounded, or a zero where no copy is asked for.
pub(super) fn copied(parameter: &FlexTensor, copy: Option<DType>) -> FlexTensor {
    match copy {
        Some(dtype) => Flex::float_cast(parameter.clone(), dtype.into()),
        None => tensor(vec![0.0], [1]),
    }
}

/// The tensor with a storage of its own values and nothing else, so that it can change in place.
pub(super) fn whole(tensor: FlexTensor) -> FlexTensor {
    if tensor.is_contiguous() && tensor.storage::<f32>().len() == tensor.layout().num_elements() {
        tensor
    } else {
        tensor.to_contiguous()
    }
}
