//! The loss of some pairs and its slope by each answer's log-probability, on the host: a few numbers
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
    /// Supervised tokens.
    pub length: usize,
}

/// What a loss takes of a pair.
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
    /// Pairs.
    pub num_pairs: usize,
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
            .div_scalar(counts.num_chosen_tokens as f64)
    };

    let mut loss = Tensor::<1>::zeros([1], &device);
    let mut cross_entropy_weight = 0.0;
    for (index, &kind) in settings.loss_type.iter().enumerate() {
        let share = settings.loss_weights.get(index).copied().unwrap_or(1.0);
        let alpha = match kind {
            PreferenceLossType::Sft => 1.0,
            kind if kind.needs_reference() => settings.rpo_alpha,
            _ => settings.cpo_alpha,
            PreferenceLossType::Alphapo => 0.0,
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
        Loss::Kto => {
            // Two answers a pair, and the mean is over answers.
            let desirable = preference::kto_desirable(w(), counts.drift, beta);
            let undesirable = preference::kto_undesirable(l(), counts.drift, beta);
            desirable.mul_scalar(settings.desirable_weight / 2.0)
                + undesirable.mul_scalar(settings.undesirable_weight / 2.0)
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
                | Self::Orpo
                | Self::Arpo
        )
    }

    /// Whether a pair's loss depends on the other pairs of the step.
    pub fn crosses_pairs(self) -> bool {
        matches!(self, Self::Aot | Self::AotUnpaired)
                | Self::Alphapo
    }
}
