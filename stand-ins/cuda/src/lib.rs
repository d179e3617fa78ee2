//! A CUDA driver and NVRTC that run kernels on the CPU, for tests.
//!
//! The library has the functions of libcuda and libnvrtc that cubecl's CUDA runtime calls. Under both
//! names in `LD_LIBRARY_PATH` it makes an H100 out of the host: NVRTC's part translates a kernel's
//! CUDA C++ and has the host's `c++` compile it against `cuda.h`, the driver's part loads
//! that and runs it on host memory, all within the call.
//!
//! Emulated, and strict where a GPU forgives: blocks of up to 1,024 threads as fibers, in an order that
//! alternates from block to block; `__syncthreads`, which all threads of a block have to reach at one
//! place; operations of a warp, at which its 32 lanes meet; `mma.sync` and `wmma` with
//! float32 sums; `ldmatrix`; `cp.async`, whose bytes arrive only at the wait that covers them and are
//! NaN before; shared memory that is NaN at first and ends at a page that may not be touched; pitched
//! copies. What breaks a rule ends the process with a message.
//!
//! Absent: the timing and scheduling of a GPU, approximations of its fast functions, fused
//! multiply-add where nobody asked for one, a check of addresses in global memory, graphs, clusters,
//! TMA, `mbarrier`, 8-bit floats and several devices. A function of the driver that is missing makes
//! cudarc panic with its name, an instruction that is missing is an error of the compiler with its.
#![cfg(all(
    target_os = "linux",
    any(target_arch = "x86_64", target_arch = "aarch64")
))]

mod block;
mod driver;
mod fiber;
mod nvrtc;
mod shared_memory;
#[cfg(test)]
mod tests;
mod translate;
mod warp;
