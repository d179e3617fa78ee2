//! AdamW with moments of eight bits: a quarter of their memory (Dettmers et al. 2022, 8-bit
//! Optimizers via Block-wise Quantization, arXiv 2110.02861).
//!
//! A moment is kept in blocks of 256 values. A block has its largest magnitude as a scale, and for
//! each value the code of the nearest entry of a table from −1 to 1 (0 to 1 for the second moment)
//! whose steps grow with the magnitude. A step takes the moments apart, updates them in float32, and
//! puts them together again; the parameter moves by the float32 values.

pub(super) mod codes;
mod cpu;
#[cfg(feature = "cube")]
mod cube;
mod reference;
#[cfg(test)]
mod tests;

use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{Backend, Dispatch, backend_extension};
use burn::tensor::{DType, Device, Int, Tensor};

use super::{AdamWStep, GradScale};

pub use reference::adamw_8bit as adamw_8bit_reference;

/// Values that share a scale.
pub const BLOCK: usize = 256;

/// Both moments of a parameter.
#[derive(Clone, Debug)]
pub struct EightBitMoments {
    /// `[2, blocks · 64]`: four codes a word, the first in the lowest byte; of the first moment,
    /// then of the second.
    pub codes: Tensor<2, Int>,
    /// `[2, blocks]`.
    pub scales: Tensor<2>,
}

impl EightBitMoments {
    /// The moments of `count` values before the first step.
    pub fn zeros(count: usize, device: &Device) -> Self {
        let blocks = count.div_ceil(BLOCK);
        EightBitMoments {
            codes: Tensor::zeros([2, blocks * BLOCK / 4], (device, DType::I32)),
            scales: Tensor::zeros([2, blocks], (device, DType::F32)),
        }
    }
}

/// A parameter and its moments after one step, with a copy as in [`super::adamw`].
///
/// # Shapes
/// - parameter, grad and the copy: `[values]`
pub fn adamw_8bit(
    parameter: Tensor<1>,
    grad: Tensor<1>,
    moments: EightBitMoments,
    copy: Option<DType>,
    scale: &GradScale,
    step: AdamWStep,
) -> (Tensor<1>, EightBitMoments, Option<Tensor<1>>) {
    let [count] = parameter.dims();
    let blocks = count.div_ceil(BLOCK);
    assert_eq!(moments.scales.dims(), [2, blocks], "a scale for each block");
    if !crate::choice::fused(&parameter) || parameter.dtype() != DType::F32 {
        let (parameter, moments) = reference::adamw_8bit(parameter, grad, moments, scale, step);
        let rounded = copy.map(|dtype| parameter.clone().cast(dtype));
        return (parameter, moments, rounded);
    }
    let (parameter, codes, scales, rounded) = <Dispatch as EightBitOps>::adamw_8bit(
        parameter.into_dispatch(),
        grad.into_dispatch(),
        moments.codes.into_dispatch(),
        moments.scales.into_dispatch(),
        scale.values().into_dispatch(),
        copy,
        step,
    );
    let moments = EightBitMoments {
        codes: Tensor::from_dispatch(codes),
        scales: Tensor::from_dispatch(scales),
    };
    let rounded = copy.map(|_| Tensor::from_dispatch(rounded));
    (Tensor::from_dispatch(parameter), moments, rounded)
}

/// The operation on a backend's own tensors.
#[backend_extension(Cube: cfg(feature = "cube"), Flex, Fusion: cfg(feature = "fusion"))]
pub(crate) trait EightBitOps: Backend {
    /// The parameter, codes and scales, in place where nothing else holds them, and the copy, which is as
    /// [`copy_shape`](super::copy_shape) says.
    #[fusion(meta = |parameter, _grad, codes, scales, _scale, copy, _step| {
        let shape = crate::adamw::copy_shape(*copy, &parameter.shape);
        let dtype = copy.unwrap_or(burn_backend::DType::F32);
        let copy = burn::backend::fusion::custom::TensorSpec::new(shape, dtype);
        (parameter.clone(), codes.clone(), scales.clone(), copy)
    })]
    fn adamw_8bit(
        parameter: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        codes: IntTensor<Self>,
        scales: FloatTensor<Self>,
        scale: FloatTensor<Self>,
        copy: Option<DType>,
        step: AdamWStep,
    ) -> (
        FloatTensor<Self>,
        IntTensor<Self>,
        FloatTensor<Self>,
        FloatTensor<Self>,
    );
}
