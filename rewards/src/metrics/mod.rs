//! Translation metrics equal to sacreBLEU's, to the last digits of an `f64`.

pub mod bleu;
pub mod chrf;
#[cfg(test)]
mod golden;
pub(crate) mod ngrams;
pub(crate) mod text;
mod tokenizer;

pub use bleu::{Bleu, BleuScore, BleuStats};
pub use chrf::{Chrf, ChrfStats};
pub use tokenizer::{Tokenizer, UnknownTokenizer};

/// The sacreBLEU whose scores the tests reproduce; signatures name it.
pub const SACREBLEU_VERSION: &str = "2.6.0";

/// The part of a signature that all metrics share, around what is their own.
fn signature(num_references: Option<usize>, own: &str) -> String {
    let references = num_references.map_or("var".to_owned(), |n| n.to_string());
    format!("nrefs:{references}|case:mixed|{own}|version:{SACREBLEU_VERSION}")
}
