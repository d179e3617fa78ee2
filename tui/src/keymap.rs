//! The one table of keys: what is dispatched, what the footer shows and what help explains.

/// A key as the terminal reports it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key {
    Char(char),
    Ctrl(char),
    Enter,
    Esc,
    Tab,
    BackTab,
    Backspace,
    Up,
    Down,
    Left,
    Right,
    PageUp,
    PageDown,
    Home,
    End,
}

/// A screen, each a file in `views/`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Screen {
    /// Ten seconds' worth: alive, learning, cheating, when, what.
    #[default]
    Overview,
    /// Every curve.
    Metrics,
    /// What the model wrote.
    Samples,
    /// What it has read.
    Data,
    /// How it does on held-out data.
    Evaluation,
    /// What it runs on.
    System,
    /// What happened.
    Log,
    /// What is saved.
    Checkpoints,
    /// All runs of the folder.
    Runs,
}

impl Screen {
    /// All, in the order of their numbers.
    pub const ALL: [Self; 9] = [
        Self::Overview,
        Self::Metrics,
        Self::Samples,
        Self::Data,
        Self::Evaluation,
        Self::System,
        Self::Log,
        Self::Checkpoints,
        Self::Runs,
    ];

    /// Its place in [`Screen::ALL`].
    pub fn index(self) -> usize {
        self as usize
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Overview => "overview",
            Self::Metrics => "metrics",
            Self::Samples => "samples",
            Self::Data => "data",
            Self::Evaluation => "evaluation",
            Self::System => "system",
            Self::Log => "log",
            Self::Checkpoints => "checkpoints",
            Self::Runs => "runs",
        }
    }
}

/// What a key does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    Detach,
    Help,
    Back,
    Show(Screen),
    NextScreen,
    PreviousScreen,
    NextRun,
    PreviousRun,
    Freeze,
    LogY,
    XAxis,
    Smoothing,
    ZoomIn,
    ZoomOut,
    ZoomAll,
    Up,
    Down,
    Left,
    Right,
    First,
    Last,
    PageUp,
    PageDown,
    Open,
    Filter,
    NextGroup,
    PreviousGroup,
    Best,
    Worst,
    Order,
    Sort,
    Prompt,
    Difference,
    Levels,
    Mark,
    Copy,
    Export,
    Mouse,
    Pause,
    Checkpoint,
    Evaluate,
    Stop,
}

/// One row of the table.
#[derive(Debug)]
pub struct Binding {
    /// Any of these.
    pub keys: &'static [Key],
    /// As help and footer write them.
    pub label: &'static str,
    /// What they do.
    pub action: Action,
    /// The same in words.
    pub does: &'static str,
    /// A word for the footer, for keys worth showing there.
    pub short: Option<&'static str>,
    /// Where they do it.
    pub screens: &'static [Screen],
}

impl Binding {
    /// Whether the key is explained on that screen.
    pub fn is_on(&self, screen: Screen) -> bool {
        self.screens.contains(&screen)
    }
}

/// What a key does on a screen.
pub fn action(screen: Screen, key: Key) -> Option<Action> {
    let binding = KEYS
        .iter()
        .find(|binding| binding.is_on(screen) && binding.keys.contains(&key));
    binding.map(|binding| binding.action)
}

use Key::{
    BackTab, Char, Ctrl, Down, End, Enter, Esc, Home, Left, PageDown, PageUp, Right, Tab, Up,
};
use Screen::{Checkpoints, Data, Evaluation, Log, Metrics, Overview, Runs, Samples, System};

const ALL: &[Screen] = &Screen::ALL;
const CHARTS: &[Screen] = &[Overview, Metrics];
const ROWS: &[Screen] = &[Data, Evaluation, System, Log, Checkpoints, Runs];

macro_rules! keys {
    ($( $screens:expr; $label:literal $keys:expr => $action:expr, $does:literal $(, $short:literal)?; )*) => {
        /// All keys. Lower case looks; upper case acts on the run.
        pub const KEYS: &[Binding] = &[$(
            Binding {
                keys: &$keys,
                label: $label,
                action: $action,
                does: $does,
                short: [$(Some($short),)? None][0],
                screens: $screens,
            },
        )*];
    };
}

