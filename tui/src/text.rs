//! Text from elsewhere, made to fit: cut by display width and grapheme, never by byte.

use std::ops::Range;

use ratatui::buffer::CellWidth;
use unicode_segmentation::UnicodeSegmentation;

/// One line of harmless text: line ends become `↵`, tabs spaces; control characters and the marks that
/// turn the direction of everything after them are left out.
pub fn clean(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for c in text.trim_end().chars() {
        match c {
            '\n' => line.push('↵'),
            '\t' => line.push(' '),
            c if c.is_control() || is_invisible(c) => {}
            c => line.push(c),
        }
    }
    line
}

/// Columns that a terminal gives the text.
pub fn width(text: &str) -> usize {
    let drawn = text
        .graphemes(true)
        .filter(|grapheme| !grapheme.contains(char::is_control));
    drawn
        .map(|grapheme| usize::from(grapheme.cell_width()))
        .sum()
}

/// The text in at most `columns` columns, its end replaced by `…` where something was cut.
pub fn cut(text: &str, columns: usize) -> String {
    if width(text) <= columns {
        return text.to_owned();
    }
    if columns == 0 {
        return String::new();
    }
    let mut kept = take(text, columns - 1).to_owned();
    kept.push('…');
    kept
}

/// The text in exactly `columns` columns, at the left.
pub fn left(text: &str, columns: usize) -> String {
    let mut text = cut(text, columns);
    let missing = columns.saturating_sub(width(&text));
    text.extend(std::iter::repeat_n(' ', missing));
    text
}

/// The text in exactly `columns` columns, at the right.
pub fn right(text: &str, columns: usize) -> String {
    let text = cut(text, columns);
    let missing = columns.saturating_sub(width(&text));
    format!("{}{text}", " ".repeat(missing))
}

/// The end of a path or name in at most `columns` columns, its start replaced by `…`.
pub fn cut_start(text: &str, columns: usize) -> String {
    let mut rest = text;
    while width(rest) + usize::from(rest.len() < text.len()) > columns {
        let skip = rest.graphemes(true).next().map_or(rest.len(), str::len);
        rest = &rest[skip..];
        if rest.is_empty() {
            break;
        }
    }
    match rest.len() < text.len() && columns > 0 {
        true => format!("…{rest}"),
        false => rest.to_owned(),
    }
}

/// A word as a shell reads it back.
pub fn shell_word(word: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "-_./=:,+@%".contains(c);
    match !word.is_empty() && word.chars().all(plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
}

/// The text in lines of at most `columns` columns, broken after words where that is possible, at most
/// `max_lines` of them; `…` ends the last where something is left.
pub fn wrap(text: &str, columns: usize, max_lines: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() && columns > 0 && lines.len() < max_lines {
        if lines.len() + 1 == max_lines {
            lines.push(cut(rest, columns));
            break;
        }
        let end = line_end(rest, columns);
        if end == 0 {
            break;
        }
        lines.push(rest[..end].trim_end().to_owned());
        rest = rest[end..].trim_start();
    }
    lines
}

/// How much of a text is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// All of it, a new line after each `↵`.
    Whole,
    /// So many lines, filled.
    Lines(usize),
}

/// Where a text that [`clean`] has made is broken into lines of at most `columns` columns. The spaces at a break
/// belong to no line, but for those at the beginning of a line of the text itself.
pub fn breaks(text: &str, columns: usize, extent: Extent) -> Vec<Range<usize>> {
    let (max_lines, line_mark) = match extent {
        Extent::Whole => (usize::MAX, '↵'),
        // No text that is shown has this character.
        Extent::Lines(max_lines) => (max_lines, '\n'),
    };
    let mut lines = Vec::new();
    let mut start = 0;
    for paragraph in text.split_inclusive(line_mark) {
        let paragraph_end = start + paragraph.len();
        while start < paragraph_end {
            let rest = &text[start..paragraph_end];
            let end = line_end(rest, columns);
            if end == 0 || lines.len() == max_lines {
                return lines;
            }
            lines.push(start..start + end);
            let spaces = rest[end..].len() - rest[end..].trim_start().len();
            start += end + spaces;
        }
    }
    lines
}

