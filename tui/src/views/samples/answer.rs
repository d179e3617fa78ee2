//! One completion: its numbers, its text, the parts of its reward.

use ratatui::style::Style;
use ratatui::text::{Line, Span};

use super::runs_of_text::{self, Run};
use crate::browser::{Answer, Difference, Group, Part, Scale};
use crate::format;
use crate::text::{Extent, clean, cut, left, width};
use crate::theme::Theme;
use crate::widgets::share_bar::bar;

/// Texts that share less than this with what they are compared with are shown without marks: almost all would
/// be marked, and nobody could read it.
const MIN_SIMILARITY: f64 = 0.15;

/// Columns before texts and parts.
const INDENT: usize = 2;

/// How a completion is drawn.
#[derive(Debug, Clone, Copy)]
pub struct Shown<'a> {
    /// Whether it is the one selected.
    pub selected: bool,
    /// How much of its text.
    pub extent: Extent,
    /// What differences are marked against.
    pub difference: Difference,
    /// The width.
    pub columns: usize,
    /// That of each part's values, as [`part_columns`] gives it.
    pub part_columns: &'a [usize],
    /// The colours.
    pub theme: Theme,
}

/// The completion at that place of the group.
pub fn lines(group: &Group, at: usize, shown: Shown<'_>) -> Vec<Line<'static>> {
    let answer = &group.answers[at];
    let compared = group.difference(at, shown.difference);
    let mut facts = facts(group, at, shown);
    // Where there is no room for all, the last ones go, and what was asked for is not among them.
    let place = facts.len().min(4);
    match (compared, shown.difference) {
        (Some(compared), _) => {
            let alike = format!("{:.0}% alike", (compared.similarity * 100.0).floor());
            facts.insert(place, (alike, shown.theme.hint()));
        }
        (None, Difference::Best) if group.best() == Some(at) => {
            facts.insert(place, ("the best".to_owned(), shown.theme.ok()));
        }
        _ => {}
    }
    let mut lines = head(facts, shown);
    let runs = match compared.filter(|compared| compared.similarity >= MIN_SIMILARITY) {
        Some(compared) => runs_of_text::marked(&compared.pieces, shown.theme),
        None => vec![(answer.drawn.clone(), Style::new())],
    };
    let columns = shown.columns.saturating_sub(INDENT);
    lines.extend(
        runs_of_text::lines(&runs, columns, shown.extent)
            .into_iter()
            .map(indented),
    );
    lines.extend(
        flow(parts(group, answer, columns, shown), columns)
            .into_iter()
            .map(indented),
    );
    lines
}

/// A reward and its style.
pub fn reward(reward: Option<f64>, theme: Theme) -> Run {
    match reward {
        None => ("–".to_owned(), theme.dim()),
        Some(reward) if reward.is_nan() => ("✖ NaN".to_owned(), theme.bad()),
        Some(reward) => (format::number(reward), Style::new()),
    }
}

/// The numbers of a completion, the most important first.
fn facts(group: &Group, at: usize, shown: Shown<'_>) -> Vec<Run> {
    let (answer, theme) = (&group.answers[at], shown.theme);
    let (number, of) = (at + 1, group.answers.len());
    let strong = match shown.selected {
        true => theme.selected(),
        false => theme.title(),
    };
    let (value, style) = reward(answer.reward, theme);
    let style = if style == Style::new() { strong } else { style };
    let Some(sampled) = &answer.sampled else {
        return vec![(format!(" reward {value}"), style)];
    };
    let mark = if shown.selected { "▸" } else { " " };
    let mut facts = vec![
        (format!("{mark}{number}/{of}"), strong),
        (format!("reward {value}"), style),
    ];
    let signed = |value: f64| format::change(value, None);
    let warned = |value: f64| match value.is_finite() {
        true => Style::new(),
        false => theme.bad(),
    };
    let advantage = format!("adv {}", signed(sampled.advantage));
    facts.push((advantage, warned(sampled.advantage)));
    facts.push(match sampled.is_cut_off() {
        true => ("▲ cut off".to_owned(), theme.warn()),
        false => (clean(&sampled.finish_reason), theme.dim()),
    });
    let tokens = format!("{} tok", format::count(sampled.tokens));
    facts.push((tokens, Style::new()));
    let sum = format!("logp {}", signed(sampled.logprob_sum));
    facts.push((sum, warned(sampled.logprob_sum)));
    if let Some(mean) = sampled.mean_logprob() {
        facts.push((format!("mean {}", signed(mean)), warned(mean)));
    }
    facts
}

/// The numbers in a ruled line; those that do not fit stand below if the completion is the one selected.
fn head(facts: Vec<Run>, shown: Shown<'_>) -> Vec<Line<'static>> {
    let rule = |columns: usize| Span::styled("─".repeat(columns), shown.theme.dim());
    let mut lines = flow(facts, shown.columns.saturating_sub(3));
    if !shown.selected {
        lines.truncate(1);
    }
    for (at, line) in lines.iter_mut().enumerate() {
        if at > 0 {
            *line = indented(std::mem::take(line));
            continue;
        }
        let used = line.width() + 3;
        line.spans.insert(0, rule(2));
        if used < shown.columns {
            line.spans.push(Span::raw(" "));
            line.spans.push(rule(shown.columns - used));
        }
    }
    lines
}

/// Each part as a name with a number and a bar, or with a verdict; one part is as wide for all completions of a group.
fn parts(group: &Group, answer: &Answer, columns: usize, shown: Shown<'_>) -> Vec<Run> {
    const BAR: usize = 6;
    let theme = shown.theme;
    let mut runs = Vec::new();
    for (at, part) in group.parts.iter().enumerate() {
        let name = cut(&clean(&part.name), columns.saturating_sub(BAR + 8));
        let value = answer.parts.get(at).copied().flatten();
        let style = match (value, part.scale) {
            (Some(value), _) if value.is_nan() => theme.bad(),
            (Some(0.0), Scale::Verdict) => theme.warn(),
            (Some(_), Scale::Verdict) => theme.ok(),
            (Some(_), _) => theme.hint(),
            (None, _) => theme.dim(),
        };
        let value_text = left(&part_value(value, part.scale), shown.part_columns[at]);
        let drawn = match (part.scale, value.filter(|value| !value.is_nan())) {
            (Scale::Share, Some(value)) => format!(" {}", bar(value, BAR)),
            (Scale::Share, None) => " ".repeat(BAR + 1),
            _ => String::new(),
        };
        runs.push((format!("{name} {value_text}{drawn}"), style));
    }
    runs
}

/// How wide the values of each part are, so that they stand below each other.
pub fn part_columns(group: &Group) -> Vec<usize> {
    let widest = |(at, part): (usize, &Part)| {
        let values = group.answers.iter().map(|answer| answer.parts[at]);
        let widths = values.map(|value| width(&part_value(value, part.scale)));
        widths.max().unwrap_or(0)
    };
    group.parts.iter().enumerate().map(widest).collect()
}

fn part_value(value: Option<f64>, scale: Scale) -> String {
    match (value, scale) {
        (None, _) => "–".to_owned(),
        (Some(value), _) if value.is_nan() => "✖ NaN".to_owned(),
        (Some(1.0), Scale::Verdict) => "✔".to_owned(),
        (Some(_), Scale::Verdict) => "✖".to_owned(),
        (Some(value), _) => format::number(value),
    }
}

/// The pieces in lines, two spaces between them; none is cut unless it is wider than a line.
fn flow(pieces: Vec<Run>, columns: usize) -> Vec<Line<'static>> {
    let mut lines: Vec<Line> = Vec::new();
    let mut used = columns;
    for (text, style) in pieces {
        let text = cut(&text, columns);
        let gap = if used == 0 { 0 } else { 2 };
        let span = Span::styled(text, style);
        match lines.last_mut() {
            Some(line) if used + gap + span.width() <= columns => {
                used += gap + span.width();
                line.spans.push(Span::raw("  "));
                line.spans.push(span);
            }
            _ => {
                used = span.width();
                lines.push(Line::from(span));
            }
        }
    }
    lines
}

fn indented(mut line: Line<'static>) -> Line<'static> {
    line.spans.insert(0, Span::raw(" ".repeat(INDENT)));
    line
}
