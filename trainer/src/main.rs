//! `trainer`: see `trainer --help`.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    match trainer::commands::run(trainer::cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            trainer::say::failure(&error);
            ExitCode::from(error.exit_code())
        }
    }
}
