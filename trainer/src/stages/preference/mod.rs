//! Preference optimization: WPO, and the other losses of chosen and rejected answers, and of single
//! ones with a label.
//!
//! A step runs its pairs forward, sums each answer's log-probabilities, and has the
//! [`objective`](objective::objective) say on the host what the loss is and how it changes with each of them; that is what
//! goes backward. The reference's log-probabilities were computed before training began.

mod metrics;
pub mod objective;
pub mod pairs;
pub mod reference;
pub mod values;

use burn::tensor::Tensor;
use datasets::{Loader, LoaderState, Order, Shard, SupervisedTokens, Truncation};
use kernels::{HostValues, Logprobs};
use model::{CausalLm, host_values};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use telemetry::Fields;
use telemetry::event::DataSource;

use crate::TrainError;
use crate::answers::{Asking, Questions};
use crate::forward::{Forward, constant, supervised_logprobs};
use crate::monitor::{Part, StepMeter};
use crate::recipe::{PoSettings, PreferenceLossType, StageName};
use crate::sources::{Sources, SourcesState};
use crate::stage::{Evaluation, Stage};
use crate::stages::left_out::left_out;
use metrics::pair_metrics;
use objective::{PairValues, StepCounts, objective};
use pairs::{Pair, PairBatch, Pairs};
use reference::{Mismatch, Reference, mismatches, of_sequences};
use values::{RowStatistics, pair_values, token_slopes};

/// Pairs with what their reference gives them.
pub struct PairData {
    /// The pairs.
    pub pairs: Pairs,
    /// What the losses compare with.
    pub reference: Reference,
}

/// The stage.
pub struct Preference {
    settings: PoSettings,
    train: PairData,
    eval: Option<PairData>,
    questions: Option<Questions>,
    loader: Loader,
    sources: Sources,
    /// Pairs in a micro-batch, micro-batches in a step.
    batch: [usize; 2],
    truncation: Truncation,
    counts: StepCounts,
    record: Record,
}

/// Sums over the pairs of a step, from which its metrics follow.
#[derive(Default)]
struct Record {
    pairs: Vec<PairValues>,
    num_tokens: usize,
    num_answer_tokens: usize,
    /// Of each micro-batch, entropies and whether the most likely token is right, on their way.
    told: Vec<HostValues>,
}

#[derive(Serialize, Deserialize)]
struct State {
    #[serde(flatten)]
    loader: LoaderState,
    #[serde(default)]
    sources: SourcesState,
}

/// One micro-batch.
pub struct PreferenceBatch {
    batch: PairBatch,
    /// The loss and the slope of each prediction, where they depend on more than this micro-batch.
    known: Option<(f64, Vec<f32>)>,
}

impl Preference {
    /// `batch` is pairs in a micro-batch and micro-batches in a step; order is by file where
    /// `shuffle_seed` is `None`.
    pub fn new(
        settings: PoSettings,
        train: PairData,
        eval: Option<PairData>,
        batch: [usize; 2],
        shuffle_seed: Option<u64>,
    ) -> Self {
        let order = match shuffle_seed {
            Some(seed) => Order::Shuffled { seed },
            None => Order::Sequential,
        };
        Preference {
            loader: Loader::new(train.pairs.len(), order, Shard::ALL),
            sources: Sources::new(train.pairs.parts()),
            truncation: Truncation::new(settings.max_length),
            settings,
            train,
            eval,
            questions: None,
            batch,
            counts: StepCounts {
                num_pairs: 1,
                num_answers: 1,
                num_chosen_tokens: 1,
                drift: 0.0,
            },
            record: Record::default(),
        }
    }

    /// Has evaluations also answer `eval_generate` of the held-out prompts.
    ///
    /// # Errors
    /// None of them is a question.
    pub fn with_questions(mut self) -> Result<Self, TrainError> {
        let count = self.settings.eval_generate;
        if let Some(PairData { pairs, .. }) = self.eval.as_ref().filter(|_| count > 0) {
            let asking = Asking {
                count,
                max_length: self.settings.max_length,
                max_new_tokens: self.settings.eval_max_new_tokens,
                stop_tokens: pairs.tokenizer().stop_ids(),
            };
            let is_question = |record| pairs.is_question(record);
            let question = |record| pairs.question(record);
            let questions = Questions::spread(asking, pairs.len(), is_question, question)?;
            self.questions = Some(questions);
        }
        Ok(self)
    }

