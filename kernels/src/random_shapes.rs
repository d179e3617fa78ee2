//! Every operation against its reference, over random shapes and packings. The seed is fixed, so that
//! a failure is one for everybody.

use std::sync::Arc;

use burn::tensor::{DType, Device, Tensor, TensorData};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed};

use crate::parity::{
    FEW_ROUNDINGS, assert_near, check, distance, float32, host, norm, products, random,
};
use crate::*;

fn few(cases: u32) -> Config {
    Config {
        cases,
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(17),
        ..Config::default()
    }
}

/// Numbers that float32 holds.
fn numbers(size: usize, seed: u64) -> Vec<f64> {
    random(size, seed).map(|v| f64::from(v as f32)).collect()
}

/// Up to six segments; the second half of them may continue a root of the first.
fn packing() -> impl Strategy<Value = Vec<Segment>> {
    let parts = proptest::collection::vec((1usize..90, any::<Option<u8>>()), 1..7);
    parts.prop_map(|parts| {
        let roots = parts.len().div_ceil(2);
        let segments = parts
            .into_iter()
            .enumerate()
            .map(|(index, (length, prefix))| Segment {
                length,
                prefix: prefix
                    .filter(|_| index >= roots)
                    .map(|prefix| usize::from(prefix) % roots),
            });
        segments.collect()
    })
}

