use std::path::Path;
use std::sync::Arc;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{DType, Device, Tensor};
use kernels::{
    AttentionOptions, CacheRows, Logprobs, LogprobsOptions, Rotary, Segments, decode_linear,
    linear_logprobs, weighted_logprobs,
};

use crate::checkpoint::{Checkpoint, Dtype, LoadReport};
use crate::config::{EMBEDDING, Family, LayerKind, ModelConfig};
use crate::gemma2::Gemma2;
use crate::gemma3::Gemma3;
use crate::lora::{Adapters, Trainable};
use crate::pass::Mode;
use crate::qwen2::Qwen2;
use crate::qwen3::Qwen3;
use crate::save::parameter_name;
use crate::streamed::{Block, Streamed, StreamedReads};
use crate::{Copies, Error, KvCache, Pass, Weights};

/// A decoder with its configuration: what is trained, scored and sampled from. Clones share their
/// tensors.
#[derive(Clone)]
pub struct CausalLm {
    config: Arc<ModelConfig>,
    /// Absent only while its parameters are being replaced.
    decoder: Option<Decoder>,
    /// Of full and of sliding layers.
    rotary: Arc<[Rotary; 2]>,
    /// What the blocks compute in; parameters are float32.
    dtype: DType,
    device: Device,
    trainable: Arc<Trainable>,
    adapters: Adapters,
    /// What frozen weights of blocks are read from, where they are not kept.
    streamed: Option<Arc<Streamed>>,
    /// Empty where matrices are cast each time.
    copies: Arc<Copies>,
    /// A tied head in the dtype of the computation, where the embedding is not.
    cast_head: Option<Tensor<2>>,
}

/// The four families.
#[derive(Module, Debug)]
pub enum Decoder {
    /// Gemma 2.
    Gemma2(Gemma2),
    /// Gemma 3, text.
    Gemma3(Gemma3),
    /// Qwen 2 and 2.5.
    Qwen2(Qwen2),
    /// Qwen 3.
    Qwen3(Qwen3),
}

macro_rules! each_family {
    ($decoder:expr, $model:ident => $body:expr) => {
        match $decoder {
            Decoder::Gemma2($model) => $body,
            Decoder::Gemma3($model) => $body,
            Decoder::Qwen2($model) => $body,
            Decoder::Qwen3($model) => $body,
        }
    };
}

impl CausalLm {
    /// Loads a folder in Hugging Face's layout, tensor by tensor, as float32.
    ///
    /// # Errors
    /// `config.json` or a tensor is missing, broken, or not what the other says.
    pub fn load(dir: &Path, device: &Device, dtype: DType) -> Result<(Self, LoadReport), Error> {
        Self::load_to_train(dir, device, dtype, &Trainable::default())
    }

