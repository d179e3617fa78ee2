//! What Python does with strings and printed values, where minijinja does otherwise.

use minijinja::value::{Rest, Value, ValueKind, from_args};
use minijinja::{Error, ErrorKind, Output, State};
use minijinja_contrib::pycompat::unknown_method_callback;

/// Prints a value as `str()` does: templates are written for `True`, `None` and `{'a': 1}`.
pub(super) fn print(out: &mut Output, _: &State, value: &Value) -> Result<(), Error> {
    out.write_str(&str(value)).map_err(Error::from)
}

/// Python's `str(value)`; nothing for an undefined value, as Jinja2 prints it.
pub(super) fn str(value: &Value) -> String {
    match value.kind() {
        ValueKind::String | ValueKind::Undefined => value.to_string(),
        _ => repr(value),
    }
}

fn repr(value: &Value) -> String {
    match value.kind() {
        ValueKind::String => repr_str(value.as_str().unwrap_or_default()),
        ValueKind::Number if !value.is_integer() => {
            f64::try_from(value.clone()).map_or_else(|_| value.to_string(), repr_float)
        }
        ValueKind::Seq | ValueKind::Iterable => {
            let items: Vec<String> = value
                .try_iter()
                .into_iter()
                .flatten()
                .map(|item| repr(&item))
                .collect();
            match value.downcast_object_ref::<Tuple>() {
                Some(_) => format!("({})", items.join(", ")),
                None => format!("[{}]", items.join(", ")),
            }
        }
        ValueKind::Map => {
            let item = |key: Value| {
                let value = value.get_item(&key).unwrap_or_default();
                format!("{}: {}", repr(&key), repr(&value))
            };
            let items: Vec<String> = value.try_iter().into_iter().flatten().map(item).collect();
            format!("{{{}}}", items.join(", "))
        }
        _ => value.to_string(),
    }
}

/// Single quotes, unless the text has some and no double ones.
fn repr_str(text: &str) -> String {
    let quote = if text.contains('\'') && !text.contains('"') {
        '"'
    } else {
        '\''
    };
    let mut repr = String::from(quote);
    for c in text.chars() {
        match c {
            '\n' => repr.push_str("\\n"),
            '\r' => repr.push_str("\\r"),
            '\t' => repr.push_str("\\t"),
            '\\' => repr.push_str("\\\\"),
            c if c == quote => repr.extend(['\\', c]),
            c if (c as u32) < 0x20 || c as u32 == 0x7f => {
                repr.push_str(&format!("\\x{:02x}", c as u32))
            }
            c => repr.push(c),
        }
    }
    repr.push(quote);
    repr
}

/// Shortest digits that read back as the same number; an exponent below 1e-4 and from 1e16 on.
fn repr_float(number: f64) -> String {
    if !number.is_finite() {
        return if number.is_nan() {
            "nan".into()
        } else {
            format!("{number}")
        };
    }
    let scientific = format!("{number:e}");
    let (digits, exponent) = scientific.split_once('e').expect("{:e} writes an exponent");
    let exponent: i32 = exponent.parse().expect("{:e} writes an exponent");
    if number != 0.0 && !(-4..16).contains(&exponent) {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{digits}e{sign}{:02}", exponent.abs());
    }
    let plain = format!("{number}");
    if plain.contains('.') {
        plain
    } else {
        format!("{plain}.0")
    }
}

/// The result of `partition`: a list that prints with round brackets.
#[derive(Debug)]
struct Tuple(Vec<Value>);

impl minijinja::value::Object for Tuple {
    fn repr(self: &std::sync::Arc<Self>) -> minijinja::value::ObjectRepr {
        minijinja::value::ObjectRepr::Seq
    }

    fn get_value(self: &std::sync::Arc<Self>, key: &Value) -> Option<Value> {
        self.0.get(key.as_usize()?).cloned()
    }

    fn enumerate(self: &std::sync::Arc<Self>) -> minijinja::value::Enumerator {
        minijinja::value::Enumerator::Seq(self.0.len())
    }
}

/// Jinja2's `trim`, which is Python's `strip`.
pub(super) fn trim(value: Value, chars: Option<String>) -> String {
    strip(&str(&value), chars.as_deref(), Side::Both).to_owned()
}

/// Calls a method of a Python value. What is not here is left to minijinja's own imitation.
pub(super) fn call_method(
    state: &State,
    value: &Value,
    method: &str,
    args: &[Value],
) -> Result<Value, Error> {
    match value.as_str() {
        Some(text) => match call_str_method(text, method, args)? {
            Some(result) => Ok(result),
            None => unknown_method_callback(state, value, method, args),
        },
        None => unknown_method_callback(state, value, method, args),
    }
}

