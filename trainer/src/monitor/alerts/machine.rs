use telemetry::event::AlertLevel;
use tui::plain::{number, short};

use super::threshold::verdict;
use super::window::Window;
use super::{About, Finding, Observation, Rule, Verdict};
use crate::recipe::Side;

/// The run is slower than it was.
pub(super) struct Slower {
    about: About,
    all: Window,
    recent: Window,
}

const SPEED: &str = "tokens_per_second";
/// Steps that the run's own median is of, those it takes at least, and those held against it.
const ALL_STEPS: usize = 512;
const MIN_STEPS: usize = 60;
const RECENT_STEPS: usize = 20;
/// The share of the median from which on the run counts as slower.
const MIN_SPEED: f64 = 0.7;

impl Slower {
    pub fn new() -> Self {
        Slower {
            about: About::new(
                format!("{SPEED} < 70 % of its median"),
                SPEED,
                AlertLevel::Warning,
                "something else may use the machine, or sequences have become longer",
            ),
            all: Window::new(ALL_STEPS),
            recent: Window::new(RECENT_STEPS),
        }
    }
}

impl Rule for Slower {
    fn about(&self) -> &About {
        &self.about
    }

    fn look(&mut self, seen: Observation<'_>) -> Option<Finding> {
        let value = self.about.source.read(seen)?;
        self.all.push(value);
        self.recent.push(value);
        if self.all.len() < MIN_STEPS {
            return None;
        }
        let (usual, value) = (self.all.median(), self.recent.median());
        let threshold = MIN_SPEED * usual;
        Some(Finding {
            verdict: verdict(value, Side::Below, threshold),
            value,
            threshold,
            sentence: format!(
                "{SPEED} is {}, the median of {RECENT_STEPS} steps, and {} is usual in this run",
                short(value),
                short(usual)
            ),
        })
    }
}

/// The disk has no room for the checkpoints to come: one is written before the oldest goes.
pub(super) struct DiskRoom {
    about: About,
    checkpoint_bytes: Option<u64>,
}

const CHECKPOINTS: f64 = 2.0;

impl DiskRoom {
    pub fn new() -> Self {
        DiskRoom {
            about: About::new(
                format!("disk_free_bytes < {CHECKPOINTS} checkpoints"),
                "disk_free_bytes",
                AlertLevel::Alarm,
                "the run ends where a checkpoint finds no room",
            ),
            checkpoint_bytes: None,
        }
    }
}

impl Rule for DiskRoom {
    fn about(&self) -> &About {
        &self.about
    }

    fn look(&mut self, seen: Observation<'_>) -> Option<Finding> {
        if let Observation::Checkpoint(checkpoint) = seen {
            self.checkpoint_bytes = Some(checkpoint.bytes);
        }
        let Observation::System(system) = seen else {
            return None;
        };
        let free = system.disk_free_bytes? as f64;
        let checkpoint = self.checkpoint_bytes? as f64;
        let threshold = CHECKPOINTS * checkpoint;
        let gigabytes = |bytes: f64| format!("{} GB", number(bytes / 1e9));
        Some(Finding {
            verdict: verdict(free, Side::Below, threshold),
            value: free,
            threshold,
            sentence: format!(
                "the disk has {} left, and a checkpoint takes {}",
                gigabytes(free),
                gigabytes(checkpoint)
            ),
        })
    }
}

/// The device's memory is nearly full. Where several are listed it cannot be told which of them is the
/// run's, and what others do on theirs is not its business.
pub(super) struct DeviceMemory {
    about: About,
}

const MAX_MEMORY: f64 = 0.95;

impl DeviceMemory {
    pub fn new() -> Self {
        DeviceMemory {
            about: About::new(
                "device memory > 95 %".to_owned(),
                "memory_used_bytes",
                AlertLevel::Warning,
                "a longer batch may not fit",
            ),
        }
    }
}

impl Rule for DeviceMemory {
    fn about(&self) -> &About {
        &self.about
    }

    fn look(&mut self, seen: Observation<'_>) -> Option<Finding> {
        let Observation::System(system) = seen else {
            return None;
        };
        let Some([gpu]) = system.gpus.as_deref() else {
            return None;
        };
        let total = gpu.memory_total_bytes.filter(|total| *total > 0)?;
        let share = gpu.memory_used_bytes? as f64 / total as f64;
        let name = match gpu.index {
            Some(index) => format!("GPU {index} ({})", gpu.name),
            None => gpu.name.clone(),
        };
        Some(Finding {
            verdict: match share {
                share if share > MAX_MEMORY => Verdict::Outside,
                share if share < MAX_MEMORY - 0.02 => Verdict::Inside,
                _ => Verdict::Border,
            },
            value: share,
            threshold: MAX_MEMORY,
            sentence: format!("{:.0} % of the memory of {name} is in use", 100.0 * share),
        })
    }
}
