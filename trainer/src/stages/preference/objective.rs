//! The loss of some pairs, or single answers, and its slope by each answer's log-probability, on the host: a few numbers
//! a pair, whatever the model's size. Formulas are in [`losses::preference`].

use burn::tensor::{Device, Tensor};
use losses::preference::{self, Answers, FDivergence, divergence_scores, dpo};

use crate::recipe::{FDivergenceType, PoSettings, PreferenceLossType};

/// What a loss takes of one answer.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct AnswerValues {
    /// Σ log p over its supervised tokens.
    pub logprob: f64,
    /// The same with LD-DPO's weights on the tokens that the longer answer of a pair has more.
    pub weighted_logprob: f64,
    /// The reference's `weighted_logprob`; 0 where there is none.
    pub reference: f64,
    /// Supervised tokens; 0 of an answer that is not there.
    pub length: usize,
}

/// What a loss takes of a pair, or of a single answer in its place.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct PairValues {
    /// Of the preferred answer.
    pub chosen: AnswerValues,
    /// Of the other one.
    pub rejected: AnswerValues,
    /// WPO's weight; 1 without.
    pub weight: f64,
}

/// The slopes of the loss by an answer's log-probabilities.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Slope {
    /// By `logprob`.
    pub logprob: f64,
    /// By `weighted_logprob`.
    pub weighted: f64,
}

/// Counts of the whole optimizer step, which the losses of its micro-batches are divided by.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepCounts {
    /// Pairs and single answers.
    pub num_pairs: usize,
    /// Answers, two a pair.
    pub num_answers: usize,
    /// Supervised tokens of the chosen answers.
    pub num_chosen_tokens: usize,
    /// KTO's z: how far the policy has moved on answers to other prompts.
    pub drift: f64,
}

/// A loss and its slopes, chosen and rejected, a row a pair.
#[derive(Clone, Debug, PartialEq)]
pub struct Objective {
    /// The part of the step's loss that these pairs have.
    pub loss: f64,
    /// By each answer's log-probabilities.
    pub slopes: Vec<[Slope; 2]>,
}

/// The loss of some pairs of a step.
pub fn objective(settings: &PoSettings, pairs: &[PairValues], counts: StepCounts) -> Objective {
    let device = Device::flex().autodiff();
    let column = |value: &dyn Fn(&PairValues) -> f64| {
        let values: Vec<f32> = pairs.iter().map(|pair| value(pair) as f32).collect();
        Tensor::<1>::from_floats(values.as_slice(), &device)
    };
    let answers = |side: &dyn Fn(&PairValues) -> AnswerValues| Answers {
        logprobs: column(&|pair| side(pair).logprob).require_grad(),
        logratios: column(&|pair| side(pair).weighted_logprob - side(pair).reference)
            .require_grad(),
        lengths: column(&|pair| side(pair).length as f64),
    };
    let chosen = answers(&|pair| pair.chosen);
    let rejected = answers(&|pair| pair.rejected);
    let reference_margins = column(&|pair| pair.chosen.reference - pair.rejected.reference);
    let weights = column(&|pair| pair.weight).div_scalar(counts.num_pairs as f64);
    let cross_entropy = || {
        // Of all chosen tokens of the step: it is no average over pairs, and has no pair's weight.
        -chosen
            .logprobs
            .clone()
            .sum()
            .div_scalar(counts.num_chosen_tokens.max(1) as f64)
    };

    let mut loss = Tensor::<1>::zeros([1], &device);
    let mut cross_entropy_weight = 0.0;
    for (index, &kind) in settings.loss_type.iter().enumerate() {
        let share = settings.loss_weights.get(index).copied().unwrap_or(1.0);
        let alpha = match kind {
            PreferenceLossType::Sft => 1.0,
            PreferenceLossType::Alphapo => 0.0,
            kind if kind.needs_reference() => settings.rpo_alpha,
            _ => settings.cpo_alpha,
        };
        cross_entropy_weight += share * alpha;
        if kind != PreferenceLossType::Sft {
            let of_pair = pair_loss(
                kind,
                settings,
                &chosen,
                &rejected,
                &reference_margins,
                counts,
            );
            loss = loss + (of_pair * weights.clone()).sum().mul_scalar(share);
        }
    }
    if cross_entropy_weight != 0.0 {
        loss = loss + cross_entropy().mul_scalar(cross_entropy_weight);
    }

    let mut gradients = loss.backward();
    let mut slopes = |answers: &Answers| -> Vec<Slope> {
        let mut slope = |leaf: &Tensor<1>| match leaf.grad_remove(&mut gradients) {
            Some(gradient) => model::host_values(gradient),
            None => vec![0.0; pairs.len()],
        };
        let (plain, weighted) = (slope(&answers.logprobs), slope(&answers.logratios));
        let slopes = plain.into_iter().zip(weighted);
        slopes
            .map(|(logprob, weighted)| Slope {
                logprob: f64::from(logprob),
                weighted: f64::from(weighted),
            })
            .collect()
    };
    let (chosen, rejected) = (slopes(&chosen), slopes(&rejected));
    Objective {
        loss: crate::forward::host_loss(&loss),
        slopes: chosen
            .into_iter()
            .zip(rejected)
            .map(|(c, r)| [c, r])
            .collect(),
    }
}

