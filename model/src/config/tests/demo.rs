//! Models made in code, and decoders taken out of larger ones.

use super::{gemma2, gemma3_4b, parse};
use crate::{
    checkpoint::Dtype,
    config::{Family, Gemma2Shape, LayerKind, ModelConfig},
};

#[test]
fn a_demo_model_is_a_gemma2_of_the_shape_asked_for() {
    let shape = Gemma2Shape {
        vocab_size: 777,
        num_hidden_layers: 3,
        ..Gemma2Shape::default()
    };
    let config = ModelConfig::demo_gemma2(&shape).unwrap();
    assert_eq!((config.family, config.vocab_size), (Family::Gemma2, 777));
    assert_eq!(
        config.layer_kinds,
        [LayerKind::Sliding, LayerKind::Full, LayerKind::Sliding]
    );
    assert_eq!(config.dtype, Some(Dtype::Float32));
    assert_eq!(config.query_scale, 32f64.powf(-0.5));
}

#[test]
fn a_demo_models_json_parses_to_itself_and_has_both_spellings() {
    let config = ModelConfig::demo_gemma2(&Gemma2Shape::default()).unwrap();
    let again = ModelConfig::from_json(config.raw().as_bytes(), "c".as_ref()).unwrap();
    assert_eq!(config, again);
    let json = config.to_json();
    assert_eq!(json["dtype"], json["torch_dtype"]);
    assert_eq!(json["rope_parameters"]["rope_theta"], json["rope_theta"]);
}

#[test]
fn a_demo_shape_that_makes_no_sense_is_refused() {
    let heads = Gemma2Shape {
        num_attention_heads: 3,
        ..Gemma2Shape::default()
    };
    assert!(
        ModelConfig::demo_gemma2(&heads)
            .unwrap_err()
            .to_string()
            .contains("hidden_size")
    );
    let none = Gemma2Shape {
        num_attention_heads: 0,
        ..Gemma2Shape::default()
    };
    assert!(
        ModelConfig::demo_gemma2(&none)
            .unwrap_err()
            .to_string()
            .contains("num_attention_heads")
    );
}

#[test]
fn the_decoder_of_a_multimodal_model_is_saved_as_a_model_of_its_own() {
    let config = parse(&gemma3_4b()).unwrap();
    let json = config.decoder_json();
    let alone = ModelConfig::from_json(json.as_bytes(), "c".as_ref()).unwrap();
    assert_eq!(alone, config);
    assert_eq!(alone.to_json()["model_type"], "gemma3_text");
    assert!(alone.to_json().get("vision_config").is_none());
    assert_eq!(alone.decoder_json(), json);
    let flat = parse(&gemma2()).unwrap();
    assert_eq!(flat.decoder_json(), flat.raw());
}
