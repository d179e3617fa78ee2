use std::io::{self, BufWriter, Write};
use std::path::Path;

use datasets::record::PromptRecord;
use datasets::{
    ChatTokenizer, DocumentEnd, DocumentStart, GenerationPrompt, JsonlSource, Message, OnBadRecord,
    Tokenizer,
};
use model::generate::{GenerateOptions, Request, SamplingOptions, generate};
use serde_json::json;

use super::opened;
use crate::TrainError;
use crate::cli::{GenerateArgs, PromptSource};

/// Requests handed to the engine at a time: their results are written when all are done.
const CHUNK: usize = 1024;

/// Writes `{"prompt_tokens", "tokens", "text", "finish_reason"}` for each sample of each prompt.
pub(super) fn run(args: &GenerateArgs) -> Result<(), TrainError> {
    let prompts = match args.prompts() {
        PromptSource::Text(text) => vec![PromptRecord::Text(text.to_owned())],
        PromptSource::File(path) => JsonlSource::open(&[path.to_owned()], OnBadRecord::Error)?
            .iter()
            .collect::<Result<_, _>>()?,
    };
    let (model, document_start) = opened::model(&args.model, args.device, args.dtype)?;
    let encoder = Encoder::new(args, document_start)?;
    let mut requests = Vec::new();
    for prompt in prompts {
        let prompt: std::sync::Arc<[u32]> = encoder.encode(prompt)?.into();
        if prompt.is_empty() {
            return Err(TrainError::Usage(
                "an empty prompt has nothing to continue\nhint: this model's documents begin \
                 with no token of their own; give at least one character"
                    .to_owned(),
            ));
        }
        requests.extend((0..args.num_samples).map(|index| Request {
            prompt: prompt.clone(),
            index: index as u64,
            max_new_tokens: args.max_new_tokens,
        }));
    }
    let options = GenerateOptions {
        sampling: SamplingOptions {
            temperature: f64::from(args.temperature),
            top_k: args.top_k,
            top_p: f64::from(args.top_p),
            seed: args.seed,
        },
        stop_tokens: encoder.stop_tokens(),
        max_batch_size: args.max_batch_size,
    };
    let stdout = Path::new("standard output");
    let mut output = BufWriter::new(io::stdout().lock());
    for requests in requests.chunks(CHUNK) {
        let completions = generate(&model, requests, &options, &|| false).unwrap_or_default();
        for (request, completion) in requests.iter().zip(completions) {
            let line = json!({
                "prompt_tokens": &*request.prompt,
                "tokens": completion.tokens,
                "text": encoder.tokenizer().decode(&completion.tokens)?,
                "finish_reason": completion.finish_reason.name(),
            });
            writeln!(output, "{line}").map_err(TrainError::io(stdout))?;
        }
        output.flush().map_err(TrainError::io(stdout))?;
    }
    Ok(())
}

/// `--raw` needs no chat template, and works with a model that has none.
enum Encoder {
    Raw(Box<Tokenizer>, Option<Box<ChatTokenizer>>),
    Chat(Box<ChatTokenizer>),
}

impl Encoder {
    fn new(args: &GenerateArgs, document_start: DocumentStart) -> Result<Self, TrainError> {
        let chat = ChatTokenizer::from_dir(&args.model, document_start);
        match args.raw {
            true => Ok(Encoder::Raw(
                Box::new(Tokenizer::from_dir(&args.model, document_start)?),
                chat.ok().map(Box::new),
            )),
            false => Ok(Encoder::Chat(Box::new(chat?))),
        }
    }

    fn tokenizer(&self) -> &Tokenizer {
        match self {
            Encoder::Raw(tokenizer, _) => tokenizer,
            Encoder::Chat(chat) => chat.tokenizer(),
        }
    }

    fn stop_tokens(&self) -> Vec<u32> {
        match self {
            Encoder::Raw(_, Some(chat)) | Encoder::Chat(chat) => chat.stop_ids(),
            Encoder::Raw(tokenizer, None) => vec![tokenizer.eos_id()],
        }
    }

    fn encode(&self, prompt: PromptRecord) -> Result<Vec<u32>, TrainError> {
        match (self, prompt) {
            (Encoder::Raw(tokenizer, _), PromptRecord::Text(text)) => {
                Ok(tokenizer.document(&text, DocumentEnd::Open)?)
            }
            (Encoder::Raw(..), PromptRecord::Messages(_)) => Err(TrainError::Usage(
                "`messages` need the chat template\nhint: leave out --raw, or give `prompt`"
                    .to_owned(),
            )),
            (Encoder::Chat(chat), prompt) => {
                let messages = match prompt {
                    PromptRecord::Text(text) => vec![Message::user(text)],
                    PromptRecord::Messages(messages) => messages,
                };
                Ok(chat.encode_chat(&messages, GenerationPrompt::Add)?)
            }
        }
    }
}
