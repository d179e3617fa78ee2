//! What a recipe's words mean to the losses.

use losses::{
    Denominator, GammaShape, ImportanceLevel, KlEstimator, LossType, PolicyGradientOptions,
    PolicyObjective,
};

use crate::recipe::{self, ImportanceSamplingLevel, PolicyLossType, RlSettings, ScaleRewards};
use crate::rollout::{Estimator, PolicyLossOptions};

/// The loss, of a step with these counts and this weight of the entropy.
pub(super) fn loss_options(
    settings: &RlSettings,
    denominator: Denominator,
    entropy_coef: f64,
) -> PolicyLossOptions {
    let objective = match settings.loss_type {
        PolicyLossType::Cispo => PolicyObjective::Cispo,
        PolicyLossType::Sapo => PolicyObjective::Sapo {
            temperature_pos: settings.sapo_temperature_pos,
            temperature_neg: settings.sapo_temperature_neg,
        },
        PolicyLossType::Vespo => PolicyObjective::Vespo {
            positive: GammaShape {
                k: settings.vespo_k_pos,
                lambda: settings.vespo_lambda_pos,
            },
            negative: GammaShape {
                k: settings.vespo_k_neg,
                lambda: settings.vespo_lambda_neg,
            },
        },
        _ => PolicyObjective::Clip {
            delta: settings.delta,
        },
    };
    let level = match (settings.loss_type, settings.importance_sampling_level) {
        (PolicyLossType::Rloo, _) => ImportanceLevel::Trajectory,
        (_, ImportanceSamplingLevel::Token) => ImportanceLevel::Token,
        (_, ImportanceSamplingLevel::Sequence) => ImportanceLevel::Sequence,
    };
    PolicyLossOptions {
        gradient: PolicyGradientOptions {
            objective,
            level,
            epsilon: settings.epsilon,
            epsilon_high: settings.epsilon_high,
            // RLOO has it in the reward.
            beta: match settings.loss_type {
                PolicyLossType::Rloo => 0.0,
                _ => settings.beta,
            },
            kl: match settings.kl_estimator {
                recipe::KlEstimator::K1 => KlEstimator::K1,
                recipe::KlEstimator::K2 => KlEstimator::K2,
                recipe::KlEstimator::K3 => KlEstimator::K3,
                recipe::KlEstimator::K1Plus => KlEstimator::K1Plus,
                recipe::KlEstimator::K3Plus => KlEstimator::K3Plus,
            },
            use_bias_correction_kl: settings.use_bias_correction_kl,
            off_policy_mask_threshold: settings.off_policy_mask_threshold,
        },
        denominator,
        temperature: settings.temperature,
        entropy_coef,
        top_entropy_quantile: settings.top_entropy_quantile,
    }
}

/// How tokens are averaged.
pub(super) fn loss_type(settings: &RlSettings) -> LossType {
    match settings.loss_type {
        PolicyLossType::Dapo
        | PolicyLossType::Bnpo
        | PolicyLossType::Cispo
        | PolicyLossType::Vespo => LossType::Dapo,
        PolicyLossType::DrGrpo => LossType::DrGrpo,
        PolicyLossType::Luspo => LossType::Luspo,
        // A mean over completions.
        PolicyLossType::Grpo | PolicyLossType::Sapo | PolicyLossType::Rloo => LossType::Grpo,
    }
}

/// How rewards become advantages.
pub(super) fn estimator(settings: &RlSettings) -> Estimator {
    use recipe::MultiObjectiveAggregation::NormalizeThenSum;
    match (settings.loss_type, settings.multi_objective_aggregation) {
        (PolicyLossType::Rloo, _) if settings.normalize_advantages => {
            Estimator::NormalizedLeaveOneOut
        }
        (PolicyLossType::Rloo, _) => Estimator::LeaveOneOut,
        (_, NormalizeThenSum) => Estimator::NormalizedSum,
        _ => Estimator::Group(match settings.scale_rewards {
            ScaleRewards::Group => losses::ScaleRewards::Group,
            ScaleRewards::Batch => losses::ScaleRewards::Batch,
            ScaleRewards::None => losses::ScaleRewards::None,
        }),
    }
}
