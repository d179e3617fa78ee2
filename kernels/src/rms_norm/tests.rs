use burn::tensor::Tensor;

use super::*;
use crate::parity::check;

#[test]
fn rms_norm_is_its_reference() {
    for (rows, width) in [(1, 3), (47, 31), (130, 123)] {
        for kind in [NormWeight::Plain, NormWeight::OnePlus] {
            let shaped = |leaves: &[Tensor<1>]| {
                (leaves[0].clone().reshape([rows, width]), leaves[1].clone())
            };
            check(
                &format!("rms_norm {rows}×{width} {kind:?}"),
                &[rows * width, width],
                1.0,
                &|leaves| {
                    let (x, w) = shaped(leaves);
                    rms_norm(x, w, 1e-3, kind).flatten(0, 1)
                },
                &|leaves| {
                    let (x, w) = shaped(leaves);
                    rms_norm_reference(x, w, 1e-3, kind).flatten(0, 1)
                },
            );
        }
    }
}
