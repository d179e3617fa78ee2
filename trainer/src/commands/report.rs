use std::io::{self, Write};
use std::path::{Path, PathBuf};

use telemetry::atomic::write_atomic;
use telemetry::{Clock, SystemClock};
use tui::report::Report;

use crate::TrainError;
use crate::cli::{ReportArgs, ReportFormat};
use crate::say;

/// Writes the report, then checks what is required, so that a run which falls short has its page too.
pub(super) fn run(args: &ReportArgs) -> Result<(), TrainError> {
    let report = Report::read(&args.run_dir, SystemClock::new().now_ms())?;
    let text = match args.format {
        ReportFormat::Html => report.html(),
        ReportFormat::Md => report.markdown(),
        ReportFormat::Json => report.json(),
    };
    match output(args) {
        Some(path) => {
            write_atomic(&path, text)?;
            say!("{}", path.display());
        }
        None => {
            let stdout = Path::new("standard output");
            io::stdout()
                .write_all(text.as_bytes())
                .map_err(TrainError::io(stdout))?;
        }
    }
    check(args, &report)
}

/// The file to write; `None` is standard output.
fn output(args: &ReportArgs) -> Option<PathBuf> {
    match (&args.output, args.format) {
        (Some(path), _) if path.as_os_str() == "-" => None,
        (Some(path), _) => Some(path.clone()),
        (None, ReportFormat::Html) => Some(args.run_dir.join("report.html")),
        (None, _) => None,
    }
}

/// Says of each requirement whether it holds. One that cannot be looked up is the worse mistake.
fn check(args: &ReportArgs, report: &Report) -> Result<(), TrainError> {
    let (mut num_unmet, mut unknown) = (0, None);
    for requirement in &args.require {
        match report.check(requirement) {
            Ok(checked) => {
                say!("{checked}");
                num_unmet += usize::from(!checked.holds());
            }
            Err(error) => unknown = unknown.or(Some(error)),
        }
    }
    match (unknown, num_unmet) {
        (Some(error), _) => Err(TrainError::Usage(error.to_string())),
        (None, 0) => Ok(()),
        (None, _) => Err(TrainError::Unmet(format!(
            "{num_unmet} of {} requirements do not hold",
            args.require.len()
        ))),
    }
}
