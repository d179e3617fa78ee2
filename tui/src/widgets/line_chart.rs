//! Metrics along steps, tokens or time, in braille dots.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::Span;
use telemetry::metric::Better;

use super::braille::{Dots, symbol};
use super::panel::Panel;
use super::plot::{Plot, Scale, Window};
use crate::format;
use crate::store::curve::Bucket;
use crate::store::metrics::Metric;
use crate::store::timeline::{Timeline, XAxis};
use crate::text::{right, width};
use crate::theme::Theme;

/// How all charts are drawn.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct ChartOptions {
    /// What they lie along.
    pub x: XAxis,
    /// A logarithmic value axis, for curves that are positive everywhere.
    pub log_y: bool,
    /// Weight of the past in the smoothed curve; with 0 there is none.
    pub smoothing: f64,
    /// Each one halves what is shown, up to the last.
    pub zoom: u32,
}

/// Values from which on a curve is smoothed.
const MIN_TO_SMOOTH: usize = 12;

/// One curve of a chart.
#[derive(Debug, Clone, Copy)]
pub struct Series<'a> {
    /// What is drawn.
    pub metric: &'a Metric,
    /// Where its steps lie; without one they are seconds.
    pub timeline: Option<&'a Timeline>,
    /// Its colour.
    pub style: Style,
}

impl Series<'_> {
    /// Where a step lies.
    pub fn x(&self, axis: XAxis, step: u64) -> f64 {
        match self.timeline {
            Some(timeline) => timeline.x(axis, step),
            None => step as f64 * 1e3,
        }
    }

    /// Where the ends of some buckets lie.
    fn xs(&self, axis: XAxis, buckets: &[Bucket]) -> Vec<f64> {
        let steps = buckets.iter().map(|bucket| bucket.last);
        match self.timeline {
            Some(timeline) => timeline.xs(axis, steps),
            None => steps.map(|step| step as f64 * 1e3).collect(),
        }
    }

    /// The values in the window, one before them included.
    fn buckets(&self, window: &Window) -> &[Bucket] {
        let first = match self.timeline {
            Some(timeline) => timeline.step_at(window.axis, window.first),
            None => (window.first / 1e3) as u64,
        };
        self.metric.curve.since(first)
    }
}

/// One chart in its box.
#[derive(Debug, Clone)]
pub struct LineChart<'a> {
    /// What is drawn; the first is the one with a value in the title, raw points and abandoned tails.
    pub series: Vec<Series<'a>>,
    /// How.
    pub options: ChartOptions,
    /// Where.
    pub window: Window,
    /// Steps from which the run was resumed.
    pub resumed_from: &'a [u64],
    /// The colours.
    pub theme: Theme,
    /// The border's style.
    pub border: Style,
}

