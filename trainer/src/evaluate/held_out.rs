use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use datasets::{AssistantTurns, DocumentStart, OnBadRecord, SupervisedTokens, TokenBatch};
use model::{CausalLm, host_values};
use serde_json::Value;

use crate::TrainError;
use crate::forward::supervised_logprobs;
use crate::stages::pretraining::Documents;
use crate::stages::sft::Conversations;
use crate::stages::supervised::Sequences;

/// Tokens in a packed row of texts.
const ROW_TOKENS: usize = 4096;

/// Picks the wording around a translation pair; fixed, so that every model reads the same.
const WORDING_SEED: u64 = 0;

/// A held-out file as tokens.
pub struct HeldOut {
    /// The file's name.
    pub name: String,
    sequences: Vec<SupervisedTokens>,
}

impl HeldOut {
    /// Reads a file of documents, supervised in every token but the first, or of conversations and
    /// translation pairs, supervised in the assistant's turns. Its first line says which.
    ///
    /// # Errors
    /// A record is broken, or nothing in the file is supervised.
    pub fn read(
        path: &Path,
        model_dir: &Path,
        document_start: DocumentStart,
    ) -> Result<Self, TrainError> {
        let paths = [path.to_owned()];
        let first = first_record(path)?;
        let records = match first.is_some_and(|record| record.get("text").is_some()) {
            true => documents(&paths, model_dir, document_start)?,
            false => conversations(&paths, model_dir, document_start)?,
        };
        let sequences = (0..records.len())
            .map(|index| Ok(records.get(index)?.tokens))
            .collect::<Result<Vec<_>, TrainError>>()?;
        let supervised: usize = sequences.iter().map(|s| s.num_supervised()).sum();
        if supervised == 0 {
            return Err(TrainError::NothingToTrain(format!(
                "{}: nothing in it is supervised\nhint: give documents of two tokens or more, or \
                 conversations with an assistant turn",
                path.display()
            )));
        }
        let name = path.file_name().unwrap_or(path.as_os_str());
        Ok(HeldOut {
            name: name.to_string_lossy().into_owned(),
            sequences,
        })
    }

    /// Records.
    pub fn len(&self) -> usize {
        self.sequences.len()
    }

    /// Whether there is none; reading refuses that.
    pub fn is_empty(&self) -> bool {
        self.sequences.is_empty()
    }

    /// The mean negative log-likelihood of a supervised token.
    pub fn loss(&self, model: &CausalLm) -> f64 {
        let (mut sum, mut count) = (0.0, 0);
        let mut rest = &self.sequences[..];
        while !rest.is_empty() {
            let mut tokens = 0;
            let in_row = rest.iter().take_while(|sequence| {
                let starts_inside = tokens < ROW_TOKENS;
                tokens += sequence.ids.len();
                starts_inside
            });
            let (row, after) = rest.split_at(in_row.count());
            rest = after;
            let batch = TokenBatch::from_sequences(row);
            if batch.num_supervised() > 0 {
                let logprobs = host_values(supervised_logprobs(model, &batch, 1.0).logprob());
                sum -= logprobs.iter().copied().map(f64::from).sum::<f64>();
                count += logprobs.len();
            }
        }
        sum / count as f64
    }
}

fn documents(
    paths: &[PathBuf],
    model_dir: &Path,
    document_start: DocumentStart,
) -> Result<Box<dyn Sequences>, TrainError> {
    let on_bad_record = OnBadRecord::Error;
    let documents = Documents::open(
        paths,
        on_bad_record,
        model_dir,
        document_start,
        WORDING_SEED,
    )?;
    Ok(Box::new(documents))
}

fn conversations(
    paths: &[PathBuf],
    model_dir: &Path,
    document_start: DocumentStart,
) -> Result<Box<dyn Sequences>, TrainError> {
    let conversations = Conversations::open(
        paths,
        OnBadRecord::Error,
        model_dir,
        document_start,
        AssistantTurns::All,
        WORDING_SEED,
    )?;
    Ok(Box::new(conversations))
}

/// The first record of a file; `None` where it is no JSON, of which whoever opens the file says more.
pub(super) fn first_record(path: &Path) -> Result<Option<Value>, TrainError> {
    let file = File::open(path).map_err(TrainError::io(path))?;
    for line in BufReader::new(file).lines() {
        let line = line.map_err(TrainError::io(path))?;
        let line = line.trim_start_matches('\u{feff}').trim();
        if !line.is_empty() {
            return Ok(serde_json::from_str(line).ok());
        }
    }
    Ok(None)
}
