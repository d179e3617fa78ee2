//! What a person who runs the program sees: progress on standard error, results on standard output.
//!
//! With [`LogFormat::Json`] standard error carries the lines of the event log instead, and nothing
//! else, so that a program can read it.

use std::fmt::Arguments;
use std::io::{ErrorKind, Write};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use telemetry::{Clock, Event, EventLog, Fields, Line, SystemClock, event};

use crate::TrainError;
use crate::cli::LogFormat;

static FORMAT: OnceLock<LogFormat> = OnceLock::new();

/// Whether the error that ends the program stands in an event that has been shown.
static HAS_SHOWN_FAILURE: AtomicBool = AtomicBool::new(false);

/// As `eprintln!`, but where standard error cannot be written the line is lost and nothing else: it
/// may lead to a file on a disk that is full, or to a terminal that is gone, and `eprintln!` would
/// end a run of days with a panic. With `--log-format json` it is not for this program's reader.
#[macro_export]
macro_rules! say {
    ($($line:tt)*) => {
        $crate::say::line(format_args!($($line)*))
    };
}

/// Writes a line; see [`say!`].
pub fn line(line: Arguments<'_>) {
    if !is_json() {
        let _ = writeln!(std::io::stderr(), "{line}");
    }
}

/// Decides what standard error carries, once for the process.
pub fn set_format(format: LogFormat) {
    FORMAT.get_or_init(|| format);
}

/// The log, of which each line is also written to standard error where that is the format.
pub fn shown(log: EventLog) -> EventLog {
    match is_json() {
        false => log,
        true => log.observed_by(|line, json| {
            if matches!(line.event, Event::Failed(_)) {
                HAS_SHOWN_FAILURE.store(true, Ordering::Relaxed);
            }
            let _ = std::io::stderr().write_all(json.as_bytes());
        }),
    }
}

/// A warning that no event log has.
pub fn warning(message: &str) {
    say!("warning: {message}");
    show(|| event::Warning::new(message));
}

/// A remark that no event log has.
pub fn note(message: &str) {
    say!("note: {message}");
    show(|| event::Warning::new(message));
}

/// The error that ends the program.
pub fn failure(error: &TrainError) {
    say!("error: {error}");
    let is_shown = HAS_SHOWN_FAILURE.load(Ordering::Relaxed);
    // The log has the end of a run that was stopped as `finished`.
    if !is_shown && !matches!(error, TrainError::Stopped { .. }) {
        show(|| event::Failed {
            message: error.to_string(),
            fields: Fields::new(),
        });
    }
}

/// Results, to standard output. The reader may be gone without harm; of what else goes wrong the
/// user hears, since they are written nowhere else.
pub fn results(text: &str) {
    let mut stdout = std::io::stdout().lock();
    if let Err(error) = stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush())
        && error.kind() != ErrorKind::BrokenPipe
    {
        warning(&format!(
            "the results could not be written to standard output: {error}"
        ));
    }
}

fn is_json() -> bool {
    FORMAT.get() == Some(&LogFormat::Json)
}

fn show<E: Into<Event>>(event: impl FnOnce() -> E) {
    if is_json() {
        let line = Line::new(SystemClock::new().now_ms(), event());
        let _ = std::io::stderr().write_all(line.to_json().as_bytes());
    }
}
