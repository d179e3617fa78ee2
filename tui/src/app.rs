//! All that the viewer knows, and how each message changes it. There is no input or output here.

mod dialog;
mod press;
mod run_view;

use telemetry::{ControlAction, Line, SampleEntry, SampleRecord};

use crate::keymap::{Key, Screen};
use crate::store::Store;
use crate::store::journal::Level;
use crate::theme::Theme;
use crate::widgets::line_chart::ChartOptions;

pub use dialog::Dialog;
pub use run_view::{Asked, RunView};

/// Something that happened.
#[derive(Debug)]
pub enum Msg {
    /// A key was pressed.
    Key(Key),
    /// The mouse was pressed on that cell.
    Click(u16, u16),
    /// The screen has this many columns and rows.
    Size(u16, u16),
    /// It is this late, in milliseconds since 1970.
    Time(u64),
    /// There is one more run of that name at that path; its number is that of those before it.
    Found(String, String),
    /// Something about the run with that number.
    Run(usize, RunMsg),
    /// A request was put into a run's control box under this id.
    Asked(usize, ControlAction, String),
    /// A sentence for the user, and whether it is good news.
    Notice(Level, String),
    /// A file of the run cannot be read at the moment, or can be again.
    Trouble(Option<String>),
    /// The trainer that this viewer was started beside has ended; how, in a sentence.
    TrainerEnded(String),
}

/// Something that happened to a run.
#[derive(Debug)]
pub enum RunMsg {
    /// The first and the latest lines of its log, which is not read as a whole now.
    Glance(Vec<Line>),
    /// Its log begins anew; what was read is void.
    Restarted,
    /// Lines of its log were read.
    Lines {
        /// In order.
        lines: Vec<Line>,
        /// Whether that was all there is.
        at_end: bool,
    },
    /// What of its log could not be used so far.
    Unusable {
        /// Lines that are no events.
        malformed: u64,
        /// Lines written by a newer version.
        newer: u64,
    },
    /// Its samples begin anew.
    SamplesRestarted,
    /// Groups of samples were found.
    Samples(Vec<SampleEntry>),
    /// The text of a group that it [`RunView::wants`], or why it cannot be read.
    Sample(SampleEntry, Box<Result<SampleRecord, String>>),
}

/// What is to be done outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Put a request into the control box of the run with that number.
    Ask(usize, ControlAction),
    /// Write a file of that name into the current folder.
    Export(String, String),
    /// Put a text into the terminal's clipboard.
    Copy(String),
    /// Take the mouse from the terminal, or give it back.
    Mouse(bool),
}

/// Whether the viewer may ask the run for anything.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Access {
    /// It may.
    #[default]
    Control,
    /// It only looks.
    ReadOnly,
}

/// The viewer.
#[derive(Debug)]
pub struct App {
    /// The colours.
    pub theme: Theme,
    /// Whether the run may be asked for anything.
    pub access: Access,
    /// Columns and rows.
    pub size: (u16, u16),
    /// Milliseconds since 1970.
    pub now_ms: u64,
    /// What is shown.
    pub screen: Screen,
    /// Whether help lies over it.
    pub shows_help: bool,
    /// What is asked of the user before anything else.
    pub dialog: Option<Dialog>,
    /// How charts are drawn.
    pub charts: ChartOptions,
    /// Whether the selected chart fills the screen.
    pub is_zoomed: bool,
    /// Entries of the log below this are left out.
    pub log_level: Level,
    /// Only what holds these words is shown, on the screens with many things.
    pub filter: String,
    /// Whether keys go into the filter.
    pub is_typing: bool,
    /// What cannot be read.
    pub trouble: Option<String>,
    /// A sentence for the user, and when it came.
    pub notice: Option<(Level, String, u64)>,
    /// How the trainer ended that this viewer was started beside.
    pub trainer_ended: Option<String>,
    /// Whether the terminal gives us the mouse.
    pub has_mouse: bool,
    runs: Vec<RunView>,
    shown_run: usize,
    /// Whether the run that is shown changes when another one starts.
    follows: bool,
    selected: [usize; Screen::ALL.len()],
    orders: [usize; Screen::ALL.len()],
    frozen: Option<Box<(Store, u64)>>,
    effects: Vec<Effect>,
    is_detached: bool,
}

impl App {
    /// A viewer of which nothing is known yet, not even a run.
    pub fn new(theme: Theme, access: Access) -> Self {
        Self {
            theme,
            access,
            size: (120, 40),
            now_ms: 0,
            screen: Screen::Overview,
            shows_help: false,
            dialog: None,
            charts: ChartOptions::default(),
            is_zoomed: false,
            log_level: Level::Note,
            filter: String::new(),
            is_typing: false,
            trouble: None,
            notice: None,
            trainer_ended: None,
            has_mouse: false,
            runs: Vec::new(),
            shown_run: 0,
            follows: true,
            selected: [0; Screen::ALL.len()],
            orders: [0; Screen::ALL.len()],
            frozen: None,
            effects: Vec::new(),
            is_detached: false,
        }
    }

