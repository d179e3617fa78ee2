//! Where things stand on the screen, and which part of a long text is seen.

use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::Line;

use super::answer::{self, Shown};
use super::document::Document;
use super::question;
use crate::app::App;
use crate::browser::{Browser, Current, Group};
use crate::text::Extent;
use crate::theme::Theme;
use crate::views;

/// The parts of the screen.
#[derive(Debug, Clone, Copy)]
pub struct Areas {
    /// The groups.
    pub list: Rect,
    /// On a wide screen the question and the numbers of all completions, beside their texts.
    pub side: Option<Rect>,
    /// The completions, or the whole prompt.
    pub text: Rect,
}

impl Areas {
    /// All but the list.
    pub fn detail(&self) -> Rect {
        self.side.map_or(self.text, |side| side.union(self.text))
    }
}

/// How far to scroll.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scroll {
    LineDown,
    LineUp,
    PageDown,
    PageUp,
}

/// The group that is looked at, laid out.
pub struct Page {
    /// Areas of question and numbers beside the completions, where they are there.
    pub side: Option<[Rect; 2]>,
    /// The question beside the completions.
    pub side_lines: Vec<Line<'static>>,
    /// The question above the completions, which stays when they are scrolled.
    pinned: Vec<Line<'static>>,
    document: Document,
    /// Rows for the document.
    rows: usize,
    scroll: isize,
}

/// The parts of a screen of that size.
pub fn areas(area: Rect) -> Areas {
    let [list_columns, side_columns] = match area.width {
        ..100 => [28, 0],
        100..160 => [36, 0],
        _ => [40, 52],
    };
    let columns = [
        Constraint::Length(list_columns),
        Constraint::Length(side_columns),
        Constraint::Fill(1),
    ];
    let [list, side, text] = Layout::horizontal(columns).areas(area);
    let side = (side_columns > 0).then_some(side);
    Areas { list, side, text }
}

/// Where the text is scrolled to by a key; `None` where there is no text.
pub fn scrolled(app: &App, scroll: Scroll) -> Option<isize> {
    let browser = &app.run()?.browser;
    let Current::Group(group) = browser.current() else {
        return None;
    };
    let [_, body, _] = views::areas(Rect::new(0, 0, app.size.0, app.size.1));
    let page = Page::new(app, browser, group, areas(body));
    // A line is seen on both pages, so that one finds one's place.
    let lines = match scroll {
        Scroll::LineDown => 1,
        Scroll::LineUp => -1,
        Scroll::PageDown => page.rows.saturating_sub(1).max(1) as isize,
        Scroll::PageUp => -(page.rows.saturating_sub(1).max(1) as isize),
    };
    Some(page.document.scrolled(page.rows, page.scroll, lines))
}

impl Page {
    /// Lays it out.
    pub fn new(app: &App, browser: &Browser, group: &Group, areas: Areas) -> Self {
        let theme = app.theme;
        // The border and a space at each side.
        let columns = usize::from(areas.text.width).saturating_sub(4);
        let inside = usize::from(areas.text.height).saturating_sub(2);
        let side = areas.side.map(|side| {
            let table = (group.answers.len() as u16 + 3).clamp(5, side.height / 2 + 1);
            Layout::vertical([Constraint::Fill(1), Constraint::Length(table)]).areas(side)
        });
        let side_lines = match areas.side {
            Some(side) => question::whole(group, usize::from(side.width).saturating_sub(4), theme),
            None => Vec::new(),
        };
        let pinned = match browser.shows_prompt || side.is_some() {
            true => Vec::new(),
            false => {
                let each = (inside / 8).clamp(1, 6);
                question::short(group, columns, each, theme)
            }
        };
        let rows = inside.saturating_sub(pinned.len()).max(1);
        let document = match browser.shows_prompt {
            true => Document {
                lines: question::whole(group, columns, theme),
                selected: (0, 0),
            },
            false => completions(browser, group, columns, rows, theme),
        };
        Self {
            side,
            side_lines: fitting(side_lines, side.map_or(0, |[top, _]| top.height), theme),
            pinned,
            document,
            rows,
            scroll: browser.scroll(),
        }
    }

    /// The lines that are seen.
    pub fn lines(&self) -> impl Iterator<Item = &Line<'static>> {
        let top = self.document.top(self.rows, self.scroll);
        let seen = self.document.lines.iter().skip(top).take(self.rows);
        self.pinned.iter().chain(seen)
    }

    /// The first and the last line that is seen, counted from 1, and how many there are, where not all are seen.
    pub fn position(&self) -> Option<(usize, usize, usize)> {
        let of = self.document.lines.len();
        let top = self.document.top(self.rows, self.scroll);
        (of > self.rows).then(|| (top + 1, (top + self.rows).min(of), of))
    }
}

/// The question beside the completions, with a word on how to see the rest of it.
fn fitting(mut lines: Vec<Line<'static>>, height: u16, theme: Theme) -> Vec<Line<'static>> {
    let rows = usize::from(height.saturating_sub(2));
    if lines.len() > rows && rows > 0 {
        let more = lines.len() - rows + 1;
        lines.truncate(rows - 1);
        lines.push(Line::styled(
            format!("… {more} more lines: t"),
            theme.hint(),
        ));
    }
    lines
}

/// All completions in the order of the list: in full where they fit, else the one selected in full and the first lines
/// of the others.
fn completions(
    browser: &Browser,
    group: &Group,
    columns: usize,
    rows: usize,
    theme: Theme,
) -> Document {
    let arranged = browser.arranged();
    let few = match rows {
        ..20 => 2,
        20..40 => 3,
        _ => 5,
    };
    let part_columns = answer::part_columns(group);
    let lay_out = |others: Extent| {
        let mut document = Document::default();
        for (place, at) in arranged.iter().enumerate() {
            let selected = place == browser.completion();
            let shown = Shown {
                selected,
                extent: if selected { Extent::Whole } else { others },
                difference: browser.difference,
                columns,
                part_columns: &part_columns,
                theme,
            };
            let start = document.lines.len();
            document.lines.extend(answer::lines(group, *at, shown));
            if selected {
                document.selected = (start, document.lines.len());
            }
        }
        document
    };
    let document = lay_out(Extent::Lines(few));
    let has_room = document.lines.len() < rows;
    // Marks make texts longer; what cannot fit need not be tried.
    let bytes: usize = group.answers.iter().map(|answer| answer.text.len()).sum();
    if has_room && bytes < rows * columns * 4 {
        let whole = lay_out(Extent::Whole);
        if whole.lines.len() <= rows {
            return whole;
        }
    }
    document
}
