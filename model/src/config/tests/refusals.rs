//! What is refused, and in which words.

use serde_json::{Value, json};

use super::{assert_says, gemma2, gemma3, gemma3_4b, parse, qwen2, qwen3, refusal, with};
use crate::config::ModelConfig;

#[test]
fn an_unknown_model_type_is_named_with_those_that_are_known() {
    let message = refusal(&gemma2(), "model_type", json!("llama9"));
    assert_says(
        &message,
        &[
            "`model_type` is \"llama9\"",
            "gemma2",
            "gemma3_text",
            "qwen2",
            "qwen3",
        ],
    );
    assert_says(
        &refusal(&gemma2(), "model_type", json!(3)),
        &["`model_type` is 3"],
    );
}

#[test]
fn sizes_of_zero_negative_fractional_huge_or_of_another_type_are_named_with_the_range() {
    for key in [
        "vocab_size",
        "hidden_size",
        "intermediate_size",
        "num_hidden_layers",
        "num_attention_heads",
        "num_key_value_heads",
        "head_dim",
        "max_position_embeddings",
        "sliding_window",
    ] {
        for value in [
            json!(0),
            json!(-4),
            json!(1.5),
            json!("8"),
            json!([8]),
            json!(true),
            json!(1u64 << 40),
        ] {
            let found = format!("`{key}` is {value}");
            assert_says(
                &refusal(&gemma2(), key, value),
                &[&found, "a whole number from 1 to"],
            );
        }
    }
}

#[test]
fn missing_sizes_are_named() {
    for key in [
        "model_type",
        "vocab_size",
        "hidden_size",
        "intermediate_size",
        "num_hidden_layers",
        "num_attention_heads",
        "num_key_value_heads",
        "query_pre_attn_scalar",
    ] {
        let message = parse(&with(&gemma2(), &[(key, None)]))
            .unwrap_err()
            .to_string();
        assert_says(&message, &["m/config.json", &format!("`{key}` is missing")]);
    }
}

#[test]
fn heads_must_be_a_multiple_of_the_key_value_heads() {
    let message = refusal(&gemma2(), "num_key_value_heads", json!(4));
    assert_says(
        &message,
        &[
            "`num_attention_heads` is 6",
            "multiple of `num_key_value_heads` (4)",
        ],
    );
}

#[test]
fn an_odd_head_dim_is_refused_however_it_comes_about() {
    assert_says(
        &refusal(&gemma2(), "head_dim", json!(15)),
        &["`head_dim` is 15", "even"],
    );
    assert_says(
        &refusal(&qwen2(), "hidden_size", json!(90)),
        &["`head_dim` is 15", "even"],
    );
    assert_says(
        &refusal(&qwen2(), "hidden_size", json!(97)),
        &["`hidden_size` is 97", "`num_attention_heads` (6)"],
    );
}

#[test]
fn layer_types_of_another_length_or_kind_are_refused() {
    let message = refusal(&gemma2(), "num_hidden_layers", json!(5));
    assert_says(
        &message,
        &["`layer_types` is a list of 4", "`num_hidden_layers` (5)"],
    );
    let linear = json!(["full_attention", "linear_attention"]);
    assert_says(
        &refusal(&qwen2(), "layer_types", linear),
        &["`layer_types.1` is \"linear_attention\""],
    );
    assert_says(
        &refusal(&qwen2(), "layer_types", json!("full_attention")),
        &["a list"],
    );
    let sliding = json!(["full_attention", "sliding_attention"]);
    assert_says(
        &refusal(&qwen2(), "layer_types", sliding),
        &["use_sliding_window"],
    );
    assert_says(
        &refusal(&gemma2(), "sliding_window", Value::Null),
        &["`sliding_window` is null"],
    );
    let layers = with(&gemma2(), &[("layer_types", None)]);
    assert_says(
        &refusal(&layers, "num_hidden_layers", json!(1_000_000)),
        &["at most 4096"],
    );
}

