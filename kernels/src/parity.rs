//! Every CPU operation against its reference: the output and all gradients, over shapes that bite.
//!
//! The oracle is the reference in float64. The operation may be wrong by twice what the reference
//! is in float32, and by a few roundings where that happens to be exact.

use std::sync::Arc;

use burn::tensor::{DType, Device, Tensor, TensorData};

use crate::*;

const FEW_ROUNDINGS: f64 = 8.0 * f32::EPSILON as f64;

/// The flattened inputs of an operation, as leaves, to its flattened output.
type Operation<'a> = &'a dyn Fn(&[Tensor<1>]) -> Tensor<1>;

/// Compares `fused` with `reference` on inputs of the given sizes.
fn check(name: &str, sizes: &[usize], spread: f64, fused: Operation, reference: Operation) {
    let inputs: Vec<Vec<f64>> = sizes
        .iter()
        .enumerate()
        .map(|(i, &size)| random(size, 7 + i as u64).map(|v| v * spread).collect())
        .collect();
    let got = run(fused, &inputs, DType::F32);
    let plain = run(reference, &inputs, DType::F32);
    let exact = run(reference, &inputs, DType::F64);
    // A part that cancels to nothing is held to the roundings of the largest.
    let largest = exact.iter().map(|part| norm(part)).fold(0.0, f64::max);
    for (part, ((got, plain), exact)) in got.iter().zip(&plain).zip(&exact).enumerate() {
        let part = match part {
            0 => "output".to_owned(),
            n => format!("gradient of input {n}"),
        };
        let bound = 2.0 * distance(plain, exact) + FEW_ROUNDINGS * largest;
        let error = distance(got, exact);
        assert!(
            error <= bound,
            "{name}: {part} is off by {error:.3e}, bound {bound:.3e}"
        );
    }
    let again = run(fused, &inputs, DType::F32);
    assert_eq!(got, again, "{name}: the same inputs give the same bits");
}

/// The output, then the gradient of each input of Σ weight · output.
fn run(operation: Operation, inputs: &[Vec<f64>], dtype: DType) -> Vec<Vec<f64>> {
    let device = Device::flex().autodiff();
    let tensor = |values: &[f64]| {
        let data = TensorData::new(values.to_vec(), [values.len()]);
        Tensor::<1>::from_data(data, (&device, dtype))
    };
    let leaves: Vec<Tensor<1>> = inputs.iter().map(|v| tensor(v).require_grad()).collect();
    let output = operation(&leaves);
    let [size] = output.dims();
    let weights: Vec<f64> = random(size, 99).collect();
    let mut gradients = (output.clone() * tensor(&weights)).sum().backward();
    let mut parts = vec![host(output.inner())];
    parts.extend(leaves.into_iter().map(|leaf| {
        let gradient = leaf.grad_remove(&mut gradients);
        host(gradient.expect("every input has a gradient"))
    }));
    parts
}

fn host(tensor: Tensor<1>) -> Vec<f64> {
    let tensor = tensor.cast(burn::tensor::FloatDType::F64);
    tensor.into_data().try_to_vec().expect("float64")
}

fn random(size: usize, seed: u64) -> impl Iterator<Item = f64> {
    let mut state = seed;
    (0..size).map(move |_| {
        state = state
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (state >> 33) as f64 / (1u64 << 30) as f64 - 1.0
    })
}

fn distance(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    a.iter()
        .zip(b)
        .map(|(a, b)| (a - b).powi(2))
        .sum::<f64>()
        .sqrt()
}

fn norm(a: &[f64]) -> f64 {
    a.iter().map(|a| a * a).sum::<f64>().sqrt()
}

#[test]
fn rms_norm_is_its_reference() {
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
                    rms_norm::rms_norm_reference(x, w, 1e-3, kind).flatten(0, 1)
                },
            );
        }
    }
}

