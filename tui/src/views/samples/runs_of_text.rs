//! A text of several styles in lines.

use ratatui::style::Style;
use ratatui::text::{Line, Span};

use crate::text::{Extent, breaks, clean, cut, width};
use crate::theme::Theme;
use crate::widgets::word_diff::Piece;

/// Some text in one style.
pub type Run = (String, Style);

/// A text as it is.
pub fn plain(text: &str) -> Vec<Run> {
    vec![(clean(text), Style::new())]
}

/// A text with the marks of its difference from another: `‹−the other +this›`.
pub fn marked(pieces: &[Piece], theme: Theme) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    for piece in pieces {
        let (deleted, inserted) = match piece {
            Piece::Same(text) => {
                runs.push((text.clone(), Style::new()));
                continue;
            }
            Piece::Changed { deleted, inserted } => (deleted.as_str(), inserted.as_str()),
        };
        let (old, new) = (deleted.trim(), inserted.trim());
        if old.is_empty() && new.is_empty() {
            runs.push((inserted.to_owned(), Style::new()));
            continue;
        }
        // Spaces stay outside the marks, as they stand in the text that is shown where it has any there.
        let outer = if new.is_empty() { deleted } else { inserted };
        let starts = outer.len() - outer.trim_start().len();
        let ends = outer.trim_end().len();
        runs.push((format!("{}‹", &outer[..starts]), Style::new()));
        if !old.is_empty() {
            runs.push((format!("−{old}"), theme.deleted()));
        }
        if !old.is_empty() && !new.is_empty() {
            runs.push((" ".to_owned(), Style::new()));
        }
        if !new.is_empty() {
            runs.push((format!("+{new}"), theme.inserted()));
        }
        runs.push((format!("›{}", &outer[ends..]), Style::new()));
    }
    runs
}

/// The text in lines of at most `columns` columns; `…` ends the last where something is left.
pub fn lines(runs: &[Run], columns: usize, extent: Extent) -> Vec<Line<'static>> {
    let text: String = runs.iter().map(|(text, _)| text.as_str()).collect();
    if text.trim().is_empty() {
        let empty = if text.is_empty() {
            "(empty)"
        } else {
            "(only spaces)"
        };
        return vec![Line::styled(cut(empty, columns), Theme::PLAIN.dim())];
    }
    let broken = breaks(&text, columns, extent);
    let end = broken.last().map_or(0, |line| line.end);
    let is_cut = !text[end..].trim().is_empty();
    let mut lines: Vec<Line> = Vec::with_capacity(broken.len());
    // The first run that reaches into a line, and where it begins.
    let (mut first, mut first_start) = (0, 0);
    for range in broken {
        while first_start + runs[first].0.len() <= range.start {
            first_start += runs[first].0.len();
            first += 1;
        }
        let mut spans = Vec::new();
        let mut start = first_start;
        for (run, style) in &runs[first..] {
            if start >= range.end {
                break;
            }
            let (from, to) = (range.start.max(start), range.end.min(start + run.len()));
            if from < to {
                spans.push(Span::styled(text[from..to].to_owned(), *style));
            }
            start += run.len();
        }
        lines.push(Line::from(spans));
    }
    if let Some(last) = lines.last_mut().filter(|_| is_cut) {
        shorten(last, columns);
    }
    lines
}

/// Makes room for `…` at the end and puts it there.
fn shorten(line: &mut Line<'static>, columns: usize) {
    while let Some(span) = line.spans.pop() {
        let before: usize = line.spans.iter().map(|span| width(&span.content)).sum();
        let room = columns.saturating_sub(before);
        if room > 0 {
            // One character more than there is room for, so that the cut is seen.
            let text = format!("{}  ", span.content.trim_end());
            let text = match width(&text) > room {
                true => cut(&text, room),
                false => format!("{} …", span.content.trim_end()),
            };
            line.spans.push(Span::styled(text, span.style));
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::widgets::word_diff::word_diff;

    fn shown(before: &str, after: &str, columns: usize, max_lines: usize) -> Vec<String> {
        let runs = marked(&word_diff(before, after), Theme::PLAIN);
        let lines = lines(&runs, columns, Extent::Lines(max_lines));
        lines.iter().map(Line::to_string).collect()
    }

    #[test]
    fn marks_stand_around_words_and_not_around_spaces() {
        assert_eq!(shown("a b c", "a c", 40, 9), ["a ‹−b› c"]);
        assert_eq!(shown("a c", "a b c", 40, 9), ["a ‹+b› c"]);
        assert_eq!(shown("a b", "a d", 40, 9), ["a ‹−b +d›"]);
        assert_eq!(shown("", "new", 40, 9), ["‹+new›"]);
        assert_eq!(shown("a  b", "a b", 40, 9), ["a b"]);
        assert_eq!(shown("再び", "再度", 40, 9), ["再‹−び +度›"]);
    }

    #[test]
    fn lines_keep_their_styles_and_say_where_they_are_cut() {
        let text = shown("one two three", "one 2 three", 9, 9);
        assert_eq!(text, ["one ‹−two", "+2› three"]);
        assert_eq!(shown("one two", "one two", 4, 1), ["one…"]);
        let runs = marked(&word_diff("one two", "one 2"), Theme::ANSI);
        let styled = lines(&runs, 80, Extent::Whole);
        let of = |text: &str| {
            let span = styled[0].spans.iter().find(|span| span.content == text);
            span.map(|span| span.style)
        };
        assert_eq!(of("−two"), Some(Theme::ANSI.deleted()));
        assert_eq!(of("+2"), Some(Theme::ANSI.inserted()));
        assert_eq!(of("one "), Some(Style::new()));
        assert_eq!(
            lines(&plain(""), 80, Extent::Whole)[0].to_string(),
            "(empty)"
        );
    }

    #[test]
    fn no_line_is_wider_than_asked() {
        let after = "ستجتمع اللجنة 👩‍👩‍👧‍👦 family 委員会は五月三日 समिति e\u{301}\u{302} once";
        let before = "ستجتمع 👩‍🚀 family 委員会は三日 समिति की e\u{301} twice";
        for columns in 2..60 {
            for max_lines in 1..5 {
                let lines = shown(before, after, columns, max_lines);
                assert!(lines.len() <= max_lines);
                assert!(lines.iter().all(|line| width(line) <= columns), "{lines:?}");
            }
        }
    }
}
