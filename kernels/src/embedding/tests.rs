use std::sync::Arc;

use burn::tensor::Tensor;

use super::*;
use crate::device;
use crate::parity::{Operation, check, check_bfloat16, float32, host, nans, random};

#[test]
fn embedding_adds_up_the_gradients_of_a_repeated_token() {
    check_embedding(check);
}

#[test]
fn embedding_in_bfloat16_is_its_reference() {
    check_embedding(check_bfloat16);
}

fn check_embedding(check: fn(&str, &[usize], f64, Operation, Operation)) {
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

#[test]
fn a_nan_or_an_infinity_shows_in_the_tokens_of_its_row_and_a_gradient_s_in_the_row_of_its_token() {
    let ids: Arc<[u32]> = [3, 0, 3, 1].into();
    for (device_name, device) in device::for_tests() {
        let device = device.autodiff();
        let mut weight: Vec<f64> = random(5 * 4, 1).collect();
        weight[3 * 4 + 2] = f64::NAN;
        weight[1] = f64::NEG_INFINITY;
        // Nobody's row.
        weight[4 * 4] = f64::NAN;
        let weight = float32(&weight, [5, 4], &device).require_grad();
        let output = embedding(weight.clone(), &ids, 2.0);
        let mut factors = [1.0; 4 * 4];
        factors[4 + 3] = f64::NAN;
        let product = output.clone() * float32(&factors, [4, 4], &device);
        let mut gradients = product.sum().backward();
        let gradient = weight.grad_remove(&mut gradients).expect("it is tracked");
        let output = host(output.inner().flatten(0, 1));
        assert_eq!(nans(&output), [2, 8 + 2], "{device_name}: {output:?}");
        assert_eq!(output[4 + 1], f64::NEG_INFINITY, "{device_name}");
        let gradient = host(gradient.flatten(0, 1));
        assert_eq!(nans(&gradient), [3], "{device_name}: {gradient:?}");
    }
}
