use burn::tensor::{DType, Device, Tensor, TensorData};
use burn_backend::TensorMetadata;
use burn_flex::Flex;

use super::*;
use crate::device;
use crate::parity::{check, distance, host, norm, random};

#[test]
fn linear_is_its_reference() {
    for [rows, width, out] in [[1, 1, 1], [3, 31, 47], [47, 123, 31], [129, 64, 192]] {
        let (x, weight) = (rows * width, out * width);
        let split = |leaves: &[Tensor<1>]| {
            let x = leaves[0].clone().reshape([rows, width]);
            (x, leaves[1].clone().reshape([out, width]))
        };
        check(
            &format!("linear {rows}×{width}×{out}"),
            &[x, weight],
            1.0,
            &|leaves| {
                let (x, weight) = split(leaves);
                linear(x, weight).flatten(0, 1)
            },
            &|leaves| {
                let (x, weight) = split(leaves);
                linear_reference(x, weight).flatten(0, 1)
            },
        );
    }
}

/// A product whose factors lose thirteen of their bits is off by some 4e-4.
#[test]
fn float32_is_not_rounded_before_it_is_multiplied() {
    const SIZE: usize = 128;
    let [x, weight] = [1, 2].map(|seed| random(SIZE * SIZE, seed).collect::<Vec<f64>>());
    let product = |device: &Device, dtype| {
        let tensor = |values: &[f64]| {
            Tensor::<2>::from_data(
                TensorData::new(values.to_vec(), [SIZE, SIZE]),
                (device, dtype),
            )
        };
        host(linear(tensor(&x), tensor(&weight)).flatten(0, 1))
    };
    let exact = product(&Device::flex(), DType::F64);
    for (name, device) in device::for_tests() {
        let error = distance(&product(&device, DType::F32), &exact) / norm(&exact);
        assert!(error < 2e-6, "{error:.1e} on {name}");
    }
}

#[test]
fn the_gradient_of_a_weight_lies_in_memory_as_the_weight_does() {
    let matrix = |[rows, columns]: [usize; 2]| {
        crate::cpu::tensor(vec![1.0; rows * columns], [rows, columns])
    };
    let grad = Flex::linear_backward_weight(matrix([5, 3]), matrix([5, 7]));
    assert_eq!(grad.shape().dims(), [3, 7]);
    assert!(grad.is_contiguous());
}
