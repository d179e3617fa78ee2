//! In which order records are visited, for ever, and how to go on from any point.

use serde::{Deserialize, Serialize};

use crate::counter_rng::hash;
use crate::error::DataError;

/// An endless sequence of record indices that a [`LoaderState`] restores exactly.
///
/// The epochs of a data set follow one another without a gap: rank `r` of `world_size` takes every `world_size`-th place
/// of that stream. No record is dropped or repeated at the end of an epoch, whatever the number of ranks, and all ranks
/// hold the same state.
///
/// ```
/// use datasets::{Loader, Order, Shard};
/// let mut loader = Loader::new(3, Order::Sequential, Shard::ALL);
/// let visited: Vec<usize> = (0..5).map(|_| loader.next_index()).collect();
/// assert_eq!(visited, [0, 1, 2, 0, 1]);
/// assert_eq!((loader.state().epoch, loader.state().position), (1, 2));
/// ```
#[derive(Debug, Clone)]
pub struct Loader {
    order: Order,
    shard: Shard,
    state: LoaderState,
    permutation: Permutation,
}

/// How an epoch is ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// As the files say.
    Sequential,
    /// Another permutation each epoch, from the seed and the epoch's number.
    Shuffled {
        /// The run's seed.
        seed: u64,
    },
}

/// Which share of the records this process takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shard {
    /// This process, from 0.
    pub rank: usize,
    /// The number of processes.
    pub world_size: usize,
}

/// Where a loader stands: the next place of the stream that all ranks share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoaderState {
    /// How many times the data was passed through.
    pub epoch: u64,
    /// How many records of this epoch are visited, over all ranks.
    pub position: u64,
    /// The number of records that the loader goes over.
    pub num_records: u64,
}

impl Loader {
    /// A loader at the start of the first epoch, over `len` > 0 records.
    pub fn new(len: usize, order: Order, shard: Shard) -> Self {
        assert!(len > 0, "a loader needs at least one record");
        assert!(
            shard.rank < shard.world_size,
            "rank {} of {}",
            shard.rank,
            shard.world_size
        );
        let len = len as u64;
        let state = LoaderState {
            epoch: 0,
            position: 0,
            num_records: len,
        };
        Self {
            order,
            shard,
            state,
            permutation: Permutation::of(len, order, 0),
        }
    }

    /// The next index of this rank, in `0..len`.
    pub fn next_index(&mut self) -> usize {
        let (epoch, position) = self.ahead(self.shard.rank as u64);
        if epoch != self.permutation.epoch {
            self.permutation = Permutation::of(self.state.num_records, self.order, epoch);
        }
        let index = self.permutation.at(position);
        let (epoch, position) = self.ahead(self.shard.world_size as u64);
        self.state = LoaderState {
            epoch,
            position,
            ..self.state
        };
        index as usize
    }

    /// What to store beside a checkpoint.
    pub fn state(&self) -> LoaderState {
        self.state
    }

    /// Goes to where another loader over the same data stood. Fails where the data has another number of records:
    /// going on would then visit some records twice and others never.
    pub fn restore(&mut self, state: LoaderState) -> Result<(), DataError> {
        let (now, then) = (self.state.num_records, state.num_records);
        if now != then {
            return Err(DataError::Changed { now, then });
        }
        self.state = state;
        Ok(())
    }

    fn ahead(&self, places: u64) -> (u64, u64) {
        let place = self.state.position + places;
        let LoaderState {
            epoch, num_records, ..
        } = self.state;
        (epoch + place / num_records, place % num_records)
    }
}

impl Shard {
    /// One process that takes every record.
    pub const ALL: Self = Self {
        rank: 0,
        world_size: 1,
    };
}

/// One epoch's order, computed a place at a time: no list of indices is kept, however many records there are.
///
/// A Feistel network permutes the numbers of 2·`half_bits` bits; walking its cycle until it lands below `len` permutes
/// `0..len` (Black and Rogaway, "Ciphers with arbitrary finite domains", 2002).
#[derive(Debug, Clone)]
struct Permutation {
    epoch: u64,
    len: u64,
    half_bits: u32,
    /// `None` keeps the order.
    keys: Option<[u64; Self::ROUNDS]>,
}

impl Permutation {
    const ROUNDS: usize = 8;

