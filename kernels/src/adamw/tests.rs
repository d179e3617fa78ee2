use burn::tensor::{DType, Tensor, TensorData};

use super::eight_bit::{EightBitMoments, adamw_8bit};
use super::*;
use crate::parity::{FEW_ROUNDINGS, distance, float32, host, nans, norm, random};
use crate::{KernelSet, device, square_sum, with_kernel_set};

pub(super) const STEP: AdamWStep = AdamWStep {
    learning_rate: 1e-2,
    beta1: 0.9,
    beta2: 0.95,
    epsilon: 1e-8,
    weight_decay: 0.1,
    step: 1,
};

#[test]
fn adamw_is_its_reference_and_decays_every_parameter() {
    let step = AdamWStep {
        learning_rate: 1e-2,
        beta1: 0.9,
        beta2: 0.95,
        epsilon: 1e-8,
        weight_decay: 0.5,
        step: 3,
    };
    for (device_name, device) in device::for_tests() {
        let tensor = |seed: u64| {
            let values: Vec<f64> = random(123, seed).map(|v| v * v + 0.1).collect();
            Tensor::<1>::from_data(TensorData::new(values, [123]), (&device, DType::F32))
        };
        let inputs = || (tensor(1), tensor(2), [tensor(3), tensor(4)]);
        let (p, g, m) = inputs();
        let scale = GradScale::of(0.3, &device);
        let (got, got_moments, _) = adamw(p, g, m, None, &scale, step);
        let (p, g, m) = inputs();
        let (want, want_moments) = adamw_reference(p, g, m, &scale, step);
        let pairs = [(got, want)]
            .into_iter()
            .chain(got_moments.into_iter().zip(want_moments));
        for (got, want) in pairs {
            let (got, want) = (host(got), host(want));
            let error = distance(&got, &want);
            assert!(
                error <= FEW_ROUNDINGS * norm(&want),
                "{error:.3e} on {device_name}"
            );
        }
    }
}

#[test]
fn a_tensor_that_something_else_holds_is_not_written() {
    for (device_name, device) in device::for_tests() {
        let tensor = |value: f64| Tensor::<1>::full([70], value, (&device, DType::F32));
        let (held, moment) = (tensor(1.0), tensor(0.5));
        let step = AdamWStep {
            learning_rate: 0.1,
            beta1: 0.9,
            beta2: 0.95,
            epsilon: 1e-8,
            weight_decay: 0.0,
            step: 1,
        };
        let moments = [moment.clone(), moment.clone()];
        let one = GradScale::of(1.0, &device);
        let (after, ..) = adamw(held.clone(), tensor(1.0), moments, None, &one, step);
        assert_ne!(host(after)[0], 1.0, "{device_name}");
        assert_eq!(host(held), [1.0; 70], "{device_name}");
        assert_eq!(host(moment), [0.5; 70], "{device_name}");
    }
}

/// A gradient of −∞ gives moments of −∞ and ∞, and −∞ / ∞ is NaN.
#[test]
fn a_nan_or_infinite_gradient_shows_in_its_own_parameter_and_moments_alone() {
    let step = AdamWStep {
        learning_rate: 0.1,
        beta1: 0.9,
        beta2: 0.95,
        epsilon: 1e-8,
        weight_decay: 0.1,
        step: 2,
    };
    for (device_name, device) in device::for_tests() {
        let mut grad: Vec<f64> = random(300, 1).collect();
        grad[5] = f64::NAN;
        grad[290] = f64::NEG_INFINITY;
        let ones = || float32(&[1.0; 300], [300], &device);
        let grad = float32(&grad, [300], &device);
        let half = GradScale::of(0.5, &device);
        let moments = [ones(), ones()];
        let (parameter, moments, _) = adamw(ones(), grad, moments, None, &half, step);
        assert_eq!(nans(&host(parameter)), [5, 290], "{device_name}");
        let [first, second] = moments.map(host);
        assert_eq!(nans(&first), [5], "{device_name}");
        assert_eq!(nans(&second), [5], "{device_name}");
        assert_eq!(
            (first[290], second[290]),
            (f64::NEG_INFINITY, f64::INFINITY),
            "{device_name}"
        );
        assert_eq!(first.iter().filter(|m| m.is_infinite()).count(), 1);
    }
}

