//! The reference's log-probabilities, computed once before training and kept in the run's directory,
//! so that no second model sits in memory while the policy trains.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::Path;

use burn::tensor::DType;
use datasets::{Loader, SupervisedTokens, TokenBatch, Truncation};
use model::{CausalLm, host_values};
use serde::{Deserialize, Serialize};
use telemetry::DataFile;

use super::pairs::{Pair, PairBatch, Pairs, Unpaired};
use super::values::{answer_logprobs, sum};
use crate::TrainError;
use crate::checkpoint::fingerprint;
use crate::forward::supervised_logprobs;
use crate::recipe::PoSettings;
use crate::say;

/// What the reference gives a pair's answers: Σ log p, rounded to float32.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ReferenceLogprobs {
    /// The record.
    pub record: usize,
    /// Of the chosen answer.
    pub chosen: f32,
    /// Of the rejected one; 0 of either where the record has no such answer.
    pub rejected: f32,
}

/// A prompt with the answers to another: the record of the prompt and that of the answers.
pub type Mismatch = (usize, usize);

/// What the reference gives the records of a run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reference {
    /// By record; empty where no loss asks.
    pub logprobs: Vec<ReferenceLogprobs>,
    /// Σ log p over the answers of each mismatch, rounded to float32.
    pub mismatched: BTreeMap<Mismatch, f32>,
}

/// What a run asks of its reference.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Wanted {
    /// The records whose answers it sees.
    pub records: BTreeSet<usize>,
    /// KTO's mismatches.
    pub mismatches: BTreeSet<Mismatch>,
}

/// A line of the file after its key.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Line {
    Mismatched {
        record: usize,
        answers_of: usize,
        mismatched: f32,
    },
    Answers(ReferenceLogprobs),
}

impl ReferenceLogprobs {
    /// Not computed.
    const UNKNOWN: Self = Self {
        record: 0,
        chosen: f32::NAN,
        rejected: f32::NAN,
    };
}

/// What the values depend on: another key, and they are computed again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReferenceKey {
    /// Of the reference: weights, configuration, tokenizer and chat template.
    model: Vec<(String, String)>,
    /// SHA-256 of each data file.
    data: Vec<String>,
    /// Whether single answers are records: values go by a record's number.
    unpaired: Unpaired,
    /// What it computes in.
    dtype: String,
    max_length: usize,
    ld_alpha: f64,
}

impl ReferenceKey {
    /// Measures a model folder; the data files are measured already.
    pub fn measure(
        model_dir: &Path,
        data: &[DataFile],
        settings: &PoSettings,
        dtype: DType,
    ) -> Result<Self, TrainError> {
        Ok(ReferenceKey {
            model: fingerprint(model_dir)?,
            dtype: format!("{dtype:?}"),
            data: data.iter().map(|file| file.sha256.clone()).collect(),
            unpaired: Unpaired::of(settings),
            max_length: settings.max_length,
            ld_alpha: settings.ld_alpha,
        })
    }
}

