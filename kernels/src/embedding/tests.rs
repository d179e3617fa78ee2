use std::sync::Arc;

use burn::tensor::Tensor;

use super::*;
use crate::parity::check;

#[test]
fn embedding_adds_up_the_gradients_of_a_repeated_token() {
    let ids: Arc<[u32]> = [3, 0, 3, 3, 6].into();
    let shaped = |leaves: &[Tensor<1>]| leaves[0].clone().reshape([7, 31]);
    check(
        "embedding",
        &[7 * 31],
        1.0,
        &|leaves| embedding(shaped(leaves), &ids, 5.5).flatten(0, 1),
        &|leaves| embedding_reference(shaped(leaves), &ids, 5.5).flatten(0, 1),
    );
}
