//! Rust files as the rules read them: without comments, the contents of strings, and tests.

use super::tree::{read, tree};

/// A file of Rust.
pub struct RustFile {
    pub path: String,
    /// What is compiled into the program, line for line.
    pub code: String,
}

impl RustFile {
    /// Every line with the word, as an offence.
    pub fn lines_with<'a>(
        &'a self,
        word: &'a str,
        why: &'a str,
    ) -> impl Iterator<Item = String> + 'a {
        (1..)
            .zip(self.code.lines())
            .filter(move |(_, line)| contains_word(line, word))
            .map(move |(number, _)| format!("{}:{number}: `{word}` {why}", self.path))
    }
}

/// Every Rust file, but for those that are test modules.
pub fn rust_files() -> Vec<RustFile> {
    let mut files = Vec::new();
    let mut test_modules = Vec::new();
    for path in tree().into_iter().filter(|path| path.ends_with(".rs")) {
        let (code, modules) = without_tests(&code_of(&read(&path)));
        let folder = path.trim_end_matches(".rs");
        let folder = ["/mod", "/lib", "/main"]
            .iter()
            .find_map(|name| folder.strip_suffix(name))
            .unwrap_or(folder);
        test_modules.extend(modules.iter().map(|module| format!("{folder}/{module}")));
        files.push(RustFile { path, code });
    }
    files.retain(|file| {
        !test_modules.iter().any(|module| {
            let rest = file.path.strip_prefix(module.as_str());
            rest.is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
        })
    });
    assert!(files.len() > 100, "only {} files were found", files.len());
    files
}

/// Whether the word stands in the line, not as a part of a longer one.
pub fn contains_word(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + word.len()..].chars().next();
        let goes_on = word.ends_with(is_word) && after.is_some_and(is_word);
        !before.is_some_and(is_word) && !goes_on
    })
}

pub fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Takes out what `#[cfg(test)]` stands before, and names the modules that are files of their own.
fn without_tests(code: &str) -> (String, Vec<String>) {
    let mut shipped = String::new();
    let mut modules = Vec::new();
    let mut rest = code;
    let marks = ["#[cfg(test)]", "#[cfg(all(test"];
    while let Some(at) = marks.iter().filter_map(|mark| rest.find(mark)).min() {
        let (before, item) = rest.split_at(at);
        shipped.push_str(before);
        let end = item.find([';', '{']).map_or(item.len(), |end| end + 1);
        let (head, mut after) = item.split_at(end);
        let declaration = head.strip_suffix(';');
        if let Some((_, name)) = declaration.and_then(|head| head.rsplit_once("mod ")) {
            modules.push(name.trim().to_owned());
        }
        let mut skipped = head.to_owned();
        let mut depth = usize::from(head.ends_with('{'));
        while depth > 0 {
            let end = after.find(['{', '}']).map_or(after.len(), |end| end + 1);
            let (inside, outside) = after.split_at(end);
            depth = match inside.chars().next_back() {
                Some('{') => depth + 1,
                Some('}') => depth - 1,
                _ => 0,
            };
            skipped.push_str(inside);
            after = outside;
        }
        shipped.extend(skipped.chars().filter(|c| *c == '\n'));
        rest = after;
    }
    (shipped + rest, modules)
}

/// The source with a blank in place of each comment, string and character.
pub fn code_of(source: &str) -> String {
    let mut code = String::new();
    let mut rest = source;
    while let Some(c) = rest.chars().next() {
        let in_word = code.chars().next_back().is_some_and(is_word);
        if let Some(length) = text_length(rest, in_word) {
            let (skipped, after) = rest.split_at(length);
            code.extend(skipped.chars().filter(|c| *c == '\n'));
            code.push(' ');
            rest = after;
        } else {
            code.push(c);
            rest = &rest[c.len_utf8()..];
        }
    }
    code
}

/// The length of the comment, string or character at the start, if one is there.
fn text_length(rest: &str, in_word: bool) -> Option<usize> {
    if rest.starts_with("//") {
        return Some(rest.find('\n').unwrap_or(rest.len()));
    }
    if rest.starts_with("/*") {
        return Some(comment_length(rest));
    }
    if rest.starts_with('"') {
        return Some(quoted_length(rest, b'"'));
    }
    if let Some(text) = rest.strip_prefix('\'') {
        // 'a is a lifetime, 'a' a character.
        let mut characters = text.chars();
        let escaped = characters.next() == Some('\\');
        let is_character = escaped || characters.next() == Some('\'');
        return is_character.then(|| quoted_length(rest, b'\''));
    }
    let raw = ["br", "cr", "r"]
        .iter()
        .find_map(|start| rest.strip_prefix(start));
    let raw = raw.filter(|_| !in_word)?;
    let text = raw.trim_start_matches('#');
    let hashes = raw.len() - text.len();
    let text = text.strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    let length = text.find(&end).map_or(text.len(), |at| at + end.len());
    Some(rest.len() - text.len() + length)
}

fn comment_length(text: &str) -> usize {
    let bytes = text.as_bytes();
    let (mut depth, mut at) = (1, 2);
    while depth > 0 && at < bytes.len() {
        (depth, at) = match &bytes[at..] {
            [b'/', b'*', ..] => (depth + 1, at + 2),
            [b'*', b'/', ..] => (depth - 1, at + 2),
            _ => (depth, at + 1),
        };
    }
    at
}

fn quoted_length(text: &str, quote: u8) -> usize {
    let bytes = text.as_bytes();
    let mut at = 1;
    while at < bytes.len() && bytes[at] != quote {
        at += if bytes[at] == b'\\' { 2 } else { 1 };
    }
    (at + 1).min(bytes.len())
}

#[test]
fn code_is_told_from_comments_strings_and_tests() {
    let source = r##"
        // unsafe in a comment /* and
        fn f<'a>(x: &'a str) -> char { let _ = "unsafe \" still"; '"' } /* unsafe /* nested */ */
        const R: &str = r#"unsafe " raw"#; let b = b'\''; println!("kept");
        #[cfg(test)]
        mod tests { fn g() { if true { unsafe {} } } }
        fn after() {}
        #[cfg(all(test, unix))]
        mod outside;
    "##;
    let code = code_of(source);
    assert_eq!(code.lines().count(), source.lines().count());
    assert!(
        contains_word(&code, "println!") && code.contains("fn after()"),
        "{code}"
    );
    assert_eq!(code.matches("unsafe").count(), 1, "{code}");
    let (shipped, outside) = without_tests(&code);
    assert_eq!(outside, ["outside"]);
    assert!(
        !shipped.contains("unsafe") && shipped.contains("fn after()"),
        "{shipped}"
    );
    assert!(!contains_word("#![forbid(unsafe_code)]", "unsafe"));
}
