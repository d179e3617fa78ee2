use std::sync::Arc;

use burn::tensor::{DType, Tensor, TensorData};

use super::*;
use crate::device;
use crate::parity::{Operation, check, check_bfloat16, float32, host, nans, random};

#[test]
fn linear_logprobs_is_its_reference_in_every_column() {
    check_columns(check);
}

#[test]
fn linear_logprobs_in_bfloat16_is_its_reference() {
    check_columns(check_bfloat16);
}

fn check_columns(check: fn(&str, &[usize], f64, Operation, Operation)) {
    for (tokens, width, vocab) in [(1, 3, 5), (31, 47, 123)] {
        for (temperature, softcap) in [(1.0, None), (0.7, Some(3.0))] {
            let targets: Arc<[u32]> = (0..tokens).map(|t| (t * 7 % vocab) as u32).collect();
            let options = LogprobsOptions {
                temperature,
                softcap,
            };
            let shaped = |leaves: &[Tensor<1>]| {
                (
                    leaves[0].clone().reshape([tokens, width]),
                    leaves[1].clone().reshape([vocab, width]),
                )
            };
            check(
                &format!("linear_logprobs {tokens}×{width}×{vocab} {options:?}"),
                &[tokens * width, vocab * width],
                1.0,
                &|leaves| {
                    let (hidden, head) = shaped(leaves);
                    let got = linear_logprobs(hidden, head, &targets, options);
                    let columns = [
                        got.logprob(),
                        got.logsumexp(),
                        got.entropy(),
                        got.mean_logit(),
                        got.log_collision(),
                        got.correct(),
                    ];
                    Tensor::cat(columns.to_vec(), 0).cast(leaves[0].dtype())
                },
                &|leaves| {
                    let (hidden, head) = shaped(leaves);
                    linear_logprobs_reference(hidden, head, &targets, options)
                        .transpose()
                        .flatten(0, 1)
                },
            );
        }
    }
}

#[test]
fn a_logit_of_minus_infinity_has_no_probability_and_a_nan_stays_in_its_row() {
    for (device_name, device) in device::for_tests() {
        let tensor = |values: &[f32], shape: [usize; 2]| {
            let data = TensorData::new(values.to_vec(), shape);
            Tensor::<2>::from_data(data, (&device, DType::F32))
        };
        let hidden = tensor(&[1.0, f32::NAN, 1.0], [3, 1]);
        let head = tensor(&[1.0, f32::NEG_INFINITY, 2.0], [3, 1]);
        let options = LogprobsOptions {
            temperature: 1.0,
            softcap: None,
        };
        let got = linear_logprobs(hidden, head, &[0, 0, 1].into(), options);
        let logprobs = host(got.logprob());
        // 1 / (e⁰ + e¹) and the entropy of that pair, by hand.
        assert!(
            (logprobs[0] + 1.313_261_7).abs() < 1e-6,
            "{device_name}: {logprobs:?}"
        );
        assert!(logprobs[1].is_nan(), "{device_name}: {logprobs:?}");
        assert_eq!(logprobs[2], f64::NEG_INFINITY, "{device_name}");
        // p = 0.2689, 0.7311: Σp² = 0.6068; the third token is the likeliest.
        let log_collision = host(got.log_collision());
        assert!(
            (log_collision[0] + 0.499_595_4).abs() < 1e-5,
            "{device_name}: {log_collision:?}"
        );
        assert_eq!(host(got.correct())[0], 0.0, "{device_name}");
        let entropy = host(got.entropy());
        assert!(
            (entropy[0] - 0.582_203_1).abs() < 1e-6,
            "{device_name}: {entropy:?}"
        );
        assert_eq!(
            host(got.mean_logit())[0],
            f64::NEG_INFINITY,
            "{device_name}"
        );
    }
}

#[test]
fn under_a_soft_cap_a_nan_stays_in_its_row_and_so_does_its_gradient() {
    let (tokens, width, vocab) = (3, 5, 7);
    let options = LogprobsOptions {
        temperature: 0.7,
        softcap: Some(3.0),
    };
    for (device_name, device) in device::for_tests() {
        let device = device.autodiff();
        for one_pass in [false, true] {
            let mut hidden: Vec<f64> = random(tokens * width, 1).collect();
            hidden[width + 2] = f64::NAN;
            let head: Vec<f64> = random(vocab * width, 2).collect();
            let hidden = float32(&hidden, [tokens, width], &device).require_grad();
            let head = float32(&head, [vocab, width], &device);
            let targets = [0, 3, 6].into();
            let (sum, got) = if one_pass {
                let weights = Tensor::ones([tokens], (&device, DType::F32));
                weighted_logprobs(hidden.clone(), head, &targets, weights, options)
            } else {
                let got = linear_logprobs(hidden.clone(), head, &targets, options);
                (got.logprob().sum(), got)
            };
            let mut gradients = sum.backward();
            let gradient = hidden.grad_remove(&mut gradients).expect("it is tracked");
            let name = format!("{device_name}, one pass: {one_pass}");
            for column in [got.logprob(), got.logsumexp(), got.entropy()] {
                assert_eq!(nans(&host(column.inner())), [1], "{name}");
            }
            let row: Vec<usize> = (width..2 * width).collect();
            assert_eq!(nans(&host(gradient.flatten(0, 1))), row, "{name}");
        }
    }
}