/// One loss of each pair, without weights.
fn pair_loss(
    kind: PreferenceLossType,
    settings: &PoSettings,
    chosen: &Answers,
    rejected: &Answers,
    reference_margins: &Tensor<1>,
    counts: StepCounts,
) -> Tensor<1> {
    use PreferenceLossType as Loss;
    let (beta, smoothing) = (settings.beta, settings.label_smoothing);
    let divergence = match settings.f_divergence_type {
        FDivergenceType::ReverseKl => FDivergence::ReverseKl,
        FDivergenceType::ForwardKl => FDivergence::ForwardKl,
        FDivergenceType::JsDivergence => FDivergence::JsDivergence,
        FDivergenceType::AlphaDivergence => {
            FDivergence::AlphaDivergence(settings.f_alpha_divergence_coef)
        }
    };
    let (w, l) = (|| chosen.logratios.clone(), || rejected.logratios.clone());
    let margins = || divergence_scores(w(), divergence) - divergence_scores(l(), divergence);
    let mean_margins = || {
        divergence_scores(w(), divergence) / chosen.lengths.clone()
            - divergence_scores(l(), divergence) / rejected.lengths.clone()
    };
    let bent = |logprobs: Tensor<1>| preference::alphapo_rewards(logprobs, settings.alpha);
    let plain_margins = || bent(chosen.logprobs.clone()) - bent(rejected.logprobs.clone());
    let plain_mean_margins = || bent(chosen.mean_logprobs()) - bent(rejected.mean_logprobs());
    match kind {
        Loss::Sigmoid => dpo(margins(), beta, smoothing),
        Loss::SigmoidNorm => dpo(mean_margins(), beta, smoothing),
        Loss::Hinge => preference::hinge(margins(), beta),
        Loss::Ipo => preference::ipo(mean_margins(), beta),
        Loss::Robust => preference::robust(margins(), beta, smoothing),
        Loss::ExoPair => preference::exo(margins(), beta, smoothing),
        Loss::Discopop => preference::discopop(margins(), beta, settings.discopop_tau),
        Loss::NcaPair => preference::nca(w(), l(), beta),
        Loss::BcoPair => preference::bco(w(), l(), beta),
        Loss::SppoHard => preference::sppo_hard(w(), l(), beta),
        Loss::ApoZero => preference::apo_zero(w(), l(), beta),
        Loss::ApoDown => preference::apo_down(w(), l(), beta),
        Loss::Aot => {
            let policy_margins = w() - l() + reference_margins.clone();
            preference::aot(policy_margins, reference_margins.clone(), beta, smoothing)
        }
        Loss::AotUnpaired => preference::aot(w(), l(), beta, smoothing),
        Loss::Kto | Loss::ApoZeroUnpaired => {
            let z = match kind {
                Loss::Kto => counts.drift,
                _ => 0.0,
            };
            let there = |answers: &Answers| answers.lengths.clone().greater_elem(0.0).float();
            let desirable = preference::kto_desirable(w(), z, beta) * there(chosen);
            let undesirable = preference::kto_undesirable(l(), z, beta) * there(rejected);
            let of_pair = desirable.mul_scalar(settings.desirable_weight)
                + undesirable.mul_scalar(settings.undesirable_weight);
            // The mean is over answers, and what is returned is divided by the number of pairs.
            of_pair.mul_scalar(counts.num_pairs as f64 / counts.num_answers as f64)
        }
        Loss::Cpo => dpo(plain_margins(), beta, smoothing),
        Loss::CpoHinge => preference::hinge(plain_margins(), beta),
        Loss::CpoIpo => preference::ipo(plain_mean_margins(), beta),
        Loss::Simpo | Loss::Alphapo => {
            preference::simpo(plain_mean_margins(), beta, settings.simpo_gamma, smoothing)
        }
        Loss::Orpo => preference::orpo(chosen.mean_logprobs(), rejected.mean_logprobs(), beta),
        Loss::Arpo => preference::arpo(
            [chosen.logprobs.clone(), rejected.logprobs.clone()],
            [chosen.mean_logprobs(), rejected.mean_logprobs()],
            beta,
            smoothing,
        ),
        Loss::Sft => unreachable!("a sum over tokens, not over pairs"),
    }
}

