//! Which layers are sliding, and how far they see.

use serde_json::Value;

use super::{Family, LayerKind, fields::Fields};
use crate::error::ConfigError;

/// The kind of each layer, and the window where at least one is sliding.
pub(super) fn layers(
    fields: &Fields,
    family: Family,
    num_hidden_layers: usize,
) -> Result<(Vec<LayerKind>, Option<usize>), ConfigError> {
    let window = window(fields, family)?;
    let kinds = match fields.get("layer_types") {
        Some(Value::Array(types)) => spelled_out(fields, types, num_hidden_layers)?,
        None | Some(Value::Null) => by_family(fields, family, num_hidden_layers, window.is_some())?,
        Some(other) => return Err(fields.invalid("layer_types", other, "a list, or null")),
    };
    if !kinds.contains(&LayerKind::Sliding) {
        return Ok((kinds, None));
    }
    match window {
        Some(window) => Ok((kinds, Some(window))),
        None if family.is_gemma() => Err(fields.invalid(
            "sliding_window",
            Value::Null,
            "a whole number, since some layers are sliding",
        )),
        None => Err(fields.invalid(
            "layer_types",
            fields.get("layer_types").unwrap_or(&Value::Null),
            "`full_attention` alone, or `use_sliding_window` true and a `sliding_window`",
        )),
    }
}

/// The window, before it is known whether a layer has use for it.
fn window(fields: &Fields, family: Family) -> Result<Option<usize>, ConfigError> {
    const CLASS_DEFAULT: usize = 4096;
    if !family.is_gemma() && !fields.flag("use_sliding_window", false)? {
        return Ok(None);
    }
    match fields.get("sliding_window") {
        Some(Value::Null) => Ok(None),
        _ => fields.size("sliding_window", Some(CLASS_DEFAULT)).map(Some),
    }
}

/// `layer_types`, which files have had since 2025.
fn spelled_out(
    fields: &Fields,
    types: &[Value],
    num_hidden_layers: usize,
) -> Result<Vec<LayerKind>, ConfigError> {
    if types.len() != num_hidden_layers {
        let found = format!("a list of {}", types.len());
        let expected = format!("one entry for each of `num_hidden_layers` ({num_hidden_layers})");
        return Err(fields.invalid("layer_types", found, &expected));
    }
    let kind = |(index, value): (usize, &Value)| match value.as_str() {
        Some("full_attention") => Ok(LayerKind::Full),
        Some("sliding_attention") => Ok(LayerKind::Sliding),
        _ => Err(fields.invalid(
            &format!("layer_types.{index}"),
            value,
            "\"full_attention\" or \"sliding_attention\"",
        )),
    };
    types.iter().enumerate().map(kind).collect()
}

/// The rules of each family, for files without `layer_types`.
fn by_family(
    fields: &Fields,
    family: Family,
    num_hidden_layers: usize,
    has_window: bool,
) -> Result<Vec<LayerKind>, ConfigError> {
    let every_nth_is_full = |n: usize| (0..num_hidden_layers).map(move |i| (i + 1) % n == 0);
    let full: Vec<bool> = match family {
        Family::Gemma2 => every_nth_is_full(2).collect(),
        Family::Gemma3 => {
            every_nth_is_full(fields.size("sliding_window_pattern", Some(6))?).collect()
        }
        Family::Qwen2 | Family::Qwen3 => {
            let max_window_layers = max_window_layers(fields)?;
            let full = |i| !has_window || i < max_window_layers;
            (0..num_hidden_layers).map(full).collect()
        }
    };
    let kind = |full| {
        if full {
            LayerKind::Full
        } else {
            LayerKind::Sliding
        }
    };
    Ok(full.into_iter().map(kind).collect())
}

/// The number of leading layers that stay full in Qwen; 0 is allowed.
fn max_window_layers(fields: &Fields) -> Result<usize, ConfigError> {
    const CLASS_DEFAULT: usize = 28;
    match fields.get("max_window_layers") {
        Some(Value::Number(zero)) if zero.as_u64() == Some(0) => Ok(0),
        _ => fields.size("max_window_layers", Some(CLASS_DEFAULT)),
    }
}
