//! What two texts share, word by word.

use similar::{Algorithm, DiffOp, capture_diff_slices};
use unicode_segmentation::UnicodeSegmentation;

/// A part of the comparison, in the order of both texts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// Stands in both.
    Same(String),
    /// Stands in one of them, or differs between the two.
    Changed {
        /// What only the first text has here.
        deleted: String,
        /// What only the second text has here.
        inserted: String,
    },
}

/// Words, spaces and signs beyond these are compared as one: two long texts without anything in common take a
/// time that grows with the square of this.
const MAX_WORDS: usize = 2000;

/// How the second text differs from the first. Scripts without spaces (Chinese, Japanese, Thai, …) are compared
/// character by character, all others word by word (Unicode's default word boundaries, UAX 29). The same pieces and
/// the deleted ones are together the first text; the same and the inserted ones the second.
pub fn word_diff(before: &str, after: &str) -> Vec<Piece> {
    let (old, new) = (words(before), words(after));
    let ops = capture_diff_slices(Algorithm::Myers, &old, &new);
    let mut pieces: Vec<Piece> = Vec::new();
    for op in ops {
        let deleted = old[op.old_range()].concat();
        let inserted = new[op.new_range()].concat();
        match op {
            DiffOp::Equal { .. } => pieces.push(Piece::Same(inserted)),
            _ => change(&mut pieces, deleted, inserted),
        }
    }
    pieces
}

/// The share of both texts that is the same, 0 to 1, in characters that are no spaces. Two empty texts are alike.
pub fn similarity(pieces: &[Piece]) -> f64 {
    let (mut same, mut all) = (0, 0);
    for piece in pieces {
        match piece {
            Piece::Same(text) => {
                same += 2 * visible(text);
                all += 2 * visible(text);
            }
            Piece::Changed { deleted, inserted } => all += visible(deleted) + visible(inserted),
        }
    }
    if all == 0 {
        1.0
    } else {
        same as f64 / all as f64
    }
}

/// Adds a change. A crumb between two larger changes is no common ground: a reader wants one phrase against
/// another, not letters of them in turn.
fn change(pieces: &mut Vec<Piece>, mut deleted: String, mut inserted: String) {
    if let [.., Piece::Changed { .. }, Piece::Same(crumb)] = &pieces[..] {
        let before = size(&pieces[pieces.len() - 2]);
        let after = visible(&deleted).max(visible(&inserted));
        let crumb_size = visible(crumb);
        if crumb_size == 0 || crumb_size <= 2 && 2 * crumb_size <= before.min(after) {
            deleted.insert_str(0, crumb);
            inserted.insert_str(0, crumb);
            pieces.pop();
        }
    }
    match pieces.last_mut() {
        Some(Piece::Changed {
            deleted: deleted_before,
            inserted: inserted_before,
        }) => {
            *deleted_before += &deleted;
            *inserted_before += &inserted;
        }
        _ => pieces.push(Piece::Changed { deleted, inserted }),
    }
}

fn size(piece: &Piece) -> usize {
    match piece {
        Piece::Same(text) => visible(text),
        Piece::Changed { deleted, inserted } => visible(deleted).max(visible(inserted)),
    }
}

/// Characters that are no spaces.
fn visible(text: &str) -> usize {
    text.chars().filter(|c| !c.is_whitespace()).count()
}