/// By both optimizers: the numbers that a cast of the new parameter gives, and the same parameter and
/// moments as without a copy. 700 values end amid a block of eight bits.
#[test]
fn a_copy_in_half_precision_is_a_cast_of_the_new_parameter() {
    for (device_name, device) in device::for_tests() {
        if device_name == "wgpu" {
            continue;
        }
        let tensor = |seed: u64| {
            let values: Vec<f64> = random(700, seed).collect();
            float32(&values, [700], &device)
        };
        let zeros = || Tensor::<1>::zeros([700], (&device, DType::F32));
        let bits = |x: Tensor<1>| x.into_data().as_bytes().to_vec();
        let (dtype, half) = (DType::BF16, GradScale::of(0.5, &device));

        let moments = || [zeros(), zeros()];
        let (p, m, copy) = adamw(tensor(1), tensor(2), moments(), Some(dtype), &half, STEP);
        let (plain, plain_m, _) = adamw(tensor(1), tensor(2), moments(), None, &half, STEP);
        let copy = copy.expect("it was asked for");
        assert_eq!(copy.dtype(), dtype, "{device_name}");
        assert_eq!(bits(copy), bits(p.clone().cast(dtype)), "{device_name}");
        assert_eq!(host(p), host(plain), "{device_name}");
        assert_eq!(m.map(host), plain_m.map(host), "{device_name}");

        let moments = || EightBitMoments::zeros(700, &device);
        let (p, m, copy) = adamw_8bit(tensor(1), tensor(2), moments(), Some(dtype), &half, STEP);
        let (plain, plain_m, _) = adamw_8bit(tensor(1), tensor(2), moments(), None, &half, STEP);
        let copy = copy.expect("it was asked for");
        assert_eq!(bits(copy), bits(p.clone().cast(dtype)), "{device_name}");
        assert_eq!(host(p), host(plain), "{device_name}");
        for (m, plain_m) in [
            (m.scales.into_data(), plain_m.scales.into_data()),
            (m.codes.into_data(), plain_m.codes.into_data()),
        ] {
            assert_eq!(m.as_bytes(), plain_m.as_bytes(), "{device_name}");
        }
    }
}

/// By both optimizers, on the operations and the reference: the same bits as before, and the copy of the
/// parameter that is still there.
#[test]
fn a_step_that_is_left_out_changes_nothing() {
    for (device_name, device) in device::for_tests() {
        let tensor = |seed: u64| {
            let values: Vec<f64> = random(700, seed).map(|v| v * v).collect();
            float32(&values, [700], &device)
        };
        let mut grad: Vec<f64> = random(700, 9).collect();
        grad[3] = f64::NAN;
        let grad = || float32(&grad, [700], &device);
        let copy = (device_name != "wgpu").then_some(DType::BF16);
        let is_cast = |copy: Option<Tensor<1>>| {
            copy.is_none_or(|copy| host(copy) == host(tensor(1).cast(DType::BF16)))
        };
        let taken = GradScale::of(0.5, &device);
        let left_out = GradScale::clip(square_sum(grad()), 1, 1.0);
        for set in [KernelSet::Fused, KernelSet::Reference] {
            with_kernel_set(set, || {
                let moments = [tensor(2), tensor(3)];
                let (p, [m, v], copy) = adamw(tensor(1), grad(), moments, copy, &left_out, STEP);
                assert_eq!(host(p), host(tensor(1)), "{set} on {device_name}");
                assert_eq!(host(m), host(tensor(2)), "{set} on {device_name}");
                assert_eq!(host(v), host(tensor(3)), "{set} on {device_name}");
                assert!(is_cast(copy), "{set} on {device_name}");
            });
            with_kernel_set(set, || {
                let moments = EightBitMoments::zeros(700, &device);
                let (_, moments, _) = adamw_8bit(tensor(1), tensor(2), moments, None, &taken, STEP);
                let before = moments.clone();
                let (p, after, copy) =
                    adamw_8bit(tensor(1), grad(), moments, copy, &left_out, STEP);
                assert_eq!(host(p), host(tensor(1)), "{set} on {device_name}");
                assert!(is_cast(copy), "{set} on {device_name}");
                let data = |moments: EightBitMoments| {
                    [moments.codes.into_data(), moments.scales.into_data()]
                        .map(|data| data.as_bytes().to_vec())
                };
                assert_eq!(data(after), data(before), "{set} on {device_name}");
            });
        }
    }
}
