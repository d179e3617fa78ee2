use std::sync::Arc;

use burn::backend::tensor::FloatTensor;
use burn_backend::ops::FloatTensorOps;
use burn_backend::{Shape, TensorMetadata};
use burn_flex::Flex;
use rayon::prelude::*;

use super::chunks::tokens_at_a_time;
use super::one_pass::{OnePassOps, weighted_sum};
use super::{COLUMNS, LinearLogprobsOps, LogprobsOptions};
use crate::cpu::{
    Into, Mat, Threads, contiguous, exp, gemm, max, tanh, tensor, values, vectorized,
};

impl LinearLogprobsOps for Flex {
    fn linear_logprobs(
        hidden: FloatTensor<Self>,
        head: FloatTensor<Self>,
        targets: Arc<[u32]>,
        options: LogprobsOptions,
    ) -> FloatTensor<Self> {
        let [tokens, width] = hidden.shape().dims();
        let [vocab, _] = head.shape().dims();
        let (hidden, head) = (contiguous(hidden), contiguous(head));
        let (hidden, head) = (values(&hidden), values(&head));
        let mut columns = vec![0.0; tokens * COLUMNS];
        let mut logits = Vec::new();
        for (start, rows) in chunks(tokens, vocab) {
            product(&mut logits, hidden, head, [start, rows, vocab, width]);
            logits
                .par_chunks_mut(vocab)
                .zip(columns[start * COLUMNS..].par_chunks_mut(COLUMNS))
                .zip(&targets[start..start + rows])
                .for_each(|((logits, columns), &target)| {
                    vectorized!(columns.copy_from_slice(&statistics(logits, target, options)));
                });
        }
        tensor(columns, [tokens, COLUMNS])
    }

    fn linear_logprobs_backward(
        hidden: FloatTensor<Self>,
        head: FloatTensor<Self>,
        columns: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        targets: Arc<[u32]>,
        options: LogprobsOptions,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let shape = head.shape().dims::<2>();
        let mut grad_head = vec![0.0; shape[0] * shape[1]];
        let grad_hidden = backward(
            [hidden, head, columns, grad],
            Some(&mut grad_head),
            &targets,
            options,
        );
        (grad_hidden, tensor(grad_head, shape))
    }

    fn linear_logprobs_backward_hidden(
        hidden: FloatTensor<Self>,
        head: FloatTensor<Self>,
        columns: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        targets: Arc<[u32]>,
        options: LogprobsOptions,
    ) -> FloatTensor<Self> {
        backward([hidden, head, columns, grad], None, &targets, options)
    }
}

/// The gradient of the hidden states; that of the head is added to `grad_head`, where it is wanted.
fn backward(
    tensors: [FloatTensor<Flex>; 4],
    mut grad_head: Option<&mut [f32]>,
    targets: &[u32],
    options: LogprobsOptions,
) -> FloatTensor<Flex> {
    let [hidden, head, columns, grad] = tensors.map(contiguous);
    let [tokens, width] = hidden.shape().dims();
    let [vocab, _] = head.shape().dims();
    let (hidden, head) = (values(&hidden), values(&head));
    let (columns, grad) = (values(&columns), values(&grad));
    let mut grad_hidden = vec![0.0; tokens * width];
    let mut logits = Vec::new();
    for (start, rows) in chunks(tokens, vocab) {
        product(&mut logits, hidden, head, [start, rows, vocab, width]);
        logits
            .par_chunks_mut(vocab)
            .zip(columns[start * COLUMNS..].par_chunks(COLUMNS))
            .zip(grad[start * COLUMNS..].par_chunks(COLUMNS))
            .zip(&targets[start..start + rows])
            .for_each(|(((logits, columns), grad), &target)| {
                vectorized!({
                    scaled(logits, options);
                    grad_logits(logits, columns, grad, target, options);
                });
            });
        add_gradients(
            &logits,
            [start, rows, vocab, width],
            hidden,
            head,
            &mut grad_hidden,
            grad_head.as_deref_mut(),
        );
    }
    tensor(grad_hidden, [tokens, width])
}

