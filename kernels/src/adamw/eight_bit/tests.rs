use burn::tensor::TensorData;

use super::*;
use crate::adamw::tests::STEP;
use crate::parity::{FEW_ROUNDINGS, distance, host, nans, norm, random};
use crate::{GradScale, adamw, device};

fn tensor(size: usize, seed: u64, spread: f64, device: &Device) -> Tensor<1> {
    let values: Vec<f64> = random(size, seed).map(|v| v * spread).collect();
    Tensor::from_data(TensorData::new(values, [size]), (device, DType::F32))
}

fn scales(moments: &EightBitMoments) -> Vec<f64> {
    host(moments.scales.clone().flatten(0, 1))
}

/// The codes, one a byte.
fn bytes(moments: &EightBitMoments) -> Vec<u8> {
    let words: Vec<i32> = moments.codes.clone().into_data().try_to_vec().expect("i32");
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

/// Several blocks, the last one short, over several steps: the same parameters, and codes that
/// differ by one at most, where rounding moved a value over the middle between two.
#[test]
fn moments_of_eight_bits_are_those_of_the_reference() {
    for (device_name, device) in device::for_tests() {
        let (size, half) = (700, GradScale::of(0.5, &device));
        let mut state = (
            tensor(size, 1, 1.0, &device),
            EightBitMoments::zeros(size, &device),
        );
        for step in 1..=4 {
            let grad = tensor(size, 10 + step, 1e-3, &device);
            let step = AdamWStep { step, ..STEP };
            // Both from the reference's state, so that a code off by one does not add up.
            let (parameter, moments) = state;
            let (p, g, m) = (parameter.clone(), grad.clone(), moments.clone());
            let (p, m, _) = adamw_8bit(p, g, m, None, &half, step);
            let got = (p, m);
            let want = adamw_8bit_reference(parameter, grad, moments, &half, step);
            let (a, b) = (host(got.0.clone()), host(want.0.clone()));
            assert!(
                distance(&a, &b) <= FEW_ROUNDINGS * norm(&b),
                "{device_name}"
            );
            let (a, b) = (scales(&got.1), scales(&want.1));
            assert!(
                distance(&a, &b) <= FEW_ROUNDINGS * norm(&b),
                "{device_name}"
            );
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

/// Without what was before, a moment is the gradient, or its square, and the scale of a block that holds
/// a 1 is 1: the codes of values half-way between two codes, at the ends of decades, and beside them are
/// those that the search finds, on every device.
#[test]
fn every_value_takes_the_nearest_code() {
    let step = AdamWStep {
        beta1: 0.0,
        beta2: 0.0,
        ..STEP
    };
    let [signed, positive] = codes::tables();
    let middles = |table: &[f32; 256]| -> Vec<f32> {
        table
            .windows(2)
            .map(|pair| 0.5 * (pair[0] + pair[1]))
            .collect()
    };
    let decades = (-9..1).map(|decade| 10f32.powi(decade));
    let second = middles(positive).into_iter().chain(decades.clone());
    let values = middles(signed).into_iter().chain(decades);
    let values = values.chain(second.map(f32::sqrt)).chain([0.0]);
    let values: Vec<f32> = values
        .flat_map(|value| [value.next_down(), value, value.next_up()])
        .flat_map(|value| [value, -value])
        .filter(|value| value.abs() < 1.0)
        .collect();
    let blocks: Vec<f32> = values
        .chunks(BLOCK - 1)
        .flat_map(|values| {
            let ones = std::iter::repeat_n(1.0, BLOCK - values.len());
            values.iter().copied().chain(ones)
        })
        .collect();
    let first = blocks.iter().map(|value| codes::nearest(signed, *value));
    let second = blocks
        .iter()
        .map(|value| codes::nearest(positive, value * value));
    let want: Vec<u8> = first.chain(second).collect();
    for (device_name, device) in device::for_tests() {
        let grad = TensorData::new(blocks.clone(), [blocks.len()]);
        let grad = Tensor::from_data(grad, (&device, DType::F32));
        let moments = EightBitMoments::zeros(blocks.len(), &device);
        let one = GradScale::of(1.0, &device);
        let (_, moments, _) = adamw_8bit(grad.clone(), grad, moments, None, &one, step);
        let got = bytes(&moments);
        let wrong = got.iter().zip(&want).position(|(got, want)| got != want);
        assert_eq!(
            wrong.map(|at| (blocks[at % blocks.len()], got[at], want[at])),
            None,
            "{device_name}"
        );
    }
}

/// At the lower end of a decade a step of the first moment's codes is 0.9 / 64 of the decade, 14 % of
/// the value, so a value is off by 7 % at most; of the second by half of that, and its root by half
/// again. Fifty updates, each off by less than 9 %, move the parameter that much amiss at most.
#[test]
fn fifty_steps_end_near_those_with_float32_moments() {
    let device = Device::flex();
    let half = GradScale::of(0.5, &device);
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
        let (parameter, moments, _) = adamw(exact.0, grad, exact.1, None, &half, step);
        exact = (parameter, moments);
        let grad = coarse.0.clone() - target.clone();
        let (parameter, moments, _) = adamw_8bit(coarse.0, grad, coarse.1, None, &half, step);
        coarse = (parameter, moments);
    }
    let [start, exact, coarse] = [start, exact.0, coarse.0].map(host);
    let moved = distance(&exact, &start);
    let error = distance(&coarse, &exact);
    assert!(error < 0.09 * moved, "{error} of {moved}");
}

/// Gradients of 600 values, three blocks, one value of which is another.
fn grad_with(at: usize, value: f64, device: &Device) -> Tensor<1> {
    let mut values: Vec<f64> = random(600, 7).map(|v| v * 1e-3).collect();
    values[at] = value;
    Tensor::from_data(TensorData::new(values, [600]), (device, DType::F32))
}

/// The scale is the largest of the numbers, so the rest of the block is as if the gradient had been
/// zero; the codes hold no NaN, but the parameter keeps it.
#[test]
fn a_nan_gradient_shows_in_its_parameter_for_good_and_its_moments_take_the_last_code() {
    for (device_name, device) in device::for_tests() {
        let half = GradScale::of(0.5, &device);
        let after = |value: f64| {
            let moments = EightBitMoments::zeros(600, &device);
            let grad = grad_with(5, value, &device);
            let parameter = tensor(600, 1, 1.0, &device);
            adamw_8bit(parameter, grad, moments, None, &half, STEP)
        };
        let (parameter, moments, _) = after(f64::NAN);
        let (plain_parameter, plain_moments, _) = after(0.0);
        let values = host(parameter.clone());
        assert_eq!(nans(&values), [5], "{device_name}");
        let plain = host(plain_parameter);
        assert_eq!(values[..5], plain[..5], "{device_name}");
        assert_eq!(values[6..], plain[6..], "{device_name}");
        assert_eq!(scales(&moments), scales(&plain_moments), "{device_name}");
        let (got, mut want) = (bytes(&moments), bytes(&plain_moments));
        // Of the first moment, and, three blocks on, of the second.
        want[5] = 255;
        want[3 * BLOCK + 5] = 255;
        assert_eq!(got, want, "{device_name}");

        let grad = grad_with(5, 0.0, &device);
        let step = AdamWStep { step: 2, ..STEP };
        let (parameter, ..) = adamw_8bit(parameter, grad, moments, None, &half, step);
        assert_eq!(nans(&host(parameter)), [5], "{device_name}");
    }
}

/// A scale of ∞ is times zero for the other codes.
#[test]
fn an_infinite_gradient_makes_its_parameter_nan_and_at_the_next_step_its_whole_block() {
    for (device_name, device) in device::for_tests() {
        let moments = EightBitMoments::zeros(600, &device);
        let grad = grad_with(300, f64::NEG_INFINITY, &device);
        let parameter = tensor(600, 1, 1.0, &device);
        let half = GradScale::of(0.5, &device);
        let (parameter, moments, _) = adamw_8bit(parameter, grad, moments, None, &half, STEP);
        assert_eq!(nans(&host(parameter.clone())), [300], "{device_name}");
        let infinite: Vec<bool> = scales(&moments).iter().map(|s| s.is_infinite()).collect();
        let second = [false, true, false];
        assert_eq!(infinite, [second, second].concat(), "{device_name}");

        let grad = grad_with(300, 0.0, &device);
        let step = AdamWStep { step: 2, ..STEP };
        let (parameter, ..) = adamw_8bit(parameter, grad, moments, None, &half, step);
        let block: Vec<usize> = (BLOCK..2 * BLOCK).collect();
        assert_eq!(nans(&host(parameter)), block, "{device_name}");
    }
}
