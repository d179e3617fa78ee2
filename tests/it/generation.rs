//! Generation against transformers, and what it promises about batches and log-probabilities.

use std::sync::Arc;

use burn::module::{ModuleVisitor, Param};
use burn::tensor::{DType, Device, Tensor};
use model::generate::{
    Completion, FinishReason, GenerateOptions, Request, SamplingOptions, generate,
};
use model::{CausalLm, host_values};
use trainer::forward::supervised_logprobs;
use trainer::rollout::{RolloutBatch, RolloutSequence};

use crate::{devices, golden};

fn model(family: &str, device: &Device) -> CausalLm {
    let dir = golden::model_dir(family);
    CausalLm::load(&dir, device, DType::F32)
        .expect("the golden model loads")
        .0
}

fn options(sampling: SamplingOptions, max_batch_size: usize) -> GenerateOptions {
    GenerateOptions {
        sampling,
        stop_tokens: vec![1],
        max_batch_size,
    }
}

fn sampled(temperature: f64) -> SamplingOptions {
    SamplingOptions {
        temperature,
        top_k: 0,
        top_p: 1.0,
        seed: 11,
    }
}

fn complete(model: &CausalLm, requests: &[Request], options: &GenerateOptions) -> Vec<Completion> {
    generate(model, requests, options, &|| false).expect("nobody stops it")
}

/// Prompts of lengths that share no multiple, one of them three times.
fn requests(count: usize) -> Vec<Request> {
    (0..count)
        .map(|i| {
            let (prompt, index) = (i % 11, i / 11);
            Request {
                prompt: (0..3 + 2 * prompt)
                    .map(|t| (5 + 7 * prompt + t) as u32 % 290)
                    .collect(),
                index: index as u64,
                max_new_tokens: 6 + prompt,
            }
        })
        .collect()
}

#[test]
fn greedy_continuations_are_those_of_transformers() {
    for (device_name, device) in devices::all() {
        for family in golden::FAMILIES {
            let model = model(family, &device);
            let golden = golden::json(&format!("models/{family}/golden.json"));
            for case in golden["greedy"].as_array().expect("cases") {
                let want = golden::ids(&case["ids"]);
                let request = Request {
                    prompt: golden::ids(&case["prompt_ids"]).into(),
                    index: 0,
                    max_new_tokens: 24,
                };
                let options = GenerateOptions {
                    stop_tokens: model.config().eos_token_ids.clone(),
                    ..options(SamplingOptions::GREEDY, 4)
                };
                let got = complete(&model, &[request], &options);
                assert_eq!(got[0].tokens, want, "{family} on {device_name}");
            }
        }
    }
}

#[test]
fn a_sample_is_the_same_alone_and_in_a_batch_of_32_bit_for_bit() {
    for (device_name, device) in devices::all() {
        for family in ["gemma2", "qwen3"] {
            let model = model(family, &device);
            let requests = requests(33);
            let together = complete(&model, &requests, &options(sampled(1.0), 32));
            for (request, in_batch) in requests.iter().zip(&together).step_by(4) {
                let request = std::slice::from_ref(request);
                let alone = complete(&model, request, &options(sampled(1.0), 32));
                // Log-probabilities too: equal bits, not equal tokens only.
                assert_eq!(&alone[0], in_batch, "{family} on {device_name}");
            }
        }
    }
}

#[test]
fn a_small_batch_serves_waiting_requests_without_changing_them() {
    let model = model("gemma2", &Device::flex());
    let requests = requests(33);
    let wide = complete(&model, &requests, &options(sampled(1.0), 33));
    let narrow = complete(&model, &requests, &options(sampled(1.0), 3));
    assert_eq!(wide, narrow);
}

#[test]
fn the_samplers_log_probabilities_are_those_of_training() {
    for (device_name, device) in devices::all() {
        for family in golden::FAMILIES {
            for temperature in [1.0, 0.7] {
                let model = model(family, &device);
                let requests = requests(12);
                let completions = complete(&model, &requests, &options(sampled(temperature), 8));
                // The samples of one prompt share it, as in reinforcement learning.
                let rollouts = requests
                    .iter()
                    .zip(&completions)
                    .map(|(request, completion)| RolloutSequence {
                        prompt: request.prompt.to_vec(),
                        completion: completion.tokens.clone(),
                        sampler_logprobs: completion.logprobs.clone(),
                        advantage: 0.0,
                    });
                let mut rollouts: Vec<_> = rollouts.collect();
                rollouts.sort_by(|a, b| a.prompt.cmp(&b.prompt));
                let batch = RolloutBatch::new(rollouts);
                let trained = supervised_logprobs(&model, &batch.tokens(), temperature);
                let trained = host_values(trained.logprob());
                let drawn = batch.sequences.iter().flat_map(|s| &s.sampler_logprobs);
                let worst = trained
                    .iter()
                    .zip(drawn)
                    .map(|(a, b)| (f64::from(a - b).exp() - 1.0).abs())
                    .fold(0.0, f64::max);
                assert!(
                    worst < 1e-4,
                    "{family} on {device_name} at {temperature}: ratio off by {worst:.2e}"
                );
            }
        }
    }
}

#[test]
fn model_log_probabilities_do_not_depend_on_the_temperature() {
    let model = model("qwen2", &Device::flex());
    let request = Request {
        prompt: Arc::from([4, 9, 2]),
        index: 0,
        max_new_tokens: 5,
    };
    let with = |sampling| {
        let options = GenerateOptions {
            stop_tokens: Vec::new(),
            ..options(sampling, 1)
        };
        complete(&model, std::slice::from_ref(&request), &options)
    };
    let (greedy, at_zero) = (with(sampled(1e-6)), with(SamplingOptions::GREEDY));
    assert_eq!(greedy[0].tokens, at_zero[0].tokens);
    assert_eq!(greedy[0].model_logprobs, at_zero[0].model_logprobs);
    assert_eq!(at_zero[0].finish_reason, FinishReason::Length);
}

/// What generation multiplies by is cast once, and what is cast for each token otherwise has the same
/// bits.
#[test]
fn weights_that_generate_are_cast_once() {
    let device = Device::flex();
    for family in ["gemma2", "qwen3"] {
        let dir = golden::model_dir(family);
        let (model, _) = CausalLm::load(&dir, &device, DType::BF16).expect("it loads");
        let generating = model.for_generation();
        let mut matrices = Matrices::default();
        generating.visit(&mut matrices);
        assert!(matrices.cast > 7 && matrices.kept == 1, "{matrices:?}");
        let ids: Arc<[u32]> = [5, 17, 3, 99, 42].into();
        let segments = kernels::Segments::from_lengths(&[5]);
        let [want, got] = [&model, &generating].map(|model| {
            let hidden = model.hidden(&ids, &segments);
            host_values(model.logits(hidden))
        });
        assert_eq!(want, got, "{family}");
    }
}

/// Matrices by whether they are in bfloat16.
#[derive(Debug, Default)]
struct Matrices {
    cast: usize,
    kept: usize,
}

impl ModuleVisitor for Matrices {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        match (D, param.val().dtype()) {
            (2, DType::BF16) => self.cast += 1,
            (2, _) => self.kept += 1,
            _ => {}
        }
    }
}