/// The reference's values; NaN of records that are not asked for, zeros of those that do not fit. What
/// `file` has under the same key is taken from there, the rest is computed and appended, so that a
/// run that is stopped here goes on here. `None` where the user stopped it.
///
/// # Errors
/// A record, the model or the file cannot be read or written.
pub fn reference_logprobs(
    file: &Path,
    key: &ReferenceKey,
    pairs: &Pairs,
    wanted: &Wanted,
    batch_size: usize,
    load: &dyn Fn() -> Result<CausalLm, TrainError>,
    should_stop: &dyn Fn() -> bool,
) -> Result<Option<Reference>, TrainError> {
    let known = read(file, key);
    let mut reference = Reference {
        // What is not asked for is NaN: a loss that came to it would show.
        logprobs: vec![ReferenceLogprobs::UNKNOWN; pairs.len()],
        mismatched: BTreeMap::new(),
    };
    let mut missing = wanted.clone();
    for line in &known {
        match *line {
            Line::Answers(value) => {
                missing.records.remove(&value.record);
                reference.logprobs[value.record] = value;
            }
            Line::Mismatched {
                record,
                answers_of,
                mismatched,
            } => {
                missing.mismatches.remove(&(record, answers_of));
                let values = &mut reference.mismatched;
                values.insert((record, answers_of), mismatched);
            }
        }
    }
    if missing == Wanted::default() {
        return Ok(Some(reference));
    }
    let mut out = begin(file, key, &known)?;
    let mut append = |lines: &[Line]| {
        let lines: String = lines.iter().map(Line::text).collect();
        out.write_all(lines.as_bytes())
            .map_err(TrainError::io(file))
    };
    let model = load()?;
    let mut truncation = Truncation::new(key.max_length);
    say!("reference log-probabilities of {}", missing.words());
    let records: Vec<usize> = missing.records.into_iter().collect();
    for records in records.chunks(batch_size) {
        if should_stop() {
            return Ok(None);
        }
        let mut batch = Vec::new();
        for &record in records {
            // Zeros stand for a pair that does not fit, which no step will have.
            reference.logprobs[record] = ReferenceLogprobs {
                record,
                ..ReferenceLogprobs::default()
            };
            batch.extend(pairs.get(record, &mut truncation)?);
        }
        for (record, [chosen, rejected]) in of_pairs(&model, &batch, key.ld_alpha) {
            let value = &mut reference.logprobs[record];
            [value.chosen, value.rejected] = [chosen as f32, rejected as f32];
        }
        let of_records = records.iter().map(|&record| reference.logprobs[record]);
        append(&of_records.map(Line::Answers).collect::<Vec<_>>())?;
    }
    let mismatches: Vec<Mismatch> = missing.mismatches.into_iter().collect();
    for mismatches in mismatches.chunks(batch_size) {
        if should_stop() {
            return Ok(None);
        }
        let mut sequences = Vec::new();
        for &(record, answers_of) in mismatches {
            let [one, other] = [record, answers_of].map(|r| pairs.get(r, &mut truncation));
            let (one, other) = (one?, other?);
            let both = one.zip(other);
            sequences.push(both.map_or_else(Vec::new, |(one, other)| {
                one.mismatched(&other, key.max_length)
            }));
        }
        let mut lines = Vec::new();
        for (&(record, answers_of), sum) in mismatches.iter().zip(of_sequences(&model, &sequences))
        {
            let mismatched = sum as f32;
            let values = &mut reference.mismatched;
            values.insert((record, answers_of), mismatched);
            lines.push(Line::Mismatched {
                record,
                answers_of,
                mismatched,
            });
        }
        append(&lines)?;
    }
    out.sync_all().map_err(TrainError::io(file))?;
    Ok(Some(reference))
}

/// The records of a step, each with the one before it, the first with the last: the answers that are
/// mismatched are those of the step, as in TRL, where the step is one batch.
pub fn mismatches(records: &[usize]) -> impl Iterator<Item = Mismatch> {
    let before = records.iter().cycle().skip(records.len().saturating_sub(1));
    records.iter().copied().zip(before.copied())
}

impl Wanted {
    /// What a run of `num_steps` steps of `step_size` records asks of its reference, which is all records
    /// where that is an epoch or more.
    ///
    /// # Errors
    /// A record cannot be read.
    pub fn by_training(
        pairs: &Pairs,
        mut loader: Loader,
        [num_steps, step_size]: [usize; 2],
        max_length: usize,
        with_mismatches: bool,
    ) -> Result<Self, TrainError> {
        let mut wanted = Wanted::default();
        let count = num_steps.saturating_mul(step_size);
        if count >= pairs.len() {
            wanted.records = (0..pairs.len()).collect();
        }
        if count >= pairs.len() && !with_mismatches {
            return Ok(wanted);
        }
        let mut truncation = Truncation::new(max_length);
        let mut fits: BTreeMap<usize, bool> = BTreeMap::new();
        let (mut step, mut taken) = (Vec::new(), 0);
        while taken < count {
            let record = loader.next_index();
            wanted.records.insert(record);
            let fits_now = match fits.get(&record) {
                Some(&known) => known,
                None => {
                    let fits_now = pairs.get(record, &mut truncation)?.is_some();
                    fits.insert(record, fits_now);
                    fits_now
                }
            };
            if fits_now {
                step.push(record);
                taken += 1;
            } else if fits.len() == pairs.len() && fits.values().all(|fits| !fits) {
                break;
            }
            if with_mismatches && step.len() == step_size {
                wanted.mismatches.extend(mismatches(&step));
            }
            if step.len() == step_size {
                step.clear();
            }
        }
        Ok(wanted)
    }

    /// What an evaluation asks: all records, as one step.
    ///
    /// # Errors
    /// A record cannot be read.
    pub fn by_evaluation(
        pairs: &Pairs,
        max_length: usize,
        with_mismatches: bool,
    ) -> Result<Self, TrainError> {
        let mut truncation = Truncation::new(max_length);
        let mut fitting = Vec::new();
        for record in (0..pairs.len()).filter(|_| with_mismatches) {
            fitting.extend(pairs.get(record, &mut truncation)?.map(|pair| pair.record));
        }
        Ok(Wanted {
            records: (0..pairs.len()).collect(),
            mismatches: mismatches(&fitting).collect(),
        })
    }

