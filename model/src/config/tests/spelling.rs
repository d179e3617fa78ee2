//! Old and new spellings, and what each family makes of its keys.

use serde_json::{Value, json};

use super::{gemma2, gemma3, gemma3_4b, parse, qwen2, qwen3, with};
use crate::{
    checkpoint::Dtype,
    config::{Family, HiddenActivation, LayerKind, ModelConfig, Rope},
};

/// The same configuration as the libraries of 2024 wrote it.
fn old_spelling(config: &Value) -> Value {
    let rope = &config["rope_parameters"];
    let thetas = match rope.get("full_attention") {
        None => vec![("rope_theta", Some(rope["rope_theta"].clone()))],
        Some(full) => vec![
            ("rope_theta", Some(full["rope_theta"].clone())),
            (
                "rope_local_base_freq",
                Some(rope["sliding_attention"]["rope_theta"].clone()),
            ),
            ("sliding_window_pattern", Some(json!(6))),
        ],
    };
    let mut changes = vec![
        ("rope_parameters", None),
        ("layer_types", None),
        ("dtype", None),
        ("torch_dtype", Some(config["dtype"].clone())),
    ];
    changes.extend(thetas);
    with(config, &changes)
}

fn sliding_layers(config: &ModelConfig) -> Vec<usize> {
    let kinds = config.layer_kinds.iter().enumerate();
    let sliding = kinds.filter(|(_, kind)| **kind == LayerKind::Sliding);
    sliding.map(|(index, _)| index).collect()
}

#[test]
fn the_spelling_of_2024_means_the_same_model() {
    for config in [gemma2(), gemma3(), qwen2(), qwen3()] {
        let old = old_spelling(&config);
        assert_ne!(old, config);
        assert_eq!(parse(&old).unwrap(), parse(&config).unwrap());
    }
}

#[test]
fn gemma2_has_caps_a_query_scalar_and_even_layers_sliding() {
    let config = parse(&old_spelling(&gemma2())).unwrap();
    assert_eq!(config.family, Family::Gemma2);
    assert_eq!(config.attn_logit_softcapping, Some(5.0));
    assert_eq!(config.final_logit_softcapping, Some(7.0));
    assert_eq!(config.query_scale, 19f64.powf(-0.5));
    assert_eq!(sliding_layers(&config), [0, 2]);
    assert_eq!(config.layer(0).window, Some(9));
    assert_eq!(config.layer(1).window, None);
    assert_eq!(config.hidden_activation, HiddenActivation::GeluTanh);
    assert!(config.tie_word_embeddings && !config.attention_bias && config.uses_bos());
    assert_eq!(config.dtype, Some(Dtype::Float32));
    assert_eq!(
        (config.bos_token_id, config.pad_token_id),
        (Some(2), Some(0))
    );
    assert_eq!(config.eos_token_ids, [1]);
}

#[test]
fn gemma3_has_a_full_layer_in_six_and_two_rotary_bases() {
    let config = parse(&old_spelling(&gemma3())).unwrap();
    assert_eq!(sliding_layers(&config), [0, 1, 2, 3, 4, 6]);
    assert_eq!(config.layer(5).rope.theta, 1e6);
    assert_eq!(config.layer(6).rope.theta, 1e4);
    assert_eq!(config.layer(6).window, Some(7));
    let every_third = with(
        &old_spelling(&gemma3()),
        &[("sliding_window_pattern", Some(json!(3)))],
    );
    assert_eq!(
        sliding_layers(&parse(&every_third).unwrap()),
        [0, 1, 3, 4, 6]
    );
}

#[test]
fn qwen2_has_biases_no_bos_and_head_dim_by_division() {
    let config = parse(&qwen2()).unwrap();
    assert_eq!(config.head_dim, 16);
    assert_eq!(config.query_scale, 0.25);
    assert!(config.attention_bias && !config.uses_bos() && !config.tie_word_embeddings);
    assert_eq!(config.hidden_activation, HiddenActivation::Silu);
    assert_eq!(config.embedding_scale(Dtype::Float32), None);
    assert_eq!(
        (config.bos_token_id, &config.eos_token_ids[..]),
        (None, &[2][..])
    );
}

#[test]
fn qwen3_heads_need_not_add_up_to_the_hidden_size() {
    let config = parse(&qwen3()).unwrap();
    assert_eq!(config.head_dim, 20);
    assert_eq!(config.query_scale, 20f64.powf(-0.5));
    assert!(!config.attention_bias && config.tie_word_embeddings);
}

#[test]
fn qwen_layers_slide_from_max_window_layers_on_where_switched_on() {
    let on = [
        ("layer_types", None),
        ("use_sliding_window", Some(json!(true))),
        ("sliding_window", Some(json!(32))),
        ("max_window_layers", Some(json!(1))),
    ];
    let config = parse(&with(&qwen3(), &on)).unwrap();
    assert_eq!(sliding_layers(&config), [1, 2]);
    assert_eq!(config.layer(2).window, Some(32));
    let all = with(
        &with(&qwen3(), &on),
        &[("max_window_layers", Some(json!(0)))],
    );
    assert_eq!(sliding_layers(&parse(&all).unwrap()), [0, 1, 2]);
    let off = with(
        &with(&qwen3(), &on),
        &[("use_sliding_window", Some(json!(false)))],
    );
    assert_eq!(parse(&off).unwrap().sliding_window, None);
}

