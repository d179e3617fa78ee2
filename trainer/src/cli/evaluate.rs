use std::path::PathBuf;

use clap::Args;

use kernels::device::{DEVICE_HELP, DeviceName};

use super::tools::at_least_one;
use super::values::{dtype, temperature};
use crate::recipe::Dtype;

/// Measure a model on held-out files, and its translation against its general skills.
///
/// What is measured depends on what a file holds. Documents and conversations: loss and perplexity.
/// Translation pairs: chrF and BLEU of what the model writes, by language pair. Prompts with a
/// verifier: the mean reward, each part of it, and the share of answers that are right in every
/// part. Answers are greedy unless a temperature is given.
#[derive(Debug, Clone, Args)]
#[command(
    after_long_help = "Examples:\n  trainer evaluate --model runs/sft/checkpoint-500 --data dev.jsonl\n  \
                       trainer evaluate --model tower --suite suite.toml --output scores.json\n\n\
                       A suite:\n  max_new_tokens = 256\n  temperature = 0.0\n  samples = 1\n  seed = 42\n\n  \
                       [[data]]\n  file = \"wmt24.jsonl\"       # beside the suite\n  skill = \"translation\"\n\n  \
                       [[data]]\n  file = \"gsm8k.jsonl\"\n  skill = \"math\"\n  samples = 4            # here alone\n  \
                       temperature = 1.0"
)]
pub struct EvaluateArgs {
    /// Model: a Hugging Face folder with config.json, safetensors and tokenizer.json.
    #[arg(long, value_name = "DIR")]
    pub model: PathBuf,

    #[command(flatten)]
    files: Files,

    /// Also write the results to this file, as JSON.
    #[arg(long, value_name = "FILE.json")]
    pub output: Option<PathBuf>,

    /// Longest answer to a record of --data, in tokens.
    #[arg(long, value_name = "N", default_value = "256", value_parser = at_least_one)]
    pub max_new_tokens: usize,

    /// Divides the logits in answers to --data; 0 takes the likeliest token each time.
    #[arg(long, value_name = "T", default_value_t = 0.0, value_parser = temperature)]
    pub temperature: f32,

    /// Answers to each record of --data.
    #[arg(long, value_name = "N", default_value = "1", value_parser = at_least_one)]
    pub num_samples: usize,

    /// Seed of sampling in answers to --data.
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
#[group(required = true, multiple = true)]
struct Files {
    /// Files with their skills and how they are answered.
    #[arg(long, value_name = "FILE.toml")]
    suite: Option<PathBuf>,

    /// File to measure on, JSON Lines. May be repeated.
    #[arg(long, value_name = "FILE")]
    data: Vec<PathBuf>,
}

impl EvaluateArgs {
    /// The suite, where one is named.
    pub fn suite(&self) -> Option<&PathBuf> {
        self.files.suite.as_ref()
    }

    /// The files named one by one.
    pub fn data(&self) -> &[PathBuf] {
        &self.files.data
    }
}
