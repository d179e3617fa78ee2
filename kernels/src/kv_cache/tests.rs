use burn::tensor::{DType, Tensor, TensorData};

use super::*;
use crate::parity::{assert_near, distance, float32, host, nans, norm, random};
use crate::{AttentionOptions, KernelSet, Segments, attention, device, with_kernel_set};

/// Sequences of ragged lengths in slots out of order, longer and shorter than a piece of the keys.
#[test]
fn decode_attention_is_the_last_row_of_attention() {
    for (device_name, device) in device::for_tests() {
        for (heads, kv_heads, head_dim) in [(6, 2, 20), (11, 1, 64)] {
            for (window, softcap) in [(None, None), (Some(5), Some(3.0)), (Some(300), None)] {
                let options = AttentionOptions {
                    scale: 0.4,
                    softcap,
                    window,
                };
                let lengths = [13, 1, 600, 257];
                let slots = [3, 0, 2, 4];
                let tensor = |length: usize, heads: usize, seed: usize| {
                    let values: Vec<f64> = random(length * heads * head_dim, seed as u64).collect();
                    let data = TensorData::new(values, [length, heads, head_dim]);
                    Tensor::<3>::from_data(data, (&device, DType::F32))
                };
                let heads_of = [kv_heads, head_dim];
                let mut cache = LayerCache::new([5, 640], heads_of, DType::F32, &device);
                let (mut last, mut want) = (Vec::new(), Vec::new());
                for (i, (&length, &slot)) in lengths.iter().zip(&slots).enumerate() {
                    let q = tensor(length, heads, 3 * i);
                    let k = tensor(length, kv_heads, 3 * i + 1);
                    let v = tensor(length, kv_heads, 3 * i + 2);
                    let positions: Vec<u32> = (0..length as u32).collect();
                    cache.write(k.clone(), v.clone(), &vec![slot; length], &positions);
                    let segments = Segments::from_lengths(&[length]);
                    let whole = attention(q.clone(), k, v, &segments, options);
                    want.push(host(whole.narrow(0, length - 1, 1).flatten(0, 2)));
                    last.push(q.narrow(0, length - 1, 1));
                }
                let rows = CacheRows {
                    slots: slots.into(),
                    lengths: lengths.into(),
                };
                let all = decode_attention(Tensor::cat(last.clone(), 0), &cache, &rows, options);
                let all = host(all.flatten(0, 2));
                let error = distance(&all, &want.concat());
                assert!(
                    error <= 8.0 * f64::from(f32::EPSILON) * norm(&all),
                    "{device_name} {heads}/{kv_heads}×{head_dim} {options:?}: {error:.3e}"
                );

                // One sequence by itself, in a slot that got a copy: the same bits.
                cache.copy(2, 1, 600);
                let rows = CacheRows {
                    slots: [1].into(),
                    lengths: [600].into(),
                };
                let alone = decode_attention(last[2].clone(), &cache, &rows, options);
                let width = heads * head_dim;
                assert_eq!(host(alone.flatten(0, 2)), all[2 * width..3 * width]);
            }
        }
    }
}

/// Eight heads of 256 values to a key head take the most shared memory that a kernel asks for.
#[test]
fn the_widest_heads_of_decode_attention_are_their_reference() {
    let (heads, head_dim, lengths) = (8, 256, [3, 300]);
    let options = AttentionOptions {
        scale: 0.1,
        softcap: Some(3.0),
        window: None,
    };
    let rows = CacheRows {
        slots: [1, 0].into(),
        lengths: lengths.into(),
    };
    let attend = |device: &Device, dtype: DType| {
        let tensor = |length: usize, heads: usize, seed: u64| {
            let values: Vec<f64> = random(length * heads * head_dim, seed).collect();
            let data = TensorData::new(values, [length, heads, head_dim]);
            Tensor::<3>::from_data(data, (device, dtype))
        };
        let mut cache = LayerCache::new([2, 310], [1, head_dim], dtype, device);
        for (i, (&slot, length)) in rows.slots.iter().zip(lengths).enumerate() {
            let [k, v] = [1, 2].map(|seed| tensor(length, 1, 2 * i as u64 + seed));
            let positions: Vec<u32> = (0..length as u32).collect();
            cache.write(k, v, &vec![slot; length], &positions);
        }
        let q = tensor(2, heads, 9);
        host(decode_attention(q, &cache, &rows, options).flatten(0, 2))
    };
    let exact = attend(&Device::flex(), DType::F64);
    for (device_name, device) in device::for_tests() {
        let got = attend(&device, DType::F32);
        let plain = with_kernel_set(KernelSet::Reference, || attend(&device, DType::F32));
        let name = format!("decode_attention of 8×256 on {device_name}");
        assert_near(&name, device_name, [&got, &plain, &exact], norm(&exact));
    }
}

