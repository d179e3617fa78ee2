//! Where the dots of a curve go.

use ratatui::layout::Rect;

use super::braille::Dots;
use crate::format;
use crate::store::curve::Bucket;
use crate::store::timeline::XAxis;

/// Which part of the x axis is shown.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Window {
    /// What it is counted in.
    pub axis: XAxis,
    /// The left edge.
    pub first: f64,
    /// The right edge, beyond the left one.
    pub last: f64,
}

impl Window {
    /// Up to `last`, or with a zoom its last half, quarter and so on.
    pub fn new(axis: XAxis, last: f64, zoom: u32) -> Self {
        let last = last.max(1.0);
        let first = match zoom {
            0 => 0.0,
            zoom => last - last / 2f64.powi(zoom.min(63) as i32),
        };
        Self { axis, first, last }
    }

    /// The column of a place.
    pub fn column(&self, x: f64, columns: usize) -> usize {
        let share = ((x - self.first) / (self.last - self.first)).clamp(0.0, 1.0);
        (share * (columns.max(1) - 1) as f64) as usize
    }

    /// A place as it stands below the axis.
    pub fn label(&self, x: f64) -> String {
        match self.axis {
            XAxis::Step => format::count(x as u64),
            XAxis::Tokens => format!("{} tok", format::amount(x)),
            XAxis::Time => format::span_ms(x as u64),
        }
    }
}

/// The value axis.
#[derive(Debug, Clone, Copy)]
pub struct Scale {
    low: f64,
    high: f64,
    log: bool,
}

impl Scale {
    /// Fits all values of a bucket; `None` where none is a number.
    pub fn of(all: &Bucket, log_y: bool) -> Option<Self> {
        all.mean()?;
        let log = log_y && all.min > 0.0;
        let axis = |value: f64| if log { value.ln() } else { value };
        let (low, high) = (axis(all.min), axis(all.max));
        let enough = (low.abs().max(high.abs()) * 1e-6).max(f64::MIN_POSITIVE);
        match high - low > enough {
            true => Some(Self { low, high, log }),
            // A flat curve lies in the middle.
            false => {
                let margin = (high.abs() * 0.1).max(enough);
                Some(Self {
                    low: low - margin,
                    high: high + margin,
                    log,
                })
            }
        }
    }

    fn value(&self, axis: f64) -> f64 {
        if self.log { axis.exp() } else { axis }
    }

    /// The value at the top.
    pub fn top(&self) -> f64 {
        self.value(self.high)
    }

    /// The value at the bottom.
    pub fn bottom(&self) -> f64 {
        self.value(self.low)
    }

    /// The row of dots, from the top.
    fn row(&self, value: f64, rows: usize) -> usize {
        let axis = if self.log {
            value.max(f64::MIN_POSITIVE).ln()
        } else {
            value
        };
        let share = ((axis - self.low) / (self.high - self.low)).clamp(0.0, 1.0);
        ((1.0 - share) * (rows - 1) as f64).round() as usize
    }
}

/// Where the dots go.
pub struct Plot {
    /// The value axis.
    pub scale: Scale,
    /// The other axis.
    pub window: Window,
    /// The cells.
    pub area: Rect,
}

impl Plot {
    fn dots(&self) -> Dots {
        Dots::new(usize::from(self.area.width), usize::from(self.area.height))
    }

    /// The values of each column of dots. `xs` is where the buckets lie.
    fn columns(&self, buckets: &[Bucket], xs: &[f64], columns: usize) -> Vec<Option<Bucket>> {
        let mut merged: Vec<Option<Bucket>> = vec![None; columns];
        for (bucket, x) in buckets.iter().zip(xs) {
            if !(self.window.first..=self.window.last).contains(x) {
                continue;
            }
            match &mut merged[self.window.column(*x, columns)] {
                Some(before) => before.merge(bucket),
                empty => *empty = Some(*bucket),
            }
        }
        merged
    }

    /// The means of the columns joined, and above and below them the highest and the lowest values. A column
    /// that reaches much further than most, as one with a spike, is drawn whole with the means.
    pub fn raw(&self, buckets: &[Bucket], xs: &[f64]) -> (Dots, Dots) {
        let (mut means, mut envelope) = (self.dots(), self.dots());
        let (columns, rows) = (means.width(), means.height());
        let merged = self.columns(buckets, xs, columns);
        let reach = |bucket: &Bucket| bucket.max - bucket.min;
        let mut reaches: Vec<f64> = merged
            .iter()
            .flatten()
            .filter(|b| b.mean().is_some())
            .map(reach)
            .collect();
        reaches.sort_by(f64::total_cmp);
        let usual = reaches.get(reaches.len() / 2).copied().unwrap_or(0.0);
        let mut before = None;
        for (x, bucket) in merged.iter().enumerate() {
            let Some(bucket) = bucket else { continue };
            let Some(mean) = bucket.mean() else {
                before = None;
                continue;
            };
            let at = (x, self.scale.row(mean, rows));
            means.line(before.unwrap_or(at), at);
            before = Some(at);
            let (top, bottom) = (
                self.scale.row(bucket.max, rows),
                self.scale.row(bucket.min, rows),
            );
            if reach(bucket) > 2.5 * usual {
                means.vertical(x, top, bottom);
            } else {
                envelope.set(x, top);
                envelope.set(x, bottom);
            }
        }
        (means, envelope)
    }

    /// The exponential moving average, corrected for its start as Adam's moments are.
    pub fn smoothed(&self, buckets: &[Bucket], xs: &[f64], weight: f64) -> Dots {
        let mut dots = self.dots();
        let (columns, rows) = (dots.width(), dots.height());
        let (mut average, mut total, mut before) = (0.0, 0.0, None);
        for (bucket, x) in buckets.iter().zip(xs) {
            let Some(mean) = bucket.mean() else { continue };
            average = weight * average + (1.0 - weight) * mean;
            total = weight * total + (1.0 - weight);
            if !(self.window.first..=self.window.last).contains(x) {
                continue;
            }
            let column = self.window.column(*x, columns);
            let at = (column, self.scale.row(average / total, rows));
            dots.line(before.unwrap_or(at), at);
            before = Some(at);
        }
        dots
    }
}
