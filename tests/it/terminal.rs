//! The program in a terminal: the viewer comes and goes, the run does not notice.

use std::io::{Read, Write};
use std::num::NonZero;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use portable_pty::{Child, CommandBuilder, MasterPty, PtySize, native_pty_system};

use crate::checkpoints::scratch;
use crate::control::{STEPS, asked, has_steps, training, undisturbed, wait_until, weights};
use crate::program::{events, text, trainer};

const SIZE: PtySize = PtySize {
    rows: 40,
    cols: 120,
    pixel_width: 0,
    pixel_height: 0,
};

/// A program in a terminal of its own, and what a person would see there.
struct Terminal {
    master: Box<dyn MasterPty + Send>,
    keyboard: Box<dyn Write + Send>,
    child: Box<dyn Child + Send + Sync>,
    screen: Arc<Mutex<vt100::Parser>>,
    /// Has the terminal open, as this struct has.
    reader: JoinHandle<()>,
    is_closing: Arc<AtomicBool>,
}

impl Terminal {
    fn open(command: &Command) -> Self {
        let pty = native_pty_system().openpty(SIZE).expect("a terminal");
        let mut builder = CommandBuilder::new(command.get_program());
        builder.args(command.get_args());
        builder.env("TERM", "xterm-256color");
        let child = pty.slave.spawn_command(builder).expect("it starts");
        let mut output = pty.master.try_clone_reader().expect("a reader");
        let [rows, columns] = [SIZE.rows, SIZE.cols].map(|n| NonZero::new(n).expect("some"));
        let parser = vt100::Parser::new(rows, columns, 1000);
        let screen = Arc::new(Mutex::new(parser));
        let is_closing = Arc::new(AtomicBool::new(false));
        let (shown, closing) = (screen.clone(), is_closing.clone());
        let reader = std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(count @ 1..) = output.read(&mut bytes)
                && !closing.load(Ordering::Relaxed)
            {
                shown.lock().expect("no panic").process(&bytes[..count]);
            }
        });
        Terminal {
            keyboard: pty.master.take_writer().expect("a writer"),
            master: pty.master,
            child,
            screen,
            reader,
            is_closing,
        }
    }

    /// Closes the terminal as a window is closed. Its program is told by SIGHUP.
    fn close(mut self) -> Box<dyn Child + Send + Sync> {
        self.is_closing.store(true, Ordering::Relaxed);
        // The reader notices with the next thing that is drawn.
        self.press("2");
        self.reader.join().expect("no panic");
        drop((self.keyboard, self.master));
        self.child
    }

    fn text(&self) -> String {
        self.screen.lock().expect("no panic").screen().contents()
    }

    /// Whether a full-screen program holds the terminal.
    fn is_drawn_on(&self) -> bool {
        let screen = self.screen.lock().expect("no panic");
        screen.screen().alternate_screen()
    }

    fn wait_for(&self, words: &str) {
        wait_until(words, || self.text().contains(words));
    }

    /// Waits until the viewer shows a run.
    fn wait_for_viewer(&self, run: &str) {
        wait_until(run, || self.is_drawn_on() && self.text().contains(run));
    }

    fn press(&mut self, keys: &str) {
        self.keyboard
            .write_all(keys.as_bytes())
            .expect("a keyboard");
        self.keyboard.flush().expect("a keyboard");
    }

    /// Waits for the end of the program; gives its exit code.
    fn end(&mut self) -> u32 {
        let mut status = None;
        wait_until("the program ends", || {
            status = self.child.try_wait().expect("a child can be asked");
            status.is_some()
        });
        // What it wrote last may still be on its way through the terminal.
        wait_until("the screen is given back", || !self.is_drawn_on());
        status.expect("it ended").exit_code()
    }
}

fn is_finished(run_dir: &Path) -> bool {
    !events(run_dir, "finished").is_empty()
}

#[test]
fn a_run_is_shown_in_the_terminal_and_goes_on_when_the_viewer_is_left() {
    let dir = scratch("terminal-detach");
    let whole = undisturbed("sft", &dir.join("whole"));
    let run_dir = dir.join("shown");
    let mut terminal = Terminal::open(training("sft", &run_dir).args(STEPS));
    terminal.wait_for_viewer("terminal-detach/shown");
    terminal.press("2");
    terminal.press("?");
    terminal.press("\x1b");
    terminal.press("1");
    terminal.press("q");
    assert_eq!(terminal.end(), 0);
    terminal.wait_for("trainer control");
    let left = terminal.text();
    assert!(left.contains("the run goes on"), "{left}");
    wait_until("the run ends", || is_finished(&run_dir));
    assert!(whole == weights(&run_dir));
    let log = std::fs::read_to_string(run_dir.join("trainer.log")).expect("a log");
    assert!(log.contains("step 300/300"), "{log}");
}

