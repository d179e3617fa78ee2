//! The command line's verbs, one file each: wiring, no mathematics.

mod compare;
mod control;
mod doctor;
mod evaluate;
mod generate;
mod import;
mod inspect;
mod merge;
mod metrics;
mod opened;
mod plan;
mod replay;
mod report;
mod score;
mod scored_text;
mod train;
mod watch;

use kernels::KernelSet;

use crate::TrainError;
use crate::cli::Command;

/// Does what the user asks for.
///
/// # Errors
/// Whatever ends the command early; [`TrainError::exit_code`] says with which code.
pub fn run(command: Command) -> Result<(), TrainError> {
    KernelSet::from_env().map_err(TrainError::Usage)?;
    match command {
        Command::Train(args) => train::run(&args),
        Command::Score(args) => score::run(&args),
        Command::Generate(args) => generate::run(&args),
        Command::Evaluate(args) => evaluate::run(&args),
        Command::Metrics(args) => metrics::run(&args),
        Command::Inspect(args) => inspect::run(&args),
        Command::Compare(args) => compare::run(&args),
        Command::Merge(args) => merge::run(&args),
        Command::Import(args) => import::run(&args),
        Command::Plan(args) => plan::run(&args),
        Command::Replay(args) => replay::run(&args),
        Command::Report(args) => report::run(&args),
        Command::Doctor(args) => doctor::run(&args),
        Command::Watch(args) => watch::run(&args),
        Command::Control(args) => control::run(&args),
    }
}
