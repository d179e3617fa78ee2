//! Learning to predict given tokens: the stage behind continued pretraining and supervised
//! fine-tuning, which differ in where their sequences come from.

mod objective;
mod sequences;

use std::collections::BTreeMap;

use burn::tensor::Tensor;
use datasets::packing::pack;
use datasets::{Loader, LoaderState, Order, Shard, TokenBatch, Truncation};
use kernels::HostValues;
use losses::SupervisedLoss;
use model::{CausalLm, host_values};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use telemetry::Fields;
use telemetry::event::{DataSource, EvaluationRow};

use crate::TrainError;
use crate::answers::{Asking, Questions};
use crate::forward::{Forward, supervised_logprobs};
use crate::monitor::StepMeter;
use crate::preflight::spread;
use crate::recipe::StageName;
use crate::sources::{Sources, SourcesState};
use crate::stage::{Evaluation, Stage};
use crate::stages::left_out::left_out;

pub use objective::Objective;
pub use sequences::{Sequence, Sequences};

/// How batches are cut.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BatchShape {
    /// Tokens in the longest sequence, and in a packed row.
    pub max_length: usize,
    /// Records in a micro-batch, or packed rows.
    pub batch_size: usize,
    /// Micro-batches in an optimizer step.
    pub accumulation: usize,
    /// Whether rows are packed.
    pub packing: bool,
}

/// The stage.
pub struct Supervised {
    name: StageName,
    train: Box<dyn Sequences>,
    eval: Option<Box<dyn Sequences>>,
    questions: Option<Questions>,
    shape: BatchShape,
    objective: Objective,
    loader: Loader,
    sources: Sources,
    /// Records that were read and did not fit the step before.
    waiting: Vec<usize>,
    truncation: Truncation,
    /// Sequences of the step, and those of them that were cut.
    num_sequences: usize,
    num_truncated: usize,
    /// Supervised tokens of the step: the loss's denominator.
    num_supervised: usize,
    num_tokens: usize,
    /// Of each micro-batch of the step.
    told: Vec<Told>,
    step: u64,
}

/// One micro-batch.
pub struct SupervisedBatch {
    tokens: TokenBatch,
    /// Sequences of the step before these.
    first_sequence: usize,
    /// The component of each sequence.
    components: Vec<&'static str>,
}

/// What the metrics of a micro-batch are made of, on its way to the host: nothing waits for it before the
/// whole step is enqueued.
struct Told {
    /// The component of each prediction.
    components: Vec<&'static str>,
    /// The log-probability of each, its entropy, and whether the most likely token is right, one after
    /// the other.
    values: HostValues,
}

/// Σ −log p and tokens, by component.
type ByComponent = BTreeMap<&'static str, (f64, usize)>;

#[derive(Serialize, Deserialize)]
struct State {
    loader: LoaderState,
    waiting: Vec<usize>,
    #[serde(default)]
    sources: SourcesState,
}

/// Why a record is left out whose supervised tokens all lie behind `max_length`.
const NOTHING_SUPERVISED: &str = "nothing supervised within max_length";

impl Supervised {
    /// Order is by file where `shuffle_seed` is `None`.
    pub fn new(
        name: StageName,
        train: Box<dyn Sequences>,
        eval: Option<Box<dyn Sequences>>,
        shape: BatchShape,
        objective: Objective,
        shuffle_seed: Option<u64>,
    ) -> Self {
        let order = match shuffle_seed {
            Some(seed) => Order::Shuffled { seed },
            None => Order::Sequential,
        };
        Supervised {
            name,
            loader: Loader::new(train.len(), order, Shard::ALL),
            sources: Sources::new(train.parts()),
            train,
            eval,
            questions: None,
            shape,
            objective,
            waiting: Vec::new(),
            truncation: Truncation::new(shape.max_length),
            num_sequences: 0,
            num_truncated: 0,
            num_supervised: 0,
            num_tokens: 0,
            told: Vec::new(),
            step: 0,
        }
    }

