use burn::tensor::{DType, TensorData};

use super::reference::kept_tokens;
use super::*;
use crate::device;
use crate::parity::random;

const LOGITS: [f32; 5] = [1.0, 3.0, 2.0, -1.0, 3.0];

fn options(temperature: f64, top_k: usize, top_p: f64) -> SamplingOptions {
    SamplingOptions {
        temperature,
        top_k,
        top_p,
        softcap: None,
    }
}

/// Every device's choices for the rows, each with its own number.
fn on_each_device(
    rows: &[Vec<f32>],
    uniforms: &[f64],
    options: SamplingOptions,
) -> Vec<(&'static str, Vec<Sampled>)> {
    let shape = [rows.len(), rows[0].len()];
    let devices = device::for_tests().into_iter();
    devices
        .map(|(name, device)| {
            let data = TensorData::new(rows.concat(), shape);
            let logits = Tensor::<2>::from_data(data, (&device, DType::F32));
            (name, sample(logits, &uniforms.into(), options))
        })
        .collect()
}

#[test]
fn greedy_takes_the_first_of_equal_tokens() {
    // e³ / (e + 2e³ + e² + e⁻¹)
    let want = 3.0 - (1f64.exp() + 2.0 * 3f64.exp() + 2f64.exp() + (-1f64).exp()).ln();
    for (device, chosen) in on_each_device(&[LOGITS.to_vec()], &[0.99], options(0.0, 0, 1.0)) {
        assert_eq!((chosen[0].token, chosen[0].logprob), (1, 0.0), "{device}");
        let error = (f64::from(chosen[0].model_logprob) - want).abs();
        assert!(error < 1e-6, "{device}: {error:.1e}");
    }
}

#[test]
fn top_k_breaks_ties_by_token_id_and_top_p_keeps_the_token_that_crosses_it() {
    // p(1) = p(4) = 0.40, p(2) = 0.15: 0.8 is crossed by the third.
    let logits: Vec<f64> = LOGITS.iter().map(|&x| f64::from(x)).collect();
    for (top_k, top_p, kept) in [
        (1, 1.0, vec![1]),
        (3, 1.0, vec![1, 2, 4]),
        (0, 0.81, vec![1, 2, 4]),
        (0, 0.1, vec![1]),
        (2, 0.49, vec![1]),
        (2, 0.51, vec![1, 4]),
        (4, 0.999, vec![0, 1, 2, 4]),
        (0, 1.0, vec![0, 1, 2, 3, 4]),
    ] {
        let options = options(1.0, top_k, top_p);
        assert_eq!(kept_tokens(&logits, options), kept);
        // Numbers close enough together that every kept token is hit.
        let uniforms: Vec<f64> = (0..200).map(|i| (f64::from(i) + 0.5) / 200.0).collect();
        let rows = vec![LOGITS.to_vec(); uniforms.len()];
        for (device, chosen) in on_each_device(&rows, &uniforms, options) {
            let mut tokens: Vec<usize> = chosen.iter().map(|c| c.token as usize).collect();
            assert!(tokens.is_sorted(), "{device}: the vocabulary's order");
            tokens.dedup();
            assert_eq!(tokens, kept, "{device} {options:?}");
            let total: f64 = tokens
                .iter()
                .map(|&token| {
                    let one = chosen.iter().find(|c| c.token as usize == token);
                    f64::from(one.expect("it was chosen").logprob).exp()
                })
                .sum();
            assert!((total - 1.0).abs() < 1e-5, "{device} {options:?}: {total}");
        }
    }
}

