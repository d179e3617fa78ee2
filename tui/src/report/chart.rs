//! A curve as the paths of an SVG drawing.
//!
//! The drawing is stretched over whatever room the page has, so its lines have widths that do not scale,
//! and everything with a shape of its own, text and marks, is laid over it by the page.

use serde::Serialize;

use super::scale::{Scale, labels};
use crate::format;
use crate::store::curve::{Bucket, Curve};
use crate::store::metrics::Metric;

/// The drawing's own units.
pub const WIDTH: f64 = 1000.0;
/// The same.
pub const HEIGHT: f64 = 300.0;

/// What the x axis counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Axis {
    /// Optimizer steps.
    Steps,
    /// Seconds since the log began.
    Seconds,
}

/// How the values are joined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// Means with an envelope, and smoothed where there are enough.
    Line,
    /// A dot for each value: there are few, and each was expensive.
    Dots,
}

/// A metric and how it is to be drawn.
#[derive(Debug, Clone, Copy)]
pub struct Chart<'a> {
    /// The metric.
    pub metric: &'a Metric,
    /// The name above it.
    pub name: &'a str,
    /// What the x axis counts.
    pub axis: Axis,
    /// The right edge, unless the curve goes on.
    pub last: u64,
    /// Steps from which the run was resumed.
    pub resumed_from: &'a [u64],
    /// How the values are joined.
    pub style: Style,
    /// Places from left to right at which a value may lie.
    pub columns: usize,
}

/// What the page needs to show it.
#[derive(Debug, Serialize)]
pub struct Drawing {
    name: String,
    /// The latest raw value.
    latest: String,
    is_broken: bool,
    /// What the curve holds, in a sentence.
    summary: String,
    /// Which way is better, as an arrow; empty where neither is.
    better: &'static str,
    scale: &'static str,
    envelope: String,
    mean: String,
    smooth: String,
    dots: String,
    tails: Vec<String>,
    x_ticks: Vec<Mark>,
    y_ticks: Vec<Mark>,
    broken: Vec<Mark>,
    resumes: Vec<Mark>,
    /// `step,value` or `first-last,mean,lowest,highest`, with `;` between them.
    points: String,
    /// The steps at the edges.
    span: [u64; 2],
    unit: &'static str,
}

/// Something beside or over the drawing.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Mark {
    /// Percent from the left or from the top.
    at: f64,
    label: String,
}

/// Values that lie in one column.
struct Column {
    x: f64,
    bucket: Bucket,
}

