//! The rotary embeddings: `rope_parameters` of 2025, or `rope_theta`, `rope_local_base_freq` and
//! `rope_scaling`.

use serde_json::{Map, Value};

use super::{
    Family, Rope,
    fields::{Fields, positive},
};
use crate::error::ConfigError;

/// The rotary embeddings of full and of sliding layers.
pub(super) fn ropes(fields: &Fields, family: Family) -> Result<(Rope, Rope), ConfigError> {
    match family {
        Family::Gemma3 => two_bases(fields),
        _ => one_base(fields).map(|rope| (rope, rope)),
    }
}

fn one_base(fields: &Fields) -> Result<Rope, ConfigError> {
    let theta = fields.number("rope_theta", 10_000.0)?;
    // A non-empty `rope_scaling` replaces `rope_parameters`, as in transformers.
    for key in ["rope_scaling", "rope_parameters"] {
        let Some(entry) = fields.object(key)? else {
            continue;
        };
        if let Some(kind) = ["full_attention", "sliding_attention"]
            .into_iter()
            .find(|kind| entry.contains_key(*kind))
        {
            return Err(fields.invalid(
                &format!("{key}.{kind}"),
                &entry[kind],
                "absent: only Gemma 3 has one rotary embedding a kind of layer",
            ));
        }
        return rope(fields, key, entry, theta, Linear::Refused);
    }
    Ok(Rope {
        theta,
        linear_factor: 1.0,
    })
}

/// Gemma 3: one base for full layers, which `rope_scaling` applies to, and another for sliding
/// ones.
fn two_bases(fields: &Fields) -> Result<(Rope, Rope), ConfigError> {
    let full_theta = fields.number("rope_theta", 1_000_000.0)?;
    let sliding_theta = fields.number("rope_local_base_freq", 10_000.0)?;
    let none = Map::new();
    let by_kind = fields.object("rope_parameters")?.unwrap_or(&none);
    let stray = |key: &&String| !matches!(key.as_str(), "full_attention" | "sliding_attention");
    if let Some(key) = by_kind.keys().find(stray) {
        return Err(fields.invalid(
            &format!("rope_parameters.{key}"),
            &by_kind[key],
            "inside `full_attention` or `sliding_attention`: Gemma 3 has two bases",
        ));
    }
    let entry = |kind: &str| match by_kind.get(kind) {
        None | Some(Value::Null) => Ok(Map::new()),
        Some(Value::Object(entry)) => Ok(entry.clone()),
        Some(other) => Err(fields.invalid(
            &format!("rope_parameters.{kind}"),
            other,
            "an object, or null",
        )),
    };
    let mut full = entry("full_attention")?;
    let mut full_key = "rope_parameters.full_attention";
    if let Some(scaling) = fields.object("rope_scaling")? {
        full.extend(scaling.clone());
        full_key = "rope_scaling";
    }
    let sliding = entry("sliding_attention")?;
    let sliding_key = "rope_parameters.sliding_attention";
    Ok((
        rope(fields, full_key, &full, full_theta, Linear::Allowed)?,
        rope(
            fields,
            sliding_key,
            &sliding,
            sliding_theta,
            Linear::Refused,
        )?,
    ))
}

/// Whether the family divides positions by a factor in the layers at hand.
#[derive(Clone, Copy, PartialEq)]
enum Linear {
    Allowed,
    Refused,
}

fn rope(
    fields: &Fields,
    key: &str,
    entry: &Map<String, Value>,
    default_theta: f64,
    linear: Linear,
) -> Result<Rope, ConfigError> {
    let number = |name: &str, default: f64| match entry.get(name) {
        None => Ok(default),
        Some(value) => positive(value)
            .ok_or_else(|| fields.invalid(&format!("{key}.{name}"), value, "a number above 0")),
    };
    let theta = number("rope_theta", default_theta)?;
    if number("partial_rotary_factor", 1.0)? != 1.0 {
        let name = "partial_rotary_factor";
        return Err(fields.unsupported(
            &format!("{key}.{name}"),
            &entry[name],
            "the whole head is rotated",
        ));
    }
    let kind_key = if entry.contains_key("rope_type") {
        "rope_type"
    } else {
        "type"
    };
    let linear_factor = match entry.get(kind_key).map(|kind| (kind, kind.as_str())) {
        None | Some((_, Some("default"))) => 1.0,
        Some((_, Some("linear"))) if linear == Linear::Allowed => match entry.get("factor") {
            None => return Err(fields.missing(&format!("{key}.factor"), "a number above 0")),
            Some(_) => number("factor", 1.0)?,
        },
        Some((kind, _)) => {
            return Err(fields.unsupported(
                &format!("{key}.{kind_key}"),
                kind,
                "only \"default\" is, and \"linear\" in the full layers of Gemma 3; a model whose \
                 context was stretched afterwards is itself within its original context: remove \
                 the scaling there",
            ));
        }
    };
    Ok(Rope {
        theta,
        linear_factor,
    })
}
