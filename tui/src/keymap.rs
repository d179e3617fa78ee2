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
    /// What happened.
    Log,
}

impl Screen {
    /// All, in the order of their numbers.
    pub const ALL: [Self; 4] = [Self::Overview, Self::Metrics, Self::Samples, Self::Log];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Overview => "overview",
            Self::Metrics => "metrics",
            Self::Samples => "samples",
            Self::Log => "log",
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
    Freeze,
    LogY,
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
    Prompt,
    Levels,
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
use Screen::{Log, Metrics, Overview, Samples};

const ALL: &[Screen] = &Screen::ALL;
const CHARTS: &[Screen] = &[Overview, Metrics];

macro_rules! keys {
    ($( $screens:expr; $label:literal $keys:expr => $action:expr, $does:literal $(, $short:literal)?; )*) => {
        /// All keys. Lower case looks; nothing here acts on the run.
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
    ALL; "4" [Char('4')] => Action::Show(Log), "log and alerts", "log";
    ALL; "Tab" [Tab] => Action::NextScreen, "next screen";
    ALL; "Shift-Tab" [BackTab] => Action::PreviousScreen, "previous screen";

    &[Metrics]; "h j k l" [Char('h'), Left] => Action::Left, "move", "move";
    &[Metrics]; "" [Char('l'), Right] => Action::Right, "";
    &[Metrics]; "" [Char('j'), Down] => Action::Down, "";
    &[Metrics]; "" [Char('k'), Up] => Action::Up, "";
    &[Metrics]; "Enter" [Enter] => Action::Open, "zoom into the selected chart", "zoom";
    &[Metrics, Log]; "/" [Char('/')] => Action::Filter, "show only what holds these words", "filter";

    &[Samples]; "n" [Char('n'), Right, PageDown] => Action::NextGroup, "next group", "group";
    &[Samples]; "N" [Char('N'), Left, PageUp] => Action::PreviousGroup, "previous group";
    &[Samples]; "j k" [Char('j'), Down] => Action::Down, "next, previous completion", "completion";
    &[Samples]; "" [Char('k'), Up] => Action::Up, "";
    &[Samples]; "b" [Char('b')] => Action::Best, "the best completion", "best";
    &[Samples]; "w" [Char('w')] => Action::Worst, "the worst completion", "worst";
    &[Samples]; "o" [Char('o')] => Action::Order, "order of groups: latest, spread, best, worst", "order";
    &[Samples]; "t" [Char('t')] => Action::Prompt, "whole prompt or source alone", "prompt";

    &[Log]; "j k" [Char('j'), Down] => Action::Down, "scroll", "scroll";
    &[Log]; "" [Char('k'), Up] => Action::Up, "";
    &[Log]; "o" [Char('o')] => Action::Levels, "all, warnings and alerts, alerts", "levels";
    &[Metrics, Log]; "PgUp PgDn" [PageDown, Ctrl('d')] => Action::PageDown, "a page at a time";
    &[Metrics, Log]; "" [PageUp, Ctrl('u')] => Action::PageUp, "";
    &[Metrics, Samples, Log]; "g G" [Char('g'), Home] => Action::First, "first, last";
    &[Metrics, Samples, Log]; "" [Char('G'), End] => Action::Last, "";

    CHARTS; "y" [Char('y')] => Action::LogY, "logarithmic or linear values", "log y";
    CHARTS; "s" [Char('s')] => Action::Smoothing, "smoothing: off, 0.6, 0.9", "smooth";
    CHARTS; "+" [Char('+'), Char('=')] => Action::ZoomIn, "the last half of the steps shown", "window";
    CHARTS; "-" [Char('-')] => Action::ZoomOut, "twice the steps shown";
    CHARTS; "0" [Char('0')] => Action::ZoomAll, "all steps";

    ALL; "f" [Char('f')] => Action::Freeze, "freeze the picture; the log is still read", "freeze";
    ALL; "Esc" [Esc] => Action::Back, "back, or clear the filter";
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
    fn nothing_is_in_the_footer_without_a_label() {
        assert!(
            KEYS.iter()
                .all(|b| b.short.is_none() || !b.label.is_empty())
        );
        assert!(KEYS.iter().all(|b| b.label.is_empty() == b.does.is_empty()));
    }
}
