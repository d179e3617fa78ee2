//! Reads a recipe file into entries that know their lines.

use std::borrow::Cow;

use serde::Deserialize;
use toml::Spanned;
use toml::Value;
use toml::de::{DeTable, DeValue, ValueDeserializer};

use super::choices::StageName;
use super::error::{Origin, RecipeError, RecipeErrors};
use super::raw::{Entry, Layer};

/// The entries of a recipe file, in the order of the text.
pub(super) fn entries(file: &str, text: &str) -> Result<Vec<Entry>, RecipeErrors> {
    let source = Source { file, text };
    let (table, mut errors) = DeTable::parse_recoverable(text);
    errors.sort_by_key(|error| error.span().map(|span| span.start));
    RecipeErrors::or(
        errors
            .iter()
            .map(|error| source.syntax_error(error))
            .collect(),
    )?;

    let (mut entries, mut errors) = (Vec::new(), Vec::new());
    let mut add = |layer, stage, key: Spanned<Cow<'_, str>>, value: Spanned<DeValue<'_>>| {
        match Value::deserialize(ValueDeserializer::from(value)) {
            Ok(value) => entries.push(Entry {
                layer,
                stage,
                origin: source.line(key.span().start),
                key: key.into_inner().into_owned(),
                value,
            }),
            Err(error) => errors.push(source.syntax_error(&error)),
        }
    };
    for (key, value) in table.into_inner() {
        match (key.get_ref().parse::<StageName>(), value.get_ref()) {
            (Ok(stage), DeValue::Table(_)) => {
                let DeValue::Table(keys) = value.into_inner() else {
                    unreachable!("just matched")
                };
                for (key, value) in keys {
                    add(Layer::StageTable, Some(stage), key, value);
                }
            }
            _ => add(Layer::TopLevel, None, key, value),
        }
    }
    RecipeErrors::or(errors)?;
    Ok(entries)
}

struct Source<'a> {
    file: &'a str,
    text: &'a str,
}

impl Source<'_> {
    fn line(&self, offset: usize) -> Origin {
        Origin::Line(
            self.file.to_owned(),
            1 + self.before(offset).matches('\n').count(),
        )
    }

    /// What the parser says, under the line it says it about.
    fn syntax_error(&self, error: &toml::de::Error) -> RecipeError {
        let offset = error.span().map_or(0, |span| span.start);
        let origin = self.line(offset);
        let Origin::Line(_, number) = &origin else {
            unreachable!("a line")
        };
        let line = self
            .text
            .lines()
            .nth(number - 1)
            .unwrap_or_default()
            .replace('\t', " ");
        let before = self.before(offset);
        let column = before.len() - before.rfind('\n').map_or(0, |newline| newline + 1);
        let indent = line
            .chars()
            .count()
            .min(before[before.len() - column..].chars().count());
        let margin = " ".repeat(number.to_string().len());
        let message = format!(
            "not TOML: {}\n  {margin} |\n  {number} | {line}\n  {margin} | {}^",
            error.message(),
            " ".repeat(indent)
        );
        RecipeError::new(Some(origin), message)
    }

    /// The text up to a byte offset, which the parser may put into a character or past the end.
    fn before(&self, offset: usize) -> &str {
        let mut end = offset.min(self.text.len());
        while !self.text.is_char_boundary(end) {
            end -= 1;
        }
        &self.text[..end]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        entries("my.toml", text)
            .expect_err("not a recipe")
            .to_string()
    }

    #[test]
    fn entries_know_their_stage_and_line() {
        let text = "seed = 1\n\n[rl]\nbeta = 0.1\n[rl.reward_weights]\nchrf = 1\n";
        let entries = entries("my.toml", text).expect("a recipe");
        let seen: Vec<_> = entries
            .iter()
            .map(|e| (e.key.as_str(), e.stage, e.origin.to_string()))
            .collect();
        assert_eq!(
            seen,
            [
                ("seed", None, "my.toml:1".to_owned()),
                ("beta", Some(StageName::Rl), "my.toml:4".to_owned()),
                (
                    "reward_weights",
                    Some(StageName::Rl),
                    "my.toml:5".to_owned()
                ),
            ]
        );
    }

    #[test]
    fn a_syntax_error_shows_the_line_and_a_caret() {
        let error = error("seed = 1\nlearning_rate 5\n");
        assert!(error.starts_with("my.toml:2: not TOML: "), "{error}");
        let lines: Vec<&str> = error.lines().collect();
        assert_eq!(lines[2], "  2 | learning_rate 5");
        let caret = lines[3].chars().count() - 1;
        assert!(
            lines[3].ends_with('^') && (6..=21).contains(&caret),
            "{error}"
        );
    }

    #[test]
    fn every_syntax_error_is_shown() {
        let error = error("seed = \nmax_steps = ?\n");
        assert!(
            error.contains("my.toml:1") && error.contains("my.toml:2"),
            "{error}"
        );
    }

    #[test]
    fn a_caret_stands_under_the_character_and_not_the_byte() {
        let error = error("a = \"世界\" x\n");
        assert_eq!(
            error.lines().last().map(|line| line.find('^')),
            Some(Some(6 + 9)),
            "{error}"
        );
    }

    #[test]
    fn a_number_that_no_integer_holds_is_an_error_with_its_line() {
        let error = error("\nseed = 99999999999999999999\n");
        assert!(error.starts_with("my.toml:2: "), "{error}");
    }
}
