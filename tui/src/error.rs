//! What can keep a run from being shown.

use std::io;

use telemetry::TelemetryError;

/// An error of the viewer; the run itself never notices.
#[derive(Debug, thiserror::Error)]
pub enum TuiError {
    /// The run directory or one of its logs cannot be read.
    #[error(transparent)]
    Run(#[from] TelemetryError),
    /// The terminal cannot be drawn on or read from.
    #[error("cannot use the terminal: {0}")]
    Terminal(#[from] io::Error),
    /// Standard output is a file or a pipe.
    #[error(
        "standard output is no terminal\nhint: `--once --size 120x40` prints one picture of the run as text"
    )]
    NoTerminal,
}
