//! The groups, a row each.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::Span;

use crate::app::App;
use crate::browser::{Browser, Listed};
use crate::format;
use crate::text::clean;
use crate::theme::Theme;
use crate::widgets::panel::Panel;
use crate::widgets::table::{Column, Table};

/// The column of the tasks, which is left out where none is known.
const TASK: usize = 1;

/// Draws it.
pub fn draw(app: &App, browser: &Browser, area: Rect, buffer: &mut Buffer) {
    let (num_listed, of) = (browser.num_listed() as u64, browser.num_groups());
    let is_of_evaluation = browser.evaluation().is_some();
    let what = match (is_of_evaluation, of) {
        (true, 1) => "answer",
        (true, _) => "answers",
        (false, 1) => "group",
        (false, _) => "groups",
    };
    let num = match app.filter.is_empty() {
        true => format!("{} {what}", format::count(of)),
        false => format!(
            "{} of {} {what}",
            format::count(num_listed),
            format::count(of)
        ),
    };
    let follows = if browser.is_following() {
        "▸ newest"
    } else {
        ""
    };
    let title = match is_of_evaluation {
        true => "evaluation answers".to_owned(),
        false => format!("groups by {}", browser.order().name()),
    };
    let inside = Panel::new(title).below(num, follows).draw(area, buffer);
    let rows = usize::from(inside.height).saturating_sub(1);
    let at = browser.position();
    let top = Table::top(at, browser.num_listed(), rows);
    let shown = || browser.listed(top).take(rows);
    let mut columns = columns(is_of_evaluation);
    let mut cells: Vec<Vec<Span>> = shown()
        .map(|row| cells(row, is_of_evaluation, app.theme))
        .collect();
    if !is_of_evaluation && shown().all(|row| row.task.is_empty()) {
        columns.remove(TASK);
        cells.iter_mut().for_each(|cells| drop(cells.remove(TASK)));
    }
    let table = Table {
        columns,
        rows: cells,
        // Rows above are left out here already.
        selected: (browser.num_listed() > 0).then(|| at - top),
        theme: app.theme,
    };
    table.draw(inside, buffer);
}

fn columns(is_of_evaluation: bool) -> Vec<Column> {
    let (names, numbers): (Vec<Column>, &[&str]) = match is_of_evaluation {
        true => (vec![Column::left("task", 32)], &["reward"]),
        false => (
            vec![Column::left("group", 14), Column::left("task", 12)],
            &["best", "worst", "spread"],
        ),
    };
    let numbers = numbers.iter().map(|title| Column::right(*title));
    names.into_iter().chain(numbers).collect()
}

fn cells(row: Listed<'_>, is_of_evaluation: bool, theme: Theme) -> Vec<Span<'static>> {
    let short = |value: f64| match value.abs() < 100.0 {
        true => format!("{value:.2}"),
        false => format::number(value),
    };
    let broken = || Span::styled("NaN", theme.bad());
    let none = || Span::styled("–", theme.dim());
    let best = match row.reward_range {
        None if row.has_nan => broken(),
        None => none(),
        Some((_, high)) => Span::raw(short(high)),
    };
    let task = clean(row.task);
    if is_of_evaluation {
        let name = match task.is_empty() {
            true => format::count(row.number + 1),
            false => task,
        };
        return vec![Span::raw(name), best];
    }
    // All alike, and nothing to be learnt from it.
    let alike = || Span::styled("=", theme.dim());
    let (worst, spread) = match row.reward_range {
        None => (none(), none()),
        Some((low, high)) if low == high => (alike(), Span::raw("")),
        Some((low, high)) => (Span::raw(short(low)), Span::raw(short(high - low))),
    };
    let name = format!("{}/{}", format::count(row.step), row.number);
    vec![
        Span::raw(name),
        Span::styled(task, theme.dim()),
        best,
        if row.has_nan { broken() } else { worst },
        spread,
    ]
}
