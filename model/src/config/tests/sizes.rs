//! Published models: their exact parameter counts, tensor names and embedding scales.

use serde_json::{Value, json};

use super::{gemma2, gemma3, gemma3_4b, parse, qwen2, qwen3, with};
use crate::{checkpoint::Dtype, config::ModelConfig};

/// A published model, from the sizes in which it differs from a tiny one.
#[rustfmt::skip]
fn published(tiny: &Value, [hidden, intermediate, layers, heads, kv_heads, head_dim, vocab]: [usize; 7]) -> ModelConfig {
    let config = with(tiny, &[
        ("hidden_size", Some(json!(hidden))), ("intermediate_size", Some(json!(intermediate))),
        ("num_hidden_layers", Some(json!(layers))), ("num_attention_heads", Some(json!(heads))),
        ("num_key_value_heads", Some(json!(kv_heads))), ("head_dim", Some(json!(head_dim))),
        ("vocab_size", Some(json!(vocab))), ("layer_types", None),
    ]);
    parse(&config).unwrap()
}

#[test]
fn published_models_have_their_published_number_of_parameters() {
    let tied_qwen2 = with(&qwen2(), &[("tie_word_embeddings", Some(json!(true)))]);
    for (tiny, sizes, expected) in [
        (
            gemma2(),
            [2304, 9216, 26, 8, 4, 256, 256_000],
            2_614_341_888,
        ),
        (
            gemma2(),
            [3584, 14_336, 42, 16, 8, 256, 256_000],
            9_241_705_984,
        ),
        (gemma3(), [1152, 6912, 26, 4, 1, 256, 262_144], 999_885_952),
        (tied_qwen2, [896, 4864, 24, 14, 2, 64, 151_936], 494_032_768),
        (
            qwen2(),
            [3584, 18_944, 28, 28, 4, 128, 152_064],
            7_615_616_512,
        ),
        (
            qwen2(),
            [8192, 29_568, 80, 64, 8, 128, 152_064],
            72_706_203_648,
        ),
        (qwen3(), [1024, 3072, 28, 16, 8, 128, 151_936], 596_049_920),
    ] {
        assert_eq!(
            published(&tiny, sizes).num_parameters(),
            expected,
            "{sizes:?}"
        );
    }
    assert_eq!(parse(&gemma3_4b()).unwrap().num_parameters(), 3_880_263_168);
}

#[test]
fn embeddings_are_scaled_by_a_root_in_the_dtype_of_the_computation() {
    let gemma_2_9b = published(&gemma2(), [3584, 14_336, 42, 16, 8, 256, 256_000]);
    assert_eq!(gemma_2_9b.embedding_scale(Dtype::Bfloat16), Some(59.75));
    assert_eq!(gemma_2_9b.embedding_scale(Dtype::Float32), Some(59.866_52));
    let gemma_3_1b = published(&gemma3(), [1152, 6912, 26, 4, 1, 256, 262_144]);
    assert_eq!(gemma_3_1b.embedding_scale(Dtype::Bfloat16), Some(34.0));
}

#[test]
fn tensors_have_hugging_faces_names_and_shapes() {
    let tensors = |config: &Value| -> Vec<(String, Vec<usize>)> {
        let tensors = parse(config).unwrap().expected_tensors();
        tensors.into_iter().map(|t| (t.name, t.shape)).collect()
    };
    let gemma = tensors(&gemma2());
    assert_eq!(gemma.len(), 1 + 4 * 11 + 1);
    assert_eq!(
        gemma[0],
        ("model.embed_tokens.weight".into(), vec![512, 72])
    );
    for (name, shape) in [
        ("model.layers.3.self_attn.q_proj.weight", vec![96, 72]),
        ("model.layers.3.self_attn.k_proj.weight", vec![32, 72]),
        ("model.layers.3.self_attn.o_proj.weight", vec![72, 96]),
        ("model.layers.3.mlp.down_proj.weight", vec![72, 136]),
        ("model.layers.3.pre_feedforward_layernorm.weight", vec![72]),
        ("model.norm.weight", vec![72]),
    ] {
        assert!(gemma.contains(&(name.into(), shape)), "{name}");
    }
    let gemma = tensors(&gemma3());
    assert_eq!(gemma.len(), 1 + 7 * 13 + 1);
    assert!(gemma.contains(&("model.layers.6.self_attn.k_norm.weight".into(), vec![24])));
    let qwen = tensors(&qwen2());
    assert_eq!(qwen.len(), 1 + 2 * 12 + 2);
    assert!(qwen.contains(&("model.layers.1.self_attn.v_proj.bias".into(), vec![32])));
    assert_eq!(qwen.last(), Some(&("lm_head.weight".into(), vec![512, 96])));
    assert_eq!(tensors(&qwen3()).len(), 1 + 3 * 11 + 1);
}