#[test]
fn gated_mlp_is_its_reference_also_far_from_zero() {
    for activation in [Activation::Silu, Activation::GeluTanh] {
        for spread in [1.0, 30.0] {
            let shaped = |x: &Tensor<1>| x.clone().reshape([31, 47]);
            check(
                &format!("gated_mlp {activation:?} ±{spread}"),
                &[31 * 47; 2],
                spread,
                &|leaves| {
                    gated_mlp(shaped(&leaves[0]), shaped(&leaves[1]), activation).flatten(0, 1)
                },
                &|leaves| {
                    let (gate, up) = (shaped(&leaves[0]), shaped(&leaves[1]));
                    gated_mlp::gated_mlp_reference(gate, up, activation).flatten(0, 1)
                },
            );
        }
    }
}

#[test]
fn rope_is_its_reference() {
    let positions: Arc<[u32]> = [0, 1, 2, 0, 77, 3].into();
    for (heads, head_dim) in [(1, 2), (3, 20), (4, 64)] {
        let table = Rotary::new(head_dim, 100.0, 1.0).table(positions.clone());
        let shaped = |leaves: &[Tensor<1>]| leaves[0].clone().reshape([6, heads, head_dim]);
        check(
            &format!("rope {heads}×{head_dim}"),
            &[6 * heads * head_dim],
            1.0,
            &|leaves| rope(shaped(leaves), &table).flatten(0, 2),
            &|leaves| rope::rope_reference(shaped(leaves), &table).flatten(0, 2),
        );
    }
}

#[test]
fn embedding_adds_up_the_gradients_of_a_repeated_token() {
    let ids: Arc<[u32]> = [3, 0, 3, 3, 6].into();
    let shaped = |leaves: &[Tensor<1>]| leaves[0].clone().reshape([7, 31]);
    check(
        "embedding",
        &[7 * 31],
        1.0,
        &|leaves| embedding(shaped(leaves), &ids, 5.5).flatten(0, 1),
        &|leaves| embedding::embedding_reference(shaped(leaves), &ids, 5.5).flatten(0, 1),
    );
}

#[test]
fn attention_is_its_reference() {
    // Sequences of one token, longer than a tile, and windows shorter and longer than both.
    let packings: [&[usize]; 3] = [&[1], &[1, 3, 1, 31], &[70, 47, 130]];
    for lengths in packings {
        for (heads, kv_heads, head_dim) in [(1, 1, 3), (6, 2, 20), (4, 4, 32)] {
            for (window, softcap) in [
                (None, None),
                (Some(1), None),
                (Some(9), Some(2.0)),
                (Some(500), Some(5.0)),
            ] {
                let segments = Segments::from_lengths(lengths);
                let tokens = segments.num_tokens();
                let options = AttentionOptions {
                    scale: 0.4,
                    softcap,
                    window,
                };
                let shaped = |leaves: &[Tensor<1>]| {
                    let [q, k, v] = [(0, heads), (1, kv_heads), (2, kv_heads)]
                        .map(|(i, heads)| leaves[i].clone().reshape([tokens, heads, head_dim]));
                    (q, k, v)
                };
                let kv_size = tokens * kv_heads * head_dim;
                check(
                    &format!("attention {lengths:?} {heads}/{kv_heads}×{head_dim} {options:?}"),
                    &[tokens * heads * head_dim, kv_size, kv_size],
                    2.0,
                    &|leaves| {
                        let (q, k, v) = shaped(leaves);
                        attention(q, k, v, &segments, options).flatten(0, 2)
                    },
                    &|leaves| {
                        let (q, k, v) = shaped(leaves);
                        attention::attention_reference(q, k, v, &segments, options).flatten(0, 2)
                    },
                );
            }
        }
    }
}

#[test]
fn linear_logprobs_is_its_reference_in_every_column() {
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
                    ];
                    Tensor::cat(columns.to_vec(), 0)
                },
                &|leaves| {
                    let (hidden, head) = shaped(leaves);
                    linear_logprobs::linear_logprobs_reference(hidden, head, &targets, options)
                        .transpose()
                        .flatten(0, 1)
                },
            );
        }
    }
}

