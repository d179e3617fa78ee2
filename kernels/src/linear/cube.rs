use burn::backend::tensor::FloatTensor;
use burn_backend::TensorMetadata;
use burn_cubecl::CubeBackend;

use super::LinearOps;
use crate::cube::{product, transposed};

impl LinearOps for CubeBackend {
    fn linear(x: FloatTensor<Self>, weight: FloatTensor<Self>) -> FloatTensor<Self> {
        let dtype = x.dtype();
        product(x, transposed(weight), None, dtype)
    }

    fn linear_backward_x(grad: FloatTensor<Self>, weight: FloatTensor<Self>) -> FloatTensor<Self> {
        let dtype = grad.dtype();
        product(grad, weight, None, dtype)
    }

    fn linear_backward_weight(grad: FloatTensor<Self>, x: FloatTensor<Self>) -> FloatTensor<Self> {
        let dtype = grad.dtype();
        product(transposed(grad), x, None, dtype)
    }
}
