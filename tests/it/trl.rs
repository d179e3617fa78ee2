//! Losses, advantages and first steps against TRL's own code: `tests/golden/trl/`.

use std::path::Path;

use burn::tensor::{Device, Tensor};
use losses::{
    Denominator, GammaShape, ImportanceLevel, KlEstimator, LossType, PolicyGradientOptions,
    PolicyObjective, PolicyTokens, ScaleRewards, advantages, leave_one_out_advantages,
    normalized_leave_one_out_advantages, normalized_sum_advantages, policy_gradient,
};
use model::host_values;
use serde_json::Value;
use trainer::forward::host_loss;
use trainer::recipe::{PoSettings, RawRecipe, StageName, StageSettings, for_stage};
use trainer::stages::preference::objective::{PairValues, StepCounts, objective};
use trainer::stages::preference::pairs::PairSpan;
use trainer::stages::preference::reference::ReferenceLogprobs;
use trainer::stages::preference::values::{
    RowStatistics, answer_logprobs, pair_values, token_slopes,
};

use crate::checkpoints::scratch;
use crate::golden;
use crate::program::{events, succeed, text};

/// Both sides are float32 formulas of float64 or float32 inputs of size 1 to 30: a few roundings.
const RELATIVE: f64 = 2e-5;

fn rows(value: &Value) -> Vec<Vec<f64>> {
    let rows = value.as_array().expect("rows").iter();
    rows.map(golden::numbers).collect()
}

fn close(got: f64, want: f64) -> bool {
    (got - want).abs() <= RELATIVE * want.abs().max(0.1)
}

fn all_close(got: &[f64], want: &[f64]) -> bool {
    got.len() == want.len() && got.iter().zip(want).all(|(got, want)| close(*got, *want))
}

/// The golden pairs as one row of predictions: chosen, rejected, chosen, …
struct Pairs {
    spans: Vec<PairSpan>,
    row: RowStatistics,
    reference: Vec<f32>,
}

impl Pairs {
    fn read(golden: &Value) -> Self {
        let column = |side: &str, what: &str| rows(&golden["pairs"][format!("{side}{what}")]);
        let interleaved = |chosen: Vec<Vec<f64>>, rejected: Vec<Vec<f64>>| -> Vec<f32> {
            let pairs = chosen.into_iter().zip(rejected);
            let values = pairs.flat_map(|(c, r)| [c, r].concat());
            values.map(|value| value as f32).collect()
        };
        let of = |what: &str| interleaved(column("chosen_", what), column("rejected_", what));
        let mut start = 0;
        let mut span = |length: usize| {
            start += length;
            start - length..start
        };
        let lengths = column("chosen_", "logprobs")
            .into_iter()
            .zip(column("rejected_", "logprobs"));
        let spans = lengths
            .enumerate()
            .map(|(record, (chosen, rejected))| PairSpan {
                record,
                chosen: span(chosen.len()),
                rejected: span(rejected.len()),
            })
            .collect();
        Pairs {
            spans,
            row: RowStatistics {
                logprobs: of("logprobs"),
                log_collisions: of("log_sum_p2"),
            },
            reference: interleaved(
                column("reference_chosen_", "logprobs"),
                column("reference_rejected_", "logprobs"),
            ),
        }
    }

    fn values(&self, settings: &PoSettings) -> Vec<PairValues> {
        let spans = self.spans.iter();
        spans
            .map(|span| {
                let [chosen, rejected] = answer_logprobs(&self.reference, span, settings.ld_alpha);
                let reference = ReferenceLogprobs {
                    record: span.record,
                    chosen: chosen as f32,
                    rejected: rejected as f32,
                };
                pair_values(settings, &self.row, span, reference)
            })
            .collect()
    }

    fn check(&self, name: &str, settings: &PoSettings, drift: f64, case: &Value) {
        let values = self.values(settings);
        let counts = StepCounts {
            num_pairs: values.len(),
            num_answers: 2 * values.len(),
            num_chosen_tokens: self.spans.iter().map(|span| span.chosen.len()).sum(),
            drift,
        };
        let got = objective(settings, &values, counts);
        let want = case["loss"].as_f64().expect("a loss");
        assert!(
            close(got.loss, want),
            "{name}: loss {} for {want}",
            got.loss
        );
        let num = self.row.logprobs.len();
        let slopes = token_slopes(num, &self.spans, &got.slopes, settings.ld_alpha);
        for (side, key) in ["chosen_gradient", "rejected_gradient"].iter().enumerate() {
            for (span, want) in self.spans.iter().zip(rows(&case[*key])) {
                let range = [&span.chosen, &span.rejected][side].clone();
                let got: Vec<f64> = slopes[range].iter().map(|&s| f64::from(s)).collect();
                assert!(all_close(&got, &want), "{name}: {key} {got:?} for {want:?}");
            }
        }
    }
}

