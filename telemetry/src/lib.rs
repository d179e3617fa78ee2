//! The event log of a run: what the trainer writes and every viewer reads.
//!
//! The log is the boundary between the two. A viewer never talks to the trainer: it reads `events.jsonl` and
//! `samples.jsonl` in the run directory and drops requests into `control/`, so either side may start, stop
//! or crash alone, and a finished run looks the same as a live one.
//!
//! Rules that hold for every log, each with a test (`log_rules.rs`):
//!
//! 1. One JSON object a line, `{"v":1,"time":…,"kind":…, …}`, appended with a single write.
//! 2. A reader consumes to the last newline only; a torn line is read next time.
//! 3. NaN and infinities survive as `"nan"`, `"inf"`, `"-inf"`. Missing, zero and NaN are three things.
//! 4. `resumed` cuts every series back; the abandoned tail stays readable.
//! 5. Unknown kinds and fields are kept and counted, never fatal.
//! 6. A control request carries an id and is answered by `control` events.
//!
//! Who reads metrics elsewhere may have them as [`TensorBoard`]'s files or as text for [`Prometheus`]; both are
//! [`Observer`]s of the log, and know no more than is in it.
//!
//! Reading order: [`event`] is the whole vocabulary; [`EventLog`] writes it, [`EventTail`] reads it,
//! [`RunDir`] says where.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod atomic;
pub mod clock;
pub mod control;
mod control_box;
mod error;
pub mod event;
mod fields;
mod find;
mod heartbeat;
#[cfg(test)]
mod killed;
mod line;
mod line_file;
mod log;
#[cfg(test)]
mod log_rules;
pub mod manifest;
pub mod metric;
mod periodic;
mod process_mark;
mod prometheus;
pub mod run_dir;
mod run_lock;
mod sample;
mod sample_index;
mod scalar;
pub mod series;
mod staged_dir;
pub mod tail;
mod tensorboard;
mod vocabulary;

pub use clock::{Clock, FixedClock, SystemClock};
pub use control::{ControlAction, ControlRequest};
pub use control_box::{ControlBox, Taken};
pub use error::{TelemetryError, io_hint};
pub use event::Event;
pub use fields::{FieldValue, Fields};
pub use heartbeat::Heartbeat;
pub use line::{Line, VERSION};
pub use log::{EventLog, Observer, SampleLog};
pub use manifest::{DataFile, RunManifest};
pub use metric::MetricKey;
pub use periodic::Periodic;
pub use process_mark::{Process, ProcessMark};
pub use prometheus::Prometheus;
pub use run_dir::{CheckpointDir, RunDir};
pub use run_lock::{RunLock, Writer};
pub use sample::{Completion, SampleRecord};
pub use sample_index::{SampleEntry, SampleIndex};
pub use scalar::Scalar;
pub use series::Series;
pub use staged_dir::StagedDir;
pub use tail::EventTail;
pub use tensorboard::TensorBoard;
