//! From the text of a `config.json` to a [`ModelConfig`], family by family.

use std::path::Path;

use serde_json::{Map, Value};

use super::{
    Family, HiddenActivation, ModelConfig, Raw,
    fields::{Fields, MAX_SIZE},
    layers, rope,
};
use crate::{checkpoint::Dtype, error::ConfigError};

pub(super) fn parse(json: &[u8], path: &Path) -> Result<ModelConfig, ConfigError> {
    let not_json = |source| ConfigError::Json {
        path: path.into(),
        source,
    };
    let root: Map<String, Value> = serde_json::from_slice(json).map_err(not_json)?;
    let mut fields = Fields {
        path,
        root: &root,
        text_config: None,
    };
    let family = family(&fields)?;
    if root["model_type"] == "gemma3" {
        let text_config = fields.object("text_config")?;
        fields.text_config = Some(
            text_config
                .ok_or_else(|| fields.missing("text_config", "the decoder's own configuration"))?,
        );
    }
    refuse_what_is_not_implemented(&fields, family)?;

    // The nested form leaves out whatever equals the class's default. In the flat form transformers
    // writes every size, so a missing one is a mistake that a default would only hide until the
    // shapes disagree.
    let size = |key, class_default| {
        fields.size(key, fields.text_config.is_some().then_some(class_default))
    };
    let vocab_size = size("vocab_size", 262_208)?;
    let hidden_size = size("hidden_size", 2304)?;
    let intermediate_size = size("intermediate_size", 9216)?;
    let num_hidden_layers = size("num_hidden_layers", 26)?;
    let num_attention_heads = size("num_attention_heads", 8)?;
    let num_key_value_heads = match fields.get("num_key_value_heads") {
        Some(Value::Null) if !family.is_gemma() => num_attention_heads,
        _ => size("num_key_value_heads", 4)?,
    };
    check_layer_count(&fields, num_hidden_layers)?;
    if !num_attention_heads.is_multiple_of(num_key_value_heads) {
        let expected = format!("a multiple of `num_key_value_heads` ({num_key_value_heads})");
        return Err(fields.invalid("num_attention_heads", num_attention_heads, &expected));
    }
    let head_dim = head_dim(&fields, family, hidden_size, num_attention_heads)?;
    let (layer_kinds, sliding_window) = layers::layers(&fields, family, num_hidden_layers)?;
    let (rope_full, rope_sliding) = rope::ropes(&fields, family)?;
    let caps = match family {
        Family::Gemma2 => (Some(50.0), Some(30.0)),
        _ => (None, None),
    };
    Ok(ModelConfig {
        family,
        vocab_size,
        hidden_size,
        intermediate_size,
        num_hidden_layers,
        num_attention_heads,
        num_key_value_heads,
        head_dim,
        rms_norm_eps: fields.number("rms_norm_eps", 1e-6)?,
        tie_word_embeddings: fields.flag_outer("tie_word_embeddings", family.is_gemma())?,
        attention_bias: family == Family::Qwen2,
        hidden_activation: hidden_activation(&fields, family)?,
        query_scale: query_scale(&fields, family, head_dim)?,
        attn_logit_softcapping: fields.optional_number("attn_logit_softcapping", caps.0)?,
        final_logit_softcapping: fields.optional_number("final_logit_softcapping", caps.1)?,
        layer_kinds,
        sliding_window,
        rope_full,
        rope_sliding,
        max_position_embeddings: max_position_embeddings(&fields, family)?,
        dtype: dtype(&fields)?,
        bos_token_id: token_ids(&fields, "bos_token_id", family.is_gemma().then_some(2))?
            .first()
            .copied(),
        eos_token_ids: token_ids(&fields, "eos_token_id", family.is_gemma().then_some(1))?,
        pad_token_id: token_ids(&fields, "pad_token_id", family.is_gemma().then_some(0))?
            .first()
            .copied(),
        raw: Raw(String::from_utf8(json.to_vec()).expect("what parsed as JSON is UTF-8")),
    })
}

