//! What values a key takes: the check, and the words that say it to a person.

use std::fmt;
use std::ops::Bound::{self, Excluded, Included, Unbounded};

use toml::Value;

use super::alert_rule::AlertRule;

/// The largest value of a key that counts something, so that counts fit every integer type.
pub(crate) const MAX_COUNT: i64 = 1_000_000_000;

/// The type and the range of a key.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    /// `true` or `false`.
    Bool,
    /// A whole number in a closed range.
    Integer(i64, i64),
    /// A finite number between two bounds; a recipe may write it without a point.
    Float(Bound<f64>, Bound<f64>),
    /// One word of a list.
    Choice(&'static [&'static str]),
    /// One word of a list, or several.
    Choices(&'static [&'static str]),
    /// Some words of a list or none of them; `none` is no word of it.
    Subset(&'static [&'static str]),
    /// A path.
    Path,
    /// One name.
    Name,
    /// One path or a list of paths.
    Paths,
    /// One name or a list of names.
    Names,
    /// A list of [`AlertRule`]s.
    AlertRules,
    /// A list of numbers, or a table of `name = number`.
    Weights,
    /// A list of numbers.
    Numbers,
    /// A table of `name = { argument = value }`.
    Arguments,
}

impl Kind {
    /// The value in its resolved form, or `None` if this kind does not take it.
    pub fn accept(&self, value: &Value) -> Option<Value> {
        match (self, value) {
            (Self::Bool, Value::Boolean(_)) => Some(value.clone()),
            (Self::Integer(min, max), Value::Integer(n)) => {
                (min <= n && n <= max).then(|| value.clone())
            }
            (Self::Float(min, max), _) => {
                let x = finite(value)?;
                (*min, *max).contains_number(x).then_some(Value::Float(x))
            }
            (Self::Choice(words), Value::String(word)) => {
                words.contains(&word.as_str()).then(|| value.clone())
            }
            // `true` in a list of words is the word.
            (Self::Choice(words), Value::Boolean(word)) => {
                let word = word.to_string();
                words.contains(&word.as_str()).then(|| Value::String(word))
            }
            (Self::Choices(words), Value::String(word)) => words
                .contains(&word.as_str())
                .then(|| Value::Array(vec![value.clone()])),
            (Self::Choices(words), Value::Array(items)) => {
                let known = |item: &Value| item.as_str().is_some_and(|word| words.contains(&word));
                (!items.is_empty() && items.iter().all(known)).then(|| value.clone())
            }
            (Self::Subset(_), Value::String(word)) => {
                self.accept(&Value::Array(vec![word.clone().into()]))
            }
            (Self::Subset(words), Value::Array(items)) => {
                let known = |item: &Value| item.as_str().is_some_and(|word| words.contains(&word));
                match items.as_slice() {
                    [Value::String(word)] if word == "none" => Some(Value::Array(Vec::new())),
                    items => items.iter().all(known).then(|| value.clone()),
                }
            }
            (Self::Path | Self::Name, Value::String(text)) => {
                (!text.is_empty()).then(|| value.clone())
            }
            (Self::Paths | Self::Names, Value::String(text)) => {
                (!text.is_empty()).then(|| Value::Array(vec![value.clone()]))
            }
            (Self::Paths | Self::Names, Value::Array(items)) => {
                let filled = |item: &Value| item.as_str().is_some_and(|text| !text.is_empty());
                items.iter().all(filled).then(|| value.clone())
            }
            (Self::AlertRules, Value::String(_)) => self.accept(&Value::Array(vec![value.clone()])),
            (Self::AlertRules, Value::Array(items)) => {
                let is_rule = |item: &Value| {
                    let rule = item.as_str().map(str::parse::<AlertRule>);
                    rule.is_some_and(|rule| rule.is_ok())
                };
                items.iter().all(is_rule).then(|| value.clone())
            }
            (Self::Weights | Self::Numbers, Value::Array(items)) => {
                let numbers: Option<Vec<Value>> = items
                    .iter()
                    .map(|item| finite(item).map(Value::Float))
                    .collect();
                numbers.map(Value::Array)
            }
            (Self::Weights, Value::Table(table)) => {
                let mut numbers = toml::Table::new();
                for (name, item) in table {
                    numbers.insert(name.clone(), Value::Float(finite(item)?));
                }
                Some(Value::Table(numbers))
            }
            (Self::Arguments, Value::Table(table)) => {
                let is_sound = |args: &Value| args.is_table() && is_json(args);
                table.values().all(is_sound).then(|| value.clone())
            }
            _ => None,
        }
    }

    /// Whether the key takes words, so that `--set` need not quote them.
    pub(crate) fn is_text(&self) -> bool {
        matches!(
            self,
            Self::Choice(_)
                | Self::Choices(_)
                | Self::Subset(_)
                | Self::Path
                | Self::Name
                | Self::Paths
                | Self::Names
                | Self::AlertRules
        )
    }
}

