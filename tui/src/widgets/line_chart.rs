//! A metric over the steps, in braille dots.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::Span;
use telemetry::metric::Better;

use super::braille::symbol;
use super::panel::Panel;
use super::plot::{Plot, Scale, column};
use crate::format;
use crate::store::curve::Curve;
use crate::store::metrics::Metric;
use crate::text::{right, width};
use crate::theme::Theme;

/// How all charts are drawn.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct ChartOptions {
    /// A logarithmic value axis, for curves that are positive everywhere.
    pub log_y: bool,
    /// Weight of the past in the smoothed curve; with 0 there is none.
    pub smoothing: f64,
    /// Each one halves the steps that are shown, up to the last.
    pub zoom: u32,
}

impl ChartOptions {
    /// The steps shown, where the run has come to `last`.
    pub fn steps(&self, last: u64) -> (u64, u64) {
        match self.zoom {
            0 => (0, last),
            zoom => (last - (last >> zoom.min(63)), last),
        }
    }
}

/// One chart in its box.
#[derive(Debug, Clone)]
pub struct LineChart<'a> {
    /// What is drawn.
    pub metric: &'a Metric,
    /// How.
    pub options: ChartOptions,
    /// The last step of the run, at the right edge.
    pub last_step: u64,
    /// Steps from which the run was resumed.
    pub resumed_from: &'a [u64],
    /// The colours.
    pub theme: Theme,
    /// The curve's own.
    pub style: Style,
    /// The border's.
    pub border: Style,
}

impl LineChart<'_> {
    /// Draws it.
    pub fn draw(&self, area: Rect, buffer: &mut Buffer) {
        let (first, last) = self.options.steps(self.last_step);
        let last = last.max(first + 1);
        let inside = Panel::new(&self.metric.name)
            .value(value_and_trend(self.metric, self.theme))
            .below(format::count(first), format::count(last))
            .border(self.border)
            .draw(area, buffer);
        if inside.width < 4 || inside.height == 0 {
            return;
        }
        let curve = &self.metric.curve;
        let scale = Scale::of(curve, first, self.options.log_y);
        let Some(scale) = scale else {
            self.mark_broken(curve, first, last, inside, buffer);
            return;
        };
        let key = self.metric.key;
        let labels = [
            format::value(scale.top(), key),
            format::value(scale.bottom(), key),
        ];
        let gutter = labels.iter().map(|label| width(label)).max().unwrap_or(0) as u16 + 1;
        let plot = match inside.width >= 14 + gutter && inside.height >= 2 {
            true => Rect {
                x: inside.x + gutter,
                width: inside.width - gutter,
                ..inside
            },
            false => inside,
        };
        if plot != inside {
            let label = |text: &str| right(text, usize::from(gutter) - 1);
            let dim = self.theme.dim();
            buffer.set_string(inside.x, inside.y, label(&labels[0]), dim);
            buffer.set_string(inside.x, inside.bottom() - 1, label(&labels[1]), dim);
        }
        self.curves(
            curve,
            &Plot {
                scale,
                first,
                last,
                area: plot,
            },
            buffer,
        );
        self.mark_broken(curve, first, last, plot, buffer);
        self.mark_resumes(first, last, plot, buffer);
    }

    fn curves(&self, curve: &Curve, plot: &Plot, buffer: &mut Buffer) {
        let smooth = self.options.smoothing > 0.0;
        let raw_style = if smooth { self.theme.dim() } else { self.style };
        let mut layers = Vec::new();
        for tail in curve.abandoned() {
            layers.push((plot.raw(tail).0, self.theme.dim()));
        }
        let (means, envelope) = plot.raw(curve.live());
        layers.push((envelope, self.theme.dim()));
        layers.push((means, raw_style));
        if smooth {
            layers.push((
                plot.smoothed(curve.live(), self.options.smoothing),
                self.style,
            ));
        }
        for (column, x) in plot.area.columns().enumerate() {
            for (row, y) in plot.area.rows().enumerate() {
                let dots = layers.iter().map(|(dots, _)| dots.cell(column, row));
                let all = dots.fold(0, |all, dots| all | dots);
                // The later layers are the more important ones.
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
    fn mark_broken(&self, curve: &Curve, first: u64, last: u64, area: Rect, buffer: &mut Buffer) {
        for bucket in curve
            .live()
            .iter()
            .filter(|b| b.num_broken > 0 && b.last >= first)
        {
            let at = column(bucket.last, first, last, usize::from(area.width)) as u16;
            buffer[(area.x + at, area.y)]
                .set_symbol("✖")
                .set_style(self.theme.bad());
        }
    }

    /// A `↻` in the lower border where the run was resumed.
    fn mark_resumes(&self, first: u64, last: u64, area: Rect, buffer: &mut Buffer) {
        for step in self
            .resumed_from
            .iter()
            .filter(|step| (first..=last).contains(step))
        {
            let at = area.x + column(*step, first, last, usize::from(area.width)) as u16;
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
