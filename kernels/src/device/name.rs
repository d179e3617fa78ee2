//! The names of devices on the command line.

use std::fmt;
use std::str::FromStr;

/// What `--device` says for itself.
pub const DEVICE_HELP: &str =
    "Where to compute: auto, cpu, cuda[:N], wgpu[:N], vulkan[:N] or metal";

/// A device, as a user names it. Whether this machine has it is another question.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum DeviceName {
    /// CUDA where there is a GPU for it, then a real GPU through wgpu, then the CPU.
    #[default]
    Auto,
    /// The CPU.
    Cpu,
    /// A CUDA GPU by its number; `cuda` is `cuda:0`.
    Cuda(usize),
    /// A GPU through wgpu, by its number or the best there is.
    Wgpu(Option<usize>),
    /// A GPU through wgpu with SPIR-V on Vulkan, by its number or the best there is.
    Vulkan(Option<usize>),
    /// The GPU of a Mac.
    Metal,
}

/// A word that names no device.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no device `{0}`; write auto, cpu, cuda[:N], wgpu[:N], vulkan[:N] or metal")]
pub struct UnknownDevice(
    /// The word.
    pub String,
);

impl FromStr for DeviceName {
    type Err = UnknownDevice;

    fn from_str(word: &str) -> Result<Self, UnknownDevice> {
        let unknown = || UnknownDevice(word.to_owned());
        let (name, number) = match word.split_once(':') {
            Some((name, digits)) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                (name, Some(digits.parse().map_err(|_| unknown())?))
            }
            Some(_) => return Err(unknown()),
            None => (word, None),
        };
        match (name, number) {
            ("auto", None) => Ok(Self::Auto),
            ("cpu", None) => Ok(Self::Cpu),
            ("cuda", number) => Ok(Self::Cuda(number.unwrap_or(0))),
            ("wgpu", number) => Ok(Self::Wgpu(number)),
            ("vulkan", number) => Ok(Self::Vulkan(number)),
            ("metal", None) => Ok(Self::Metal),
            _ => Err(unknown()),
        }
    }
}

impl fmt::Display for DeviceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.pad("auto"),
            Self::Cpu => f.pad("cpu"),
            Self::Cuda(number) => write!(f, "cuda:{number}"),
            Self::Wgpu(None) => f.pad("wgpu"),
            Self::Wgpu(Some(number)) => write!(f, "wgpu:{number}"),
            Self::Vulkan(None) => f.pad("vulkan"),
            Self::Vulkan(Some(number)) => write!(f, "vulkan:{number}"),
            Self::Metal => f.pad("metal"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_is_parsed_and_shown_alike() {
        for word in [
            "auto", "cpu", "cuda:0", "cuda:7", "wgpu", "wgpu:1", "vulkan", "vulkan:0", "metal",
        ] {
            assert_eq!(word.parse::<DeviceName>().expect(word).to_string(), word);
        }
        assert_eq!("cuda".parse(), Ok(DeviceName::Cuda(0)));
    }

    #[test]
    fn an_unknown_device_is_named_with_the_forms_that_are_allowed() {
        let too_many = "cuda:99999999999999999999";
        for word in [
            "tpu", "", "cpu:0", "metal:1", "cuda:", "cuda:-1", "cuda:x", "CUDA", "auto:0", too_many,
        ] {
            let error = word.parse::<DeviceName>().expect_err(word).to_string();
            assert!(
                error.contains(&format!("`{word}`")) && error.contains("vulkan[:N]"),
                "{error}"
            );
        }
    }
}
