use burn::tensor::Tensor;

use super::RotaryTable;
use crate::rms_norm::reference::upcast;

/// The definition, in plain tensor operations.
pub fn rope(x: Tensor<3>, table: &RotaryTable) -> Tensor<3> {
    let dtype = x.dtype();
    let half = table.head_dim() / 2;
    let [cos, sin] = table.on_device(&x.device());
    let x = upcast(x);
    let (cos, sin) = (cos.cast(x.dtype()), sin.cast(x.dtype()));
    let first = x.clone().narrow(2, 0, half);
    let second = x.narrow(2, half, half);
    let turned = Tensor::cat(
        vec![
            first.clone() * cos.clone() - second.clone() * sin.clone(),
            second * cos + first * sin,
        ],
        2,
    );
    turned.cast(dtype)
}