/// A case's keys, under our names, as a recipe.
fn preference_settings(loss_type: &str, case: &Value) -> PoSettings {
    let mut raw = RawRecipe::new();
    let mut set =
        |key: &str, value: String| raw.set(Some(StageName::Po), &format!("{key}={value}"));
    set("loss_type", loss_type.to_owned());
    set("use_weighting", "false".to_owned());
    set("weighting_clamp", "false".to_owned());
    for key in [
        "beta",
        "loss_weights",
        "use_weighting",
        "label_smoothing",
        "f_divergence_type",
        "f_alpha_divergence_coef",
        "ld_alpha",
        "cpo_alpha",
        "simpo_gamma",
        "alpha",
        "discopop_tau",
        "desirable_weight",
        "undesirable_weight",
    ] {
        match &case[key] {
            Value::Null => {}
            Value::String(word) => set(key, word.clone()),
            value => set(key, value.to_string()),
        }
    }
    let recipe = for_stage(&raw, StageName::Po).unwrap_or_else(|error| panic!("{case}: {error}"));
    match recipe.stage {
        StageSettings::Po(settings) => settings,
        _ => unreachable!("it is for po"),
    }
}

#[test]
fn every_loss_of_the_dpo_family_and_its_gradient_are_trls() {
    let golden = golden::json("trl/preference_losses.json");
    let pairs = Pairs::read(&golden);
    let mut checked = 0;
    for case in golden["cases"].as_array().expect("cases") {
        let loss_type = match &case["loss_type"] {
            Value::String(word) => word.clone(),
            list => list.to_string(),
        };
        let settings = preference_settings(&loss_type, case);
        // TRL reads it in these losses alone; ours is conservative DPO wherever it is given.
        let reads = ["robust", "exo_pair", "aot", "aot_unpaired"].contains(&&*loss_type);
        if settings.label_smoothing > 0.0 && !reads {
            continue;
        }
        let name = format!("{loss_type} {}", keys(&mut case.clone()));
        pairs.check(&name, &settings, 0.0, case);
        checked += 1;
    }
    assert!(checked > 60, "{checked} cases");
}

#[test]
fn cpo_simpo_alphapo_and_kto_are_trls() {
    let golden = golden::json("trl/preference_losses.json");
    let pairs = Pairs::read(&golden);
    let mut num_alphapo = 0;
    for case in golden["cpo"].as_array().expect("cases") {
        let ours = match case["loss_type"].as_str().expect("a word") {
            "sigmoid" => "cpo",
            "hinge" => "cpo_hinge",
            "ipo" => "cpo_ipo",
            other => other,
        };
        // TRL's alphapo sets simpo without cross-entropy, which is how that case was made.
        let is_alphapo = case["alpha"].as_f64().unwrap_or(0.0) != 0.0;
        let ours = if is_alphapo { "alphapo" } else { ours };
        num_alphapo += usize::from(is_alphapo);
        let settings = preference_settings(ours, case);
        pairs.check(
            &format!("{ours} {}", keys(&mut case.clone())),
            &settings,
            0.0,
            case,
        );
    }
    let mut checked = 0;
    for case in golden["kto"].as_array().expect("cases") {
        let loss_type = case["loss_type"].as_str().expect("a word");
        let settings = preference_settings(loss_type, case);
        let drift = case["z0"].as_f64().unwrap_or(0.0);
        let name = format!("{loss_type} {}", keys(&mut case.clone()));
        pairs.check(&name, &settings, drift, case);
        checked += 1;
    }
    assert!(checked > 8 && num_alphapo > 0, "{checked} {num_alphapo}");
}

/// The case without its long lists, for messages.
fn keys(case: &mut Value) -> String {
    let object = case.as_object_mut().expect("an object");
    object.retain(|_, value| !value.is_array());
    Value::Object(object.clone()).to_string()
}

#[test]
fn every_policy_loss_and_its_gradient_are_trls() {
    let golden = golden::json("trl/policy_losses.json");
    let mut checked = 0;
    for case in golden["cases"].as_array().expect("cases") {
        let batch = &golden["batches"][case["batch"].as_str().expect("a name")];
        checked += usize::from(check_policy(&golden, batch, case));
    }
    for case in golden["rloo"].as_array().expect("cases") {
        let batch = &golden["batches"][case["batch"].as_str().expect("a name")];
        checked += usize::from(check_policy(&golden, batch, case));
    }
    assert!(checked > 80, "{checked} cases");
}

