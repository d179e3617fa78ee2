//! The vocabulary goes by in chunks, so that no buffer grows with tokens × vocab and a row of the
//! head's gradient is one product, without a sum over chunks. The products are the device's own
//! matmul; in between, a cube takes the logits of a token.

use std::ops::Range;
use std::sync::Arc;

use burn::backend::ops::FloatTensorOps;
use burn::backend::tensor::FloatTensor;
use burn::tensor::DType;
use burn_backend::TensorMetadata;
use burn_cubecl::CubeBackend;
use burn_cubecl::kernel;
use burn_cubecl::ops::numeric;
use burn_cubecl::tensor::CubeTensor;
use cubecl::ir::ElemType;
use cubecl::prelude::*;

use super::chunks::vocab_at_a_time;
use super::one_pass::{OnePassOps, weighted_sum};
use super::{COLUMNS, LinearLogprobsOps, LogprobsOptions};
use crate::cube::{
    Indices, alignment, contiguous, cube_max, cube_sum, cubes, element, elementwise, empty, owned,
    product, reshaped, rows, saturating_tanh, transposed,
};

/// Units of a cube.
const UNITS: u32 = 256;
/// Below every logit, and finite, so that no difference of two maxima is NaN.
const LOWEST: f32 = -1e30;
/// What is kept of a token between chunks: the largest z, Σe, Σe·(z − largest), Σz, z(target) and Σe².
const STATE: usize = 6;

impl LinearLogprobsOps for CubeBackend {
    fn linear_logprobs(
        hidden: FloatTensor<Self>,
        head: FloatTensor<Self>,
        targets: Arc<[u32]>,
        options: LogprobsOptions,
    ) -> FloatTensor<Self> {
        let [tokens, _] = hidden.shape().dims();
        let [vocab, _] = head.shape().dims();
        let (hidden, head) = (contiguous(hidden), contiguous(head));
        let state = empty(&hidden, [tokens, STATE], DType::F32);
        let targets = Indices::upload(&hidden, &targets);
        for chunk in chunks(tokens, &head) {
            let logits = logits(&hidden, &head, &chunk);
            fold::launch(
                &hidden.client,
                cubes(tokens),
                CubeDim::new_1d(UNITS),
                logits.into_buffer_arg(),
                targets.argument(),
                state.clone().into_buffer_arg(),
                tokens,
                chunk.len(),
                chunk.start,
                options.softcap.unwrap_or(1.0),
                1.0 / options.temperature,
                options.softcap.is_some(),
            );
        }
        let columns = empty(&hidden, [tokens, COLUMNS], DType::F32);
        finish::launch(
            &hidden.client,
            cubes(tokens.div_ceil(UNITS as usize)),
            CubeDim::new_1d(UNITS),
            state.into_buffer_arg(),
            columns.clone().into_buffer_arg(),
            tokens,
            vocab as f32,
        );
        columns
    }

