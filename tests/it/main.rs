//! The workspace's one integration-test binary: what crosses crates, what compares with other
//! people's programs, and the program itself.

mod checkpoints;
mod compare;
mod devices;
mod generation;
mod golden;
mod grpo;
mod kernels;
mod parity;
mod preference;
mod program;
mod recompute;
mod tidy;
