use std::cell::Cell;
use std::fmt;
use std::str::FromStr;
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
            Err(_) | Ok("") => Ok(KernelSet::Fused),
            Ok(word) => word.parse().map_err(|UnknownKernelSet| {
                format!("KEEP_KERNELS is `{word}`: expected `fused` or `reference`")
            }),
        }
    }
}

/// A word that names no set of kernels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected `fused` or `reference`")]
pub struct UnknownKernelSet;

impl FromStr for KernelSet {
    type Err = UnknownKernelSet;

    fn from_str(word: &str) -> Result<Self, UnknownKernelSet> {
        match word {
            "fused" => Ok(KernelSet::Fused),
            "reference" => Ok(KernelSet::Reference),
            _ => Err(UnknownKernelSet),
        }
    }
}

impl fmt::Display for KernelSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            KernelSet::Fused => "fused",
            KernelSet::Reference => "reference",
        })
    }
}

/// Runs `work` with one of the sets, whatever the process's own is. A tensor keeps the backward of
/// the set that made it.
pub fn with_kernel_set<T>(set: KernelSet, work: impl FnOnce() -> T) -> T {
    struct Restore(Option<KernelSet>);
    impl Drop for Restore {
        fn drop(&mut self) {
            SCOPED.set(self.0);
        }
    }
    let _restore = Restore(SCOPED.replace(Some(set)));
    work()
}

thread_local! {
    /// The set of the innermost [`with_kernel_set`]. The choice is made where an operation is
    /// called, on the caller's thread, never in a worker of it.
    static SCOPED: Cell<Option<KernelSet>> = const { Cell::new(None) };
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
    let process = || *SET.get_or_init(|| KernelSet::from_env().unwrap_or(KernelSet::Fused));
    SCOPED.get().unwrap_or_else(process)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scoped_set_ends_with_its_scope_even_by_a_panic() {
        let before = kernel_set();
        with_kernel_set(KernelSet::Reference, || {
            assert_eq!(kernel_set(), KernelSet::Reference);
            let inner = with_kernel_set(KernelSet::Fused, kernel_set);
            assert_eq!(
                (inner, kernel_set()),
                (KernelSet::Fused, KernelSet::Reference)
            );
        });
        let panicked = std::panic::catch_unwind(|| {
            with_kernel_set(KernelSet::Reference, || panic!("in the scope"))
        });
        assert!(panicked.is_err());
        assert_eq!(kernel_set(), before);
    }
}
