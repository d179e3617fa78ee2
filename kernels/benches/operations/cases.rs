//! The operations at the sizes of a small Gemma 2 (12 layers, 512 wide, 1,024 tokens) in float32, and
//! for a GPU the large ones in bfloat16.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use burn::tensor::{DType, Device, Tensor};
use kernels::*;

use crate::measure::{Operation, first};

const TOKENS: usize = 1024;
const WIDTH: usize = 512;
const INNER: usize = 2048;
const HEADS: usize = 8;
const KV_HEADS: usize = 4;
const HEAD_DIM: usize = 64;

pub struct Case {
    pub name: String,
    pub flop: f64,
    pub bytes: f64,
    pub fused: Box<Operation>,
    pub reference: Option<Box<Operation>>,
}

/// An operation, and the same through the references.
fn either_way(
    operation: impl Fn() -> Vec<Tensor<1>> + 'static,
) -> (Box<Operation>, Option<Box<Operation>>) {
    let operation = Rc::new(operation);
    let reference = operation.clone();
    let reference = move || with_kernel_set(KernelSet::Reference, || reference());
    (Box::new(move || operation()), Some(Box::new(reference)))
}

type Forward = dyn Fn(&[Tensor<2>]) -> Tensor<2>;

/// Where the inputs of an operation live.
struct Inputs<'a> {
    on: (&'a Device, DType),
    shapes: &'a [[usize; 2]],
}

/// A row of documents that are as long as each other.
struct Attention {
    tokens: usize,
    documents: usize,
    heads: usize,
    kv_heads: usize,
    head_dim: usize,
    window: Option<usize>,
    softcap: Option<f32>,
}

/// The last layer and its loss.
struct Head {
    tokens: usize,
    width: usize,
    vocab: usize,
    /// Whether the reference, which keeps all logits, is timed too.
    with_reference: bool,
}

pub fn all(device: &Device, quick: bool) -> Vec<Case> {
    let scale = if quick { 4 } else { 1 };
    let tokens = TOKENS / scale;
    let mut cases = Vec::new();
    let small = Attention {
        tokens,
        documents: 4,
        heads: HEADS,
        kv_heads: KV_HEADS,
        head_dim: HEAD_DIM,
        window: Some(256),
        softcap: Some(50.0),
    };
    attention_cases((device, DType::F32), small, &mut cases);
    let head = Head {
        tokens: 2 * tokens,
        width: WIDTH,
        vocab: 32_768 / scale,
        with_reference: true,
    };
    logprobs_cases((device, DType::F32), &head, &mut cases);
    small_cases(device, tokens, &mut cases);
    decoding_cases(device, &mut cases);
    cases
}

/// Attention of 4,096 tokens with heads of 128 and 256, causal alone and as Gemma 2 has it, and the
/// head of Gemma 2 2B, in bfloat16; AdamW that writes such a copy.
pub fn large(device: &Device, quick: bool) -> Vec<Case> {
    let on = (device, DType::BF16);
    let scale = if quick { 64 } else { 1 };
    let mut cases = Vec::new();
    for (heads, kv_heads, head_dim) in [(16, 8, 128), (8, 4, 256)] {
        for (window, softcap) in [(None, None), (Some(1024 / scale), Some(50.0))] {
            let attention = Attention {
                tokens: 4096 / scale,
                documents: 1,
                heads,
                kv_heads,
                head_dim,
                window,
                softcap,
            };
            attention_cases(on, attention, &mut cases);
        }
    }
    let head = Head {
        tokens: 8192 / scale,
        width: 2304 / scale,
        vocab: 256_000 / scale,
        with_reference: false,
    };
    logprobs_cases(on, &head, &mut cases);
    // A feed-forward matrix of the same model.
    adamw_case(device, 9216 * 2304 / scale, Some(DType::BF16), &mut cases);
    cases
}

