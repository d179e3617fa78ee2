//! Advantages, losses and whole optimizer steps of GRPO against a plain computation in float64.

use burn::tensor::{DType, Device, Tensor};
use losses::{
    Denominator, LossType, PolicyGradientOptions, ScaleRewards, advantages, policy_gradient,
    policy_gradient_stats,
};
use model::{CausalLm, host_values};
use serde_json::Value;
use trainer::forward::{Forward, Recompute, host_loss};
use trainer::optimizer::{AdamW, GradientBuffer};
use trainer::recipe::{RawRecipe, StageName, for_stage};
use trainer::rollout::{RolloutBatch, RolloutSequence};

use crate::golden;

#[test]
fn advantages_are_those_of_the_formula() {
    for case in cases("advantages") {
        let group = case["num_generations"].as_u64().expect("a count") as usize;
        let rewards: Vec<Vec<Option<f64>>> = golden::numbers(&case["rewards"])
            .chunks(group)
            .map(|rewards| rewards.iter().copied().map(Some).collect())
            .collect();
        let scale = match case["scale_rewards"].as_str() {
            Some("group") => ScaleRewards::Group,
            Some("batch") => ScaleRewards::Batch,
            _ => ScaleRewards::None,
        };
        let got = advantages(&rewards, scale).concat();
        for (got, want) in got.iter().zip(golden::numbers(&case["advantages"])) {
            assert!(
                (got - want).abs() < 1e-9,
                "{}: {got} for {want}",
                case["name"]
            );
        }
    }
}

#[test]
fn the_loss_its_gradient_and_its_metrics_are_those_of_the_formula() {
    for case in cases("losses") {
        let name = &case["name"];
        let rows = |key: &str| -> Vec<Vec<f64>> {
            let rows = case[key].as_array().expect("rows").iter();
            rows.map(golden::numbers).collect()
        };
        let mask = rows("mask");
        let in_loss: Vec<bool> = mask.concat().iter().map(|&m| m != 0.0).collect();
        let tokens = |row: &[f64]| row.iter().filter(|&&m| m != 0.0).count();
        let denominator = Denominator {
            loss_type: match case["loss_type"].as_str() {
                Some("grpo") => LossType::Grpo,
                Some("dapo") => LossType::Dapo,
                _ => LossType::DrGrpo,
            },
            num_completions: mask.len(),
            num_tokens: mask.iter().map(|row| tokens(row)).sum(),
            max_completion_length: case["max_completion_length"].as_u64().expect("a length")
                as usize,
        };
        let weights: Vec<f32> = mask
            .iter()
            .flat_map(|row| {
                let weight = denominator.token_weight(tokens(row));
                row.iter().map(move |&m| weight * m as f32)
            })
            .collect();
        let by_row = golden::numbers(&case["advantages"]);
        let advantages: Vec<f32> = mask
            .iter()
            .zip(by_row)
            .flat_map(|(row, advantage)| vec![advantage as f32; row.len()])
            .collect();
        let number = |key: &str| case[key].as_f64().expect("a number");
        let options = PolicyGradientOptions {
            epsilon: number("epsilon"),
            epsilon_high: number("epsilon_high"),
            beta: number("beta"),
        };
        let flat = |key: &str| -> Vec<f32> {
            rows(key)
                .concat()
                .iter()
                .map(|&value| value as f32)
                .collect()
        };
        let device = Device::flex().autodiff();
        let tensor = |values: &[f32]| Tensor::<1>::from_floats(values, &device);
        let leaf = tensor(&flat("logprobs")).require_grad();
        let loss = policy_gradient(
            leaf.clone(),
            tensor(&flat("old_logprobs")),
            Some(tensor(&flat("ref_logprobs"))),
            tensor(&advantages),
            tensor(&weights),
            options,
        );
        let mut gradients = loss.backward();
        let gradient = leaf
            .grad_remove(&mut gradients)
            .expect("the leaf is tracked");
        let close = |got: f64, want: f64| (got - want).abs() <= 2e-6 * want.abs().max(0.1);
        let got = host_loss(&loss);
        assert!(
            close(got, number("loss")),
            "{name}: loss {got} for {}",
            number("loss")
        );
        for (got, want) in host_values(gradient)
            .into_iter()
            .zip(rows("gradient").concat())
        {
            assert!(
                close(f64::from(got), want),
                "{name}: gradient {got} for {want}"
            );
        }
        let stats = policy_gradient_stats(
            &flat("logprobs"),
            &flat("old_logprobs"),
            Some(&flat("ref_logprobs")),
            &advantages,
            &in_loss,
            options,
        );
        let num_tokens = stats.num_tokens.max(1) as f64;
        let per_token = |count: usize| count as f64 / num_tokens;
        assert!(
            close(per_token(stats.clipped_low), number("clip_ratio/low_mean")),
            "{name}"
        );
        assert!(
            close(
                per_token(stats.clipped_high),
                number("clip_ratio/high_mean")
            ),
            "{name}"
        );
        if let Some(kl) = case["kl"].as_f64() {
            let got = stats.kl / num_tokens;
            assert!(close(got, kl), "{name}: kl {got} for {kl}");
        }
    }
}

