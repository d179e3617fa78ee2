//! What can be wrong with data: every message says where, what was expected, and after `hint:` what to do.

use std::fmt;
use std::path::PathBuf;

/// An error in a data file, a tokenizer or a chat template.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// A file that cannot be opened or read.
    #[error("{}: cannot be read: {source}\nhint: check the path and its permissions", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// A data file without a single record.
    #[error("{}: the file is empty: expected one JSON record a line\nhint: {hint}", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
        /// What to do.
        hint: String,
    },
    /// A line that is not a sound record.
    #[error("{location}: {error}")]
    Record {
        /// File and line.
        location: Location,
        /// What is wrong with the line.
        error: RecordError,
    },
    /// Data that is not what it was when the checkpoint was written.
    #[error(
        "the data has {now} records now, {then} when the checkpoint was written\nhint: resume with the same `--data` files, or start again with `--resume never`"
    )]
    Changed {
        /// Records now.
        now: u64,
        /// Records then.
        then: u64,
    },
    /// A file of a tokenizer that is missing or not what it should be.
    #[error("{}: {problem}\nhint: {hint}", path.display())]
    Tokenizer {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
        /// What to do.
        hint: String,
    },
    /// A chat template that does not parse, or that refuses a conversation.
    #[error("chat template: {problem}\nhint: {hint}")]
    Template {
        /// What is wrong, with the template's own message where it raised one.
        problem: String,
        /// What to do.
        hint: String,
    },
    /// A conversation in which it cannot be told which tokens are the assistant's.
    #[error("{problem}\nhint: {hint}")]
    Supervision {
        /// What is wrong, with the turn's number.
        problem: String,
        /// What to do.
        hint: String,
    },
    /// An error that only showed once a record's content was understood.
    #[error("{location}: {error}")]
    At {
        /// File and line of the record.
        location: Location,
        /// What is wrong.
        error: Box<DataError>,
    },
}

impl DataError {
    /// Says which record an error belongs to.
    pub fn at(self, location: Location) -> Self {
        Self::At {
            location,
            error: Box::new(self),
        }
    }
}

/// Where a record stands: displays as `FILE:LINE`, lines counted from 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Location {
    /// The file.
    pub path: PathBuf,
    /// The line, from 1.
    pub line: usize,
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.path.display(), self.line)
    }
}

/// What is wrong with one line: displays as ``field `x`: expected …, found …`` and a `hint:` line.
///
/// `field` is a path such as `messages[2].content`; empty where the whole line is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordError {
    field: String,
    expected: String,
    found: String,
    hint: String,
}

impl RecordError {
    /// An error about one field of the record.
    pub fn field(
        field: impl Into<String>,
        expected: impl Into<String>,
        found: impl Into<String>,
    ) -> Self {
        Self {
            field: field.into(),
            expected: expected.into(),
            found: found.into(),
            hint: String::new(),
        }
    }

    /// An error about the line as a whole.
    pub fn line(expected: impl Into<String>, found: impl Into<String>) -> Self {
        Self::field("", expected, found)
    }

    /// Says what to do about it.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = hint.into();
        self
    }

    /// The same error one level further out: `content` inside `messages[2]` becomes `messages[2].content`.
    pub fn within(mut self, parent: &str) -> Self {
        self.field = match self.field.as_str() {
            "" => parent.to_owned(),
            index if index.starts_with('[') => format!("{parent}{index}"),
            inner => format!("{parent}.{inner}"),
        };
        self
    }

    /// The field's path, empty where the whole line is meant.
    pub fn field_path(&self) -> &str {
        &self.field
    }

    /// The kind of error, without positions, so that errors of one kind can be counted together.
    ///
    /// `messages[2].content` and `messages[7].content` are one kind: ``field `messages[].content`: expected text``.
    pub fn reason(&self) -> String {
        let mut field = String::new();
        let mut inside = false;
        for c in self.field.chars() {
            if c == ']' {
                inside = false;
            }
            if !inside {
                field.push(c);
            }
            if c == '[' {
                inside = true;
            }
        }
        describe(&field, &self.expected)
    }
}

impl fmt::Display for RecordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}, found {}",
            describe(&self.field, &self.expected),
            self.found
        )?;
        match self.hint.as_str() {
            "" => Ok(()),
            hint => write!(f, "\nhint: {hint}"),
        }
    }
}

fn describe(field: &str, expected: &str) -> String {
    if field.is_empty() {
        format!("expected {expected}")
    } else {
        format!("field `{field}`: expected {expected}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_error_says_file_line_field_what_was_expected_and_a_hint() {
        let error = RecordError::field("content", "text", "a number")
            .hint("quote it")
            .within("messages[2]");
        let located = DataError::Record {
            location: Location {
                path: "a/b.jsonl".into(),
                line: 7,
            },
            error,
        };
        assert_eq!(
            located.to_string(),
            "a/b.jsonl:7: field `messages[2].content`: expected text, found a number\nhint: quote it"
        );
    }

    #[test]
    fn errors_that_differ_only_in_position_have_one_reason() {
        let reason = |i: usize| {
            RecordError::field("content", "text", "null")
                .within(&format!("messages[{i}]"))
                .reason()
        };
        assert_eq!(reason(2), "field `messages[].content`: expected text");
        assert_eq!(reason(2), reason(17));
    }
}