impl OnePassOps for Flex {
    fn weighted_logprobs(
        hidden: FloatTensor<Self>,
        head: FloatTensor<Self>,
        weights: FloatTensor<Self>,
        targets: Arc<[u32]>,
        options: LogprobsOptions,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let tokens = targets.len();
        let columns = Self::linear_logprobs(hidden, head, targets, options);
        let sum = weighted_sum::<Self>(columns.clone(), weights, tokens);
        (sum, columns)
    }

    fn weighted_logprobs_with_gradients(
        hidden: FloatTensor<Self>,
        head: FloatTensor<Self>,
        weights: FloatTensor<Self>,
        targets: Arc<[u32]>,
        options: LogprobsOptions,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        let shape = head.shape().dims::<2>();
        let mut grad_head = vec![0.0; shape[0] * shape[1]];
        let (columns, grad_hidden) = one_pass(
            [hidden, head, weights],
            Some(&mut grad_head),
            &targets,
            options,
        );
        (columns, grad_hidden, tensor(grad_head, shape))
    }

    fn weighted_logprobs_with_hidden_gradient(
        hidden: FloatTensor<Self>,
        head: FloatTensor<Self>,
        weights: FloatTensor<Self>,
        targets: Arc<[u32]>,
        options: LogprobsOptions,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        one_pass([hidden, head, weights], None, &targets, options)
    }

    fn scaled_gradient(gradient: FloatTensor<Self>, by: FloatTensor<Self>) -> FloatTensor<Self> {
        Flex::float_mul(gradient, Flex::float_reshape(by, Shape::from([1, 1])))
    }
}

/// The columns and the gradient of the hidden states; that of the head is added to `grad_head`,
/// where it is wanted.
fn one_pass(
    tensors: [FloatTensor<Flex>; 3],
    mut grad_head: Option<&mut [f32]>,
    targets: &[u32],
    options: LogprobsOptions,
) -> (FloatTensor<Flex>, FloatTensor<Flex>) {
    let [hidden, head, weights] = tensors.map(contiguous);
    let [tokens, width] = hidden.shape().dims();
    let [vocab, _] = head.shape().dims();
    let (hidden, head, weights) = (values(&hidden), values(&head), values(&weights));
    let mut columns = vec![0.0; tokens * COLUMNS];
    let mut grad_hidden = vec![0.0; tokens * width];
    let mut logits = Vec::new();
    for (start, rows) in chunks(tokens, vocab) {
        product(&mut logits, hidden, head, [start, rows, vocab, width]);
        logits
            .par_chunks_mut(vocab)
            .zip(columns[start * COLUMNS..].par_chunks_mut(COLUMNS))
            .zip(&weights[start..start + rows])
            .zip(&targets[start..start + rows])
            .for_each(|(((logits, columns), &weight), &target)| {
                vectorized!({
                    columns.copy_from_slice(&statistics(logits, target, options));
                    let grad = [weight, 0.0, 0.0, 0.0];
                    grad_logits(logits, columns, &grad, target, options);
                });
            });
        add_gradients(
            &logits,
            [start, rows, vocab, width],
            hidden,
            head,
            &mut grad_hidden,
            grad_head.as_deref_mut(),
        );
    }
    (
        tensor(columns, [tokens, COLUMNS]),
        tensor(grad_hidden, [tokens, width]),
    )
}

/// What the gradients of a chunk's logits add to those of the hidden states and of the head, where
/// that is wanted.
fn add_gradients(
    grad_logits: &[f32],
    [start, rows, vocab, width]: [usize; 4],
    hidden: &[f32],
    head: &[f32],
    grad_hidden: &mut [f32],
    grad_head: Option<&mut [f32]>,
) {
    let grad_logits = Mat::rows(grad_logits, vocab);
    gemm(
        [rows, width, vocab],
        &mut grad_hidden[start * width..],
        width,
        Into::Overwrite,
        1.0,
        grad_logits,
        Mat::rows(head, width),
        Threads::All,
    );
    let Some(grad_head) = grad_head else {
        return;
    };
    gemm(
        [vocab, width, rows],
        grad_head,
        width,
        Into::Add,
        1.0,
        grad_logits.transposed(),
        Mat::rows(&hidden[start * width..], width),
        Threads::All,
    );
}

/// (first row, rows) of each chunk.
fn chunks(tokens: usize, vocab: usize) -> impl Iterator<Item = (usize, usize)> {
    let rows = tokens_at_a_time(vocab);
    (0..tokens)
        .step_by(rows)
        .map(move |start| (start, rows.min(tokens - start)))
}

