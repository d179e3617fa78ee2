//! The pieces that screens are made of. Each draws into a buffer and holds no state.

pub mod braille;
pub mod line_chart;
pub mod panel;
pub mod plot;
pub mod share_bar;
pub mod spark;
pub mod table;
pub mod word_diff;
