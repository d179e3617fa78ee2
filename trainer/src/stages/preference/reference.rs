//! The reference's log-probabilities, computed once before training and kept in the run's directory,
//! so that no second model sits in memory while the policy trains.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use burn::tensor::DType;
use datasets::{Loader, SupervisedTokens, TokenBatch, Truncation};
use model::{CausalLm, host_values};
use serde::{Deserialize, Serialize};
use telemetry::DataFile;

use super::pairs::{Pair, PairBatch, Pairs};
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
    /// Of the rejected one.
    pub rejected: f32,
    /// Of the next record's chosen answer to this record's prompt; 0 where no loss asks.
    #[serde(default)]
    pub mismatched: f32,
}

impl ReferenceLogprobs {
    /// Not computed.
    const UNKNOWN: Self = Self {
        record: 0,
        chosen: f32::NAN,
        rejected: f32::NAN,
        mismatched: f32::NAN,
    };
}

/// What the values depend on: another key, and they are computed again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReferenceKey {
    /// Of the reference: weights, configuration, tokenizer and chat template.
    model: Vec<(String, String)>,
    /// SHA-256 of each data file.
    data: Vec<String>,
    /// What it computes in.
    dtype: String,
    max_length: usize,
    ld_alpha: f64,
    with_mismatched: bool,
}

impl ReferenceKey {
    /// Measures a model folder and data files.
    pub fn measure(
        model_dir: &Path,
        data: &[PathBuf],
        settings: &PoSettings,
        with_mismatched: bool,
        dtype: DType,
    ) -> Result<Self, TrainError> {
        let data = data.iter().map(|path| Ok(DataFile::measure(path)?.sha256));
        Ok(ReferenceKey {
            model: fingerprint(model_dir)?,
            dtype: format!("{dtype:?}"),
            data: data.collect::<Result<_, TrainError>>()?,
            max_length: settings.max_length,
            ld_alpha: settings.ld_alpha,
            with_mismatched,
        })
    }
}

/// The reference's values, by record; NaN of those that are not asked for, zeros of those that do not
/// fit. What
/// `file` has under the same key is taken from there, the rest is computed and appended, so that a
/// run that is stopped here goes on here. `None` where the user stopped it.
///
/// # Errors
/// A record, the model or the file cannot be read or written.
pub fn reference_logprobs(
    file: &Path,
    key: &ReferenceKey,
    pairs: &Pairs,
    records: &BTreeSet<usize>,
    batch_size: usize,
    load: &dyn Fn() -> Result<CausalLm, TrainError>,
    should_stop: &dyn Fn() -> bool,
) -> Result<Option<Vec<ReferenceLogprobs>>, TrainError> {
    let io = || TrainError::io(file);
    // What is not asked for is NaN: a loss that came to it would show.
    let mut values = vec![ReferenceLogprobs::UNKNOWN; pairs.len()];
    let known = read(file, key);
    let mut missing = records.clone();
    for &value in &known {
        missing.remove(&value.record);
        values[value.record] = value;
    }
    if missing.is_empty() {
        return Ok(Some(values));
    }
    let mut out = begin(file, key, &known)?;
    let model = load()?;
    let mut truncation = Truncation::new(key.max_length);
    say!("reference log-probabilities of {} pairs", missing.len());
    let missing: Vec<usize> = missing.into_iter().collect();
    for records in missing.chunks(batch_size) {
        if should_stop() {
            return Ok(None);
        }
        let mut batch = Vec::new();
        let mut mismatched = Vec::new();
        for &record in records {
            // Zeros stand for a pair that does not fit, which no step will have.
            values[record] = ReferenceLogprobs {
                record,
                ..ReferenceLogprobs::default()
            };
            let Some(pair) = pairs.get(record, &mut truncation)? else {
                continue;
            };
            if key.with_mismatched
                && let Some(sequence) = mismatched_of(pairs, &pair, key.max_length)?
            {
                mismatched.push((record, sequence));
            }
            batch.push(pair);
        }
        for (record, [chosen, rejected]) in of_pairs(&model, &batch, key.ld_alpha) {
            let value = &mut values[record];
            [value.chosen, value.rejected] = [chosen as f32, rejected as f32];
        }
        for (record, sum) in of_sequences(&model, mismatched) {
            values[record].mismatched = sum as f32;
        }
        let mut lines = String::new();
        for &record in records {
            lines += &serde_json::to_string(&values[record]).expect("numbers serialise");
            lines.push('\n');
        }
        out.write_all(lines.as_bytes()).map_err(io())?;
    }
    out.sync_all().map_err(io())?;
    Ok(Some(values))
}

/// The records that a run of `count` pairs visits: all, where that is an epoch or more.
pub fn visited(
    pairs: &Pairs,
    mut loader: Loader,
    count: usize,
    max_length: usize,
) -> Result<BTreeSet<usize>, TrainError> {
    if count >= pairs.len() {
        return Ok((0..pairs.len()).collect());
    }
    let mut truncation = Truncation::new(max_length);
    let mut records = BTreeSet::new();
    let mut usable = 0;
    while usable < count && records.len() < pairs.len() {
        let record = loader.next_index();
        if records.insert(record) {
            usable += usize::from(pairs.get(record, &mut truncation)?.is_some());
        }
    }
    Ok(records)
}

/// The next record's chosen answer to this record's prompt; `None` where one of the two does not fit.
pub fn mismatched_of(
    pairs: &Pairs,
    pair: &Pair,
    max_length: usize,
) -> Result<Option<SupervisedTokens>, TrainError> {
    let next = (pair.record + 1) % pairs.len();
    let other = pairs.get(next, &mut Truncation::new(max_length))?;
    Ok(other.and_then(|other| pair.mismatched(&other, max_length)))
}

/// Σ log p of sequences, each with its record.
pub fn of_sequences(
    model: &CausalLm,
    sequences: Vec<(usize, SupervisedTokens)>,
) -> Vec<(usize, f64)> {
    if sequences.is_empty() {
        return Vec::new();
    }
    let (records, sequences): (Vec<_>, Vec<_>) = sequences.into_iter().unzip();
    let batch = TokenBatch::from_sequences(&sequences);
    let logprobs = host_values(supervised_logprobs(model, &batch, 1.0).logprob());
    let mut rest = logprobs.as_slice();
    records
        .into_iter()
        .zip(&sequences)
        .map(|(record, sequence)| {
            let (own, others) = rest.split_at(sequence.num_supervised());
            rest = others;
            (record, sum(own))
        })
        .collect()
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
fn read(file: &Path, key: &ReferenceKey) -> Vec<ReferenceLogprobs> {
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
fn begin(file: &Path, key: &ReferenceKey, known: &[ReferenceLogprobs]) -> Result<File, TrainError> {
    let mut text = serde_json::to_string(key).expect("a key serialises");
    text.push('\n');
    for value in known {
        text += &serde_json::to_string(value).expect("numbers serialise");
        text.push('\n');
    }
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
            dtype: "F32".into(),
            max_length,
            ld_alpha: 1.0,
            with_mismatched: false,
        };
        let values = [0, 3].map(|record| ReferenceLogprobs {
            record,
            chosen: -12.345_678,
            rejected: -1e-7,
            mismatched: 0.0,
        });
        let mut out = begin(&file, &key(8), &values).expect("it is written");
        out.write_all(b"{\"record\":2,\"chos")
            .expect("it is written");
        assert_eq!(read(&file, &key(8)), values);
        assert_eq!(read(&file, &key(9)), []);
    }
}
