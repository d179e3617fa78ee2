//! A model on held-out files: what is measured of each, and what the measurements amount to.

mod file;
mod held_out;
mod scorecard;
mod suite;

pub use file::{Evaluator, FileKind};
pub use held_out::HeldOut;
pub use scorecard::{FileScores, Scorecard};
pub use suite::{Answering, Suite, SuiteFile};
