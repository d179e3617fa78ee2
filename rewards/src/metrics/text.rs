//! Python's idea of white space, which sacreBLEU splits on.

/// Whether Python's `str.split()` and `str.strip()` treat `c` as white space.
///
/// Unicode's `White_Space` property and, beyond it, the four ASCII information separators.
pub(crate) fn is_space(c: char) -> bool {
    c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c)
}

/// The words of `text`, as Python's `str.split()` yields them.
pub(crate) fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(is_space).filter(|word| !word.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn information_separators_split_as_in_python() {
        assert_eq!(
            words("a\u{1c}b\u{1f}c\u{3000}d e").collect::<Vec<_>>(),
            ["a", "b", "c", "d", "e"]
        );
    }

    #[test]
    fn zero_width_space_is_not_white_space() {
        assert_eq!(words("a\u{200b}b").count(), 1);
    }
}