/// Forward alone, and forward with backward, of an operation and its reference.
fn pair(
    cases: &mut Vec<Case>,
    name: &str,
    inputs: &Inputs,
    [flop, flop_both]: [f64; 2],
    [bytes, bytes_both]: [f64; 2],
    (fused, reference): (Arc<Forward>, Option<Arc<Forward>>),
) {
    let forward = |operation: &Arc<Forward>| -> Box<Operation> {
        let (operation, tensors) = (operation.clone(), inputs.tensors(inputs.on.0));
        Box::new(move || vec![first(operation(&tensors))])
    };
    let both = |operation: &Arc<Forward>| -> Box<Operation> {
        let operation = operation.clone();
        let tensors = inputs.tensors(&inputs.on.0.clone().autodiff());
        let leaves: Vec<Tensor<2>> = tensors.into_iter().map(Tensor::require_grad).collect();
        Box::new(move || {
            let mut gradients = operation(&leaves).backward();
            let gradients = leaves.iter().map(|leaf| leaf.grad_remove(&mut gradients));
            gradients.map(|g| first(g.expect("a gradient"))).collect()
        })
    };
    cases.push(Case {
        name: format!("{name} forward"),
        flop,
        bytes,
        fused: forward(&fused),
        reference: reference.as_ref().map(forward),
    });
    cases.push(Case {
        name: format!("{name} forward+backward"),
        flop: flop_both,
        bytes: bytes_both,
        fused: both(&fused),
        reference: reference.as_ref().map(both),
    });
}

impl Inputs<'_> {
    fn tensors(&self, device: &Device) -> Vec<Tensor<2>> {
        let tensors = self
            .shapes
            .iter()
            .zip(1..)
            .map(|(&shape, seed)| values(shape, seed, device).cast(self.on.1));
        tensors.collect()
    }
}

/// Reproducible values between −1 and 1.
pub fn numbers(count: usize, seed: u64) -> impl Iterator<Item = f32> {
    let mut state = seed;
    (0..count).map(move |_| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    })
}

fn values(shape: [usize; 2], seed: u64, device: &Device) -> Tensor<2> {
    let values: Vec<f32> = numbers(shape[0] * shape[1], seed).collect();
    Tensor::<1>::from_floats(values.as_slice(), device).reshape(shape)
}

fn attention_cases(on: (&Device, DType), case: Attention, cases: &mut Vec<Case>) {
    let Attention {
        tokens,
        documents,
        heads,
        kv_heads,
        head_dim,
        window,
        softcap,
    } = case;
    let segments = Segments::from_lengths(&vec![tokens / documents; documents]);
    let options = AttentionOptions {
        scale: (head_dim as f32).powf(-0.5),
        softcap,
        window,
    };
    let shaped = move |leaves: &[Tensor<2>]| {
        [(0, heads), (1, kv_heads), (2, kv_heads)]
            .map(|(i, heads)| leaves[i].clone().reshape([tokens, heads, head_dim]))
    };
    let operation = |run: fn(
        Tensor<3>,
        Tensor<3>,
        Tensor<3>,
        &Segments,
        AttentionOptions,
    ) -> Tensor<3>|
     -> Arc<Forward> {
        let segments = segments.clone();
        Arc::new(move |leaves| {
            let [q, k, v] = shaped(leaves);
            run(q, k, v, &segments, options).reshape([tokens, heads * head_dim])
        })
    };
    // Pairs of a query and a key it sees, times two products of head_dim terms.
    let seen = |position: usize| (position + 1).min(window.unwrap_or(tokens));
    let pairs = documents * (0..tokens / documents).map(seen).sum::<usize>();
    let flop = 4.0 * (pairs * heads * head_dim) as f64;
    let bytes = (on.1.size() * tokens * head_dim * (2 * heads + 2 * kv_heads)) as f64;
    let mut name = format!("attention {tokens}×{heads}/{kv_heads}×{head_dim}");
    if on.1 == DType::BF16 {
        name += match window {
            Some(_) => " bf16 windowed, capped",
            None => " bf16",
        };
    }
    pair(
        cases,
        &name,
        &Inputs {
            on,
            shapes: &[
                [tokens, heads * head_dim],
                [tokens, kv_heads * head_dim],
                [tokens, kv_heads * head_dim],
            ],
        },
        // Two products forward, five backward.
        [flop, 3.5 * flop],
        [bytes, 3.0 * bytes],
        (
            operation(attention),
            Some(operation(attention::attention_reference)),
        ),
    );
}

