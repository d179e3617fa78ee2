use std::sync::Arc;

use burn::backend::tensor::FloatTensor;
use burn_backend::TensorMetadata;
use burn_flex::Flex;
use rayon::prelude::*;

use super::{SamplingOps, SamplingOptions};
use crate::cpu::{contiguous, exp, max, sum, tanh, tensor, values, vectorized};

/// Weights summed in float32 before they join the float64 total.
const CHUNK: usize = 256;

impl SamplingOps for Flex {
    fn sample(
        logits: FloatTensor<Self>,
        uniforms: Arc<[f64]>,
        options: SamplingOptions,
    ) -> FloatTensor<Self> {
        let [rows, vocab] = logits.shape().dims();
        let logits = contiguous(logits);
        let mut chosen = vec![0.0; rows * 3];
        chosen
            .par_chunks_mut(3)
            .zip(values(&logits).par_chunks(vocab))
            .zip(uniforms.par_iter())
            .for_each(|((chosen, logits), &uniform)| {
                chosen.copy_from_slice(&choose(logits, uniform, options));
            });
        tensor(chosen, [rows, 3])
    }
}

fn choose(logits: &[f32], uniform: f64, options: SamplingOptions) -> [f32; 3] {
    let mut x = logits.to_vec();
    if let Some(cap) = options.softcap {
        let inverse = 1.0 / cap;
        vectorized!({
            for x in &mut x {
                *x = cap * tanh(*x * inverse);
            }
        });
    }
    let largest = vectorized!(max(&x));
    let model_weights = Weights::of(&x, largest, 1.0);
    let model_normaliser = model_weights.total.ln();
    let model_logprob = |token: usize| (f64::from(x[token] - largest) - model_normaliser) as f32;
    if options.temperature == 0.0 {
        // A NaN is nobody's largest; it shows in the log-probability.
        let token = x.iter().position(|&x| x == largest).unwrap_or(0);
        return [f32::from_bits(token as u32), 0.0, model_logprob(token)];
    }
    let inverse_temperature = (1.0 / options.temperature) as f32;
    let (index, logprob) = match kept_tokens(&x, options) {
        None if inverse_temperature == 1.0 => model_weights.choose(uniform),
        None => Weights::of(&x, largest, inverse_temperature).choose(uniform),
        Some(kept) => {
            let logits: Vec<f32> = kept.iter().map(|&token| x[token as usize]).collect();
            let (index, logprob) =
                Weights::of(&logits, largest, inverse_temperature).choose(uniform);
            (kept[index] as usize, logprob)
        }
    };
    [f32::from_bits(index as u32), logprob, model_logprob(index)]
}

/// exp((x − largest) / temperature) of some logits.
struct Weights {
    weights: Vec<f32>,
    chunks: Vec<f64>,
    total: f64,
}

impl Weights {
    fn of(x: &[f32], largest: f32, inverse_temperature: f32) -> Self {
        let mut weights = vec![0.0; x.len()];
        let mut chunks = Vec::with_capacity(x.len().div_ceil(CHUNK));
        vectorized!({
            for (weights, x) in weights.chunks_mut(CHUNK).zip(x.chunks(CHUNK)) {
                for (weight, x) in weights.iter_mut().zip(x) {
                    *weight = exp((x - largest) * inverse_temperature);
                }
                chunks.push(f64::from(sum(weights)));
            }
        });
        Weights {
            total: chunks.iter().sum(),
            weights,
            chunks,
        }
    }

    /// The index at which the cumulative weight exceeds `uniform` of the total, and its
    /// log-probability.
    fn choose(&self, uniform: f64) -> (usize, f32) {
        let threshold = uniform * self.total;
        let mut before = 0.0;
        let mut last = 0;
        for (chunk, weights) in self
            .chunks
            .iter()
            .zip(self.weights.chunks(CHUNK).enumerate())
        {
            let (number, weights) = weights;
            if before + chunk <= threshold {
                before += chunk;
                continue;
            }
            let mut sum = before;
            for (i, &weight) in weights.iter().enumerate() {
                sum += f64::from(weight);
                if weight > 0.0 {
                    last = number * CHUNK + i;
                }
                if sum > threshold {
                    return self.chosen(last);
                }
            }
            // Rounding kept the sum below the chunk's: the last token with a weight it is.
            return self.chosen(last);
        }
        let last = self.weights.iter().rposition(|&weight| weight > 0.0);
        self.chosen(last.unwrap_or(0))
    }

    fn chosen(&self, index: usize) -> (usize, f32) {
        let weight = f64::from(self.weights[index]);
        (index, (weight.ln() - self.total.ln()) as f32)
    }
}

/// The tokens that top-k and top-p keep, in the order of the vocabulary; none where all are kept.
fn kept_tokens(x: &[f32], options: SamplingOptions) -> Option<Vec<u32>> {
    let top_k = match options.top_k {
        0 => x.len(),
        k => k.min(x.len()),
    };
    if top_k == x.len() && options.top_p >= 1.0 {
        return None;
    }
    let larger = |&a: &u32, &b: &u32| {
        // Ties go to the lower id.
        x[b as usize].total_cmp(&x[a as usize]).then(a.cmp(&b))
    };
    let mut tokens: Vec<u32> = (0..x.len() as u32).collect();
    if top_k < x.len() {
        tokens.select_nth_unstable_by(top_k - 1, larger);
        tokens.truncate(top_k);
    }
    if options.top_p < 1.0 {
        tokens.sort_unstable_by(larger);
        let largest = f64::from(x[tokens[0] as usize]);
        let weight =
            |&token: &u32| ((f64::from(x[token as usize]) - largest) / options.temperature).exp();
        let enough = options.top_p * tokens.iter().map(weight).sum::<f64>();
        let mut sum = 0.0;
        let beyond = tokens.iter().position(|token| {
            let crossed = sum >= enough;
            sum += weight(token);
            crossed
        });
        // The most probable token stays, whatever top_p is.
        tokens.truncate(beyond.unwrap_or(tokens.len()).max(1));
    }
    tokens.sort_unstable();
    Some(tokens)
}
