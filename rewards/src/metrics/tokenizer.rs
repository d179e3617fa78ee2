//! sacreBLEU's tokenisers `13a`, `zh`, `char` and `none`.

use super::text::{is_space, words};

/// How BLEU cuts a segment into words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Tokenizer {
    /// WMT's mteval-v13a, the default.
    #[default]
    V13a,
    /// Every Chinese character a word, the rest as `13a` (without its entities).
    Zh,
    /// Every character a word.
    Char,
    /// White space only.
    None,
}

impl Tokenizer {
    /// All tokenisers, in the order help texts list them.
    pub const ALL: [Tokenizer; 4] = [Self::V13a, Self::Zh, Self::Char, Self::None];

    /// sacreBLEU's name, as written in signatures.
    pub fn name(self) -> &'static str {
        match self {
            Self::V13a => "13a",
            Self::Zh => "zh",
            Self::Char => "char",
            Self::None => "none",
        }
    }

    /// The words of `segment` joined by single spaces.
    pub fn tokenize(self, segment: &str) -> String {
        let segment = segment.trim_end_matches(is_space);
        match self {
            Self::V13a => join(&split_punctuation(unescape(segment).chars())),
            Self::Zh => join(&split_punctuation(isolate_chinese(
                segment.trim_start_matches(is_space),
            ))),
            Self::Char => join(&segment.chars().flat_map(|c| [c, ' ']).collect::<String>()),
            Self::None => join(segment),
        }
    }
}

impl std::str::FromStr for Tokenizer {
    type Err = UnknownTokenizer;

    fn from_str(name: &str) -> Result<Self, UnknownTokenizer> {
        Self::ALL
            .into_iter()
            .find(|t| t.name() == name)
            .ok_or_else(|| UnknownTokenizer(name.to_owned()))
    }
}

/// A tokeniser name that is none of ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown tokenizer {0:?}: expected 13a, zh, char or none")]
pub struct UnknownTokenizer(String);

fn join(text: &str) -> String {
    let mut joined = String::with_capacity(text.len());
    for word in words(text) {
        if !joined.is_empty() {
            joined.push(' ');
        }
        joined.push_str(word);
    }
    joined
}

/// The language-independent half of mteval-v13a, in its order: `&amp;lt;` ends as `<`.
fn unescape(segment: &str) -> String {
    let mut line = segment
        .replace("<skipped>", "")
        .replace("-\n", "")
        .replace('\n', " ");
    if line.contains('&') {
        for (entity, plain) in [
            ("&quot;", "\""),
            ("&amp;", "&"),
            ("&lt;", "<"),
            ("&gt;", ">"),
        ] {
            line = line.replace(entity, plain);
        }
    }
    format!(" {line} ")
}

/// The four substitutions of sacreBLEU's `TokenizerRegexp`, each over the result of the one before.
fn split_punctuation(line: impl Iterator<Item = char>) -> String {
    let mut isolated = Vec::new();
    for c in line {
        match c {
            '{'..='~' | '['..='`' | ' '..='&' | '('..='+' | ':'..='@' | '/' => {
                isolated.extend([' ', c, ' '])
            }
            _ => isolated.push(c),
        }
    }
    let stop = |c| matches!(c, '.' | ',');
    let digit = |c: char| c.is_ascii_digit();
    let line = rewrite_pairs(
        &isolated,
        |a, b| !digit(a) && stop(b),
        |a, b| [a, ' ', b, ' '],
    );
    let line = rewrite_pairs(&line, |a, b| stop(a) && !digit(b), |a, b| [' ', a, ' ', b]);
    rewrite_pairs(&line, |a, b| digit(a) && b == '-', |a, b| [a, ' ', b, ' '])
        .into_iter()
        .collect()
}

/// Replaces each pair that matches, left to right without overlap, as `re.sub` does.
fn rewrite_pairs(
    line: &[char],
    matches: impl Fn(char, char) -> bool,
    rewrite: impl Fn(char, char) -> [char; 4],
) -> Vec<char> {
    let mut out = Vec::with_capacity(line.len() + 16);
    let mut rest = line;
    loop {
        match rest {
            [a, b, tail @ ..] if matches(*a, *b) => {
                out.extend(rewrite(*a, *b));
                rest = tail;
            }
            [a, tail @ ..] => {
                out.push(*a);
                rest = tail;
            }
            [] => return out,
        }
    }
}

fn isolate_chinese(segment: &str) -> impl Iterator<Item = char> {
    segment
        .chars()
        .flat_map(|c| {
            if is_chinese(c) {
                [Some(' '), Some(c), Some(' ')]
            } else {
                [Some(c), None, None]
            }
        })
        .flatten()
}

/// sacreBLEU's table, with what it does rather than what it says: Python reads `'\u20000'` as U+2000
/// followed by a zero, so the two ranges meant for the supplementary planes are U+2001–2A6D and
/// U+2F81–2FA1 (which makes `“`, `…` and `–` Chinese) and the supplementary planes are not covered.
fn is_chinese(c: char) -> bool {
    matches!(
        c,
        '\u{2001}'..='\u{2a6d}' // meant for Extension B; covers the symbols at U+2600–27BF
            | '\u{2e80}'..='\u{2fdf}' // radicals
            | '\u{2ff0}'..='\u{303f}' // structure, punctuation
            | '\u{3100}'..='\u{312f}'
            | '\u{31a0}'..='\u{31bf}'
            | '\u{31c0}'..='\u{31ef}' // phonetic symbols, strokes
            | '\u{3200}'..='\u{33ff}' // enclosed, compatibility
            | '\u{3400}'..='\u{4db5}'
            | '\u{4e00}'..='\u{9fbb}' // unified ideographs
            | '\u{f900}'..='\u{fa2d}'
            | '\u{fa30}'..='\u{fa6a}'
            | '\u{fa70}'..='\u{fad9}' // compatibility ideographs
            | '\u{fe10}'..='\u{fe1f}'
            | '\u{fe30}'..='\u{fe4f}'
            | '\u{ff00}'..='\u{ffef}' // vertical, compatibility and full-width forms
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn v13a_splits_punctuation_but_not_numbers() {
        let tokenize = |s| Tokenizer::V13a.tokenize(s);
        assert_eq!(
            tokenize("It costs 1,234.50 (or so), e.g. 3-4."),
            "It costs 1,234.50 ( or so ) , e . g . 3 - 4 ."
        );
        assert_eq!(tokenize("&quot;A &amp;lt; B&quot;"), "\" A < B \"");
        assert_eq!(tokenize("well-\nknown\nthing<skipped>"), "wellknown thing");
        assert_eq!(tokenize("a,.b"), "a , . b");
    }

    #[test]
    fn zh_keeps_the_quirks_of_the_range_table() {
        assert_eq!(
            Tokenizer::Zh.tokenize(" 你好, “world” 𠀀𠀁"),
            "你 好 , “ world ” 𠀀𠀁"
        );
    }

    #[test]
    fn char_drops_white_space_and_none_keeps_words() {
        assert_eq!(Tokenizer::Char.tokenize("ab c "), "a b c");
        assert_eq!(Tokenizer::None.tokenize("a.b \u{a0} c"), "a.b c");
    }

    #[test]
    fn names_parse_and_unknown_ones_say_what_is_known() {
        for tokenizer in Tokenizer::ALL {
            assert_eq!(tokenizer.name().parse(), Ok(tokenizer));
        }
        assert!(
            "intl"
                .parse::<Tokenizer>()
                .unwrap_err()
                .to_string()
                .contains("13a, zh, char or none")
        );
    }
}