impl Chart<'_> {
    /// Draws it; `None` where there is no value at all.
    pub fn draw(&self) -> Option<Drawing> {
        let curve = &self.metric.curve;
        let all = curve.summary(0)?;
        let tails = || curve.abandoned().iter().flatten();
        let first = match self.axis {
            Axis::Steps => 0,
            Axis::Seconds => all.first,
        };
        let last = tails()
            .map(|b| b.last)
            .fold(self.last.max(all.last), u64::max);
        let x = Scale::counting(first as f64, last as f64);
        let y = Scale::of(curve.live());
        let columns = self.columns(curve.live(), &x);
        let show = |value: f64| format::value(value, self.metric.key);
        let latest = curve.latest().map_or(f64::NAN, |(_, value)| value);
        let (is_line, canvas) = (self.style == Style::Line, Canvas { y });
        Some(Drawing {
            name: self.name.to_owned(),
            latest: show(latest),
            is_broken: !latest.is_finite(),
            summary: self.summary(&all),
            better: better(self.metric),
            scale: if y.is_some_and(|y| y.is_log()) {
                "log scale"
            } else {
                ""
            },
            envelope: if is_line {
                canvas.envelope(&columns)
            } else {
                String::new()
            },
            mean: canvas.means(&columns),
            smooth: if is_line {
                canvas.smoothed(curve, &x)
            } else {
                String::new()
            },
            dots: if is_line {
                canvas.lonely(&columns)
            } else {
                canvas.dots(&columns)
            },
            tails: curve
                .abandoned()
                .iter()
                .map(|tail| canvas.means(&self.columns(tail, &x)))
                .collect(),
            x_ticks: self.x_ticks(&x),
            y_ticks: y.map_or_else(Vec::new, |y| y_ticks(&y, self.metric)),
            broken: broken(&columns),
            resumes: self.resumes(&x, all.first, last),
            points: points(&columns),
            span: [first, last],
            unit: match self.axis {
                Axis::Steps => "step",
                Axis::Seconds => "s",
            },
        })
    }

    /// The buckets that share a column in one.
    fn columns(&self, buckets: &[Bucket], x: &Scale) -> Vec<Column> {
        let last = self.columns.max(2) - 1;
        let place = |bucket: &Bucket| x.place(bucket.last as f64);
        let number = |bucket: &Bucket| (place(bucket) * last as f64) as usize;
        let mut columns: Vec<(usize, Bucket)> = Vec::new();
        for bucket in buckets {
            match columns.last_mut() {
                Some((at, merged)) if *at == number(bucket) => merged.merge(bucket),
                _ => columns.push((number(bucket), *bucket)),
            }
        }
        let column = |(_, bucket): (usize, Bucket)| Column {
            x: place(&bucket) * WIDTH,
            bucket,
        };
        columns.into_iter().map(column).collect()
    }

    fn summary(&self, all: &Bucket) -> String {
        let show = |value: f64| format::value(value, self.metric.key);
        let broken = match all.num_broken {
            0 => String::new(),
            1 => ", 1 value is not a number".to_owned(),
            n => format!(", {} values are not numbers", format::count(n)),
        };
        match all.mean() {
            Some(mean) => format!(
                "min {}, mean {}, max {}{broken}",
                show(all.min),
                show(mean),
                show(all.max)
            ),
            None => "no value is a number".to_owned(),
        }
    }

    fn x_ticks(&self, x: &Scale) -> Vec<Mark> {
        let label = |value: f64| match self.axis {
            Axis::Steps => format::count(value as u64),
            Axis::Seconds => format::span_ms((value * 1e3) as u64),
        };
        let whole = |value: f64| value >= 0.0 && value.fract() == 0.0;
        let ticks = x.ticks(4).into_iter().filter(|tick| whole(tick.value));
        ticks.map(|tick| mark(tick.at, label(tick.value))).collect()
    }

    /// Where the run went back to. A resume that lies before all values says nothing about them.
    fn resumes(&self, x: &Scale, first: u64, last: u64) -> Vec<Mark> {
        let inside = |step: &&u64| (first..=last).contains(*step) && self.axis == Axis::Steps;
        let resumes = self.resumed_from.iter().filter(inside);
        let label = |step: &u64| format!("resumed from step {}", format::count(*step));
        resumes
            .map(|step| mark(x.place(*step as f64), label(step)))
            .collect()
    }
}

/// Where values lie on the drawing; without a scale there is no value to draw.
struct Canvas {
    y: Option<Scale>,
}

impl Canvas {
    fn y(&self, value: f64) -> Option<f64> {
        self.y.map(|y| (1.0 - y.place(value)) * HEIGHT)
    }