    /// Has evaluations also answer `count` held-out records; 0 is none.
    ///
    /// # Errors
    /// There are no held-out records, or none is a question.
    pub fn with_questions(
        mut self,
        count: usize,
        max_new_tokens: usize,
    ) -> Result<Self, TrainError> {
        if let Some(eval) = self.eval.as_ref().filter(|_| count > 0) {
            let asking = Asking {
                count,
                max_length: self.shape.max_length,
                max_new_tokens,
                stop_tokens: eval.stop_tokens(),
            };
            let is_question = |index| eval.is_question(index);
            let question = |index| eval.question(index);
            let questions = Questions::spread(asking, eval.len(), is_question, question)?;
            self.questions = Some(questions);
        }
        Ok(self)
    }

    /// The sequences of one micro-batch: `batch_size` records, or as many as fill that many rows.
    fn next_sequences(&mut self) -> Result<Vec<Sequence>, TrainError> {
        let mut sequences = Vec::new();
        let mut rows: Vec<usize> = vec![0; self.shape.batch_size];
        let mut left_out = 0;
        loop {
            let index = match self.waiting.pop() {
                Some(index) => index,
                None => self.loader.next_index(),
            };
            let Sequence { tokens, component } = self.train.get(index)?;
            let part = self.train.part_of(index);
            let is_cut = tokens.ids.len() > self.shape.max_length;
            let Some(tokens) = self.truncation.sequence(tokens) else {
                self.sources.leave_out(part, NOTHING_SUPERVISED);
                left_out += 1;
                if left_out > self.train.len() {
                    return Err(nothing_supervised());
                }
                continue;
            };
            if self.shape.packing {
                let length = tokens.ids.len();
                let fits = |row: &&mut usize| **row + length <= self.shape.max_length;
                match rows.iter_mut().filter(fits).max_by_key(|row| **row) {
                    Some(row) => *row += length,
                    None => {
                        self.waiting.push(index);
                        return Ok(sequences);
                    }
                }
            }
            self.sources.take(part, tokens.ids.len());
            self.num_sequences += 1;
            self.num_truncated += usize::from(is_cut);
            sequences.push(Sequence { tokens, component });
            if !self.shape.packing && sequences.len() == self.shape.batch_size {
                return Ok(sequences);
            }
        }
    }
}

impl Stage for Supervised {
    type MicroBatch = SupervisedBatch;

    fn name(&self) -> StageName {
        self.name
    }

    fn end_of_turn(&self) -> Option<u32> {
        self.train.chat()?.end_of_turn_id()
    }

    fn steps_per_epoch(&self) -> Result<f64, TrainError> {
        let per_step = (self.shape.batch_size * self.shape.accumulation) as f64;
        if !self.shape.packing {
            return Ok(self.train.len() as f64 / per_step);
        }
        // Packing a thousand records from all over says how many rows all of them take.
        let sample = self.train.len().min(1000);
        let lengths = spread(self.train.len(), sample)
            .map(|i| {
                Ok(self
                    .train
                    .get(i)?
                    .tokens
                    .ids
                    .len()
                    .min(self.shape.max_length))
            })
            .collect::<Result<Vec<usize>, TrainError>>()?;
        let rows = pack(&lengths, self.shape.max_length).len() as f64;
        Ok(rows * self.train.len() as f64 / sample as f64 / per_step)
    }

    fn next_step(
        &mut self,
        step: u64,
        _model: &CausalLm,
        _meter: &StepMeter,
        _should_stop: &dyn Fn() -> bool,
    ) -> Result<Vec<SupervisedBatch>, TrainError> {
        let mut batches = Vec::new();
        let mut first_sequence = 0;
        self.num_sequences = 0;
        self.num_truncated = 0;
        for _ in 0..self.shape.accumulation {
            let sequences = self.next_sequences()?;
            let next = first_sequence + sequences.len();
            batches.push(batch(sequences, first_sequence));
            first_sequence = next;
        }
        self.step = step;
        self.num_supervised = batches.iter().map(|b| b.tokens.num_supervised()).sum();
        self.num_tokens = 0;
        self.told.clear();
        Ok(batches)
    }