/// The text in words, spaces and signs; no end of a word lies inside a grapheme.
fn words(text: &str) -> Vec<&str> {
    let mut graphemes = text.grapheme_indices(true).map(|(at, _)| at).peekable();
    let mut words = Vec::new();
    let mut start = 0;
    for (at, word) in text.split_word_bound_indices() {
        let end = at + word.len();
        while graphemes.next_if(|at| *at < end).is_some() {}
        let is_whole = graphemes.peek().is_none_or(|at| *at == end);
        if is_whole && words.len() + 1 < MAX_WORDS {
            words.push(&text[start..end]);
            start = end;
        }
    }
    if start < text.len() {
        words.push(&text[start..]);
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// As the screen marks them.
    fn marked(before: &str, after: &str) -> String {
        let mark = |piece: &Piece| match piece {
            Piece::Same(text) => text.clone(),
            Piece::Changed { deleted, inserted } => format!("‹−{deleted} +{inserted}›"),
        };
        word_diff(before, after).iter().map(mark).collect()
    }

    fn sides(pieces: &[Piece]) -> (String, String) {
        let (mut before, mut after) = (String::new(), String::new());
        for piece in pieces {
            match piece {
                Piece::Same(text) => {
                    before += text;
                    after += text;
                }
                Piece::Changed { deleted, inserted } => {
                    before += deleted;
                    after += inserted;
                }
            }
        }
        (before, after)
    }

    #[test]
    fn words_are_compared_whole_and_neighbouring_changes_as_one() {
        assert_eq!(
            marked(
                "The committee will meet again on 3 May.",
                "The committee meets once more on 3 May."
            ),
            "The committee ‹−will meet again +meets once more› on 3 May."
        );
        assert_eq!(
            marked("he meets on Monday", "he gathers on Friday"),
            "he ‹−meets on Monday +gathers on Friday›"
        );
        assert_eq!(
            marked("the 5th of May", "the 3rd of June"),
            "the ‹−5th +3rd› of ‹−May +June›"
        );
        assert_eq!(
            marked("a b c", "a c"),
            "a ‹−b  +›c",
            "the space after a word goes with it"
        );
    }

    #[test]
    fn scripts_without_spaces_are_compared_by_character() {
        assert_eq!(
            marked(
                "委員会は5月3日に再び開かれます。",
                "委員会は5月3日に再度開かれます。"
            ),
            "委員会は5月3日に再‹−び +度›開かれます。"
        );
        assert_eq!(
            marked("日に再び会合を開きます。", "日にまた会います。"),
            "日に‹−再び会合を開き +また会い›ます。"
        );
        let thai = word_diff("คณะกรรมการจะประชุม", "คณะกรรมการประชุม");
        assert_eq!(similarity(&thai), 2.0 * 16.0 / 34.0);
        let hindi = marked("समिति की बैठक होगी", "समिति की सभा होगी");
        assert_eq!(hindi, "समिति की ‹−बैठक +सभा› होगी");
    }

    #[test]
    fn similarity_is_between_nothing_and_all() {
        let of = |before, after| similarity(&word_diff(before, after));
        assert_eq!(of("", ""), 1.0);
        assert_eq!(of("one two", "three"), 0.0);
        assert_eq!(of("one two", "one two"), 1.0);
        assert_eq!(of("abc def", "abc xyz"), 0.5);
    }

    #[test]
    fn long_texts_without_anything_in_common_are_compared_all_the_same() {
        let text = |word: &str| (0..20_000).map(|at| format!("{word}{at} ")).collect();
        let (before, after): (String, String) = (text("a"), text("b"));
        assert_eq!(sides(&word_diff(&before, &after)), (before, after));
    }

    proptest! {
        #[test]
        fn both_texts_can_be_read_off_the_difference(before in any::<String>(), after in any::<String>()) {
            prop_assert_eq!(sides(&word_diff(&before, &after)), (before, after));
        }

        #[test]
        fn texts_of_few_words_are_read_off_too(
            before in "[ab委e\u{301}👩\u{200d}\u{1f1ef} ]{0,30}",
            after in "[ab委e\u{301}👩\u{200d}\u{1f1ef} ]{0,30}",
        ) {
            let pieces = word_diff(&before, &after);
            prop_assert_eq!(sides(&pieces), (before.clone(), after.clone()));
            if similarity(&pieces) == 1.0 {
                let joined = |text: &str| text.split_whitespace().collect::<String>();
                prop_assert_eq!(joined(&before), joined(&after));
            }
            for pair in pieces.windows(2) {
                let both_change = pair.iter().all(|piece| matches!(piece, Piece::Changed { .. }));
                prop_assert!(!both_change, "{pieces:?}");
            }
        }
    }
}