fn family(fields: &Fields) -> Result<Family, ConfigError> {
    const SUPPORTED: &str =
        "one of \"gemma2\", \"gemma3\", \"gemma3_text\", \"qwen2\" (Qwen2.5 too), \"qwen3\"";
    let Some(value) = fields.get("model_type") else {
        return Err(fields.missing("model_type", SUPPORTED));
    };
    match value.as_str() {
        Some("gemma2") => Ok(Family::Gemma2),
        Some("gemma3" | "gemma3_text") => Ok(Family::Gemma3),
        Some("qwen2") => Ok(Family::Qwen2),
        Some("qwen3") => Ok(Family::Qwen3),
        _ => Err(fields.invalid("model_type", value, SUPPORTED)),
    }
}

/// Features that change what the model computes: ignoring one would train another model than the
/// file describes.
fn refuse_what_is_not_implemented(fields: &Fields, family: Family) -> Result<(), ConfigError> {
    let is_off = |value: &Value| matches!(value, Value::Null | Value::Bool(false));
    let mut refused = vec![
        ("mlp_bias", "only feed-forward layers without bias are"),
        (
            "use_bidirectional_attention",
            "this is an encoder; only causal decoders are",
        ),
        ("use_mrope", "only rotary embeddings of plain positions are"),
    ];
    // Qwen2's class does not look at the key: q, k and v always have a bias, the output projection
    // never.
    if family != Family::Qwen2 {
        refused.push(("attention_bias", "only Qwen2's biases on q, k and v are"));
    }
    // transformers' Gemma 3 has the key and does not apply it; the other families do not have it.
    if family != Family::Gemma2 {
        refused.push((
            "attn_logit_softcapping",
            "only Gemma 2 caps its scores; set it to null",
        ));
    }
    if !family.is_gemma() {
        refused.push((
            "final_logit_softcapping",
            "only Gemma caps its logits; set it to null",
        ));
    }
    for (key, hint) in refused {
        if let Some(value) = fields.get(key).filter(|value| !is_off(value)) {
            return Err(fields.unsupported(key, value, hint));
        }
    }
    for key in ["quantization_config", "compression_config"] {
        if let Some(value) = fields.get_outer(key).filter(|value| !value.is_null()) {
            let hint = "quantized weights cannot be trained; use the model's original checkpoint";
            return Err(fields.unsupported(key, value, hint));
        }
    }
    if let Some(value) = fields
        .get("is_causal")
        .filter(|v| **v == Value::Bool(false))
    {
        return Err(fields.unsupported("is_causal", value, "only causal decoders are"));
    }
    for (key, neutral, hint) in [
        (
            "attention_dropout",
            0.0,
            "no dropout is applied in training; set it to 0",
        ),
        ("partial_rotary_factor", 1.0, "the whole head is rotated"),
    ] {
        let other = |value: &&Value| !value.is_null() && value.as_f64() != Some(neutral);
        if let Some(value) = fields.get(key).filter(other) {
            return Err(fields.unsupported(key, value, hint));
        }
    }
    Ok(())
}

/// A count of layers becomes as many allocations, so a mistyped one must not get that far.
fn check_layer_count(fields: &Fields, num_hidden_layers: usize) -> Result<(), ConfigError> {
    const MAX_LAYERS: usize = 4096;
    if num_hidden_layers > MAX_LAYERS {
        let expected = format!("at most {MAX_LAYERS}");
        return Err(fields.invalid("num_hidden_layers", num_hidden_layers, &expected));
    }
    Ok(())
}

