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