/// Whether the case is of something we have.
fn check_policy(golden: &Value, batch: &Value, case: &Value) -> bool {
    let number = |key: &str, default: f64| case[key].as_f64().unwrap_or(default);
    let word = case["loss_type"].as_str().expect("a word");
    // One engine samples and trains: there is nothing to correct.
    if case["sampler_correction"] == true || number("entropy_coef", 0.0) != 0.0 {
        return false;
    }
    let mask = rows(&batch["mask"]);
    let counted = |key: &str| -> Vec<f32> {
        let masked = rows(&batch[key]).into_iter().zip(&mask);
        let kept = masked.flat_map(|(row, mask)| {
            let pairs: Vec<(f64, f64)> = row.into_iter().zip(mask.iter().copied()).collect();
            pairs
                .into_iter()
                .filter(|(_, m)| *m != 0.0)
                .map(|(v, _)| v as f32)
        });
        kept.collect()
    };
    let lengths: Vec<usize> = mask
        .iter()
        .map(|row| row.iter().filter(|m| **m != 0.0).count())
        .collect();
    let (denominator, objective) = match word {
        "grpo" | "rloo" => (LossType::Grpo, None),
        "dapo" | "bnpo" => (LossType::Dapo, None),
        "dr_grpo" => (LossType::DrGrpo, None),
        "luspo" => (LossType::Luspo, None),
        "cispo" => (LossType::Dapo, Some(PolicyObjective::Cispo)),
        "sapo" => {
            let sapo = PolicyObjective::Sapo {
                temperature_pos: number("sapo_temperature_pos", 1.0),
                temperature_neg: number("sapo_temperature_neg", 1.05),
            };
            (LossType::Grpo, Some(sapo))
        }
        "vespo" => {
            let shape = |sign: &str| GammaShape {
                k: number(&format!("vespo_k_{sign}"), f64::NAN),
                lambda: number(&format!("vespo_lambda_{sign}"), f64::NAN),
            };
            let vespo = PolicyObjective::Vespo {
                positive: shape("pos"),
                negative: shape("neg"),
            };
            (LossType::Dapo, Some(vespo))
        }
        other => panic!("{other}"),
    };
    let denominator = Denominator {
        loss_type: denominator,
        num_completions: mask.len(),
        num_tokens: lengths.iter().sum(),
        max_completion_length: golden["max_completion_length"].as_u64().expect("a length") as usize,
    };
    let options = PolicyGradientOptions {
        objective: objective.unwrap_or(PolicyObjective::Clip {
            delta: case["delta"].as_f64(),
        }),
        level: match case["importance_sampling_level"].as_str() {
            _ if word == "rloo" => ImportanceLevel::Trajectory,
            Some("sequence") => ImportanceLevel::Sequence,
            _ => ImportanceLevel::Token,
        },
        epsilon: number("epsilon", 0.2),
        epsilon_high: number("epsilon_high", 0.2),
        beta: number("beta", 0.0),
        kl: KlEstimator::K3,
        use_bias_correction_kl: case["use_bias_correction_kl"] == true,
        off_policy_mask_threshold: case["off_policy_mask_threshold"].as_f64(),
    };
    let per_token = |value: &dyn Fn(usize) -> f32| -> Vec<f32> {
        let completions = lengths.iter().enumerate();
        completions
            .flat_map(|(index, &length)| vec![value(index); length])
            .collect()
    };
    let advantages = golden::numbers(&batch["advantages"]);
    let device = Device::flex().autodiff();
    let tensor = |values: &[f32]| Tensor::<1>::from_floats(values, &device);
    let logprobs = counted("logprobs");
    let old = if case["on_policy"] == true {
        logprobs.clone()
    } else {
        counted("old_logprobs")
    };
    let quantile = number("top_entropy_quantile", 1.0);
    let keep = (quantile < 1.0).then(|| {
        let entropies = counted("entropies");
        let mut sorted = entropies.clone();
        sorted.sort_by(f32::total_cmp);
        let rank = (1.0 - quantile) * (sorted.len() - 1) as f64;
        let (below, above) = (sorted[rank.floor() as usize], sorted[rank.ceil() as usize]);
        let threshold = below + (above - below) * rank.fract() as f32;
        let keep: Vec<f32> = entropies
            .iter()
            .map(|e| f32::from(u8::from(*e >= threshold)))
            .collect();
        tensor(&keep)
    });
    let leaf = tensor(&logprobs).require_grad();
    let tokens = PolicyTokens {
        old_logprobs: tensor(&old),
        reference_logprobs: Some(tensor(&counted("reference_logprobs"))),
        advantages: tensor(&per_token(&|index| advantages[index] as f32)),
        weights: tensor(&per_token(&|index| {
            denominator.token_weight(lengths[index])
        })),
        keep,
        lengths: lengths.clone(),
    };
    let loss = policy_gradient(leaf.clone(), &tokens, options);
    let name = keys(&mut case.clone());
    let mut want = case["loss"].as_f64().expect("a loss");
    if word == "rloo" {
        // TRL's mean counts a completion without a token too, with the ratio 1: a constant.
        let empty = lengths
            .iter()
            .zip(&advantages)
            .filter(|(length, _)| **length == 0);
        want += empty
            .map(|(_, advantage)| advantage / mask.len() as f64)
            .sum::<f64>();
    }
    let got = host_loss(&loss);
    assert!(close(got, want), "{name}: loss {got} for {want}");
    let mut gradients = loss.backward();
    let gradient = leaf.grad_remove(&mut gradients).expect("tracked");
    let gradient: Vec<f64> = host_values(gradient).into_iter().map(f64::from).collect();
    let masked = rows(&case["gradient"]).into_iter().zip(&mask);
    let want: Vec<f64> = masked
        .flat_map(|(row, mask)| {
            let pairs: Vec<(f64, f64)> = row.into_iter().zip(mask.iter().copied()).collect();
            pairs.into_iter().filter(|(_, m)| *m != 0.0).map(|(v, _)| v)
        })
        .collect();
    assert!(
        all_close(&gradient, &want),
        "{name}: {gradient:?} for {want:?}"
    );
    true
}

