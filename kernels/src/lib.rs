//! Keep's operations. One folder each: the public function and the choice of implementation in
//! `mod.rs`, the definition of truth as plain tensor operations in `reference.rs`, and what runs in
//! its place in `cpu.rs` and `cube.rs`, with a hand-written backward.
//!
//! | operation | what it is |
//! |---|---|
//! | [`attention()`] | causal attention over a packed row of sequences |
//! | [`decode_attention()`] | one query a sequence against its cache |
//! | [`linear()`] | a linear layer's product: float32 in float32, also where burn rounds to TF32 |
//! | [`linear_logprobs()`] | hidden states × head → per-token statistics, no `[tokens, vocab]` kept |
//! | [`rms_norm()`], [`rms_norm_add()`] | both conventions, `w` and `1 + w`; with the residual sum |
//! | [`rope()`] | rotate-half position embedding |
//! | [`gated_mlp()`] | `act(gate) · up`, SiLU or tanh-GELU |
//! | [`embedding()`] | scaled look-up |
//! | [`sample()`] | the next token: temperature, top-k, top-p |
//! | [`decode_linear()`] | a matmul whose rows do not depend on how many there are |
//! | [`square_sum()`] | Σ x², for the global gradient norm |
//! | [`adamw()`] | one pass over parameter, gradient and moments |
//! | [`adamw_8bit()`] | the same with moments of eight bits, block by block |
//! | [`GradScale`] | the factor that clips a step's gradients, known to the device alone |
//!
//! This is the only crate with backend generics and device runtimes.
#![warn(missing_docs)]

pub mod adamw;
pub mod attention;
mod choice;
mod cpu;
#[cfg(feature = "cube")]
mod cube;
#[cfg(all(
    test,
    feature = "cuda",
    target_os = "linux",
    any(target_arch = "x86_64", target_arch = "aarch64")
))]
mod cuda_on_cpu;
pub mod decode_linear;
pub mod device;

pub mod embedding;
pub mod gated_mlp;
mod host_values;
pub mod kv_cache;
pub mod linear;
pub mod linear_logprobs;
#[cfg(test)]
mod parity;
#[cfg(test)]
mod random_shapes;
pub mod rms_norm;
pub mod rope;
pub mod sampling;
mod segments;
pub mod square_sum;

pub use adamw::eight_bit::{EightBitMoments, adamw_8bit};
pub use adamw::{AdamWStep, GradScale, adamw};
pub use attention::{AttentionOptions, attention};
pub use choice::{KernelSet, UnknownKernelSet, with_kernel_set};
pub use decode_linear::{DECODE_BLOCK, decode_linear};
pub use embedding::embedding;
pub use gated_mlp::{Activation, gated_mlp};
pub use host_values::HostValues;
pub use kv_cache::{CacheRows, LayerCache, decode_attention};
pub use linear::linear;
pub use linear_logprobs::{Logprobs, LogprobsOptions, linear_logprobs, weighted_logprobs};
pub use rms_norm::{NormWeight, rms_norm, rms_norm_add};
pub use rope::{Rotary, RotaryTable, rope};
pub use sampling::{Sampled, SamplingOptions, sample};
pub use segments::{Segment, Segments};
pub use square_sum::square_sum;