#[test]
fn choices_are_those_of_the_reference() {
    for vocab in [3, 47, 1_000, 70_001] {
        for (temperature, top_k, top_p) in [
            (1.0, 0, 1.0),
            (0.7, 0, 1.0),
            (1.3, 40, 1.0),
            (1.0, 0, 0.6),
            (0.8, 30, 0.9),
        ] {
            let options = SamplingOptions {
                softcap: Some(4.0),
                ..options(temperature, top_k, top_p)
            };
            let rows: Vec<Vec<f32>> = (0..9)
                .map(|seed| random(vocab, seed).map(|x| x as f32 * 6.0).collect())
                .collect();
            let uniforms: Vec<f64> = (0..9).map(|i| (f64::from(i) + 0.37) / 9.0).collect();
            for (device, chosen) in on_each_device(&rows, &uniforms, options) {
                for ((row, &uniform), got) in rows.iter().zip(&uniforms).zip(&chosen) {
                    // Float32 sums may move the number by a few parts in a million.
                    let nearby =
                        [-3e-6, 0.0, 3e-6].map(|d| sample_reference(row, uniform + d, options));
                    let want = nearby.iter().find(|want| want.token == got.token);
                    let want = want.unwrap_or_else(|| {
                        panic!("{device} {vocab} {options:?}: {got:?} for {nearby:?}")
                    });
                    for (got, want) in [
                        (got.logprob, want.logprob),
                        (got.model_logprob, want.model_logprob),
                    ] {
                        assert!(
                            (got - want).abs() < 2e-5,
                            "{device} {vocab} {options:?}: {got} for {want}"
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn frequencies_follow_the_tempered_distribution() {
    let draws = 20_000;
    let uniforms: Vec<f64> = random(draws, 4).map(|x| (x + 1.0) / 2.0).collect();
    let rows = vec![LOGITS.to_vec(); draws];
    for (device, chosen) in on_each_device(&rows, &uniforms, options(0.7, 0, 1.0)) {
        let mut counts = [0.0f64; 5];
        let mut stated = [0.0f64; 5];
        for sampled in chosen {
            counts[sampled.token as usize] += 1.0;
            stated[sampled.token as usize] = f64::from(sampled.logprob).exp();
        }
        for (count, p) in counts.iter().zip(stated) {
            let deviation = (p * (1.0 - p) / draws as f64).sqrt();
            let frequency = count / draws as f64;
            assert!(
                (frequency - p).abs() <= 5.0 * deviation,
                "{device}: {counts:?} {stated:?}"
            );
        }
    }
}

#[test]
fn a_nan_shows_in_the_log_probabilities() {
    let mut logits = LOGITS.to_vec();
    logits[2] = f32::NAN;
    for softcap in [None, Some(4.0)] {
        let options = SamplingOptions {
            softcap,
            ..options(1.0, 0, 1.0)
        };
        for (device, chosen) in on_each_device(&[logits.clone()], &[0.5], options) {
            assert!(
                chosen[0].model_logprob.is_nan(),
                "{device} {options:?}: {chosen:?}"
            );
        }
    }
}

#[test]
fn a_token_of_minus_infinity_is_never_chosen() {
    let mut logits = LOGITS.to_vec();
    logits[0] = f32::NEG_INFINITY;
    logits[4] = f32::NEG_INFINITY;
    // The last token has 1.3 % of the probability.
    let uniforms: Vec<f64> = (0..200).map(|i| (f64::from(i) + 0.5) / 200.0).collect();
    let rows = vec![logits; uniforms.len()];
    // The fourth and fifth of the most probable tokens are those two.
    for (top_k, top_p) in [(0, 1.0), (4, 1.0), (0, 0.9999)] {
        for (device, chosen) in on_each_device(&rows, &uniforms, options(1.0, top_k, top_p)) {
            let mut tokens: Vec<u32> = chosen.iter().map(|c| c.token).collect();
            tokens.dedup();
            assert_eq!(tokens, [1, 2, 3], "{device} {top_k} {top_p}");
            let finite = |c: &Sampled| c.logprob.is_finite() && c.model_logprob.is_finite();
            assert!(chosen.iter().all(finite), "{device} {top_k} {top_p}");
        }
    }
}
