//! The subcommands: what each one takes.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

use super::values::{FrameSize, dtype, temperature, top_p};
use crate::recipe::Dtype;
use kernels::device::{DEVICE_HELP, DeviceName};

/// Write the log-probability of every token of some texts.
///
/// Reads a line of `{"text"}` or `{"messages"}` at a time and writes a line of
/// `{"tokens":[...],"logprobs":[...]}` for each: `logprobs[i] = ln p(tokens[i+1] | tokens[..=i])`.
#[derive(Debug, Clone, Args)]
#[command(after_long_help = "Example:\n  trainer score --model gemma-2-2b --data texts.jsonl")]
pub struct ScoreArgs {
    /// Model: a Hugging Face folder with config.json, safetensors and tokenizer.json.
    #[arg(long, value_name = "DIR")]
    pub model: PathBuf,

    /// Texts, one JSON object a line.
    #[arg(long, value_name = "FILE.jsonl")]
    pub data: PathBuf,

    /// Write to this file instead of standard output.
    #[arg(long, value_name = "FILE")]
    pub output: Option<PathBuf>,

    /// Where to compute.
    #[arg(long, value_name = "D", default_value_t, help = DEVICE_HELP)]
    pub device: DeviceName,

    /// Number format of the computation.
    #[arg(long, value_parser = dtype(), default_value = "auto")]
    pub dtype: Dtype,
}

/// Write completions.
///
/// Writes a line of `{"prompt_tokens":[...],"tokens":[...],"text":...,"finish_reason":...}` for
/// each completion. A sample depends on the seed, the prompt and its number, never on the batch.
#[derive(Debug, Clone, Args)]
#[command(
    after_long_help = "Examples:\n  trainer generate --model runs/sft/checkpoint-500 \
                       --prompt 'Translate into German: Good morning.'\n  \
                       trainer generate --model gemma-2-2b --data prompts.jsonl \
                       --temperature 1 --num-samples 4"
)]
pub struct GenerateArgs {
    /// Model: a Hugging Face folder with config.json, safetensors and tokenizer.json.
    #[arg(long, value_name = "DIR")]
    pub model: PathBuf,

    #[command(flatten)]
    prompts: Prompts,

    /// Complete the text itself, without the model's chat template.
    #[arg(long)]
    pub raw: bool,

    /// Longest completion, in tokens.
    #[arg(long, value_name = "N", default_value_t = 256)]
    pub max_new_tokens: usize,

    /// Divides the logits before sampling; 0 takes the likeliest token each time.
    #[arg(long, value_name = "T", default_value_t = 0.0, value_parser = temperature)]
    pub temperature: f32,

    /// Sample from this many likeliest tokens; 0 is all of them.
    #[arg(long, value_name = "K", default_value_t = 0)]
    pub top_k: usize,

    /// Sample from the likeliest tokens that together have this probability; 1 is all of them.
    #[arg(long, value_name = "P", default_value_t = 1.0, value_parser = top_p)]
    pub top_p: f32,

    /// Completions of each prompt.
    #[arg(long, value_name = "N", default_value = "1", value_parser = at_least_one)]
    pub num_samples: usize,

    /// Most completions that are decoded side by side.
    #[arg(long, value_name = "N", default_value = "32", value_parser = at_least_one)]
    pub max_batch_size: usize,

    /// Seed of sampling.
    #[arg(long, value_name = "N", default_value_t = 42)]
    pub seed: u64,

    /// Where to compute.
    #[arg(long, value_name = "D", default_value_t, help = DEVICE_HELP)]
    pub device: DeviceName,

    /// Number format of the computation.
    #[arg(long, value_parser = dtype(), default_value = "auto")]
    pub dtype: Dtype,
}

#[derive(Debug, Clone, Args)]
#[group(required = true, multiple = false)]
struct Prompts {
    /// One prompt.
    #[arg(long, value_name = "TEXT")]
    prompt: Option<String>,

    /// Prompts: a line of {"prompt"} or {"messages"} each.
    #[arg(long, value_name = "FILE.jsonl")]
    data: Option<PathBuf>,
}

/// Where `generate` takes its prompts from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PromptSource<'a> {
    /// The command line.
    Text(&'a str),
    /// A file of JSON Lines.
    File(&'a Path),
}

impl GenerateArgs {
    /// Where the prompts come from.
    pub fn prompts(&self) -> PromptSource<'_> {
        match (&self.prompts.prompt, &self.prompts.data) {
            (Some(text), _) => PromptSource::Text(text),
            (None, Some(file)) => PromptSource::File(file),
            (None, None) => unreachable!("clap asks for one of the two"),
        }
    }
}

/// Compute BLEU, chrF and chrF++ as sacreBLEU does.
#[derive(Debug, Clone, Args)]
#[command(
    after_long_help = "Example:\n  trainer metrics --hypotheses out.txt --references ref.txt \
                             --metrics bleu,chrf --tokenize zh --json"
)]
pub struct MetricsArgs {
    /// Translations, one segment a line.
    #[arg(long, value_name = "FILE")]
    pub hypotheses: PathBuf,

    /// References, one segment a line; an empty line is an empty segment.
    #[arg(long, value_name = "FILE")]
    pub references: PathBuf,

    /// Which metrics, with commas between them.
    #[arg(
        long,
        value_name = "LIST",
        value_enum,
        value_delimiter = ',',
        default_value = "bleu,chrf,chrf++"
    )]
    pub metrics: Vec<Metric>,

    /// How BLEU cuts a segment into tokens.
    #[arg(long, value_name = "NAME", value_enum, default_value_t)]
    pub tokenize: Tokenization,

    /// Print one JSON object instead of a table.
    #[arg(long)]
    pub json: bool,
}

/// A metric of a corpus of translations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Metric {
    /// BLEU, 4-grams, exponential smoothing.
    Bleu,
    /// chrF2: character 6-grams.
    Chrf,
    /// chrF2++: chrF2 with word bigrams.
    #[value(name = "chrf++")]
    ChrfPlusPlus,
}

/// sacreBLEU's tokenizers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Tokenization {
    /// mteval-v13a, for languages with spaces.
    #[default]
    #[value(name = "13a")]
    Mteval13a,
    /// Chinese characters one by one, the rest as 13a.
    Zh,
    /// Every character.
    Char,
    /// The text as it is, cut at spaces.
    None,
}

/// Show a running or finished run in the terminal.
#[derive(Debug, Clone, Args)]
#[command(after_long_help = "Examples:\n  trainer watch runs/sft\n  \
                             trainer watch runs/sft --once --size 120x40    one frame as text")]
pub struct WatchArgs {
    /// The run's directory, or a folder of runs.
    #[arg(value_name = "RUN_DIR")]
    pub run_dir: PathBuf,

    /// Only look: the keys that ask the run for something do nothing.
    #[arg(long)]
    pub read_only: bool,

    /// Print one frame to standard output and exit; needs no terminal.
    #[arg(long)]
    pub once: bool,

    /// Size of the frame of --once.
    #[arg(long, value_name = "COLSxROWS", requires = "once")]
    pub size: Option<FrameSize>,
}

/// Say which devices, drivers and libraries work here, and what to do about those that are missing.
#[derive(Debug, Clone, Args)]
pub struct DoctorArgs {
    /// Check this device alone; auto checks all of them.
    #[arg(long, value_name = "D", default_value_t)]
    pub device: DeviceName,
}

pub(super) fn at_least_one(word: &str) -> Result<usize, String> {
    word.parse()
        .ok()
        .filter(|n| *n > 0)
        .ok_or_else(|| "expected a whole number, 1 or more".to_owned())
}
