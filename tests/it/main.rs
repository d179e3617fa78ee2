//! The workspace's one integration-test binary: what crosses crates, what compares with other
//! people's programs, and the program itself.

mod best;
mod checkpoints;
mod compare;
mod damaged;
mod devices;
mod full_disk;
mod generation;
mod golden;
mod grpo;
mod import;
mod kernels;
mod killed;
mod merge;
mod parity;
mod plan;
mod preference;
mod program;
mod recompute;
mod tidy;
