use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use clap::Args;

use super::tools::at_least_one;
use super::values::dtype;
use crate::recipe::Dtype;
use kernels::KernelSet;
use kernels::device::{DEVICE_HELP, DeviceName};

/// Show block by block where two devices or two sets of kernels diverge, or what makes a NaN.
///
/// Runs one batch forward and backward on both sides and prints how far the second is from the
/// first: every block's activations, the gradients of its input and of every parameter. "same input"
/// is the error of the block alone and is held to the bound that rounding explains; "own path" is
/// what has added up on the way. Exits 0 where the sides agree and 1 where they diverge.
///
/// A side is a device, a set of kernels (fused or reference), or both, such as cpu/reference.
#[derive(Debug, Clone, Args)]
#[command(after_long_help = "Examples:\n  \
                       trainer compare --model gemma-2-2b --data texts.jsonl --a cpu --b wgpu\n  \
                       trainer compare --model gemma-2-2b --data texts.jsonl --a reference \
                       --b fused --device cuda\n  \
                       trainer compare --model gemma-2-2b --data texts.jsonl --a cpu/reference \
                       --b cuda:1 --dtype float32\n  \
                       trainer compare --model runs/sft/checkpoint-9 --data texts.jsonl --nan")]
pub struct CompareArgs {
    /// Model: a Hugging Face folder with config.json, safetensors and tokenizer.json.
    #[arg(long, value_name = "DIR")]
    pub model: PathBuf,

    /// Texts: a line of {"text"} or {"messages"} each. The first ones make the batch.
    #[arg(long, value_name = "FILE.jsonl")]
    pub data: PathBuf,

    /// The side that is taken to be right.
    #[arg(long, value_name = "SIDE", required_unless_present = "nan")]
    pub a: Option<SideName>,

    /// The side that is measured against it.
    #[arg(long, value_name = "SIDE", required_unless_present = "nan")]
    pub b: Option<SideName>,

    /// Find the first operation, forward and then backward, that makes a NaN or an infinity: on the
    /// sides that are named, or on --device.
    #[arg(long)]
    pub nan: bool,

    /// Most tokens in the batch.
    #[arg(long, value_name = "N", default_value = "512", value_parser = at_least_one)]
    pub max_tokens: usize,

    /// Where a side computes that names no device.
    #[arg(long, value_name = "D", default_value_t, help = DEVICE_HELP)]
    pub device: DeviceName,

    /// Number format of the computation.
    #[arg(long, value_parser = dtype(), default_value = "auto")]
    pub dtype: Dtype,
}

/// One way to compute: `DEVICE`, `KERNELS` or `DEVICE/KERNELS`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SideName {
    /// Where; `--device` where it is not said.
    pub device: Option<DeviceName>,
    /// With what; what the process runs where it is not said.
    pub kernels: Option<KernelSet>,
}

/// A word that names no side.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "there is no side `{0}`; write a device (auto, cpu, cuda[:N], wgpu[:N], vulkan[:N], metal), a \
     set of kernels (fused, reference), or both, such as cpu/reference"
)]
pub struct UnknownSide(
    /// The word.
    pub String,
);

impl FromStr for SideName {
    type Err = UnknownSide;

    fn from_str(word: &str) -> Result<Self, UnknownSide> {
        let unknown = || UnknownSide(word.to_owned());
        if let Some((device, kernels)) = word.split_once('/') {
            return Ok(SideName {
                device: Some(device.parse().map_err(|_| unknown())?),
                kernels: Some(kernels.parse().map_err(|_| unknown())?),
            });
        }
        match (word.parse(), word.parse()) {
            (Ok(kernels), _) => Ok(SideName {
                device: None,
                kernels: Some(kernels),
            }),
            (_, Ok(device)) => Ok(SideName {
                device: Some(device),
                kernels: None,
            }),
            _ => Err(unknown()),
        }
    }
}

impl fmt::Display for SideName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.device, self.kernels) {
            (Some(device), Some(kernels)) => write!(f, "{device}/{kernels}"),
            (Some(device), None) => device.fmt(f),
            (None, Some(kernels)) => kernels.fmt(f),
            (None, None) => f.pad("auto"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_side_is_a_device_or_kernels_or_both() {
        for word in [
            "cpu",
            "cuda:1",
            "wgpu",
            "fused",
            "reference",
            "cpu/reference",
            "cuda:0/fused",
        ] {
            assert_eq!(word.parse::<SideName>().expect(word).to_string(), word);
        }
        for word in ["", "tpu", "slow", "cpu/", "/fused", "cpu/slow", "fused/cpu"] {
            let error = word.parse::<SideName>().expect_err(word).to_string();
            assert!(
                error.contains(&format!("`{word}`")) && error.contains("reference"),
                "{error}"
            );
        }
    }
}
