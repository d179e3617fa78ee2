//! What a run says about itself while it runs: throughput, its memory and the machine's
//! state.

mod memory;
mod system;
mod throughput;

pub use memory::{MemoryPeak, total_memory};
pub use system::SystemMonitor;
pub use throughput::Throughput;
