use burn::tensor::{Gradients, Tensor};

/// A named result inside a block, such as `attention`, kept for someone who looks for the operation
/// that went wrong.
pub struct Part {
    /// What it is: the module's name in the checkpoint where it is a module's output; `residual` is
    /// what the feed-forward part is added to.
    pub name: &'static str,
    value: Tensor<1>,
    /// Zeros that were added to the value: burn keeps no gradient of a result, but theirs is the
    /// same.
    zeros: Option<Tensor<1>>,
}

impl Part {
    /// The part, and the result to go on with.
    pub(crate) fn tap<const D: usize>(name: &'static str, x: Tensor<D>) -> (Self, Tensor<D>) {
        let (shape, device, dtype) = (x.shape(), x.device(), x.dtype());
        if !device.is_autodiff() {
            let value = x.clone().flatten(0, D - 1);
            let zeros = None;
            return (Part { name, value, zeros }, x);
        }
        let value = x.clone().inner().flatten(0, D - 1);
        let zeros = Tensor::zeros([shape.num_elements()], (&device, dtype)).require_grad();
        let x = x + zeros.clone().reshape(shape);
        let zeros = Some(zeros);
        (Part { name, value, zeros }, x)
    }

    /// Its value, flattened.
    pub fn value(&self) -> Tensor<1> {
        self.value.clone()
    }

    /// Its gradient, flattened; `None` without gradients or where the loss does not depend on it.
    pub fn gradient(&self, gradients: &Gradients) -> Option<Tensor<1>> {
        self.zeros.as_ref()?.grad(gradients)
    }
}
