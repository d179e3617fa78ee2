//! Randomness without state: the same key gives the same number, in any order and after any restart.

/// A number that depends on the seed and every part of the key, and on nothing else.
///
/// `hash(seed, &[epoch, index])` is SplitMix64's output function (Steele, Lea and Flood, "Fast splittable pseudorandom
/// number generators", 2014) folded over the key.
pub fn hash(seed: u64, key: &[u64]) -> u64 {
    key.iter().fold(mix(seed), |state, part| {
        mix(state.rotate_left(23) ^ mix(*part))
    })
}

/// A number below `bound` (> 0), from [`hash`]. The bias is below `bound / 2^64`.
pub fn below(bound: usize, seed: u64, key: &[u64]) -> usize {
    assert!(bound > 0, "a number below 0 was asked for");
    ((u128::from(hash(seed, key)) * bound as u128) >> 64) as usize
}

/// Numbers of the uniform distribution over [-1, 1), from [`hash`]: number `i` has the key `key`, `i`.
pub fn symmetric(seed: u64, key: &[u64]) -> impl Iterator<Item = f32> + use<> {
    let state = hash(seed, key);
    // The upper 24 bits are what a float holds.
    (0..).map(move |i| (hash(state, &[i]) >> 40) as f32 / (1 << 23) as f32 - 1.0)
}

fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splitmix64_gives_its_published_first_outputs() {
        // Outputs for seed 1234567 in the public-domain C code of Vigna (prng.di.unimi.it/splitmix64.c), where the
        // state grows by the golden gamma before each output.
        let gamma = 0x9e37_79b9_7f4a_7c15_u64;
        assert_eq!(mix(1234567), 6457827717110365317);
        assert_eq!(mix(1234567_u64.wrapping_add(gamma)), 3203168211198807973);
    }

    #[test]
    fn every_part_of_the_key_matters() {
        let all = [
            hash(1, &[2, 3]),
            hash(1, &[3, 2]),
            hash(2, &[2, 3]),
            hash(1, &[2]),
            hash(1, &[2, 3, 0]),
        ];
        for (i, a) in all.iter().enumerate() {
            assert!(all[i + 1..].iter().all(|b| a != b));
        }
    }

    #[test]
    fn symmetric_numbers_fill_their_range_around_zero() {
        let numbers: Vec<f32> = symmetric(3, &[1, 4]).take(10_000).collect();
        assert!(numbers.iter().all(|n| (-1.0..1.0).contains(n)));
        let mean = numbers.iter().sum::<f32>() / 1e4;
        // Of the variance 1/3: a mean of 10,000 strays by 0.0058, its square's by 0.003.
        let variance = numbers.iter().map(|n| n * n).sum::<f32>() / 1e4;
        assert!(
            mean.abs() < 0.02 && (variance - 1.0 / 3.0).abs() < 0.01,
            "{mean} {variance}"
        );
        assert_ne!(
            numbers[..8],
            symmetric(3, &[2, 4]).take(8).collect::<Vec<_>>()
        );
    }

    #[test]
    fn numbers_below_a_bound_are_spread_evenly() {
        let mut counts = [0usize; 7];
        for i in 0..70_000 {
            counts[below(7, 5, &[i])] += 1;
        }
        assert!(
            counts.iter().all(|count| (9_600..10_400).contains(count)),
            "{counts:?}"
        );
    }
}
