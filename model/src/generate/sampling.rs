use crate::layers::mix;

/// How a token is chosen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SamplingOptions {
    /// Divides the logits; 0 takes the most probable token.
    pub temperature: f64,
    /// Keeps this many of the most probable tokens; 0 keeps all.
    pub top_k: usize,
    /// Keeps the fewest most probable tokens that together have at least this probability; 1 keeps
    /// all.
    pub top_p: f64,
    /// Everything random follows from it, the prompt, the index and the position.
    pub seed: u64,
}

impl SamplingOptions {
    /// Always the most probable token.
    pub const GREEDY: Self = SamplingOptions {
        temperature: 0.0,
        top_k: 0,
        top_p: 1.0,
        seed: 0,
    };
}

/// A chosen token and its log-probabilities.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Sampled {
    pub(crate) token: u32,
    /// Under the distribution it was sampled from.
    pub(crate) logprob: f32,
    /// Under the model's own.
    pub(crate) model_logprob: f32,
}

/// What identifies one sequence among all random choices.
pub(crate) fn sequence_key(seed: u64, prompt: &[u32], index: u64) -> u64 {
    let prompt = prompt
        .iter()
        .fold(mix(seed), |hash, &token| mix(hash ^ u64::from(token)));
    mix(prompt ^ mix(index))
}

/// Chooses the token at `position` of a sequence.
pub(crate) fn sample(
    logits: &[f32],
    options: &SamplingOptions,
    sequence_key: u64,
    position: usize,
) -> Sampled {
    let model_normaliser = log_sum_exp(logits.iter().map(|&z| f64::from(z)));
    let model_logprob = |token: usize| (f64::from(logits[token]) - model_normaliser) as f32;
    if options.temperature == 0.0 {
        let token = most_probable(logits);
        return Sampled {
            token: token as u32,
            logprob: 0.0,
            model_logprob: model_logprob(token),
        };
    }
    let scaled = |token: usize| f64::from(logits[token]) / options.temperature;
    let kept = kept_tokens(logits, options);
    let kept: &mut dyn Iterator<Item = usize> = match &kept {
        Some(tokens) => &mut tokens.iter().copied(),
        None => &mut (0..logits.len()),
    };
    // Weights relative to the largest logit, so that none overflows.
    let largest = scaled(most_probable(logits));
    let mut cumulative = Vec::with_capacity(logits.len());
    let mut total = 0.0;
    for token in kept {
        total += (scaled(token) - largest).exp();
        cumulative.push((token, total));
    }
    let threshold = uniform(sequence_key, position) * total;
    let choice = cumulative.partition_point(|&(_, sum)| sum <= threshold);
    let (token, _) = cumulative[choice.min(cumulative.len() - 1)];
    Sampled {
        token: token as u32,
        logprob: (scaled(token) - largest - total.ln()) as f32,
        model_logprob: model_logprob(token),
    }
}

/// The tokens that top-k and top-p keep, in the order of the vocabulary; none where all are kept.
fn kept_tokens(logits: &[f32], options: &SamplingOptions) -> Option<Vec<usize>> {
    let top_k = match options.top_k {
        0 => logits.len(),
        k => k.min(logits.len()),
    };
    if top_k == logits.len() && options.top_p >= 1.0 {
        return None;
    }
    let mut tokens: Vec<usize> = (0..logits.len()).collect();
    // Ties go to the lower id, so the choice does not depend on the sort.
    tokens.sort_unstable_by(|&a, &b| logits[b].total_cmp(&logits[a]).then(a.cmp(&b)));
    tokens.truncate(top_k);
    if options.top_p < 1.0 {
        let scaled = |token: usize| f64::from(logits[token]) / options.temperature;
        let normaliser = log_sum_exp(tokens.iter().map(|&token| scaled(token)));
        let mut sum = 0.0;
        let beyond = tokens.iter().position(|&token| {
            let enough = sum >= options.top_p;
            sum += (scaled(token) - normaliser).exp();
            enough
        });
        // The most probable token stays, whatever top_p is.
        tokens.truncate(beyond.unwrap_or(tokens.len()).max(1));
    }
    tokens.sort_unstable();
    Some(tokens)
}

