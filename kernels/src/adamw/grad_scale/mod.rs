//! The factor by which a step's gradients are clipped, found where the gradients are: the optimizer's
//! kernels can be enqueued before the host knows the norm.

mod cpu;
#[cfg(feature = "cube")]
mod cube;
#[cfg(test)]
mod tests;

use burn::backend::{Backend, Dispatch, backend_extension, tensor::FloatTensor};
use burn::tensor::{DType, Device, Tensor, TensorData};

use super::eight_bit::codes::tables;

/// What every gradient of a step is multiplied by, on their device: 1, or less where their norm is
/// clipped. A step that must not be taken has one too, with which the optimizer changes nothing.
#[derive(Clone, Debug)]
pub struct GradScale {
    /// The factor, or −1 where the step is left out, and behind it the tables of eight-bit codes: one
    /// more buffer would be too many for their kernel.
    values: Tensor<1>,
}

/// Values behind the factor.
const TABLES: usize = 512;
/// In place of a factor. Not NaN, which compilers of kernels may take to be impossible.
const LEFT_OUT: f32 = -1.0;

impl GradScale {
    /// A factor that is known.
    pub fn of(factor: f64, device: &Device) -> Self {
        let values = with_tables(factor as f32);
        let values = TensorData::new(values, [1 + TABLES]);
        GradScale {
            values: Tensor::from_data(values, (device, DType::F32)),
        }
    }

    /// `max_norm / (norm + 1e-6)`, at most 1, as `torch.nn.utils.clip_grad_norm_`, where the norm is the
    /// root of the sum of the first `num_squares` values, each the square sum of a parameter's gradient.
    /// With a `max_norm` of 0 nothing is clipped. The step is left out where a value is NaN or infinite,
    /// the others (losses) too, or the sum of the squares is.
    ///
    /// # Shapes
    /// - values: `[num_squares + others]`
    pub fn clip(values: Tensor<1>, num_squares: usize, max_norm: f64) -> Self {
        if !crate::choice::fused(&values) {
            return GradScale {
                values: reference(values, num_squares, max_norm),
            };
        }
        let values = values.into_dispatch();
        let scale = <Dispatch as GradScaleOps>::grad_scale(values, num_squares, max_norm);
        GradScale {
            values: Tensor::from_dispatch(scale),
        }
    }

    /// `[1]`: the factor, negative where the step is left out.
    pub fn factor(&self) -> Tensor<1> {
        self.values.clone().slice(0..1)
    }

    pub(crate) fn values(&self) -> Tensor<1> {
        self.values.clone()
    }
}

fn with_tables(factor: f32) -> Vec<f32> {
    [&[factor], tables().as_flattened()].concat()
}

/// The definition, in plain tensor operations.
fn reference(values: Tensor<1>, num_squares: usize, max_norm: f64) -> Tensor<1> {
    let device = values.device();
    let sum = match num_squares {
        0 => Tensor::zeros([1], (&device, DType::F32)),
        _ => values.clone().slice(0..num_squares).sum(),
    };
    let factor = match max_norm > 0.0 {
        true => (sum.clone().sqrt().add_scalar(1e-6).recip() * max_norm).clamp_max(1.0),
        false => sum.ones_like(),
    };
    let finite = Tensor::cat(vec![values, sum], 0).is_finite().all();
    let factor = factor.mask_fill(finite.bool_not(), LEFT_OUT);
    let tables = TensorData::new(tables().as_flattened().to_vec(), [TABLES]);
    Tensor::cat(
        vec![factor, Tensor::from_data(tables, (&device, DType::F32))],
        0,
    )
}

/// The operation on a backend's own tensors.
#[backend_extension(Cube: cfg(feature = "cube"), Flex, Fusion: cfg(feature = "fusion"))]
pub(crate) trait GradScaleOps: Backend {
    /// The factor with the tables behind it.
    #[fusion(dtype = burn_backend::DType::F32, shape = burn_backend::Shape::from([513]))]
    fn grad_scale(
        values: FloatTensor<Self>,
        num_squares: usize,
        max_norm: f64,
    ) -> FloatTensor<Self>;
}
