//! What a run says about itself while it runs: throughput and the machine's state.

mod system;
mod throughput;

pub use system::SystemMonitor;
pub use throughput::Throughput;