    /// The means joined, interrupted where there is no number. A column that reaches much further than most,
    /// as one with a spike, is drawn with all its height: an area as narrow as that could not be seen.
    fn means(&self, columns: &[Column]) -> String {
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
    fn envelope(&self, columns: &[Column]) -> String {
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
    fn smoothed(&self, curve: &Curve, x: &Scale) -> String {
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
    fn dots(&self, columns: &[Column]) -> String {
        numbers(columns)
            .filter_map(|column| self.dot(column))
            .collect()
    }

    /// A dot for each value that no line reaches, since its neighbours are no numbers.
    fn lonely(&self, columns: &[Column]) -> String {
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

fn mark(share: f64, label: String) -> Mark {
    Mark {
        at: (share * 1e4).round() / 100.0,
        label,
    }
}

fn y_ticks(y: &Scale, metric: &Metric) -> Vec<Mark> {
    let ticks = y.ticks(4);
    let labels = labels(&ticks, metric.key);
    let marks = ticks.iter().zip(labels);
    marks
        .map(|(tick, label)| mark(1.0 - tick.at, label))
        .collect()
}

fn broken(columns: &[Column]) -> Vec<Mark> {
    let broken = columns.iter().filter(|column| column.bucket.num_broken > 0);
    let label = |bucket: &Bucket| match (bucket.num_broken, bucket.first == bucket.last) {
        (_, true) => format!("step {}: not a number", format::count(bucket.first)),
        (n, false) => format!(
            "steps {} to {}: {} of the values are not numbers",
            format::count(bucket.first),
            format::count(bucket.last),
            format::count(n)
        ),
    };
    broken
        .map(|column| mark(column.x / WIDTH, label(&column.bucket)))
        .collect()
}

/// The values for whoever points at one.
fn points(columns: &[Column]) -> String {
    let short = |value: f64| {
        // Four digits are more than the drawing shows, and a page of a hundred charts stays small.
        let text = format!("{value:.3e}");
        let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        match exponent.parse::<i32>() {
            Ok(e @ -3..=5) => {
                let decimals = (3 - e).max(0) as usize;
                let plain = format!("{value:.decimals$}");
                match plain.contains('.') {
                    true => plain.trim_end_matches('0').trim_end_matches('.').to_owned(),
                    false => plain,
                }
            }
            _ if !value.is_finite() => "NaN".to_owned(),
            _ => format!(
                "{}e{exponent}",
                digits.trim_end_matches('0').trim_end_matches('.')
            ),
        }
    };
    let point = |Column { bucket, .. }: &Column| {
        let steps = match bucket.first == bucket.last {
            true => bucket.last.to_string(),
            false => format!("{}-{}", bucket.first, bucket.last),
        };
        match bucket.mean() {
            None => format!("{steps},NaN"),
            Some(mean) if bucket.min == bucket.max => format!("{steps},{}", short(mean)),
            Some(mean) => {
                let [mean, min, max] = [mean, bucket.min, bucket.max].map(short);
                format!("{steps},{mean},{min},{max}")
            }
        }
    };
    let points: Vec<String> = columns.iter().map(point).collect();
    points.join(";")
}

fn better(metric: &Metric) -> &'static str {
    use telemetry::metric::Better;
    match metric.key.map(|key| key.better) {
        Some(Better::Higher) => "↑",
        Some(Better::Lower) => "↓",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metric(values: impl IntoIterator<Item = (u64, f64)>) -> Metric {
        let mut metric = Metric {
            name: "loss".to_owned(),
            key: None,
            curve: Curve::default(),
        };
        values
            .into_iter()
            .for_each(|(step, value)| metric.curve.push(step, value));
        metric
    }

    fn draw(metric: &Metric) -> Drawing {
        let chart = Chart {
            metric,
            name: "loss",
            axis: Axis::Steps,
            last: 0,
            resumed_from: &[40],
            style: Style::Line,
            columns: 320,
        };
        chart.draw().unwrap()
    }

    /// The coordinates of a path.
    fn coordinates(path: &str) -> Vec<(f64, f64)> {
        let pairs = path.split(['M', 'L']).filter(|pair| !pair.is_empty());
        let number = |word: Option<&str>| word.unwrap().trim_end_matches("h0").parse().unwrap();
        let pair = |pair: &str| {
            let mut words = pair.trim_end_matches('Z').split(' ');
            (number(words.next()), number(words.next()))
        };
        pairs.map(pair).collect()
    }

    #[test]
    fn every_place_lies_inside_the_drawing() {
        let value = |step: u64| match step % 97 {
            0 => f64::NAN,
            1 => 1e9,
            n => (n as f64).sin(),
        };
        let mut metric = metric((1..5_000).map(|step| (step, value(step))));
        metric.curve.cut(40);
        metric.curve.push(41, -1e12);
        let drawing = draw(&metric);
        let paths = [
            &drawing.envelope,
            &drawing.mean,
            &drawing.smooth,
            &drawing.dots,
        ];
        let paths = paths.into_iter().chain(&drawing.tails);
        let places: Vec<(f64, f64)> = paths.flat_map(|path| coordinates(path)).collect();
        assert!(places.len() > 300);
        for (x, y) in places {
            assert!(
                (0.0..=WIDTH).contains(&x) && (0.0..=HEIGHT).contains(&y),
                "{x} {y}"
            );
        }
        let marks = [
            &drawing.x_ticks,
            &drawing.y_ticks,
            &drawing.broken,
            &drawing.resumes,
        ];
        assert!(
            marks
                .into_iter()
                .flatten()
                .all(|mark| (0.0..=100.0).contains(&mark.at))
        );
        assert_eq!((drawing.resumes.len(), drawing.tails.len()), (1, 1));
    }

    #[test]
    fn a_spike_of_one_step_in_a_million_stands_at_its_place_and_reaches_the_top() {
        let value = |step| {
            if step == 250_000 {
                9.0
            } else {
                1.0 + (step % 7) as f64 / 10.0
            }
        };
        let metric = metric((1..=1_000_000).map(|step| (step, value(step))));
        let drawing = draw(&metric);
        for path in [&drawing.mean, &drawing.envelope] {
            let top = coordinates(path)
                .into_iter()
                .min_by(|a, b| a.1.total_cmp(&b.1))
                .unwrap();
            assert!(
                (top.0 - 250.0).abs() < 5.0 && top.1 < 0.05 * HEIGHT,
                "{top:?}"
            );
        }
        assert!(drawing.points.len() < 20_000 && drawing.mean.len() < 10_000);
    }

    #[test]
    fn nan_interrupts_the_line_and_is_marked() {
        let drawing = draw(&metric([
            (1, 1.0),
            (2, 2.0),
            (3, f64::NAN),
            (4, 2.0),
            (5, 1.0),
        ]));
        assert_eq!(drawing.mean.matches('M').count(), 2);
        assert_eq!(drawing.broken[0].label, "step 3: not a number");
        assert!(drawing.points.contains("3,NaN"));
        let drawing = draw(&metric([(1, f64::NAN), (2, f64::INFINITY)]));
        assert_eq!((drawing.mean.as_str(), drawing.broken.len()), ("", 2));
        assert_eq!(drawing.summary, "no value is a number");
    }

    #[test]
    fn noise_is_smoothed_and_a_schedule_is_not() {
        let noise = |step: u64| (step * 7 % 5) as f64;
        let noisy = draw(&metric((1..100).map(|step| (step, noise(step)))));
        let path = coordinates(&noisy.smooth);
        let late = path.iter().filter(|(x, _)| *x > 300.0).map(|(_, y)| *y);
        assert!(
            late.fold(0.0, f64::max) < 0.65 * HEIGHT,
            "an average lies between the values"
        );
        let schedule = |step: u64| (step as f64 / 30.0).cos();
        assert_eq!(
            draw(&metric((1..100).map(|step| (step, schedule(step))))).smooth,
            ""
        );
    }

    #[test]
    fn a_value_between_two_that_are_none_is_a_dot() {
        let values = [(1, f64::NAN), (2, 1.0), (3, f64::NAN), (4, 2.0), (5, 2.0)];
        assert_eq!(coordinates(&draw(&metric(values)).dots).len(), 1);
        assert_eq!(coordinates(&draw(&metric([(7, 0.5)])).dots).len(), 1);
    }

    #[test]
    fn the_values_for_the_pointer_have_four_digits() {
        let values = [
            (1, 1234567.0),
            (2, 0.25),
            (3, 1.0 / 3.0),
            (4, 2e-9),
            (5, 0.0),
            (6, 99.999),
        ];
        let points = draw(&metric(values)).points;
        assert_eq!(points, "1,1.235e6;2,0.25;3,0.3333;4,2e-9;5,0;6,100");
    }
}
