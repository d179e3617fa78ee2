/// The middle, the long end and the end of some lengths.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Distribution {
    /// Half are not longer.
    pub median: usize,
    /// Of twenty, nineteen are not longer.
    pub p95: usize,
    /// The longest.
    pub max: usize,
}

impl Distribution {
    /// By nearest rank; `None` of nothing.
    pub fn of(mut values: Vec<usize>) -> Option<Self> {
        values.sort_unstable();
        let rank = |share: f64| ((share * values.len() as f64).ceil() as usize).max(1) - 1;
        Some(Distribution {
            max: *values.last()?,
            median: values[rank(0.5)],
            p95: values[rank(0.95)],
        })
    }
}

/// The indices of `count` records out of `len`, the first one among them, evenly spread; all where
/// there are no more.
pub fn spread(len: usize, count: usize) -> impl Iterator<Item = usize> {
    let count = count.min(len);
    (0..count).map(move |i| (i as u128 * len as u128 / count as u128) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_occur() {
        let of = Distribution::of((1..=40).rev().collect()).expect("there are some");
        assert_eq!((of.median, of.p95, of.max), (20, 38, 40));
        let one = Distribution::of(vec![7]).expect("there is one");
        assert_eq!((one.median, one.p95, one.max), (7, 7, 7));
        assert_eq!(Distribution::of(Vec::new()), None);
    }

    #[test]
    fn a_spread_begins_with_the_first_and_reaches_the_last_part() {
        assert_eq!(spread(10, 4).collect::<Vec<_>>(), [0, 2, 5, 7]);
        assert_eq!(spread(3, 4).collect::<Vec<_>>(), [0, 1, 2]);
        assert_eq!(spread(0, 4).count(), 0);
    }
}