fn logprobs_cases(on: (&Device, DType), case: &Head, cases: &mut Vec<Case>) {
    let &Head {
        tokens,
        width,
        vocab,
        with_reference,
    } = case;
    let targets: Arc<[u32]> = (0..tokens).map(|t| (t * 7919 % vocab) as u32).collect();
    let options = LogprobsOptions {
        temperature: 1.0,
        softcap: None,
    };
    let for_one_pass = targets.clone();
    let both = [targets.clone(), targets];
    let [for_fused, for_reference] = both;
    let fused: Arc<Forward> = Arc::new(move |leaves| {
        let logprobs = linear_logprobs(leaves[0].clone(), leaves[1].clone(), &for_fused, options);
        logprobs.logprob().unsqueeze()
    });
    let reference: Arc<Forward> = Arc::new(move |leaves| {
        let (hidden, head) = (leaves[0].clone(), leaves[1].clone());
        linear_logprobs::linear_logprobs_reference(hidden, head, &for_reference, options)
            .narrow(1, 0, 1)
    });
    let flop = 2.0 * (tokens * width) as f64 * vocab as f64;
    let bytes = (on.1.size() * (tokens + vocab) * width) as f64;
    let mut name = format!("linear_logprobs {tokens}×{width}×{vocab}");
    if on.1 == DType::BF16 {
        name += " bf16";
    }
    pair(
        cases,
        &name,
        &Inputs {
            on,
            shapes: &[[tokens, width], [vocab, width]],
        },
        // One product forward; backward needs two, whatever is recomputed.
        [flop, 3.0 * flop],
        [bytes, 3.0 * bytes],
        (fused, with_reference.then_some(reference)),
    );
    let device = on.0.clone().autodiff();
    let leaves = [[tokens, width], [vocab, width]]
        .map(|shape| values(shape, 1, &device).cast(on.1).require_grad());
    let weights = Tensor::<1>::ones([tokens], (&device, DType::F32));
    let (fused, reference) = either_way(move || {
        let [hidden, head] = leaves.clone();
        let (sum, _) = weighted_logprobs(hidden, head, &for_one_pass, weights.clone(), options);
        let mut gradients = sum.backward();
        let gradients = leaves.iter().map(|leaf| leaf.grad_remove(&mut gradients));
        gradients.map(|g| first(g.expect("a gradient"))).collect()
    });
    cases.push(Case {
        name: format!("{name} one pass"),
        flop: 3.0 * flop,
        bytes: 3.0 * bytes,
        fused,
        reference: reference.filter(|_| with_reference),
    });
}

