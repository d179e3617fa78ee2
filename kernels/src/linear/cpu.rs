use burn::backend::tensor::FloatTensor;
use burn_backend::ops::FloatTensorOps;
use burn_flex::Flex;

use super::LinearOps;

impl LinearOps for Flex {
    fn linear(x: FloatTensor<Self>, weight: FloatTensor<Self>) -> FloatTensor<Self> {
        Flex::float_matmul(x, Flex::float_transpose(weight))
    }

    fn linear_backward_x(grad: FloatTensor<Self>, weight: FloatTensor<Self>) -> FloatTensor<Self> {
        Flex::float_matmul(grad, weight)
    }

    fn linear_backward_weight(grad: FloatTensor<Self>, x: FloatTensor<Self>) -> FloatTensor<Self> {
        Flex::float_matmul(Flex::float_transpose(grad), x)
    }
}
