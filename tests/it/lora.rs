//! Low-rank adapters and frozen parameters: against PEFT, against full training, and what stays as
//! it is. The program's runs are in `lora_runs`.

use std::collections::BTreeMap;
use std::sync::Arc;

use burn::tensor::{DType, Device};
use datasets::{SharedPrompt, SupervisedTokens, TokenBatch};
use kernels::Segments;
use model::checkpoint::{Checkpoint, Dtype};
use model::generate::{GenerateOptions, Request, SamplingOptions, generate};
use model::{CausalLm, LINEAR_MODULES, LoraConfig, Trainable, host_values};
use serde_json::Value;
use trainer::forward::{Forward, Recompute, constant, supervised_logprobs};
use trainer::optimizer::{AdamW, GradientBuffer, StepOutcome};
use trainer::recipe::{RawRecipe, StageName, for_stage};
use trainer::rollout::{RolloutBatch, RolloutSequence};

use crate::checkpoints::scratch;
use crate::{devices, golden};

/// As in `parity`: how often another program may err as much as transformers in float32.
const ROUNDING: f64 = 4.0;

fn lora() -> LoraConfig {
    LoraConfig {
        r: 3,
        alpha: 5.0,
        use_rslora: false,
        target_modules: LINEAR_MODULES.map(str::to_owned).to_vec(),
        seed: 9,
    }
}

fn new_adapters(family: &str, device: &Device) -> CausalLm {
    let trainable = Trainable {
        lora: Some(lora()),
        ..Trainable::default()
    };
    let dir = golden::model_dir(family);
    let loaded = CausalLm::load_to_train(&dir, device, DType::F32, &trainable);
    loaded.expect("the golden model loads").0
}

/// Adapters as after some training: B is not zero.
fn adapters(family: &str, device: &Device) -> CausalLm {
    let model = new_adapters(family, device);
    let before = host_parameters(&model);
    let values = |name: &str| {
        let mut values = before[name].clone();
        if name.contains(".lora_B.") {
            for (i, value) in values.iter_mut().enumerate() {
                *value = 0.05 * ((i * 7 + name.len()) as f32).sin();
            }
        }
        Ok::<_, ()>(values)
    };
    model.with_parameters(values).expect("every name is known")
}

fn base(family: &str, device: &Device) -> CausalLm {
    let dir = golden::model_dir(family);
    let loaded = CausalLm::load(&dir, device, DType::F32);
    loaded.expect("the golden model loads").0
}

fn host_parameters(model: &CausalLm) -> BTreeMap<String, Vec<f32>> {
    let parameters = model.parameters().into_iter();
    parameters
        .map(|(name, tensor)| (name, host_values(tensor)))
        .collect()
}

fn host_gradients(buffer: &GradientBuffer) -> BTreeMap<String, Vec<f32>> {
    let gradients = buffer.by_name().iter();
    gradients
        .map(|(name, gradient)| (name.clone(), host_values(gradient.clone())))
        .collect()
}

fn batch() -> TokenBatch {
    let answer = |range: std::ops::Range<u32>| SupervisedTokens {
        loss_mask: vec![true; range.len()],
        ids: range.collect(),
    };
    TokenBatch::from_shared_prompts(&[
        SharedPrompt {
            prompt: (3..20).collect(),
            answers: vec![answer(40..47), answer(50..61)],
        },
        SharedPrompt {
            prompt: Vec::new(),
            answers: vec![answer(9..12)],
        },
    ])
}

fn gradients(model: &CausalLm, recompute: Recompute) -> BTreeMap<String, Vec<f32>> {
    let batch = batch();
    let weights: Vec<f32> = (0..batch.num_supervised())
        .map(|i| (i % 5) as f32 - 1.7)
        .collect();
    let mut buffer = GradientBuffer::default();
    let forward = Forward::new(model, recompute);
    let (loss, _) = forward.weighted_logprobs(&batch, &weights, 0.9);
    forward.backward(&loss, &mut buffer);
    host_gradients(&buffer)
}

fn logits(model: &CausalLm) -> Vec<f32> {
    let ids: Arc<[u32]> = (0..19).map(|i| (i * 31 + 7) % 290).collect();
    let hidden = model.hidden(&ids, &Segments::from_lengths(&[12, 7]));
    host_values(model.logits(hidden).inner())
}

