use burn::tensor::{DType, Tensor, TensorData};

use super::*;
use crate::parity::{distance, host, norm, random};
use crate::{AttentionOptions, Segments, attention, device};

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
