//! A metric over the steps of a run, in bounded memory.

/// The values of some neighbouring steps.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bucket {
    /// The first step in it.
    pub first: u64,
    /// The last step in it.
    pub last: u64,
    /// The lowest finite value; infinite where there is none.
    pub min: f64,
    /// The highest finite value.
    pub max: f64,
    sum: f64,
    num_finite: u64,
    /// How many values are NaN or infinite.
    pub num_broken: u64,
}

impl Bucket {
    fn new(step: u64, value: f64) -> Self {
        let empty = Self {
            first: step,
            last: step,
            min: f64::INFINITY,
            max: f64::NEG_INFINITY,
            sum: 0.0,
            num_finite: 0,
            num_broken: 0,
        };
        match value.is_finite() {
            true => Self {
                min: value,
                max: value,
                sum: value,
                num_finite: 1,
                ..empty
            },
            false => Self {
                num_broken: 1,
                ..empty
            },
        }
    }

    /// The mean of the finite values; `None` where there is none.
    pub fn mean(&self) -> Option<f64> {
        (self.num_finite > 0).then(|| self.sum / self.num_finite as f64)
    }

    /// Takes in the values of a later bucket.
    pub fn merge(&mut self, later: &Bucket) {
        self.last = later.last;
        self.min = self.min.min(later.min);
        self.max = self.max.max(later.max);
        self.sum += later.sum;
        self.num_finite += later.num_finite;
        self.num_broken += later.num_broken;
    }
}

/// All values of a metric, at most [`Curve::CAPACITY`] buckets of them: every step has its own until there
/// are more steps than that, then two share one, then four. The lowest and the highest value of a bucket are
/// kept, so a spike of one step stays visible after a million. The latest values are also there in finer
/// buckets, for who looks at the end of a long run alone.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Curve {
    /// Steps a bucket stands for, as a power of two.
    level: u32,
    live: Vec<Bucket>,
    /// The ends of the curve, the finest and shortest first.
    ends: Vec<FineEnd>,
    abandoned: Vec<Vec<Bucket>>,
    latest: Option<(u64, f64)>,
}

/// The last values of a curve in buckets of `2^level` steps.
#[derive(Debug, Clone, PartialEq)]
struct FineEnd {
    level: u32,
    buckets: Vec<Bucket>,
}

impl FineEnd {
    /// At least that many buckets are held, and at most twice as many.
    const CAPACITY: usize = 768;

    /// Each one is that much coarser than the one before, as a power of two.
    const STRIDE: u32 = 2;

    fn push(&mut self, new: &Bucket) {
        if self.buckets.len() >= 2 * Self::CAPACITY {
            self.buckets.drain(..Self::CAPACITY);
        }
        add(&mut self.buckets, self.level, new);
    }
}

/// Adds a value to the last bucket where it belongs there, or else to a new one.
fn add(buckets: &mut Vec<Bucket>, level: u32, new: &Bucket) {
    match buckets.last_mut() {
        Some(last) if last.first >> level == new.first >> level => last.merge(new),
        _ => buckets.push(*new),
    }
}

/// Leaves out what came after a step. In a bucket that holds steps of both sides the later ones cannot be
/// told apart any more and stay. Returns what was left out.
fn cut_after(buckets: &mut Vec<Bucket>, from_step: u64) -> Vec<Bucket> {
    let keep = buckets.partition_point(|bucket| bucket.first <= from_step);
    let after = buckets.split_off(keep);
    if let Some(last) = buckets.last_mut() {
        last.last = last.last.min(from_step);
    }
    after
}

impl Curve {
    /// More than twice the pixel columns of any chart.
    pub const CAPACITY: usize = 2048;

    /// Tails of abandoned attempts that are kept.
    const MAX_ABANDONED: usize = 4;

    /// Adds a value. A step that is not after the last one means that the run went back without saying so.
    pub fn push(&mut self, step: u64, value: f64) {
        if self.latest.is_some_and(|(last, _)| last == step) && self.take_last() {
            // The same step was measured again, and the later value is the one that counts.
        } else if self.latest.is_some_and(|(last, _)| last >= step) {
            match step.checked_sub(1) {
                Some(before) => self.cut(before),
                None => {
                    self.ends.clear();
                    let all = std::mem::take(&mut self.live);
                    self.abandon(all);
                }
            }
        }
        self.latest = Some((step, value));
        let new = Bucket::new(step, value);
        add(&mut self.live, self.level, &new);
        self.ends.iter_mut().for_each(|end| end.push(&new));
        while self.live.len() > Self::CAPACITY {
            self.coarsen();
        }
    }