fn small_cases(device: &Device, tokens: usize, cases: &mut Vec<Case>) {
    let mut add = |name: &str,
                   shapes: &[[usize; 2]],
                   passes: [f64; 2],
                   [fused, reference]: [Arc<Forward>; 2]| {
        let bytes = 4.0 * (shapes[0][0] * shapes[0][1]) as f64;
        let inputs = Inputs {
            on: (device, DType::F32),
            shapes,
        };
        pair(
            cases,
            name,
            &inputs,
            [0.0; 2],
            passes.map(|p| p * bytes),
            (fused, Some(reference)),
        );
    };
    let norm = |run: fn(Tensor<2>, Tensor<1>, f64, NormWeight) -> Tensor<2>| -> Arc<Forward> {
        Arc::new(move |leaves| {
            run(
                leaves[0].clone(),
                leaves[1].clone().flatten(0, 1),
                1e-6,
                NormWeight::OnePlus,
            )
        })
    };
    add(
        &format!("rms_norm {tokens}×{WIDTH}"),
        &[[tokens, WIDTH], [1, WIDTH]],
        [2.0, 5.0],
        [norm(rms_norm), norm(rms_norm::rms_norm_reference)],
    );
    type Added = fn(Tensor<2>, Tensor<2>, Tensor<1>, f64, NormWeight) -> Tensor<2>;
    let added = |run: Added| -> Arc<Forward> {
        Arc::new(move |leaves| {
            let weight = leaves[2].clone().flatten(0, 1);
            let [residual, x] = [0, 1].map(|at: usize| leaves[at].clone());
            run(residual, x, weight, 1e-6, NormWeight::OnePlus)
        })
    };
    add(
        &format!("rms_norm_add {tokens}×{WIDTH}"),
        &[[tokens, WIDTH], [tokens, WIDTH], [1, WIDTH]],
        [3.0, 6.0],
        [added(rms_norm_add), added(rms_norm::rms_norm_add_reference)],
    );
    let table = Rotary::new(HEAD_DIM, 10_000.0, 1.0).table((0..tokens as u32).collect());
    let turn = |run: fn(Tensor<3>, &RotaryTable) -> Tensor<3>| -> Arc<Forward> {
        let table = table.clone();
        Arc::new(move |leaves| {
            let x = leaves[0].clone().reshape([tokens, HEADS, HEAD_DIM]);
            run(x, &table).reshape([tokens, HEADS * HEAD_DIM])
        })
    };
    add(
        &format!("rope {tokens}×{HEADS}×{HEAD_DIM}"),
        &[[tokens, HEADS * HEAD_DIM]],
        [2.0, 4.0],
        [turn(rope), turn(rope::rope_reference)],
    );
    let gate = |run: fn(Tensor<2>, Tensor<2>, Activation) -> Tensor<2>| -> Arc<Forward> {
        Arc::new(move |leaves| run(leaves[0].clone(), leaves[1].clone(), Activation::GeluTanh))
    };
    add(
        &format!("gated_mlp {tokens}×{INNER}"),
        &[[tokens, INNER], [tokens, INNER]],
        [3.0, 8.0],
        [gate(gated_mlp), gate(gated_mlp::gated_mlp_reference)],
    );
    let vocab = 32_768;
    let ids: Arc<[u32]> = (0..tokens).map(|t| (t * t * 31 % vocab) as u32).collect();
    let for_reference = ids.clone();
    let fused: Arc<Forward> = Arc::new(move |leaves| embedding(leaves[0].clone(), &ids, 22.6));
    let reference: Arc<Forward> = Arc::new(move |leaves| {
        embedding::embedding_reference(leaves[0].clone(), &for_reference, 22.6)
    });
    let rows = tokens as f64 / vocab as f64;
    add(
        &format!("embedding {tokens} of {vocab}×{WIDTH}"),
        &[[vocab, WIDTH]],
        // The gradient is a table of its own.
        [2.0 * rows, 1.0 + 3.0 * rows],
        [fused, reference],
    );

    let count = INNER * WIDTH;
    adamw_case(device, count, None, cases);
    let full = |value: f64| Tensor::<1>::full([count], value, (device, DType::F32));
    let (p, g) = (full(1.0), full(0.1));
    let scale = GradScale::of(1.0, device);
    let state = RefCell::new(Some((p, EightBitMoments::zeros(count, device))));
    let (fused, reference) = either_way(move || {
        let (p, moments) = state.borrow_mut().take().expect("the state is put back");
        let (p, moments, _) = adamw_8bit(p, g.clone(), moments, None, &scale, STEP);
        let result = first(p.clone());
        *state.borrow_mut() = Some((p, moments));
        vec![result]
    });
    cases.push(Case {
        name: format!("adamw_8bit {count}"),
        flop: 0.0,
        bytes: 16.0 * count as f64,
        fused,
        reference,
    });
    let x = full(1.0);
    let (fused, reference) = either_way(move || vec![square_sum(x.clone())]);
    cases.push(Case {
        name: format!("square_sum {count}"),
        flop: 0.0,
        bytes: 4.0 * count as f64,
        fused,
        reference,
    });
}

const STEP: AdamWStep = AdamWStep {
    learning_rate: 1e-3,
    beta1: 0.9,
    beta2: 0.999,
    epsilon: 1e-8,
    weight_decay: 0.01,
    step: 1,
};

fn adamw_case(device: &Device, count: usize, copy: Option<DType>, cases: &mut Vec<Case>) {
    let full = |value: f64| Tensor::<1>::full([count], value, (device, DType::F32));
    let g = full(0.1);
    let scale = GradScale::of(1.0, device);
    let state = RefCell::new(Some((full(1.0), [full(0.0), full(0.0)])));
    let (fused, reference) = either_way(move || {
        let (p, moments) = state.borrow_mut().take().expect("the state is put back");
        let (p, moments, copy) = adamw(p, g.clone(), moments, copy, &scale, STEP);
        let result = first(copy.unwrap_or_else(|| p.clone()));
        *state.borrow_mut() = Some((p, moments));
        vec![result]
    });
    cases.push(Case {
        name: match copy {
            Some(_) => format!("adamw, bf16 copy {count}"),
            None => format!("adamw {count}"),
        },
        flop: 0.0,
        bytes: (28.0 + copy.map_or(0.0, |dtype| dtype.size() as f64)) * count as f64,
        fused,
        reference,
    });
}