#[test]
fn four_optimizer_steps_follow_the_plain_computation() {
    for family in ["gemma2", "qwen3"] {
        let golden = &golden::json("grpo.json")["steps"][family];
        let number = |key: &str| golden[key].as_f64().expect("a number");
        let device = Device::flex().autodiff();
        let dir = golden::model_dir(family);
        let (mut model, _) = CausalLm::load(&dir, &device, DType::F32).expect("it loads");
        let mut optimizer = AdamW::new(&optimizer_settings(golden));
        let sequences: Vec<RolloutSequence> = golden["rows"]
            .as_array()
            .expect("rows")
            .iter()
            .zip(golden::numbers(&golden["advantages"]))
            .map(|(row, advantage)| RolloutSequence {
                prompt: golden::ids(&row["prompt_ids"]),
                completion: golden::ids(&row["completion_ids"]),
                sampler_logprobs: Vec::new(),
                advantage,
            })
            .collect();
        let denominator = Denominator {
            loss_type: LossType::Dapo,
            num_completions: sequences.len(),
            num_tokens: sequences.iter().map(|s| s.completion.len()).sum(),
            max_completion_length: 12,
        };
        let options = PolicyGradientOptions {
            epsilon: number("epsilon"),
            epsilon_high: number("epsilon_high"),
            beta: 0.0,
        };
        let mut batches = Vec::new();
        for (i, want) in golden["steps"]
            .as_array()
            .expect("steps")
            .iter()
            .enumerate()
        {
            if i % 2 == 0 {
                // Two micro-batches of unequal size: accumulation changes nothing.
                batches = [&sequences[..3], &sequences[3..]]
                    .map(|s| RolloutBatch::new(s.to_vec()))
                    .into();
            }
            let mut gradients = GradientBuffer::default();
            let mut loss = 0.0;
            for batch in &mut batches {
                let forward = Forward::new(&model, Recompute::Nothing);
                let measured = batch.loss(&forward, &denominator, options, number("temperature"));
                loss += host_loss(&measured.loss);
                forward.backward(&measured.loss, &mut gradients);
            }
            let norm = gradients.global_norm();
            let relative = |got: f64, key: &str| {
                let want = want[key].as_f64().expect("a number");
                (got - want).abs() / (want.abs() + 1e-3)
            };
            assert!(
                relative(loss, "loss") < 1e-4,
                "{family} step {i}: loss {loss}"
            );
            assert!(
                relative(norm, "grad_norm") < 1e-4,
                "{family} step {i}: norm {norm}"
            );
            let scale = (number("max_grad_norm") / (norm + 1e-6)).min(1.0);
            let rate = number("learning_rate");
            optimizer.step(&mut model, gradients, rate, scale, i as u64 + 1);
        }
    }
}

fn optimizer_settings(golden: &Value) -> trainer::recipe::OptimizerSettings {
    let mut raw = RawRecipe::new();
    for key in ["adam_beta1", "adam_beta2", "adam_epsilon", "weight_decay"] {
        raw.set(Some(StageName::Rl), &format!("{key}={}", golden[key]));
    }
    for_stage(&raw, StageName::Rl)
        .expect("the recipe is sound")
        .optimizer
}

fn cases(key: &str) -> Vec<Value> {
    golden::json("grpo.json")[key]
        .as_array()
        .expect("cases")
        .clone()
}
