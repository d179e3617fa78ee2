//! What the model wrote, and what each part of the reward thinks of it.

use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use telemetry::{Completion, SampleEntry, SampleRecord};

use super::notice;
use crate::app::App;
use crate::format;
use crate::text::{clean, left, wrap};
use crate::theme::Theme;
use crate::widgets::panel::Panel;
use crate::widgets::share_bar::bar;

/// Columns of the names before texts.
const LABEL: usize = 12;

/// Draws it.
pub fn draw(app: &App, area: Rect, buffer: &mut Buffer) {
    let list_columns = (area.width / 4).clamp(24, 40);
    let columns = [Constraint::Length(list_columns), Constraint::Fill(1)];
    let [list, detail] = Layout::horizontal(columns).areas(area);
    groups(app, list, buffer);
    let browser = app.run().map(|run| &run.browser);
    let Some((browser, entry)) = browser.and_then(|b| Some((b, b.current()?))) else {
        let text = match app.filter.is_empty() {
            true => "no samples yet: the rl stage writes them to samples.jsonl",
            false => "no group has these words",
        };
        return notice(app, "samples", text, detail, buffer);
    };
    let inside = Panel::new(title(entry)).draw(detail, buffer);
    let columns = usize::from(inside.width).saturating_sub(2);
    let lines: Vec<Line> = match browser.text(entry) {
        None => vec![Line::styled("reading …", app.theme.dim())],
        Some(Err(problem)) => vec![Line::styled(clean(problem), app.theme.bad())],
        Some(Ok(record)) => {
            let mut lines = question(record, browser.shows_prompt, columns, 4, app.theme);
            let shown = record
                .completions
                .iter()
                .enumerate()
                .skip(browser.completion());
            for (at, completion) in shown {
                let head = (at + 1, record.completions.len());
                lines.extend(answer(completion, head, columns, 8, app.theme));
            }
            lines
        }
    };
    for (row, line) in inside.rows().zip(lines) {
        buffer.set_line(row.x + 1, row.y, &line, columns as u16);
    }
}

/// The newest group on the overview: its question, its best and its worst answer.
pub fn latest(
    app: &App,
    entry: &SampleEntry,
    text: &Result<SampleRecord, String>,
    area: Rect,
    buffer: &mut Buffer,
) {
    let inside = Panel::new(format!("latest sample: {}", title(entry))).draw(area, buffer);
    let columns = usize::from(inside.width).saturating_sub(2);
    let Ok(record) = text else {
        return;
    };
    let each = (usize::from(area.height).saturating_sub(2) / 5).max(1);
    let mut lines = question(record, false, columns, each, app.theme);
    let rank = |c: &Completion| c.reward.map_or(f64::NEG_INFINITY, |reward| reward.0);
    let mut ranked: Vec<(usize, &Completion)> = (1..).zip(&record.completions).collect();
    ranked.sort_by(|a, b| rank(b.1).total_cmp(&rank(a.1)));
    let worst = (ranked.len() > 1).then(|| ranked.last()).flatten();
    let room = usize::from(inside.height);
    for (name, chosen) in [("best", ranked.first()), ("worst", worst)] {
        let Some((number, completion)) = chosen else {
            continue;
        };
        if room >= 8 {
            let head = (*number, ranked.len());
            lines.extend(answer(completion, head, columns, each, app.theme));
        } else {
            let reward = completion
                .reward
                .map_or("–".to_owned(), |r| format::number(r.0));
            let label = format!("{name} {reward}");
            lines.extend(labelled(&label, &completion.text, columns, each, app.theme));
        }
    }
    for (row, line) in inside.rows().zip(lines) {
        buffer.set_line(row.x + 1, row.y, &line, columns as u16);
    }
}

fn title(entry: &SampleEntry) -> String {
    format!(
        "step {} group {}",
        format::count(entry.step),
        format::count(entry.group)
    )
}

fn groups(app: &App, area: Rect, buffer: &mut Buffer) {
    let Some(browser) = app.run().map(|run| &run.browser) else {
        return;
    };
    let listed = browser.listed();
    let of = format::count(browser.num_groups());
    let inside = Panel::new(format!("groups by {}", browser.order().name()))
        .below(format!("{of} groups"), "worst…best")
        .draw(area, buffer);
    let current = browser.current();
    let at = listed
        .iter()
        .position(|entry| Some(*entry) == current)
        .unwrap_or(0);
    let rows = usize::from(inside.height);
    let top = at
        .saturating_sub(rows / 2)
        .min(listed.len().saturating_sub(rows));
    let columns = usize::from(inside.width).saturating_sub(1);
    for (row, entry) in inside.rows().zip(listed.into_iter().skip(top)) {
        let is_current = Some(entry) == current;
        let rewards = match entry.reward_range {
            Some((low, high)) if low == high => format!("{high:.2} ="),
            Some((low, high)) => format!("{low:.2}…{high:.2}"),
            None => "–".to_owned(),
        };
        let mark = if is_current { "▸" } else { " " };
        let style = if is_current {
            app.theme.selected()
        } else {
            Style::new()
        };
        let name = format!("{mark}{}/{}", format::count(entry.step), entry.group);
        let name_columns = columns.saturating_sub(12);
        let line = format!(
            "{} {}",
            left(&name, name_columns),
            crate::text::right(&rewards, 11)
        );
        buffer.set_stringn(row.x, row.y, line, columns, style);
    }
}