    fn loss(&mut self, forward: &Forward, batch: &SupervisedBatch) -> Option<Tensor<1>> {
        let tokens = &batch.tokens;
        let weight = 1.0 / self.num_supervised as f32;
        let (loss, statistics) = self.objective.loss(forward, batch, self.step, weight);
        let parts = [
            statistics.logprob(),
            statistics.entropy(),
            statistics.correct(),
        ];
        self.told.push(Told {
            components: components(batch),
            values: HostValues::of(Tensor::cat(parts.map(Tensor::inner).to_vec(), 0)),
        });
        self.num_tokens += tokens.num_tokens();
        Some(loss)
    }

    fn num_tokens(&self, batch: &SupervisedBatch) -> usize {
        batch.tokens.num_tokens()
    }

    fn metrics(&mut self) -> Fields {
        let sum = |values: &[f32]| values.iter().copied().map(f64::from).sum::<f64>();
        let mut by_component = ByComponent::new();
        let (mut entropy, mut num_correct) = (0.0, 0.0);
        for Told { components, values } in self.told.drain(..) {
            let values = values.wait();
            let (logprobs, rest) = values.split_at(components.len());
            let (entropies, correct) = rest.split_at(components.len());
            add_by_component(&mut by_component, &components, logprobs);
            entropy += sum(entropies);
            num_correct += sum(correct);
        }
        let num_supervised = self.num_supervised as f64;
        let mut fields = Fields::new()
            .with("num_tokens", self.num_tokens as u64)
            .with("num_supervised", self.num_supervised as u64)
            .with("entropy", entropy / num_supervised)
            .with("mean_token_accuracy", num_correct / num_supervised)
            .with("epoch", self.loader.state().epoch);
        let share = |part: usize, whole: usize| part as f64 / whole as f64;
        let supervised = share(self.num_supervised, self.num_tokens);
        fields.set("supervised_share", supervised);
        let truncated = share(self.num_truncated, self.num_sequences);
        fields.set("truncated_share", truncated);
        if self.shape.packing {
            let rows = self.shape.batch_size * self.shape.accumulation;
            let fill = share(self.num_tokens, rows * self.shape.max_length);
            fields.set("packing_fill", fill);
        }
        if self.objective.loss != SupervisedLoss::PLAIN {
            let sums = by_component.values();
            let (nll, tokens) = sums.fold((0.0, 0), |(a, b), (nll, tokens)| (a + nll, b + tokens));
            fields.set("nll", nll / tokens as f64);
        }
        if by_component.len() > 1 {
            for (component, (loss, tokens)) in &by_component {
                fields.set(format!("loss/{component}"), loss / *tokens as f64);
            }
        }
        fields
    }

