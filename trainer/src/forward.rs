//! From a host batch to the statistics of its supervised tokens: the only place where token ids
//! become tensors in training.

use std::sync::Arc;

use burn::tensor::{Int, Tensor, TensorData};
use datasets::TokenBatch;
use kernels::{Logprobs, Segments};
use model::CausalLm;

/// The positions of a batch that predict a supervised token, in order.
pub fn supervised_positions(batch: &TokenBatch) -> Vec<usize> {
    let weights = batch.loss_weights.iter().enumerate();
    weights
        .filter(|&(_, &weight)| weight != 0.0)
        .map(|(position, _)| position)
        .collect()
}

/// The statistics of the supervised targets, in the order of [`supervised_positions`]. Rows that
/// nothing is asked of never reach the head.
///
/// # Panics
/// If nothing is supervised.
pub fn supervised_logprobs(model: &CausalLm, batch: &TokenBatch, temperature: f64) -> Logprobs {
    let positions = supervised_positions(batch);
    assert!(!positions.is_empty(), "a batch with nothing supervised");
    let targets: Arc<[u32]> = positions.iter().map(|&p| batch.targets[p]).collect();
    let hidden = hidden(model, batch);
    let rows: Vec<i32> = positions.iter().map(|&position| position as i32).collect();
    let rows = TensorData::new(rows, [positions.len()]);
    let rows = Tensor::<1, Int>::from_data(rows, &hidden.device());
    model.logprobs(hidden.select(0, rows), &targets, temperature)
}

/// Host values as a constant beside tensors of the model.
pub fn constant(values: &[f32], model: &CausalLm) -> Tensor<1> {
    Tensor::from_data(
        TensorData::new(values.to_vec(), [values.len()]),
        model.device(),
    )
}

fn hidden(model: &CausalLm, batch: &TokenBatch) -> Tensor<2> {
    let lengths: Vec<usize> = batch
        .segment_starts
        .windows(2)
        .map(|pair| (pair[1] - pair[0]) as usize)
        .filter(|&length| length > 0)
        .collect();
    let ids: Arc<[u32]> = batch.input_ids.as_slice().into();
    model.hidden(&ids, &Segments::from_lengths(&lengths))
}

/// The value of a loss.
pub fn host_loss(loss: &Tensor<1>) -> f64 {
    f64::from(model::host_values(loss.clone().inner())[0])
}
