//! The files of the repository.

use std::fs;
use std::path::{Path, PathBuf};

use toml::Table;

use super::rust_source::contains_word;

pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("a crate's folder is in the root")
}

/// Every file, sorted, with `/` between its parts. What .gitignore names is left out.
pub fn tree() -> Vec<String> {
    let ignored = read(".gitignore");
    let ignored: Vec<&str> = ignored.lines().map(|line| line.trim_matches('/')).collect();
    let is_ignored = |path: &Path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let ending = |line: &str| {
            line.strip_prefix('*')
                .is_some_and(|end| name.ends_with(end))
        };
        name == ".git" || ignored.iter().any(|line| *line == name || ending(line))
    };
    let (mut files, mut folders) = (Vec::new(), vec![PathBuf::from(root())]);
    while let Some(folder) = folders.pop() {
        let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{folder:?}: {error}"));
        let paths = entries.map(|entry| entry.expect("an entry of a folder").path());
        for path in paths.filter(|path| !is_ignored(path)) {
            if path.is_dir() {
                folders.push(path);
            } else {
                let path = path.strip_prefix(root()).expect("it is in the root");
                let parts: Vec<_> = path.iter().map(|part| part.to_string_lossy()).collect();
                files.push(parts.join("/"));
            }
        }
    }
    files.sort();
    files
}

pub fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The text of a file, `None` where it is not text.
pub fn text_of(path: &str) -> Option<String> {
    let bytes = fs::read(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
    String::from_utf8(bytes).ok()
}

pub fn table(path: &str) -> Table {
    read(path)
        .parse()
        .unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The first line that has the word, for a message; 1 where none has it.
pub fn line_of(path: &str, word: &str) -> usize {
    let text = read(path);
    let mut lines = (1..).zip(text.lines());
    lines
        .find(|(_, line)| contains_word(line, word))
        .map_or(1, |(number, _)| number)
}
