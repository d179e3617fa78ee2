use std::sync::OnceLock;

use burn::backend::DispatchDevice;
use burn::tensor::{DType, Device, Tensor};

/// Which implementation of the operations runs, from the environment variable `KEEP_KERNELS`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KernelSet {
    /// Our own operation where the device has one.
    Fused,
    /// The plain tensor operations, on every device: slow, obvious, for debugging.
    Reference,
}

impl KernelSet {
    /// The set this process runs: `KEEP_KERNELS=reference` or, by default, `fused`.
    ///
    /// # Errors
    /// A sentence naming the variable, its value and the allowed ones.
    pub fn from_env() -> Result<Self, String> {
        match std::env::var("KEEP_KERNELS").as_deref() {
            Err(_) | Ok("" | "fused") => Ok(KernelSet::Fused),
            Ok("reference") => Ok(KernelSet::Reference),
            Ok(other) => Err(format!(
                "KEEP_KERNELS is `{other}`: expected `fused` or `reference`"
            )),
        }
    }
}

/// Whether our own operation takes this tensor, unless the reference was asked for: float32 on
/// burn-flex, float32 and half precision on a GPU.
pub(crate) fn fused<const D: usize>(x: &Tensor<D>) -> bool {
    let has_operation = match x.device().inner().as_dispatch() {
        DispatchDevice::Flex(_) => x.dtype() == DType::F32,
        #[cfg(feature = "cube")]
        DispatchDevice::Cube(_) => matches!(x.dtype(), DType::F32 | DType::F16 | DType::BF16),
        _ => false,
    };
    has_operation && kernel_set() == KernelSet::Fused
}

pub(crate) fn on_cpu(device: &Device) -> bool {
    matches!(
        device.clone().inner().as_dispatch(),
        DispatchDevice::Flex(_)
    )
}

fn kernel_set() -> KernelSet {
    static SET: OnceLock<KernelSet> = OnceLock::new();
    *SET.get_or_init(|| KernelSet::from_env().unwrap_or(KernelSet::Fused))
}
