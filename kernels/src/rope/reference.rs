use burn::tensor::Tensor;

use super::RotaryTable;
use crate::rms_norm::reference::upcast;

/// The definition, in plain tensor operations.
pub fn rope(x: Tensor<3>, table: &RotaryTable) -> Tensor<3> {
    let dtype = x.dtype();
    let half = table.rotary_dim() / 2;
    let [_, _, head_dim] = x.dims();
    let [cos, sin] = table.on_device(&x.device());
    let x = upcast(x);
    let (cos, sin) = (cos.cast(x.dtype()), sin.cast(x.dtype()));
    let first = x.clone().narrow(2, 0, half);
    let second = x.clone().narrow(2, half, half);
    let mut parts = vec![
        first.clone() * cos.clone() - second.clone() * sin.clone(),
        second * cos + first * sin,
    ];
    if head_dim > 2 * half {
        parts.push(x.narrow(2, 2 * half, head_dim - 2 * half));
    }
    Tensor::cat(parts, 2).cast(dtype)
}
