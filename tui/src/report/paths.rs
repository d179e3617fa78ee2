//! A curve as the paths of an SVG drawing.

use super::scale::Scale;
use crate::store::curve::{Bucket, Curve};

/// The drawing's own units.
pub const WIDTH: f64 = 1000.0;
/// The same.
pub const HEIGHT: f64 = 300.0;

/// Values that lie in one column.
pub struct Column {
    /// From the left.
    pub x: f64,
    /// The values.
    pub bucket: Bucket,
}

/// Where values lie on the drawing; without a scale there is no value to draw.
pub struct Canvas {
    /// The axis of the values.
    pub y: Option<Scale>,
}

impl Canvas {
    fn y(&self, value: f64) -> Option<f64> {
        self.y.map(|y| (1.0 - y.place(value)) * HEIGHT)
    }

    /// The means joined, interrupted where there is no number. A column that reaches much further than most,
    /// as one with a spike, is drawn with all its height: an area as narrow as that could not be seen.
    pub fn means(&self, columns: &[Column]) -> String {
        let reach = |column: &Column| column.bucket.max - column.bucket.min;
        let mut reaches: Vec<f64> = numbers(columns).map(reach).collect();
        reaches.sort_by(f64::total_cmp);
        let usual = reaches.get(reaches.len() / 2).copied().unwrap_or_default();
        let mut path = Path::default();
        for column in columns {
            let Some(y) = column.bucket.mean().and_then(|mean| self.y(mean)) else {
                path.lift();
                continue;
            };
            path.to(column.x, y);
            if reach(column) > 2.5 * usual {
                for value in [
                    column.bucket.max,
                    column.bucket.min,
                    column.bucket.mean().unwrap_or(column.bucket.max),
                ] {
                    path.to(column.x, self.y(value).unwrap_or(y));
                }
            }
        }
        path.text
    }

    /// The area between the lowest and the highest values; empty where each column has one value.
    pub fn envelope(&self, columns: &[Column]) -> String {
        if numbers(columns).all(|column| column.bucket.min == column.bucket.max) {
            return String::new();
        }
        let mut path = Path::default();
        for stretch in columns.split(|column| column.bucket.mean().is_none()) {
            let top = stretch.iter().map(|c| (c.x, c.bucket.max));
            let bottom = stretch.iter().rev().map(|c| (c.x, c.bucket.min));
            for (x, value) in top.chain(bottom) {
                if let Some(y) = self.y(value) {
                    path.to(x, y);
                }
            }
            path.close();
        }
        path.text
    }

    /// The exponential moving average, corrected for its start as Adam's moments are; empty where there are
    /// too few values, or too smooth ones: there an average only lags behind.
    pub fn smoothed(&self, curve: &Curve, x: &Scale) -> String {
        let means: Vec<f64> = curve.live().iter().filter_map(Bucket::mean).collect();
        if means.len() < 24 || !is_noisy(&means) {
            return String::new();
        }
        let weight = 1.0 - 1.0 / (means.len() as f64 / 60.0).max(4.0);
        let (mut average, mut total) = (0.0, 0.0);
        let mut path = Path::default();
        let (stride, last) = (means.len().div_ceil(320), curve.live().len() - 1);
        for (at, bucket) in curve.live().iter().enumerate() {
            let Some(mean) = bucket.mean() else {
                path.lift();
                continue;
            };
            average = weight * average + (1.0 - weight) * mean;
            total = weight * total + (1.0 - weight);
            if (at % stride == 0 || at == last)
                && let Some(y) = self.y(average / total)
            {
                path.to(x.place(bucket.last as f64) * WIDTH, y);
            }
        }
        path.text
    }

    /// A dot for each value.
    pub fn dots(&self, columns: &[Column]) -> String {
        numbers(columns)
            .filter_map(|column| self.dot(column))
            .collect()
    }

    /// A dot for each value that no line reaches, since its neighbours are no numbers.
    pub fn lonely(&self, columns: &[Column]) -> String {
        let is_number = |at: Option<usize>| {
            at.and_then(|at| columns.get(at))
                .is_some_and(|c| c.bucket.mean().is_some())
        };
        let alone = |at: usize| !is_number(at.checked_sub(1)) && !is_number(Some(at + 1));
        let lonely = columns.iter().enumerate().filter(|(at, _)| alone(*at));
        lonely.filter_map(|(_, column)| self.dot(column)).collect()
    }

    /// A line without length whose ends are round.
    fn dot(&self, column: &Column) -> Option<String> {
        let y = self.y(column.bucket.mean()?)?;
        Some(format!("M{:.1} {y:.1}h0", column.x))
    }
}

/// Whether a curve turns back at more than a quarter of its values, as noise does at two thirds.
fn is_noisy(means: &[f64]) -> bool {
    let turns = means
        .windows(3)
        .filter(|three| (three[1] - three[0]) * (three[2] - three[1]) < 0.0);
    turns.count() * 4 > means.len()
}

/// The `d` of an SVG path.
#[derive(Default)]
struct Path {
    text: String,
    is_down: bool,
}

impl Path {
    fn to(&mut self, x: f64, y: f64) {
        let command = if self.is_down { 'L' } else { 'M' };
        self.text.push_str(&format!("{command}{x:.1} {y:.1}"));
        self.is_down = true;
    }

    fn lift(&mut self) {
        self.is_down = false;
    }

    fn close(&mut self) {
        if self.is_down {
            self.text.push('Z');
        }
        self.lift();
    }
}

fn numbers(columns: &[Column]) -> impl Iterator<Item = &Column> {
    columns
        .iter()
        .filter(|column| column.bucket.mean().is_some())
}