fn call_str_method(text: &str, method: &str, args: &[Value]) -> Result<Option<Value>, Error> {
    let stripped = |side: Side| -> Result<Value, Error> {
        let (chars,): (Option<&str>,) = from_args(args)?;
        Ok(Value::from(strip(text, chars, side)))
    };
    let two_sided = |split: fn(&str, &str) -> [String; 3]| -> Result<Value, Error> {
        let (separator,): (&str,) = from_args(args)?;
        Ok(Value::from_object(Tuple(
            split(text, separator).map(Value::from).to_vec(),
        )))
    };
    let found = |find: fn(&str, &str) -> Option<usize>| -> Result<Option<usize>, Error> {
        let (part, _range): (&str, Rest<Value>) = from_args(args)?;
        if !_range.is_empty() {
            return Err(Error::new(
                ErrorKind::TooManyArguments,
                format!("`{method}` takes no range here"),
            ));
        }
        // Python counts characters, Rust bytes.
        Ok(find(text, part).map(|at| text[..at].chars().count()))
    };
    let position = |at: Option<usize>| Value::from(at.map_or(-1, |at| at as i64));
    let all = |test: fn(char) -> bool| -> Result<Value, Error> {
        let () = from_args(args)?;
        Ok(Value::from(!text.is_empty() && text.chars().all(test)))
    };
    Ok(Some(match method {
        "strip" => stripped(Side::Both)?,
        "lstrip" => stripped(Side::Left)?,
        "rstrip" => stripped(Side::Right)?,
        "split" => split(text, args)?,
        "rsplit" => rsplit(text, args)?,
        "partition" => two_sided(|text, separator| match text.split_once(separator) {
            Some((before, after)) => [before.into(), separator.into(), after.into()],
            None => [text.into(), String::new(), String::new()],
        })?,
        "rpartition" => two_sided(|text, separator| match text.rsplit_once(separator) {
            Some((before, after)) => [before.into(), separator.into(), after.into()],
            None => [String::new(), String::new(), text.into()],
        })?,
        "removeprefix" => {
            let (prefix,): (&str,) = from_args(args)?;
            Value::from(text.strip_prefix(prefix).unwrap_or(text))
        }
        "removesuffix" => {
            let (suffix,): (&str,) = from_args(args)?;
            Value::from(text.strip_suffix(suffix).unwrap_or(text))
        }
        "find" => position(found(|text, part| text.find(part))?),
        "rfind" => position(found(|text, part| text.rfind(part))?),
        "isspace" => all(is_space)?,
        "isdigit" | "isnumeric" | "isdecimal" => all(char::is_numeric)?,
        "isalpha" => all(char::is_alphabetic)?,
        "isalnum" => all(char::is_alphanumeric)?,
        _ => return Ok(None),
    }))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Left,
    Right,
    Both,
}

fn strip<'a>(text: &'a str, chars: Option<&str>, side: Side) -> &'a str {
    let dropped = |c: char| chars.map_or_else(|| is_space(c), |chars| chars.contains(c));
    let text = if side == Side::Right {
        text
    } else {
        text.trim_start_matches(dropped)
    };
    if side == Side::Left {
        text
    } else {
        text.trim_end_matches(dropped)
    }
}

/// Python counts the four separators of ASCII among white space, Unicode's property does not.
fn is_space(c: char) -> bool {
    c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c)
}

fn split(text: &str, args: &[Value]) -> Result<Value, Error> {
    let (separator, most) = split_arguments(args)?;
    let Some(separator) = separator else {
        let mut words: Vec<&str> = Vec::new();
        let mut rest = strip(text, None, Side::Left);
        while !rest.is_empty() {
            let end = if words.len() < most {
                rest.find(is_space).unwrap_or(rest.len())
            } else {
                rest.len()
            };
            words.push(&rest[..end]);
            rest = strip(&rest[end..], None, Side::Left);
        }
        return Ok(words.into_iter().map(Value::from).collect());
    };
    Ok(text
        .splitn(most.saturating_add(1), separator.as_str())
        .map(Value::from)
        .collect())
}

fn rsplit(text: &str, args: &[Value]) -> Result<Value, Error> {
    let (separator, most) = split_arguments(args)?;
    let Some(separator) = separator else {
        return Err(Error::new(
            ErrorKind::MissingArgument,
            "rsplit needs a separator here",
        ));
    };
    let mut parts: Vec<&str> = text
        .rsplitn(most.saturating_add(1), separator.as_str())
        .collect();
    parts.reverse();
    Ok(parts.into_iter().map(Value::from).collect())
}

/// `(sep=None, maxsplit=-1)`, by place or by name; a negative number means all.
fn split_arguments(args: &[Value]) -> Result<(Option<String>, usize), Error> {
    let (separator, most, kwargs): (Option<String>, Option<i64>, minijinja::value::Kwargs) =
        from_args(args)?;
    let separator = separator.or(kwargs.get("sep")?);
    let most: Option<i64> = most.or(kwargs.get("maxsplit")?);
    kwargs.assert_all_used()?;
    if separator.as_deref() == Some("") {
        return Err(Error::new(ErrorKind::InvalidOperation, "empty separator"));
    }
    Ok((
        separator,
        most.and_then(|most| usize::try_from(most).ok())
            .unwrap_or(usize::MAX),
    ))
}
