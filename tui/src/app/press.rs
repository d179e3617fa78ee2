//! What keys do.

use telemetry::ControlAction;

use super::dialog::Reply;
use super::{Access, App, Dialog, Effect};
use crate::keymap::{self, Action, Key, Screen};
use crate::store::journal::Level;
use crate::views;
use crate::views::samples::Scroll;

impl App {
    pub(super) fn press(&mut self, key: Key) {
        if let Some(dialog) = &mut self.dialog {
            match dialog.press(key) {
                Reply::Open => return,
                Reply::No => self.notify(Level::Note, "not stopped".to_owned()),
                Reply::Stop(run) => self.effects.push(Effect::Ask(run, ControlAction::Stop)),
            }
            self.dialog = None;
            return;
        }
        if self.is_typing {
            return self.type_filter(key);
        }
        let action = keymap::action(self.screen, key);
        if self.shows_help {
            // Any key closes help; the ones that lead elsewhere do so, too.
            self.shows_help = false;
            if !matches!(action, Some(Action::Detach | Action::Show(_))) {
                return;
            }
        }
        let Some(action) = action else {
            return;
        };
        self.notice = None;
        self.act(action);
    }

    pub(super) fn click(&mut self, column: u16, row: u16) {
        if self.dialog.is_some() || self.is_typing {
            return;
        }
        self.shows_help = false;
        match views::hit(self, column, row) {
            Some(views::Hit::Screen(screen)) => self.show(screen),
            Some(views::Hit::Row(row)) if self.selected(self.screen) == row => {
                self.act(Action::Open);
            }
            Some(views::Hit::Row(row)) => self.select(row),
            None => {}
        }
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
            Action::NextRun => self.turn_run(1),
            Action::PreviousRun => self.turn_run(self.runs.len().saturating_sub(1)),
            Action::Freeze => self.freeze(),
            Action::LogY => self.charts.log_y = !self.charts.log_y,
            Action::XAxis => self.charts.x = self.charts.x.next(),
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
            Action::Mouse => {
                self.has_mouse = !self.has_mouse;
                self.effects.push(Effect::Mouse(self.has_mouse));
            }
            Action::Export => match views::export(self) {
                Some((name, text)) => self.effects.push(Effect::Export(name, text)),
                None => self.notify(Level::Note, "nothing to export on this screen".to_owned()),
            },
            Action::Copy => match views::copied(self) {
                Some(text) => self.effects.push(Effect::Copy(text)),
                None => self.notify(Level::Note, "nothing to copy here".to_owned()),
            },
            Action::Pause => {
                let is_paused = self.run().is_some_and(|run| run.head().is_paused());
                self.ask(match is_paused {
                    true => ControlAction::Continue,
                    false => ControlAction::Pause,
                });
            }
            Action::Checkpoint => self.ask(ControlAction::Checkpoint),
            Action::Evaluate => self.ask(ControlAction::Evaluate),
            Action::Stop if self.may_ask() => self.dialog = Some(Dialog::stop(self.shown_run)),
            Action::Stop => {}
            action => match self.screen {
                Screen::Metrics => self.act_on_metrics(action),
                Screen::Samples => self.act_on_samples(action),
                Screen::Runs => self.act_on_runs(action),
                _ => self.act_on_rows(action),
            },
        }
    }

    /// Whether the run can be asked for something; where it cannot, the user is told why.
    fn may_ask(&mut self) -> bool {
        let Some(run) = self.run() else { return false };
        let status = run.head().status(self.now_ms);
        let why_not = match self.access {
            Access::ReadOnly => "this viewer only looks (--read-only)".to_owned(),
            Access::Control if status.is_over() => {
                format!("the run is over: {}", status.label())
            }
            Access::Control => return true,
        };
        self.notify(Level::Warning, why_not);
        false
    }

    fn ask(&mut self, action: ControlAction) {
        if self.may_ask() {
            self.effects.push(Effect::Ask(self.shown_run, action));
        }
    }

    fn freeze(&mut self) {
        self.frozen = match (self.frozen.take(), self.run()) {
            (None, Some(run)) => Some(Box::new((run.store.clone(), self.now_ms))),
            _ => None,
        };
        if let Some(run) = self
            .runs
            .get_mut(self.shown_run)
            .filter(|_| self.frozen.is_some())
        {
            run.browser.hold();
        }
    }

    fn show(&mut self, screen: Screen) {
        self.screen = screen;
        self.is_zoomed = false;
        self.set_filter(String::new());
        if screen == Screen::Runs {
            self.selected[screen.index()] = self.shown_run;
        }
    }

    fn turn(&mut self, by: usize) {
        self.show(Screen::ALL[(self.screen.index() + by) % Screen::ALL.len()]);
    }

    fn turn_run(&mut self, by: usize) {
        if self.runs.len() > 1 {
            self.follows = false;
            self.show_run((self.shown_run + by) % self.runs.len());
        }
    }

    fn set_filter(&mut self, filter: String) {
        if self.filter != filter {
            self.filter = filter;
            self.select(0);
            self.filter_samples();
        }
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

    fn select(&mut self, row: usize) {
        self.selected[self.screen.index()] = row;
    }

    fn act_on_metrics(&mut self, action: Action) {
        let (columns, rows) = views::metrics::grid(self.size);
        let last = views::metrics::listed(self).len().saturating_sub(1);
        let at = self.selected(Screen::Metrics).min(last);
        let to = match action {
            Action::Left => at.saturating_sub(1),
            Action::Right => at + 1,
            Action::Up if self.is_zoomed => at.saturating_sub(1),
            Action::Down if self.is_zoomed => at + 1,
            Action::Up => at.saturating_sub(columns),
            Action::Down => at + columns,
            Action::PageUp => at.saturating_sub(columns * rows),
            Action::PageDown => at + columns * rows,
            Action::First => 0,
            Action::Last => last,
            _ => at,
        };
        self.select(to.min(last));
        if action == Action::Open {
            self.is_zoomed = !self.is_zoomed;
        }
    }

    fn act_on_samples(&mut self, action: Action) {
        let shows_prompt = self.run().is_some_and(|run| run.browser.shows_prompt);
        let scroll = match action {
            Action::PageDown => Some(Scroll::PageDown),
            Action::PageUp => Some(Scroll::PageUp),
            Action::Down if shows_prompt => Some(Scroll::LineDown),
            Action::Up if shows_prompt => Some(Scroll::LineUp),
            _ => None,
        };
        let scrolled = scroll.and_then(|scroll| views::samples::scrolled(self, scroll));
        let Some(run) = self.runs.get_mut(self.shown_run) else {
            return;
        };
        let browser = &mut run.browser;
        match action {
            Action::NextGroup => browser.move_group(1),
            Action::PreviousGroup => browser.move_group(-1),
            Action::First => browser.move_group(isize::MIN),
            Action::Last => browser.move_group(isize::MAX),
            Action::Down if !shows_prompt => browser.move_completion(1),
            Action::Up if !shows_prompt => browser.move_completion(-1),
            Action::Best => browser.find_best(),
            Action::Worst => browser.find_worst(),
            Action::Order => browser.next_order(),
            Action::Sort => browser.next_sort(),
            Action::Prompt => browser.turn_prompt(),
            Action::Difference => browser.difference = browser.difference.next(),
            _ => {
                if let Some(scroll) = scrolled {
                    browser.set_scroll(scroll);
                }
            }
        }
    }

    /// The filter of the samples screen is the browser's.
    pub(super) fn filter_samples(&mut self) {
        let filter = match self.screen {
            Screen::Samples => self.filter.as_str(),
            _ => "",
        };
        if let Some(run) = self.runs.get_mut(self.shown_run) {
            run.browser.set_filter(filter);
        }
    }

    fn act_on_runs(&mut self, action: Action) {
        let at = self.selected(Screen::Runs);
        match action {
            Action::Open => {
                self.follows = false;
                self.show_run(at);
                self.show(Screen::Overview);
            }
            Action::Mark => {
                let num_marked = self.runs.iter().filter(|run| run.is_marked).count();
                let Some(run) = self.runs.get_mut(at) else {
                    return;
                };
                match run.is_marked || num_marked < super::App::MAX_MARKED {
                    true => run.is_marked = !run.is_marked,
                    false => {
                        let text = format!("at most {} runs are overlaid", App::MAX_MARKED);
                        self.notify(Level::Note, text);
                    }
                }
            }
            action => self.act_on_rows(action),
        }
    }

    fn act_on_rows(&mut self, action: Action) {
        let page = usize::from(self.size.1).saturating_sub(6).max(1);
        let last = views::num_rows(self).saturating_sub(1);
        let at = self.selected(self.screen).min(last);
        let to = match action {
            Action::Up => at.saturating_sub(1),
            Action::Down => at + 1,
            Action::PageUp => at.saturating_sub(page),
            Action::PageDown => at + page,
            Action::First => 0,
            Action::Last => last,
            _ => at,
        };
        self.select(to.min(last));
        match action {
            Action::Levels => {
                self.log_level = self.log_level.next();
                self.select(0);
            }
            Action::Order => {
                self.orders[self.screen.index()] += 1;
                self.select(0);
            }
            _ => {}
        }
    }

    /// Runs beside the one that is looked at whose curves are drawn.
    pub const MAX_MARKED: usize = 4;
}