/// The adapters' gradients by the chain rule from those of the merged weights, which full training
/// computes: dA = scale · Bᵀ · dW and dB = scale · dW · Aᵀ.
#[test]
fn the_gradients_of_a_and_b_follow_from_those_of_the_merged_weights() {
    for (device_name, device) in devices::all() {
        let device = device.autodiff();
        for family in golden::FAMILIES {
            let golden = golden::json(&format!("models/{family}/golden.json"));
            let bound = &golden["float32_error"]["worst_gradient"];
            let bound = ROUNDING * bound.as_f64().expect("a bound");
            let model = adapters(family, &device);
            let own = host_parameters(&model);
            let scale = lora().scale();
            let matrix = |name: &str| Matrix::of(&own[name], lora().r, name.contains("lora_B"));
            let merged = base(family, &device).with_parameters(|name| {
                let mut weight = own[name].clone();
                if let Some(layer) = name.strip_suffix(".weight")
                    && own.contains_key(&format!("{layer}.lora_A.weight"))
                {
                    let a = matrix(&format!("{layer}.lora_A.weight"));
                    let b = matrix(&format!("{layer}.lora_B.weight"));
                    for (value, delta) in weight.iter_mut().zip(b.times(&a).values) {
                        *value = (f64::from(*value) + scale * delta) as f32;
                    }
                }
                Ok::<_, ()>(weight)
            });
            let whole = gradients(&merged.expect("every name is known"), Recompute::Nothing);
            let got = gradients(&model, Recompute::Nothing);
            let layers = model.config().num_hidden_layers;
            assert_eq!(got.len(), 2 * 7 * layers, "{family}: {:?}", got.keys());
            for layer in got.keys().filter_map(|n| n.strip_suffix(".lora_A.weight")) {
                let name = |which: &str| format!("{layer}.{which}.weight");
                let (a, b) = (matrix(&name("lora_A")), matrix(&name("lora_B")));
                let of_weight = Matrix {
                    rows: b.rows,
                    columns: a.columns,
                    values: widened(&whole[&format!("{layer}.weight")]),
                };
                let of_a = b.transposed().times(&of_weight);
                let of_b = of_weight.times(&a.transposed());
                for (which, want, factor) in [("lora_A", of_a, &b), ("lora_B", of_b, &a)] {
                    let got = widened(&got[&name(which)]);
                    let differences = got.iter().zip(&want.values);
                    let error = norm(differences.map(|(got, want)| got - scale * want));
                    // What an error of the weight's gradient becomes at most.
                    let most = scale
                        * norm(factor.values.iter().copied())
                        * norm(of_weight.values.iter().copied());
                    assert!(
                        error <= bound * most,
                        "{family} on {device_name}: {} is off by {error:.2e} of {most:.2e}",
                        name(which)
                    );
                }
            }
        }
    }
}

#[test]
fn new_adapters_change_no_logit_and_dropping_trained_ones_gives_the_base() {
    for (device_name, device) in devices::all() {
        for family in golden::FAMILIES {
            let want = logits(&base(family, &device));
            let at = format!("{family} on {device_name}");
            assert!(logits(&new_adapters(family, &device)) == want, "{at}: new");
            let trained = adapters(family, &device);
            assert!(logits(&trained) != want, "{at}: B is not zero");
            assert!(logits(&trained.without_adapters()) == want, "{at}: without");
        }
    }
}

#[test]
fn a_is_uniform_within_one_over_the_root_of_its_width_and_depends_on_its_name() {
    let model = new_adapters("qwen3", &Device::flex());
    let again = new_adapters("qwen3", &Device::flex());
    let own = host_parameters(&model);
    assert_eq!(own, host_parameters(&again), "the same seed, the same bits");
    let a = |module: &str| &own[&format!("model.layers.0.self_attn.{module}.lora_A.weight")];
    assert_ne!(a("q_proj"), a("k_proj"));
    let bound = 1.0 / (model.config().hidden_size as f32).sqrt();
    let largest = a("q_proj").iter().fold(0.0, |max: f32, v| max.max(v.abs()));
    assert!(largest <= bound, "{largest} for {bound}");
    // Of 96 uniform values the largest is below 0.9 of the bound once in 25,000 times.
    assert!(largest > 0.9 * bound, "{largest} for {bound}");
}