    /// Takes in what happened.
    pub fn update(&mut self, message: Msg) {
        match message {
            Msg::Key(key) => self.press(key),
            Msg::Click(column, row) => self.click(column, row),
            Msg::Size(columns, rows) => self.size = (columns, rows),
            Msg::Time(now_ms) => self.now_ms = now_ms,
            Msg::Found(name, path) => self.runs.push(RunView::new(&name, path)),
            Msg::Run(number, message) => self.update_run(number, message),
            Msg::Asked(number, action, id) => {
                let now_ms = self.now_ms;
                if let Some(run) = self.runs.get_mut(number) {
                    run.asked(Asked::new(id, action, now_ms));
                }
            }
            Msg::Notice(level, text) => self.notify(level, text),
            Msg::Trouble(trouble) => self.trouble = trouble,
            Msg::TrainerEnded(how) => self.trainer_ended = Some(how),
        }
    }

    fn update_run(&mut self, number: usize, message: RunMsg) {
        let shown = self.shown_run;
        let Some(run) = self.runs.get_mut(number) else {
            return;
        };
        let has_started = run.update(message);
        if !(has_started && self.follows && number != shown) {
            return;
        }
        // The newest process is what a person wants to see; where two train at once, the first stays.
        let started_ms = |number: usize| self.runs[number].head().started_ms();
        let is_newer = started_ms(number) > started_ms(shown);
        let is_over = !self.runs[shown].is_lively(self.now_ms);
        if is_newer && is_over {
            self.show_run(number);
        }
    }

    /// The run that is looked at; `None` before one is found.
    pub fn run(&self) -> Option<&RunView> {
        self.runs.get(self.shown_run)
    }

    /// All runs, in the order in which they were found.
    pub fn runs(&self) -> &[RunView] {
        &self.runs
    }

    /// The number of the run that is looked at.
    pub fn shown_run(&self) -> usize {
        self.shown_run
    }

    /// Whether the whole log of a run is needed, not a glance alone.
    pub fn needs_whole(&self, number: usize) -> bool {
        number == self.shown_run || self.runs.get(number).is_some_and(|run| run.is_marked)
    }

    /// What to draw: the run as it is, or as it was when the picture was frozen, and the time of that.
    pub fn shown(&self) -> (&Store, u64) {
        match (&self.frozen, self.run()) {
            (Some(frozen), _) => (&frozen.0, frozen.1),
            (None, Some(run)) => (&run.store, self.now_ms),
            (None, None) => (Store::none(), self.now_ms),
        }
    }

    /// How the run is doing, for the lines at the top.
    pub fn head(&self) -> &Store {
        match (&self.frozen, self.run()) {
            (None, Some(run)) => run.head(),
            _ => self.shown().0,
        }
    }

    /// The other runs whose curves are drawn beside those of the one that is looked at, with their numbers.
    pub fn overlaid(&self) -> impl Iterator<Item = (usize, &RunView)> {
        let runs = self.runs.iter().enumerate();
        runs.filter(|(number, run)| run.is_marked && *number != self.shown_run)
    }

    /// Whether the picture stands still.
    pub fn is_frozen(&self) -> bool {
        self.frozen.is_some()
    }

    /// Whether the viewer is to end. The run goes on.
    pub fn is_detached(&self) -> bool {
        self.is_detached
    }

    /// What is selected on a screen, or scrolled past.
    pub fn selected(&self, screen: Screen) -> usize {
        self.selected[screen.index()]
    }

    /// Which of the screen's orders its rows are in.
    pub fn order(&self, screen: Screen) -> usize {
        self.orders[screen.index()]
    }

    /// What is to be done outside, once.
    pub fn take_effects(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.effects)
    }

    /// Whether a text holds all words of the filter.
    pub fn passes_filter(&self, text: &str) -> bool {
        let text = text.to_lowercase();
        let filter = self.filter.to_lowercase();
        filter.split_whitespace().all(|word| text.contains(word))
    }

    /// Shows another run.
    pub fn show_run(&mut self, number: usize) {
        if number < self.runs.len() && number != self.shown_run {
            self.shown_run = number;
            self.frozen = None;
            self.selected = [0; Screen::ALL.len()];
            self.selected[Screen::Runs.index()] = number;
            self.filter_samples();
        }
    }

    /// Gives all runs a path that is the same on every machine.
    #[cfg(test)]
    pub fn pretend_paths(&mut self) {
        for run in &mut self.runs {
            run.path = format!("runs/{}", run.name);
        }
    }

    fn notify(&mut self, level: Level, text: String) {
        self.notice = Some((level, crate::text::clean(&text), self.now_ms));
    }
}
