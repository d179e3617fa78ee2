//! minijinja set up the way `transformers` sets up Jinja2.

use chrono::{DateTime, Local};
use minijinja::value::{Value, ValueKind};
use minijinja::{AutoEscape, Environment, Error, ErrorKind};

use super::{generation, json, python};
use crate::tokenizer::SpecialTokens;

/// An environment with Hugging Face's extensions, in which the special tokens are variables.
pub(super) fn hugging_face(special_tokens: &SpecialTokens) -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_trim_blocks(true);
    environment.set_lstrip_blocks(true);
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    environment.set_formatter(python::print);
    environment.set_unknown_method_callback(python::call_method);

    environment.add_filter("tojson", json::tojson);
    environment.add_filter("trim", python::trim);
    environment.add_filter("string", |value: Value| python::str(&value));
    environment.add_filter("upper", |value: Value| python::str(&value).to_uppercase());
    environment.add_filter("lower", |value: Value| python::str(&value).to_lowercase());
    environment.add_filter(generation::FILTER, generation::mark);
    environment.add_test("sequence", is_sequence);
    environment.add_test("iterable", is_iterable);
    environment.add_function("raise_exception", raise_exception);
    set_now(&mut environment, Local::now());

    // Templates test these against none before they use them.
    environment.add_global("tools", ());
    environment.add_global("documents", ());
    for (name, token) in special_tokens.iter() {
        environment.add_global(name.to_owned(), token);
    }
    if !special_tokens.additional().is_empty() {
        environment.add_global(
            "additional_special_tokens",
            special_tokens.additional().to_vec(),
        );
    }
    environment
}

fn raise_exception(message: String) -> Result<Value, Error> {
    Err(Error::new(ErrorKind::InvalidOperation, message))
}

/// What `strftime_now` prints, as Llama's and Granite's templates do. The clock is not read again while rendering: a run
/// would not be the same after midnight.
pub(super) fn set_now(environment: &mut Environment<'static>, now: DateTime<Local>) {
    environment.add_function("strftime_now", move |format: &str| {
        use std::fmt::Write;
        let mut text = String::new();
        let unknown = format!("strftime_now does not know the format `{format}`");
        match write!(text, "{}", now.format(format)) {
            Ok(()) => Ok(text),
            Err(_) => Err(Error::new(ErrorKind::InvalidOperation, unknown)),
        }
    });
}

/// Jinja2 calls a sequence whatever has a length and can be indexed.
fn is_sequence(value: &Value) -> bool {
    matches!(
        value.kind(),
        ValueKind::Seq | ValueKind::Iterable | ValueKind::String | ValueKind::Map
    )
}

fn is_iterable(value: &Value) -> bool {
    !value.is_none() && value.try_iter().is_ok()
}
