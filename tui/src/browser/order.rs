//! In which order groups and their completions are listed.

/// How the groups are listed. One without any reward comes last.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Order {
    /// Newest first.
    #[default]
    Latest,
    /// The largest difference between best and worst first.
    Spread,
    /// The best completion first.
    Best,
    /// The worst completion first.
    Worst,
}

/// How the completions of a group are listed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Sort {
    /// As they were sampled.
    #[default]
    Number,
    /// The best first.
    Reward,
}

impl Order {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Latest => "latest",
            Self::Spread => "spread",
            Self::Best => "best",
            Self::Worst => "worst",
        }
    }

    /// The one after it.
    pub fn next(self) -> Self {
        match self {
            Self::Latest => Self::Spread,
            Self::Spread => Self::Best,
            Self::Best => Self::Worst,
            Self::Worst => Self::Latest,
        }
    }

    /// Sorts groups that come newest first by their lowest and highest rewards.
    pub(super) fn sort(self, groups: &mut [usize], range: impl Fn(usize) -> Option<(f64, f64)>) {
        let value = |(low, high): (f64, f64)| match self {
            Self::Latest => f64::NAN,
            Self::Spread => high - low,
            Self::Best => high,
            Self::Worst => -low,
        };
        // The difference of two infinities is no number.
        let rank = |group: usize| {
            let number = range(group).map(value).filter(|value| !value.is_nan());
            number.unwrap_or(f64::NEG_INFINITY)
        };
        if self != Self::Latest {
            groups.sort_by(|a, b| rank(*b).total_cmp(&rank(*a)));
        }
    }
}

impl Sort {
    /// The other one.
    pub fn next(self) -> Self {
        match self {
            Self::Number => Self::Reward,
            Self::Reward => Self::Number,
        }
    }
}
