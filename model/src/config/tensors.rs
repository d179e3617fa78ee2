//! The tensors of each family, as Hugging Face names and shapes them.

use super::ModelConfig;

/// A tensor that a model needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorSpec {
    /// Its name in the checkpoint, such as `model.layers.0.self_attn.q_proj.weight`.
    pub name: String,
    /// Its shape there: a projection is `[out, in]`.
    pub shape: Vec<usize>,
}

impl TensorSpec {
    /// Number of values in it.
    #[must_use]
    pub fn num_elements(&self) -> usize {
        self.shape.iter().product()
    }
}

pub(super) fn expected(config: &ModelConfig) -> Vec<TensorSpec> {
    let mut tensors = Vec::new();
    let mut add = |name: String, shape: &[usize]| {
        tensors.push(TensorSpec {
            name,
            shape: shape.to_vec(),
        });
    };
    let hidden = config.hidden_size;
    let intermediate = config.intermediate_size;
    let head_dim = config.head_dim;
    let q_width = config.num_attention_heads * head_dim;
    let kv_width = config.num_key_value_heads * head_dim;

    add(EMBEDDING.into(), &[config.vocab_size, hidden]);
    for layer in 0..config.num_hidden_layers {
        let attention = format!("model.layers.{layer}.self_attn");
        for (projection, width) in [
            ("q_proj", q_width),
            ("k_proj", kv_width),
            ("v_proj", kv_width),
        ] {
            add(format!("{attention}.{projection}.weight"), &[width, hidden]);
            if config.attention_bias {
                add(format!("{attention}.{projection}.bias"), &[width]);
            }
        }
        add(format!("{attention}.o_proj.weight"), &[hidden, q_width]);
        if config.family.has_qk_norm() {
            add(format!("{attention}.q_norm.weight"), &[head_dim]);
            add(format!("{attention}.k_norm.weight"), &[head_dim]);
        }
        let mlp = format!("model.layers.{layer}.mlp");
        add(format!("{mlp}.gate_proj.weight"), &[intermediate, hidden]);
        add(format!("{mlp}.up_proj.weight"), &[intermediate, hidden]);
        add(format!("{mlp}.down_proj.weight"), &[hidden, intermediate]);
        let norms: &[&str] = if config.family.is_gemma() {
            &[
                "input_layernorm",
                "post_attention_layernorm",
                "pre_feedforward_layernorm",
                "post_feedforward_layernorm",
            ]
        } else {
            &["input_layernorm", "post_attention_layernorm"]
        };
        for norm in norms {
            add(format!("model.layers.{layer}.{norm}.weight"), &[hidden]);
        }
    }
    add("model.norm.weight".into(), &[hidden]);
    if !config.tie_word_embeddings {
        add(LM_HEAD.into(), &[config.vocab_size, hidden]);
    }
    tensors
}

/// The embedding, which is also the head of a tied model.
pub(crate) const EMBEDDING: &str = "model.embed_tokens.weight";

/// The head of a model that is not tied.
pub(crate) const LM_HEAD: &str = "lm_head.weight";
