//! Rotary embeddings that are not implemented or not where they belong.

use serde_json::json;

use super::{assert_says, gemma3, gemma3_4b, qwen2, qwen3, refusal};

#[test]
fn scaled_rotary_embeddings_other_than_gemma3s_are_refused_by_name() {
    for kind in ["yarn", "llama3", "dynamic", "longrope", "linear"] {
        let message = refusal(
            &qwen2(),
            "rope_scaling",
            json!({"type": kind, "factor": 4.0}),
        );
        assert_says(
            &message,
            &["`rope_scaling.type`", kind, "not supported", "hint:"],
        );
        let new = json!({"rope_type": kind, "rope_theta": 1e6, "factor": 4.0});
        assert_says(
            &refusal(&qwen3(), "rope_parameters", new),
            &["`rope_parameters.rope_type`", kind],
        );
    }
    let yarn = json!({"rope_type": "yarn", "factor": 8.0});
    assert_says(
        &refusal(&gemma3(), "rope_scaling", yarn.clone()),
        &["`rope_scaling.rope_type`", "yarn"],
    );
    let sliding = json!({"sliding_attention": {"rope_type": "linear", "factor": 2.0}});
    let message = refusal(&gemma3(), "rope_parameters", sliding);
    assert_says(
        &message,
        &["`rope_parameters.sliding_attention.rope_type`", "linear"],
    );
    let mut nested = gemma3_4b()["text_config"].clone();
    nested["rope_scaling"] = yarn;
    assert_says(
        &refusal(&gemma3_4b(), "text_config", nested),
        &["`text_config.rope_scaling.rope_type`"],
    );
}

#[test]
fn rotary_parameters_in_the_wrong_place_are_refused() {
    let flat = json!({"rope_theta": 500_000.0, "rope_type": "default"});
    assert_says(
        &refusal(&gemma3(), "rope_parameters", flat),
        &["`rope_parameters.rope_theta`", "two bases"],
    );
    let nested = json!({"full_attention": {"rope_theta": 1e6}});
    assert_says(
        &refusal(&qwen2(), "rope_parameters", nested),
        &["only Gemma 3"],
    );
    assert_says(
        &refusal(&qwen2(), "rope_parameters", json!(3)),
        &["an object"],
    );
    let zero = json!({"rope_theta": 0, "rope_type": "default"});
    assert_says(
        &refusal(&qwen2(), "rope_parameters", zero),
        &["`rope_parameters.rope_theta` is 0", "above 0"],
    );
    let factorless = json!({"rope_type": "linear"});
    assert_says(
        &refusal(&gemma3(), "rope_scaling", factorless),
        &["`rope_scaling.factor` is missing"],
    );
}
