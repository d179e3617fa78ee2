use burn::tensor::TensorData;

use super::*;
use crate::parity::{FEW_ROUNDINGS, distance, host, norm, random};
use crate::{adamw, device};

const STEP: AdamWStep = AdamWStep {
    learning_rate: 1e-2,
    beta1: 0.9,
    beta2: 0.95,
    epsilon: 1e-8,
    weight_decay: 0.1,
    grad_scale: 0.5,
    step: 1,
};

fn tensor(size: usize, seed: u64, spread: f64, device: &Device) -> Tensor<1> {
    let values: Vec<f64> = random(size, seed).map(|v| v * spread).collect();
    Tensor::from_data(TensorData::new(values, [size]), (device, DType::F32))
}

/// Several blocks, the last one short, over several steps: the same parameters, and codes that
/// differ by one at most, where rounding moved a value over the middle between two.
#[test]
fn moments_of_eight_bits_are_those_of_the_reference() {
    for (device_name, device) in device::for_tests() {
        let size = 700;
        let mut state = (
            tensor(size, 1, 1.0, &device),
            EightBitMoments::zeros(size, &device),
        );
        for step in 1..=4 {
            let grad = tensor(size, 10 + step, 1e-3, &device);
            let step = AdamWStep { step, ..STEP };
            // Both from the reference's state, so that a code off by one does not add up.
            let (parameter, moments) = state;
            let got = adamw_8bit(parameter.clone(), grad.clone(), moments.clone(), step);
            let want = adamw_8bit_reference(parameter, grad, moments, step);
            let (a, b) = (host(got.0.clone()), host(want.0.clone()));
            assert!(
                distance(&a, &b) <= FEW_ROUNDINGS * norm(&b),
                "{device_name}"
            );
            let scales = |moments: &EightBitMoments| host(moments.scales.clone().flatten(0, 1));
            let (a, b) = (scales(&got.1), scales(&want.1));
            assert!(
                distance(&a, &b) <= FEW_ROUNDINGS * norm(&b),
                "{device_name}"
            );
            let bytes = |moments: &EightBitMoments| -> Vec<u8> {
                let words: Vec<i32> = moments.codes.clone().into_data().try_to_vec().expect("i32");
                words.iter().flat_map(|word| word.to_le_bytes()).collect()
            };
            let (a, b) = (bytes(&got.1), bytes(&want.1));
            let off = a.iter().zip(&b).filter(|(a, b)| a != b).count();
            assert!(off <= 2, "{device_name}: {off} of {} codes differ", a.len());
            assert!(
                a.iter().zip(&b).all(|(a, b)| a.abs_diff(*b) <= 1),
                "{device_name}"
            );
            state = want;
        }
    }
}

/// At the lower end of a decade a step of the first moment's codes is 0.9 / 64 of the decade, 14 % of
/// the value, so a value is off by 7 % at most; of the second by half of that, and its root by half
/// again. Fifty updates, each off by less than 9 %, move the parameter that much amiss at most.
#[test]
fn fifty_steps_end_near_those_with_float32_moments() {
    let device = Device::flex();
    let size = 512;
    let start = tensor(size, 1, 1.0, &device);
    let zeros = || Tensor::zeros([size], (&device, DType::F32));
    let mut exact = (start.clone(), [zeros(), zeros()]);
    let mut coarse = (start.clone(), EightBitMoments::zeros(size, &device));
    let target = tensor(size, 2, 1.0, &device);
    for step in 1..=50 {
        let step = AdamWStep {
            step,
            weight_decay: 0.0,
            ..STEP
        };
        let grad = exact.0.clone() - target.clone();
        exact = adamw(exact.0, grad, exact.1, step);
        let grad = coarse.0.clone() - target.clone();
        coarse = adamw_8bit(coarse.0, grad, coarse.1, step);
    }
    let [start, exact, coarse] = [start, exact.0, coarse.0].map(host);
    let moved = distance(&exact, &start);
    let error = distance(&coarse, &exact);
    assert!(error < 0.09 * moved, "{error} of {moved}");
}

#[test]
fn a_nan_shows_in_the_parameter_and_the_scale() {
    for (device_name, device) in device::for_tests() {
        let mut values = vec![1e-3f32; 300];
        values[5] = f32::NAN;
        let grad = Tensor::<1>::from_data(TensorData::new(values, [300]), (&device, DType::F32));
        let moments = EightBitMoments::zeros(300, &device);
        let (parameter, _) = adamw_8bit(tensor(300, 1, 1.0, &device), grad, moments, STEP);
        let parameter = host(parameter);
        assert!(parameter[5].is_nan(), "{device_name}");
        assert_eq!(
            parameter.iter().filter(|p| p.is_nan()).count(),
            1,
            "{device_name}"
        );
    }
}