#[test]
fn closing_the_terminal_ends_the_viewer_and_not_the_run() {
    let dir = scratch("terminal-closed");
    let whole = undisturbed("sft", &dir.join("whole"));
    let run_dir = dir.join("shown");
    let mut command = training("sft", &run_dir);
    let terminal = Terminal::open(command.args(STEPS).args(["--tui", "always"]));
    terminal.wait_for_viewer("terminal-closed/shown");
    wait_until("a step", || has_steps(&run_dir, 1));
    asked(&run_dir, "pause");
    let ended = terminal.close().wait().expect("it ends");
    assert!(ended.signal().is_some(), "{ended}");
    assert!(!is_finished(&run_dir), "the viewer ended first");
    asked(&run_dir, "continue");
    wait_until("the run ends", || is_finished(&run_dir));
    assert_eq!(events(&run_dir, "finished")[0]["reason"], "completed");
    assert!(whole == weights(&run_dir));
}

#[test]
fn the_viewer_stays_when_the_trainer_ends_and_then_ends_as_it_did() {
    let dir = scratch("terminal-ends");
    let run_dir = dir.join("shown");
    let mut command = training("sft", &run_dir);
    let mut terminal = Terminal::open(command.args(["--max-steps", "3000"]));
    terminal.wait_for_viewer("terminal-ends/shown");
    wait_until("a step", || has_steps(&run_dir, 1));
    asked(&run_dir, "stop");
    terminal.wait_for("the trainer was stopped");
    terminal.press("q");
    assert_eq!(terminal.end(), 130);
    terminal.wait_for("--resume auto");

    // The same run, gone on with for a last step or two.
    let steps = events(&run_dir, "step").len() + 2;
    let mut command = training("sft", &run_dir);
    let mut terminal = Terminal::open(command.args(["--max-steps", &steps.to_string()]));
    wait_until("the end", || {
        let text = terminal.text();
        text.contains("the trainer is done") || text.contains("checkpoint-")
    });
    terminal.press("q");
    assert_eq!(terminal.end(), 0);
    terminal.wait_for(&format!("checkpoint-{steps}"));
}

#[test]
fn a_trainer_that_cannot_begin_is_answered_for_without_a_viewer() {
    let dir = scratch("terminal-wrong");
    let missing = dir.join("missing.jsonl");
    let cases: [(&[&str], u32, &str); 3] = [
        (&["--data", text(&missing)], 1, "missing.jsonl"),
        (&["--set", "learning_rate=-1"], 2, "learning_rate"),
        (&["--tui", "always", "--log-format", "json"], 2, "leave one"),
    ];
    for (arguments, code, words) in cases {
        let run_dir = dir.join(code.to_string());
        let mut terminal = Terminal::open(training("sft", &run_dir).args(arguments));
        assert_eq!(terminal.end(), code, "{arguments:?}");
        terminal.wait_for(words);
        let text = terminal.text();
        assert_eq!(text.matches(words).count(), 1, "told once: {text}");
    }
    let no_terminal = training("sft", &dir.join("none"))
        .args(["--tui", "always"])
        .output()
        .expect("it starts");
    assert_eq!(no_terminal.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&no_terminal.stderr).contains("needs a terminal"));
}

#[test]
fn a_finished_run_is_watched_and_left_with_the_screen_as_it_was() {
    let dir = scratch("terminal-watch");
    let run_dir = dir.join("finished");
    let mut command = training("sft", &run_dir);
    let ended = command.args(["--max-steps", "3"]).output();
    assert!(ended.expect("it starts").status.success());
    let log = |run_dir: &Path| std::fs::read(run_dir.join("events.jsonl")).expect("a log");
    let before = log(&run_dir);
    for leave in ["q", "\x03"] {
        let mut command = trainer();
        let mut terminal = Terminal::open(command.args(["watch", text(&run_dir)]));
        terminal.wait_for_viewer("terminal-watch/finished");
        terminal.wait_for("loss");
        terminal.press(leave);
        assert_eq!(terminal.end(), 0);
    }
    assert!(before == log(&run_dir));
}
