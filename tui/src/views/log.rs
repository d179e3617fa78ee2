//! What happened, newest first.

use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use telemetry::clock::rfc3339;
use telemetry::event::AlertLevel;

use crate::app::App;
use crate::format;
use crate::keymap::Screen;
use crate::store::journal::{Entry, Level};
use crate::text::{cut, right, wrap};
use crate::theme::Theme;
use crate::widgets::panel::Panel;

/// The entries that pass the level and hold all words of the filter.
pub fn listed(app: &App) -> Vec<&Entry> {
    let (store, _) = app.shown();
    let passes = |entry: &&Entry| entry.level >= app.log_level && app.passes_filter(&entry.text);
    store.journal.newest_first().filter(passes).collect()
}

/// Draws it.
pub fn draw(app: &App, area: Rect, buffer: &mut Buffer) {
    let (store, _) = app.shown();
    let entries = listed(app);
    let what = match app.log_level {
        Level::Note => "log",
        Level::Warning => "log: warnings and alerts",
        Level::Alert => "log: alerts",
    };
    let [above, area] = Layout::vertical([
        Constraint::Length(match store.alerts.len() {
            0 => 0,
            count => (count as u16 + 2).min(area.height / 3),
        }),
        Constraint::Fill(1),
    ])
    .areas(area);
    holding(app, above, buffer);
    let top = app
        .selected(Screen::Log)
        .min(entries.len().saturating_sub(1));
    let (malformed, newer) = app.run().map_or((0, 0), |run| run.unusable);
    let unseen = [
        (malformed, "lines that are no events"),
        (newer, "lines of a newer version"),
        (store.num_unknown(), "events of kinds not known here"),
        (
            store.steps.num_left_out() + store.held_out.num_left_out(),
            "values of too many metrics",
        ),
    ];
    let unseen = unseen.iter().filter(|(count, _)| *count > 0);
    let unseen: Vec<String> = unseen
        .map(|(count, what)| format!("{} {what}", format::count(*count)))
        .collect();
    let at = if entries.is_empty() { 0 } else { top + 1 };
    let inside = Panel::new(what)
        .value(vec![Span::raw("newest first, times in UTC")])
        .below(unseen.join(", "), format!("{at}/{}", entries.len()))
        .draw(area, buffer);
    let columns = usize::from(inside.width).saturating_sub(2);
    if entries.is_empty() {
        buffer.set_stringn(inside.x + 1, inside.y, "nothing", columns, app.theme.dim());
    }
    let mut rows = inside.rows();
    for entry in entries.into_iter().skip(top) {
        if !draw_entry(entry, columns, app.theme, &mut rows, buffer) {
            break;
        }
    }
}

/// The alerts that have not been cleared.
fn holding(app: &App, area: Rect, buffer: &mut Buffer) {
    let (store, now_ms) = app.shown();
    if area.height < 3 {
        return;
    }
    let count = store.alerts.len();
    let inside = Panel::new("holding now")
        .value(vec![Span::raw(format::count(count as u64))])
        .border(app.theme.warn())
        .draw(area, buffer);
    let columns = usize::from(inside.width).saturating_sub(2);
    for (row, alert) in inside.rows().zip(store.alerts.iter().rev()) {
        let (glyph, style) = sign(alert.level, app.theme);
        let since = format!(
            "  for {}",
            format::age(now_ms.saturating_sub(alert.time_ms))
        );
        let room = columns.saturating_sub(2 + crate::text::width(&since));
        let line = Line::from(vec![
            Span::styled(format!("{glyph} "), style),
            Span::raw(crate::text::left(&alert.message, room)),
            Span::styled(since, app.theme.dim()),
        ]);
        buffer.set_line(row.x + 1, row.y, &line, columns as u16);
    }
}

/// How an alert looks.
pub fn sign(level: AlertLevel, theme: Theme) -> (&'static str, Style) {
    match level {
        AlertLevel::Warning => ("▲", theme.warn()),
        AlertLevel::Alarm => ("✖", theme.bad()),
    }
}

/// Draws an entry in the next rows; false where there are none left.
fn draw_entry(
    entry: &Entry,
    columns: usize,
    theme: Theme,
    rows: &mut impl Iterator<Item = Rect>,
    buffer: &mut Buffer,
) -> bool {
    // Month, day and time: `11-23 14:05:09`; the year of a run is no news.
    const TIME_COLUMNS: usize = 14;
    const STEP_COLUMNS: usize = 14;
    let time = rfc3339(entry.time_ms).replace('T', " ");
    let time: String = time
        .trim_end_matches('Z')
        .chars()
        .rev()
        .take(TIME_COLUMNS)
        .collect();
    let time: String = time.chars().rev().collect();
    let step = entry.step.map_or(String::new(), |step| {
        format!("step {}", format::count(step))
    });
    let head = format!("{time}{}", right(&step, STEP_COLUMNS));
    let indent = TIME_COLUMNS + STEP_COLUMNS + 4;
    let text = with_repeats(entry);
    let lines = wrap(&text, columns.saturating_sub(indent), 4);
    for (number, line) in lines.into_iter().enumerate() {
        let Some(row) = rows.next() else {
            return false;
        };
        let x = row.x + 1;
        if number == 0 {
            buffer.set_stringn(x, row.y, &head, columns, theme.dim());
            let glyph = format!("  {} ", entry.level.glyph());
            buffer.set_string(
                x + (indent - 4) as u16,
                row.y,
                glyph,
                style(entry.level, theme),
            );
        }
        buffer.set_string(x + indent as u16, row.y, line, Style::new());
    }
    true
}

/// An entry in one line, with its age: `▲ off-target rate …  step 1,240  2 min ago`.
pub fn entry_line(entry: &Entry, now_ms: u64, columns: usize, theme: Theme) -> Line<'static> {
    let age = format::age(now_ms.saturating_sub(entry.time_ms));
    let head = format!("{} ", entry.level.glyph());
    let step = entry
        .step
        .map(|step| format!("  step {}", format::count(step)))
        .unwrap_or_default();
    let tail = match columns {
        ..48 => format!("  {age}"),
        _ => format!("{step}  {age} ago"),
    };
    let room = columns.saturating_sub(crate::text::width(&head) + crate::text::width(&tail));
    let mut spans = vec![
        Span::styled(head, style(entry.level, theme)),
        Span::raw(cut(&with_repeats(entry), room.max(20))),
    ];
    if room >= 20 {
        spans.push(Span::styled(tail, theme.dim()));
    }
    Line::from(spans)
}

/// The entries that are listed, oldest first.
pub fn export(app: &App) -> Option<String> {
    let entry = |entry: &&Entry| {
        let step = entry
            .step
            .map_or(String::new(), |step| format!(" step {step}"));
        let time = rfc3339(entry.time_ms);
        format!(
            "{time}{step} {} {}\n",
            entry.level.glyph(),
            with_repeats(entry)
        )
    };
    let text: String = listed(app).iter().rev().map(entry).collect();
    (!text.is_empty()).then_some(text)
}

fn with_repeats(entry: &Entry) -> String {
    match entry.repeats {
        1 => entry.text.clone(),
        repeats => format!("{} (×{})", entry.text, format::count(repeats)),
    }
}

fn style(level: Level, theme: Theme) -> Style {
    match level {
        Level::Note => theme.ok(),
        Level::Warning => theme.warn(),
        Level::Alert => theme.bad(),
    }
}
