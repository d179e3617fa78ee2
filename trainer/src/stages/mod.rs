//! The stages. Each file is one, read from top to bottom; what continued pretraining and supervised
//! fine-tuning share, learning to predict given tokens, is [`supervised`].

mod left_out;
pub mod neftune;
pub mod preference;
pub mod pretraining;
pub mod rl;
pub mod sft;
pub mod supervised;
