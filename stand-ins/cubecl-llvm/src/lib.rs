//! A stand-in for `cubecl-llvm`: the same names, no LLVM.
//!
//! `cubecl-cuda` can compile a kernel two ways, through LLVM or through CUDA C++ and NVRTC, and
//! links both. The real `cubecl-llvm` downloads a prebuilt LLVM in its build script. Keep selects
//! the C++ path with cubecl's feature `cuda-cpp`, so nothing here is ever called; this crate
//! exists for the names that `cubecl-cuda` mentions. Should a kernel reach it all the same, the
//! compiler answers with an error.
//!
//! The version in `Cargo.toml` is cubecl's: cargo ignores the patch, and the download comes back,
//! when the two part. `tests/it/tidy.rs` fails in that case.

#![forbid(unsafe_code)]

use core::fmt;

use cubecl_core::ir::nvidia::SmArch;
use cubecl_core::prelude::KernelDefinition;
use cubecl_environment::backtrace::BackTrace;
use cubecl_runtime::compiler::{CompilationError, Compiler};
use cubecl_runtime::kernel::BufferIOAttr;

/// The compiler that is never selected.
#[derive(Clone, Debug)]
pub struct PlironCompiler {
    pub target: LlvmTarget,
}

#[derive(Clone, Copy, Debug)]
pub enum LlvmTarget {
    Nvptx,
}

/// What `cubecl-cuda` fills in for the compiler. It ends with `..Default::default()`, so there is
/// one field more than it names.
#[derive(Clone, Debug, Default)]
pub struct PlironOptions {
    pub arch: Option<()>,
    pub sm_arch: Option<SmArch>,
    pub ptx_version: Option<nvptx::ptx_version::PtxVersion>,
    pub grid_constants: bool,
    pub cpu_buffer_alignment: Option<u32>,
}

/// What the compiler would produce. `cubecl-cuda` matches one variant and then `_`.
pub enum PlironArtifact {
    NvptxCode(NvptxModule),
    Other,
}

#[derive(Clone, Debug)]
pub struct NvptxModule {
    pub ptx: Vec<core::ffi::c_char>,
    pub entrypoint: String,
    pub ir: String,
    pub shared_memory_size: usize,
    pub io: Vec<BufferIOAttr>,
}

impl fmt::Display for PlironArtifact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PlironArtifact::NvptxCode(module) => f.write_str(&module.ir),
            PlironArtifact::Other => Ok(()),
        }
    }
}

impl Compiler for PlironCompiler {
    type Representation = PlironArtifact;
    type CompilationOptions = PlironOptions;

    fn compile(
        &mut self,
        _kernel: KernelDefinition,
        _options: &Self::CompilationOptions,
    ) -> Result<Self::Representation, CompilationError> {
        Err(CompilationError::Generic {
            reason: "this build has no LLVM; CUDA kernels compile through NVRTC (cubecl's feature \
                     `cuda-cpp`)"
                .into(),
            backtrace: BackTrace::capture(),
        })
    }

    fn extension(&self) -> &'static str {
        "ll"
    }

    fn lang_tag(&self) -> &'static str {
        "llvm"
    }
}

pub mod nvptx {
    pub mod ptx_version {
        use core::fmt;

        /// The PTX version of a driver. Only a cache key of the LLVM path reads it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub struct PtxVersion(());

        impl PtxVersion {
            /// `None`: without LLVM no PTX version is chosen.
            pub fn for_driver(_driver: i32) -> Option<Self> {
                None
            }
        }

        impl fmt::Display for PtxVersion {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("ptx")
            }
        }
    }
}

pub mod shared {
    pub mod lowered_features {
        use cubecl_core::ir::DeviceProperties;

        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum GpuTarget {
            Nvptx,
        }

        /// Called on the LLVM path alone, which is never taken: the device keeps its features.
        pub fn restrict_features(_props: &mut DeviceProperties, _target: GpuTarget) {}
    }
}
