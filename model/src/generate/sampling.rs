use crate::layers::mix;

/// How a token is chosen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SamplingOptions {
    /// Divides the logits; 0 takes the most probable token.
    pub temperature: f64,
    /// Keeps this many of the most probable tokens; 0 keeps all.
    pub top_k: usize,
    /// Keeps the fewest most probable tokens that together have at least this probability; 1 keeps
    /// all.
    pub top_p: f64,
    /// Everything random follows from it, the prompt, the index and the position.
    pub seed: u64,
}

impl SamplingOptions {
    /// Always the most probable token.
    pub const GREEDY: Self = SamplingOptions {
        temperature: 0.0,
        top_k: 0,
        top_p: 1.0,
        seed: 0,
    };
}

/// What identifies one sequence among all random choices.
pub(crate) fn sequence_key(seed: u64, prompt: &[u32], index: u64) -> u64 {
    let prompt = prompt
        .iter()
        .fold(mix(seed), |hash, &token| mix(hash ^ u64::from(token)));
    mix(prompt ^ mix(index))
}

/// The number that chooses the token at a position of a sequence, in [0, 1).
pub(crate) fn uniform(sequence_key: u64, position: usize) -> f64 {
    (mix(sequence_key ^ mix(position as u64)) >> 11) as f64 / (1u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_depends_on_each_of_its_parts() {
        let key = sequence_key(1, &[2, 3], 0);
        assert_ne!(key, sequence_key(2, &[2, 3], 0));
        assert_ne!(key, sequence_key(1, &[3, 2], 0));
        assert_ne!(key, sequence_key(1, &[2, 3], 1));
    }
}