#[test]
fn advantages_are_trls() {
    let golden = golden::json("trl/policy_losses.json");
    let mut checked = 0;
    for (key, is_rloo) in [("advantages", false), ("rloo_advantages", true)] {
        for case in golden[key].as_array().expect("cases") {
            let group = case["num_generations"].as_u64().expect("a count") as usize;
            let weights = golden::numbers(&case["reward_weights"]);
            let completions: Vec<Vec<Option<f64>>> = case["rewards"]
                .as_array()
                .expect("rewards")
                .iter()
                .map(|row| {
                    row.as_array()
                        .expect("a row")
                        .iter()
                        .map(Value::as_f64)
                        .collect()
                })
                .collect();
            let total = |row: &Vec<Option<f64>>| -> Option<f64> {
                let parts = row.iter().zip(&weights);
                let known: Vec<f64> = parts.filter_map(|(r, w)| r.map(|r| r * w)).collect();
                (!known.is_empty()).then(|| known.iter().sum())
            };
            let totals: Vec<Vec<Option<f64>>> = completions
                .chunks(group)
                .map(|group| group.iter().map(total).collect())
                .collect();
            let got = if is_rloo {
                // The KL term needs log-probabilities and the clip is not ours.
                if case["beta"] != 0.0 || !case["reward_clip_range"].is_null() {
                    continue;
                }
                match case["normalize_advantages"] == true {
                    true => normalized_leave_one_out_advantages(&totals),
                    false => leave_one_out_advantages(&totals),
                }
            } else if case["multi_objective_aggregation"] == "normalize_then_sum" {
                let groups: Vec<_> = completions.chunks(group).map(<[_]>::to_vec).collect();
                normalized_sum_advantages(&groups, &weights)
            } else {
                let scale = match case["scale_rewards"].as_str() {
                    Some("group") => ScaleRewards::Group,
                    Some("batch") => ScaleRewards::Batch,
                    _ => ScaleRewards::None,
                };
                advantages(&totals, scale)
            };
            let want = golden::numbers(&case["advantages"]);
            let equal = got
                .concat()
                .iter()
                .zip(&want)
                .all(|(got, want)| (got - want).abs() < 1e-9);
            assert!(
                equal,
                "{} {}: {got:?} for {want:?}",
                case["name"],
                keys(&mut case.clone())
            );
            checked += 1;
        }
    }
    assert!(checked > 70, "{checked} cases");
}

