use burn::tensor::DType;
use datasets::TokenBatch;

use super::{Block, Direction, Side};

/// What rounding explains of the difference of two sides in a tensor of a block, as a part of its
/// norm.
///
/// An operation whose result is stored with unit roundoff u, and which sums n terms in float32, is
/// off by u + √n·u₃₂ of its norm: each term rounds by itself, so that the roundings of a sum add up
/// as a random walk (Higham and Mary 2019, "A new approach to probabilistic rounding error
/// analysis"). Operations in a row may round the same way, so that their errors add up in full. With
/// k operations on the longest path and two sides that are both off,
///
/// bound = 2·k·(u + √n·u₃₂) = k·(ε + √n·ε₃₂),
///
/// where ε = 2u is that of the coarser side. It takes the operations to be well-conditioned.
pub(super) fn bound(sides: [&Side; 2], batch: &TokenBatch, block: Block, way: Direction) -> f64 {
    let epsilon = epsilon(sides);
    let sums = (num_terms(sides[0], batch, block, way) as f64).sqrt();
    num_operations(block, way) * (epsilon + sums * f64::from(f32::EPSILON))
}

/// Operations on the longest path through a block. A layer has three norms or four, the product
/// before attention and rope, scores, softmax and values, two products and an activation behind
/// them, and two sums with the residual: fourteen. Backward, each of them runs forward first.
fn num_operations(block: Block, way: Direction) -> f64 {
    let forward = match block {
        Block::Embedding | Block::Norm => 1.0,
        Block::Layer(_) => 14.0,
        // Product, soft-cap, logsumexp, difference, mean.
        Block::Loss => 5.0,
    };
    match way {
        Direction::Forward => forward,
        Direction::Backward => 2.0 * forward,
    }
}

/// Terms of the longest sum in a block.
fn num_terms(side: &Side, batch: &TokenBatch, block: Block, way: Direction) -> usize {
    let config = side.model.config();
    let forward = match block {
        Block::Embedding => 1,
        Block::Norm => config.hidden_size,
        Block::Layer(_) => config
            .hidden_size
            .max(config.intermediate_size)
            .max(config.num_attention_heads * config.head_dim)
            .max(batch.num_tokens()),
        Block::Loss => config.hidden_size.max(config.vocab_size),
    };
    match way {
        Direction::Forward => forward,
        // A parameter's gradient is a sum over tokens.
        Direction::Backward => forward.max(batch.num_tokens()),
    }
}

/// ε of the coarser side.
pub(super) fn epsilon(sides: [&Side; 2]) -> f64 {
    let [a, b] = sides.map(|side| match side.model.dtype() {
        DType::BF16 => 2f64.powi(-7),
        DType::F16 => 2f64.powi(-10),
        _ => f64::from(f32::EPSILON),
    });
    a.max(b)
}

/// The distance as a part of a size; two zeros do not differ.
pub(super) fn relative_error(distance: f64, size: f64) -> f64 {
    if distance == 0.0 {
        0.0
    } else {
        distance / size
    }
}

/// ‖a − b‖.
pub(super) fn distance(a: &[f32], b: &[f32]) -> f64 {
    assert_eq!(a.len(), b.len(), "two tensors of one shape");
    let differences = a.iter().zip(b).map(|(a, b)| f64::from(*a) - f64::from(*b));
    differences.map(|d| d * d).sum::<f64>().sqrt()
}

/// ‖a‖.
pub(super) fn norm(a: &[f32]) -> f64 {
    a.iter().map(|&a| f64::from(a).powi(2)).sum::<f64>().sqrt()
}