#[test]
fn the_merged_export_is_base_and_adapters_but_for_rounding() {
    for family in golden::FAMILIES {
        let device = Device::flex();
        let model = adapters(family, &device);
        for dtype in [Dtype::Float32, Dtype::Bfloat16] {
            let dir = scratch(&format!("lora-merged-{family}-{dtype:?}"));
            model.save(&dir, dtype).expect("it saves");
            let difference = model.merge_difference(&dir).expect("it loads");
            assert!(difference.is_rounding(), "{family}: {difference:?}");
            assert!(difference.effect > 0.0, "{family}: {difference:?}");
            // What transformers would read: an ordinary model.
            let (merged, report) = CausalLm::load(&dir, &device, DType::F32).expect("it loads");
            assert!(report.warnings.is_empty(), "{family}");
            let pairs = logits(&model).into_iter().zip(logits(&merged));
            let worst = pairs.fold(0.0, |worst: f64, (a, b)| {
                worst.max(f64::from((a - b).abs()))
            });
            assert!(
                worst <= 2.0 * difference.rounding,
                "{family} as {dtype:?}: {worst:.2e} and {difference:?}"
            );
            assert!(worst < difference.effect, "{family} as {dtype:?}: {worst}");
        }
        // A folder without the adapters is told from one with them.
        let dir = scratch(&format!("lora-unmerged-{family}"));
        base(family, &device)
            .save(&dir, Dtype::Float32)
            .expect("it saves");
        let difference = model.merge_difference(&dir).expect("it loads");
        assert!(!difference.is_rounding(), "{family}: {difference:?}");
        assert_eq!(difference.max, difference.effect, "{family}");
    }
}

#[test]
fn adapters_saved_for_peft_come_back_and_carry_its_names() {
    let model = adapters("qwen2", &Device::flex());
    let dir = scratch("lora-peft").join("adapter");
    let base_dir = golden::model_dir("qwen2");
    model.save_adapters(&dir, &base_dir).expect("it saves");
    let read = LoraConfig::from_peft(&dir).expect("it reads");
    assert_eq!(read, LoraConfig { seed: 0, ..lora() });
    let back = new_adapters("qwen2", &Device::flex()).with_adapters(&dir);
    let back = back.expect("it loads");
    assert_eq!(host_parameters(&back), host_parameters(&model));
    let file = model::checkpoint::TensorFile::open(dir.join("adapter_model.safetensors"));
    let file = file.expect("it opens");
    let name = "base_model.model.model.layers.1.mlp.down_proj.lora_B.weight";
    let shape = file.tensor(name).expect("PEFT's name").shape;
    assert_eq!(shape, [model.config().hidden_size, 3]);
}

#[test]
fn recomputation_gives_the_bits_of_a_whole_graph_with_frozen_parameters() {
    for (device_name, device) in devices::all() {
        let device = device.autodiff();
        for family in golden::FAMILIES {
            let trainable = Trainable {
                freeze_embeddings: true,
                ..Trainable::default()
            };
            let dir = golden::model_dir(family);
            let frozen = CausalLm::load_to_train(&dir, &device, DType::F32, &trainable);
            let frozen = frozen.expect("it loads").0;
            for model in [adapters(family, &device), frozen] {
                let whole = gradients(&model, Recompute::Nothing);
                assert!(!whole.contains_key("model.embed_tokens.weight"), "{family}");
                for recompute in [Recompute::Blocks, Recompute::BlocksOnHost] {
                    let got = gradients(&model, recompute);
                    assert!(got == whole, "{family} on {device_name}: {recompute:?}");
                }
            }
        }
    }
}

#[test]
fn adapters_alone_move_and_have_moments() {
    let device = Device::flex().autodiff();
    for family in golden::FAMILIES {
        let mut model = adapters(family, &device);
        let before = host_parameters(&model);
        let mut optimizer = AdamW::new(&optimizer_settings(&Value::Null));
        for step in 1..=2 {
            let mut buffer = GradientBuffer::default();
            let forward = Forward::new(&model, Recompute::Nothing);
            let loss = forward.supervised_logprobs(&batch(), 1.0).logprob().sum();
            forward.backward(&loss, &mut buffer);
            let (scale, _) = buffer.clip(vec![loss.inner()], 0.0);
            optimizer.step(&mut model, buffer, &scale, 1e-2, step);
        }
        for (name, after) in host_parameters(&model) {
            let is_adapter = name.contains(".lora_");
            assert_eq!(after != before[&name], is_adapter, "{family}: {name}");
            assert_eq!(
                optimizer.moments().contains_key(&name),
                is_adapter,
                "{family}: {name}"
            );
        }
    }
}