/// Ten optimizer steps through the program: loss and gradient norm are TRL's within 1e-4, or four
/// times what float32 costs TRL itself there.
#[test]
fn the_first_ten_steps_of_each_stage_are_trls() {
    let golden = golden::json("trl/trajectories.json");
    let dir = scratch("trl-steps");
    for case in golden["cases"].as_array().expect("cases") {
        let (stage, family) = (case["stage"].as_str(), case["model"].as_str());
        let (stage, family) = (stage.expect("a stage"), family.expect("a family"));
        let mut sets = vec!["weight_decay=0.5", "adam_beta2=0.95", "shuffle=false"];
        sets.extend([
            "learning_rate=1e-3",
            "lr_scheduler_type=constant",
            "warmup_ratio=0",
        ]);
        let named = match stage {
            "cpt" | "sft" => {
                sets.extend(["packing=false", "per_device_train_batch_size=4"]);
                stage
            }
            "dpo" | "wpo" => {
                sets.extend([
                    "beta=0.1",
                    "per_device_train_batch_size=2",
                    "weighting_clamp=false",
                ]);
                sets.push(if stage == "wpo" {
                    "use_weighting=true"
                } else {
                    "use_weighting=false"
                });
                "po"
            }
            // Completions are given there: `grpo` in tests/it/grpo.rs.
            _ => continue,
        };
        let output = dir.join(format!("{stage}-{family}"));
        let data = golden::dir().join("trl").join(format!("{named}.jsonl"));
        let steps = ten_steps(named, family, &data, &output, &sets);
        check_steps(case, &steps, &[("loss", 1e-3), ("grad_norm", 1e-3)]);
    }
}

/// The same of KTO on single answers with labels, with its mismatched completions.
#[test]
fn the_first_ten_steps_of_kto_on_unpaired_answers_are_trls() {
    let golden = golden::json("trl/kto_trajectories.json");
    let dir = scratch("trl-kto");
    let mut largest_drift: f64 = 0.0;
    for case in golden["cases"].as_array().expect("cases") {
        let family = case["model"].as_str().expect("a family");
        let loss = case["loss_type"].as_str().expect("a loss");
        let loss_type = format!("loss_type={loss}");
        let mut sets = vec![
            "weight_decay=0.5",
            "adam_beta2=0.95",
            "shuffle=false",
            &loss_type,
        ];
        sets.extend([
            "learning_rate=1e-3",
            "lr_scheduler_type=constant",
            "warmup_ratio=0",
            "beta=0.1",
            "use_weighting=false",
            "undesirable_weight=1.25",
            "per_device_train_batch_size=4",
            "gradient_accumulation_steps=1",
        ]);
        let output = dir.join(format!("{loss}-{family}"));
        let data = golden::dir().join("trl/kto.jsonl");
        let steps = ten_steps("po", family, &data, &output, &sets);
        let mut keys = vec![("loss", 1e-3), ("grad_norm", 1e-3)];
        // Differences of sums over tens of tokens, each in the hundreds.
        let rewards = ["rewards/chosen", "rewards/rejected", "rewards/margins"];
        keys.extend(rewards.map(|name| (name, 1.0)));
        if loss == "kto" {
            keys.push(("kl", 10.0));
            let drifts = steps.iter().filter_map(|step| step["kl"].as_f64());
            largest_drift = drifts.fold(largest_drift, f64::max);
        }
        check_steps(case, &steps, &keys);
    }
    assert!(largest_drift > 0.1, "z was cut to 0 in every step");
}

/// Each key with the size below which its error counts as absolute.
fn check_steps(case: &Value, steps: &[Value], keys: &[(&str, f64)]) {
    let wanted = case["steps"].as_array().expect("steps");
    for (index, (got, want)) in steps.iter().zip(wanted).enumerate() {
        for &(key, scale) in keys {
            let number = |step: &Value| step[key].as_f64().expect("a number");
            let (got, want) = (number(got), number(want));
            let error = (got - want).abs() / (want.abs() + scale);
            assert!(
                // Some six times the largest `float32_error` of the files.
                error <= 1e-4,
                "{} {}, step {}: {key} {got} for {want}",
                case["stage"],
                case["model"],
                index + 1
            );
        }
    }
}

fn ten_steps(stage: &str, family: &str, data: &Path, output: &Path, sets: &[&str]) -> Vec<Value> {
    let model = golden::model_dir(family);
    let mut args = vec![
        "--stage",
        stage,
        "--model",
        text(&model),
        "--data",
        text(data),
    ];
    args.extend([
        "--output",
        text(output),
        "--device",
        "cpu",
        "--tui",
        "never",
    ]);
    args.extend(["--max-steps", "10", "--set", "max_length=256"]);
    for set in sets {
        args.extend(["--set", set]);
    }
    succeed(&args);
    let steps = events(output, "step");
    assert_eq!(steps.len(), 10, "{stage} {family}");
    steps
}
