//! What has to be said twice.

use crate::keymap::Key;

/// A question that takes all keys until it is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Dialog {
    /// Whether to stop the run: a word has to be typed.
    Stop {
        /// The number of the run that it is about, also where another one is shown by now.
        run: usize,
        /// What has been typed of it.
        typed: String,
    },
}

/// What came of a key in a dialog.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reply {
    /// It is still open.
    Open,
    /// Nothing is to be done.
    No,
    /// Stop the run with that number.
    Stop(usize),
}

impl Dialog {
    /// The word that stops a run.
    pub const WORD: &'static str = "stop";

    /// The question, nothing typed yet.
    pub(super) fn stop(run: usize) -> Self {
        Self::Stop {
            run,
            typed: String::new(),
        }
    }

    /// Takes a key. Anything but the whole word means no.
    pub(super) fn press(&mut self, key: Key) -> Reply {
        let Self::Stop { run, typed } = self;
        match key {
            Key::Char(c) if c.is_ascii_graphic() && typed.len() < 16 => typed.push(c),
            Key::Backspace => drop(typed.pop()),
            Key::Enter if typed == Self::WORD => return Reply::Stop(*run),
            Key::Enter | Key::Esc | Key::Ctrl('c') => return Reply::No,
            _ => {}
        }
        Reply::Open
    }
}
