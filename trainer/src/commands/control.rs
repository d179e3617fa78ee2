//! Asking a running trainer for something: a request into its control box, the answers from its
//! event log.

use std::io::ErrorKind;
use std::thread;
use std::time::Duration;

use telemetry::event::{self, ControlStatus};
use telemetry::{
    Clock, ControlAction, ControlBox, ControlRequest, Event, EventTail, Process, ProcessMark,
    RunDir, SystemClock, TelemetryError, Writer,
};

use crate::TrainError;
use crate::cli::ControlArgs;
use crate::recipe::StageName;
use crate::say;

/// How often the event log is read.
const PERIOD: Duration = Duration::from_millis(50);

/// How long nothing is said while the trainer does not answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// Leaves the request and, unless told not to, follows the log until it is answered.
pub(super) fn run(args: &ControlArgs) -> Result<(), TrainError> {
    let clock = SystemClock::new();
    let run_dir = running(args, &clock)?;
    let mut tail = EventTail::at_end(run_dir.events_file())?;
    let request = ControlBox::new(&run_dir)
        .send(args.action, &clock)
        .map_err(|error| unwritable(error, &run_dir))?;
    if args.no_wait {
        say::results(&format!("{} was asked for\n", args.action.name()));
        return Ok(());
    }
    let mut has_reminded = false;
    loop {
        // In this order: a trainer that has ended writes nothing more.
        let writer = run_dir.writer()?;
        let batch = tail.poll()?;
        for line in batch.lines {
            let answer = match line.event {
                Event::Control(answer) if answer.id == request.id => answer,
                _ => continue,
            };
            if is_last(&request, &answer)? {
                return Ok(());
            }
        }
        if !batch.at_end {
            continue;
        }
        if writer == Writer::Nobody {
            return Err(TrainError::Refused(format!(
                "the trainer of {} ended and did not see to this\n\
                 hint: `trainer watch {0}` shows why",
                run_dir.path().display()
            )));
        }
        if !has_reminded && clock.elapsed() >= PATIENCE {
            say!("the trainer answers between two steps; Ctrl-C ends the wait, not the request");
            has_reminded = true;
        }
        thread::sleep(PERIOD);
    }
}

/// Prints an answer. Returns whether it is what the user waits for.
fn is_last(request: &ControlRequest, answer: &event::Control) -> Result<bool, TrainError> {
    let action = request.action.name();
    match answer.status {
        ControlStatus::Accepted => {
            say::results(&format!("{action}: accepted\n"));
            // Both hold from the moment they are accepted.
            Ok(matches!(
                request.action,
                ControlAction::Pause | ControlAction::Continue
            ))
        }
        ControlStatus::Done => {
            say::results(&format!("{action}: done\n"));
            Ok(true)
        }
        ControlStatus::Refused => {
            let reason = answer.reason.as_deref().unwrap_or("the log says no reason");
            Err(TrainError::Refused(format!(
                "{action} was refused: {reason}"
            )))
        }
    }
}

/// The run that a trainer works on: at the path, or of a stage below it. Where its process is there and
/// no stage is at work at this moment, one is waited for.
fn running(args: &ControlArgs, clock: &dyn Clock) -> Result<RunDir, TrainError> {
    let path = args.run_dir.as_path();
    let mut has_told = false;
    loop {
        // In this order: between two stages a process is there that holds no run.
        let process = match path.is_dir() {
            true => ProcessMark::of(path)?,
            false => None,
        };
        let named = RunDir::open(path);
        let stages = StageName::ALL.map(|stage| RunDir::open(path.join(stage.as_str())));
        for run in named.iter().chain(stages.iter().flatten()) {
            if run.writer()? != Writer::Nobody {
                return Ok(run.clone());
            }
        }
        let Some(Process { pid, does }) = process else {
            let is_run = named.is_ok() || stages.iter().any(Result::is_ok);
            return Err(match named {
                Err(error) if !is_run => error.into(),
                _ => TrainError::Refused(format!(
                    "no trainer is at work on {}\nhint: `trainer watch {0}` shows what became of it; \
                     the command that started it goes on from its newest checkpoint",
                    path.display()
                )),
            });
        };
        let process = pid.map_or_else(String::new, |pid| format!(" (process {pid})"));
        if args.no_wait {
            return Err(TrainError::Refused(format!(
                "the trainer{process} {does}, and no stage of {} is training yet\nhint: without \
                 --no-wait this waits for one",
                path.display()
            )));
        }
        if !has_told && clock.elapsed() >= PATIENCE {
            say!("the trainer{process} {does}; the next stage that trains is asked");
            has_told = true;
        }
        thread::sleep(PERIOD);
    }
}

/// A box that one may not write into is that of somebody else.
fn unwritable(error: TelemetryError, run_dir: &RunDir) -> TrainError {
    match error {
        TelemetryError::Io { source, .. }
            if matches!(
                source.kind(),
                ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem
            ) =>
        {
            TrainError::Refused(format!(
                "{} may only be read here: {source}\nhint: ask as the user who started the run, on \
                 the machine where it runs",
                run_dir.path().display()
            ))
        }
        error => error.into(),
    }
}
