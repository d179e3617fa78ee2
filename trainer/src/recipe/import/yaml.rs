//! A configuration file as keys and values that know their lines.

use std::fmt;

use saphyr::{LoadableYamlNode, MarkedYaml, Scalar, YamlData};
use toml::Value;

use crate::recipe::Kind;

use super::ImportError;

/// A key with its value.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Item {
    pub(super) key: String,
    pub(super) value: Yaml,
    /// Counted from 1.
    pub(super) line: usize,
}

/// A value of YAML 1.2's core schema.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Yaml {
    Null,
    Bool(bool),
    Integer(i64),
    Float(f64),
    Text(String),
    List(Vec<Yaml>),
    Map(Vec<Item>),
}

/// The keys of a file, in its order.
pub(super) fn read(file: &str, text: &str) -> Result<Vec<Item>, ImportError> {
    let documents = MarkedYaml::load_from_str(text).map_err(|error| ImportError::Yaml {
        file: file.to_owned(),
        line: error.marker().line(),
        problem: error.info().to_owned(),
    })?;
    match documents.first().map(value) {
        Some(Yaml::Map(items)) => Ok(items),
        _ => Err(ImportError::NoKeys {
            file: file.to_owned(),
        }),
    }
}

fn value(node: &MarkedYaml<'_>) -> Yaml {
    match &node.data {
        YamlData::Value(Scalar::Null) => Yaml::Null,
        YamlData::Value(Scalar::Boolean(value)) => Yaml::Bool(*value),
        YamlData::Value(Scalar::Integer(value)) => Yaml::Integer(*value),
        YamlData::Value(Scalar::FloatingPoint(value)) => Yaml::Float(value.into_inner()),
        YamlData::Value(Scalar::String(text)) => Yaml::Text(text.to_string()),
        YamlData::Representation(text, ..) => Yaml::Text(text.to_string()),
        YamlData::Sequence(items) => Yaml::List(items.iter().map(value).collect()),
        YamlData::Mapping(entries) => Yaml::Map(
            entries
                .iter()
                .map(|(key, node)| Item {
                    key: value(key).to_string(),
                    value: value(node),
                    line: key.span.start.line(),
                })
                .collect(),
        ),
        YamlData::Tagged(_, inner) => value(inner),
        _ => Yaml::Null,
    }
}

impl Yaml {
    /// A value of a recipe.
    pub(super) fn of_toml(value: &Value) -> Yaml {
        match value {
            Value::Boolean(value) => Yaml::Bool(*value),
            Value::Integer(value) => Yaml::Integer(*value),
            Value::Float(value) => Yaml::Float(*value),
            Value::String(text) => Yaml::Text(text.clone()),
            Value::Datetime(time) => Yaml::Text(time.to_string()),
            Value::Array(items) => Yaml::List(items.iter().map(Yaml::of_toml).collect()),
            Value::Table(table) => Yaml::Map(
                table
                    .iter()
                    .map(|(key, value)| Item {
                        key: key.clone(),
                        value: Yaml::of_toml(value),
                        line: 0,
                    })
                    .collect(),
            ),
        }
    }

    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Yaml::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(super) fn items(&self) -> &[Item] {
        match self {
            Yaml::Map(items) => items,
            _ => &[],
        }
    }

    /// The value of a key in a map.
    pub(super) fn get(&self, key: &str) -> Option<&Yaml> {
        let item = self.items().iter().find(|item| item.key == key)?;
        Some(&item.value)
    }

    /// `true`, or a word that YAML 1.1, which both programs read, means it by.
    pub(super) fn boolean(&self) -> Option<bool> {
        match self {
            Yaml::Bool(value) => Some(*value),
            Yaml::Text(word) => match word.to_ascii_lowercase().as_str() {
                "yes" | "on" | "true" => Some(true),
                "no" | "off" | "false" => Some(false),
                _ => None,
            },
            _ => None,
        }
    }

    /// A number; both programs take one in quotes, and YAML 1.1 takes `1e-5` for text.
    pub(super) fn number(&self) -> Option<f64> {
        match self {
            Yaml::Integer(value) => Some(*value as f64),
            Yaml::Float(value) => Some(*value),
            Yaml::Text(text) => text.trim().parse().ok().filter(|x: &f64| x.is_finite()),
            _ => None,
        }
    }