    fn next_pair(&mut self) -> Result<Pair, TrainError> {
        for _ in 0..=self.train.pairs.len() {
            let record = self.loader.next_index();
            let part = self.train.pairs.part_of(record);
            if let Some(pair) = self.train.pairs.get(record, &mut self.truncation)? {
                self.sources.take(part, pair.num_tokens());
                return Ok(pair);
            }
            let why = "nothing of an answer within max_length";
            self.sources.leave_out(part, why);
        }
        Err(nothing_supervised())
    }

    /// KTO's z, over the pairs of the step.
    fn drift(&self, model: &CausalLm, pairs: &[Pair]) -> Result<f64, TrainError> {
        drift(&self.settings, &self.train, model, pairs, self.batch[0])
    }

    /// Forward without gradients, where a pair's loss depends on those of other micro-batches.
    fn look_ahead(&self, model: &CausalLm, batches: &mut [PreferenceBatch]) {
        let model = model.valid();
        let of_batch: Vec<Vec<PairValues>> = batches
            .iter()
            .map(|PreferenceBatch { batch, .. }| {
                let statistics = supervised_logprobs(&model, &batch.tokens, 1.0);
                let row = row_statistics(&statistics, self.settings.use_weighting);
                self.train.values(&self.settings, &row, batch)
            })
            .collect();
        let all: Vec<PairValues> = of_batch.concat();
        let whole = objective(&self.settings, &all, self.counts);
        let mut slopes = whole.slopes.as_slice();
        let share = whole.loss / batches.len() as f64;
        for PreferenceBatch { batch, known } in batches {
            let (own, rest) = slopes.split_at(batch.pairs.len());
            slopes = rest;
            let num = batch.tokens.num_supervised();
            let slopes = token_slopes(num, &batch.pairs, own, self.settings.ld_alpha);
            *known = Some((share, slopes));
        }
    }
}

impl PairData {
    fn values(
        &self,
        settings: &PoSettings,
        row: &RowStatistics,
        batch: &PairBatch,
    ) -> Vec<PairValues> {
        let logprobs = &self.reference.logprobs;
        let reference = |record: usize| logprobs.get(record).copied().unwrap_or_default();
        let spans = batch.pairs.iter();
        spans
            .map(|span| pair_values(settings, row, span, reference(span.record)))
            .collect()
    }
}

impl Stage for Preference {
    type MicroBatch = PreferenceBatch;

    fn name(&self) -> StageName {
        StageName::Po
    }

    fn end_of_turn(&self) -> Option<u32> {
        self.train.pairs.tokenizer().end_of_turn_id()
    }

    fn steps_per_epoch(&self) -> Result<f64, TrainError> {
        Ok(self.train.pairs.len() as f64 / (self.batch[0] * self.batch[1]) as f64)
    }

    fn next_step(
        &mut self,
        _step: u64,
        model: &CausalLm,
        meter: &StepMeter,
        _should_stop: &dyn Fn() -> bool,
    ) -> Result<Vec<PreferenceBatch>, TrainError> {
        let [batch_size, accumulation] = self.batch;
        let pairs = (0..batch_size * accumulation)
            .map(|_| self.next_pair())
            .collect::<Result<Vec<_>, _>>()?;
        let mut batches: Vec<PreferenceBatch> = pairs
            .chunks(batch_size)
            .map(|pairs| PreferenceBatch {
                batch: PairBatch::new(pairs),
                known: None,
            })
            .collect();
        self.counts = counts(batches.iter().map(|b| &b.batch));
        if self.settings.loss_type.contains(&PreferenceLossType::Kto) {
            let drift = || self.drift(model, &pairs);
            self.counts.drift = meter.time(Part::Reference, drift)?;
        }
        let crosses = self.settings.loss_type.iter().any(|l| l.crosses_pairs());
        if crosses && accumulation > 1 {
            meter.time(Part::Reference, || self.look_ahead(model, &mut batches));
        }
        self.record = Record::default();
        Ok(batches)
    }

