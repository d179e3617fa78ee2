use burn::tensor::Tensor;

use super::*;
use crate::parity::{float32, host};
use crate::{KernelSet, device, with_kernel_set};

fn factor(values: &[f64], num_squares: usize, max_norm: f64, device: &Device) -> f64 {
    let values: Tensor<1> = float32(values, [values.len()], device);
    host(GradScale::clip(values, num_squares, max_norm).factor())[0]
}

/// More parameters than the cube has units, on the operations and the reference.
#[test]
fn the_factor_is_that_of_clip_grad_norm() {
    for (device_name, device) in device::for_tests() {
        for set in [KernelSet::Fused, KernelSet::Reference] {
            with_kernel_set(set, || {
                for count in [1, 3, 300] {
                    let mut values = vec![4.0; count];
                    // A loss, which is not part of the norm.
                    values.push(1e6);
                    let norm = (4.0 * count as f64).sqrt();
                    for max_norm in [0.0, 0.5 * norm, 2.0 * norm] {
                        let want = match max_norm > 0.0 {
                            true => (max_norm / (norm + 1e-6)).min(1.0),
                            false => 1.0,
                        };
                        let got = factor(&values, count, max_norm, &device);
                        let name = format!("{set} on {device_name}: {count}, {max_norm}");
                        assert!((got - want).abs() < 1e-6, "{name}: {got}, not {want}");
                    }
                }
                assert_eq!(factor(&[2.0], 0, 1.0, &device), 1.0, "nothing trained");
            });
        }
    }
}

#[test]
fn nan_and_infinity_anywhere_leave_the_step_out() {
    for (device_name, device) in device::for_tests() {
        for set in [KernelSet::Fused, KernelSet::Reference] {
            with_kernel_set(set, || {
                for (at, max_norm) in [(0, 1.0), (299, 0.0), (300, 1.0), (301, 0.0)] {
                    for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
                        let mut values = vec![1.0; 302];
                        values[at] = value;
                        let got = factor(&values, 300, max_norm, &device);
                        let name = format!("{set} on {device_name}: {value} at {at}");
                        assert_eq!(got, f64::from(LEFT_OUT), "{name}");
                    }
                }
                let got = factor(&[3e38, 3e38], 2, 1.0, &device);
                assert_eq!(got, f64::from(LEFT_OUT), "{set} on {device_name}: the sum");
            });
        }
    }
}

#[test]
fn codes_are_found_behind_the_factor() {
    for (device_name, device) in device::for_tests() {
        let known = host(GradScale::of(1.0, &device).values());
        assert_eq!(known[1..257], tables()[0].map(f64::from), "{device_name}");
        assert_eq!(known[257..], tables()[1].map(f64::from), "{device_name}");
        for set in [KernelSet::Fused, KernelSet::Reference] {
            let squares = float32(&[1.0, 2.0], [2], &device);
            let clipped = with_kernel_set(set, || GradScale::clip(squares, 2, 0.0));
            assert_eq!(host(clipped.values()), known, "{set} on {device_name}");
        }
    }
}
