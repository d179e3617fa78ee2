use std::fmt;
use std::sync::Arc;

use burn::tensor::{Gradients, Tensor, TensorData};
use datasets::TokenBatch;
use kernels::{KernelSet, with_kernel_set};
use losses::cross_entropy;
use model::{CausalLm, ModelConfig, Part, host_values};

use super::Scope;
use super::tolerance::norm;
use crate::forward::{constant, logprobs_of_hidden, segments};
use crate::optimizer::GradientBuffer;

/// One way to compute a model.
pub struct Side {
    /// What a person calls it, such as `cpu/reference`.
    pub name: String,
    /// The model, on an autodiff device.
    pub model: CausalLm,
    /// What its operations run.
    pub kernels: KernelSet,
}

/// A stretch of the model that is run by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Block {
    /// Tokens to embeddings.
    Embedding,
    /// A layer of the decoder.
    Layer(usize),
    /// The norm behind the last layer.
    Norm,
    /// Hidden states to log-probabilities and their mean, the loss.
    Loss,
}

impl Block {
    /// The blocks of a model, in order.
    pub fn all(config: &ModelConfig) -> Vec<Block> {
        let layers = (0..config.num_hidden_layers).map(Block::Layer);
        [Block::Embedding]
            .into_iter()
            .chain(layers)
            .chain([Block::Norm, Block::Loss])
            .collect()
    }
}

impl fmt::Display for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Block::Embedding => f.pad("embedding"),
            Block::Layer(index) => f.pad(&format!("layer {index}")),
            Block::Norm => f.pad("final norm"),
            Block::Loss => f.pad("loss"),
        }
    }
}

/// A tensor that a block made, on the host.
pub(super) struct Named {
    pub(super) scope: Scope,
    pub(super) name: String,
    pub(super) values: Vec<f32>,
    /// What its error is measured against: its norm, or that of the numbers it is a difference of.
    pub(super) size: f64,
}

impl Named {
    fn new(scope: Scope, name: impl Into<String>, values: Vec<f32>) -> Self {
        Named {
            scope,
            name: name.into(),
            size: norm(&values),
            values,
        }
    }
}

/// A block that has run.
struct Ran {
    /// What gradients are asked of; the embedding has none.
    input: Option<Tensor<2>>,
    parts: Vec<Part>,
    /// Flattened.
    output: Tensor<1>,
    /// Of the loss block: log p(target) and logsumexp.
    logprobs: Option<[Vec<f32>; 2]>,
}

impl Side {
    /// The block's parts in the order of computation, its output last. The embedding takes no
    /// input.
    pub(super) fn forward(&self, block: Block, input: &[f32], batch: &TokenBatch) -> Vec<Named> {
        with_kernel_set(self.kernels, || {
            let ran = self.run(block, input, batch);
            let mut results: Vec<Named> = ran
                .parts
                .iter()
                .map(|part| Named::new(Scope::Part, part.name, host_values(part.value())))
                .collect();
            let mut output = Named::new(Scope::Block, "output", host_values(ran.output.inner()));
            if let Some([logprob, logsumexp]) = ran.logprobs {
                // log p = z − logsumexp may all but vanish where both are large, and has their
                // roundings; so does its mean.
                let size = norm(&logprob).hypot(norm(&logsumexp));
                output.size = size / (logprob.len() as f64).sqrt();
                results.push(Named::new(Scope::Part, "logsumexp", logsumexp));
                let logprob = Named::new(Scope::Part, "log-probs", logprob);
                results.push(Named { size, ..logprob });
            }
            results.push(output);
            results
        })
    }

    /// The gradients of Σ upstream · output: of the block's parts from the last to the first, of its
    /// input, and of its parameters.
    pub(super) fn backward(
        &self,
        block: Block,
        input: &[f32],
        upstream: &[f32],
        batch: &TokenBatch,
    ) -> Vec<Named> {
        with_kernel_set(self.kernels, || {
            let ran = self.run(block, input, batch);
            let upstream = constant(upstream, &self.model).cast(ran.output.dtype());
            let mut gradients = (ran.output * upstream).sum().backward();
            let mut results = Vec::new();
            for part in ran.parts.iter().rev() {
                if let Some(gradient) = part.gradient(&gradients) {
                    results.push(Named::new(Scope::Part, part.name, host_values(gradient)));
                }
            }
            if let Some(gradient) = ran.input.and_then(|x| x.grad_remove(&mut gradients)) {
                results.push(Named::new(Scope::Block, "input", host_values(gradient)));
            }
            results.extend(self.parameter_gradients(&mut gradients));
            results
        })
    }

    fn parameter_gradients(&self, gradients: &mut Gradients) -> Vec<Named> {
        let mut buffer = GradientBuffer::default();
        buffer.add(&self.model, gradients);
        let by_name = buffer.by_name().iter();
        by_name
            .map(|(name, gradient)| {
                Named::new(Scope::Parameter, name, host_values(gradient.clone()))
            })
            .collect()
    }

    fn run(&self, block: Block, input: &[f32], batch: &TokenBatch) -> Ran {
        let model = &self.model;
        let flat = |output: Tensor<2>| output.flatten(0, 1);
        let mut ran = Ran {
            input: (block != Block::Embedding).then(|| self.leaf(input)),
            parts: Vec::new(),
            output: constant(&[0.0], model),
            logprobs: None,
        };
        let x = || ran.input.clone().expect("every block but the first");
        match block {
            Block::Embedding => {
                let ids: Arc<[u32]> = batch.input_ids.as_slice().into();
                ran.output = flat(model.embed(&ids));
            }
            Block::Layer(index) => {
                let mut pass = model.packed_pass(&segments(batch)).watched();
                ran.output = flat(model.layer(index, x(), &mut pass));
                ran.parts = pass.take_parts();
            }
            Block::Norm => ran.output = flat(model.norm(x())),
            Block::Loss => {
                let statistics = logprobs_of_hidden(model, x(), batch, 1.0);
                let [logprob, logsumexp] = [statistics.logprob(), statistics.logsumexp()];
                let weight = 1.0 / batch.num_supervised() as f32;
                let weights = constant(&vec![weight; batch.num_supervised()], model);
                ran.output = cross_entropy(logprob.clone(), weights);
                ran.logprobs = Some([logprob, logsumexp].map(|x| host_values(x.inner())));
            }
        }
        ran
    }

    /// Hidden states in the dtype of the computation, whose gradient is kept.
    fn leaf(&self, values: &[f32]) -> Tensor<2> {
        let width = self.model.config().hidden_size;
        let data = TensorData::new(values.to_vec(), [values.len() / width, width]);
        let device = self.model.device();
        Tensor::<2>::from_data(data, device)
            .cast(self.model.dtype())
            .detach()
            .require_grad()
    }
}
