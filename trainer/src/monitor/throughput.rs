use std::time::Duration;

/// Time spent on steps, and when the last of them will end.
#[derive(Clone, Debug, Default)]
pub struct Throughput {
    recent: Vec<Duration>,
}

/// Steps whose mean time the estimate takes.
const WINDOW: usize = 20;

impl Throughput {
    /// Notes a step.
    pub fn add(&mut self, step: Duration) {
        if self.recent.len() == WINDOW {
            self.recent.remove(0);
        }
        self.recent.push(step);
    }

    /// Time for as many steps more, at the pace of the last ones.
    pub fn eta(&self, steps_left: u64) -> Duration {
        let total: Duration = self.recent.iter().sum();
        total.mul_f64(steps_left as f64 / self.recent.len().max(1) as f64)
    }
}