/// Whether some of the text runs from right to left; such a text stands on lines of its own, since a terminal that
/// turns it may turn what is beside it, too.
pub fn is_right_to_left(text: &str) -> bool {
    let turns = |c| {
        matches!(c, '\u{590}'..='\u{8ff}' | '\u{fb1d}'..='\u{fdff}' | '\u{fe70}'..='\u{fefc}'
            | '\u{10800}'..='\u{10fff}' | '\u{1e800}'..='\u{1efff}')
    };
    text.contains(turns)
}

/// The end of the first line of the text; 0 where not even one grapheme fits.
fn line_end(text: &str, columns: usize) -> usize {
    let fits = take(text, columns);
    if fits.len() == text.len() || text[fits.len()..].starts_with(' ') {
        return fits.len();
    }
    // A line that would be less than half full is broken inside the word, as text without spaces is.
    let space = fits
        .rfind(' ')
        .filter(|at| width(&fits[..*at]) * 2 >= columns);
    space.unwrap_or(fits.len())
}

/// The longest start of the text that fits.
fn take(text: &str, columns: usize) -> &str {
    let (mut end, mut used) = (0, 0);
    for grapheme in text.graphemes(true) {
        used += width(grapheme);
        if used > columns {
            break;
        }
        end += grapheme.len();
    }
    &text[..end]
}

/// Directional overrides, isolates, and characters without width that join nothing.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    const WIDE: [&str; 7] = [
        "The committee will meet again.",
        "委員会は五月三日に再び開かれる。",
        "समिति 3 मई को फिर बैठक करेगी।",
        "ستجتمع اللجنة مجددا في 3 مايو.",
        "👩‍👩‍👧‍👦 family 🇯🇵 ✌🏽 done",
        "ﾊﾟｰﾃｨｰ half width",
        "e\u{301}\u{302}\u{303} stacked",
    ];

    #[test]
    fn no_cut_is_ever_wider_than_asked() {
        for text in WIDE {
            for columns in 0..40 {
                assert!(width(&cut(text, columns)) <= columns, "{text} in {columns}");
                assert!(
                    width(&cut_start(text, columns)) <= columns,
                    "{text} in {columns}"
                );
                assert_eq!(width(&left(text, columns)), columns, "{text} in {columns}");
                assert_eq!(width(&right(text, columns)), columns, "{text} in {columns}");
                let lines = wrap(text, columns, 3);
                assert!(lines.len() <= 3 && lines.iter().all(|line| width(line) <= columns));
            }
        }
    }

    #[test]
    fn wrapping_loses_nothing_but_spaces() {
        let joined = |text: &str| text.replace(' ', "");
        for text in WIDE {
            for columns in 4..40 {
                assert_eq!(
                    joined(&wrap(text, columns, 99).concat()),
                    joined(text),
                    "{columns}"
                );
            }
        }
        assert_eq!(wrap("one two three", 8, 9), ["one two", "three"]);
        assert_eq!(wrap("one two three", 8, 1), ["one two…"]);
    }

    #[test]
    fn a_text_read_as_a_whole_keeps_its_lines() {
        let lines = |text: &str, columns| -> Vec<String> {
            let lines = breaks(text, columns, Extent::Whole);
            lines.into_iter().map(|at| text[at].to_owned()).collect()
        };
        assert_eq!(
            lines("one two three↵  four↵↵five", 8),
            ["one two", "three↵", "  four↵", "↵", "five"]
        );
        let filled = breaks("one↵two three", 8, Extent::Lines(2));
        assert_eq!(filled, [0..9, 10..15]);
        for text in WIDE {
            for columns in 4..40 {
                let lines = lines(text, columns);
                assert!(lines.iter().all(|line| width(line) <= columns), "{columns}");
                assert_eq!(lines.concat().replace(' ', ""), text.replace(' ', ""));
            }
        }
        assert!(is_right_to_left(WIDE[3]) && !is_right_to_left(WIDE[2]));
    }

    #[test]
    fn what_would_disturb_a_terminal_is_left_out() {
        assert_eq!(clean("a\tb\nc\r\u{1b}[31m\u{202e}d\n\n"), "a b↵c[31md");
        assert_eq!(clean("क्‍ष 👩‍🚀"), "क्‍ष 👩‍🚀");
    }
}
