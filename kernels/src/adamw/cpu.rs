use burn::backend::tensor::FloatTensor;
use burn_flex::{Flex, FlexTensor};
use rayon::prelude::*;

use super::{AdamWOps, AdamWStep, Factors};
use crate::cpu::{contiguous, values, vectorized};

/// Values a thread takes at a time.
const CHUNK: usize = 1 << 14;

impl AdamWOps for Flex {
    fn adamw(
        parameter: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        first: FloatTensor<Self>,
        second: FloatTensor<Self>,
        step: AdamWStep,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
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
                        [*p, *m, *v] = factors.update(*p, *g, [*m, *v]);
                    }
                });
            });
        (parameter, first, second)
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
