use super::{Sampled, SamplingOptions};

/// The definition, in float64 on the host, for one row.
pub fn sample(logits: &[f32], uniform: f64, options: SamplingOptions) -> Sampled {
    let logits: Vec<f64> = logits
        .iter()
        .map(|&logit| match options.softcap {
            Some(cap) => f64::from(cap) * (f64::from(logit) / f64::from(cap)).tanh(),
            None => f64::from(logit),
        })
        .collect();
    let normaliser = log_sum_exp(logits.iter().copied());
    let model_logprob = |token: usize| (logits[token] - normaliser) as f32;
    if options.temperature == 0.0 {
        let token = most_probable(&logits);
        return Sampled {
            token: token as u32,
            logprob: 0.0,
            model_logprob: model_logprob(token),
        };
    }
    let scaled: Vec<f64> = logits.iter().map(|x| x / options.temperature).collect();
    let kept = kept_tokens(&scaled, options);
    let normaliser = log_sum_exp(kept.iter().map(|&token| scaled[token]));
    let mut cumulative = 0.0;
    let choice = kept.iter().find(|&&token| {
        cumulative += (scaled[token] - normaliser).exp();
        cumulative > uniform
    });
    let token = *choice.unwrap_or_else(|| kept.last().expect("one token is always kept"));
    Sampled {
        token: token as u32,
        logprob: (scaled[token] - normaliser) as f32,
        model_logprob: model_logprob(token),
    }
}

/// The tokens that top-k and top-p keep, in the order of the vocabulary.
pub(super) fn kept_tokens(scaled: &[f64], options: SamplingOptions) -> Vec<usize> {
    let mut tokens: Vec<usize> = (0..scaled.len()).collect();
    if options.top_k == 0 && options.top_p >= 1.0 {
        return tokens;
    }
    tokens.sort_by(|&a, &b| scaled[b].total_cmp(&scaled[a]));
    if options.top_k > 0 {
        tokens.truncate(options.top_k);
    }
    if options.top_p < 1.0 {
        let normaliser = log_sum_exp(tokens.iter().map(|&token| scaled[token]));
        let mut sum = 0.0;
        let beyond = tokens.iter().position(|&token| {
            let enough = sum >= options.top_p;
            sum += (scaled[token] - normaliser).exp();
            enough
        });
        // The most probable token stays, whatever top_p is.
        tokens.truncate(beyond.unwrap_or(tokens.len()).max(1));
    }
    tokens.sort_unstable();
    tokens
}

fn most_probable(logits: &[f64]) -> usize {
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
