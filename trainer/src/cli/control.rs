use std::path::PathBuf;

use clap::Args;
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use telemetry::ControlAction;

/// Ask a running trainer for something, and wait for its answer.
///
/// The trainer looks for requests between two optimizer steps, and between those of a paused run.
/// What it answers is printed and stands in the event log. Interrupting this command takes nothing
/// back. Exits with 0 once it is done, and with 1 where it was refused or no trainer is there.
#[derive(Debug, Clone, Args)]
#[command(
    after_long_help = "Examples:\n  trainer control runs/sft checkpoint\n  \
                       trainer control runs/sft pause          until `continue`\n  \
                       trainer control runs/sft stop --no-wait"
)]
pub struct ControlArgs {
    /// The run's directory, or that of the last stage: then it goes to the stage that is running.
    #[arg(value_name = "RUN_DIR")]
    pub run_dir: PathBuf,

    /// What to ask for.
    #[arg(value_name = "ACTION", value_parser = action())]
    pub action: ControlAction,

    /// Leave the request and do not wait for the answer.
    #[arg(long)]
    pub no_wait: bool,
}

fn action() -> impl TypedValueParser<Value = ControlAction> {
    let words = ControlAction::ALL.map(|action| {
        PossibleValue::new(action.name()).help(match action {
            ControlAction::Checkpoint => "Save a checkpoint after this step",
            ControlAction::Evaluate => "Evaluate after this step; nothing is decided by it",
            ControlAction::Pause => "Wait after this step until told to continue",
            ControlAction::Continue => "Go on after a pause",
            ControlAction::Stop => "Save a checkpoint after this step and end the run",
        })
    });
    PossibleValuesParser::new(words).map(|word| {
        let mut known = ControlAction::ALL.into_iter();
        known
            .find(|action| action.name() == word)
            .expect("clap takes only words of the list")
    })
}
