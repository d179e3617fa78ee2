//! Parameters and arithmetic of a model, from its configuration alone.
//!
//! A multiplication and the addition that follows it are two operations. Only products of matrices
//! count: norms, rotary positions, activations and the softmax are linear in the width, and a
//! hundredth of the rest in the smallest model.

use crate::config::ModelConfig;

/// Parameters by what they are part of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParameterCounts {
    /// The token embeddings.
    pub embedding: u64,
    /// The head, where it is not the embedding.
    pub head: u64,
    /// One block: its matrices, biases and norms.
    pub block: u64,
    /// The matrices of one block.
    pub block_matrices: u64,
    /// The largest matrix of a block.
    pub largest_in_block: u64,
    /// All of them.
    pub total: u64,
}

impl ParameterCounts {
    /// The parameters of a model.
    pub fn of(config: &ModelConfig) -> Self {
        let sizes: Vec<(String, usize, u64)> = config
            .expected_tensors()
            .into_iter()
            .map(|tensor| {
                let size = tensor.num_elements() as u64;
                (tensor.name, tensor.shape.len(), size)
            })
            .collect();
        // All blocks have the same shapes; the first one stands for them.
        let block = || {
            sizes
                .iter()
                .filter(|(name, ..)| name.starts_with("model.layers.0."))
        };
        let matrices = || block().filter(|(_, rank, _)| *rank == 2);
        let table = (config.vocab_size * config.hidden_size) as u64;
        ParameterCounts {
            embedding: table,
            head: if config.tie_word_embeddings { 0 } else { table },
            block: block().map(|(.., size)| size).sum(),
            block_matrices: matrices().map(|(.., size)| size).sum(),
            largest_in_block: matrices().map(|(.., size)| *size).max().unwrap_or(0),
            total: config.num_parameters(),
        }
    }
}

/// Operations of a forward pass.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ForwardFlops {
    /// The projections of all blocks.
    pub projections: u64,
    /// Queries by keys and weights by values, of all blocks.
    pub attention: u64,
    /// One product with the head.
    pub head: u64,
}

impl ForwardFlops {
    /// A row of `count` sequences of `length` tokens, `supervised` of which reach the head.
    pub fn of(config: &ModelConfig, count: u64, length: u64, supervised: u64) -> Self {
        let costs = ForwardCosts::of(config);
        let sequence = costs.segment(0, length).times(count);
        sequence.plus(costs.head(supervised))
    }

    /// The blocks, without the head.
    pub fn blocks(self) -> u64 {
        self.projections + self.attention
    }

    /// All of them.
    pub fn total(self) -> u64 {
        self.blocks() + self.head
    }

    /// A forward and a backward pass. A product has two others in the backward pass: with the
    /// gradient of what went in, which carries it further down, and with that of the weights, where
    /// they train. Adapters' own products are a hundredth of the rest and left out, as is what is
    /// computed again.
    pub fn with_backward(self, trained: Trained) -> u64 {
        let (blocks, head) = match trained {
            Trained::All => (3, 3),
            Trained::Blocks => (3, 2),
            Trained::Adapters => (2, 2),
        };
        // Both factors of attention's products are activations.
        blocks * self.projections + 3 * self.attention + head * self.head
    }

    /// The sum of two.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        ForwardFlops {
            projections: self.projections + other.projections,
            attention: self.attention + other.attention,
            head: self.head + other.head,
        }
    }

    fn times(self, count: u64) -> Self {
        ForwardFlops {
            projections: self.projections * count,
            attention: self.attention * count,
            head: self.head * count,
        }
    }
}

/// What of a model trains, as far as its backward pass costs differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trained {
    /// All of it.
    All,
    /// The blocks: the head is frozen.
    Blocks,
    /// Adapters beside frozen weights.
    Adapters,
}

/// What a token and a pair of tokens cost in a model, so that many rows are counted quickly.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForwardCosts {
    projections_per_token: u64,
    attention_per_pair: u64,
    head_per_token: u64,
    /// What each layer sees at most.
    windows: Vec<Option<usize>>,
}