    /// As [`Self::load`], to score and to generate with: a matrix that the file has in `dtype` stays in it.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn load_frozen(
        dir: &Path,
        device: &Device,
        dtype: DType,
    ) -> Result<(Self, LoadReport), Error> {
        let trainable = Trainable {
            frozen: true,
            ..Trainable::default()
        };
        Self::load_to_train(dir, device, dtype, &trainable)
    }

    /// As [`Self::load`], with what trains on a device that computes gradients. Adapters are new
    /// ones. A frozen matrix that the file has in `dtype` stays in it.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn load_to_train(
        dir: &Path,
        device: &Device,
        dtype: DType,
        trainable: &Trainable,
    ) -> Result<(Self, LoadReport), Error> {
        let config = ModelConfig::from_dir(dir)?;
        let checkpoint = Checkpoint::open(dir)?;
        let report = checkpoint.validate(&config)?;
        let weights = Weights::from_checkpoint(&checkpoint, device).trained(trainable, dtype);
        let mut model = Self::build(config, &weights, device, dtype)?;
        if trainable.stream_frozen_blocks {
            let streamed = Streamed::new(checkpoint, model.config(), dtype);
            model.streamed = Some(Arc::new(streamed));
        }
        Ok((model, report))
    }

    /// An untrained model: matrices of standard deviation `std` from `seed`.
    pub fn random(config: ModelConfig, seed: u64, std: f32, device: &Device, dtype: DType) -> Self {
        let weights = Weights::random(seed, std, device);
        Self::build(config, &weights, device, dtype).expect("random weights have every tensor")
    }

    fn build(
        config: ModelConfig,
        weights: &Weights,
        device: &Device,
        dtype: DType,
    ) -> Result<Self, Error> {
        let decoder = match config.family {
            Family::Gemma2 => Decoder::Gemma2(Gemma2::load(weights, &config)?),
            Family::Gemma3 => Decoder::Gemma3(Gemma3::load(weights, &config)?),
            Family::Qwen2 => Decoder::Qwen2(Qwen2::load(weights, &config)?),
            Family::Qwen3 => Decoder::Qwen3(Qwen3::load(weights, &config)?),
        };
        let rotary = [LayerKind::Full, LayerKind::Sliding].map(|kind| {
            let rope = config.rope(kind);
            Rotary::new(config.head_dim, rope.theta, rope.linear_factor)
        });
        Ok(CausalLm {
            config: Arc::new(config),
            decoder: Some(decoder),
            rotary: Arc::new(rotary),
            dtype,
            device: device.clone(),
            trainable: Arc::new(weights.trainable().clone()),
            adapters: Adapters::On,
            streamed: None,
            copies: Arc::default(),
            cast_head: None,
        })
    }

    /// What the model looks like.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// Where its tensors are.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// What its blocks compute in.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// Which of its parameters train.
    pub fn trainable(&self) -> &Trainable {
        &self.trainable
    }

    /// What is frozen of its blocks, where that is read each time a block runs.
    pub(crate) fn streamed(&self) -> Option<&Streamed> {
        self.streamed.as_deref()
    }

    /// How often this model and its clones have read a block, where blocks are streamed.
    pub fn streamed_reads(&self) -> StreamedReads {
        self.streamed().map(Streamed::reads).unwrap_or_default()
    }

    /// The model without gradients, sharing its tensors: for generation and scoring.
    pub fn valid(&self) -> Self {
        CausalLm {
            decoder: Some(self.decoder().valid()),
            device: self.device.clone().inner(),
            copies: Arc::new(self.copies.valid()),
            ..self.clone()
        }
    }

    /// As [`Self::valid`], with every matrix that is multiplied by in the dtype of the computation: cast
    /// here and not for each token. An embedding stays as it is, because it is scaled before it is cast.
    pub fn for_generation(&self) -> Self {
        let mut model = self.valid();
        model.cast_head = model.config.tie_word_embeddings.then(|| model.head());
        model.update(&mut Cast {
            path: Vec::new(),
            dtype: model.dtype,
            trainable: model.trainable.clone(),
            copies: model.copies.clone(),
        });
        model
    }

    /// The model without what its adapters add, sharing its tensors: the reference that a policy of
    /// adapters began as.
    pub fn without_adapters(&self) -> Self {
        CausalLm {
            adapters: Adapters::Off,
            ..self.clone()
        }
    }

    /// Shows every parameter to `visitor`; see [`parameter_name`].
    pub fn visit<V: ModuleVisitor>(&self, visitor: &mut V) {
        each_family!(self.decoder(), model => model.visit(visitor));
    }

    /// From now on multiplies by copies of the trained matrices in the dtype of the computation, where
    /// that is not theirs. Whoever changes the matrices has to renew them: see [`Self::take_copies`].
    pub fn keep_copies(&mut self) {
        self.copies = Arc::new(Copies::of(self));
    }

    /// The copies that the model multiplies by.
    pub fn copies(&self) -> &Copies {
        &self.copies
    }

    /// Takes the copies out, before the matrices that they are of change.
    pub fn take_copies(&mut self) -> Copies {
        Arc::unwrap_or_clone(std::mem::take(&mut self.copies))
    }

    /// Puts in copies of the matrices as they are now.
    pub fn set_copies(&mut self, copies: Copies) {
        self.copies = Arc::new(copies);
    }

    /// Replaces every parameter by what `mapper` makes of it. It gets each one as its only holder,
    /// unless a clone of the model is alive, so it may change it in place. Copies of the parameters as
    /// they were are dropped.
    pub fn update<M: ModuleMapper>(&mut self, mapper: &mut M) {
        self.copies = Arc::default();
        let decoder = self.decoder.take().expect("no other update is under way");
        self.decoder = Some(match decoder {
            Decoder::Gemma2(model) => Decoder::Gemma2(model.map(mapper)),
            Decoder::Gemma3(model) => Decoder::Gemma3(model.map(mapper)),
            Decoder::Qwen2(model) => Decoder::Qwen2(model.map(mapper)),
            Decoder::Qwen3(model) => Decoder::Qwen3(model.map(mapper)),
        });
    }

    fn decoder(&self) -> &Decoder {
        self.decoder.as_ref().expect("no update is under way")
    }

    /// The hidden states of a packed row of sequences, after the final norm.
    ///
    /// # Shapes
    /// - output: `[tokens, hidden]`
    pub fn hidden(&self, ids: &Arc<[u32]>, segments: &Segments) -> Tensor<2> {
        self.forward(ids, Mode::Packed(segments.clone()))
    }

    /// As [`Self::hidden`] for a row of prompts, keeping prompt i's keys and values in slot
    /// `slots[i]`.
    pub(crate) fn prefill(
        &self,
        ids: &Arc<[u32]>,
        segments: &Segments,
        slots: &[usize],
        cache: &mut KvCache,
    ) -> Tensor<2> {
        let ranges = segments.ranges().zip(slots);
        let slots = ranges
            .flat_map(|(range, &slot)| range.map(move |_| slot))
            .collect();
        self.forward(
            ids,
            Mode::Prefill {
                segments: segments.clone(),
                slots,
                cache,
            },
        )
    }

    /// The hidden states of one new token a sequence.
    pub(crate) fn decode(
        &self,
        ids: &Arc<[u32]>,
        rows: CacheRows,
        positions: Arc<[u32]>,
        cache: &mut KvCache,
    ) -> Tensor<2> {
        self.forward(
            ids,
            Mode::Decode {
                rows,
                positions,
                cache,
            },
        )
    }

    fn forward(&self, ids: &Arc<[u32]>, mode: Mode) -> Tensor<2> {
        let mut pass = self.pass(mode);
        let mut x = self.embed(ids);
        for index in 0..self.config.num_hidden_layers {
            x = self.layer(index, x, &mut pass);
        }
        self.norm(x)
    }

    /// A pass over a packed row, for those who run the blocks themselves.
    pub fn packed_pass(&self, segments: &Segments) -> Pass<'static> {
        self.pass(Mode::Packed(segments.clone()))
    }

    fn pass<'a>(&self, mode: Mode<'a>) -> Pass<'a> {
        let positions = mode.positions();
        let tables = [0, 1].map(|kind: usize| self.rotary[kind].table(positions.clone()));
        Pass::new(mode, tables, self.adapters, self.copies.clone())
    }

    /// What the first layer takes: the tokens' embeddings, in the dtype of the computation.
    ///
    /// # Shapes
    /// - output: `[tokens, hidden]`
    pub fn embed(&self, ids: &Arc<[u32]>) -> Tensor<2> {
        let scale = self.config.embedding_scale(checkpoint_dtype(self.dtype));
        let scale = scale.unwrap_or(1.0);
        each_family!(self.decoder(), model => model.embed(ids, scale)).cast(self.dtype)
    }

    /// One layer.
    ///
    /// # Shapes
    /// - x and the output: `[tokens, hidden]`
    pub fn layer(&self, index: usize, x: Tensor<2>, pass: &mut Pass) -> Tensor<2> {
        if let Some(block) = self.streamed_block(index, pass) {
            let [output] = self.replaced_layer(index, [(x, pass)], block);
            return output;
        }
        each_family!(self.decoder(), model => model.layers[index].forward(x, pass))
    }

    /// What is read of a layer for this pass, where blocks are streamed.
    pub(crate) fn streamed_block(&self, index: usize, pass: &mut Pass) -> Option<Block> {
        let next = pass.take_next(index, self.config.num_hidden_layers);
        let block = self.streamed.as_ref()?.take(index, Some(next));
        Some(block.expect("the file was checked when it was opened, and is still open"))
    }

    /// As [`Self::layer`], of a copy whose frozen parameters `mapper` has changed, for each of several
    /// inputs.
    pub(crate) fn mapped_layer<M: ModuleMapper, const N: usize>(
        &self,
        index: usize,
        inputs: [(Tensor<2>, &mut Pass); N],
        mapper: &mut M,
    ) -> [Tensor<2>; N] {
        each_family!(self.decoder(), model => {
            let layer = model.layers[index].clone().map(mapper);
            inputs.map(|(x, pass)| layer.forward(x, pass))
        })
    }

    /// The lowest layer that has a parameter to train; `None` where the embedding trains below them
    /// all. A gradient need not go further down.
    pub fn lowest_trained_layer(&self) -> Option<usize> {
        let trained = self.trained_parameters();
        if trained.contains_key(EMBEDDING) {
            return None;
        }
        let layer = |name: &String| {
            let rest = name.strip_prefix("model.layers.")?;
            rest.split('.').next()?.parse::<usize>().ok()
        };
        let lowest = trained.keys().filter_map(layer).min();
        Some(lowest.unwrap_or(self.config.num_hidden_layers))
    }

    /// The final norm.
    ///
    /// # Shapes
    /// - x and the output: `[tokens, hidden]`
    pub fn norm(&self, x: Tensor<2>) -> Tensor<2> {
        each_family!(self.decoder(), model => model.norm.forward(x))
    }

    /// The language-model head `[vocab, hidden]`, the embedding where they are tied, in the dtype
    /// of the computation.
    pub fn head(&self) -> Tensor<2> {
        if let Some(head) = &self.cast_head {
            return head.clone();
        }
        let head = each_family!(self.decoder(), model => match &model.lm_head {
            Some(head) => &head.weight,
            None => &model.embed_tokens.weight,
        });
        self.copies.matrix(head, self.dtype)
    }

    /// Statistics of `targets` at these hidden states.
    ///
    /// # Shapes
    /// - hidden: `[tokens, hidden]`
    pub fn logprobs(&self, hidden: Tensor<2>, targets: &Arc<[u32]>, temperature: f64) -> Logprobs {
        let options = self.logprobs_options(temperature);
        linear_logprobs(hidden, self.head(), targets, options)
    }

    /// Σ weight · log p(target), and the statistics without gradients: see
    /// [`kernels::weighted_logprobs`].
    ///
    /// # Shapes
    /// - hidden: `[tokens, hidden]`
    /// - weights: `[tokens]`
    pub fn weighted_logprobs(
        &self,
        hidden: Tensor<2>,
        targets: &Arc<[u32]>,
        weights: Tensor<1>,
        temperature: f64,
    ) -> (Tensor<1>, Logprobs) {
        let options = self.logprobs_options(temperature);
        weighted_logprobs(hidden, self.head(), targets, weights, options)
    }

    fn logprobs_options(&self, temperature: f64) -> LogprobsOptions {
        LogprobsOptions {
            temperature: temperature as f32,
            softcap: self.config.final_logit_softcapping.map(|cap| cap as f32),
        }
    }

    /// The logits of each row, in float32; a row does not depend on the others.
    ///
    /// # Shapes
    /// - hidden: `[rows, hidden]`
    /// - output: `[rows, vocab]`
    pub fn logits(&self, hidden: Tensor<2>) -> Tensor<2> {
        let logits = self.uncapped_logits(hidden);
        match self.config.final_logit_softcapping {
            Some(cap) => logits.div_scalar(cap).tanh().mul_scalar(cap),
            None => logits,
        }
    }

    /// As [`Self::logits`], before the soft-cap.
    pub(crate) fn uncapped_logits(&self, hidden: Tensor<2>) -> Tensor<2> {
        decode_linear(hidden, self.head(), DType::F32)
    }
}