    /// Takes the last value out, where it has a bucket of its own.
    fn take_last(&mut self) -> bool {
        let is_alone = self.live.last().is_some_and(|last| last.first == last.last);
        if is_alone && self.ends.is_empty() {
            self.live.pop();
            return true;
        }
        false
    }

    /// The run went on from the state after `from_step`: what came later is set aside.
    pub fn cut(&mut self, from_step: u64) {
        for end in &mut self.ends {
            cut_after(&mut end.buckets, from_step);
        }
        let after = cut_after(&mut self.live, from_step);
        self.abandon(after);
        if self.latest.is_some_and(|(step, _)| step > from_step) {
            let value = |bucket: &Bucket| (bucket.last, bucket.mean().unwrap_or(f64::NAN));
            self.latest = self.live.last().map(value);
        }
    }

    fn abandon(&mut self, tail: Vec<Bucket>) {
        if tail.is_empty() {
            return;
        }
        self.abandoned.push(tail);
        if self.abandoned.len() > Self::MAX_ABANDONED {
            self.abandoned.remove(0);
        }
        if self.live.is_empty() {
            self.latest = None;
        }
    }

    /// Puts twice as many steps into each bucket.
    fn coarsen(&mut self) {
        if self.level.is_multiple_of(FineEnd::STRIDE) {
            let start = self.live.len().saturating_sub(FineEnd::CAPACITY);
            self.ends.push(FineEnd {
                level: self.level,
                buckets: self.live[start..].to_vec(),
            });
        }
        self.level += 1;
        let level = self.level;
        for buckets in std::iter::once(&mut self.live).chain(&mut self.abandoned) {
            buckets.dedup_by(|later, kept| {
                let same = later.first >> level == kept.first >> level;
                if same {
                    kept.merge(later);
                }
                same
            });
        }
    }

    /// The values that count, by rising step.
    pub fn live(&self) -> &[Bucket] {
        &self.live
    }

    /// The values that count in the finest buckets that reach back to `first`.
    pub fn since(&self, first: u64) -> &[Bucket] {
        let reaches = |end: &&FineEnd| end.buckets.first().is_some_and(|b| b.first <= first);
        let buckets = self
            .ends
            .iter()
            .find(reaches)
            .map_or(&*self.live, |end| &*end.buckets);
        let start = buckets.partition_point(|bucket| bucket.last < first);
        &buckets[start..]
    }

    /// What resuming left behind, oldest first.
    pub fn abandoned(&self) -> &[Vec<Bucket>] {
        &self.abandoned
    }

    /// What all the buckets take.
    #[cfg(test)]
    pub fn num_bytes(&self) -> usize {
        let ends = self.ends.iter().map(|end| end.buckets.capacity());
        let tails = self.abandoned.iter().map(Vec::capacity);
        let buckets = self.live.capacity() + ends.chain(tails).sum::<usize>();
        buckets * size_of::<Bucket>()
    }

    /// The last step and its raw value, which may be NaN.
    pub fn latest(&self) -> Option<(u64, f64)> {
        self.latest
    }

    /// The sum of all finite values that count.
    pub fn total(&self) -> f64 {
        self.live.iter().map(|bucket| bucket.sum).sum()
    }

    /// All that counts from `first` on in one bucket.
    pub fn summary(&self, first: u64) -> Option<Bucket> {
        let (all, rest) = self.since(first).split_first()?;
        let mut all = *all;
        rest.iter().for_each(|bucket| all.merge(bucket));
        Some(all)
    }

