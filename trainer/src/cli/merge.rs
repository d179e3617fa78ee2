use std::path::PathBuf;

use clap::Args;

use super::values::{dtype, finite};
use crate::recipe::Dtype;
use kernels::device::{DEVICE_HELP, DeviceName};

/// How far the sum of as many weights as models may be from 1: they are typed in decimals.
const SUM_TOLERANCE: f64 = 1e-6;

/// Add up checkpoints of one architecture: (1 - W) of the first and W of the second.
///
/// Every tensor is summed in float32 and stored in the first model's dtype, with the first model's
/// config.json and tokenizer. W may be any finite number; outside 0 to 1 it extrapolates.
///
/// More models take a --weight each, which add up to 1, or one --weight fewer, and the first model
/// has the rest. With --sweep, weights of the second model are tried on held-out files, and the best
/// merge is kept: the one whose mean over files of loss / (loss of the better of the two models) is
/// lowest, so that no file counts more because its texts are harder. The loss is the mean negative
/// log-likelihood of the supervised tokens.
#[derive(Debug, Clone, Args)]
#[command(
    after_long_help = "Examples:\n  trainer merge --model gemma-2-2b-it --model runs/sft/checkpoint-500 \
                       --weight 0.5 --output merged\n  \
                       trainer merge --model base --model a --model b --weight 0.3 --weight 0.3 \
                       --output merged\n  \
                       trainer merge --model gemma-2-2b-it --model runs/sft/checkpoint-500 \
                       --sweep 0.2,0.4,0.6,0.8 --data translation.jsonl general.jsonl \
                       --output merged"
)]
pub struct MergeArgs {
    /// Model: a Hugging Face folder. Given twice or more; the first one also gives config.json, the
    /// tokenizer and the dtypes.
    #[arg(long = "model", value_name = "DIR", required = true)]
    pub models: Vec<PathBuf>,

    /// Weight of the second model; with more models, of each but the first, or of all.
    #[arg(
        long = "weight",
        value_name = "W",
        value_parser = finite,
        allow_negative_numbers = true,
        required_unless_present = "sweep",
        conflicts_with = "sweep"
    )]
    weights: Vec<f64>,

    /// Weights of the second model to try, with commas between them.
    #[arg(
        long,
        value_name = "W,W,...",
        value_parser = finite,
        value_delimiter = ',',
        allow_negative_numbers = true,
        requires = "data"
    )]
    pub sweep: Vec<f64>,

    /// Held-out files for --sweep, each of one skill: a line of {"text"}, {"messages"} or a
    /// translation pair each.
    #[arg(long, value_name = "FILE.jsonl", num_args = 1.., requires = "sweep")]
    pub data: Vec<PathBuf>,

    /// Folder to write, which does not exist yet.
    #[arg(long, value_name = "DIR")]
    pub output: PathBuf,

    /// Where --sweep computes.
    #[arg(long, value_name = "D", default_value_t, help = DEVICE_HELP)]
    pub device: DeviceName,

    /// Number format of --sweep's computation.
    #[arg(long, value_parser = dtype(), default_value = "auto")]
    pub dtype: Dtype,
}

impl MergeArgs {
    /// A weight for each model.
    ///
    /// # Errors
    /// What is wrong with their number or their sum.
    pub fn weights(&self) -> Result<Vec<f32>, String> {
        let (models, weights) = (self.models.len(), self.weights.len());
        let sum: f64 = self.weights.iter().sum();
        let all = if models < 2 {
            return Err("one model cannot be merged\nhint: give --model twice or more".to_owned());
        } else if weights + 1 == models {
            std::iter::once(1.0 - sum)
                .chain(self.weights.iter().copied())
                .collect()
        } else if weights != models {
            return Err(format!(
                "{models} models and {weights} weights\nhint: give one --weight for each model but \
                 the first, or one for each"
            ));
        } else if (sum - 1.0).abs() > SUM_TOLERANCE {
            return Err(format!(
                "the weights add up to {sum}, not to 1\nhint: leave out the first one, and the \
                 first model has the rest"
            ));
        } else {
            self.weights.clone()
        };
        Ok(all.iter().map(|weight: &f64| *weight as f32).collect())
    }
}