    fn loss(&mut self, forward: &Forward, batch: &PreferenceBatch) -> Option<Tensor<1>> {
        let PreferenceBatch { batch, known } = batch;
        let (known, statistics) = match known {
            Some((loss, slopes)) => {
                let (sum, statistics) = forward.weighted_logprobs(&batch.tokens, slopes, 1.0);
                (Some((*loss, sum)), statistics)
            }
            None => (None, forward.supervised_logprobs(&batch.tokens, 1.0)),
        };
        let row = row_statistics(&statistics, self.settings.use_weighting);
        let values = self.train.values(&self.settings, &row, batch);
        let (loss, surrogate) = known.unwrap_or_else(|| {
            let own = objective(&self.settings, &values, self.counts);
            let num = batch.tokens.num_supervised();
            let slopes = token_slopes(num, &batch.pairs, &own.slopes, self.settings.ld_alpha);
            let slopes = constant(&slopes, forward.model());
            (own.loss, (statistics.logprob() * slopes).sum())
        });
        let record = &mut self.record;
        record.pairs.extend(values);
        record.num_tokens += batch.tokens.num_tokens();
        record.num_answer_tokens += batch.tokens.num_supervised();
        let parts = [statistics.entropy().inner(), statistics.correct().inner()];
        record
            .told
            .push(HostValues::of(Tensor::cat(parts.to_vec(), 0)));
        // The value of the loss, with the gradient of Σ slope · log p.
        Some((surrogate.clone() - surrogate.detach()).add_scalar(loss))
    }

    fn num_tokens(&self, batch: &PreferenceBatch) -> usize {
        batch.batch.tokens.num_tokens()
    }

