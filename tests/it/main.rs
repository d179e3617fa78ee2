//! The workspace's one integration-test binary: what crosses crates, what compares with other
//! people's programs, and the program itself.

mod best;
mod checkpoints;
mod compare;
mod control;
mod damaged;
mod devices;
mod evaluate;
mod full_disk;
mod generation;
mod going_back;
mod golden;
mod grpo;
#[cfg(all(
    feature = "cuda",
    target_os = "linux",
    any(target_arch = "x86_64", target_arch = "aarch64")
))]
mod half_precision;
mod held_out;
mod import;
mod kernels;
mod killed;
mod lora;
mod lora_runs;
mod merge;
mod mini_batches;
mod one_step_off_policy;
mod parity;
mod plan;
mod preference;
mod preflight;
mod program;
mod recompute;
mod replay;
mod report;
mod report_to;
mod reward_funcs;
mod sft_options;
mod stage_run;
#[cfg(all(
    feature = "cuda",
    target_os = "linux",
    any(target_arch = "x86_64", target_arch = "aarch64")
))]
mod stand_in;
mod stopped;
#[cfg(unix)]
mod terminal;
mod tidy;
mod timing;
mod trl;
mod unpaired;
mod watching;
