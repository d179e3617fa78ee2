//! Every operation with a gradient against its reference, over random shapes and packings. The seed
//! is fixed, so that a failure is one for everybody.

use std::sync::Arc;

use burn::tensor::Tensor;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed};

use crate::parity::check;
use crate::*;

fn few(cases: u32) -> Config {
    Config {
        cases,
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(17),
        ..Config::default()
    }
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