    fn of(len: u64, order: Order, epoch: u64) -> Self {
        let keys = match order {
            Order::Sequential => None,
            Order::Shuffled { seed } => Some(std::array::from_fn(|round| {
                hash(seed, &[epoch, round as u64])
            })),
        };
        let bits = u64::BITS - (len - 1).leading_zeros();
        Self {
            epoch,
            len,
            half_bits: bits.div_ceil(2).max(1),
            keys,
        }
    }

    fn at(&self, position: u64) -> u64 {
        let Some(keys) = &self.keys else {
            return position;
        };
        let mut index = position;
        loop {
            index = self.permute(index, keys);
            if index < self.len {
                return index;
            }
        }
    }

    fn permute(&self, value: u64, keys: &[u64; Self::ROUNDS]) -> u64 {
        let mask = (1 << self.half_bits) - 1;
        let (mut left, mut right) = (value >> self.half_bits, value & mask);
        for key in keys {
            (left, right) = (right, left ^ (hash(*key, &[right]) & mask));
        }
        (left << self.half_bits) | right
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(loader: &mut Loader, count: usize) -> Vec<usize> {
        (0..count).map(|_| loader.next_index()).collect()
    }

    #[test]
    fn every_epoch_visits_each_record_once_in_an_order_of_its_own() {
        for len in [1, 2, 3, 10, 64, 65, 1000] {
            let mut loader = Loader::new(len, Order::Shuffled { seed: 7 }, Shard::ALL);
            let (first, second) = (take(&mut loader, len), take(&mut loader, len));
            for epoch in [&first, &second] {
                let mut sorted = epoch.clone();
                sorted.sort_unstable();
                assert_eq!(sorted, (0..len).collect::<Vec<_>>());
            }
            assert!(len < 10 || first != second && !first.is_sorted());
        }
    }

    #[test]
    fn another_seed_is_another_order_and_the_same_seed_the_same() {
        let order = |seed| {
            take(
                &mut Loader::new(100, Order::Shuffled { seed }, Shard::ALL),
                100,
            )
        };
        assert_eq!(order(1), order(1));
        assert_ne!(order(1), order(2));
    }

    #[test]
    fn each_record_is_as_likely_in_each_place() {
        // 6,000 seeds over 6 places: 1,000 expected, five standard deviations are 144.
        let mut counts = [[0usize; 6]; 6];
        for seed in 0..6_000 {
            let mut loader = Loader::new(6, Order::Shuffled { seed }, Shard::ALL);
            for place in &mut counts {
                place[loader.next_index()] += 1;
            }
        }
        assert!(
            counts
                .iter()
                .flatten()
                .all(|count| count.abs_diff(1_000) < 144),
            "{counts:?}"
        );
    }

    #[test]
    fn a_restored_loader_goes_on_as_the_uninterrupted_one_does() {
        let shard = Shard {
            rank: 1,
            world_size: 3,
        };
        for order in [Order::Sequential, Order::Shuffled { seed: 3 }] {
            let mut whole = Loader::new(11, order, shard);
            take(&mut whole, 9);
            let stored = serde_json::to_string(&whole.state()).unwrap();
            let mut resumed = Loader::new(11, order, shard);
            resumed
                .restore(serde_json::from_str(&stored).unwrap())
                .unwrap();
            assert_eq!(take(&mut resumed, 30), take(&mut whole, 30));
            assert_eq!(resumed.state(), whole.state());
        }
    }

    #[test]
    fn a_data_set_that_changed_is_not_resumed() {
        let mut loader = Loader::new(11, Order::Sequential, Shard::ALL);
        let error = loader
            .restore(Loader::new(12, Order::Sequential, Shard::ALL).state())
            .unwrap_err();
        assert!(
            error.to_string().contains("11 records now, 12 when"),
            "{error}"
        );
    }

    #[test]
    fn ranks_together_visit_what_one_process_would() {
        let order = Order::Shuffled { seed: 5 };
        let alone = take(&mut Loader::new(10, order, Shard::ALL), 40);
        let mut ranks: Vec<Loader> = (0..4)
            .map(|rank| {
                Loader::new(
                    10,
                    order,
                    Shard {
                        rank,
                        world_size: 4,
                    },
                )
            })
            .collect();
        let mut together = Vec::new();
        for _ in 0..10 {
            together.extend(ranks.iter_mut().map(Loader::next_index));
        }
        assert_eq!(together, alone);
    }
}
