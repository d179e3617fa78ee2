//! The options of supervised fine-tuning against PyTorch and transformers in float64.

use std::sync::Arc;

use burn::tensor::{DType, Device, Tensor, TensorData};
use datasets::{SupervisedTokens, TokenBatch};
use kernels::{LogprobsOptions, linear_logprobs};
use losses::{SupervisedLoss, TokenLoss, TokenStatistics};
use model::{CausalLm, host_values};
use serde_json::Value;
use trainer::forward::{Forward, Recompute, host_loss, logprobs_of_hidden};
use trainer::optimizer::GradientBuffer;

use crate::checkpoints::scratch;
use crate::golden;
use crate::program::{conversations, events, succeed, text};

#[test]
fn losses_of_logits_and_their_gradients_are_pytorchs() {
    let golden = &golden::json("sft_options.json")["logits"];
    let rows: Vec<Vec<f64>> = list(&golden["logits"]).map(golden::numbers).collect();
    let [tokens, vocab] = [rows.len(), rows[0].len()];
    let targets: Arc<[u32]> = golden::ids(&golden["targets"]).into();
    let device = Device::flex().autodiff();
    for case in list(&golden["cases"]) {
        // With the identity as head, the hidden states are the logits.
        let logits = TensorData::new(rows.concat(), [tokens, vocab]);
        let logits = Tensor::<2>::from_data(logits, (&device, DType::F32)).require_grad();
        let options = LogprobsOptions {
            temperature: 1.0,
            softcap: None,
        };
        let head = Tensor::<2>::eye(vocab, &device);
        let statistics = linear_logprobs(logits.clone(), head, &targets, options);
        let of_tokens = supervised_loss(case).of_tokens(TokenStatistics {
            logprob: statistics.logprob(),
            logsumexp: statistics.logsumexp(),
            mean_logit: statistics.mean_logit(),
        });
        let loss = of_tokens.sum().mul_scalar(1.0 / tokens as f64);
        close(host_loss(&loss), number(case, "loss"), case);
        let mut gradients = loss.backward();
        let gradient = logits.grad_remove(&mut gradients).expect("it is a leaf");
        let want = list(&case["gradient"]).flat_map(golden::numbers);
        for (got, want) in host_values(gradient).into_iter().zip(want) {
            close(f64::from(got), want, case);
        }
    }
}

/// The noise is that of the golden values, so this says where it is added and that it stays in
/// place when blocks are recomputed.
#[test]
fn losses_of_a_model_and_its_gradients_are_those_of_transformers() {
    let golden = &golden::json("sft_options.json")["model"];
    let starts = golden::ids(&golden["supervised_from"]);
    let sequences: Vec<SupervisedTokens> = list(&golden["sequences"])
        .map(golden::ids)
        .zip(starts)
        .map(|(ids, start)| SupervisedTokens {
            loss_mask: (0..ids.len()).map(|at| at >= start as usize).collect(),
            ids,
        })
        .collect();
    let noise: Vec<f32> = list(&golden["noise"])
        .flat_map(golden::numbers)
        .map(|number| number as f32)
        .collect();
    let batch = TokenBatch::from_sequences(&sequences);
    let device = Device::flex().autodiff();
    let (model, _) =
        CausalLm::load(&golden::model_dir("gemma2"), &device, DType::F32).expect("it loads");
    for case in list(&golden["cases"]) {
        let noise = (case["noised"] == true).then_some(noise.as_slice());
        for recompute in [Recompute::Nothing, Recompute::Blocks] {
            let forward = Forward::new(&model, recompute);
            let hidden = forward.hidden(&batch, noise);
            let statistics = logprobs_of_hidden(&model, hidden, &batch, 1.0);
            let of_tokens = supervised_loss(case).of_tokens(TokenStatistics {
                logprob: statistics.logprob(),
                logsumexp: statistics.logsumexp(),
                mean_logit: statistics.mean_logit(),
            });
            let weight = 1.0 / batch.num_supervised() as f64;
            let loss = of_tokens.sum().mul_scalar(weight);
            close(host_loss(&loss), number(case, "loss"), case);
            let mut buffer = GradientBuffer::default();
            forward.backward(&loss, &mut buffer);
            let wanted = case["grad_norms"].as_object().expect("norms by name");
            assert_eq!(buffer.by_name().len(), wanted.len());
            for (name, gradient) in buffer.by_name() {
                let squares = host_values(gradient.clone())
                    .into_iter()
                    .map(|value| f64::from(value).powi(2));
                let got = squares.sum::<f64>().sqrt();
                let want = wanted[name].as_f64().expect("a number");
                assert!(
                    (got / want - 1.0).abs() < 1e-4,
                    "{name}: {got} for {want} with {}",
                    options_of(case)
                );
            }
        }
    }
}