/// Puts the matrices of linear layers in another dtype.
struct Cast {
    path: Vec<String>,
    dtype: DType,
    trainable: Arc<Trainable>,
    copies: Arc<Copies>,
}

impl ModuleMapper for Cast {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let name = parameter_name(&self.path);
        if D != 2 || name == EMBEDDING || self.trainable.streams(&name) {
            return param;
        }
        let (id, tensor, mapper) = param.consume();
        let cast = match self.copies.get(id) {
            Some(copy) => copy.clone().reshape(tensor.shape()),
            None => tensor.cast(self.dtype),
        };
        Param::from_mapped_value(id, cast, mapper)
    }
}

impl ModelConfig {
    pub(crate) fn attention_options(&self, layer: usize) -> AttentionOptions {
        AttentionOptions {
            scale: self.query_scale as f32,
            softcap: self.attn_logit_softcapping.map(|cap| cap as f32),
            window: self.layer(layer).window,
        }
    }
}

pub(crate) fn checkpoint_dtype(dtype: DType) -> Dtype {
    match dtype {
        DType::BF16 => Dtype::Bfloat16,
        DType::F16 => Dtype::Float16,
        _ => Dtype::Float32,
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::config::Gemma2Shape;

    /// A Gemma 2 of one block.
    pub(crate) fn tiny(device: &Device, dtype: DType) -> CausalLm {
        let shape = Gemma2Shape {
            vocab_size: 32,
            hidden_size: 16,
            intermediate_size: 16,
            num_hidden_layers: 1,
            num_attention_heads: 2,
            num_key_value_heads: 1,
            head_dim: 8,
            ..Gemma2Shape::default()
        };
        let config = ModelConfig::demo_gemma2(&shape).expect("a sound shape");
        CausalLm::random(config, 1, 0.02, device, dtype)
    }

    #[test]
    fn a_tied_head_is_cast_once_for_generation() {
        let model = tiny(&Device::flex(), DType::BF16);
        assert!(model.cast_head.is_none());
        let generating = model.for_generation();
        let head = generating.cast_head.as_ref().expect("it is tied");
        assert_eq!((head.dtype(), head.dims()), (DType::BF16, [32, 16]));
    }
}
