//! How much of the logits is in memory at a time: what the implementations cut by, and what a plan
//! of a run's memory counts.

/// On the CPU: 32 MiB. The tests here have small ones, so that there are several.
const CPU_VALUES: usize = if cfg!(test) { 1 << 10 } else { 1 << 23 };
/// On GPUs: 128 MiB, what WebGPU lets a kernel see of a buffer.
const GPU_VALUES: usize = if cfg!(test) { 1 << 11 } else { 1 << 25 };

/// Tokens whose logits the CPU computes at a time, each over the whole vocabulary.
pub fn tokens_at_a_time(vocab: usize) -> usize {
    (CPU_VALUES / vocab).max(1)
}

/// Entries of the vocabulary that a GPU computes at a time, each for all tokens. A multiple of 64,
/// which keeps the rows of a chunk aligned in memory.
pub fn vocab_at_a_time(tokens: usize) -> usize {
    (GPU_VALUES / tokens / 64 * 64).max(64)
}