    fn metrics(&mut self) -> Fields {
        let record = &mut self.record;
        let (mut entropy, mut num_correct) = (0.0, 0.0);
        for told in record.told.drain(..) {
            let values = told.wait();
            let (entropies, correct) = values.split_at(values.len() / 2);
            entropy += values::sum(entropies);
            num_correct += values::sum(correct);
        }
        let mut fields = pair_metrics(&self.settings, &record.pairs);
        let tokens = record.num_answer_tokens as f64;
        fields.set("num_tokens", record.num_tokens as u64);
        fields.set("entropy", entropy / tokens);
        fields.set("mean_token_accuracy", num_correct / tokens);
        fields.set("epoch", self.loader.state().epoch);
        if self.settings.loss_type.contains(&PreferenceLossType::Kto) {
            fields.set("kl", self.counts.drift);
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
        let mut truncation = Truncation::new(self.settings.max_length);
        let mut values = Vec::new();
        let mut drift_pairs = Vec::new();
        let mut of_batches = Vec::new();
        for first in (0..eval.pairs.len()).step_by(self.batch[0]) {
            if should_stop() {
                return Ok(None);
            }
            let records = first..(first + self.batch[0]).min(eval.pairs.len());
            let pairs = records
                .filter_map(|record| eval.pairs.get(record, &mut truncation).transpose())
                .collect::<Result<Vec<_>, _>>()?;
            if pairs.is_empty() {
                continue;
            }
            let batch = PairBatch::new(&pairs);
            let statistics = supervised_logprobs(&model, &batch.tokens, 1.0);
            let row = row_statistics(&statistics, self.settings.use_weighting);
            values.extend(eval.values(&self.settings, &row, &batch));
            if self.settings.loss_type.contains(&PreferenceLossType::Kto) {
                drift_pairs.extend(pairs);
            }
            of_batches.push(batch);
        }
        if values.is_empty() {
            return Err(nothing_supervised());
        }
        let counts = StepCounts {
            drift: drift(&self.settings, eval, &model, &drift_pairs, self.batch[0])?,
            ..counts(&of_batches)
        };
        let loss = objective(&self.settings, &values, counts).loss;
        let mut metrics = Fields::new().with("loss", loss);
        for (name, value) in pair_metrics(&self.settings, &values).iter() {
            metrics.set(name, value.clone());
        }
        let mut evaluation = Evaluation {
            metrics,
            rows: Vec::new(),
            samples: Vec::new(),
        };
        if let Some(questions) = &self.questions {
            let tokenizer = eval.pairs.tokenizer().tokenizer();
            let Some(answers) = questions.answer(&model, tokenizer, 1, should_stop)? else {
                return Ok(None);
            };
            answers.add_to(&mut evaluation);
        }
        Ok(Some(evaluation))
    }

    fn warnings(&self) -> Vec<String> {
        let length = self.settings.max_length;
        let why = format!("of one of their answers nothing is within max_length = {length}");
        let (num_skipped, report) = (self.train.pairs.skipped().total(), self.truncation.report());
        let mut sentences = left_out("records", num_skipped, &report, length, &why);
        sentences.extend(self.questions.iter().filter_map(|q| q.warning(length)));
        sentences
    }

    fn sources(&self) -> Vec<DataSource> {
        self.sources.report()
    }

    fn state(&self) -> Value {
        let state = State {
            loader: self.loader.state(),
            sources: self.sources.state(),
        };
        serde_json::to_value(state).expect("plain numbers serialise")
    }

    fn restore(&mut self, state: &Value) -> Result<(), TrainError> {
        let state: State = serde_json::from_value(state.clone())
            .map_err(|error| TrainError::Checkpoint(format!("the loader's state: {error}")))?;
        self.sources.restore(state.sources);
        Ok(self.loader.restore(state.loader)?)
    }
}

/// KTO's z: max(0, the mean log-ratio of answers to other prompts of the same step).
fn drift(
    settings: &PoSettings,
    data: &PairData,
    model: &CausalLm,
    pairs: &[Pair],
    batch_size: usize,
) -> Result<f64, TrainError> {
    let model = model.valid();
    let records: Vec<usize> = pairs.iter().map(|pair| pair.record).collect();
    let pairings: Vec<Mismatch> = mismatches(&records).collect();
    let before = pairs.iter().cycle().skip(pairs.len().saturating_sub(1));
    let groups: Vec<Vec<SupervisedTokens>> = pairs
        .iter()
        .zip(before)
        .map(|(pair, before)| pair.mismatched(before, settings.max_length))
        .collect();
    let num_answers: usize = groups.iter().map(Vec::len).sum();
    let sums = groups.chunks(batch_size);
    let sums = sums.flat_map(|groups| of_sequences(&model, groups));
    let reference = |pairing| {
        // One that no one computed is NaN, which shows.
        let known = data.reference.mismatched.get(pairing);
        f64::from(known.copied().unwrap_or(f32::NAN))
    };
    let ratios = sums
        .zip(&pairings)
        .map(|(sum, pairing)| sum - reference(pairing));
    let mean = ratios.sum::<f64>() / num_answers.max(1) as f64;
    // f64::max would make 0 of a NaN.
    Ok(if mean < 0.0 { 0.0 } else { mean })
}

fn counts<'a>(batches: impl IntoIterator<Item = &'a PairBatch>) -> StepCounts {
    let mut counts = StepCounts {
        num_pairs: 0,
        num_answers: 0,
        num_chosen_tokens: 0,
        drift: 0.0,
    };
    for span in batches.into_iter().flat_map(|batch| &batch.pairs) {
        let there = |answer: &std::ops::Range<usize>| usize::from(!answer.is_empty());
        counts.num_pairs += 1;
        counts.num_answers += there(&span.chosen) + there(&span.rejected);
        counts.num_chosen_tokens += span.chosen.len();
    }
    counts
}

fn row_statistics(statistics: &Logprobs, with_collisions: bool) -> RowStatistics {
    let mut parts = vec![statistics.logprob().inner()];
    if with_collisions {
        parts.push(statistics.log_collision().inner());
    }
    let [rows] = parts[0].dims();
    let mut logprobs = host_values(Tensor::cat(parts, 0));
    let log_collisions = logprobs.split_off(rows);
    RowStatistics {
        logprobs,
        log_collisions,
    }
}

fn nothing_supervised() -> TrainError {
    TrainError::NothingToTrain(
        "no record has a supervised token of each of its answers within max_length\nhint: raise \
         max_length, or check the data with a few records"
            .to_owned(),
    )
}
