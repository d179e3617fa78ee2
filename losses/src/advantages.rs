/// What a group's centred rewards are divided by. Names are TRL's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScaleRewards {
    /// The group's standard deviation (GRPO).
    Group,
    /// The standard deviation over all rewards of the step.
    Batch,
    /// Nothing (Dr. GRPO).
    None,
}

/// Added to every standard deviation, as in TRL.
const EPSILON: f64 = 1e-4;

/// Group-relative advantages: (r − mean of its group) / (standard deviation + 1e-4), Bessel's
/// correction in the deviation. A completion without a reward (`None`) takes no part and has
/// advantage 0.
///
/// GRPO, arXiv 2402.03300, equation 4; scaling as TRL's `scale_rewards`.
///
/// # Shapes
/// - rewards: one list a group; the result has the same lengths
pub fn advantages(rewards: &[Vec<Option<f64>>], scale: ScaleRewards) -> Vec<Vec<f64>> {
    let all: Vec<f64> = rewards.iter().flatten().flatten().copied().collect();
    let batch_deviation = deviation(&all);
    rewards
        .iter()
        .map(|group| {
            let known: Vec<f64> = group.iter().flatten().copied().collect();
            let mean = mean(&known);
            let divisor = match scale {
                ScaleRewards::Group => deviation(&known) + EPSILON,
                ScaleRewards::Batch => batch_deviation + EPSILON,
                ScaleRewards::None => 1.0,
            };
            let advantage = |reward: &Option<f64>| reward.map_or(0.0, |r| (r - mean) / divisor);
            group.iter().map(advantage).collect()
        })
        .collect()
}

/// Leave-one-out advantages: a reward less the mean of the others of its group (RLOO, arXiv
/// 2402.14740, equation 3). One without a reward, or alone in its group with one, has advantage 0.
///
/// # Shapes
/// - rewards: one list a group; the result has the same lengths
pub fn leave_one_out_advantages(rewards: &[Vec<Option<f64>>]) -> Vec<Vec<f64>> {
    let advantages = leave_one_out(rewards).into_iter();
    advantages
        .map(|group| group.into_iter().map(|a| a.unwrap_or(0.0)).collect())
        .collect()
}

/// As [`leave_one_out_advantages`], as z-scores over the step.
pub fn normalized_leave_one_out_advantages(rewards: &[Vec<Option<f64>>]) -> Vec<Vec<f64>> {
    grouped_z_scores(&leave_one_out(rewards))
}

fn leave_one_out(rewards: &[Vec<Option<f64>>]) -> Vec<Vec<Option<f64>>> {
    rewards
        .iter()
        .map(|group| {
            let sum: f64 = group.iter().flatten().sum();
            let others = group.iter().flatten().count() as f64 - 1.0;
            let advantage = |reward: &Option<f64>| match reward {
                Some(reward) if others > 0.0 => Some(reward - (sum - reward) / others),
                _ => None,
            };
            group.iter().map(advantage).collect()
        })
        .collect()
}

/// Advantages of several rewards, each made comparable before they are added up: each reward
/// function's z-scores in their group, their weighted sum, and of that the z-score over the step
/// (GDPO, arXiv 2601.05242). So a reward that hardly varies is not drowned by one that does.
///
/// `rewards[group][completion][function]`; a completion without any takes no part and has advantage
/// 0, one without some has none of those.
pub fn normalized_sum_advantages(
    rewards: &[Vec<Vec<Option<f64>>>],
    weights: &[f64],
) -> Vec<Vec<f64>> {
    let sums: Vec<Vec<Option<f64>>> = rewards
        .iter()
        .map(|group| {
            let scores: Vec<Vec<f64>> = (0..weights.len())
                .map(|function| {
                    let of_function: Vec<Option<f64>> = group
                        .iter()
                        .map(|completion| completion[function])
                        .collect();
                    z_scores(&of_function)
                })
                .collect();
            group
                .iter()
                .enumerate()
                .map(|(index, completion)| {
                    let weighted = scores.iter().zip(weights).map(|(s, w)| w * s[index]);
                    completion
                        .iter()
                        .any(Option::is_some)
                        .then(|| weighted.sum())
                })
                .collect()
        })
        .collect();
    grouped_z_scores(&sums)
}

/// The z-scores of all values as one list, in their groups.
fn grouped_z_scores(values: &[Vec<Option<f64>>]) -> Vec<Vec<f64>> {
    let mut of_all = z_scores(&values.concat()).into_iter();
    let groups = values.iter();
    groups
        .map(|group| of_all.by_ref().take(group.len()).collect())
        .collect()
}

/// (value − mean) / (deviation + 1e-4); 0 for what is absent.
fn z_scores(values: &[Option<f64>]) -> Vec<f64> {
    let known: Vec<f64> = values.iter().flatten().copied().collect();
    let (mean, divisor) = (mean(&known), deviation(&known) + EPSILON);
    let score = |value: &Option<f64>| value.map_or(0.0, |value| (value - mean) / divisor);
    values.iter().map(score).collect()
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

/// With Bessel's correction; 0 for fewer than two values.
fn deviation(values: &[f64]) -> f64 {
    if values.len() < 2 {
        return 0.0;
    }
    let mean = mean(values);
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (squares / (values.len() - 1) as f64).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_centred_and_scaled_by_its_own_deviation() {
        // mean 0.5, deviation sqrt((0.25 + 0.25) / 1) = 0.70710678
        let got = advantages(&[vec![Some(0.0), Some(1.0)]], ScaleRewards::Group);
        let want = 0.5 / (0.5f64.sqrt() + 1e-4);
        assert!((got[0][1] - want).abs() < 1e-12 && (got[0][0] + want).abs() < 1e-12);
    }

    #[test]
    fn equal_rewards_have_no_advantage() {
        for scale in [ScaleRewards::Group, ScaleRewards::Batch, ScaleRewards::None] {
            let got = advantages(&[vec![Some(0.7); 4], vec![Some(0.1); 4]], scale);
            assert!(got.iter().flatten().all(|a| a.abs() < 1e-9), "{got:?}");
        }
    }

    #[test]
    fn a_completion_without_a_reward_does_not_move_its_group() {
        let got = advantages(&[vec![Some(1.0), None, Some(3.0)]], ScaleRewards::None);
        assert_eq!(got, [[-1.0, 0.0, 1.0]]);
    }
}