impl PreferenceLossType {
    /// Whether the loss compares the policy with a frozen reference.
    pub fn needs_reference(self) -> bool {
        !matches!(
            self,
            Self::Sft
                | Self::Cpo
                | Self::CpoHinge
                | Self::CpoIpo
                | Self::Simpo
                | Self::Alphapo
                | Self::Orpo
                | Self::Arpo
        )
    }

    /// Whether the loss judges answers by themselves, so that one may come without another.
    pub fn takes_single_answers(self) -> bool {
        matches!(self, Self::Kto | Self::ApoZeroUnpaired | Self::Sft)
    }

    /// Whether WPO's weight of a pair makes WPO of it: the losses of DPO's kind, one pair by itself.
    /// sft beside them has no weight.
    pub fn is_weighed(self) -> bool {
        let of_one_pair = !self.takes_single_answers() && !self.crosses_pairs();
        self == Self::Sft || (of_one_pair && self.needs_reference())
    }

    /// Whether a pair's loss depends on the other pairs of the step.
    pub fn crosses_pairs(self) -> bool {
        matches!(self, Self::Aot | Self::AotUnpaired)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipe::{RawRecipe, StageName, StageSettings, for_stage};

    fn settings(assignments: &[&str]) -> PoSettings {
        let mut raw = RawRecipe::new();
        for assignment in assignments {
            raw.set(Some(StageName::Po), assignment);
        }
        match for_stage(&raw, StageName::Po).expect("it is sound").stage {
            StageSettings::Po(settings) => settings,
            _ => unreachable!("it is for po"),
        }
    }

    fn answer(logratio: f64) -> AnswerValues {
        AnswerValues {
            logprob: logratio - 5.0,
            weighted_logprob: logratio - 5.0,
            reference: -5.0,
            length: 2,
        }
    }

    #[test]
    fn kto_is_a_mean_over_answers_however_they_come() {
        // β = 0.5, z = 1, λ_D = 2, λ_U = 3. A desirable answer of d = 3: 2·(1 − σ(1)) = 0.5378828.
        // An undesirable one of d = 3: 3·(1 − σ(−1)) = 2.1931758; the mean is 1.3655293. Slopes:
        // 2·(−β·σ(1)·σ(−1))/2 = −0.0983060 and 3·(β·σ(1)·σ(−1))/2 = 0.1474589.
        let mut base = vec!["loss_type=kto", "use_weighting=false", "beta=0.5"];
        base.extend(["desirable_weight=2", "undesirable_weight=3"]);
        let settings = settings(&base);
        let (one, none) = (answer(3.0), AnswerValues::default());
        let value = |chosen, rejected| PairValues {
            chosen,
            rejected,
            weight: 1.0,
        };
        let counts = |num_pairs| StepCounts {
            num_pairs,
            num_answers: 2,
            num_chosen_tokens: 2,
            drift: 1.0,
        };
        let pair = objective(&settings, &[value(one, one)], counts(1));
        let singles = [value(one, none), value(none, one)];
        let single = objective(&settings, &singles, counts(2));
        for got in [&pair, &single] {
            assert!((got.loss - 1.365_529_3).abs() < 1e-5, "{}", got.loss);
        }
        let near = |got: f64, want: f64| assert!((got - want).abs() < 1e-6, "{got} for {want}");
        near(pair.slopes[0][0].weighted, -0.098_306_0);
        near(pair.slopes[0][1].weighted, 0.147_458_9);
        near(single.slopes[0][0].weighted, -0.098_306_0);
        near(single.slopes[1][1].weighted, 0.147_458_9);
        // What is not there has no slope.
        assert_eq!(single.slopes[0][1], Slope::default());
        assert_eq!(single.slopes[1][0], Slope::default());
    }
}
