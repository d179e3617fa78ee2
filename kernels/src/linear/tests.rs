use burn::tensor::{DType, Device, Tensor, TensorData};
use burn_backend::TensorMetadata;
use burn_flex::Flex;

use super::*;
use crate::device;
use crate::parity::{
    Operation, check, check_bfloat16, distance, float32, host, nans, norm, random,
};

#[test]
fn linear_is_its_reference() {
    check_linear(check);
}

#[test]
fn linear_in_bfloat16_is_its_reference() {
    check_linear(check_bfloat16);
}

fn check_linear(check: fn(&str, &[usize], f64, Operation, Operation)) {
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

#[test]
fn a_nan_stays_in_its_row_and_its_gradient_in_its_column() {
    let (rows, width, out) = (35, 31, 47);
    for (device_name, device) in device::for_tests() {
        let device = device.autodiff();
        let mut x: Vec<f64> = random(rows * width, 1).collect();
        x[7 * width + 3] = f64::NAN;
        x[33 * width + 5] = f64::NEG_INFINITY;
        let mut weight: Vec<f64> = random(out * width, 2).collect();
        weight[40 * width + 4] = f64::NAN;
        let x = float32(&x, [rows, width], &device).require_grad();
        let infinite = |column: usize| f64::NEG_INFINITY * weight[column * width + 5];
        let w = float32(&weight, [out, width], &device).require_grad();
        let output = linear(x.clone(), w.clone());
        let mut gradients = output.clone().sum().backward();
        let [of_x, of_weight] = [x, w].map(|leaf| {
            let gradient = leaf.grad_remove(&mut gradients);
            host(gradient.expect("it is tracked").flatten(0, 1))
        });
        let output = host(output.inner().flatten(0, 1));
        let places = |count: usize, columns: usize, shows: &dyn Fn(usize, usize) -> bool| {
            let places = 0..count * columns;
            let places = places.filter(|i| shows(i / columns, i % columns));
            places.collect::<Vec<usize>>()
        };
        let want = places(rows, out, &|row, column| row == 7 || column == 40);
        assert_eq!(nans(&output), want, "{device_name}: output");
        for column in (0..out).filter(|&column| column != 40) {
            assert_eq!(output[33 * out + column], infinite(column), "{device_name}");
        }
        let want = places(rows, width, &|_, column| column == 4);
        assert_eq!(nans(&of_x), want, "{device_name}: gradient of x");
        let want = places(out, width, &|_, column| column == 3);
        assert_eq!(
            nans(&of_weight),
            want,
            "{device_name}: gradient of the weight"
        );
        let all_infinite = (0..out).all(|row| of_weight[row * width + 5] == f64::NEG_INFINITY);
        assert!(all_infinite, "{device_name}: gradient of the weight");
    }
}
