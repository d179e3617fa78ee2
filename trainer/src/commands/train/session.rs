//! Training with the viewer: the trainer is a process and a session of its own, the viewer is this
//! one, and they meet in the run's directory alone. Whatever becomes of the viewer or of its
//! terminal, the run goes on.

use std::cell::RefCell;
use std::env;
use std::ffi::{OsStr, OsString};
use std::fs::{File, OpenOptions};
use std::io::{IsTerminal, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::rc::Rc;
use std::thread;
use std::time::Duration;

use telemetry::{Clock, Event, EventTail, RunDir, SystemClock, TelemetryError, Writer};
use tui::{Access, WatchOptions};

use crate::TrainError;
use crate::cli::{LogFormat, TrainArgs, TuiMode};
use crate::recipe::StageName;
use crate::say;

/// Set for a trainer that a viewer starts. An environment variable and no flag, since the manifest
/// keeps the arguments for those who start the run again.
const OWN_SESSION: &str = "KEEP_OWN_SESSION";

/// How long a trainer may take to its first event before the viewer opens all the same. What is
/// wrong with files shows within this time, and is then told as if there were no viewer.
const PATIENCE: Duration = Duration::from_secs(2);

/// Lines of the trainer's log that are shown where it ended without a word.
const LAST_LINES: usize = 20;

/// Whether this process is to be the viewer.
pub(super) fn wants_viewer(args: &TrainArgs) -> Result<bool, TrainError> {
    let is_terminal = std::io::stdin().is_terminal()
        && std::io::stdout().is_terminal()
        && std::io::stderr().is_terminal();
    let can_draw = is_terminal && env::var_os("TERM").is_none_or(|term| term != "dumb");
    decide(args.tui, args.log_format, can_draw)
}

fn decide(tui: TuiMode, format: LogFormat, can_draw: bool) -> Result<bool, TrainError> {
    let usage = |message: &str| Err(TrainError::Usage(message.to_owned()));
    match (tui, format) {
        (TuiMode::Never, _) | (TuiMode::Auto, LogFormat::Json) => Ok(false),
        (TuiMode::Auto, LogFormat::Text) => Ok(can_draw),
        (TuiMode::Always, LogFormat::Json) => {
            usage("--tui always draws where --log-format json writes\nhint: leave one of them out")
        }
        (TuiMode::Always, LogFormat::Text) if !can_draw => usage(
            "--tui always needs a terminal as standard input, output and error\nhint: leave it out, \
             and show the run from a terminal with `trainer watch`",
        ),
        (TuiMode::Always, LogFormat::Text) => Ok(true),
    }
}

/// In a trainer that a viewer has started: leaves the terminal's session, so that neither its keys
/// nor its end mean this process.
pub(super) fn enter_own() {
    if env::var_os(OWN_SESSION).is_some() {
        #[cfg(unix)]
        if let Err(error) = nix::unistd::setsid() {
            say::warning(&format!("closing the terminal may end the run: {error}"));
        }
    }
}

/// Starts the trainer and watches it until the user leaves. Ends as the trainer did, if it has.
pub(super) fn watched(output: &Path) -> Result<(), TrainError> {
    let run_dir = RunDir::create(output)?;
    if let Writer::Process(pid) = run_dir.writer()? {
        return Err(TelemetryError::locked(output, pid).into());
    }
    let mut trainer = Trainer::start(output)?;
    // Ctrl-C ends only this process: whoever presses it while the trainer starts has to know of it.
    say!(
        "the trainer is starting, as process {}; what it says goes to {}\n{}",
        trainer.child.id(),
        trainer.log.path.display(),
        how_to_reach(output)
    );
    if let Some(status) = trainer.ended_at_once()? {
        say!("{}", without_error(&trainer.log.text()?));
        return trainer.outcome(status);
    }
    let trainer = Rc::new(RefCell::new(trainer));
    let watched = trainer.clone();
    let shown = tui::watch(
        output,
        WatchOptions {
            access: Access::Control,
            trainer: Some(Box::new(move || watched.borrow_mut().how_it_ended())),
        },
    );
    let mut trainer = trainer.borrow_mut();
    let Some(status) = trainer.status()? else {
        say!(
            "the run goes on in the background, as process {}\n{}",
            trainer.child.id(),
            how_to_reach(output)
        );
        return Ok(shown?);
    };
    shown?;
    trainer.outcome(status)
}

/// What to do about a run in the background.
fn how_to_reach(output: &Path) -> String {
    let dir = output.display();
    format!(
        "  trainer watch {dir}           comes back to it\n  \
           trainer control {dir} stop    ends it after a checkpoint"
    )
}

/// The trainer's process and what it writes.
struct Trainer {
    child: Child,
    log: Outlet,
    results: Outlet,
    /// The event logs of the runs that it may work on, from where it begins.
    events: Vec<EventTail>,
}

impl Trainer {
    fn start(output: &Path) -> Result<Self, TrainError> {
        let stages = StageName::ALL.map(|stage| output.join(stage.as_str()));
        let events = stages
            .iter()
            .map(PathBuf::as_path)
            .chain([output])
            .map(|dir| EventTail::at_end(dir.join("events.jsonl")))
            .collect::<Result<_, _>>()?;
        let (log, stderr) = Outlet::open(output.join("trainer.log"))?;
        let (results, stdout) = Outlet::open(output.join("results.txt"))?;
        let program = env::current_exe().map_err(TrainError::io(Path::new("this program")))?;
        let mut command = Command::new(&program);
        command
            .args(headless(env::args_os().skip(1)))
            .env(OWN_SESSION, "1")
            .stdin(Stdio::null())
            .stdout(stdout)
            .stderr(stderr);
        #[cfg(windows)]
        {
            use std::os::windows::process::CommandExt;
            const CREATE_NEW_PROCESS_GROUP: u32 = 0x200;
            const DETACHED_PROCESS: u32 = 0x8;
            command.creation_flags(CREATE_NEW_PROCESS_GROUP | DETACHED_PROCESS);
        }
        let child = command.spawn().map_err(TrainError::io(&program))?;
        Ok(Trainer {
            child,
            log,
            results,
            events,
        })
    }

    fn status(&mut self) -> Result<Option<ExitStatus>, TrainError> {
        self.child
            .try_wait()
            .map_err(TrainError::io(&self.log.path))
    }

    /// Waits for the beginning of a run. Where the trainer ends before it, there is nothing to watch.
    fn ended_at_once(&mut self) -> Result<Option<ExitStatus>, TrainError> {
        let clock = SystemClock::new();
        while clock.elapsed() < PATIENCE {
            if let Some(status) = self.status()? {
                return Ok(Some(status));
            }
            for events in &mut self.events {
                let lines = events.poll()?.lines;
                let mut began = lines.iter().map(|line| &line.event);
                if began.any(|event| matches!(event, Event::RunStarted(_))) {
                    return Ok(None);
                }
            }
            thread::sleep(Duration::from_millis(10));
        }
        Ok(None)
    }

    /// For the viewer; `None` while it runs.
    fn how_it_ended(&mut self) -> Option<String> {
        let status = self.status().ok().flatten()?;
        Some(match status.success() {
            true => "the trainer is done: q leaves and prints its results".to_owned(),
            false => format!("the trainer {}: q leaves and says why", ending(status)),
        })
    }

    /// Prints the results; an error of the trainer becomes that of this process.
    fn outcome(&self, status: ExitStatus) -> Result<(), TrainError> {
        say::results(&self.results.text()?);
        if status.success() {
            return Ok(());
        }
        let log = self.log.text()?;
        Err(TrainError::Trainer {
            code: exit_code(status),
            message: error_in(&log).map_or_else(
                || {
                    let path = self.log.path.display();
                    let (how, last) = (ending(status), last_lines(&log));
                    format!("the trainer {how}\n{last}\nhint: {path} has all that it said")
                },
                str::to_owned,
            ),
        })
    }
}

/// A file to which the trainer's standard output or error is added.
struct Outlet {
    path: PathBuf,
    /// What earlier trainers wrote ends here.
    begins: u64,
}

impl Outlet {
    fn open(path: PathBuf) -> Result<(Self, File), TrainError> {
        let file = OpenOptions::new().append(true).create(true).open(&path);
        let file = file.map_err(TrainError::io(&path))?;
        let begins = file.metadata().map_err(TrainError::io(&path))?.len();
        Ok((Outlet { path, begins }, file))
    }

    /// What this trainer has written.
    fn text(&self) -> Result<String, TrainError> {
        let mut bytes = Vec::new();
        File::open(&self.path)
            .and_then(|mut file| {
                file.seek(SeekFrom::Start(self.begins))?;
                file.read_to_end(&mut bytes)
            })
            .map_err(TrainError::io(&self.path))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}

/// The arguments of a trainer without a viewer.
fn headless(arguments: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let mut kept = Vec::new();
    let mut arguments = arguments;
    while let Some(argument) = arguments.next() {
        if argument == "--tui" {
            arguments.next();
        } else if !starts_with(&argument, "--tui=") {
            kept.push(argument);
        }
    }
    kept.extend(["--tui", "never"].map(OsString::from));
    kept
}

fn starts_with(argument: &OsStr, start: &str) -> bool {
    argument.as_encoded_bytes().starts_with(start.as_bytes())
}

/// The error with which a trainer's log ends, where it does.
fn error_in(log: &str) -> Option<&str> {
    let log = log.trim_end();
    log.strip_prefix("error: ")
        .or_else(|| Some(log.rsplit_once("\nerror: ")?.1))
}

fn without_error(log: &str) -> &str {
    let log = log.trim_end();
    let error = error_in(log).map_or(0, |error| "error: ".len() + error.len());
    log[..log.len() - error].trim_end()
}

fn last_lines(log: &str) -> String {
    let lines: Vec<&str> = log.trim_end().lines().collect();
    lines[lines.len().saturating_sub(LAST_LINES)..].join("\n")
}

fn ending(status: ExitStatus) -> String {
    match (status.code(), signal(status)) {
        (Some(130), _) => "was stopped".to_owned(),
        (Some(code), _) => format!("ended with exit code {code}"),
        (None, Some(signal)) => format!("was killed by signal {signal}"),
        (None, None) => "ended without an exit code".to_owned(),
    }
}

/// As a shell has it: 128 and the signal for a process that was killed.
fn exit_code(status: ExitStatus) -> u8 {
    let killed = || signal(status).map(|signal| 128 + signal);
    let code = status.code().or_else(killed);
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1)
}

#[cfg(unix)]
fn signal(status: ExitStatus) -> Option<i32> {
    std::os::unix::process::ExitStatusExt::signal(&status)
}

#[cfg(not(unix))]
fn signal(_status: ExitStatus) -> Option<i32> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_viewer_shows_where_there_is_a_terminal_and_standard_error_is_free() {
        use LogFormat::{Json, Text};
        use TuiMode::{Always, Auto, Never};
        let decided = |tui, format, can_draw| decide(tui, format, can_draw).ok();
        assert_eq!(decided(Auto, Text, true), Some(true));
        assert_eq!(decided(Auto, Text, false), Some(false));
        assert_eq!(decided(Auto, Json, true), Some(false));
        assert_eq!(decided(Always, Text, true), Some(true));
        assert_eq!(decided(Always, Text, false), None);
        assert_eq!(decided(Always, Json, true), None);
        assert_eq!(decided(Never, Text, true), Some(false));
    }

    #[test]
    fn the_trainer_gets_the_same_arguments_and_no_viewer() {
        let headless = |line: &str| {
            headless(line.split(' ').map(OsString::from))
                .join(OsStr::new(" "))
                .into_string()
                .expect("plain words")
        };
        let expected = "--stage sft --output runs/a --tui never";
        assert_eq!(headless("--stage sft --output runs/a"), expected);
        assert_eq!(
            headless("--stage sft --tui always --output runs/a"),
            expected
        );
        assert_eq!(headless("--tui=auto --stage sft --output runs/a"), expected);
    }

    #[test]
    fn an_error_is_told_as_it_was_and_a_silent_end_by_the_lines_before_it() {
        let log = "device cpu\nerror: first\nmore\nerror: no data\nhint: name some\n";
        assert_eq!(error_in(log), Some("no data\nhint: name some"));
        assert_eq!(without_error(log), "device cpu\nerror: first\nmore");
        assert_eq!(error_in("error: no model\n"), Some("no model"));
        assert_eq!(without_error("error: no model\n"), "");
        let log: Vec<String> = (0..50).map(|n| n.to_string()).collect();
        let log = log.join("\n");
        assert_eq!(error_in(&log), None);
        assert_eq!(without_error(&log), log);
        let last = last_lines(&log);
        assert!(last.starts_with("30\n") && last.ends_with("\n49"), "{last}");
        assert_eq!(last_lines(""), "");
    }

    #[cfg(unix)]
    #[test]
    fn exit_codes_are_the_trainers_and_of_a_killed_one_as_a_shell_has_them() {
        use std::os::unix::process::ExitStatusExt;
        assert_eq!(exit_code(ExitStatus::from_raw(3 << 8)), 3);
        assert_eq!(exit_code(ExitStatus::from_raw(9)), 137);
    }
}