fn decoding_cases(device: &Device, cases: &mut Vec<Case>) {
    let (sequences, length) = (32, 512);
    let x = values([sequences, WIDTH], 1, device);
    let weight = values([INNER, WIDTH], 2, device);
    let (fused, reference) =
        either_way(move || vec![first(decode_linear(x.clone(), weight.clone(), x.dtype()))]);
    cases.push(Case {
        name: format!("decode_linear {sequences}×{WIDTH}×{INNER}"),
        flop: 2.0 * (sequences * WIDTH * INNER) as f64,
        bytes: 4.0 * (WIDTH * INNER) as f64,
        fused,
        reference,
    });
    let new = |seed| {
        values([sequences, KV_HEADS * HEAD_DIM], seed, device)
            .reshape([sequences, KV_HEADS, HEAD_DIM])
    };
    let row = (sequences * KV_HEADS * HEAD_DIM) as f64;
    // Many sequences, and a long one.
    for [sequences, length] in [[sequences, length], [1, sequences * length]] {
        let shape = [KV_HEADS, HEAD_DIM];
        let cache = LayerCache::new([sequences, length], shape, DType::F32, device);
        let rows = CacheRows {
            slots: (0..sequences).collect(),
            lengths: vec![length; sequences].into(),
        };
        let q = values([sequences, HEADS * HEAD_DIM], 5, device);
        let q = q.reshape([sequences, HEADS, HEAD_DIM]);
        let options = AttentionOptions {
            scale: 0.125,
            softcap: Some(50.0),
            window: None,
        };
        let seen = sequences * length;
        let (fused, reference) =
            either_way(move || vec![first(decode_attention(q.clone(), &cache, &rows, options))]);
        cases.push(Case {
            name: format!("decode_attention {sequences}×{length}"),
            flop: 4.0 * (seen * HEADS * HEAD_DIM) as f64,
            bytes: 8.0 * (seen * KV_HEADS * HEAD_DIM) as f64,
            fused,
            reference,
        });
    }
    let (keys, vals, device2) = (new(3), new(4), device.clone());
    let shape = [KV_HEADS, HEAD_DIM];
    let cache = LayerCache::new([sequences, length], shape, DType::F32, device);
    let cache = RefCell::new(cache);
    let slots: Vec<usize> = (0..sequences).collect();
    let positions = vec![7; sequences];
    let (fused, reference) = either_way(move || {
        let mut cache = cache.borrow_mut();
        cache.write(keys.clone(), vals.clone(), &slots, &positions);
        device2.sync().expect("the device works");
        Vec::new()
    });
    cases.push(Case {
        name: format!("cache write {sequences} rows"),
        flop: 0.0,
        // Read and written.
        bytes: 4.0 * 4.0 * row,
        fused,
        reference,
    });
    let vocab = 32_768;
    let logits = values([sequences, vocab], 6, device);
    let uniforms: Arc<[f64]> = (0..sequences)
        .map(|i| (i as f64 + 0.5) / sequences as f64)
        .collect();
    for top_p in [1.0, 0.9] {
        let options = SamplingOptions {
            temperature: 1.0,
            top_k: 0,
            top_p,
            softcap: Some(30.0),
        };
        let (logits, uniforms) = (logits.clone(), uniforms.clone());
        let (fused, reference) = either_way(move || {
            sample(logits.clone(), &uniforms, options);
            Vec::new()
        });
        let filter = if top_p < 1.0 { ", top-p" } else { "" };
        cases.push(Case {
            name: format!("sample {sequences}×{vocab}{filter}"),
            flop: 0.0,
            bytes: 4.0 * (sequences * vocab) as f64,
            fused,
            reference,
        });
    }
}