impl LineChart<'_> {
    /// Draws it.
    pub fn draw(&self, area: Rect, buffer: &mut Buffer) {
        let Some(main) = self.series.first() else {
            return;
        };
        let window = &self.window;
        let inside = Panel::new(&main.metric.name)
            .value(value_and_trend(main.metric, self.theme))
            .below(window.label(window.first), window.label(window.last))
            .border(self.border)
            .draw(area, buffer);
        if inside.width < 4 || inside.height == 0 {
            return;
        }
        let scale = self
            .summary()
            .and_then(|all| Scale::of(&all, self.options.log_y));
        let Some(scale) = scale else {
            return self.mark_broken(main, inside, buffer);
        };
        let key = main.metric.key;
        let labels = [
            format::value(scale.top(), key),
            format::value(scale.bottom(), key),
        ];
        let gutter = labels.iter().map(|label| width(label)).max().unwrap_or(0) as u16 + 1;
        let area = match inside.width >= 14 + gutter && inside.height >= 2 {
            true => Rect {
                x: inside.x + gutter,
                width: inside.width - gutter,
                ..inside
            },
            false => inside,
        };
        if area != inside {
            let label = |text: &str| right(text, usize::from(gutter) - 1);
            let dim = self.theme.dim();
            buffer.set_string(inside.x, inside.y, label(&labels[0]), dim);
            buffer.set_string(inside.x, inside.bottom() - 1, label(&labels[1]), dim);
        }
        let plot = Plot {
            scale,
            window: *window,
            area,
        };
        self.draw_layers(&self.layers(main, &plot), area, buffer);
        self.mark_broken(main, area, buffer);
        self.mark_resumes(main, area, buffer);
    }

    /// All values of all curves in the window.
    fn summary(&self) -> Option<Bucket> {
        let in_window = |series: &Series| {
            let (first, rest) = series.buckets(&self.window).split_first()?;
            let mut all = *first;
            rest.iter().for_each(|bucket| all.merge(bucket));
            Some(all)
        };
        self.series.iter().filter_map(in_window).reduce(|mut a, b| {
            a.merge(&b);
            a
        })
    }

    /// What is drawn, the later the more important.
    fn layers(&self, main: &Series, plot: &Plot) -> Vec<(Dots, Style)> {
        let axis = self.window.axis;
        let mut layers = Vec::new();
        for other in &self.series[1..] {
            let buckets = other.buckets(&self.window);
            let xs = other.xs(axis, buckets);
            let curve = match self.options.smoothing > 0.0 && buckets.len() >= MIN_TO_SMOOTH {
                true => plot.smoothed(buckets, &xs, self.options.smoothing),
                false => plot.raw(buckets, &xs).0,
            };
            layers.push((curve, other.style));
        }
        let buckets = main.buckets(&self.window);
        // Of a few points there is nothing to smooth.
        let smooth = self.options.smoothing > 0.0 && buckets.len() >= MIN_TO_SMOOTH;
        // By tokens and time the abandoned steps do not count, and have no place.
        let tails = main.metric.curve.abandoned().iter();
        for tail in tails.filter(|_| axis == XAxis::Step) {
            let xs = main.xs(axis, tail);
            layers.push((plot.raw(tail, &xs).0, self.theme.dim()));
        }
        let xs = main.xs(axis, buckets);
        let (means, envelope) = plot.raw(buckets, &xs);
        layers.push((envelope, self.theme.dim()));
        layers.push((means, if smooth { self.theme.dim() } else { main.style }));
        if smooth {
            let curve = plot.smoothed(buckets, &xs, self.options.smoothing);
            layers.push((curve, main.style));
        }
        layers
    }

    fn draw_layers(&self, layers: &[(Dots, Style)], area: Rect, buffer: &mut Buffer) {
        for (column, x) in area.columns().enumerate() {
            for (row, y) in area.rows().enumerate() {
                let dots = layers.iter().map(|(dots, _)| dots.cell(column, row));
                let all = dots.fold(0, |all, dots| all | dots);
                let top = layers
                    .iter()
                    .rev()
                    .find(|(dots, _)| dots.cell(column, row) != 0);
                if let Some((_, style)) = top {
                    buffer[(x.x, y.y)].set_char(symbol(all)).set_style(*style);
                }
            }
        }
    }

    /// A `✖` at the top of each column with a value that is no number.
    fn mark_broken(&self, main: &Series, area: Rect, buffer: &mut Buffer) {
        let buckets = main.buckets(&self.window).iter();
        for bucket in buckets.filter(|bucket| bucket.num_broken > 0) {
            let x = main.x(self.window.axis, bucket.last);
            let at = self.window.column(x, usize::from(area.width)) as u16;
            buffer[(area.x + at, area.y)]
                .set_symbol("✖")
                .set_style(self.theme.bad());
        }
    }

    /// A `↻` in the lower border where the run was resumed.
    fn mark_resumes(&self, main: &Series, area: Rect, buffer: &mut Buffer) {
        for step in self.resumed_from {
            let x = main.x(self.window.axis, *step);
            if !(self.window.first..=self.window.last).contains(&x) {
                continue;
            }
            let at = area.x + self.window.column(x, usize::from(area.width)) as u16;
            // The numbers at the border's ends are worth more than the mark.
            if buffer[(at, area.bottom())].symbol() == "─" {
                buffer[(at, area.bottom())]
                    .set_symbol("↻")
                    .set_style(self.theme.hint());
            }
        }
    }
}

/// The latest raw value and `↑`, `↓` or `=`, in the colour of what that means for the metric.
pub fn value_and_trend(metric: &Metric, theme: Theme) -> Vec<Span<'static>> {
    let Some((_, latest)) = metric.curve.latest() else {
        return Vec::new();
    };
    let style = if latest.is_finite() {
        theme.title()
    } else {
        theme.bad()
    };
    let mut spans = vec![Span::styled(format::value(latest, metric.key), style)];
    if let Some((glyph, style)) = trend(metric, theme).filter(|_| latest.is_finite()) {
        spans.push(Span::styled(format!(" {glyph}"), style));
    }
    spans
}

/// Where the metric goes, and how that is.
pub fn trend(metric: &Metric, theme: Theme) -> Option<(&'static str, Style)> {
    let better = metric.key.map_or(Better::Neutral, |key| key.better);
    let trend = metric.curve.trend()?;
    let style = |good: Better| match better {
        Better::Neutral => Style::new(),
        better if better == good => theme.ok(),
        _ => theme.warn(),
    };
    Some(match trend {
        t if t > 2.0 => ("↑", style(Better::Higher)),
        t if t < -2.0 => ("↓", style(Better::Lower)),
        _ => ("=", theme.dim()),
    })
}
