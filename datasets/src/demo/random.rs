//! A counter-based random generator: record `index` of a stream depends on (seed, stream, index) alone, so streams do not
//! disturb each other and asking for more records never changes the first ones.

/// SplitMix64 (Steele, Lea and Flood 2014, <https://doi.org/10.1145/2714064.2660195>), started at a hash of its coordinates.
#[derive(Clone, Debug)]
pub struct Random {
    state: u64,
}

impl Random {
    /// The generator of one record of one stream.
    pub fn new(seed: u64, stream: &str, index: u64) -> Self {
        let stream = finalize(seed ^ hash(stream));
        Self {
            state: finalize(stream.wrapping_add(index.wrapping_mul(GOLDEN_GAMMA))),
        }
    }

    /// A whole number below `bound`. The bias of the multiplication is below 2^-50 for the bounds of this corpus.
    pub fn below(&mut self, bound: usize) -> usize {
        assert!(bound > 0, "no number is below 0");
        ((u128::from(self.next()) * bound as u128) >> 64) as usize
    }

    /// A whole number from `low` to `high`, both included.
    pub fn between(&mut self, low: usize, high: usize) -> usize {
        low + self.below(high - low + 1)
    }

    /// True `percent` times in a hundred.
    pub fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    /// One of the items, each as likely as the others.
    pub fn pick<T: Copy>(&mut self, items: &[T]) -> T {
        items[self.below(items.len())]
    }

    /// One of the items, as likely as its weight says.
    pub fn weighted<T: Copy>(&mut self, items: &[(T, usize)]) -> T {
        let total = items.iter().map(|(_, weight)| weight).sum();
        let mut left = self.below(total);
        for (item, weight) in items {
            if left < *weight {
                return *item;
            }
            left -= weight;
        }
        unreachable!("{left} is left of a total weight of {total}")
    }

    /// `count` different items in random order.
    pub fn sample<T: Copy>(&mut self, items: &[T], count: usize) -> Vec<T> {
        let mut items = items.to_vec();
        for place in 0..count {
            let other = place + self.below(items.len() - place);
            items.swap(place, other);
        }
        items.truncate(count);
        items
    }

    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(GOLDEN_GAMMA);
        finalize(self.state)
    }
}

/// A hash of a text that is the same on every machine and in every version (FNV-1a, then SplitMix64's finalizer).
pub fn hash(text: &str) -> u64 {
    let fnv = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
    });
    finalize(fnv)
}

const GOLDEN_GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;

fn finalize(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_generator_is_splitmix64() {
        // The first outputs for seed 0 in Vigna's splitmix64.c (https://prng.di.unimi.it/splitmix64.c).
        let mut random = Random { state: 0 };
        assert_eq!(random.next(), 0xe220_a839_7b1d_cdaf);
        assert_eq!(random.next(), 0x6e78_9e6a_a1b9_65f4);
        assert_eq!(random.next(), 0x06c4_5d18_8009_454f);
    }

    #[test]
    fn streams_and_indices_give_different_numbers() {
        let first = |seed, stream, index| Random::new(seed, stream, index).next();
        let numbers = [
            first(0, "cpt", 0),
            first(0, "cpt", 1),
            first(0, "sft", 0),
            first(1, "cpt", 0),
        ];
        for (i, a) in numbers.iter().enumerate() {
            assert!(numbers[..i].iter().all(|b| a != b), "{numbers:?}");
        }
    }

    #[test]
    fn weights_are_kept_to_within_a_percent() {
        let mut random = Random::new(7, "weights", 0);
        let heads = (0..20_000)
            .filter(|_| random.weighted(&[(true, 3), (false, 1)]))
            .count();
        assert!((14_800..=15_200).contains(&heads), "{heads}");
    }

    #[test]
    fn a_sample_has_no_item_twice() {
        let mut random = Random::new(7, "sample", 0);
        let mut items = random.sample(&[1, 2, 3, 4, 5], 5);
        items.sort_unstable();
        assert_eq!(items, [1, 2, 3, 4, 5]);
    }
}
