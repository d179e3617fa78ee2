//! Text from elsewhere, as a page shows it.

use telemetry::clock::rfc3339;

use crate::text::shell_word;

/// Longer texts are cut: a model that never stops must not fill the page.
const MAX_CHARS: usize = 3000;

/// The text with every character to be seen: one that controls a terminal as its picture (`␛`), and one that
/// turns the direction of what follows by its number, since both are part of what a model wrote. Line ends,
/// tabs and the marks that scripts need between letters stay.
pub fn visible(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' | '\t' => shown.push(c),
            '\u{0}'..='\u{1f}' => shown.extend(char::from_u32(0x2400 + c as u32)),
            '\u{7f}' => shown.push('\u{2421}'),
            '\u{80}'..='\u{9f}'
            | '\u{202a}'..='\u{202e}'
            | '\u{2066}'..='\u{2069}'
            | '\u{feff}' => {
                shown.push_str(&format!("[U+{:04X}]", c as u32));
            }
            c => shown.push(c),
        }
    }
    shown
}

/// The start of a text, and how many characters were left out.
pub fn cut(text: &str) -> (String, usize) {
    match text.char_indices().nth(MAX_CHARS) {
        None => (visible(text), 0),
        Some((end, _)) => (visible(&text[..end]), text[end..].chars().count()),
    }
}

/// `2026-11-24 14:00:16`, in UTC.
pub fn time(ms: u64) -> String {
    rfc3339(ms).replace('T', " ").replace('Z', "")
}

/// A command line that a shell reads as these words.
pub fn command(argv: &[String]) -> String {
    let word = |word: &String| shell_word(&visible(word));
    argv.iter().map(word).collect::<Vec<_>>().join(" ")
}

/// The languages that a name such as `en-de`, `en→de` or `translate/pt-en` speaks of, the source first.
pub fn languages(name: &str) -> Option<(String, String)> {
    let pair = name.rsplit(['/', ' ']).next()?;
    let (source, target) = pair.split_once(['→', '-'])?;
    Some((language(source)?, language(target)?))
}

/// A language tag as HTML takes it; `None` where the word is none.
pub fn language(word: &str) -> Option<String> {
    let word = word.trim().replace('_', "-");
    let mut parts = word.split('-');
    let is_language =
        |part: &str| (2..=3).contains(&part.len()) && part.chars().all(|c| c.is_ascii_lowercase());
    let is_subtag = |part: &str| {
        (2..=8).contains(&part.len()) && part.chars().all(|c| c.is_ascii_alphanumeric())
    };
    let fits = parts.next().is_some_and(is_language) && parts.all(is_subtag);
    fits.then_some(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_seen_is_shown_and_what_scripts_need_stays() {
        assert_eq!(visible("a\u{1b}[2J\u{0}\tb\nc\u{7f}"), "a␛[2J␀\tb\nc␡");
        assert_eq!(visible("abc\u{202e}def"), "abc[U+202E]def");
        assert_eq!(
            visible("می\u{200c}خواهم 👩\u{200d}🚀"),
            "می\u{200c}خواهم 👩\u{200d}🚀"
        );
    }

    #[test]
    fn a_text_without_an_end_is_cut_between_characters() {
        let (shown, left_out) = cut(&"塔".repeat(MAX_CHARS + 7));
        assert_eq!((shown.chars().count(), left_out), (MAX_CHARS, 7));
        assert_eq!(cut("塔"), ("塔".to_owned(), 0));
    }

    #[test]
    fn a_command_line_can_be_pasted() {
        let argv = ["trainer", "--set", "alert_rules=[\"kl > 1\"]", "it's", ""];
        let argv: Vec<String> = argv.map(str::to_owned).to_vec();
        assert_eq!(
            command(&argv),
            r#"trainer --set 'alert_rules=["kl > 1"]' 'it'\''s' ''"#
        );
    }

    #[test]
    fn languages_are_read_from_the_names_of_groups() {
        let pair = |a: &str, b: &str| Some((a.to_owned(), b.to_owned()));
        assert_eq!(languages("translate/pt-en"), pair("pt", "en"));
        assert_eq!(languages("en→ja"), pair("en", "ja"));
        for name in ["arithmetic", "all", "held-out set", "well-formed"] {
            assert_eq!(languages(name), None, "{name}");
        }
        assert_eq!(language("zh_Hant"), Some("zh-Hant".to_owned()));
        assert_eq!(language("\"><script>"), None);
    }
}
