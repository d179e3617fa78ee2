use std::sync::Arc;

use burn::tensor::Tensor;

use super::*;
use crate::parity::check;

#[test]
fn rope_is_its_reference() {
    let positions: Arc<[u32]> = [0, 1, 2, 0, 77, 3].into();
    for (heads, head_dim, rotary_dim) in [(1, 2, 2), (3, 20, 20), (4, 64, 64), (2, 31, 6)] {
        let table = Rotary::new(rotary_dim, 100.0, 1.0).table(positions.clone());
        let shaped = |leaves: &[Tensor<1>]| leaves[0].clone().reshape([6, heads, head_dim]);
        check(
            &format!("rope {heads}×{head_dim}, {rotary_dim} turned"),
            &[6 * heads * head_dim],
            1.0,
            &|leaves| rope(shaped(leaves), &table).flatten(0, 2),
            &|leaves| rope_reference(shaped(leaves), &table).flatten(0, 2),
        );
    }
}
