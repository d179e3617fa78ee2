use burn::tensor::Tensor;

use super::*;
use crate::device;
use crate::parity::{Operation, check, check_bfloat16, float32, host, nans, random};

#[test]
fn gated_mlp_is_its_reference_also_far_from_zero() {
    check_gated_mlp(check);
}

#[test]
fn gated_mlp_in_bfloat16_is_its_reference() {
    check_gated_mlp(check_bfloat16);
}

fn check_gated_mlp(check: fn(&str, &[usize], f64, Operation, Operation)) {
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

/// A gate of −∞ is the formula's −∞ · 0, which is NaN; behind a positive gate an `up` of −∞ is −∞.
#[test]
fn a_nan_or_an_infinity_shows_in_its_own_value_alone() {
    for (device_name, device) in device::for_tests() {
        let device = device.autodiff();
        for activation in [Activation::Silu, Activation::GeluTanh] {
            let leaf = |seed: u64, strange: [(usize, f64); 2]| {
                let mut values: Vec<f64> = random(3 * 40, seed).map(|v| v.abs() + 0.1).collect();
                for (at, value) in strange {
                    values[at] = value;
                }
                float32(&values, [3, 40], &device).require_grad()
            };
            let gate = leaf(1, [(5, f64::NAN), (70, f64::NEG_INFINITY)]);
            let up = leaf(2, [(50, f64::NAN), (90, f64::NEG_INFINITY)]);
            let output = gated_mlp(gate.clone(), up.clone(), activation);
            let mut gradients = output.clone().sum().backward();
            let [of_gate, of_up] = [gate, up].map(|leaf| {
                let gradient = leaf.grad_remove(&mut gradients);
                host(gradient.expect("it is tracked").flatten(0, 1))
            });
            let output = host(output.inner().flatten(0, 1));
            let name = format!("{device_name} {activation:?}");
            assert_eq!(nans(&output), [5, 50, 70], "{name}: output");
            assert_eq!(nans(&of_gate), [5, 50, 70], "{name}: gradient of the gate");
            assert_eq!(nans(&of_up), [5, 70], "{name}: gradient of up");
            assert_eq!(output[90], f64::NEG_INFINITY, "{name}");
            assert_eq!(of_gate[90], f64::NEG_INFINITY, "{name}");
        }
    }
}
