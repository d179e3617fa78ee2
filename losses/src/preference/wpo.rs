/// The weight of a pair in WPO, how likely the policy is to write its answers:
/// exp(ā_w + ā_l), where ā is the mean over an answer's tokens of
///
/// a_t = log p(y_t) − log Σ_v p(v)²
///
/// The second term aligns the weights: an answer that the policy sampled itself has an expected
/// weight of about 1. It is a constant of the loss. arXiv 2406.11827, equations 3 and 5; `clamp`
/// keeps it at 1 at most, as its authors' code does and TRL's does not.
///
/// `chosen` and `rejected` have (log p(y), log Σ p²) of each token; one of them is empty where a single
/// answer is weighed.
pub fn wpo_weight(chosen: &[(f32, f32)], rejected: &[(f32, f32)], clamp: Option<f64>) -> f64 {
    let mean = |answer: &[(f32, f32)]| {
        let aligned = answer.iter().map(|&(l, c)| f64::from(l) - f64::from(c));
        aligned.sum::<f64>() / answer.len().max(1) as f64
    };
    let weight = (mean(chosen) + mean(rejected)).exp();
    clamp.map_or(weight, |clamp| weight.min(clamp))
}
