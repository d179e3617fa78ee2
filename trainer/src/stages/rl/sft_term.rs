use burn::tensor::Tensor;
use datasets::{Loader, LoaderState, Order, Shard, SupervisedTokens, TokenBatch, Truncation};
use kernels::HostValues;
use telemetry::event::DataSource;

use crate::TrainError;
use crate::forward::Forward;
use crate::sources::{Sources, SourcesState};
use crate::stages::supervised::{Sequence, Sequences};

/// Supervised fine-tuning that goes on beside reinforcement learning, so that what no reward
/// measures is not forgotten (the pretraining term of InstructGPT, arXiv 2203.02155, equation 2, on
/// conversations).
pub struct SftTerm {
    data: Box<dyn Sequences>,
    loader: Loader,
    sources: Sources,
    batch_size: usize,
    alpha: f64,
    truncation: Truncation,
}

impl SftTerm {
    /// `batch_size` conversations a step, cut to `max_length` tokens, their mean cross-entropy times
    /// `alpha`.
    pub fn new(
        data: Box<dyn Sequences>,
        order: Order,
        batch_size: usize,
        max_length: usize,
        alpha: f64,
    ) -> Self {
        SftTerm {
            loader: Loader::new(data.len(), order, Shard::ALL),
            sources: Sources::new(data.parts()),
            data,
            batch_size,
            alpha,
            truncation: Truncation::new(max_length),
        }
    }

    pub(super) fn next_batch(&mut self) -> Result<TokenBatch, TrainError> {
        let mut sequences: Vec<SupervisedTokens> = Vec::new();
        let mut left_out = 0;
        while sequences.len() < self.batch_size {
            let record = self.loader.next_index();
            let part = self.data.part_of(record);
            let Sequence { tokens, .. } = self.data.get(record)?;
            match self.truncation.sequence(tokens) {
                Some(tokens) => {
                    self.sources.take(part, tokens.ids.len());
                    sequences.push(tokens);
                }
                None => {
                    let why = "nothing supervised within the longest prompt and completion";
                    self.sources.leave_out(part, why);
                    left_out += 1;
                }
            }
            if left_out > self.data.len() {
                return Err(TrainError::NothingToTrain(
                    "sft_data: no conversation has a supervised token within max_prompt_length + \
                     max_completion_length"
                        .to_owned(),
                ));
            }
        }
        Ok(TokenBatch::from_sequences(&sequences))
    }

    /// The term of the loss.
    pub(super) fn loss(&self, forward: &Forward, batch: &TokenBatch) -> Tensor<1> {
        let weight = -self.alpha / batch.num_supervised() as f64;
        let weights = vec![weight as f32; batch.num_supervised()];
        forward.weighted_logprobs(batch, &weights, 1.0).0
    }

    /// The cross-entropy of a term.
    pub(super) fn cross_entropy(&self, term: HostValues) -> f64 {
        f64::from(term.wait()[0]) / self.alpha
    }

    pub(super) fn state(&self) -> LoaderState {
        self.loader.state()
    }

    /// What was taken of each file. How much it has of the whole run is for `sft_batch_size` to say, so
    /// there are no shares.
    pub(super) fn sources(&self) -> Vec<DataSource> {
        let sources = self.sources.report().into_iter();
        let of_term = |source: DataSource| DataSource {
            name: format!("{} (sft_data)", source.name),
            target_share: None,
            share: None,
            ..source
        };
        sources.map(of_term).collect()
    }

    /// The counts behind them.
    pub(super) fn counted(&self) -> SourcesState {
        self.sources.state()
    }

    pub(super) fn restore(
        &mut self,
        state: LoaderState,
        counted: SourcesState,
    ) -> Result<(), TrainError> {
        self.sources.restore(counted);
        Ok(self.loader.restore(state)?)
    }
}