fn most_probable(logits: &[f32]) -> usize {
    let mut best = 0;
    for (token, &logit) in logits.iter().enumerate() {
        if logit > logits[best] {
            best = token;
        }
    }
    best
}

fn log_sum_exp(values: impl Iterator<Item = f64> + Clone) -> f64 {
    let largest = values.clone().fold(f64::NEG_INFINITY, f64::max);
    largest
        + values
            .map(|value| (value - largest).exp())
            .sum::<f64>()
            .ln()
}

/// In [0, 1).
fn uniform(sequence_key: u64, position: usize) -> f64 {
    (mix(sequence_key ^ mix(position as u64)) >> 11) as f64 / (1u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOGITS: [f32; 5] = [1.0, 3.0, 2.0, -1.0, 3.0];

    fn options(temperature: f64, top_k: usize, top_p: f64) -> SamplingOptions {
        SamplingOptions {
            temperature,
            top_k,
            top_p,
            seed: 5,
        }
    }

    #[test]
    fn greedy_takes_the_first_of_equal_tokens() {
        let sampled = sample(&LOGITS, &SamplingOptions::GREEDY, 0, 0);
        assert_eq!(sampled.token, 1);
        assert_eq!(sampled.logprob, 0.0);
        // e³ / (e + 2e³ + e² + e⁻¹)
        let want = 3.0 - (1f64.exp() + 2.0 * 3f64.exp() + 2f64.exp() + (-1f64).exp()).ln();
        assert!((f64::from(sampled.model_logprob) - want).abs() < 1e-6);
    }

    #[test]
    fn top_k_breaks_ties_by_token_id_and_top_p_keeps_the_token_that_crosses_it() {
        assert_eq!(kept_tokens(&LOGITS, &options(1.0, 1, 1.0)), Some(vec![1]));
        assert_eq!(
            kept_tokens(&LOGITS, &options(1.0, 3, 1.0)),
            Some(vec![1, 2, 4])
        );
        // p(1) = p(4) = 0.40, p(2) = 0.15: 0.8 is crossed by the third.
        assert_eq!(
            kept_tokens(&LOGITS, &options(1.0, 0, 0.81)),
            Some(vec![1, 2, 4])
        );
        assert_eq!(kept_tokens(&LOGITS, &options(1.0, 0, 0.1)), Some(vec![1]));
        assert_eq!(kept_tokens(&LOGITS, &options(1.0, 0, 1.0)), None);
    }

    #[test]
    fn frequencies_follow_the_tempered_distribution() {
        let options = options(0.7, 0, 1.0);
        let draws = 20_000;
        let mut counts = [0.0f64; 5];
        let mut stated = [0.0f64; 5];
        for position in 0..draws {
            let sampled = sample(&LOGITS, &options, sequence_key(1, &[2, 3], 0), position);
            counts[sampled.token as usize] += 1.0;
            stated[sampled.token as usize] = f64::from(sampled.logprob).exp();
        }
        for (count, p) in counts.iter().zip(stated) {
            let deviation = (p * (1.0 - p) / f64::from(draws as u32)).sqrt();
            let frequency = count / f64::from(draws as u32);
            assert!(
                (frequency - p).abs() <= 5.0 * deviation,
                "{counts:?} {stated:?}"
            );
        }
    }

    #[test]
    fn a_key_depends_on_each_of_its_parts() {
        let key = sequence_key(1, &[2, 3], 0);
        assert_ne!(key, sequence_key(2, &[2, 3], 0));
        assert_ne!(key, sequence_key(1, &[3, 2], 0));
        assert_ne!(key, sequence_key(1, &[2, 3], 1));
    }
}