/// A NaN in a key or a query reaches all values of the heads that meet it, one in a value that value
/// of the output; beyond the window and behind the end of a sequence it reaches nothing.
#[test]
fn a_nan_never_reaches_another_sequence_or_key_head() {
    let [heads, kv_heads, head_dim] = [4, 2, 8];
    let (slots, lengths) = ([2, 0, 1], [300, 5, 40]);
    let capacity = 320;
    for (device_name, device) in device::for_tests() {
        let mut cache = LayerCache::new([3, capacity], [kv_heads, head_dim], DType::F32, &device);
        let width = kv_heads * head_dim;
        for (i, slot) in slots.into_iter().enumerate() {
            let [mut k, mut v] = [0, 1]
                .map(|part| random(capacity * width, 2 * i as u64 + part).collect::<Vec<f64>>());
            k[lengths[i] * width..].fill(f64::NAN);
            v[lengths[i] * width..].fill(f64::NAN);
            match i {
                // In the second piece of the keys, of the second head.
                0 => k[290 * width + head_dim + 1] = f64::NAN,
                2 => v[7 * width + 3] = f64::NAN,
                _ => {}
            }
            let [k, v] = [k, v].map(|x| float32(&x, [capacity, kv_heads, head_dim], &device));
            let positions: Vec<u32> = (0..capacity as u32).collect();
            cache.write(k, v, &vec![slot; capacity], &positions);
        }
        let mut q: Vec<f64> = random(3 * heads * head_dim, 9).collect();
        q[(heads + 3) * head_dim + 2] = f64::NAN;
        let q = float32(&q, [3, heads, head_dim], &device);
        let rows = CacheRows {
            slots: slots.into(),
            lengths: lengths.into(),
        };
        for (window, softcap) in [(None, None), (None, Some(3.0)), (Some(4), Some(3.0))] {
            let options = AttentionOptions {
                scale: 0.4,
                softcap,
                window,
            };
            let attend = || decode_attention(q.clone(), &cache, &rows, options);
            let outputs =
                [KernelSet::Fused, KernelSet::Reference].map(|set| with_kernel_set(set, attend));
            let shows = |i: &usize| {
                let (sequence, head) = (i / (heads * head_dim), i / head_dim % heads);
                match sequence {
                    0 => window.is_none() && head >= 2,
                    1 => head == 3,
                    _ => window.is_none() && head < 2 && i % head_dim == 3,
                }
            };
            let want: Vec<usize> = (0..3 * heads * head_dim).filter(shows).collect();
            for output in outputs {
                let got = nans(&host(output.flatten(0, 2)));
                assert_eq!(got, want, "{device_name} {options:?}");
            }
        }
    }
}

#[test]
fn a_key_whose_score_is_minus_infinity_has_no_weight() {
    let (head_dim, length) = (4, 270);
    let options = AttentionOptions {
        scale: 0.4,
        softcap: None,
        window: None,
    };
    for (device_name, device) in device::for_tests() {
        let mut k: Vec<f64> = random(length * head_dim, 1).collect();
        let mut v = vec![1.0; length * head_dim];
        // One in either piece of the keys.
        for row in [3, 260] {
            k[row * head_dim] = f64::NEG_INFINITY;
            v[row * head_dim..][..head_dim].fill(1_000.0);
        }
        let [k, v] = [k, v].map(|x| float32(&x, [length, 1, head_dim], &device));
        let mut cache = LayerCache::new([1, length], [1, head_dim], DType::F32, &device);
        let positions: Vec<u32> = (0..length as u32).collect();
        cache.write(k, v, &vec![0; length], &positions);
        let q = float32(&[1.0; 4], [1, 1, head_dim], &device);
        let rows = CacheRows {
            slots: [0].into(),
            lengths: [length].into(),
        };
        let output = host(decode_attention(q, &cache, &rows, options).flatten(0, 2));
        // Σw / Σw, each off by the roundings of 270 terms at most.
        let bound = 270.0 * f64::from(f32::EPSILON);
        assert!(
            output.iter().all(|y| (y - 1.0).abs() < bound),
            "{device_name}: {output:?}"
        );
    }
}
