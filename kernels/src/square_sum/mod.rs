//! Σ x², for the global gradient norm.

mod cpu;
#[cfg(feature = "cube")]
mod cube;

use burn::backend::{Backend, Dispatch, backend_extension, tensor::FloatTensor};
use burn::tensor::Tensor;

/// The sum of squares of a tensor, accumulated in float64 on the CPU.
///
/// # Shapes
/// - x: `[values]`
/// - output: `[1]`
pub fn square_sum(x: Tensor<1>) -> Tensor<1> {
    if !crate::choice::fused(&x) {
        return x.square().sum();
    }
    Tensor::from_dispatch(<Dispatch as SquareSumOps>::square_sum(x.into_dispatch()))
}

/// The operation on a backend's own tensors.
#[backend_extension(Cube: cfg(feature = "cube"), Flex, Fusion: cfg(feature = "fusion"))]
pub(crate) trait SquareSumOps: Backend {
    #[fusion(dtype = burn_backend::DType::F32, shape = burn_backend::Shape::from([1]))]
    fn square_sum(x: FloatTensor<Self>) -> FloatTensor<Self>;
}

#[cfg(test)]
mod tests {
    use burn::tensor::{DType, TensorData};

    use super::*;
    use crate::device;
    use crate::parity::{host, random};

    #[test]
    fn the_sum_is_right_over_many_cubes() {
        for (device_name, device) in device::for_tests() {
            for size in [1, 255, 70_001] {
                let values: Vec<f64> = random(size, 3).map(|v| f64::from(v as f32)).collect();
                let data = TensorData::new(values.clone(), [size]);
                let x = Tensor::<1>::from_data(data, (&device, DType::F32));
                let want: f64 = values.iter().map(|v| v * v).sum();
                let got = host(square_sum(x))[0];
                let error = (got - want).abs() / want;
                assert!(
                    error < 4.0 * f64::from(f32::EPSILON),
                    "{device_name} {size}: {error:.1e}"
                );
            }
        }
    }
}