keys! {
    ALL; "1" [Char('1')] => Action::Show(Overview), "overview", "overview";
    ALL; "2" [Char('2')] => Action::Show(Metrics), "metrics: every curve", "metrics";
    ALL; "3" [Char('3')] => Action::Show(Samples), "samples: what the model wrote", "samples";
    ALL; "4" [Char('4')] => Action::Show(Data), "data: what it has read", "data";
    ALL; "5" [Char('5')] => Action::Show(Evaluation), "evaluation: held-out data by group", "eval";
    ALL; "6" [Char('6')] => Action::Show(System), "system: the machine", "system";
    ALL; "7" [Char('7')] => Action::Show(Log), "log and alerts", "log";
    ALL; "8" [Char('8')] => Action::Show(Checkpoints), "checkpoints", "checkpoints";
    ALL; "9" [Char('9')] => Action::Show(Runs), "runs of this folder", "runs";
    ALL; "Tab" [Tab] => Action::NextScreen, "next screen, Shift: previous";
    ALL; "" [BackTab] => Action::PreviousScreen, "";
    ALL; "[ ]" [Char(']')] => Action::NextRun, "previous, next run";
    ALL; "" [Char('[')] => Action::PreviousRun, "";

    &[Metrics]; "h j k l" [Char('h'), Left] => Action::Left, "move", "move";
    &[Metrics]; "" [Char('l'), Right] => Action::Right, "";
    &[Metrics]; "" [Char('j'), Down] => Action::Down, "";
    &[Metrics]; "" [Char('k'), Up] => Action::Up, "";
    &[Metrics]; "Enter" [Enter] => Action::Open, "the selected chart alone", "zoom";
    &[Metrics, Samples, Evaluation, Log]; "/" [Char('/')] => Action::Filter, "only what has these words", "filter";

    &[Samples]; "n N" [Char('n'), Right] => Action::NextGroup, "next, previous group", "group";
    &[Samples]; "" [Char('N'), Left] => Action::PreviousGroup, "";
    &[Samples]; "j k" [Char('j'), Down] => Action::Down, "next, previous completion", "pick";
    &[Samples]; "" [Char('k'), Up] => Action::Up, "";
    &[Samples]; "d" [Char('d')] => Action::Difference, "diff to reference or best", "diff";
    &[Samples]; "b w" [Char('b')] => Action::Best, "best, worst completion", "best, worst";
    &[Samples]; "" [Char('w')] => Action::Worst, "";
    &[Samples]; "t" [Char('t')] => Action::Prompt, "whole prompt, completions", "prompt";
    &[Samples]; "o" [Char('o')] => Action::Order, "order: latest, spread, …", "order";
    &[Samples]; "s" [Char('s')] => Action::Sort, "completions by reward", "sort";

    &[Runs]; "Enter" [Enter] => Action::Open, "look at the selected run", "open";
    &[Runs]; "Space" [Char(' ')] => Action::Mark, "its curves beside the others", "overlay";
    ROWS; "j k" [Char('j'), Down] => Action::Down, "move", "move";
    ROWS; "" [Char('k'), Up] => Action::Up, "";
    &[Log]; "o" [Char('o')] => Action::Levels, "all, warnings, alerts alone", "levels";
    &[Evaluation, Data]; "o" [Char('o')] => Action::Order, "order of the rows", "order";
    &[Metrics, Samples, Data, Evaluation, System, Log, Checkpoints, Runs]; "PgUp PgDn" [PageDown, Ctrl('d')] => Action::PageDown, "a page at a time";
    &[Metrics, Samples, Data, Evaluation, System, Log, Checkpoints, Runs]; "" [PageUp, Ctrl('u')] => Action::PageUp, "";
    &[Metrics, Samples, Data, Evaluation, System, Log, Checkpoints, Runs]; "g G" [Char('g'), Home] => Action::First, "first, last";
    &[Metrics, Samples, Data, Evaluation, System, Log, Checkpoints, Runs]; "" [Char('G'), End] => Action::Last, "";

    CHARTS; "x" [Char('x')] => Action::XAxis, "along steps, tokens or time", "x";
    CHARTS; "y" [Char('y')] => Action::LogY, "logarithmic or linear values", "log y";
    CHARTS; "s" [Char('s')] => Action::Smoothing, "smoothing: off, 0.6, 0.9", "smooth";
    CHARTS; "+ - 0" [Char('+'), Char('=')] => Action::ZoomIn, "the last half, twice it, all", "window";
    CHARTS; "" [Char('-')] => Action::ZoomOut, "";
    CHARTS; "" [Char('0')] => Action::ZoomAll, "";

    &[Samples, Checkpoints]; "y" [Char('y')] => Action::Copy, "copy the text or the command", "copy";
    &[Overview, Metrics, Samples, Data, Evaluation, Log]; "e" [Char('e')] => Action::Export, "export to the current folder";
    ALL; "f" [Char('f')] => Action::Freeze, "freeze the picture", "freeze";
    ALL; "m" [Char('m')] => Action::Mouse, "take the mouse, give it back";
    ALL; "Esc" [Esc] => Action::Back, "back, or clear the filter";
    ALL; "C" [Char('C')] => Action::Checkpoint, "run: checkpoint now";
    ALL; "V" [Char('V')] => Action::Evaluate, "run: evaluate now";
    ALL; "P" [Char('P')] => Action::Pause, "run: pause, continue";
    ALL; "S" [Char('S')] => Action::Stop, "run: stop, asks first";
    ALL; "?" [Char('?')] => Action::Help, "this help", "help";
    ALL; "q Ctrl-C" [Char('q'), Ctrl('c')] => Action::Detach, "detach: the run goes on", "detach";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_key_has_two_meanings_on_one_screen() {
        for screen in Screen::ALL {
            let mut seen = Vec::new();
            for key in KEYS.iter().filter(|b| b.is_on(screen)).flat_map(|b| b.keys) {
                assert!(!seen.contains(key), "{key:?} on {screen:?}");
                seen.push(*key);
            }
        }
    }

    #[test]
    fn every_screen_can_be_left_and_explained() {
        for screen in Screen::ALL {
            assert_eq!(action(screen, Key::Char('q')), Some(Action::Detach));
            assert_eq!(action(screen, Key::Ctrl('c')), Some(Action::Detach));
            assert_eq!(action(screen, Key::Char('?')), Some(Action::Help));
        }
    }

    #[test]
    fn only_upper_case_letters_act_on_the_run() {
        let acts = |action: Action| {
            use Action::{Checkpoint, Evaluate, Pause, Stop};
            matches!(action, Checkpoint | Evaluate | Pause | Stop)
        };
        for binding in KEYS.iter().filter(|binding| acts(binding.action)) {
            let is_upper = |key: &Key| matches!(key, Char(c) if c.is_ascii_uppercase());
            assert!(binding.keys.iter().all(is_upper), "{binding:?}");
        }
    }

    #[test]
    fn nothing_is_in_the_footer_without_a_label() {
        assert!(
            KEYS.iter()
                .all(|b| b.short.is_none() || !b.label.is_empty())
        );
        assert!(KEYS.iter().all(|b| b.label.is_empty() == b.does.is_empty()));
    }
}
