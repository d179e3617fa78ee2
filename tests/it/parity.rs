//! The four families against transformers: logits and every parameter's gradient, of sequences
//! packed in one row, on the CPU and on the GPU.

use std::sync::Arc;

use burn::tensor::{DType, Device};
use datasets::{SharedPrompt, SupervisedTokens, TokenBatch};
use kernels::Segments;
use model::{CausalLm, host_values};
use trainer::forward::{constant, supervised_logprobs};
use trainer::optimizer::GradientBuffer;

use crate::{devices, golden};

/// transformers' own float32 errors against float64 are one sample of what rounding does; another
/// program, which adds in another order, gets four times as much.
const ROUNDING: f64 = 4.0;

#[test]
fn logits_are_those_of_transformers() {
    for (device_name, device) in devices::all() {
        for family in golden::FAMILIES {
            let (model, sequences) = loaded(family, &device);
            let tensors = golden::Tensors::of(family);
            let golden = golden::json(&format!("models/{family}/golden.json"));
            let bound = ROUNDING * golden["float32_error"]["logits"].as_f64().expect("a bound");

            let ids: Arc<[u32]> = sequences.concat().into();
            let lengths: Vec<usize> = sequences.iter().map(Vec::len).collect();
            let hidden = model.hidden(&ids, &Segments::from_lengths(&lengths));
            let logits = host_values(model.logits(hidden));
            let want: Vec<f32> = (0..sequences.len())
                .flat_map(|i| tensors.f32(&format!("logits.{i}")))
                .collect();
            let error = largest_difference(&logits, &want);
            assert!(
                error <= bound,
                "{family} on {device_name}: logits differ by {error:.2e}, bound {bound:.2e}"
            );
        }
    }
}

#[test]
fn the_gradient_of_every_parameter_is_that_of_transformers() {
    for (device_name, device) in devices::all() {
        for family in golden::FAMILIES {
            let golden = golden::json(&format!("models/{family}/golden.json"));
            let errors = &golden["float32_error"];
            let (model, sequences) = loaded(family, &device.clone().autodiff());
            let tensors = golden::Tensors::of(family);
            let documents: Vec<SupervisedTokens> = sequences
                .iter()
                .cloned()
                .map(SupervisedTokens::document)
                .collect();
            let batch = TokenBatch::from_sequences(&documents);
            let weights: Vec<f32> = (0..sequences.len())
                .flat_map(|i| tensors.f32(&format!("weights.{i}")))
                .collect();
            let logprobs = supervised_logprobs(&model, &batch, 1.0).logprob();
            let loss = (logprobs * constant(&weights, &model)).sum();
            let value = f64::from(host_values(loss.clone().inner())[0]);
            let want = golden["loss_float64"].as_f64().expect("a loss");
            // The terms' errors need not cancel here as they happen to in the golden sum.
            let bound = ROUNDING * errors["logprobs"].as_f64().expect("a bound");
            assert!(
                (value - want).abs() <= bound,
                "{family} on {device_name}: loss {value} for {want}"
            );

            let mut gradients = GradientBuffer::default();
            gradients.add(&model, &mut loss.backward());
            let names: Vec<String> = tensors
                .names()
                .into_iter()
                .filter_map(|name| Some(name.strip_prefix("grad.")?.to_owned()))
                .collect();
            assert_eq!(
                names.len(),
                gradients.by_name().len(),
                "{family}: parameters"
            );
            for name in names {
                let got = host_values(gradients.by_name()[&name].clone());
                let want = tensors.f32(&format!("grad.{name}"));
                let error = relative_difference(&got, &want);
                let bound = ROUNDING * errors["worst_gradient"].as_f64().expect("a bound");
                assert!(
                    error <= bound,
                    "{family} on {device_name}: gradient of {name} differs by {error:.2e}, \
                     bound {bound:.2e}"
                );
            }
        }
    }
}

