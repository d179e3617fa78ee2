//! What a change means.

use serde::Serialize;
use telemetry::metric::{Better, MetricKey};

/// What a change means for a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It went the right way.
    Better,
    /// It went the wrong way.
    Worse,
    /// It stayed, or there is nothing to compare with.
    Same,
    /// Neither way is right.
    Neutral,
}

impl Verdict {
    /// That of a change in a metric.
    pub fn of(change: f64, key: Option<&MetricKey>) -> Self {
        match key.map_or(Better::Neutral, |key| key.better) {
            Better::Neutral => Self::Neutral,
            _ if change == 0.0 => Self::Same,
            Better::Higher if change > 0.0 => Self::Better,
            Better::Lower if change < 0.0 => Self::Better,
            // A change that is no number is no good news.
            _ => Self::Worse,
        }
    }

    /// A sign for it, since colour alone says nothing on paper.
    pub fn glyph(self) -> &'static str {
        match self {
            Self::Better => "✔",
            Self::Worse => "▲",
            Self::Same => "=",
            Self::Neutral => "",
        }
    }
}
