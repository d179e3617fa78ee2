//! All that the viewer knows, and how each message changes it. There is no input or output here.

use telemetry::{Line, SampleEntry, SampleRecord};

use crate::browser::{Browser, Order};
use crate::keymap::{self, Action, Key, Screen};
use crate::store::Store;
use crate::store::journal::Level;
use crate::theme::Theme;
use crate::views;
use crate::widgets::line_chart::ChartOptions;

/// Something that happened.
#[derive(Debug)]
pub enum Msg {
    /// A key was pressed.
    Key(Key),
    /// The screen has this many columns and rows.
    Size(u16, u16),
    /// It is this late, in milliseconds since 1970.
    Time(u64),
    /// The log begins anew; what was read is void.
    Restarted,
    /// Lines of the log were read.
    Lines {
        /// In order.
        lines: Vec<Line>,
        /// Whether that was all there is.
        at_end: bool,
    },
    /// The samples begin anew.
    SamplesRestarted,
    /// Groups of samples were found.
    Samples(Vec<SampleEntry>),
    /// The text of a group that [`App::wants`], or why it cannot be read.
    Sample(SampleEntry, Box<Result<SampleRecord, String>>),
    /// A file of the run cannot be read at the moment, or can be again.
    Trouble(Option<String>),
}

/// The viewer.
#[derive(Debug)]
pub struct App {
    /// The run's name.
    pub name: String,
    /// The colours.
    pub theme: Theme,
    /// Columns and rows.
    pub size: (u16, u16),
    /// Milliseconds since 1970.
    pub now_ms: u64,
    /// What is shown.
    pub screen: Screen,
    /// Whether help lies over it.
    pub shows_help: bool,
    /// How charts are drawn.
    pub charts: ChartOptions,
    /// Which metric is selected, of those that pass the filter.
    pub selected_metric: usize,
    /// Whether it fills the screen.
    pub is_zoomed: bool,
    /// The samples.
    pub browser: Browser,
    /// Entries of the log scrolled past.
    pub log_top: usize,
    /// Entries of the log below this are left out.
    pub log_level: Level,
    /// Only what holds these words is shown, on the screens with many things.
    pub filter: String,
    /// Whether keys go into the filter.
    pub is_typing: bool,
    /// What cannot be read.
    pub trouble: Option<String>,
    /// Lines of the log read, while there are more; `None` once all are.
    pub reading: Option<u64>,
    store: Store,
    frozen: Option<Box<(Store, u64)>>,
    is_detached: bool,
}

impl App {
    /// A viewer of a run of which nothing is known yet.
    pub fn new(name: impl Into<String>, theme: Theme) -> Self {
        Self {
            name: crate::text::clean(&name.into()),
            theme,
            size: (120, 40),
            now_ms: 0,
            screen: Screen::Overview,
            shows_help: false,
            charts: ChartOptions::default(),
            selected_metric: 0,
            is_zoomed: false,
            browser: Browser::default(),
            log_top: 0,
            log_level: Level::Note,
            filter: String::new(),
            is_typing: false,
            trouble: None,
            reading: Some(0),
            store: Store::default(),
            frozen: None,
            is_detached: false,
        }
    }

    /// Takes in what happened.
    pub fn update(&mut self, message: Msg) {
        match message {
            Msg::Key(key) => self.press(key),
            Msg::Size(columns, rows) => self.size = (columns, rows),
            Msg::Time(now_ms) => self.now_ms = now_ms,
            Msg::Restarted => (self.store, self.reading) = (Store::default(), Some(0)),
            Msg::Lines { lines, at_end } => {
                self.reading = match at_end {
                    true => None,
                    false => Some(self.reading.unwrap_or(0) + lines.len() as u64),
                };
                lines.into_iter().for_each(|line| self.store.fold(line));
            }
            Msg::SamplesRestarted => self.browser.clear(),
            Msg::Samples(entries) => self.browser.extend(entries),
            Msg::Sample(entry, text) => self.browser.set_text(entry, *text),
            Msg::Trouble(trouble) => self.trouble = trouble,
        }
    }

    /// What to draw: the run as it is, or as it was when the picture was frozen, and the time of that.
    pub fn shown(&self) -> (&Store, u64) {
        match &self.frozen {
            Some(frozen) => (&frozen.0, frozen.1),
            None => (&self.store, self.now_ms),
        }
    }

    /// Whether the picture stands still.
    pub fn is_frozen(&self) -> bool {
        self.frozen.is_some()
    }

    /// Whether the viewer is to end. The run goes on.
    pub fn is_detached(&self) -> bool {
        self.is_detached
    }

    /// Samples to be read and sent back as [`Msg::Sample`].
    pub fn wants(&self) -> Vec<SampleEntry> {
        self.browser.wants()
    }

