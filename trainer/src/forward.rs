//! From a host batch to the statistics of its supervised tokens, and back: the only place where
//! token ids become tensors in training.

use std::cell::RefCell;
use std::sync::Arc;

use burn::tensor::{Gradients, Int, Tensor, TensorData};
use datasets::TokenBatch;
use kernels::{Logprobs, Segment, Segments};
use model::{CausalLm, ModelConfig};

use crate::monitor::StepMeter;
use crate::optimizer::GradientBuffer;
use crate::recipe::{GradientCheckpointing, ModelSettings};

/// A model in training: forward passes, and the way back through them.
///
/// With recomputation a pass keeps what goes into each block and nothing else. The loss is then of a
/// leaf behind the last block; [`Self::backward`] carries its gradient through the blocks from the
/// last to the first, running each again. Memory is one block and the blocks' inputs, time a third
/// more. The gradients are the same, bit for bit: the same operations see the same numbers.
pub struct Forward<'a> {
    model: &'a CausalLm,
    recompute: Recompute,
    meter: Option<&'a StepMeter>,
    passes: RefCell<Vec<BlockInputs>>,
}

/// What a forward pass keeps for the backward.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recompute {
    /// All that an operation made.
    Nothing,
    /// What goes into each block.
    Blocks,
    /// The same, in the host's memory.
    BlocksOnHost,
}

/// Models from here on are recomputed by themselves: what a step keeps would soon outweigh them.
const RECOMPUTE_FROM: u64 = 1_000_000_000;

impl Recompute {
    /// What a recipe asks for.
    pub fn of(settings: &ModelSettings, config: &ModelConfig) -> Self {
        let keeps_all = match settings.gradient_checkpointing {
            GradientCheckpointing::True => false,
            GradientCheckpointing::False => true,
            GradientCheckpointing::Auto => config.num_parameters() < RECOMPUTE_FROM,
        };
        // A whole graph would hold every block that was streamed.
        match (
            keeps_all && !settings.stream_frozen_blocks,
            settings.activation_offloading,
        ) {
            (true, _) => Recompute::Nothing,
            (false, true) => Recompute::BlocksOnHost,
            (false, false) => Recompute::Blocks,
        }
    }
}

/// A recomputed pass on its way back.
struct BlockInputs {
    ids: Arc<[u32]>,
    segments: Segments,
    /// Of each layer.
    inputs: Vec<Kept>,
    /// Behind the last layer.
    last: Tensor<2>,
}

enum Kept {
    Device(Box<Tensor<2>>),
    Host(TensorData),
}

impl<'a> Forward<'a> {
    /// Passes of one micro-batch.
    pub fn new(model: &'a CausalLm, recompute: Recompute) -> Self {
        Forward {
            model,
            recompute,
            meter: None,
            passes: RefCell::default(),
        }
    }

    /// The same, each pass counted, forward and backward.
    #[must_use]
    pub fn metered(self, meter: &'a StepMeter) -> Self {
        Forward {
            meter: Some(meter),
            ..self
        }
    }

    /// The model.
    pub fn model(&self) -> &'a CausalLm {
        self.model
    }

    /// As [`supervised_logprobs`], with gradients.
    ///
    /// # Panics
    /// If nothing is supervised.
    pub fn supervised_logprobs(&self, batch: &TokenBatch, temperature: f64) -> Logprobs {
        logprobs_of_hidden(self.model, self.hidden(batch, None), batch, temperature)
    }

    /// Σ weight · log p over what a batch predicts, and the statistics without gradients. Cheaper
    /// than [`Self::supervised_logprobs`], for losses whose gradient by each log-probability is known
    /// beforehand.
    ///
    /// # Panics
    /// If nothing is supervised.
    pub fn weighted_logprobs(
        &self,
        batch: &TokenBatch,
        weights: &[f32],
        temperature: f64,
    ) -> (Tensor<1>, Logprobs) {
        weighted_logprobs_of_hidden(
            self.model,
            self.hidden(batch, None),
            batch,
            weights,
            temperature,
        )
    }

    /// The hidden states of a batch after the final norm, with gradients. `noise` is added to what
    /// the first block takes, `[tokens, hidden]` row by row; it is a constant, so the way back to
    /// the embedding does not see it.
    pub fn hidden(&self, batch: &TokenBatch, noise: Option<&[f32]>) -> Tensor<2> {
        if let Some(meter) = self.meter {
            meter.add_training(batch);
        }
        if self.recompute == Recompute::Nothing {
            return hidden(self.model, batch, noise);
        }
        let ids: Arc<[u32]> = batch.input_ids.as_slice().into();
        let segments = segments(batch);
        let model = self.model.valid();
        let mut pass = model.packed_pass(&segments);
        let mut x = embed(&model, &ids, noise);
        let mut inputs = Vec::new();
        let layers = model.config().num_hidden_layers;
        for layer in 0..layers {
            if layer + 1 == layers {
                // The way back begins where the way up ends.
                pass.followed_by(layer);
            }
            inputs.push(match self.recompute {
                Recompute::BlocksOnHost => Kept::Host(owned(x.to_data())),
                _ => Kept::Device(Box::new(x.clone())),
            });
            x = model.layer(layer, x, &mut pass);
        }
        let last = Tensor::from_inner(x).require_grad();
        self.passes.borrow_mut().push(BlockInputs {
            ids,
            segments,
            inputs,
            last: last.clone(),
        });
        self.model.norm(last)
    }

    /// Adds the gradients of a loss to `buffer`.
    pub fn backward(self, loss: &Tensor<1>, buffer: &mut GradientBuffer) {
        let mut gradients = loss.backward();
        buffer.add(self.model, &mut gradients);
        for pass in self.passes.into_inner() {
            let gradient = pass.last.grad_remove(&mut gradients);
            let gradient = gradient.expect("the loss is of the hidden states");
            walk_back(self.model, pass, gradient, buffer);
        }
    }
}

