use std::time::Duration;

use burn::data::dataloader::Progress;
use burn_train::metric::{CpuMemory, CpuUse, Metric, MetricMetadata, Numeric, NumericEntry};
use telemetry::event::System;
use telemetry::{Clock, Scalar};

use super::memory::total_memory;

/// Writes a line about the machine now and then, from burn-train's system metrics.
pub struct SystemMonitor {
    cpu: CpuUse,
    memory: CpuMemory,
    period: Duration,
    last: Option<Duration>,
}

impl SystemMonitor {
    /// A line at most every `period`.
    pub fn new(period: Duration) -> Self {
        SystemMonitor {
            cpu: CpuUse::new(),
            memory: CpuMemory::new(),
            period,
            last: None,
        }
    }

    /// The machine's state, where it is time for it.
    pub fn poll(&mut self, clock: &dyn Clock) -> Option<System> {
        let now = clock.elapsed();
        if self.last.is_some_and(|last| now - last < self.period) {
            return None;
        }
        self.last = Some(now);
        let metadata = MetricMetadata {
            progress: Progress {
                items_processed: 0,
                items_total: 0,
                unit: None,
            },
            iteration: None,
            lr: None,
        };
        // The metrics read the system; only metrics over tensors can fail.
        let cpu = self
            .cpu
            .update(&(), &metadata)
            .ok()
            .and_then(|_| value(&self.cpu));
        let memory = self.memory.update(&(), &metadata).ok();
        let memory = memory.and_then(|_| value(&self.memory));
        Some(System {
            cpu_percent: cpu.map(Scalar),
            memory_used_bytes: memory.map(|gigabytes| (gigabytes * 1e9) as u64),
            memory_total_bytes: total_memory(),
            process_memory_bytes: None,
            disk_free_bytes: None,
            disk_total_bytes: None,
            gpus: None,
            fields: Default::default(),
        })
    }
}

fn value(metric: &impl Numeric) -> Option<f64> {
    match metric.value()? {
        NumericEntry::Value(value) | NumericEntry::Final(value) => Some(value),
        NumericEntry::Aggregated { .. } => None,
    }
}
