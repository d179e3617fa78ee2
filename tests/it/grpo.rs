//! Advantages, losses and whole optimizer steps of GRPO against a plain computation in float64.

use burn::tensor::{DType, Device};
use losses::{
    Denominator, HostTokens, ImportanceLevel, KlEstimator, LossType, PolicyGradientOptions,
    PolicyObjective, ScaleRewards, advantages, policy_gradient_stats,
};
use model::CausalLm;
use serde_json::Value;
use trainer::forward::{Forward, Recompute};
use trainer::optimizer::{AdamW, GradientBuffer, StepOutcome};
use trainer::recipe::{RawRecipe, StageName, for_stage};
use trainer::rollout::{PolicyLossOptions, RolloutBatch, RolloutSequence};

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
fn metrics_are_those_of_the_formula() {
    for case in cases("losses") {
        let name = &case["name"];
        let rows = |key: &str| -> Vec<Vec<f64>> {
            let rows = case[key].as_array().expect("rows").iter();
            rows.map(golden::numbers).collect()
        };
        let mask = rows("mask");
        let in_loss: Vec<bool> = mask.concat().iter().map(|&m| m != 0.0).collect();
        let counted = |values: Vec<f64>| -> Vec<f32> {
            let kept = values.into_iter().zip(&in_loss).filter(|(_, kept)| **kept);
            kept.map(|(value, _)| value as f32).collect()
        };
        let by_row = golden::numbers(&case["advantages"]);
        let advantages = mask.iter().zip(by_row);
        let advantages = advantages.flat_map(|(row, a)| vec![a; row.len()]).collect();
        let lengths: Vec<usize> = mask
            .iter()
            .map(|row| row.iter().filter(|&&m| m != 0.0).count())
            .collect();
        let number = |key: &str| case[key].as_f64().expect("a number");
        let stats = policy_gradient_stats(
            HostTokens {
                logprobs: &counted(rows("logprobs").concat()),
                old_logprobs: &counted(rows("old_logprobs").concat()),
                reference_logprobs: Some(&counted(rows("ref_logprobs").concat())),
                advantages: &counted(advantages),
                lengths: &lengths,
            },
            clipped(number("epsilon"), number("epsilon_high"), number("beta")),
        );
        let close = |got: f64, want: f64| (got - want).abs() <= 2e-6 * want.abs().max(0.1);
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

fn clipped(epsilon: f64, epsilon_high: f64, beta: f64) -> PolicyGradientOptions {
    PolicyGradientOptions {
        objective: PolicyObjective::Clip { delta: None },
        level: ImportanceLevel::Token,
        epsilon,
        epsilon_high,
        beta,
        kl: KlEstimator::K3,
        use_bias_correction_kl: false,
        off_policy_mask_threshold: None,
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
        let options = PolicyLossOptions {
            gradient: clipped(number("epsilon"), number("epsilon_high"), 0.0),
            denominator,
            temperature: number("temperature"),
            entropy_coef: 0.0,
            top_entropy_quantile: 1.0,
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
            let mut losses = Vec::new();
            for batch in &mut batches {
                let forward = Forward::new(&model, Recompute::Nothing);
                let measured = batch.loss(&forward, &options);
                forward.backward(&measured.loss, &mut gradients);
                losses.push(measured.loss.inner());
            }
            let (scale, values) = gradients.clip(losses, number("max_grad_norm"));
            let StepOutcome {
                loss,
                grad_norm: norm,
                ..
            } = values.wait();
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
            let rate = number("learning_rate");
            optimizer.step(&mut model, gradients, &scale, rate, i as u64 + 1);
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

/// TRL's GRPOTrainer on given completions: a KL term, two updates on each set.
#[test]
fn ten_steps_with_a_reference_are_trls() {
    let golden = golden::json("trl/trajectories.json");
    let cases = golden["cases"].as_array().expect("cases").iter();
    for case in cases.filter(|case| case["stage"] == "grpo") {
        let family = case["model"].as_str().expect("a family");
        let settings = &golden["settings"];
        let device = Device::flex().autodiff();
        let dir = golden::model_dir(family);
        let (mut model, _) = CausalLm::load(&dir, &device, DType::F32).expect("it loads");
        let (reference, _) = CausalLm::load(&dir, &Device::flex(), DType::F32).expect("it loads");
        let mut optimizer = AdamW::new(&optimizer_settings(settings));
        let number = |key: &str| case[key].as_f64().expect("a number");
        let mut batch = RolloutBatch::new(Vec::new());
        for (step, want) in case["steps"].as_array().expect("steps").iter().enumerate() {
            let rollout = &case["rollouts"][step / 2];
            let lists = |key: &str| rollout[key].as_array().expect("a list").clone();
            if step % 2 == 0 {
                let advantages = golden::numbers(&rollout["advantages"]);
                let rows = lists("prompts").into_iter().zip(lists("completions"));
                let sequences = rows
                    .zip(advantages)
                    .map(|((prompt, completion), advantage)| RolloutSequence {
                        prompt: golden::ids(&prompt),
                        completion: golden::ids(&completion),
                        sampler_logprobs: Vec::new(),
                        advantage,
                    });
                batch = RolloutBatch::new(sequences.collect());
                batch.set_reference(&reference, 1.0);
            }
            let num_tokens = batch.sequences.iter().map(|s| s.completion.len()).sum();
            let options = PolicyLossOptions {
                gradient: PolicyGradientOptions {
                    // TRL's default.
                    use_bias_correction_kl: true,
                    ..clipped(number("epsilon"), number("epsilon_high"), number("beta"))
                },
                denominator: Denominator {
                    loss_type: LossType::Dapo,
                    num_completions: batch.sequences.len(),
                    num_tokens,
                    max_completion_length: 8,
                },
                temperature: 1.0,
                entropy_coef: 0.0,
                top_entropy_quantile: 1.0,
            };
            let forward = Forward::new(&model, Recompute::Nothing);
            let measured = batch.loss(&forward, &options);
            let mut gradients = GradientBuffer::default();
            forward.backward(&measured.loss, &mut gradients);
            let (scale, values) = gradients.clip(vec![measured.loss.inner()], 1.0);
            let got = values.wait();
            for (got, key) in [(got.loss, "loss"), (got.grad_norm, "grad_norm")] {
                let want = want[key].as_f64().expect("a number");
                let error = (got - want).abs() / (want.abs() + 1e-3);
                assert!(
                    error <= 1e-4,
                    "{family} step {step}: {key} {got} for {want}"
                );
            }
            let rate = settings["learning_rate"].as_f64().expect("a rate");
            optimizer.step(&mut model, gradients, &scale, rate, step as u64 + 1);
        }
    }
}
