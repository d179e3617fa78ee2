//! From a host batch to the statistics of its supervised tokens: the only place where token ids
//! become tensors in training.

use std::sync::Arc;

use burn::tensor::{Int, Tensor, TensorData};
use datasets::TokenBatch;
use kernels::{Logprobs, Segment, Segments};
use model::CausalLm;

/// The statistics of what a batch predicts, in the order of its predictions. Rows that nothing is
/// asked of never reach the head.
///
/// # Panics
/// If nothing is supervised.
pub fn supervised_logprobs(model: &CausalLm, batch: &TokenBatch, temperature: f64) -> Logprobs {
    logprobs_of_hidden(model, hidden(model, batch), batch, temperature)
}

/// As [`supervised_logprobs`], from the hidden states of the batch.
///
/// # Shapes
/// - hidden: `[tokens, hidden]`
///
/// # Panics
/// If nothing is supervised.
pub fn logprobs_of_hidden(
    model: &CausalLm,
    hidden: Tensor<2>,
    batch: &TokenBatch,
    temperature: f64,
) -> Logprobs {
    let (hidden, targets) = predictions(hidden, batch);
    model.logprobs(hidden, &targets, temperature)
}

/// Σ weight · log p over what a batch predicts, and the statistics without gradients. Cheaper than
/// [`supervised_logprobs`], for losses whose gradient by each log-probability is known beforehand.
///
/// # Panics
/// If nothing is supervised.
pub fn weighted_logprobs(
    model: &CausalLm,
    batch: &TokenBatch,
    weights: &[f32],
    temperature: f64,
) -> (Tensor<1>, Logprobs) {
    let (hidden, targets) = predictions(hidden(model, batch), batch);
    model.weighted_logprobs(hidden, &targets, constant(weights, model), temperature)
}

/// The hidden states that predict, and the targets.
fn predictions(hidden: Tensor<2>, batch: &TokenBatch) -> (Tensor<2>, Arc<[u32]>) {
    let predictions = &batch.predictions;
    assert!(!predictions.is_empty(), "a batch with nothing supervised");
    let targets = predictions.iter().map(|p| p.target).collect();
    let rows: Vec<i32> = predictions.iter().map(|p| p.position as i32).collect();
    let rows = TensorData::new(rows, [predictions.len()]);
    let rows = Tensor::<1, Int>::from_data(rows, &hidden.device());
    (hidden.select(0, rows), targets)
}

/// Host values as a constant beside tensors of the model.
pub fn constant(values: &[f32], model: &CausalLm) -> Tensor<1> {
    Tensor::from_data(
        TensorData::new(values.to_vec(), [values.len()]),
        model.device(),
    )
}

fn hidden(model: &CausalLm, batch: &TokenBatch) -> Tensor<2> {
    let ids: Arc<[u32]> = batch.input_ids.as_slice().into();
    model.hidden(&ids, &segments(batch))
}

/// The segments of a batch that hold tokens.
pub fn segments(batch: &TokenBatch) -> Segments {
    let mut segments = Vec::with_capacity(batch.num_segments());
    let mut index = Vec::with_capacity(batch.num_segments());
    for (segment, prefix) in batch.prefixes.iter().enumerate() {
        index.push(segments.len());
        let length = batch.segment(segment).len();
        if length > 0 {
            segments.push(Segment {
                length,
                prefix: prefix.map(|prefix| index[prefix as usize]),
            });
        }
    }
    Segments::new(&segments)
}

/// The value of a loss.
pub fn host_loss(loss: &Tensor<1>) -> f64 {
    f64::from(model::host_values(loss.clone().inner())[0])
}