/// Loss, plain loss and noise of a step do not depend on how it is cut into micro-batches, and a run
/// logs what it optimises beside what it would without options.
#[test]
fn the_split_of_a_step_changes_nothing_under_every_option() {
    let dir = scratch("sft-options");
    let data = conversations(&dir);
    let losses = |name: &str, split: [&str; 2], options: &[&str]| -> Vec<[f64; 2]> {
        let output = dir.join(name);
        let mut args = vec!["--stage", "sft", "--device", "cpu", "--max-steps", "3"];
        let model = golden::model_dir("gemma2");
        args.extend(["--model", text(&model), "--data", text(&data)]);
        args.extend(["--output", text(&output)]);
        for setting in split.iter().chain(options) {
            args.extend(["--set", setting]);
        }
        succeed(&args);
        let steps = events(&output, "step");
        assert!(steps.iter().all(|s| s["mean_token_accuracy"].is_number()));
        let of_step = |step: &Value| {
            let loss = number(step, "loss");
            [loss, step["nll"].as_f64().unwrap_or(loss)]
        };
        steps.iter().map(of_step).collect()
    };
    let options = [
        "label_smoothing=0.1",
        "z_loss=0.001",
        "neftune_noise_alpha=5",
    ];
    let whole = [
        "per_device_train_batch_size=4",
        "gradient_accumulation_steps=1",
    ];
    let halves = [
        "per_device_train_batch_size=2",
        "gradient_accumulation_steps=2",
    ];
    let one = losses("one", whole, &options);
    for (a, b) in one.iter().zip(losses("two", halves, &options)) {
        assert!((a[0] - b[0]).abs() < 1e-5 && (a[1] - b[1]).abs() < 1e-5);
    }
    assert!(one.iter().all(|[loss, nll]| loss != nll), "{one:?}");
    let plain = losses("plain", whole, &[]);
    assert_ne!(plain[0][0], one[0][1], "noise moves the loss");
    let dft = losses("dft", whole, &["loss_type=dft"]);
    // Before the first step; one loss is summed in the kernel, the other from its statistics.
    assert!((dft[0][1] - plain[0][0]).abs() < 1e-5 && dft[0][0] < dft[0][1]);
}

fn supervised_loss(case: &Value) -> SupervisedLoss {
    SupervisedLoss {
        token_loss: match case["loss_type"].as_str() {
            Some("dft") => TokenLoss::Dft,
            _ => TokenLoss::Nll,
        },
        label_smoothing: number(case, "label_smoothing"),
        z_loss: number(case, "z_loss"),
    }
}

/// Float32 sums of a few hundred terms against float64.
#[track_caller]
fn close(got: f64, want: f64, case: &Value) {
    let error = (got - want).abs();
    assert!(
        error <= 1e-5 * want.abs().max(0.1),
        "{got} for {want} with {}",
        options_of(case)
    );
}

fn options_of(case: &Value) -> String {
    ["loss_type", "label_smoothing", "z_loss", "noised"]
        .map(|key| format!("{key} = {}", case[key]))
        .join(", ")
}

fn number(case: &Value, key: &str) -> f64 {
    case[key].as_f64().expect("a number")
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().expect("a list").iter()
}
