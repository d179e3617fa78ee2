use burn::tensor::{DType, Tensor, TensorData};

use super::*;
use crate::device;
use crate::parity::{distance, host, norm, random};

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
                host(decode_linear(x, tensor(&weight, [columns, width])).flatten(0, 1))
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
            let exact: Vec<f64> = x
                .chunks(width)
                .flat_map(|x| {
                    let dot = |w: &[f64]| x.iter().zip(w).map(|(x, w)| x * w).sum::<f64>();
                    weight.chunks(width).map(dot).collect::<Vec<_>>()
                })
                .collect();
            let bound = f64::from(f32::EPSILON) * (width as f64).sqrt() * norm(&exact);
            assert!(
                distance(&all, &exact) <= bound,
                "{width}×{columns} on {device_name}"
            );
        }
    }
}