    /// How the last quarter compares with the quarter before, in standard errors of the difference: above 2
    /// it went up, below -2 down. `None` with fewer than eight values.
    pub fn trend(&self) -> Option<f64> {
        let means: Vec<f64> = self.live.iter().filter_map(Bucket::mean).collect();
        if means.len() < 8 {
            return None;
        }
        let quarter = (means.len() / 4).max(4);
        let (before, after) = means[means.len() - 2 * quarter..].split_at(quarter);
        let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
        let spread = |values: &[f64]| {
            let center = mean(values);
            values
                .iter()
                .map(|value| (value - center).powi(2))
                .sum::<f64>()
                / values.len() as f64
        };
        let error = ((spread(before) + spread(after)) / quarter as f64).sqrt();
        let difference = mean(after) - mean(before);
        // Two flat stretches differ by rounding alone.
        let noise = error.max(1e-9 * mean(after).abs());
        Some(if noise > 0.0 { difference / noise } else { 0.0 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spike_of_one_step_is_there_after_a_million_in_bounded_memory() {
        let mut curve = Curve::default();
        for step in 1..=1_000_000u64 {
            curve.push(step, if step == 123_456 { 9.0 } else { 1.0 });
        }
        assert!(curve.live().len() <= Curve::CAPACITY && curve.live().len() > Curve::CAPACITY / 4);
        let all = curve.summary(0).unwrap();
        assert_eq!(
            (all.first, all.last, all.min, all.max),
            (1, 1_000_000, 1.0, 9.0)
        );
        assert_eq!(curve.total(), 1_000_008.0);
    }

    #[test]
    fn the_end_of_a_long_curve_is_there_step_by_step() {
        let mut curve = Curve::default();
        (1..=1_000_000u64).for_each(|step| curve.push(step, step as f64));
        for (steps, finest) in [(500, 1), (3_000, 4), (100_000, 256), (1_000_000, 512)] {
            let first = 1_000_001 - steps;
            let buckets = curve.since(first);
            let widest = buckets.iter().map(|b| b.last - b.first + 1).max();
            assert!(widest.unwrap() <= finest, "{steps}: {widest:?}");
            assert!(buckets[0].first <= first && buckets[0].last >= first);
            let contiguous = |pair: &[Bucket]| pair[0].last + 1 == pair[1].first;
            assert!(buckets.windows(2).all(contiguous), "{steps}");
            assert_eq!(curve.summary(first).unwrap().max, 1e6);
        }
        let held: usize = curve.ends.iter().map(|end| end.buckets.len()).sum();
        assert!(held <= 2 * FineEnd::CAPACITY * 6, "{held}");
        curve.cut(999_000);
        curve.push(999_001, f64::NAN);
        let end = curve.since(998_990);
        assert_eq!((end[0].first, end.last().unwrap().num_broken), (998_990, 1));
    }

    #[test]
    fn nan_is_counted_and_stays_the_latest_value() {
        let mut curve = Curve::default();
        curve.push(1, 2.0);
        curve.push(2, f64::NAN);
        assert!(curve.latest().unwrap().1.is_nan());
        assert_eq!(curve.live()[1].mean(), None);
        assert_eq!(curve.summary(0).unwrap().num_broken, 1);
    }

    #[test]
    fn going_back_sets_the_tail_aside() {
        let mut curve = Curve::default();
        (1..=6u32).for_each(|step| curve.push(u64::from(step), f64::from(step)));
        curve.cut(4);
        assert_eq!(curve.latest(), Some((4, 4.0)));
        curve.push(5, 50.0);
        curve.push(3, 30.0);
        let steps = |buckets: &[Bucket]| buckets.iter().map(|b| b.first).collect::<Vec<_>>();
        assert_eq!(steps(curve.live()), [1, 2, 3]);
        // Step 3 was known already, so its old value went with the second tail.
        let tails: Vec<_> = curve.abandoned().iter().map(|tail| steps(tail)).collect();
        assert_eq!(tails, [vec![5, 6], vec![3, 4, 5]]);
    }

    #[test]
    fn a_step_that_is_measured_again_abandons_nothing() {
        let mut curve = Curve::default();
        for (step, value) in [(0, 1.0), (10, 2.0), (10, 2.5), (20, 3.0)] {
            curve.push(step, value);
        }
        let means: Vec<_> = curve.live().iter().filter_map(Bucket::mean).collect();
        assert_eq!((means, curve.abandoned().len()), (vec![1.0, 2.5, 3.0], 0));
    }

    #[test]
    fn a_trend_is_told_from_noise() {
        let curve = |value: fn(u64) -> f64| {
            let mut curve = Curve::default();
            (0..100).for_each(|step| curve.push(step, value(step)));
            curve
        };
        assert!(curve(|step| step as f64).trend().unwrap() > 2.0);
        assert!(curve(|step| -(step as f64)).trend().unwrap() < -2.0);
        assert_eq!(curve(|_| 0.3).trend(), Some(0.0));
        assert!(curve(|step| (step * 7 % 5) as f64).trend().unwrap().abs() < 2.0);
    }
}
