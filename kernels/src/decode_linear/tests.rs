use burn::tensor::{DType, Tensor, TensorData};

use super::*;
use crate::device;
use crate::parity::{distance, float32, host, nans, norm, products, random};

#[test]
fn a_row_has_the_same_bits_among_any_others() {
    for (device_name, device) in device::for_tests() {
        let tensor = |values: &[f64], shape: [usize; 2]| {
            Tensor::<2>::from_data(
                TensorData::new(values.to_vec(), shape),
                (&device, DType::F32),
            )
        };
        for (width, columns) in [(31, 47), (192, 576), (96, 1531)] {
            let x: Vec<f64> = random(33 * width, 1).collect();
            let weight: Vec<f64> = random(columns * width, 2).collect();
            let rows = |range: std::ops::Range<usize>| {
                let values = &x[range.start * width..range.end * width];
                let x = tensor(values, [range.len(), width]);
                host(decode_linear(x, tensor(&weight, [columns, width]), DType::F32).flatten(0, 1))
            };
            let all = rows(0..33);
            for row in [0, 1, 15, 16, 31, 32] {
                assert_eq!(
                    rows(row..row + 1),
                    all[row * columns..(row + 1) * columns],
                    "row {row} on {device_name}"
                );
            }
            assert_eq!(rows(5..20), all[5 * columns..20 * columns]);
            let (exact, _) = products(&x, &weight, width);
            let bound = f64::from(f32::EPSILON) * (width as f64).sqrt() * norm(&exact);
            assert!(
                distance(&all, &exact) <= bound,
                "{width}×{columns} on {device_name}"
            );
        }
    }
}

/// Longer than a block of rows on a GPU.
const ROWS: usize = 131;

/// Also of a width where blocks of 128 rows do not begin where a buffer can, rounded and not. The
/// products of the inputs are exact in float32, so what is rounded is the sums.
#[test]
fn in_bfloat16_a_row_has_the_same_bits_whatever_it_is_rounded_to() {
    for (width, columns) in [(31, 47), (96, 200)] {
        let held = |value: f64| burn::tensor::bf16::from_f64(value).to_f64();
        let x: Vec<f64> = random(ROWS * width, 1).map(held).collect();
        let weight: Vec<f64> = random(columns * width, 2).map(held).collect();
        let (exact, absolute) = products(&x, &weight, width);
        for (device_name, device) in device::for_tests() {
            if device_name == "wgpu" {
                continue;
            }
            let tensor = |values: &[f64]| {
                let data = TensorData::new(values.to_vec(), [values.len() / width, width]);
                Tensor::<2>::from_data(data, (&device, DType::BF16))
            };
            for dtype in [DType::F32, DType::BF16] {
                let rows = |range: std::ops::Range<usize>| {
                    let x = tensor(&x[range.start * width..range.end * width]);
                    let product = decode_linear(x, tensor(&weight), dtype);
                    assert_eq!(product.dtype(), dtype);
                    host(product.flatten(0, 1))
                };
                let all = rows(0..ROWS);
                for range in [0..1, 5..20, 63..64, 127..129, 130..131] {
                    assert_eq!(
                        rows(range.clone()),
                        all[range.start * columns..range.end * columns],
                        "rows {range:?} on {device_name} in {dtype:?}"
                    );
                }
                let sums = width as f64 * f64::from(f32::EPSILON) / 2.0 * norm(&absolute);
                // Half a unit in the last of eight bits.
                let rounded = match dtype {
                    DType::BF16 => norm(&exact) / 512.0,
                    _ => 0.0,
                };
                let (error, bound) = (distance(&all, &exact), sums + rounded);
                assert!(
                    error <= bound,
                    "{error:.3e} of {bound:.3e} on {device_name} in {dtype:?}"
                );
            }
        }
    }
}

#[test]
fn a_nan_or_an_infinity_stays_in_its_row_and_a_weight_s_in_its_column() {
    let (rows, width, columns) = (35, 31, 47);
    for (device_name, device) in device::for_tests() {
        let mut x: Vec<f64> = random(rows * width, 1).collect();
        x[7 * width + 3] = f64::NAN;
        x[33 * width + 5] = f64::NEG_INFINITY;
        let mut weight: Vec<f64> = random(columns * width, 2).collect();
        weight[40 * width + 4] = f64::NAN;
        let y = decode_linear(
            float32(&x, [rows, width], &device),
            float32(&weight, [columns, width], &device),
            DType::F32,
        );
        let y = host(y.flatten(0, 1));
        let want: Vec<usize> = (0..rows * columns)
            .filter(|i| i / columns == 7 || i % columns == 40)
            .collect();
        assert_eq!(nans(&y), want, "{device_name}");
        for (i, y) in y.iter().enumerate().filter(|(_, y)| !y.is_nan()) {
            let (row, column) = (i / columns, i % columns);
            let infinite = f64::NEG_INFINITY * weight[column * width + 5];
            let right = if row == 33 {
                *y == infinite
            } else {
                y.is_finite()
            };
            assert!(right, "{y} in row {row} on {device_name}");
        }
    }
}
