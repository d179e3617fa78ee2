//! How a run is doing, in one word.

/// How the run is doing now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// There is no event yet.
    Waiting,
    /// A process works on it but has taken no step.
    Booting,
    /// The same, from a checkpoint.
    Resuming,
    /// Events come.
    Running,
    /// It was asked to wait.
    Paused,
    /// No event for a little longer than a heartbeat.
    Quiet,
    /// No event for a minute.
    Stalled,
    /// No event for ten minutes: the process is most likely gone.
    Silent,
    /// It did all it was asked to.
    Finished,
    /// A person stopped it.
    Stopped,
    /// The loss was no number and the recipe says to stop then.
    Diverged,
    /// It ended with an error.
    Failed,
}

/// How it looks beside its word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    /// All is well.
    Good,
    /// Nothing is known yet, or it is over.
    Neutral,
    /// Worth a look.
    Worrying,
    /// Broken.
    Bad,
}

/// A trainer beats every ten seconds (`telemetry::Heartbeat`).
pub const QUIET_AFTER_MS: u64 = 15_000;
const STALLED_AFTER_MS: u64 = 60_000;
const SILENT_AFTER_MS: u64 = 600_000;

impl Status {
    /// A run that goes on and whose last event is that long ago.
    pub fn of_silence(silence_ms: u64, lively: Status) -> Self {
        match silence_ms {
            0..QUIET_AFTER_MS => lively,
            QUIET_AFTER_MS..STALLED_AFTER_MS => Self::Quiet,
            STALLED_AFTER_MS..SILENT_AFTER_MS => Self::Stalled,
            _ => Self::Silent,
        }
    }

    /// Whether more events are to be expected.
    pub fn is_over(self) -> bool {
        matches!(
            self,
            Self::Finished | Self::Stopped | Self::Diverged | Self::Failed
        )
    }

    /// Whether a trainer seems to be at work.
    pub fn is_lively(self) -> bool {
        !self.is_over() && !matches!(self, Self::Waiting | Self::Silent)
    }

    /// Glyph and word.
    pub fn label(self) -> &'static str {
        match self {
            Self::Waiting => "◌ waiting for the first event",
            Self::Booting => "◌ booting",
            Self::Resuming => "↻ resuming",
            Self::Running => "● running",
            Self::Paused => "‖ paused",
            Self::Quiet => "◐ quiet",
            Self::Stalled => "▲ stalled",
            Self::Silent => "✖ silent, presumed dead",
            Self::Finished => "✔ finished",
            Self::Stopped => "■ stopped",
            Self::Diverged => "✖ diverged",
            Self::Failed => "✖ failed",
        }
    }

    /// How to colour it.
    pub fn mood(self) -> Mood {
        match self {
            Self::Running | Self::Finished => Mood::Good,
            Self::Waiting | Self::Booting | Self::Resuming | Self::Paused | Self::Stopped => {
                Mood::Neutral
            }
            Self::Quiet | Self::Stalled => Mood::Worrying,
            Self::Silent | Self::Diverged | Self::Failed => Mood::Bad,
        }
    }
}