#[test]
fn with_adapters_a_sample_does_not_depend_on_its_batch_and_is_the_policys() {
    for (device_name, device) in devices::all() {
        for family in golden::FAMILIES {
            let model = adapters(family, &device);
            let requests: Vec<Request> = (0..12)
                .map(|i| Request {
                    prompt: (0..3 + 2 * (i % 4)).map(|t| 5 + 7 * (i % 4) + t).collect(),
                    index: u64::from(i / 4),
                    max_new_tokens: 6 + i as usize % 3,
                })
                .collect();
            let options = GenerateOptions {
                sampling: SamplingOptions {
                    temperature: 0.8,
                    top_k: 0,
                    top_p: 1.0,
                    seed: 5,
                },
                stop_tokens: vec![1],
                max_batch_size: 12,
            };
            let sample = |requests: &[Request]| {
                generate(&model, requests, &options, &|| false).expect("nobody stops it")
            };
            let together = sample(&requests);
            let rollouts = requests.iter().zip(&together).map(|(request, completion)| {
                let alone = sample(std::slice::from_ref(request));
                assert_eq!(&alone[0], completion, "{family} on {device_name}");
                RolloutSequence {
                    prompt: request.prompt.to_vec(),
                    completion: completion.tokens.clone(),
                    sampler_logprobs: completion.logprobs.clone(),
                    advantage: 0.0,
                }
            });
            let rollouts = RolloutBatch::new(rollouts.collect());
            let trained = supervised_logprobs(&model, &rollouts.tokens(), 0.8).logprob();
            let drawn = rollouts.sequences.iter().flat_map(|s| &s.sampler_logprobs);
            for (trained, drawn) in host_values(trained).iter().zip(drawn) {
                let difference = (trained - drawn).abs();
                assert!(
                    difference < 1e-4,
                    "{family} on {device_name}: {difference:.2e}"
                );
            }
        }
    }
}

#[test]
fn ten_steps_follow_peft() {
    let golden = golden::json("lora.json");
    for family in ["gemma2", "qwen3"] {
        let case = &golden["cases"][family];
        let error = |key: &str| {
            let error = case["float32_error"][key].as_f64();
            ROUNDING * error.expect("an error of float32")
        };
        let device = Device::flex().autodiff();
        let dir = golden::dir().join("lora").join(family);
        let trainable = Trainable {
            lora: Some(LoraConfig::from_peft(&dir).expect("PEFT's configuration reads")),
            ..Trainable::default()
        };
        let model_dir = golden::model_dir(family);
        let loaded = CausalLm::load_to_train(&model_dir, &device, DType::F32, &trainable);
        let mut model = loaded.expect("it loads").0;
        model = model.with_adapters(&dir).expect("PEFT's adapters load");
        let rows: Vec<Vec<u32>> = case["rows"]
            .as_array()
            .expect("rows")
            .iter()
            .map(golden::ids)
            .collect();
        let documents: Vec<SupervisedTokens> = rows
            .iter()
            .cloned()
            .map(SupervisedTokens::document)
            .collect();
        let batch = TokenBatch::from_sequences(&documents);
        let weights = vec![-1.0 / batch.num_supervised() as f32; batch.num_supervised()];
        let mut optimizer = AdamW::new(&optimizer_settings(&golden));
        let steps = case["steps"].as_array().expect("steps");
        for (i, want) in steps.iter().enumerate() {
            let mut buffer = GradientBuffer::default();
            let forward = Forward::new(&model, Recompute::Nothing);
            let logprobs = forward.supervised_logprobs(&batch, 1.0).logprob();
            let loss = (logprobs * constant(&weights, &model)).sum();
            forward.backward(&loss, &mut buffer);
            if i == 0 {
                let gradients = host_gradients(&buffer);
                let cases = case["gradients"].as_object().expect("gradients");
                assert_eq!(cases.len(), gradients.len(), "{family}");
                for (name, want) in cases {
                    let got = &gradients[&name["base_model.model.".len()..]];
                    let whole = want["norm"].as_f64().expect("a norm");
                    let places = golden::ids(&want["places"]);
                    for (place, value) in places.iter().zip(golden::numbers(&want["values"])) {
                        let off = (f64::from(got[*place as usize]) - value).abs() / whole;
                        let bound = error("gradient_of_its_norm");
                        assert!(off <= bound, "{family}: {name} is off by {off:.2e}");
                    }
                    let off = (norm(widened(got).into_iter()) / whole - 1.0).abs();
                    assert!(
                        off < 1e-5,
                        "{family}: the norm of {name} is off by {off:.2e}"
                    );
                }
            }
            let number = |key: &str| want[key].as_f64().expect("a number");
            let clip = golden["max_grad_norm"].as_f64().expect("a norm");
            let (scale, values) = buffer.clip(vec![loss.inner()], clip);
            let StepOutcome {
                loss,
                grad_norm: norm,
                ..
            } = values.wait();
            let off = (loss - number("loss")).abs();
            assert!(off <= error("loss"), "{family} step {i}: {off:.2e}");
            let off = (norm / number("grad_norm") - 1.0).abs();
            let bound = error("grad_norm_relative");
            assert!(off <= bound, "{family} step {i}: norm off by {off:.2e}");
            let rate = golden["learning_rate"].as_f64().expect("a rate");
            optimizer.step(&mut model, buffer, &scale, rate, i as u64 + 1);
        }
        let model = model.valid();
        let ids: Arc<[u32]> = rows[0].as_slice().into();
        let hidden = model.hidden(&ids, &Segments::from_lengths(&[ids.len()]));
        let vocab = model.config().vocab_size;
        let last = host_values(model.logits(hidden)).split_off((ids.len() - 1) * vocab);
        let want = golden::numbers(&case["logits_after"]);
        for (got, want) in last.into_iter().step_by(16).zip(want) {
            let off = (f64::from(got) - want).abs();
            assert!(off <= error("logits_after"), "{family}: logits {off:.2e}");
        }
    }
}