/// Reads as the object of "expected".
impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool => f.write_str("true or false"),
            Self::Integer(min, max) if min == max => write!(f, "{min} and nothing else"),
            Self::Integer(min, i64::MAX) => write!(f, "a whole number, {min} or more"),
            Self::Integer(min, MAX_COUNT) => write!(f, "a whole number from {min} to 1e9"),
            Self::Integer(min, max) => write!(f, "a whole number from {min} to {max}"),
            Self::Float(min, max) => match (min, max) {
                (Included(a), Included(b)) => write!(f, "a number from {a} to {b}"),
                (Included(a), Excluded(b)) => write!(f, "a number from {a} to below {b}"),
                (Excluded(a), Included(b)) => write!(f, "a number above {a}, up to {b}"),
                (Excluded(a), Excluded(b)) => write!(f, "a number above {a} and below {b}"),
                (Included(a), Unbounded) => write!(f, "a number, {a} or more"),
                (Excluded(a), Unbounded) => write!(f, "a number above {a}"),
                (Unbounded, Included(b)) => write!(f, "a number, {b} or less"),
                (Unbounded, Excluded(b)) => write!(f, "a number below {b}"),
                (Unbounded, Unbounded) => f.write_str("a finite number"),
            },
            Self::Choice(words) => write!(f, "one of {}", words.join(", ")),
            Self::Choices(words) => write!(f, "one of {}, or a list of them", words.join(", ")),
            Self::Subset(words) => {
                write!(f, "one of {}, a list of them, or none", words.join(", "))
            }
            Self::Path => f.write_str("a path in quotes"),
            Self::Name => f.write_str("a name in quotes"),
            Self::Paths => f.write_str("a path in quotes, or a list of them"),
            Self::Names => f.write_str("a name in quotes, or a list of them"),
            Self::AlertRules => f.write_str("a list of rules such as \"kl > 1\""),
            Self::Numbers => f.write_str("a list of finite numbers"),
            Self::Arguments => f.write_str("a table of name = { argument = value }"),
            Self::Weights => f.write_str("a list of finite numbers, or a table of name = number"),
        }
    }
}

/// A value as TOML, small and large numbers with an exponent: `1e-8` and not `0.00000001`.
pub(super) fn spelled(value: &Value) -> String {
    match value {
        Value::Float(x) if x.is_finite() => format!("{x:?}"),
        _ => value.to_string(),
    }
}

/// Whether JSON has such a value: it knows no dates, no `inf` and no `nan`.
fn is_json(value: &Value) -> bool {
    match value {
        Value::Datetime(_) => false,
        Value::Float(x) => x.is_finite(),
        Value::Array(items) => items.iter().all(is_json),
        Value::Table(table) => table.values().all(is_json),
        Value::String(_) | Value::Integer(_) | Value::Boolean(_) => true,
    }
}

/// A number as f64; TOML's `nan` and `inf` are none that a recipe may use.
fn finite(value: &Value) -> Option<f64> {
    let x = match value {
        Value::Float(x) => *x,
        Value::Integer(n) => *n as f64,
        _ => return None,
    };
    x.is_finite().then_some(x)
}

trait ContainsNumber {
    fn contains_number(&self, x: f64) -> bool;
}

impl ContainsNumber for (Bound<f64>, Bound<f64>) {
    fn contains_number(&self, x: f64) -> bool {
        std::ops::RangeBounds::contains(self, &x)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRACTION: Kind = Kind::Float(Included(0.0), Excluded(1.0));

    #[test]
    fn a_float_key_takes_a_whole_number_and_keeps_a_float() {
        assert_eq!(FRACTION.accept(&Value::Integer(0)), Some(Value::Float(0.0)));
        assert_eq!(FRACTION.accept(&Value::Integer(1)), None);
        assert_eq!(
            FRACTION.accept(&Value::Float(0.999)),
            Some(Value::Float(0.999))
        );
    }

    #[test]
    fn nan_and_infinity_are_never_in_range() {
        let any = Kind::Float(Unbounded, Unbounded);
        for x in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert_eq!(any.accept(&Value::Float(x)), None, "{x}");
            assert_eq!(
                Kind::Weights.accept(&Value::Array(vec![Value::Float(x)])),
                None,
                "{x}"
            );
        }
    }

    #[test]
    fn an_integer_key_refuses_a_float() {
        assert_eq!(Kind::Integer(0, MAX_COUNT).accept(&Value::Float(3.0)), None);
    }

    #[test]
    fn a_small_number_is_spelled_with_an_exponent_and_reads_back() {
        for (x, spelling) in [
            (1e-8, "1e-8"),
            (2e-5, "2e-5"),
            (0.05, "0.05"),
            (3.0, "3.0"),
            (1e20, "1e20"),
        ] {
            assert_eq!(spelled(&Value::Float(x)), spelling);
            assert_eq!(spelling.parse::<Value>().expect("TOML"), Value::Float(x));
        }
    }

    #[test]
    fn a_subset_may_be_empty_and_none_is_alone() {
        let kind = Kind::Subset(&["a", "b"]);
        let list = |text: &str| text.parse::<Value>().expect("TOML");
        for text in ["'none'", "[]", "['none']"] {
            assert_eq!(kind.accept(&list(text)), Some(list("[]")), "{text}");
        }
        assert_eq!(kind.accept(&list("'b'")), Some(list("['b']")));
        for text in ["['a', 'none']", "'c'", "true", "[1]"] {
            assert_eq!(kind.accept(&list(text)), None, "{text}");
        }
        assert_eq!(kind.to_string(), "one of a, b, a list of them, or none");
    }

    #[test]
    fn one_path_is_a_list_of_one() {
        let path = Value::String("a.jsonl".into());
        assert_eq!(
            Kind::Paths.accept(&path),
            Some(Value::Array(vec![path.clone()]))
        );
        assert_eq!(Kind::Paths.accept(&Value::String(String::new())), None);
        assert_eq!(
            Kind::Paths.accept(&Value::Array(vec![Value::Integer(1)])),
            None
        );
    }
}