#[test]
fn a_shared_prompt_gives_the_log_probabilities_and_gradients_of_a_repeated_one() {
    let prompt: Vec<u32> = (5..18).collect();
    let answers = [vec![7, 30, 9], vec![4], vec![21, 22, 23, 24, 25, 26, 27]];
    let supervised = |ids: Vec<u32>| SupervisedTokens {
        loss_mask: vec![true; ids.len()],
        ids,
    };
    let shared = TokenBatch::from_shared_prompts(&[SharedPrompt {
        prompt: prompt.clone(),
        answers: answers.iter().cloned().map(supervised).collect(),
    }]);
    let repeated: Vec<SupervisedTokens> = answers
        .iter()
        .map(|answer| SupervisedTokens {
            ids: [&prompt[..], answer].concat(),
            loss_mask: [vec![false; prompt.len()], vec![true; answer.len()]].concat(),
        })
        .collect();
    let repeated = TokenBatch::from_sequences(&repeated);
    assert_eq!(shared.num_tokens(), 13 + 11);
    for (device_name, device) in devices::all() {
        for family in golden::FAMILIES {
            let golden = golden::json(&format!("models/{family}/golden.json"));
            let errors = &golden["float32_error"];
            let (model, _) = loaded(family, &device.clone().autodiff());
            let both = [&shared, &repeated].map(|batch| {
                let logprobs = supervised_logprobs(&model, batch, 1.0).logprob();
                let mut gradients = GradientBuffer::default();
                gradients.add(&model, &mut logprobs.clone().sum().backward());
                let gradients = gradients.by_name().iter();
                let gradients: Vec<(String, Vec<f32>)> = gradients
                    .map(|(name, gradient)| (name.clone(), host_values(gradient.clone())))
                    .collect();
                (host_values(logprobs.inner()), gradients)
            });
            let [(shared, shared_gradients), (repeated, gradients)] = both;
            let bound = |key: &str| ROUNDING * errors[key].as_f64().expect("a bound");
            let error = largest_difference(&shared, &repeated);
            assert!(
                error <= bound("logprobs"),
                "{family} on {device_name}: log-probs differ by {error:.2e}"
            );
            for ((name, got), (_, want)) in shared_gradients.iter().zip(&gradients) {
                let error = relative_difference(got, want);
                assert!(
                    error <= bound("worst_gradient"),
                    "{family} on {device_name}: gradient of {name} differs by {error:.2e}"
                );
            }
        }
    }
}

#[test]
fn the_spelling_of_2024_means_the_same_model() {
    for family in golden::FAMILIES {
        let dir = golden::model_dir(family);
        let read = |file: &str| {
            let path = dir.join(file);
            let json = std::fs::read(&path).expect("the golden config is there");
            model::ModelConfig::from_json(&json, &path).expect("the golden config is sound")
        };
        assert_eq!(read("config.json"), read("config_old.json"), "{family}");
    }
}

fn loaded(family: &str, device: &Device) -> (CausalLm, Vec<Vec<u32>>) {
    let (model, report) = CausalLm::load(&golden::model_dir(family), device, DType::F32)
        .unwrap_or_else(|e| panic!("{family}: {e}"));
    assert!(
        report.warnings.is_empty(),
        "{family}: {:?}",
        report.warnings
    );
    (model, sequences(family))
}

fn sequences(family: &str) -> Vec<Vec<u32>> {
    let path = golden::model_dir(family).join("golden.safetensors");
    let bytes = std::fs::read(path).expect("the golden file is there");
    let file = safetensors::SafeTensors::deserialize(&bytes).expect("the golden file is sound");
    (0..4)
        .map(|i| {
            let ids = file.tensor(&format!("ids.{i}")).expect("a sequence");
            let (ids, _) = ids.data().as_chunks::<8>();
            ids.iter()
                .map(|&id| i64::from_le_bytes(id) as u32)
                .collect()
        })
        .collect()
}

fn largest_difference(got: &[f32], want: &[f32]) -> f64 {
    assert_eq!(got.len(), want.len(), "lengths");
    let differences = got.iter().zip(want).map(|(a, b)| f64::from((a - b).abs()));
    differences.fold(0.0, |worst, d| if d.is_nan() { d } else { worst.max(d) })
}

/// ‖got − want‖ / ‖want‖.
fn relative_difference(got: &[f32], want: &[f32]) -> f64 {
    assert_eq!(got.len(), want.len(), "lengths");
    let square = |x: f64| x * x;
    let difference: f64 = got
        .iter()
        .zip(want)
        .map(|(a, b)| square(f64::from(*a) - f64::from(*b)))
        .sum();
    let norm: f64 = want.iter().map(|&b| square(f64::from(b))).sum();
    (difference / norm).sqrt()
}