fn head_dim(
    fields: &Fields,
    family: Family,
    hidden_size: usize,
    num_attention_heads: usize,
) -> Result<usize, ConfigError> {
    let head_dim = match (family, fields.get("head_dim")) {
        (Family::Qwen2, None | Some(Value::Null)) => {
            if !hidden_size.is_multiple_of(num_attention_heads) {
                let expected =
                    format!("a multiple of `num_attention_heads` ({num_attention_heads})");
                return Err(fields.invalid("hidden_size", hidden_size, &expected));
            }
            hidden_size / num_attention_heads
        }
        (Family::Qwen2 | Family::Qwen3, _) => fields.size("head_dim", Some(128))?,
        (Family::Gemma2 | Family::Gemma3, _) => fields.size("head_dim", Some(256))?,
    };
    if !head_dim.is_multiple_of(2) {
        let expected = "an even number: rotary embeddings turn pairs of values";
        return Err(fields.invalid("head_dim", head_dim, expected));
    }
    if head_dim > MAX_SIZE / num_attention_heads {
        let expected = format!("at most {MAX_SIZE} over all {num_attention_heads} heads");
        return Err(fields.invalid("head_dim", head_dim, &expected));
    }
    Ok(head_dim)
}

fn hidden_activation(fields: &Fields, family: Family) -> Result<HiddenActivation, ConfigError> {
    let (key, default) = if family.is_gemma() {
        ("hidden_activation", HiddenActivation::GeluTanh)
    } else {
        ("hidden_act", HiddenActivation::Silu)
    };
    let Some(value) = fields.get(key) else {
        return Ok(default);
    };
    match value.as_str() {
        Some("gelu_pytorch_tanh" | "gelu_new") => Ok(HiddenActivation::GeluTanh),
        Some("silu" | "swish") => Ok(HiddenActivation::Silu),
        _ => Err(fields.invalid(key, value, "\"gelu_pytorch_tanh\" or \"silu\"")),
    }
}

fn query_scale(fields: &Fields, family: Family, head_dim: usize) -> Result<f64, ConfigError> {
    let scalar = match family {
        Family::Qwen2 | Family::Qwen3 => head_dim as f64,
        Family::Gemma3 => fields.number("query_pre_attn_scalar", 256.0)?,
        Family::Gemma2 if fields.get("query_pre_attn_scalar").is_none() => {
            let expected = "a number above 0: 256 for 2B and 9B, 144 for 27B (its \
                default was once a wrong 224)";
            return Err(fields.missing("query_pre_attn_scalar", expected));
        }
        Family::Gemma2 => fields.number("query_pre_attn_scalar", 256.0)?,
    };
    Ok(scalar.powf(-0.5))
}

fn max_position_embeddings(fields: &Fields, family: Family) -> Result<usize, ConfigError> {
    let class_default = match family {
        Family::Gemma2 => 8192,
        Family::Gemma3 => 131_072,
        Family::Qwen2 | Family::Qwen3 => 32_768,
    };
    fields.size("max_position_embeddings", Some(class_default))
}

fn dtype(fields: &Fields) -> Result<Option<Dtype>, ConfigError> {
    let given = |key| Some((key, fields.get_outer(key).filter(|v| !v.is_null())?));
    let Some((key, value)) = given("dtype").or_else(|| given("torch_dtype")) else {
        return Ok(None);
    };
    let dtype = value.as_str().and_then(Dtype::from_name);
    dtype.map(Some).ok_or_else(|| {
        let names = "\"float32\", \"bfloat16\", \"float16\" or \"float64\"";
        fields.invalid(key, value, names)
    })
}

/// One token id, a list of them, or `null`. A negative id, by which some files mean that there is
/// none, is none.
fn token_ids(fields: &Fields, key: &str, default: Option<u32>) -> Result<Vec<u32>, ConfigError> {
    let Some(value) = fields.get_outer(key) else {
        return Ok(default.into_iter().collect());
    };
    let ids = match value {
        Value::Null => &[],
        Value::Array(ids) => ids.as_slice(),
        one => std::slice::from_ref(one),
    };
    let is_given = |id: &&Value| id.as_i64().is_none_or(|id| id >= 0);
    let id = |id: &Value| id.as_u64().and_then(|id| u32::try_from(id).ok());
    let ids: Option<Vec<u32>> = ids.iter().filter(is_given).map(id).collect();
    ids.ok_or_else(|| fields.invalid(key, value, "a token id, a list of them, or null"))
}
