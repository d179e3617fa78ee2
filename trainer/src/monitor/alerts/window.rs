use std::collections::VecDeque;

/// The last finite values of a metric.
#[derive(Clone, Debug)]
pub(super) struct Window {
    values: VecDeque<f64>,
    capacity: usize,
}

impl Window {
    /// Of `capacity` > 0 values.
    pub fn new(capacity: usize) -> Self {
        assert!(capacity > 0, "a window of no values");
        Window {
            values: VecDeque::new(),
            capacity,
        }
    }

    /// Takes a value in. One that is not finite has an alert of its own and is left out here.
    pub fn push(&mut self, value: f64) {
        if !value.is_finite() {
            return;
        }
        if self.is_full() {
            self.values.pop_front();
        }
        self.values.push_back(value);
    }

    pub fn is_full(&self) -> bool {
        self.values.len() == self.capacity
    }

    pub fn len(&self) -> usize {
        self.values.len()
    }

    pub fn clear(&mut self) {
        self.values.clear();
    }

    /// NaN of no values.
    pub fn mean(&self) -> f64 {
        self.values.iter().sum::<f64>() / self.values.len() as f64
    }

    /// With Bessel's correction.
    pub fn deviation(&self) -> f64 {
        let mean = self.mean();
        let squares: f64 = self.values.iter().map(|v| (v - mean).powi(2)).sum();
        (squares / (self.values.len() as f64 - 1.0)).sqrt()
    }

    /// The mean of the middle two of an even number of values; NaN of no values.
    pub fn median(&self) -> f64 {
        let mut sorted: Vec<f64> = self.values.iter().copied().collect();
        sorted.sort_unstable_by(f64::total_cmp);
        let middle = sorted.len() / 2;
        match sorted.len() {
            0 => f64::NAN,
            n if n.is_multiple_of(2) => (sorted[middle - 1] + sorted[middle]) / 2.0,
            _ => sorted[middle],
        }
    }

    /// By age, the oldest first.
    pub fn values(&self) -> impl Iterator<Item = f64> {
        self.values.iter().copied()
    }
}