#[test]
fn a_frozen_matrix_stays_in_the_dtype_that_the_file_and_the_computation_share() {
    let dir = golden::model_dir("gemma3");
    let stored = Checkpoint::open(&dir).expect("it opens").dtype();
    assert_eq!(stored, Some(Dtype::Bfloat16));
    let trainable = Trainable {
        lora: Some(lora()),
        ..Trainable::default()
    };
    let device = Device::flex();
    for (dtype, frozen) in [(DType::BF16, DType::BF16), (DType::F32, DType::F32)] {
        let loaded = CausalLm::load_to_train(&dir, &device, dtype, &trainable);
        let (model, _) = loaded.expect("it loads");
        for (name, tensor) in model.parameters() {
            let is_frozen_matrix = !name.contains(".lora_") && !name.contains("norm");
            let want = if is_frozen_matrix { frozen } else { DType::F32 };
            assert_eq!(tensor.dtype(), want, "{name}");
        }
    }
}

fn optimizer_settings(golden: &Value) -> trainer::recipe::OptimizerSettings {
    let mut raw = RawRecipe::new();
    for key in ["adam_beta1", "adam_beta2", "adam_epsilon", "weight_decay"] {
        if let Some(value) = golden.get(key) {
            raw.set(Some(StageName::Sft), &format!("{key}={value}"));
        }
    }
    let recipe = for_stage(&raw, StageName::Sft);
    recipe.expect("the recipe is sound").optimizer
}

/// A matrix in float64, row by row.
struct Matrix {
    rows: usize,
    columns: usize,
    values: Vec<f64>,
}

impl Matrix {
    /// A, whose rows are `r`, or B, whose columns are.
    fn of(values: &[f32], r: usize, is_b: bool) -> Self {
        let other = values.len() / r;
        let (rows, columns) = if is_b { (other, r) } else { (r, other) };
        Matrix {
            rows,
            columns,
            values: widened(values),
        }
    }

    fn transposed(&self) -> Self {
        let values = (0..self.columns)
            .flat_map(|column| {
                (0..self.rows).map(move |row| self.values[row * self.columns + column])
            })
            .collect();
        Matrix {
            rows: self.columns,
            columns: self.rows,
            values,
        }
    }

    fn times(&self, other: &Self) -> Self {
        assert_eq!(self.columns, other.rows);
        let value = |row: usize, column: usize| {
            let products = (0..self.columns).map(|i| {
                self.values[row * self.columns + i] * other.values[i * other.columns + column]
            });
            products.sum::<f64>()
        };
        Matrix {
            rows: self.rows,
            columns: other.columns,
            values: (0..self.rows)
                .flat_map(|row| (0..other.columns).map(move |column| value(row, column)))
                .collect(),
        }
    }
}

fn widened(values: &[f32]) -> Vec<f64> {
    values.iter().copied().map(f64::from).collect()
}

fn norm(values: impl Iterator<Item = f64>) -> f64 {
    values.map(|v| v * v).sum::<f64>().sqrt()
}