    fn evaluate(
        &mut self,
        model: &CausalLm,
        should_stop: &dyn Fn() -> bool,
    ) -> Result<Option<Evaluation>, TrainError> {
        let Some(eval) = &self.eval else {
            return Ok(None);
        };
        let model = model.valid();
        let mut totals = ByComponent::new();
        let mut truncation = Truncation::new(self.shape.max_length);
        let mut sequences = Vec::new();
        for index in 0..eval.len() {
            let Sequence { tokens, component } = eval.get(index)?;
            if let Some(tokens) = truncation.sequence(tokens) {
                sequences.push(Sequence { tokens, component });
            }
        }
        if sequences.is_empty() {
            return Err(nothing_supervised());
        }
        // As many tokens at a time as a micro-batch may have.
        let most = self.shape.batch_size * self.shape.max_length;
        let mut sequences = sequences.into_iter().peekable();
        while sequences.peek().is_some() && !should_stop() {
            let mut row = Vec::new();
            let mut num_tokens = 0;
            while let Some(next) = sequences
                .next_if(|next| row.is_empty() || num_tokens + next.tokens.ids.len() <= most)
            {
                num_tokens += next.tokens.ids.len();
                row.push(next);
            }
            let batch = batch(row, 0);
            let logprobs = supervised_logprobs(&model, &batch.tokens, 1.0).logprob();
            add_by_component(&mut totals, &components(&batch), &host_values(logprobs));
        }
        let (loss, tokens) = totals
            .values()
            .fold((0.0, 0), |(a, b), (loss, tokens)| (a + loss, b + tokens));
        let rows = totals
            .iter()
            .map(|(component, (loss, tokens))| EvaluationRow {
                group: (*component).to_owned(),
                count: *tokens as u64,
                metrics: loss_fields(loss / *tokens as f64),
            })
            .collect();
        let mut evaluation = Evaluation {
            metrics: loss_fields(loss / tokens as f64),
            rows,
            samples: Vec::new(),
        };
        if let Some(questions) = &self.questions {
            let answers = questions.answer(&model, eval.tokenizer(), 1, should_stop)?;
            let Some(answers) = answers else {
                return Ok(None);
            };
            answers.add_to(&mut evaluation);
        }
        Ok(Some(evaluation))
    }

    fn warnings(&self) -> Vec<String> {
        let length = self.shape.max_length;
        let why = format!("nothing in their first {length} tokens is supervised");
        let (num_skipped, report) = (self.train.skipped().total(), self.truncation.report());
        let mut sentences = left_out("records", num_skipped, &report, length, &why);
        sentences.extend(self.questions.iter().filter_map(|q| q.warning(length)));
        sentences
    }

    fn state(&self) -> Value {
        let state = State {
            loader: self.loader.state(),
            waiting: self.waiting.clone(),
            sources: self.sources.state(),
        };
        serde_json::to_value(state).expect("plain numbers serialise")
    }

    fn restore(&mut self, state: &Value) -> Result<(), TrainError> {
        let state: State = serde_json::from_value(state.clone())
            .map_err(|error| TrainError::Checkpoint(format!("the loader's state: {error}")))?;
        self.loader.restore(state.loader)?;
        self.waiting = state.waiting;
        self.sources.restore(state.sources);
        Ok(())
    }

    fn sources(&self) -> Vec<DataSource> {
        self.sources.report()
    }
}

/// The loss of a token, and e to its power.
fn loss_fields(loss: f64) -> Fields {
    Fields::new()
        .with("loss", loss)
        .with("perplexity", loss.exp())
}

fn batch(sequences: Vec<Sequence>, first_sequence: usize) -> SupervisedBatch {
    let (tokens, components): (Vec<_>, Vec<_>) = sequences
        .into_iter()
        .map(|sequence| (sequence.tokens, sequence.component))
        .unzip();
    SupervisedBatch {
        tokens: TokenBatch::from_sequences(&tokens),
        first_sequence,
        components,
    }
}

/// The component of each prediction.
fn components(batch: &SupervisedBatch) -> Vec<&'static str> {
    let mut sequence = 0;
    let predictions = batch.tokens.predictions.iter();
    let component = predictions.map(|prediction| {
        while prediction.position as usize >= batch.tokens.segment(sequence).end {
            sequence += 1;
        }
        batch.components[sequence]
    });
    component.collect()
}

fn add_by_component(totals: &mut ByComponent, components: &[&'static str], logprobs: &[f32]) {
    for (component, logprob) in components.iter().zip(logprobs) {
        let total = totals.entry(component).or_default();
        total.0 -= f64::from(*logprob);
        total.1 += 1;
    }
}

fn nothing_supervised() -> TrainError {
    TrainError::NothingToTrain(
        "no record has a supervised token within max_length\nhint: raise max_length, or check the \
         data with a few records"
            .to_owned(),
    )
}