#[test]
fn the_decoder_of_a_multimodal_gemma3_takes_the_defaults_of_its_class() {
    let config = parse(&gemma3_4b()).unwrap();
    assert_eq!(config.family, Family::Gemma3);
    assert_eq!((config.vocab_size, config.hidden_size), (262_208, 2560));
    assert_eq!(
        (
            config.num_attention_heads,
            config.num_key_value_heads,
            config.head_dim
        ),
        (8, 4, 256)
    );
    assert_eq!(config.eos_token_ids, [1, 106]);
    assert_eq!(config.dtype, Some(Dtype::Bfloat16));
    assert_eq!(
        config.rope_full,
        Rope {
            theta: 1e6,
            linear_factor: 8.0
        }
    );
    assert_eq!(
        config.rope_sliding,
        Rope {
            theta: 1e4,
            linear_factor: 1.0
        }
    );
    assert_eq!(sliding_layers(&config).len(), 34 - 5);
    assert!(config.tie_word_embeddings);
}

#[test]
fn linear_scaling_reads_the_same_in_every_spelling() {
    let new = json!({
        "full_attention": {"rope_theta": 1e6, "rope_type": "linear", "factor": 8.0},
        "sliding_attention": {"rope_theta": 1e4, "rope_type": "default"}
    });
    let new = parse(&with(&gemma3(), &[("rope_parameters", Some(new))])).unwrap();
    for scaling in [
        json!({"type": "linear", "factor": 8}),
        json!({"rope_type": "linear", "factor": 8.0}),
    ] {
        let old = with(&old_spelling(&gemma3()), &[("rope_scaling", Some(scaling))]);
        assert_eq!(parse(&old).unwrap(), new);
    }
    assert_eq!(new.layer(5).rope.linear_factor, 8.0);
    assert_eq!(new.layer(0).rope.linear_factor, 1.0);
}

#[test]
fn absent_keys_take_the_defaults_of_transformers_classes() {
    let sparse = |config: &Value, keys: &[&str]| {
        let changes: Vec<_> = keys.iter().map(|key| (*key, None)).collect();
        parse(&with(config, &changes)).unwrap()
    };
    let optional = [
        "attn_logit_softcapping",
        "final_logit_softcapping",
        "head_dim",
        "rms_norm_eps",
        "rope_parameters",
        "sliding_window",
        "tie_word_embeddings",
        "max_position_embeddings",
        "dtype",
        "bos_token_id",
        "eos_token_id",
        "pad_token_id",
        "hidden_activation",
        "hidden_act",
        "layer_types",
    ];
    let gemma = sparse(&gemma2(), &optional);
    assert_eq!(
        (gemma.attn_logit_softcapping, gemma.final_logit_softcapping),
        (Some(50.0), Some(30.0))
    );
    assert_eq!(
        (
            gemma.head_dim,
            gemma.sliding_window,
            gemma.max_position_embeddings
        ),
        (256, Some(4096), 8192)
    );
    assert_eq!(
        (gemma.rope_full.theta, gemma.rms_norm_eps, gemma.dtype),
        (1e4, 1e-6, None)
    );
    assert_eq!((gemma.bos_token_id, gemma.pad_token_id), (Some(2), Some(0)));
    assert!(gemma.tie_word_embeddings && gemma.eos_token_ids == [1]);
    let qwen = sparse(&qwen3(), &optional);
    assert_eq!(
        (
            qwen.head_dim,
            qwen.rope_full.theta,
            qwen.max_position_embeddings
        ),
        (128, 1e4, 32_768)
    );
    assert!(
        !qwen.tie_word_embeddings && qwen.eos_token_ids.is_empty() && qwen.pad_token_id.is_none()
    );
    let gemma3 = sparse(&gemma3(), &optional);
    assert_eq!(
        (gemma3.rope_full.theta, gemma3.rope_sliding.theta),
        (1e6, 1e4)
    );
    assert_eq!(
        (
            gemma3.final_logit_softcapping,
            gemma3.max_position_embeddings
        ),
        (None, 131_072)
    );
}

#[test]
fn null_caps_are_no_caps_and_a_negative_token_is_none() {
    let config = with(
        &gemma2(),
        &[
            ("attn_logit_softcapping", Some(Value::Null)),
            ("final_logit_softcapping", Some(Value::Null)),
            ("pad_token_id", Some(json!(-1))),
        ],
    );
    let config = parse(&config).unwrap();
    assert_eq!(
        (
            config.attn_logit_softcapping,
            config.final_logit_softcapping
        ),
        (None, None)
    );
    assert_eq!(config.pad_token_id, None);
}

#[test]
fn the_files_own_text_is_kept() {
    let text = "{ \"odd\" :1,".to_owned() + &gemma2().to_string()[1..] + "\n\n";
    let config = ModelConfig::from_json(text.as_bytes(), "c".as_ref()).unwrap();
    assert_eq!(config.raw(), text);
    assert_eq!(config.to_json()["odd"], 1);
    assert_eq!(config, parse(&gemma2()).unwrap());
}