/// Data in memory of its own. What a GPU's read gives back may be a staging buffer that a later read
/// fills anew.
fn owned(data: TensorData) -> TensorData {
    TensorData::from_bytes_vec(data.as_bytes().to_vec(), data.shape().clone(), data.dtype())
}

/// Carries the gradient of what came out of the last layer down to the lowest parameter that trains.
fn walk_back(
    model: &CausalLm,
    pass: BlockInputs,
    mut gradient: Tensor<2>,
    buffer: &mut GradientBuffer,
) {
    let BlockInputs {
        ids,
        segments,
        inputs,
        ..
    } = pass;
    let through = |output: Tensor<2>, gradient: Tensor<2>| -> Gradients {
        (output * Tensor::from_inner(gradient)).sum().backward()
    };
    // Without an embedding to train, the lowest trained layer needs no gradient of its input.
    let lowest = model.lowest_trained_layer();
    for (layer, input) in inputs.into_iter().enumerate().rev() {
        if lowest.is_some_and(|lowest| layer < lowest) {
            return;
        }
        let input = match input {
            Kept::Device(input) => *input,
            Kept::Host(data) => {
                let dtype = data.dtype();
                Tensor::from_data(data, (&gradient.device(), dtype))
            }
        };
        let input = Tensor::from_inner(input);
        let input = match lowest == Some(layer) {
            true => input,
            false => input.require_grad(),
        };
        let mut block = model.packed_pass(&segments);
        if layer > 0 && lowest != Some(layer) {
            block.followed_by(layer - 1);
        } else {
            block.followed_by(0);
        }
        let output = model.layer(layer, input.clone(), &mut block);
        let mut gradients = through(output, gradient);
        buffer.add(model, &mut gradients);
        if lowest == Some(layer) {
            return;
        }
        gradient = input
            .grad_remove(&mut gradients)
            .expect("a layer depends on its input");
    }
    let mut gradients = through(model.embed(&ids), gradient);
    buffer.add(model, &mut gradients);
}

/// The statistics of what a batch predicts, in the order of its predictions. Rows that nothing is
/// asked of never reach the head.
///
/// # Panics
/// If nothing is supervised.
pub fn supervised_logprobs(model: &CausalLm, batch: &TokenBatch, temperature: f64) -> Logprobs {
    logprobs_of_hidden(model, hidden(model, batch, None), batch, temperature)
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

/// As [`Forward::weighted_logprobs`], from the hidden states of the batch.
///
/// # Shapes
/// - hidden: `[tokens, hidden]`
///
/// # Panics
/// If nothing is supervised.
pub fn weighted_logprobs_of_hidden(
    model: &CausalLm,
    hidden: Tensor<2>,
    batch: &TokenBatch,
    weights: &[f32],
    temperature: f64,
) -> (Tensor<1>, Logprobs) {
    let (hidden, targets) = predictions(hidden, batch);
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

fn hidden(model: &CausalLm, batch: &TokenBatch, noise: Option<&[f32]>) -> Tensor<2> {
    let ids: Arc<[u32]> = batch.input_ids.as_slice().into();
    let segments = segments(batch);
    if noise.is_none() {
        return model.hidden(&ids, &segments);
    }
    let mut pass = model.packed_pass(&segments);
    let mut x = embed(model, &ids, noise);
    for layer in 0..model.config().num_hidden_layers {
        x = model.layer(layer, x, &mut pass);
    }
    model.norm(x)
}

/// What the first block takes.
fn embed(model: &CausalLm, ids: &Arc<[u32]>, noise: Option<&[f32]>) -> Tensor<2> {
    let embedded = model.embed(ids);
    let Some(noise) = noise else {
        return embedded;
    };
    let noise = TensorData::new(noise.to_vec(), embedded.dims());
    let noise = Tensor::from_data(noise, (&embedded.device(), embedded.dtype()));
    embedded + noise
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
