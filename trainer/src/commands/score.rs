use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use datasets::{JsonlSource, OnBadRecord, SupervisedTokens, TokenBatch};
use model::{CausalLm, host_values};
use serde_json::json;

use super::opened;
use super::scored_text::Encoder;
use crate::TrainError;
use crate::cli::ScoreArgs;
use crate::forward::supervised_logprobs;

/// Tokens in a packed row of texts.
const ROW_TOKENS: usize = 4096;

/// Writes `{"tokens": […], "logprobs": […]}` for each line, `logprobs[i]` of `tokens[i + 1]`.
pub(super) fn run(args: &ScoreArgs) -> Result<(), TrainError> {
    let records = JsonlSource::open(std::slice::from_ref(&args.data), OnBadRecord::Error)?;
    let (model, document_start) = opened::model(&args.model, args.device, args.dtype)?;
    let mut encoder = Encoder::new(&args.model, document_start)?;
    let mut output: Box<dyn Write> = match &args.output {
        Some(path) => Box::new(BufWriter::new(
            File::create(path).map_err(TrainError::io(path))?,
        )),
        None => Box::new(BufWriter::new(io::stdout().lock())),
    };
    let place = args
        .output
        .as_deref()
        .unwrap_or(Path::new("standard output"));
    let mut row: Vec<Vec<u32>> = Vec::new();
    for index in 0..records.len() {
        row.push(encoder.encode(records.get(index)?)?);
        let tokens: usize = row.iter().map(Vec::len).sum();
        if tokens >= ROW_TOKENS || index + 1 == records.len() {
            for (ids, logprobs) in score(&model, std::mem::take(&mut row)) {
                let line = json!({"tokens": ids, "logprobs": logprobs});
                writeln!(output, "{line}").map_err(TrainError::io(place))?;
            }
        }
    }
    output.flush().map_err(TrainError::io(place))
}

/// Each sequence with the log-probabilities of all its tokens but the first.
fn score(model: &CausalLm, sequences: Vec<Vec<u32>>) -> Vec<(Vec<u32>, Vec<f32>)> {
    let documents: Vec<SupervisedTokens> = sequences
        .iter()
        .cloned()
        .map(SupervisedTokens::document)
        .collect();
    let batch = TokenBatch::from_sequences(&documents);
    let mut logprobs = match batch.num_supervised() {
        0 => Vec::new(),
        _ => host_values(supervised_logprobs(model, &batch, 1.0).logprob()),
    };
    sequences
        .into_iter()
        .map(|ids| {
            let rest = logprobs.split_off(ids.len().saturating_sub(1));
            (ids, std::mem::replace(&mut logprobs, rest))
        })
        .collect()
}
