//! What a run says about itself while it runs: where a step's time goes, how much of the device it
//! uses, its memory, the machine's state, and what seems to go wrong.

mod alerts;
mod disk;
mod gpus;
mod memory;
mod peak_flops;
mod step_meter;
mod system;
mod throughput;

pub use alerts::{Alerts, Observation};
pub use disk::DiskSpace;
pub use gpus::Gpus;
pub use memory::{MemoryPeak, total_memory};
pub use peak_flops::peak_flops;
pub use step_meter::{Part, StepMeter, Utilization};
pub use system::{LatestSystem, SystemMonitor};
pub use throughput::Throughput;
