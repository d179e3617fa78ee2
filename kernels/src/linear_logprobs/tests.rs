use std::sync::Arc;

use burn::tensor::Tensor;

use super::*;
use crate::parity::check;

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
                    linear_logprobs_reference(hidden, head, &targets, options)
                        .transpose()
                        .flatten(0, 1)
                },
            );
        }
    }
}