#[test]
fn features_that_change_the_maths_are_refused_by_name() {
    for (config, key, value) in [
        (gemma2(), "attention_bias", json!(true)),
        (gemma3(), "attention_bias", json!(true)),
        (qwen3(), "attention_bias", json!(true)),
        (gemma2(), "use_bidirectional_attention", json!(true)),
        (gemma3(), "use_bidirectional_attention", json!("all")),
        (gemma2(), "mlp_bias", json!(true)),
        (qwen2(), "use_mrope", json!(true)),
        (gemma3(), "attn_logit_softcapping", json!(50.0)),
        (qwen3(), "final_logit_softcapping", json!(30.0)),
        (
            qwen2(),
            "quantization_config",
            json!({"quant_method": "gptq"}),
        ),
        (qwen2(), "is_causal", json!(false)),
        (gemma2(), "attention_dropout", json!(0.1)),
        (qwen3(), "partial_rotary_factor", json!(0.5)),
    ] {
        let found = format!("`{key}` is {value}, which is not supported");
        assert_says(&refusal(&config, key, value), &[&found, "\nhint: "]);
    }
    assert_says(
        &refusal(&gemma2(), "hidden_activation", json!("relu")),
        &["\"relu\"", "gelu_pytorch_tanh"],
    );
    assert_says(
        &refusal(&qwen2(), "hidden_act", Value::Null),
        &["`hidden_act` is null"],
    );
    // Qwen2's class has no such key and always biases q, k and v.
    assert!(
        parse(&with(&qwen2(), &[("attention_bias", Some(json!(false)))]))
            .unwrap()
            .attention_bias
    );
}

#[test]
fn numbers_flags_and_tokens_of_another_type_are_refused() {
    for (key, value) in [
        ("rms_norm_eps", json!(0)),
        ("query_pre_attn_scalar", json!(-1)),
        ("attn_logit_softcapping", json!(0.0)),
        ("final_logit_softcapping", json!("30")),
        ("tie_word_embeddings", json!("yes")),
        ("eos_token_id", json!("</s>")),
        ("eos_token_id", json!([1, null])),
        ("dtype", json!("int8")),
    ] {
        let found = format!("`{key}` is {value}");
        assert_says(&refusal(&gemma2(), key, value), &[&found, "expected"]);
    }
}

#[test]
fn a_file_that_is_missing_or_no_json_object_is_named() {
    let message = ModelConfig::from_dir("/nonexistent")
        .unwrap_err()
        .to_string();
    assert_says(&message, &["/nonexistent/config.json", "hint:"]);
    for text in [
        &b"{\"model_type\": "[..],
        b"",
        b"[1]",
        b"null",
        b"\xff\xfe",
        b"{\"a\": \"\xff\"}",
    ] {
        let message = ModelConfig::from_json(text, "m/config.json".as_ref())
            .unwrap_err()
            .to_string();
        assert_says(&message, &["m/config.json: not valid JSON"]);
    }
    let nothing = json!({"model_type": "gemma3"});
    assert_says(
        &parse(&nothing).unwrap_err().to_string(),
        &["`text_config` is missing"],
    );
}

#[test]
fn long_values_are_cut_in_messages() {
    let long = json!("é".repeat(5000));
    assert!(refusal(&gemma2(), "model_type", long).chars().count() < 500);
}

#[test]
fn no_value_of_any_key_panics() {
    let odd = [
        json!(null),
        json!(true),
        json!(-1),
        json!(0),
        json!(1),
        json!(7),
        json!(1e300),
        json!(2_147_483_647),
        json!(u64::MAX),
        json!(""),
        json!([]),
        json!([null]),
        json!({}),
        json!({"rope_type": 3}),
        json!({"full_attention": 1}),
    ];
    for config in [gemma2(), gemma3(), gemma3_4b(), qwen2(), qwen3()] {
        let keys = config.as_object().unwrap().keys().map(String::as_str);
        let more = [
            "rope_scaling",
            "rope_theta",
            "sliding_window_pattern",
            "torch_dtype",
            "text_config",
        ];
        for key in keys.chain(more) {
            for value in &odd {
                if let Ok(parsed) = parse(&with(&config, &[(key, Some(value.clone()))])) {
                    assert!(parsed.num_parameters() > 0);
                    assert_eq!(parsed.layer_kinds.len(), parsed.num_hidden_layers);
                }
            }
        }
    }
}