#[test]
fn decode_linear_gives_a_row_the_same_bits_among_any_others() {
    let device = Device::flex();
    let tensor = |values: Vec<f64>, shape: [usize; 2]| {
        Tensor::<2>::from_data(TensorData::new(values, shape), (&device, DType::F32))
    };
    for (width, columns) in [(31, 47), (192, 576), (96, 1531)] {
        let x: Vec<f64> = random(33 * width, 1).collect();
        let weight = tensor(random(columns * width, 2).collect(), [columns, width]);
        let rows = |range: std::ops::Range<usize>| {
            let values = x[range.start * width..range.end * width].to_vec();
            let x = tensor(values, [range.len(), width]);
            host(decode_linear(x, weight.clone()).flatten(0, 1))
        };
        let all = rows(0..33);
        for row in [0, 1, 15, 16, 31, 32] {
            assert_eq!(
                rows(row..row + 1),
                all[row * columns..(row + 1) * columns],
                "row {row}"
            );
        }
        assert_eq!(rows(5..20), all[5 * columns..20 * columns]);
        let exact = tensor(x.clone(), [33, width]).cast(burn::tensor::FloatDType::F64);
        let exact = exact.matmul(
            weight
                .clone()
                .cast(burn::tensor::FloatDType::F64)
                .transpose(),
        );
        let exact = host(exact.flatten(0, 1));
        let bound = f64::from(f32::EPSILON) * (width as f64).sqrt() * norm(&exact);
        assert!(distance(&all, &exact) <= bound, "{width}×{columns}");
    }
}

#[test]
fn adamw_is_its_reference_and_decays_every_parameter() {
    let device = Device::flex();
    let tensor = |seed: u64| {
        let values: Vec<f64> = random(123, seed).map(|v| v * v + 0.1).collect();
        Tensor::<1>::from_data(TensorData::new(values, [123]), (&device, DType::F32))
    };
    let step = AdamWStep {
        learning_rate: 1e-2,
        beta1: 0.9,
        beta2: 0.95,
        epsilon: 1e-8,
        weight_decay: 0.5,
        grad_scale: 0.3,
        step: 3,
    };
    let inputs = || (tensor(1), tensor(2), [tensor(3), tensor(4)]);
    let (p, g, m) = inputs();
    let (got, got_moments) = adamw(p, g, m, step);
    let (p, g, m) = inputs();
    let (want, want_moments) = adamw::adamw_reference(p, g, m, step);
    let pairs = [(got, want)]
        .into_iter()
        .chain(got_moments.into_iter().zip(want_moments));
    for (got, want) in pairs {
        let (got, want) = (host(got), host(want));
        assert!(distance(&got, &want) <= FEW_ROUNDINGS * norm(&want));
    }
}

#[test]
fn decode_attention_is_the_last_row_of_attention() {
    let device = Device::flex();
    let (heads, kv_heads, head_dim, length) = (6, 2, 20, 13);
    let tensor = |heads: usize, seed: u64| {
        let values: Vec<f64> = random(length * heads * head_dim, seed).collect();
        let data = TensorData::new(values, [length, heads, head_dim]);
        Tensor::<3>::from_data(data, (&device, DType::F32))
    };
    let (q, k, v) = (tensor(heads, 1), tensor(kv_heads, 2), tensor(kv_heads, 3));
    for window in [None, Some(5)] {
        let options = AttentionOptions {
            scale: 0.4,
            softcap: Some(3.0),
            window,
        };
        let segments = Segments::from_lengths(&[length]);
        let whole = attention(q.clone(), k.clone(), v.clone(), &segments, options);
        let want = host(whole.narrow(0, length - 1, 1).flatten(0, 2));
        let mut cache = LayerCache::new([3, 16], [kv_heads, head_dim], DType::F32, &device);
        let positions: Vec<u32> = (0..length as u32).collect();
        cache.write(k.clone(), v.clone(), &[2; 13], &positions);
        cache.copy(2, 0, length);
        for slot in [2, 0] {
            let rows = CacheRows {
                slots: [slot].into(),
                lengths: [length].into(),
            };
            let last = q.clone().narrow(0, length - 1, 1);
            let got = host(decode_attention(last, &cache, &rows, options).flatten(0, 2));
            assert!(distance(&got, &want) <= 8.0 * f64::from(f32::EPSILON) * norm(&want));
        }
    }
}