    /// Whether it says that something is not done.
    pub(super) fn is_off(&self) -> bool {
        match self {
            Yaml::Null => true,
            Yaml::Text(text) => text.is_empty() || self.boolean() == Some(false),
            Yaml::List(items) => items.is_empty(),
            Yaml::Map(items) => items.is_empty(),
            _ => self.boolean() == Some(false) || self.number() == Some(0.0),
        }
    }

    /// The value that a recipe's key of this kind takes.
    pub(super) fn to_toml(&self, kind: Kind) -> Option<Value> {
        let value = match kind {
            Kind::Bool => Value::Boolean(self.boolean()?),
            Kind::Integer(..) => match self.number()? {
                whole if whole.fract() == 0.0 => Value::Integer(whole as i64),
                _ => return None,
            },
            Kind::Float(..) => Value::Float(self.number()?),
            _ => self.plain()?,
        };
        kind.accept(&value)
    }

    fn plain(&self) -> Option<Value> {
        match self {
            Yaml::Null => None,
            Yaml::Bool(value) => Some(Value::Boolean(*value)),
            Yaml::Integer(value) => Some(Value::Integer(*value)),
            Yaml::Float(value) => Some(Value::Float(*value)),
            Yaml::Text(text) => Some(Value::String(text.clone())),
            Yaml::List(items) => items
                .iter()
                .map(Yaml::plain)
                .collect::<Option<_>>()
                .map(Value::Array),
            Yaml::Map(items) => {
                let entries = items
                    .iter()
                    .map(|item| Some((item.key.clone(), item.value.plain()?)));
                entries.collect::<Option<_>>().map(Value::Table)
            }
        }
    }
}

/// On one line, as a person would write it.
impl fmt::Display for Yaml {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Yaml::Null => f.write_str("null"),
            Yaml::Bool(value) => value.fmt(f),
            Yaml::Integer(value) => value.fmt(f),
            Yaml::Float(value) => write!(f, "{value:?}"),
            Yaml::Text(text) => f.write_str(text),
            Yaml::List(items) => {
                let items: Vec<String> = items.iter().map(Yaml::to_string).collect();
                write!(f, "[{}]", items.join(", "))
            }
            Yaml::Map(items) => {
                let items: Vec<String> = items
                    .iter()
                    .map(|item| format!("{}: {}", item.key, item.value))
                    .collect();
                write!(f, "{{{}}}", items.join(", "))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(text: &str) -> Yaml {
        let mut items = read("c.yaml", text).unwrap_or_else(|error| panic!("{error}"));
        items.remove(0).value
    }

    #[test]
    fn numbers_and_booleans_are_read_as_yaml_1_1_and_quotes_write_them() {
        assert_eq!(one("a: 2e-5").number(), Some(2e-5));
        assert_eq!(one("a: '0.1'").number(), Some(0.1));
        assert_eq!(one("a: yes").boolean(), Some(true));
        assert_eq!(one("a: Off").boolean(), Some(false));
        assert_eq!(one("a: ~"), Yaml::Null);
        assert_eq!(one("a:"), Yaml::Null);
    }

    #[test]
    fn anchors_are_followed_and_lines_are_known() {
        let items = read("c.yaml", "a: &x [1, 2]\n\n# words\nb: *x\n").expect("YAML");
        assert_eq!(items[1].value, items[0].value);
        assert_eq!((items[0].line, items[1].line), (1, 4));
    }

    #[test]
    fn what_is_no_configuration_is_an_error_with_its_line() {
        let error = read("c.yaml", "a: 1\nb: [1, 2\nc: 3\n").expect_err("not YAML");
        assert!(error.to_string().starts_with("c.yaml:"), "{error}");
        for text in ["", "- a\n- b\n", "just words"] {
            let error = read("c.yaml", text).expect_err(text).to_string();
            assert!(error.contains("no keys"), "{error}");
        }
        let error = read("c.yaml", "a: 1\na: 2\n").expect_err("twice");
        assert!(error.to_string().starts_with("c.yaml:"), "{error}");
    }
}