    fn linear_logprobs_backward(
        hidden: FloatTensor<Self>,
        head: FloatTensor<Self>,
        columns: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        targets: Arc<[u32]>,
        options: LogprobsOptions,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let grad_head = empty(&head, head.shape().dims::<2>(), head.dtype);
        let tensors = [hidden, head, columns, grad];
        let grad_hidden = backward(tensors, Some(&grad_head), &targets, options);
        (grad_hidden, grad_head)
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

/// The gradient of the hidden states; that of the head is written to `grad_head`, where it is
/// wanted.
fn backward(
    tensors: [CubeTensor; 4],
    grad_head: Option<&CubeTensor>,
    targets: &[u32],
    options: LogprobsOptions,
) -> CubeTensor {
    let [hidden, head, columns, grad] = tensors.map(contiguous);
    let [tokens, _] = hidden.shape().dims();
    let [vocab, _] = head.shape().dims();
    let targets = Indices::upload(&hidden, targets);
    let mut grad_hidden: Option<CubeTensor> = None;
    for chunk in chunks(tokens, &head) {
        let logits = logits(&hidden, &head, &chunk);
        // In float32 they are changed in place, and nothing is written elsewhere.
        let in_place = hidden.dtype == DType::F32;
        let elsewhere = match in_place {
            true => [1, 1],
            false => [tokens, chunk.len()],
        };
        let elsewhere = empty(&hidden, elsewhere, hidden.dtype);
        grad_logits::launch(
            &hidden.client,
            cubes(tokens),
            CubeDim::new_1d(UNITS),
            logits.clone().into_buffer_arg(),
            elsewhere.clone().into_buffer_arg(),
            targets.argument(),
            columns.clone().into_buffer_arg(),
            grad.clone().into_buffer_arg(),
            tokens,
            chunk.len(),
            chunk.start,
            options.softcap.unwrap_or(1.0),
            1.0 / options.temperature,
            1.0 / vocab as f32,
            options.softcap.is_some(),
            in_place,
            element(&elsewhere),
        );
        let grad_logits = if in_place { logits } else { elsewhere };
        let part = product(grad_logits.clone(), rows(&head, &chunk), None, DType::F32);
        grad_hidden = Some(match grad_hidden {
            Some(sum) => numeric::add(sum, part),
            None => part,
        });
        if let Some(grad_head) = grad_head {
            product(
                transposed(grad_logits),
                hidden.clone(),
                Some(rows(grad_head, &chunk)),
                head.dtype,
            );
        }
    }
    let grad_hidden = grad_hidden.expect("a vocabulary has tokens");
    kernel::cast(grad_hidden, hidden.dtype)
}

/// The vocabulary goes by twice all the same: the gradients need the whole log-sum-exp, and with
/// chunks of tokens the head's would be added up in a second buffer of its size.
impl OnePassOps for CubeBackend {
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
        let tokens = targets.len();
        let columns = Self::linear_logprobs(hidden.clone(), head.clone(), targets.clone(), options);
        let grad = grad_columns(weights, tokens);
        let (grad_hidden, grad_head) =
            Self::linear_logprobs_backward(hidden, head, columns.clone(), grad, targets, options);
        (columns, grad_hidden, grad_head)
    }

    fn weighted_logprobs_with_hidden_gradient(
        hidden: FloatTensor<Self>,
        head: FloatTensor<Self>,
        weights: FloatTensor<Self>,
        targets: Arc<[u32]>,
        options: LogprobsOptions,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let tokens = targets.len();
        let columns = Self::linear_logprobs(hidden.clone(), head.clone(), targets.clone(), options);
        let tensors = [hidden, head, columns.clone(), grad_columns(weights, tokens)];
        let grad_hidden = backward(tensors, None, &targets, options);
        (columns, grad_hidden)
    }

    // burn's own product reads both factors as the first one's type.
    fn scaled_gradient(gradient: FloatTensor<Self>, by: FloatTensor<Self>) -> FloatTensor<Self> {
        let gradient = owned(gradient);
        let count = gradient.shape().num_elements();
        let (cubes, units) = elementwise(count);
        scale::launch(
            &gradient.client.clone(),
            cubes,
            units,
            gradient.clone().into_buffer_arg(),
            contiguous(by).into_buffer_arg(),
            count,
            element(&gradient),
        );
        gradient
    }
}

#[cube(launch)]
fn scale<F: Float>(values: &mut [F], by: &[f32], count: usize, #[define(F)] _element: ElemType) {
    if ABSOLUTE_POS < count {
        values[ABSOLUTE_POS] = F::cast_from(f32::cast_from(values[ABSOLUTE_POS]) * by[0]);
    }
}

/// Weights as the gradient of the columns: that of the first one, zeros beside it.
fn grad_columns(weights: CubeTensor, tokens: usize) -> CubeTensor {
    let weights = reshaped(weights, [tokens, 1]);
    let zeros = numeric::zeros(
        weights.device.clone(),
        [tokens, COLUMNS - 1].into(),
        DType::F32,
    );
    CubeBackend::float_cat(vec![weights, zeros], 1)
}

/// Ranges of the vocabulary, whose rows of the head begin where a kernel can be given a buffer.
fn chunks(tokens: usize, head: &CubeTensor) -> impl Iterator<Item = Range<usize>> + use<> {
    let [vocab, width] = head.shape().dims();
    let alignment = alignment(head);
    let mut rows = 1;
    while !(rows * width * head.dtype.size()).is_multiple_of(alignment) {
        rows *= 2;
    }
    let size = (vocab_at_a_time(tokens) / rows * rows).max(rows);
    (0..vocab)
        .step_by(size)
        .map(move |start| start..(start + size).min(vocab))
}

/// hidden · headᵀ of a chunk, in float32: `[tokens, chunk]`, the rows one after the other.
fn logits(hidden: &CubeTensor, head: &CubeTensor, chunk: &Range<usize>) -> CubeTensor {
    let [tokens, _] = hidden.shape().dims();
    let out = empty(hidden, [tokens, chunk.len()], DType::F32);
    let head = transposed(rows(head, chunk));
    product(hidden.clone(), head, Some(out), DType::F32)
}

/// Adds a chunk's logits to what is kept of a token.
#[cube(launch)]
fn fold(
    logits: &[f32],
    targets: &[u32],
    state: &mut [f32],
    tokens: usize,
    width: usize,
    first: usize,
    cap: f32,
    inverse_temperature: f32,
    #[comptime] capped: bool,
) {
    let token = CUBE_POS;
    if token >= tokens {
        terminate!();
    }
    let mut scratch = Shared::<[f32]>::new_slice(256usize);
    let start = token * width;
    let mut largest = LOWEST.runtime();
    let mut column = UNIT_POS as usize;
    while column < width {
        largest = max(
            largest,
            scaled(logits[start + column], cap, inverse_temperature, capped),
        );
        column += 256;
    }
    let largest = cube_max(largest, &mut scratch, UNITS);
    let mut total = 0.0f32;
    let mut weighted = 0.0f32;
    let mut sum = 0.0f32;
    let mut squares = 0.0f32;
    let mut column = UNIT_POS as usize;
    while column < width {
        let z = scaled(logits[start + column], cap, inverse_temperature, capped);
        let e = (z - largest).exp();
        total += e;
        // 0·(−∞) is the limit 0, not NaN.
        if e != 0.0 {
            weighted += e * (z - largest);
        }
        sum += z;
        squares += e * e;
        column += 256;
    }
    let total = cube_sum(total, &mut scratch, UNITS);
    let weighted = cube_sum(weighted, &mut scratch, UNITS);
    let sum = cube_sum(sum, &mut scratch, UNITS);
    let squares = cube_sum(squares, &mut scratch, UNITS);
    if UNIT_POS == 0 {
        let at = token * STATE;
        let mut before = LOWEST.runtime();
        let mut total_before = 0.0f32;
        let mut weighted_before = 0.0f32;
        let mut sum_before = 0.0f32;
        let mut squares_before = 0.0f32;
        if first > 0 {
            before = state[at];
            total_before = state[at + 1];
            weighted_before = state[at + 2];
            sum_before = state[at + 3];
            squares_before = state[at + 5];
        }
        let now = max(before, largest);
        let shift_before = before - now;
        let shift = largest - now;
        let factor_before = shift_before.exp();
        let factor = shift.exp();
        state[at] = now;
        state[at + 1] = total_before * factor_before + total * factor;
        state[at + 2] = factor_before * (weighted_before + total_before * shift_before)
            + factor * (weighted + total * shift);
        state[at + 3] = sum_before + sum;
        state[at + 5] = squares_before * factor_before * factor_before + squares * factor * factor;
        let target = targets[token] as usize;
        if target >= first && target < first + width {
            let logit = logits[start + target - first];
            state[at + 4] = scaled(logit, cap, inverse_temperature, capped);
        }
    }
}

/// The columns of a token from what was kept of it.
#[cube(launch)]
fn finish(state: &[f32], columns: &mut [f32], tokens: usize, vocab: f32) {
    let token = ABSOLUTE_POS;
    if token < tokens {
        let at = token * STATE;
        let largest = state[at];
        let total = state[at + 1];
        let log_total = total.ln();
        let out = token * COLUMNS;
        columns[out] = state[at + 4] - largest - log_total;
        columns[out + 1] = largest + log_total;
        columns[out + 2] = log_total - state[at + 2] / total;
        columns[out + 3] = state[at + 3] / vocab;
        columns[out + 4] = state[at + 5].ln() - 2.0f32 * log_total;
        let mut correct = 0.0f32;
        // A maximum passes over a NaN, a sum does not.
        if state[at + 4] >= largest && total > 0.0 {
            correct = 1.0;
        }
        columns[out + 5] = correct;
    }
}

/// A chunk's products to their gradient.
#[cube(launch)]
fn grad_logits<F: Float>(
    logits: &mut [f32],
    elsewhere: &mut [F],
    targets: &[u32],
    columns: &[f32],
    grad: &[f32],
    tokens: usize,
    width: usize,
    first: usize,
    cap: f32,
    inverse_temperature: f32,
    inverse_vocab: f32,
    #[comptime] capped: bool,
    #[comptime] in_place: bool,
    #[define(F)] _element: ElemType,
) {
    let token = CUBE_POS;
    if token >= tokens {
        terminate!();
    }
    let logsumexp = columns[token * COLUMNS + 1];
    let entropy = columns[token * COLUMNS + 2];
    let g_logprob = grad[token * COLUMNS];
    let g_softmax = grad[token * COLUMNS + 1] - g_logprob;
    let g_entropy = grad[token * COLUMNS + 2];
    let g_each = grad[token * COLUMNS + 3] * inverse_vocab;
    let wanted = g_logprob != 0.0 || g_softmax != 0.0 || g_entropy != 0.0 || g_each != 0.0;
    let target = targets[token] as usize;
    let start = token * width;
    let mut column = UNIT_POS as usize;
    while column < width {
        let mut value = 0.0f32;
        if wanted {
            let z = scaled(logits[start + column], cap, inverse_temperature, capped);
            let log_p = z - logsumexp;
            let p = log_p.exp();
            let mut dz = g_softmax * p + g_each;
            // 0·(−∞) is the limit 0, not NaN.
            if p != 0.0 {
                dz -= g_entropy * p * (log_p + entropy);
            }
            if first + column == target {
                dz += g_logprob;
            }
            value = dz * inverse_temperature;
            if comptime!(capped) {
                let ratio = z / (cap * inverse_temperature);
                value *= 1.0 - ratio * ratio;
            }
        }
        if comptime!(in_place) {
            logits[start + column] = value;
        } else {
            elsewhere[start + column] = F::cast_from(value);
        }
        column += 256;
    }
}

/// Product to z.
#[cube]
fn scaled(logit: f32, cap: f32, inverse_temperature: f32, #[comptime] capped: bool) -> f32 {
    if comptime!(capped) {
        cap * saturating_tanh(logit / cap) * inverse_temperature
    } else {
        logit * inverse_temperature
    }
}