proptest! {
    #![proptest_config(few(12))]

    #[test]
    fn attention_of_any_packing(
        packing in packing(),
        (kv_heads, group) in (1usize..3, 1usize..4),
        head_dim in prop::sample::select(vec![1usize, 17, 64]),
        window in prop::option::of(1usize..120),
        softcap in prop::option::of(1.0f32..9.0),
        scale in 0.05f32..0.6,
    ) {
        let segments = Segments::new(&packing);
        let tokens = segments.num_tokens();
        let heads = kv_heads * group;
        let options = AttentionOptions { scale, softcap, window };
        let shaped = |leaves: &[Tensor<1>]| {
            [(0, heads), (1, kv_heads), (2, kv_heads)]
                .map(|(i, heads)| leaves[i].clone().reshape([tokens, heads, head_dim]))
        };
        let kv_size = tokens * kv_heads * head_dim;
        check(
            &format!("attention {packing:?} {heads}/{kv_heads}×{head_dim} {options:?}"),
            &[tokens * heads * head_dim, kv_size, kv_size],
            2.0,
            &|leaves| {
                let [q, k, v] = shaped(leaves);
                attention(q, k, v, &segments, options).flatten(0, 2)
            },
            &|leaves| {
                let [q, k, v] = shaped(leaves);
                attention::attention_reference(q, k, v, &segments, options).flatten(0, 2)
            },
        );
    }

    #[test]
    fn linear_logprobs_of_any_shape(
        (tokens, width, vocab) in (1usize..70, 1usize..140, 2usize..400),
        temperature in 0.3f32..2.0,
        softcap in prop::option::of(1.0f32..30.0),
        seed in any::<u32>(),
    ) {
        let target = |t: usize| (seed as usize).wrapping_mul(t + 1) % vocab;
        let targets: Arc<[u32]> = (0..tokens).map(|t| target(t) as u32).collect();
        let options = LogprobsOptions { temperature, softcap };
        let shaped = |leaves: &[Tensor<1>]| {
            let hidden = leaves[0].clone().reshape([tokens, width]);
            (hidden, leaves[1].clone().reshape([vocab, width]))
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
                ];
                Tensor::cat(columns.to_vec(), 0)
            },
            &|leaves| {
                let (hidden, head) = shaped(leaves);
                // Without the last, where a tie in the logits is broken by rounding.
                linear_logprobs::linear_logprobs_reference(hidden, head, &targets, options)
                    .narrow(1, 0, 5)
                    .transpose()
                    .flatten(0, 1)
            },
        );
    }

    #[test]
    fn rms_norm_of_any_shape(
        (rows, width) in (1usize..60, 1usize..600),
        one_plus in any::<bool>(),
    ) {
        let kind = if one_plus { NormWeight::OnePlus } else { NormWeight::Plain };
        let shaped = |leaves: &[Tensor<1>]| {
            (leaves[0].clone().reshape([rows, width]), leaves[1].clone())
        };
        check(
            &format!("rms_norm {rows}×{width} {kind:?}"),
            &[rows * width, width],
            1.0,
            &|leaves| {
                let (x, weight) = shaped(leaves);
                rms_norm(x, weight, 1e-5, kind).flatten(0, 1)
            },
            &|leaves| {
                let (x, weight) = shaped(leaves);
                rms_norm::rms_norm_reference(x, weight, 1e-5, kind).flatten(0, 1)
            },
        );
    }

    #[test]
    fn rope_and_gated_mlp_of_any_shape(
        positions in proptest::collection::vec(0u32..3_000, 1..50),
        (heads, half) in (1usize..5, 1usize..50),
    ) {
        let (tokens, head_dim) = (positions.len(), 2 * half);
        let table = Rotary::new(head_dim, 10_000.0, 1.0).table(positions.into());
        let size = tokens * heads * head_dim;
        let shaped = |leaf: &Tensor<1>| leaf.clone().reshape([tokens, heads, head_dim]);
        check(
            &format!("rope {tokens}×{heads}×{head_dim}"),
            &[size],
            1.0,
            &|leaves| rope(shaped(&leaves[0]), &table).flatten(0, 2),
            &|leaves| rope::rope_reference(shaped(&leaves[0]), &table).flatten(0, 2),
        );
        let shaped = |leaf: &Tensor<1>| leaf.clone().reshape([tokens, heads * head_dim]);
        for activation in [Activation::Silu, Activation::GeluTanh] {
            check(
                &format!("gated_mlp {tokens}×{} {activation:?}", heads * head_dim),
                &[size; 2],
                4.0,
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

    #[test]
    fn embedding_of_any_tokens(
        ids in proptest::collection::vec(0u32..40, 1..200),
        width in 1usize..90,
    ) {
        let ids: Arc<[u32]> = ids.into();
        let shaped = |leaves: &[Tensor<1>]| leaves[0].clone().reshape([40, width]);
        check(
            &format!("embedding {} tokens × {width}", ids.len()),
            &[40 * width],
            1.0,
            &|leaves| embedding(shaped(leaves), &ids, 2.5).flatten(0, 1),
            &|leaves| embedding::embedding_reference(shaped(leaves), &ids, 2.5).flatten(0, 1),
        );
    }
}

proptest! {
    #![proptest_config(few(6))]

    #[test]
    fn weighted_logprobs_of_any_shape(
        (tokens, width, vocab) in (1usize..70, 1usize..140, 2usize..400),
        temperature in 0.3f32..2.0,
        softcap in prop::option::of(1.0f32..30.0),
        seed in any::<u32>(),
    ) {
        let seed = seed as usize;
        let target = |t: usize| seed.wrapping_mul(t + 1) % vocab;
        let targets: Arc<[u32]> = (0..tokens).map(|t| target(t) as u32).collect();
        let options = LogprobsOptions { temperature, softcap };
        let shaped = |leaves: &[Tensor<1>]| {
            let hidden = leaves[0].clone().reshape([tokens, width]);
            (hidden, leaves[1].clone().reshape([vocab, width]))
        };
        let weights = |like: &Tensor<1>| {
            let weight = |t: usize| [0.0f32, 0.5, -1.25, 1.0][(seed + t) % 4];
            let weights: Vec<f32> = (0..tokens).map(weight).collect();
            let data = TensorData::new(weights, [tokens]);
            Tensor::<1>::from_data(data, (&like.device(), like.dtype()))
        };
        check(
            &format!("weighted_logprobs {tokens}×{width}×{vocab} {options:?}"),
            &[tokens * width, vocab * width],
            1.0,
            &|leaves| {
                let (hidden, head) = shaped(leaves);
                let weights = weights(&leaves[0]);
                let (sum, got) = weighted_logprobs(hidden, head, &targets, weights, options);
                Tensor::cat(vec![sum, got.logprob(), got.log_collision()], 0)
            },
            &|leaves| {
                let (hidden, head) = shaped(leaves);
                let columns =
                    linear_logprobs::linear_logprobs_reference(hidden, head, &targets, options);
                let column = |i| columns.clone().narrow(1, i, 1).squeeze_dim::<1>(1);
                let sum = (column(0) * weights(&leaves[0])).sum();
                Tensor::cat(vec![sum, column(0).detach(), column(4).detach()], 0)
            },
        );
    }

    #[test]
    fn linear_of_any_shape((rows, width, out) in (1usize..80, 1usize..140, 1usize..120)) {
        let shaped = |leaves: &[Tensor<1>]| {
            let x = leaves[0].clone().reshape([rows, width]);
            (x, leaves[1].clone().reshape([out, width]))
        };
        check(
            &format!("linear {rows}×{width}×{out}"),
            &[rows * width, out * width],
            1.0,
            &|leaves| {
                let (x, weight) = shaped(leaves);
                linear(x, weight).flatten(0, 1)
            },
            &|leaves| {
                let (x, weight) = shaped(leaves);
                linear::linear_reference(x, weight).flatten(0, 1)
            },
        );
    }

    #[test]
    fn decode_linear_of_any_shape(
        (rows, width, columns) in (1usize..70, 1usize..140, 1usize..120),
        alone in any::<prop::sample::Index>(),
        seed in any::<u32>(),
    ) {
        let x = numbers(rows * width, seed.into());
        let weight = numbers(columns * width, u64::from(seed) + 1);
        let (exact, absolute) = products(&x, &weight, width);
        for (device_name, device) in device::for_tests() {
            let name = format!("decode_linear {rows}×{width}×{columns} on {device_name}");
            let product = |x: &[f64]| {
                let x = float32(x, [x.len() / width, width], &device);
                let weight = float32(&weight, [columns, width], &device);
                host(decode_linear(x, weight, DType::F32).flatten(0, 1))
            };
            let all = product(&x);
            // A rounding for each product and each sum.
            let bound = width as f64 * f64::from(f32::EPSILON) * norm(&absolute);
            let error = distance(&all, &exact);
            assert!(error <= bound, "{name}: off by {error:.3e}, bound {bound:.3e}");
            let row = alone.index(rows);
            let got = product(&x[row * width..][..width]);
            assert_eq!(got, all[row * columns..][..columns], "{name}: row {row} alone");
        }
    }

    #[test]
    fn decode_attention_of_any_lengths(
        lengths in proptest::collection::vec(1usize..400, 1..5),
        kv_heads in 1usize..3,
        group in prop::sample::select(vec![1usize, 3, 8, 11]),
        head_dim in prop::sample::select(vec![1usize, 17, 64]),
        window in prop::option::of(1usize..500),
        softcap in prop::option::of(1.0f32..9.0),
        scale in 0.05f32..0.6,
        alone in any::<prop::sample::Index>(),
    ) {
        let (heads, count) = (kv_heads * group, lengths.len());
        let options = AttentionOptions { scale, softcap, window };
        // Sequence i is in the slot that many from the last.
        let slot = |i: usize| count - 1 - i;
        let attend = |sequences: &[usize], device: &Device, dtype: DType| {
            let tensor = |rows: usize, heads: usize, seed: usize| {
                let values = numbers(rows * heads * head_dim, seed as u64);
                let data = TensorData::new(values, [rows, heads, head_dim]);
                Tensor::<3>::from_data(data, (device, dtype))
            };
            let mut cache = LayerCache::new([count, 400], [kv_heads, head_dim], dtype, device);
            for (i, &length) in lengths.iter().enumerate() {
                let [k, v] = [0, 1].map(|part| tensor(length, kv_heads, 3 * i + part));
                let positions: Vec<u32> = (0..length as u32).collect();
                cache.write(k, v, &vec![slot(i); length], &positions);
            }
            let queries = sequences.iter().map(|&i| tensor(1, heads, 3 * i + 2));
            let queries = Tensor::cat(queries.collect(), 0);
            let rows = CacheRows {
                slots: sequences.iter().map(|&i| slot(i)).collect(),
                lengths: sequences.iter().map(|&i| lengths[i]).collect(),
            };
            host(decode_attention(queries, &cache, &rows, options).flatten(0, 2))
        };
        let every: Vec<usize> = (0..count).collect();
        let exact = attend(&every, &Device::flex(), DType::F64);
        for (device_name, device) in device::for_tests() {
            let name = format!(
                "decode_attention {lengths:?} {heads}/{kv_heads}×{head_dim} {options:?} on {device_name}"
            );
            let got = attend(&every, &device, DType::F32);
            let plain = with_kernel_set(KernelSet::Reference, || {
                attend(&every, &device, DType::F32)
            });
            assert_near(&name, device_name, [&got, &plain, &exact], norm(&exact));
            let (one, size) = (alone.index(count), heads * head_dim);
            let by_itself = attend(&[one], &device, DType::F32);
            assert_eq!(by_itself, got[one * size..][..size], "{name}: {one} by itself");
        }
    }

    #[test]
    fn sample_of_any_rows(
        (rows, vocab) in (1usize..5, 1usize..900),
        temperature in 0.7f64..2.0,
        top_k in 0usize..60,
        top_p in prop::sample::select(vec![0.3f64, 0.8, 1.0]),
        softcap in prop::option::of(2.0f32..6.0),
        seed in any::<u32>(),
    ) {
        let options = SamplingOptions { temperature, top_k, top_p, softcap };
        let logits: Vec<f32> = random(rows * vocab, seed.into()).map(|v| v as f32 * 6.0).collect();
        let uniforms = random(rows, u64::from(seed) + 1).map(|v| (v + 1.0) / 2.0);
        let uniforms: Arc<[f64]> = uniforms.collect();
        for (device_name, device) in device::for_tests() {
            let data = TensorData::new(logits.clone(), [rows, vocab]);
            let tensor = Tensor::<2>::from_data(data, (&device, DType::F32));
            let chosen = sample(tensor, &uniforms, options);
            for ((row, &uniform), got) in logits.chunks(vocab).zip(&*uniforms).zip(&chosen) {
                // Float32 sums may move the number by a few parts in a million.
                let nearby = [-3e-6, 0.0, 3e-6]
                    .map(|d| sampling::sample_reference(row, uniform + d, options));
                let name = format!("{device_name} {rows}×{vocab} {options:?}: {got:?}");
                let want = nearby.iter().find(|want| want.token == got.token);
                let want = want.unwrap_or_else(|| panic!("{name} for {nearby:?}"));
                let errors = [got.logprob - want.logprob, got.model_logprob - want.model_logprob];
                assert!(errors.iter().all(|error| error.abs() < 2e-5), "{name} for {want:?}");
            }
        }
    }

    #[test]
    fn greedy_choices_are_the_first_of_the_largest(
        (rows, vocab) in (1usize..5, 1usize..900),
        (top_k, top_p) in (0usize..4, 0.1f64..1.0),
        seed in any::<u32>(),
    ) {
        let options = SamplingOptions { temperature: 0.0, top_k, top_p, softcap: None };
        // Nine different numbers, so that a long row has many that are equal, and zeros of either sign.
        let logits = random(rows * vocab, seed.into()).map(|v| (v * 4.0).round() as f32);
        let logits: Vec<f32> = logits.collect();
        let uniforms: Arc<[f64]> = vec![0.9; rows].into();
        for (device_name, device) in device::for_tests() {
            let data = TensorData::new(logits.clone(), [rows, vocab]);
            let tensor = Tensor::<2>::from_data(data, (&device, DType::F32));
            let chosen = sample(tensor, &uniforms, options);
            for (row, got) in logits.chunks(vocab).zip(&chosen) {
                let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                let first = row.iter().position(|&logit| logit == largest);
                let name = format!("{device_name} {rows}×{vocab} {options:?}");
                assert_eq!(Some(got.token as usize), first, "{name}");
                assert_eq!(got.logprob, 0.0, "{name}");
                let want = sampling::sample_reference(row, 0.9, options).model_logprob;
                let error = (got.model_logprob - want).abs();
                assert!(error < 2e-5, "{name}: {error:.1e}");
            }
        }
    }

    #[test]
    fn adamw_of_any_size(
        size in 1usize..3_000,
        step in 1u64..2_000,
        (learning_rate, weight_decay) in (1e-5f64..0.1, 0.0f64..0.5),
        grad_scale in 0.01f64..1.0,
    ) {
        let step = AdamWStep {
            learning_rate,
            beta1: 0.9,
            beta2: 0.95,
            epsilon: 1e-8,
            weight_decay,
            step,
        };
        let after = |device: &Device, dtype: DType| {
            let tensor = |seed: u64| {
                let data = TensorData::new(numbers(size, seed), [size]);
                Tensor::<1>::from_data(data, (device, dtype))
            };
            let moments = [tensor(3), tensor(4).square()];
            let scale = GradScale::of(grad_scale, device);
            let (parameter, [first, second], _) =
                adamw(tensor(1), tensor(2), moments, None, &scale, step);
            [parameter, first, second].map(host)
        };
        let exact = after(&Device::flex(), DType::F64);
        for (device_name, device) in device::for_tests() {
            let got = after(&device, DType::F32);
            let plain =
                with_kernel_set(KernelSet::Reference, || after(&device, DType::F32));
            for (i, part) in ["parameter", "first moment", "second moment"].iter().enumerate() {
                let name = format!("adamw of {size}, {step:?} on {device_name}: {part}");
                let all: [&[f64]; 3] = [&got[i], &plain[i], &exact[i]];
                assert_near(&name, device_name, all, norm(&exact[i]));
            }
        }
    }

    #[test]
    fn adamw_8bit_of_any_size(
        size in 1usize..2_000,
        spread in prop::sample::select(vec![1e-4f64, 1e-2, 1.0]),
        grad_scale in 0.1f64..1.0,
        seed in any::<u32>(),
    ) {
        let codes = |moments: &EightBitMoments| -> Vec<u8> {
            let words: Vec<i32> = moments.codes.clone().into_data().try_to_vec().expect("i32");
            words.iter().flat_map(|word| word.to_le_bytes()).collect()
        };
        for (device_name, device) in device::for_tests() {
            let tensor = |seed: u64, spread: f64| {
                let values: Vec<f64> = random(size, seed).map(|v| v * spread).collect();
                float32(&values, [size], &device)
            };
            let scale = GradScale::of(grad_scale, &device);
            let mut state = (tensor(1, 1.0), EightBitMoments::zeros(size, &device));
            for step in 1..=3 {
                let grad = tensor(u64::from(seed) + step, spread);
                let step = AdamWStep {
                    learning_rate: 1e-2,
                    beta1: 0.9,
                    beta2: 0.95,
                    epsilon: 1e-8,
                    weight_decay: 0.1,
                    step,
                };
                // Both from the reference's state, so that a code off by one does not add up.
                let (parameter, moments) = state;
                let (p, g, m) = (parameter.clone(), grad.clone(), moments.clone());
                let (p, m, _) = adamw_8bit(p, g, m, None, &scale, step);
                let got = (p, m);
                let want =
                    adamw::eight_bit::adamw_8bit_reference(parameter, grad, moments, &scale, step);
                let name = format!("adamw_8bit of {size}, {step:?} on {device_name}");
                let scales = |moments: &EightBitMoments| -> Tensor<1> {
                    moments.scales.clone().flatten(0, 1)
                };
                for (got, want) in [
                    (got.0.clone(), want.0.clone()),
                    (scales(&got.1), scales(&want.1)),
                ] {
                    let (got, want) = (host(got), host(want));
                    let error = distance(&got, &want);
                    assert!(error <= FEW_ROUNDINGS * norm(&want), "{name}: off by {error:.3e}");
                }
                let (a, b) = (codes(&got.1), codes(&want.1));
                let off = a.iter().zip(&b).filter(|(a, b)| a != b).count();
                let near = a.iter().zip(&b).all(|(a, b)| a.abs_diff(*b) <= 1);
                assert!(near && off <= 2, "{name}: {off} of {} codes differ", a.len());
                state = want;
            }
        }
    }

    #[test]
    fn square_sum_of_any_size(
        size in 1usize..20_000,
        exponent in -12i32..12,
        place in any::<prop::sample::Index>(),
    ) {
        let values: Vec<f64> = numbers(size, 3).iter().map(|v| v * 2f64.powi(exponent)).collect();
        let want: f64 = values.iter().map(|v| v * v).sum();
        let place = place.index(size);
        for (device_name, device) in device::for_tests() {
            let name = format!("square_sum of {size}, 2^{exponent} on {device_name}");
            let sum = |values: &[f64]| host(square_sum(float32(values, [size], &device)))[0];
            let error = (sum(&values) / want - 1.0).abs();
            // The square, 32 sums of a unit, and eight of a cube in each of two kernels: each is off
            // by half a unit at most.
            let bound = 49.0 / 2.0 * f64::from(f32::EPSILON);
            assert!(error <= bound, "{name}: {error:.1e}");
            let mut values = values.clone();
            values[place] = f64::NEG_INFINITY;
            assert_eq!(sum(&values), f64::INFINITY, "{name}: −∞ at {place}");
            values[place] = f64::NAN;
            assert!(sum(&values).is_nan(), "{name}: NaN at {place}");
        }
    }
}