impl ForwardCosts {
    /// The costs of a model.
    pub fn of(config: &ModelConfig) -> Self {
        let layers = config.num_hidden_layers;
        let matrices = ParameterCounts::of(config).block_matrices;
        ForwardCosts {
            projections_per_token: 2 * matrices * layers as u64,
            attention_per_pair: 2 * 2 * (config.num_attention_heads * config.head_dim) as u64,
            head_per_token: 2 * (config.vocab_size * config.hidden_size) as u64,
            windows: (0..layers).map(|l| config.layer(l).window).collect(),
        }
    }

    /// The blocks over `length` tokens that follow `before` others which have been through them.
    pub fn segment(&self, before: u64, length: u64) -> ForwardFlops {
        let of_layer = |window: &Option<usize>| pairs(before, length, *window);
        ForwardFlops {
            projections: self.projections_per_token * length,
            attention: self.attention_per_pair * self.windows.iter().map(of_layer).sum::<u64>(),
            head: 0,
        }
    }

    /// The head over so many tokens.
    pub fn head(&self, tokens: u64) -> ForwardFlops {
        ForwardFlops {
            head: self.head_per_token * tokens,
            ..ForwardFlops::default()
        }
    }
}

/// Query-key pairs of `length` queries that follow `before` other tokens, where a query sees itself
/// and what stands before it, `window` tokens at most.
fn pairs(before: u64, length: u64, window: Option<usize>) -> u64 {
    let Some(window) = window.map(|window| window as u64) else {
        return length * before + length * (length + 1) / 2;
    };
    // The first queries see all that stands before them, the rest as far as the window reaches.
    let first = window.saturating_sub(before).min(length);
    first * before + first * (first + 1) / 2 + (length - first) * window
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Gemma2Shape;

    #[test]
    fn the_parts_add_up_to_the_whole() {
        let config = ModelConfig::demo_gemma2(&Gemma2Shape::default()).expect("a sound shape");
        let counts = ParameterCounts::of(&config);
        let norm = config.hidden_size as u64;
        let layers = config.num_hidden_layers as u64;
        let parts = counts.embedding + counts.head + layers * counts.block + norm;
        assert_eq!(parts, counts.total);
        // Four norms of 128 are what is no matrix.
        assert_eq!(counts.block - counts.block_matrices, 4 * norm);
        assert_eq!(counts.largest_in_block, 128 * 384);
    }

    #[test]
    fn a_window_cuts_the_pairs_that_are_further_apart() {
        // 1 + 2 + 3 + 4 + 5, and with a window of two 1 + 2 + 2 + 2 + 2.
        assert_eq!(pairs(0, 5, None), 15);
        assert_eq!(pairs(0, 5, Some(2)), 9);
        assert_eq!(pairs(0, 5, Some(9)), 15);
    }

    #[test]
    fn tokens_behind_a_prefix_see_it_as_far_as_the_window_lets_them() {
        // Four, five and six; four, four and four; three each.
        assert_eq!(pairs(3, 3, None), 15);
        assert_eq!(pairs(3, 3, Some(4)), 12);
        assert_eq!(pairs(3, 3, Some(3)), 9);
        for window in [None, Some(1), Some(4), Some(7), Some(20)] {
            let together = pairs(0, 12, window);
            assert_eq!(pairs(0, 5, window) + pairs(5, 7, window), together);
        }
    }

    #[test]
    fn what_is_frozen_has_no_gradient_to_compute() {
        let flops = ForwardFlops {
            projections: 100,
            attention: 10,
            head: 1,
        };
        assert_eq!(flops.with_backward(Trained::All), 333);
        assert_eq!(flops.with_backward(Trained::Blocks), 332);
        assert_eq!(flops.with_backward(Trained::Adapters), 232);
    }

    #[test]
    fn a_token_costs_two_operations_a_matrix_parameter() {
        let config = ModelConfig::demo_gemma2(&Gemma2Shape::default()).expect("a sound shape");
        let matrices = ParameterCounts::of(&config).block_matrices;
        let flops = ForwardFlops::of(&config, 3, 10, 30);
        assert_eq!(flops.projections, 2 * matrices * 4 * 30);
        // 4 heads of 32, 4 layers, 55 pairs in each of 3 sequences, two products.
        assert_eq!(flops.attention, 2 * 2 * 128 * 4 * 55 * 3);
        assert_eq!(flops.head, 2 * 2048 * 128 * 30);
    }
}
