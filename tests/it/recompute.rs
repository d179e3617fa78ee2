//! Recomputing blocks in the backward pass gives the gradients of keeping everything, bit for bit.

use burn::tensor::DType;
use datasets::{SharedPrompt, SupervisedTokens, TokenBatch};
use model::{CausalLm, host_values};
use trainer::forward::{Forward, Recompute, constant};
use trainer::optimizer::GradientBuffer;

use crate::{devices, golden};

#[test]
fn recomputed_gradients_are_those_of_a_whole_graph() {
    let answer = |range: std::ops::Range<u32>| {
        let ids: Vec<u32> = range.collect();
        let loss_mask = vec![true; ids.len()];
        SupervisedTokens { ids, loss_mask }
    };
    let batch = TokenBatch::from_shared_prompts(&[
        SharedPrompt {
            prompt: (3..30).collect(),
            answers: vec![answer(40..47), answer(50..71)],
        },
        SharedPrompt {
            prompt: Vec::new(),
            answers: vec![answer(9..12)],
        },
    ]);
    for (device_name, device) in devices::all() {
        for family in golden::FAMILIES {
            let device = device.clone().autodiff();
            let dir = golden::model_dir(family);
            let (model, _) = CausalLm::load(&dir, &device, DType::F32).expect("it loads");
            let weights: Vec<f32> = (0..batch.num_supervised())
                .map(|i| (i % 5) as f32 - 1.7)
                .collect();
            let gradients = |recompute: Recompute| {
                let forward = Forward::new(&model, recompute);
                let logprobs = forward.supervised_logprobs(&batch, 0.9).logprob();
                let loss = (logprobs * constant(&weights, &model)).sum();
                let mut buffer = GradientBuffer::default();
                forward.backward(&loss, &mut buffer);
                let by_name = buffer.by_name().iter();
                by_name
                    .map(|(name, gradient)| (name.clone(), host_values(gradient.clone())))
                    .collect::<Vec<_>>()
            };
            let whole = gradients(Recompute::Nothing);
            assert_eq!(whole.len(), model.parameters().len(), "{family}");
            for recompute in [Recompute::Blocks, Recompute::BlocksOnHost] {
                let got = gradients(recompute);
                assert_eq!(got.len(), whole.len());
                for ((name, got), (_, want)) in got.iter().zip(&whole) {
                    let differ = got.iter().zip(want).filter(|(a, b)| a != b).count();
                    assert_eq!(differ, 0, "{family} on {device_name}: {recompute:?} {name}");
                }
            }
        }
    }
}
