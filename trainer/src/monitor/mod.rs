//! What a run says about itself while it runs: throughput, its memory, the machine's state, and
//! what seems to go wrong.

mod alerts;
mod memory;
mod system;
mod throughput;

pub use alerts::{Alerts, Observation};
pub use memory::{MemoryPeak, total_memory};
pub use system::SystemMonitor;
pub use throughput::Throughput;
