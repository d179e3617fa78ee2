use std::path::PathBuf;

use clap::Args;

use kernels::device::{DEVICE_HELP, DeviceName};

/// Run a recorded optimizer step once more and compare.
///
/// Training goes on from the newest checkpoint before the step, in a scratch folder; nothing is
/// written into RUN_DIR. What the step measures, and in reinforcement learning every completion with
/// its rewards, is compared with what the run's logs have. Exit code 0: the same bits; 1: not the
/// same, or the step cannot be run again.
#[derive(Debug, Clone, Args)]
#[command(after_long_help = "Example:\n  trainer replay runs/rl --step 120")]
pub struct ReplayArgs {
    /// The run's directory.
    #[arg(value_name = "RUN_DIR")]
    pub run_dir: PathBuf,

    /// The step to run again, from 1.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub step: u64,

    /// Where to compute; the run's own device unless given.
    #[arg(long, value_name = "D", help = DEVICE_HELP)]
    pub device: Option<DeviceName>,
}
