use datasets::{SupervisedTokens, Tokenizer};
use tui::text::{clean, width};
use unicode_segmentation::UnicodeSegmentation;

use crate::TrainError;

/// Graphemes of a stretch that are shown; of a longer one its start and its end.
const SHOWN_CONTEXT: usize = 480;
const SHOWN_SUPERVISED: usize = 960;

/// How supervised text is told from the rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Marking {
    /// Green, for a terminal.
    Colour,
    /// Between ⟦ and ⟧, for everything else.
    Brackets,
}

/// A stretch of text, and whether it is learnt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stretch {
    /// The text, special tokens spelt out.
    pub text: String,
    /// Whether its tokens are in the loss.
    pub supervised: bool,
}

/// The text of a sequence, cut where the loss mask changes.
///
/// # Errors
/// The tokenizer cannot decode.
pub fn stretches(
    tokenizer: &Tokenizer,
    tokens: &SupervisedTokens,
) -> Result<Vec<Stretch>, TrainError> {
    let mut end = 0;
    tokens
        .loss_mask
        .chunk_by(|a, b| a == b)
        .map(|mask| {
            let start = end;
            end += mask.len();
            Ok(Stretch {
                text: tokenizer.decode_with_special(&tokens.ids[start..end])?,
                supervised: mask[0],
            })
        })
        .collect()
}

/// The text in lines of at most `columns` columns, each indented by two. Line ends are shown as `↵`
/// and kept; of long stretches the middle is left out.
pub fn lines(stretches: &[Stretch], marking: Marking, columns: usize) -> Vec<String> {
    let mut page = Page::new(columns - INDENT.len(), marking);
    for stretch in stretches {
        let shown = match stretch.supervised {
            true => SHOWN_SUPERVISED,
            false => SHOWN_CONTEXT,
        };
        page.marked(stretch.supervised, |page| {
            let graphemes: Vec<&str> = stretch.text.graphemes(true).collect();
            match graphemes.len().checked_sub(shown + shown / 4) {
                Some(left) if left > 0 => {
                    let (head, rest) = graphemes.split_at(shown / 2);
                    let (middle, tail) = rest.split_at(rest.len() - shown / 2);
                    page.push_all(head);
                    let note = format!(" … {} characters … ", middle.len());
                    page.push_all(&note.graphemes(true).collect::<Vec<_>>());
                    page.push_all(tail);
                }
                _ => page.push_all(&graphemes),
            }
        });
    }
    page.finish()
}

const INDENT: &str = "  ";
const GREEN: &str = "\u{1b}[32m";
const RESET: &str = "\u{1b}[0m";

/// Lines in the making.
struct Page {
    columns: usize,
    marking: Marking,
    lines: Vec<String>,
    line: Vec<(String, bool)>,
    supervised: bool,
}

impl Page {
    fn new(columns: usize, marking: Marking) -> Self {
        Page {
            columns,
            marking,
            lines: Vec::new(),
            line: Vec::new(),
            supervised: false,
        }
    }

    fn marked(&mut self, supervised: bool, write: impl FnOnce(&mut Self)) {
        self.supervised = supervised;
        let brackets = supervised && self.marking == Marking::Brackets;
        if brackets {
            self.push("⟦");
        }
        write(self);
        if brackets {
            self.push("⟧");
        }
    }

    fn push_all(&mut self, graphemes: &[&str]) {
        for grapheme in graphemes {
            match *grapheme {
                "\n" | "\r\n" => {
                    self.push("↵");
                    self.end_line(self.line.len());
                }
                _ if grapheme.trim().is_empty() => self.push(" "),
                _ => self.push(&clean(grapheme)),
            }
        }
    }

    fn push(&mut self, grapheme: &str) {
        let used: usize = self.line.iter().map(|(g, _)| width(g)).sum();
        if used + width(grapheme) > self.columns {
            // Behind the last space, unless that leaves most of the line empty.
            let space = self.line.iter().rposition(|(g, _)| g == " ");
            let end = space.map_or(0, |at| at + 1);
            let end = if end * 2 > self.line.len() {
                end
            } else {
                self.line.len()
            };
            self.end_line(end);
        }
        self.line.push((grapheme.to_owned(), self.supervised));
    }

    /// The first `end` graphemes are a line, the others begin the next one.
    fn end_line(&mut self, end: usize) {
        let rest = self.line.split_off(end);
        let line = std::mem::replace(&mut self.line, rest);
        let mut text = INDENT.to_owned();
        for run in line.chunk_by(|a, b| a.1 == b.1) {
            let coloured = run[0].1 && self.marking == Marking::Colour;
            text.push_str(if coloured { GREEN } else { "" });
            text.extend(run.iter().map(|(grapheme, _)| grapheme.as_str()));
            text.push_str(if coloured { RESET } else { "" });
        }
        self.lines.push(text.trim_end().to_owned());
    }

    fn finish(mut self) -> Vec<String> {
        if !self.line.is_empty() {
            self.end_line(self.line.len());
        }
        self.lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conversation() -> [Stretch; 2] {
        let stretch = |text: &str, supervised| Stretch {
            text: text.to_owned(),
            supervised,
        };
        [
            stretch("<user>\nthe tower? <model>\n", false),
            stretch("Der Turm 塔.<end>", true),
        ]
    }

    #[test]
    fn supervised_text_stands_in_brackets_where_there_is_no_colour() {
        let got = lines(&conversation(), Marking::Brackets, 80);
        let want = [
            "  <user>↵",
            "  the tower? <model>↵",
            "  ⟦Der Turm 塔.<end>⟧",
        ];
        assert_eq!(got, want);
    }

    #[test]
    fn in_a_terminal_it_is_coloured_on_every_line_that_it_stands_on() {
        let got = lines(&conversation(), Marking::Colour, 14);
        let want = [
            "  <user>↵",
            "  the tower?",
            "  <model>↵",
            "  \u{1b}[32mDer Turm \u{1b}[0m",
            "  \u{1b}[32m塔.<end>\u{1b}[0m",
        ];
        assert_eq!(got, want);
    }

    #[test]
    fn no_line_is_wider_than_asked_and_the_middle_of_a_long_stretch_is_left_out() {
        let stretch = Stretch {
            text: "塔 tower ".repeat(1000),
            supervised: false,
        };
        let got = lines(&[stretch], Marking::Brackets, 40);
        assert!(got.iter().all(|line| width(line) <= 40));
        // Of 8,000 graphemes all but 480.
        assert!(
            got.len() < 20 && got.join(" ").contains("7520 characters"),
            "{got:?}"
        );
    }

    #[test]
    fn control_characters_of_the_data_do_not_reach_the_terminal() {
        let stretch = Stretch {
            text: "a\u{1b}[2Jb\tc\r\nd".to_owned(),
            supervised: false,
        };
        let got = lines(&[stretch], Marking::Brackets, 40).concat();
        assert!(!got.contains(['\u{1b}', '\t', '\r']), "{got:?}");
    }
}