/// A row of the head that is NaN, which is not the target's.
#[test]
fn a_token_whose_logits_hold_a_nan_is_no_right_answer() {
    for (device_name, device) in device::for_tests() {
        let hidden = float32(&[1.0, 1.0], [2, 1], &device);
        let head = float32(&[5.0, f64::NAN, 1.0], [3, 1], &device);
        let options = LogprobsOptions {
            temperature: 1.0,
            softcap: None,
        };
        let got = linear_logprobs(hidden, head, &[0, 2].into(), options);
        assert_eq!(nans(&host(got.logprob())), [0, 1], "{device_name}");
        assert_eq!(host(got.correct()), [0.0, 0.0], "{device_name}");
    }
}

/// The sum, its gradients, and in between the statistics.
#[test]
fn one_pass_gives_the_gradients_of_the_weighted_log_probabilities() {
    check_one_pass(check);
}

#[test]
fn one_pass_in_bfloat16_gives_the_gradients_of_the_weighted_log_probabilities() {
    check_one_pass(check_bfloat16);
}

fn check_one_pass(check: fn(&str, &[usize], f64, Operation, Operation)) {
    for (tokens, width, vocab) in [(1, 3, 5), (31, 47, 123)] {
        for (temperature, softcap) in [(1.0, None), (0.7, Some(3.0))] {
            let targets: Arc<[u32]> = (0..tokens).map(|t| (t * 7 % vocab) as u32).collect();
            let options = LogprobsOptions {
                temperature,
                softcap,
            };
            let shaped = |leaves: &[Tensor<1>]| {
                let hidden = leaves[0].clone().reshape([tokens, width]);
                (hidden, leaves[1].clone().reshape([vocab, width]))
            };
            let weights = |like: &Tensor<1>, dtype: DType| {
                let weights: Vec<f32> = (0..tokens).map(|t| (t % 3) as f32 - 0.7).collect();
                let data = TensorData::new(weights, [tokens]);
                Tensor::<1>::from_data(data, (&like.device(), dtype))
            };
            check(
                &format!("one pass {tokens}×{width}×{vocab} {options:?}"),
                &[tokens * width, vocab * width],
                1.0,
                &|leaves| {
                    let (hidden, head) = shaped(leaves);
                    let weights = weights(&leaves[0], DType::F32);
                    let (sum, got) = weighted_logprobs(hidden, head, &targets, weights, options);
                    let columns = vec![sum, got.logsumexp(), got.entropy()];
                    Tensor::cat(columns, 0).cast(leaves[0].dtype())
                },
                &|leaves| {
                    let (hidden, head) = shaped(leaves);
                    let columns = linear_logprobs_reference(hidden, head, &targets, options);
                    let column = |i| columns.clone().narrow(1, i, 1).squeeze_dim::<1>(1);
                    let sum = (column(0) * weights(&leaves[0], leaves[0].dtype())).sum();
                    Tensor::cat(vec![sum, column(1).detach(), column(2).detach()], 0)
                },
            );
        }
    }
}

#[test]
fn a_frozen_head_leaves_the_gradient_of_the_hidden_states_as_it_is() {
    let (tokens, width, vocab) = (31, 47, 123);
    let targets: Arc<[u32]> = (0..tokens).map(|t| (t * 7 % vocab) as u32).collect();
    let options = LogprobsOptions {
        temperature: 0.7,
        softcap: Some(3.0),
    };
    for (device_name, device) in device::for_tests() {
        let device = device.autodiff();
        let matrix = |rows: usize, seed: u64| {
            let values: Vec<f32> = random(rows * width, seed).map(|v| v as f32).collect();
            Tensor::<2>::from_data(TensorData::new(values, [rows, width]), &device)
        };
        for one_pass in [false, true] {
            let gradients = |head: Tensor<2>| {
                let hidden = matrix(tokens, 3).require_grad();
                let sum = if one_pass {
                    let weights = Tensor::ones([tokens], &device);
                    weighted_logprobs(hidden.clone(), head.clone(), &targets, weights, options).0
                } else {
                    let got = linear_logprobs(hidden.clone(), head.clone(), &targets, options);
                    (got.logprob() + got.entropy()).sum()
                };
                let mut gradients = sum.backward();
                let of_head = head.grad_remove(&mut gradients);
                let of_hidden = hidden.grad_remove(&mut gradients).expect("it is tracked");
                (host(of_hidden.flatten(0, 1)), of_head)
            };
            let (trained, of_head) = gradients(matrix(vocab, 5).require_grad());
            assert!(of_head.is_some(), "{device_name}");
            let (frozen, of_head) = gradients(matrix(vocab, 5));
            assert!(of_head.is_none(), "{device_name}");
            assert_eq!(trained, frozen, "{device_name}, one pass: {one_pass}");
        }
    }
}