/// Source and reference, or the prompt where there is no source or it was asked for.
fn question(
    record: &SampleRecord,
    whole: bool,
    columns: usize,
    each: usize,
    theme: Theme,
) -> Vec<Line<'static>> {
    let mut lines = Vec::new();
    match &record.source {
        Some(source) if !whole => lines.extend(labelled("source", source, columns, each, theme)),
        _ => lines.extend(labelled("prompt", &record.prompt, columns, each * 3, theme)),
    }
    if let Some(reference) = &record.reference {
        lines.extend(labelled("reference", reference, columns, each, theme));
    }
    lines
}

/// One completion: a ruled head, its text, its rewards.
fn answer(
    completion: &Completion,
    (number, of): (usize, usize),
    columns: usize,
    each: usize,
    theme: Theme,
) -> Vec<Line<'static>> {
    let reward = completion
        .reward
        .map_or("–".to_owned(), |reward| format::number(reward.0));
    let facts = format!(
        "── {number}/{of}  reward {reward}  adv {}  {} tok  ",
        format::change(completion.advantage.0, None),
        format::count(completion.tokens),
    );
    let cut_off = completion.finish_reason == "length";
    let end = match cut_off {
        true => Span::styled("▲ cut off ", theme.warn()),
        false => Span::raw(format!("{} ", clean(&completion.finish_reason))),
    };
    let used = crate::text::width(&facts) + end.width();
    let rule = "─".repeat(columns.saturating_sub(used));
    let mut lines = vec![Line::from(vec![
        Span::styled(facts, theme.title()),
        end,
        Span::styled(rule, theme.dim()),
    ])];
    lines.extend(labelled("answer", &completion.text, columns, each, theme));
    let parts = completion.rewards.iter().map(|(name, _)| {
        let name = clean(name);
        match completion.rewards.scalar(&name) {
            Some(value) => format!("{name} {} {}", format::number(value), bar(value, 6)),
            None => format!("{name} –"),
        }
    });
    let mut row = String::new();
    let mut rows = Vec::new();
    for part in parts {
        let part = crate::text::cut(&part, columns.saturating_sub(LABEL));
        if !row.is_empty()
            && crate::text::width(&row) + 2 + crate::text::width(&part) + LABEL > columns
        {
            rows.push(std::mem::take(&mut row));
        }
        row = if row.is_empty() {
            part
        } else {
            format!("{row}  {part}")
        };
    }
    rows.extend((!row.is_empty()).then_some(row));
    let indented = |row: String| Line::styled(format!("{}{row}", " ".repeat(LABEL)), theme.hint());
    lines.extend(rows.into_iter().map(indented));
    lines
}

/// A text after its name, in as many lines as it needs, at most `each`.
fn labelled(
    name: &str,
    text: &str,
    columns: usize,
    each: usize,
    theme: Theme,
) -> Vec<Line<'static>> {
    let text = clean(text);
    let mut wrapped = wrap(&text, columns.saturating_sub(LABEL), each);
    if wrapped.is_empty() {
        wrapped.push("(empty)".to_owned());
    }
    let line = |(number, text): (usize, String)| {
        let label = if number == 0 { name } else { "" };
        Line::from(vec![
            Span::styled(left(label, LABEL), theme.dim()),
            Span::raw(text),
        ])
    };
    wrapped.into_iter().enumerate().map(line).collect()
}

/// The group that is looked at, as text.
pub fn export(app: &App) -> Option<String> {
    let browser = &app.run()?.browser;
    let entry = browser.current()?;
    let record = browser.text(entry)?.as_ref().ok()?;
    let mut text = format!("{}\nprompt:\n{}\n", title(entry), record.prompt);
    for (name, part) in [("source", &record.source), ("reference", &record.reference)] {
        if let Some(part) = part {
            text.push_str(&format!("{name}:\n{part}\n"));
        }
    }
    for (number, completion) in (1..).zip(&record.completions) {
        let reward = completion
            .reward
            .map_or("–".to_owned(), |reward| reward.0.to_string());
        text.push_str(&format!(
            "\n{number}. reward {reward}:\n{}\n",
            completion.text
        ));
    }
    Some(text)
}

/// The completion that is looked at.
pub fn copied(app: &App) -> Option<String> {
    let browser = &app.run()?.browser;
    let record = browser.text(browser.current()?)?.as_ref().ok()?;
    let completion = record.completions.get(browser.completion())?;
    Some(completion.text.clone())
}
