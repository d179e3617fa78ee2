use burn::tensor::{DType, Tensor, TensorData};

use super::*;
use crate::device;
use crate::parity::{Operation, check, check_bfloat16, host};

#[test]
fn rms_norm_is_its_reference() {
    check_rms_norm(check);
}

#[test]
fn rms_norm_in_bfloat16_is_its_reference() {
    check_rms_norm(check_bfloat16);
}

fn check_rms_norm(check: fn(&str, &[usize], f64, Operation, Operation)) {
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

#[test]
fn a_norm_that_is_added_is_its_reference() {
    check_rms_norm_add(check);
}

#[test]
fn a_norm_that_is_added_in_bfloat16_is_its_reference() {
    check_rms_norm_add(check_bfloat16);
}

fn check_rms_norm_add(check: fn(&str, &[usize], f64, Operation, Operation)) {
    for (rows, width) in [(1, 3), (47, 31), (130, 123)] {
        for kind in [NormWeight::Plain, NormWeight::OnePlus] {
            let shaped = |leaves: &[Tensor<1>]| {
                let [residual, x] = [0, 1].map(|at: usize| leaves[at].clone());
                let rows_of = |x: Tensor<1>| x.reshape([rows, width]);
                (rows_of(residual), rows_of(x), leaves[2].clone())
            };
            check(
                &format!("rms_norm_add {rows}×{width} {kind:?}"),
                &[rows * width, rows * width, width],
                1.0,
                &|leaves| {
                    let (residual, x, w) = shaped(leaves);
                    rms_norm_add(residual, x, w, 1e-3, kind).flatten(0, 1)
                },
                &|leaves| {
                    let (residual, x, w) = shaped(leaves);
                    rms_norm_add_reference(residual, x, w, 1e-3, kind).flatten(0, 1)
                },
            );
        }
    }
}

#[test]
fn a_nan_or_an_infinity_stays_in_its_row() {
    for (device_name, device) in device::for_tests() {
        let mut values: Vec<f32> = vec![0.5; 3 * 40];
        values[3] = f32::NAN;
        values[45] = f32::INFINITY;
        let data = TensorData::new(values, [3, 40]);
        let x = Tensor::<2>::from_data(data, (&device, DType::F32));
        let weight = Tensor::<1>::ones([40], (&device, DType::F32));
        let ones = Tensor::<2>::ones([3, 40], (&device, DType::F32));
        let added = rms_norm_add(ones, x.clone(), weight.clone(), 1e-6, NormWeight::Plain);
        let added = host(added.flatten(0, 1));
        let y = host(rms_norm(x, weight, 1e-6, NormWeight::Plain).flatten(0, 1));
        let sums = y.iter().map(|y| y + 1.0);
        let same = added
            .iter()
            .zip(sums)
            .all(|(a, b)| (a - b).abs() < 1e-6 || b.is_nan() && a.is_nan());
        assert!(same, "{device_name}: {added:?}");
        assert!(y[..40].iter().all(|y| y.is_nan()), "{device_name}: {y:?}");
        // ∞ / ∞, and every other value over ∞.
        assert!(y[45].is_nan() && y[44] == 0.0, "{device_name}: {y:?}");
        assert!(
            y[80..].iter().all(|y| (y - 1.0).abs() < 1e-5),
            "{device_name}"
        );
    }
}