    fn press(&mut self, key: Key) {
        if self.is_typing {
            return self.type_filter(key);
        }
        let Some(action) = keymap::action(self.screen, key) else {
            return;
        };
        if self.shows_help {
            // Any key closes help; the ones that lead elsewhere do so, too.
            self.shows_help = false;
            if !matches!(action, Action::Detach | Action::Show(_)) {
                return;
            }
        }
        self.act(action);
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Detach => self.is_detached = true,
            Action::Help => self.shows_help = true,
            Action::Back if self.is_zoomed => self.is_zoomed = false,
            Action::Back => self.set_filter(String::new()),
            Action::Show(screen) => self.show(screen),
            Action::NextScreen => self.turn(1),
            Action::PreviousScreen => self.turn(Screen::ALL.len() - 1),
            Action::Freeze => {
                self.frozen = match self.frozen.take() {
                    Some(_) => None,
                    None => Some(Box::new((self.store.clone(), self.now_ms))),
                }
            }
            Action::LogY => self.charts.log_y = !self.charts.log_y,
            Action::Smoothing => {
                self.charts.smoothing = match self.charts.smoothing {
                    0.0 => 0.6,
                    0.6 => 0.9,
                    _ => 0.0,
                }
            }
            Action::ZoomIn => self.charts.zoom = (self.charts.zoom + 1).min(20),
            Action::ZoomOut => self.charts.zoom = self.charts.zoom.saturating_sub(1),
            Action::ZoomAll => self.charts.zoom = 0,
            Action::Filter => self.is_typing = true,
            action => match self.screen {
                Screen::Overview => {}
                Screen::Metrics => self.act_on_metrics(action),
                Screen::Samples => self.act_on_samples(action),
                Screen::Log => self.act_on_log(action),
            },
        }
    }

    fn show(&mut self, screen: Screen) {
        self.screen = screen;
        self.is_zoomed = false;
        self.set_filter(String::new());
    }

    fn turn(&mut self, by: usize) {
        let at = Screen::ALL
            .iter()
            .position(|screen| *screen == self.screen)
            .unwrap_or(0);
        self.show(Screen::ALL[(at + by) % Screen::ALL.len()]);
    }

    fn set_filter(&mut self, filter: String) {
        self.filter = filter;
        (self.selected_metric, self.log_top) = (0, 0);
    }

    fn type_filter(&mut self, key: Key) {
        let mut filter = self.filter.clone();
        match key {
            Key::Enter => return self.is_typing = false,
            Key::Ctrl('c') => return self.is_detached = true,
            Key::Esc => {
                self.is_typing = false;
                filter.clear();
            }
            Key::Ctrl('u') => filter.clear(),
            Key::Backspace => drop(filter.pop()),
            Key::Char(c) if !c.is_control() && filter.len() < 60 => filter.push(c),
            _ => return,
        }
        self.set_filter(filter);
    }

    fn act_on_metrics(&mut self, action: Action) {
        let (columns, rows) = views::metrics::grid(self.size);
        let last = views::metrics::listed(self).len().saturating_sub(1);
        let at = self.selected_metric.min(last);
        self.selected_metric = match action {
            Action::Left => at.saturating_sub(1),
            Action::Right => at + 1,
            Action::Up => at.saturating_sub(columns),
            Action::Down => at + columns,
            Action::PageUp => at.saturating_sub(columns * rows),
            Action::PageDown => at + columns * rows,
            Action::First => 0,
            Action::Last => last,
            _ => at,
        }
        .min(last);
        if action == Action::Open {
            self.is_zoomed = !self.is_zoomed;
        }
    }

    fn act_on_samples(&mut self, action: Action) {
        let browser = &mut self.browser;
        match action {
            Action::NextGroup => browser.move_group(1),
            Action::PreviousGroup => browser.move_group(-1),
            Action::First => browser.move_group(isize::MIN),
            Action::Last => browser.move_group(isize::MAX),
            Action::Down => browser.move_completion(1),
            Action::Up => browser.move_completion(-1),
            Action::Best => browser.find(Order::Best),
            Action::Worst => browser.find(Order::Worst),
            Action::Order => browser.next_order(),
            Action::Prompt => browser.shows_prompt = !browser.shows_prompt,
            _ => {}
        }
    }

    fn act_on_log(&mut self, action: Action) {
        let page = usize::from(self.size.1).saturating_sub(6).max(1);
        let last = views::log::listed(self).len().saturating_sub(1);
        let top = self.log_top.min(last);
        self.log_top = match action {
            Action::Up => top.saturating_sub(1),
            Action::Down => top + 1,
            Action::PageUp => top.saturating_sub(page),
            Action::PageDown => top + page,
            Action::First => 0,
            Action::Last => last,
            _ => top,
        }
        .min(last);
        if action == Action::Levels {
            self.log_level = self.log_level.next();
            self.log_top = 0;
        }
    }
}
