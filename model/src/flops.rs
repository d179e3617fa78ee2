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
        let matrices = ParameterCounts::of(config).block_matrices;
        let layers = config.num_hidden_layers;
        let width = (config.num_attention_heads * config.head_dim) as u64;
        let pairs: u64 = (0..layers)
            .map(|layer| pairs(length, config.layer(layer).window))
            .sum();
        ForwardFlops {
            projections: 2 * matrices * layers as u64 * count * length,
            attention: 2 * 2 * width * count * pairs,
            head: 2 * (config.vocab_size * config.hidden_size) as u64 * supervised,
        }
    }

    /// The blocks, without the head.
    pub fn blocks(self) -> u64 {
        self.projections + self.attention
    }
}

/// Query-key pairs of a causal sequence in which a query sees at most `window` tokens.
fn pairs(length: u64, window: Option<usize>) -> u64 {
    let window = window.map_or(length, |window| length.min(window as u64));
    window * (window + 1) / 2 + (length - window) * window
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
        assert_eq!(pairs(5, None), 15);
        assert_eq!(pairs(5, Some(2)), 9);
        assert_eq!(pairs(5, Some(9)), 15);
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
