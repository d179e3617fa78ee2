//! What the model was asked.

use ratatui::text::{Line, Span};

use super::runs_of_text::{lines, plain};
use crate::browser::Group;
use crate::text::{Extent, is_right_to_left, left};
use crate::theme::Theme;

/// Columns of the names before texts.
const LABEL: usize = 12;

/// Source and reference, each in at most `each` lines; the prompt where there is no source.
pub fn short(group: &Group, columns: usize, each: usize, theme: Theme) -> Vec<Line<'static>> {
    let mut shown = match &group.source {
        Some(source) => labelled("source", source, columns, each, theme),
        None => labelled("prompt", &group.prompt, columns, each, theme),
    };
    if let Some(reference) = &group.reference {
        shown.extend(labelled("reference", reference, columns, each, theme));
    }
    shown
}

/// All of it under headings, texts over the whole width.
pub fn whole(group: &Group, columns: usize, theme: Theme) -> Vec<Line<'static>> {
    let parts = [
        ("source", group.source.as_ref()),
        ("reference", group.reference.as_ref()),
        ("prompt", Some(&group.prompt)),
    ];
    let mut shown = Vec::new();
    for (name, text) in parts {
        let Some(text) = text else { continue };
        let rule = "─".repeat(columns.saturating_sub(name.len() + 4));
        shown.push(Line::styled(format!("── {name} {rule}"), theme.dim()));
        shown.extend(lines(&plain(text), columns, Extent::Whole));
    }
    shown
}

/// A text after its name, in at most `each` lines. One that runs from right to left stands below its name.
pub fn labelled(
    name: &str,
    text: &str,
    columns: usize,
    each: usize,
    theme: Theme,
) -> Vec<Line<'static>> {
    let runs = plain(text);
    if is_right_to_left(&runs[0].0) {
        let mut shown = vec![Line::styled(name.to_owned(), theme.dim())];
        shown.extend(lines(&runs, columns, Extent::Lines(each)));
        return shown;
    }
    let text = lines(&runs, columns.saturating_sub(LABEL), Extent::Lines(each));
    let line = |(number, text): (usize, Line<'static>)| {
        let label = if number == 0 { name } else { "" };
        let mut spans = vec![Span::styled(left(label, LABEL), theme.dim())];
        spans.extend(text.spans);
        Line::from(spans)
    };
    text.into_iter().enumerate().map(line).collect()
}
