//! A metric as a drawing with its axes and marks.
//!
//! The drawing is stretched over whatever room the page has, so its lines have widths that do not scale,
//! and everything with a shape of its own, text and marks, is laid over it by the page.

use serde::Serialize;

use super::paths::{Canvas, Column, WIDTH};
use super::scale::{Scale, labels};
use crate::format;
use crate::store::curve::Bucket;
use crate::store::metrics::Metric;

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
            x_ticks: self.x_ticks(&x, [first, last]),
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

    fn x_ticks(&self, x: &Scale, [first, last]: [u64; 2]) -> Vec<Mark> {
        // Round hours where there are hours.
        let unit = match (self.axis, last - first) {
            (Axis::Steps, _) | (_, 0..150) => 1,
            (_, 150..9_000) => 60,
            (_, 9_000..216_000) => 3_600,
            _ => 86_400,
        };
        let counted = Scale::counting(first as f64 / unit as f64, last as f64 / unit as f64);
        let ticks = counted.ticks(4).into_iter().map(|tick| tick.value);
        let whole = ticks.filter(|value| *value >= 0.0 && value.fract() == 0.0);
        let place = whole.map(|value| value as u64 * unit);
        let label = |value: u64| match self.axis {
            Axis::Steps => format::count(value),
            Axis::Seconds if unit == 1 => format::span_ms(value * 1000),
            Axis::Seconds => format::age(value * 1000),
        };
        place
            .map(|value| mark(x.place(value as f64), label(value)))
            .collect()
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
    let mut marks: Vec<Mark> = marks
        .map(|(tick, label)| mark(1.0 - tick.at, label))
        .collect();
    // Values that are written alike are one.
    marks.dedup_by(|later, kept| later.label == kept.label);
    marks
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
    use super::super::paths::HEIGHT;
    use super::*;
    use crate::store::curve::Curve;

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
    fn time_is_counted_in_round_units() {
        let metric = metric((0..=1_836).step_by(10).map(|second| (second, 1.0)));
        let chart = Chart {
            metric: &metric,
            name: "cpu_percent",
            axis: Axis::Seconds,
            last: 0,
            resumed_from: &[],
            style: Style::Line,
            columns: 160,
        };
        let ticks = chart.draw().unwrap().x_ticks;
        let labels: Vec<&str> = ticks.iter().map(|tick| &*tick.label).collect();
        assert_eq!(labels, ["0 s", "10 min", "20 min", "30 min"]);
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
