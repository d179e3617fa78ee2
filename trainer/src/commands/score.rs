use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use datasets::record::ScoreRecord;
use datasets::{
    ChatTokenizer, DocumentEnd, DocumentStart, GenerationPrompt, JsonlSource, OnBadRecord,
    SupervisedTokens, TokenBatch, Tokenizer,
};
use model::{CausalLm, host_values};
use serde_json::json;

use super::opened;
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

/// Texts need a tokenizer; conversations also a chat template, which is only loaded for them.
struct Encoder<'a> {
    dir: &'a Path,
    document_start: DocumentStart,
    tokenizer: Tokenizer,
    chat: Option<ChatTokenizer>,
}

impl<'a> Encoder<'a> {
    fn new(dir: &'a Path, document_start: DocumentStart) -> Result<Self, TrainError> {
        Ok(Encoder {
            tokenizer: Tokenizer::from_dir(dir, document_start)?,
            dir,
            document_start,
            chat: None,
        })
    }

    fn encode(&mut self, record: ScoreRecord) -> Result<Vec<u32>, TrainError> {
        let messages = match record {
            ScoreRecord::Text(text) => {
                return Ok(self.tokenizer.document(&text, DocumentEnd::Open)?);
            }
            ScoreRecord::Messages(messages) => messages,
        };
        let chat = match self.chat.take() {
            Some(chat) => chat,
            None => ChatTokenizer::from_dir(self.dir, self.document_start)?,
        };
        let ids = chat.encode_chat(&messages, GenerationPrompt::Omit)?;
        self.chat = Some(chat);
        Ok(ids)
    }
}
