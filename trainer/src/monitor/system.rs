use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use burn::data::dataloader::Progress;
use burn_train::metric::{CpuMemory, CpuUse, Metric, MetricMetadata, Numeric, NumericEntry};
use telemetry::event::System;
use telemetry::{Clock, Event, EventLog, Line, Periodic, Scalar};

use super::disk::DiskSpace;
use super::gpus::Gpus;
use super::memory::{resident_memory, total_memory};

/// Looks at the machine: processors and memory through burn-train's system metrics, this process,
/// the disk of the run's directory, the GPUs.
pub struct SystemMonitor {
    cpu: CpuUse,
    memory: CpuMemory,
    gpus: Gpus,
    run_dir: PathBuf,
    /// When the use of processors was first looked at; what is told of it is of the time since the
    /// look before.
    began: Duration,
}

/// As far apart as two looks at the processors have to be to say something.
const CPU_INTERVAL: Duration = Duration::from_millis(200);

impl SystemMonitor {
    /// How often the state of the machine goes into the log.
    pub const PERIOD: Duration = Duration::from_secs(10);

    /// Of the machine of a run in `run_dir`.
    pub fn new(run_dir: &Path, gpus: Gpus, clock: &dyn Clock) -> Self {
        SystemMonitor {
            cpu: CpuUse::new(),
            memory: CpuMemory::new(),
            gpus,
            run_dir: run_dir.to_owned(),
            began: clock.elapsed(),
        }
    }

    /// A thread that logs the state at once and then every `period` until it is dropped, also while a
    /// rollout or an evaluation takes long.
    pub fn start(mut self, log: &EventLog, period: Duration) -> Periodic {
        let log = log.clone();
        let mut append = move || {
            let state = self.state(&**log.clock());
            // The loop meets the same error at its next event and reports it there.
            log.append(state).map_err(drop)
        };
        let _ = append();
        Periodic::start(period, append)
    }

    /// The state of the machine.
    pub fn state(&mut self, clock: &dyn Clock) -> System {
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
        let cpu = self.cpu.update(&(), &metadata).ok();
        let cpu = cpu.filter(|_| clock.elapsed() - self.began >= CPU_INTERVAL);
        let memory = self.memory.update(&(), &metadata).ok();
        let memory = memory.and_then(|_| value(&self.memory));
        let disk = DiskSpace::of(&self.run_dir);
        System {
            cpu_percent: cpu.and_then(|_| value(&self.cpu)).map(Scalar),
            memory_used_bytes: memory.map(|gigabytes| (gigabytes * 1e9) as u64),
            memory_total_bytes: total_memory(),
            process_memory_bytes: resident_memory(),
            disk_free_bytes: disk.map(|disk| disk.free),
            disk_total_bytes: disk.map(|disk| disk.total),
            gpus: self.gpus.state(),
            fields: Default::default(),
        }
    }
}

/// The latest state of the machine that went into a log.
#[derive(Clone, Default)]
pub struct LatestSystem(Arc<Mutex<Option<System>>>);

impl LatestSystem {
    /// Listens to a log from now on.
    pub fn of(log: &EventLog) -> Self {
        let latest = Self::default();
        let slot = latest.clone();
        log.attach(move |line: &Line| {
            if let Event::System(state) = &line.event {
                *slot.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(state.clone());
            }
            None
        });
        latest
    }

    /// The state that has come since this was last called.
    pub fn take(&self) -> Option<System> {
        let mut latest = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        latest.take()
    }
}

fn value(metric: &impl Numeric) -> Option<f64> {
    match metric.value()? {
        NumericEntry::Value(value) | NumericEntry::Final(value) => Some(value),
        NumericEntry::Aggregated { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use telemetry::{EventTail, FixedClock};

    use super::*;

    #[test]
    fn the_state_is_there_at_once_and_again_every_period() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("events.jsonl");
        let clock = std::sync::Arc::new(FixedClock::new(1));
        let log = EventLog::open_with(&path, clock.clone()).expect("a log");
        let monitor = SystemMonitor::new(dir.path(), Gpus::none(), &*clock);
        let thread = monitor.start(&log, Duration::from_millis(1));
        let states = || {
            let (lines, _) = EventTail::read_all(&path).expect("a log");
            let state = |event| match event {
                Event::System(state) => Some(state),
                _ => None,
            };
            lines.into_iter().filter_map(move |l| state(l.event))
        };
        let first = states().next().expect("it is there");
        // No time has passed in which processors could have been used.
        assert_eq!((first.cpu_percent, first.gpus), (None, None));
        clock.advance(CPU_INTERVAL);
        while states().all(|state| state.cpu_percent.is_none()) {
            std::thread::yield_now();
        }
        drop(thread);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_process_has_a_part_of_the_machine() {
        let dir = tempfile::tempdir().expect("a folder");
        let clock = FixedClock::new(1);
        let state = SystemMonitor::new(dir.path(), Gpus::open("cuda:0"), &clock).state(&clock);
        let process = state.process_memory_bytes.expect("Linux says it");
        assert!(process > 1 << 20 && Some(process) < state.memory_total_bytes);
        assert!(state.memory_used_bytes <= state.memory_total_bytes);
        assert!(state.disk_free_bytes > Some(0) && state.disk_free_bytes <= state.disk_total_bytes);
    }
}
