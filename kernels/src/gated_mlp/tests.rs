use burn::tensor::Tensor;

use super::*;
use crate::parity::check;

#[test]
fn gated_mlp_is_its_reference_also_far_from_zero() {
    for activation in [Activation::Silu, Activation::GeluTanh] {
        for spread in [1.0, 30.0] {
            let shaped = |x: &Tensor<1>| x.clone().reshape([31, 47]);
            check(
                &format!("gated_mlp {activation:?} ±{spread}"),
                &[31 * 47; 2],
                spread,
                &|leaves| {
                    gated_mlp(shaped(&leaves[0]), shaped(&leaves[1]), activation).flatten(0, 1)
                },
                &|leaves| {
                    let (gate, up) = (shaped(&leaves[0]), shaped(&leaves[1]));
                    gated_mlp_reference(gate, up, activation).flatten(0, 1)
                },
            );
        }
    }
}