    fn words(&self) -> String {
        let records = format!("{} records", self.records.len());
        match self.mismatches.len() {
            0 => records,
            count => format!("{records} and {count} mismatched ones"),
        }
    }
}

impl Line {
    fn text(&self) -> String {
        serde_json::to_string(self).expect("numbers serialise") + "\n"
    }
}

/// Σ log p over each group of sequences; 0 of an empty one.
pub fn of_sequences(model: &CausalLm, groups: &[Vec<SupervisedTokens>]) -> Vec<f64> {
    let sequences = groups.concat();
    if sequences.is_empty() {
        return vec![0.0; groups.len()];
    }
    let batch = TokenBatch::from_sequences(&sequences);
    let logprobs = host_values(supervised_logprobs(model, &batch, 1.0).logprob());
    let mut rest = logprobs.as_slice();
    let of_group = |group: &Vec<SupervisedTokens>| {
        let count = group.iter().map(SupervisedTokens::num_supervised).sum();
        let (own, others) = rest.split_at(count);
        rest = others;
        sum(own)
    };
    groups.iter().map(of_group).collect()
}

/// Σ log p of both answers of each pair, with its record.
fn of_pairs(model: &CausalLm, pairs: &[Pair], ld_alpha: f64) -> Vec<(usize, [f64; 2])> {
    if pairs.is_empty() {
        return Vec::new();
    }
    let batch = PairBatch::new(pairs);
    let logprobs = host_values(supervised_logprobs(model, &batch.tokens, 1.0).logprob());
    batch
        .pairs
        .iter()
        .map(|span| (span.record, answer_logprobs(&logprobs, span, ld_alpha)))
        .collect()
}

/// The whole lines of a file that begins with this key.
fn read(file: &Path, key: &ReferenceKey) -> Vec<Line> {
    let Ok(text) = fs::read_to_string(file) else {
        return Vec::new();
    };
    let mut lines = text
        .split_inclusive('\n')
        .filter(|line| line.ends_with('\n'));
    let same_key = |line: &str| serde_json::from_str::<ReferenceKey>(line).is_ok_and(|k| k == *key);
    if !lines.next().is_some_and(same_key) {
        return Vec::new();
    }
    lines
        .map_while(|line| serde_json::from_str(line).ok())
        .collect()
}

/// Begins the file anew with what is known, so that a torn line does not stay in its middle.
fn begin(file: &Path, key: &ReferenceKey, known: &[Line]) -> Result<File, TrainError> {
    let mut text = serde_json::to_string(key).expect("a key serialises");
    text.push('\n');
    text.extend(known.iter().map(Line::text));
    telemetry::atomic::write_atomic(file, text)?;
    let opened = OpenOptions::new().append(true).open(file);
    opened.map_err(TrainError::io(file))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cache_of_another_key_or_with_a_torn_end_is_not_believed() {
        let dir = tempfile::tempdir().expect("a folder");
        let file = dir.path().join("reference.jsonl");
        let key = |max_length| ReferenceKey {
            model: vec![("model.safetensors".into(), "0a".into())],
            data: vec!["00".into()],
            unpaired: Unpaired::Refused,
            dtype: "F32".into(),
            max_length,
            ld_alpha: 1.0,
        };
        let value = ReferenceLogprobs {
            record: 3,
            chosen: -12.345_678,
            rejected: -1e-7,
        };
        let mismatched = Line::Mismatched {
            record: 3,
            answers_of: 7,
            mismatched: -0.1,
        };
        let known = [Line::Answers(value), mismatched];
        let mut out = begin(&file, &key(8), &known).expect("it is written");
        out.write_all(b"{\"record\":2,\"chos")
            .expect("it is written");
        let texts = |lines: &[Line]| lines.iter().map(Line::text).collect::<Vec<_>>();
        let read_back = read(&file, &key(8));
        assert_eq!(texts(&read_back), texts(&known));
        assert!(matches!(read_back[0], Line::Answers(read) if read == value));
        assert!(matches!(
            read_back[1],
            Line::Mismatched { answers_of: 7, .. }
        ));
        assert!(read(&file, &key(9)).is_empty());
        // Where single answers are records too, record 3 is another one.
        let among_single_answers = ReferenceKey {
            unpaired: Unpaired::Taken,
            ..key(8)
        };
        assert!(read(&file, &among_single_answers).is_empty());
    }

    #[test]
    fn each_prompt_of_a_step_has_the_answers_of_the_record_before() {
        let of = |records: &[usize]| mismatches(records).collect::<Vec<_>>();
        assert_eq!(of(&[5, 2, 9]), [(5, 9), (2, 5), (9, 2)]);
        assert_eq!(of(&[4]), [(4, 4)]);
        assert_eq!(of(&[]), []);
    }
}