fn product(
    logits: &mut Vec<f32>,
    hidden: &[f32],
    head: &[f32],
    [start, rows, vocab, width]: [usize; 4],
) {
    logits.resize(rows * vocab, 0.0);
    gemm(
        [rows, vocab, width],
        logits,
        vocab,
        Into::Overwrite,
        1.0,
        Mat::rows(&hidden[start * width..], width),
        Mat::rows(head, width).transposed(),
        Threads::All,
    );
}

/// Product to z in place.
#[inline(always)]
fn scaled(logits: &mut [f32], options: LogprobsOptions) {
    let inverse_temperature = 1.0 / options.temperature;
    match options.softcap {
        Some(cap) => {
            let (inner, outer) = (1.0 / cap, cap * inverse_temperature);
            for logit in logits {
                *logit = outer * tanh(*logit * inner);
            }
        }
        None if inverse_temperature != 1.0 => {
            for logit in logits {
                *logit *= inverse_temperature;
            }
        }
        None => {}
    }
}

#[inline(always)]
fn statistics(logits: &mut [f32], target: u32, options: LogprobsOptions) -> [f32; COLUMNS] {
    scaled(logits, options);
    let largest = max(logits);
    // Σe, Σe·(z − max), Σz and Σe², in eight fixed lanes each.
    let [mut total, mut weighted, mut sum, mut squares] = [[0.0f32; 8]; 4];
    // A loop of its own for the exponentials, which the compiler vectorises no other way.
    let mut exponentials = [0.0; 128];
    for block in logits.chunks(exponentials.len()) {
        for (e, &z) in exponentials.iter_mut().zip(block) {
            *e = exp(z - largest);
        }
        for (z, e) in block.chunks(8).zip(exponentials.chunks(8)) {
            for (lane, (&z, &e)) in z.iter().zip(e).enumerate() {
                total[lane] += e;
                // 0·(−∞) is the limit 0, not NaN.
                weighted[lane] += if e == 0.0 { 0.0 } else { e * (z - largest) };
                sum[lane] += z;
                squares[lane] += e * e;
            }
        }
    }
    let [total, weighted, sum, squares] =
        [total, weighted, sum, squares].map(|lanes| lanes.iter().sum::<f32>());
    let log_total = total.ln();
    let target_logit = logits[target as usize];
    [
        target_logit - largest - log_total,
        largest + log_total,
        log_total - weighted / total,
        sum / logits.len() as f32,
        squares.ln() - 2.0 * log_total,
        // A NaN in the row is no right answer.
        f32::from(u8::from(target_logit >= largest && !total.is_nan())),
    ]
}

/// z to the gradient of the product, in place.
#[inline(always)]
fn grad_logits(
    logits: &mut [f32],
    columns: &[f32],
    grad: &[f32],
    target: u32,
    options: LogprobsOptions,
) {
    let (logsumexp, entropy) = (columns[1], columns[2]);
    let &[g_logprob, g_logsumexp, g_entropy, g_mean, ..] = grad else {
        unreachable!("four columns have gradients")
    };
    if [g_logprob, g_logsumexp, g_entropy, g_mean] == [0.0; 4] {
        logits.fill(0.0);
        return;
    }
    let g_softmax = g_logsumexp - g_logprob;
    let g_each = g_mean / logits.len() as f32;
    let inverse_temperature = 1.0 / options.temperature;
    let cap_slope = match options.softcap {
        Some(cap) => options.temperature / cap,
        None => 0.0,
    };
    let gradient = |z: f32, one_hot: f32| {
        let log_p = z - logsumexp;
        let p = exp(log_p);
        let entropy_part = if p == 0.0 { 0.0 } else { p * (log_p + entropy) };
        let dz = one_hot + g_softmax * p - g_entropy * entropy_part + g_each;
        let ratio = z * cap_slope;
        dz * inverse_temperature * (1.0 - ratio * ratio)
    };
    let at_target = gradient(logits[target as usize], g_logprob);
    for logit in logits.iter_mut() {
        *logit = gradient(*logit, 0.0);
    }
    logits[target as usize] = at_target;
}
