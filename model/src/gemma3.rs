//! Gemma 3 (arXiv 2503.19786), its text decoder: queries and keys normed by head, five sliding
//! layers to a full one with rotary bases of their own, four norms a layer, tanh-GELU.

use std::sync::Arc;

use burn::module::Module;
use burn::tensor::Tensor;
use kernels::{AttentionOptions, rope};

use crate::config::{LayerShape, ModelConfig};
use crate::layers::{Embedding, Linear, Mlp, RmsNorm, Weights};
use crate::{Error, Pass};

/// The decoder: embeddings, blocks, final norm. The head is the embedding.
#[derive(Module, Debug)]
pub struct Gemma3 {
    pub(crate) embed_tokens: Embedding,
    pub(crate) layers: Vec<DecoderLayer>,
    pub(crate) norm: RmsNorm,
    pub(crate) lm_head: Option<Linear>,
}

impl Gemma3 {
    pub(crate) fn load(weights: &Weights, config: &ModelConfig) -> Result<Self, Error> {
        let hidden = config.hidden_size;
        Ok(Gemma3 {
            embed_tokens: Embedding::load(
                weights,
                "model.embed_tokens",
                [config.vocab_size, hidden],
            )?,
            layers: (0..config.num_hidden_layers)
                .map(|index| DecoderLayer::load(weights, config, index))
                .collect::<Result<_, _>>()?,
            norm: RmsNorm::load(weights, "model.norm", hidden, config)?,
            lm_head: (!config.tie_word_embeddings)
                .then(|| Linear::load(weights, "lm_head", [hidden, config.vocab_size]))
                .transpose()?,
        })
    }

    /// Embeddings are scaled by √hidden; the tied head is not.
    pub(crate) fn embed(&self, ids: &Arc<[u32]>, scale: f32) -> Tensor<2> {
        self.embed_tokens.forward(ids, scale)
    }
}

/// Attention and feed-forward, each normed before and after.
#[derive(Module, Debug)]
pub struct DecoderLayer {
    self_attn: Attention,
    mlp: Mlp,
    input_layernorm: RmsNorm,
    post_attention_layernorm: RmsNorm,
    pre_feedforward_layernorm: RmsNorm,
    post_feedforward_layernorm: RmsNorm,
}

impl DecoderLayer {
    fn load(weights: &Weights, config: &ModelConfig, index: usize) -> Result<Self, Error> {
        let name = format!("model.layers.{index}");
        let norm = |which: &str| {
            let name = format!("{name}.{which}_layernorm");
            RmsNorm::load(weights, &name, config.hidden_size, config)
        };
        Ok(DecoderLayer {
            self_attn: Attention::load(weights, config, index)?,
            mlp: Mlp::load(weights, &format!("{name}.mlp"), config)?,
            input_layernorm: norm("input")?,
            post_attention_layernorm: norm("post_attention")?,
            pre_feedforward_layernorm: norm("pre_feedforward")?,
            post_feedforward_layernorm: norm("post_feedforward")?,
        })
    }

    /// # Shapes
    /// - x and the output: `[tokens, hidden]`
    pub(crate) fn forward(&self, x: Tensor<2>, pass: &mut Pass) -> Tensor<2> {
        let normed = self.input_layernorm.forward(x.clone());
        let normed = pass.part("input_layernorm", normed);
        let attended = self.self_attn.forward(normed, pass);
        let attended = pass.part("self_attn", attended);
        let x = self.post_attention_layernorm.add_to(x, attended);
        let x = pass.part("residual", x);
        let normed = self.pre_feedforward_layernorm.forward(x.clone());
        let normed = pass.part("pre_feedforward_layernorm", normed);
        let fed = pass.part("mlp", self.mlp.forward(normed, pass));
        self.post_feedforward_layernorm.add_to(x, fed)
    }
}

#[derive(Module, Debug)]
struct Attention {
    q_proj: Linear,
    k_proj: Linear,
    v_proj: Linear,
    o_proj: Linear,
    q_norm: RmsNorm,
    k_norm: RmsNorm,
    #[module(skip)]
    index: usize,
    #[module(skip)]
    shape: LayerShape,
    #[module(skip)]
    heads: [usize; 3],
    #[module(skip)]
    options: AttentionOptions,
}

impl Attention {
    fn load(weights: &Weights, config: &ModelConfig, index: usize) -> Result<Self, Error> {
        let name = format!("model.layers.{index}.self_attn");
        let heads = [
            config.num_attention_heads,
            config.num_key_value_heads,
            config.head_dim,
        ];
        let [heads_q, heads_kv, head_dim] = heads;
        let hidden = config.hidden_size;
        let linear = |which: &str, shape| Linear::load(weights, &format!("{name}.{which}"), shape);
        let shape = config.layer(index);
        Ok(Attention {
            q_proj: linear("q_proj", [hidden, heads_q * head_dim])?,
            k_proj: linear("k_proj", [hidden, heads_kv * head_dim])?,
            v_proj: linear("v_proj", [hidden, heads_kv * head_dim])?,
            o_proj: linear("o_proj", [heads_q * head_dim, hidden])?,
            q_norm: RmsNorm::load(weights, &format!("{name}.q_norm"), head_dim, config)?,
            k_norm: RmsNorm::load(weights, &format!("{name}.k_norm"), head_dim, config)?,
            index,
            shape,
            heads,
            options: config.attention_options(index),
        })
    }

    fn forward(&self, x: Tensor<2>, pass: &mut Pass) -> Tensor<2> {
        let [tokens, _] = x.dims();
        let [heads, kv_heads, head_dim] = self.heads;
        let q = self.q_proj.forward(x.clone(), pass);
        let k = self.k_proj.forward(x.clone(), pass);
        let v = self.v_proj.forward(x, pass);
        let q = self
            .q_norm
            .forward_heads(q.reshape([tokens, heads, head_dim]));
        let k = self
            .k_norm
            .forward_heads(k.reshape([tokens, kv_heads, head_dim]));
        let v = v.reshape([tokens, kv_heads, head_dim]);
        let table = pass.rotary(self.shape.kind);
        let (q, k) = (rope(q, table), rope(k, table));
        let attended = pass.attend(self.index, q, k, v, self.options);
        self.o_proj
            .forward(attended.reshape([tokens, heads * head_dim]), pass)
    }
}
