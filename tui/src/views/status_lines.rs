//! The two lines at the top and the one at the bottom of every screen.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use telemetry::event::{AlertLevel, ControlStatus};

use crate::app::{App, RunView};
use crate::format;
use crate::keymap::{Action, Binding, KEYS, Screen};
use crate::store::Store;
use crate::store::journal::Level;
use crate::store::status::{Mood, QUIET_AFTER_MS, Status};
use crate::store::timeline::XAxis;
use crate::text::{clean, cut_start};
use crate::theme::Theme;
use crate::widgets::share_bar::progress;

/// Part of a line; where there is no room for all, those of the least weight are left out.
struct Segment {
    weight: u8,
    spans: Vec<Span<'static>>,
}

fn segment(weight: u8, text: impl Into<String>, style: Style) -> Segment {
    Segment {
        weight,
        spans: vec![Span::styled(text.into(), style)],
    }
}

/// Name, stage, state, progress, end; then what it is doing, how fast, and whether it is well.
pub fn header(app: &App, area: Rect, buffer: &mut Buffer) {
    let (store, now_ms) = (app.head(), app.shown().1);
    let width = usize::from(area.width).saturating_sub(2);
    let lines = [
        fit(first_line(app, store, now_ms, width), "  ", width),
        fit(second_line(app, store, now_ms), " │ ", width),
    ];
    for (row, line) in area.rows().zip(lines) {
        buffer.set_line(row.x + 1, row.y, &line, width as u16);
    }
}

fn first_line(app: &App, store: &Store, now_ms: u64, width: usize) -> Vec<Segment> {
    let theme = app.theme;
    let status = store.status(now_ms);
    let name = app
        .run()
        .map_or("no run yet".to_owned(), |run| run.name.clone());
    let mut line = vec![
        segment(6, cut_start(&name, width / 3), theme.title()),
        segment(20, clean(store.stage()), theme.hint()),
        segment(19, status.label(), mood(status.mood(), theme)),
    ];
    if let Some(from) = store.resumed_from.last() {
        line.push(segment(
            1,
            format!("↻ from {}", format::count(*from)),
            theme.hint(),
        ));
    }
    let total = store.total_steps();
    if let Some(step) = store.last_step {
        let of = total
            .map(|total| format!("/{}", format::count(total)))
            .unwrap_or_default();
        line.push(segment(
            21,
            format!("step {}{of}", format::count(step)),
            Style::new(),
        ));
        if let Some(total) = total {
            let share = step as f64 / total as f64;
            let columns = width / 8;
            line.push(segment(4, progress(share, columns), theme.hint()));
            line.push(segment(
                5,
                format!("{:.0}%", (share * 100.0).floor()),
                Style::new(),
            ));
        }
    }
    let is_known = app.is_frozen() || app.run().is_some_and(RunView::is_known);
    if let Some(tokens) = store.num_tokens().filter(|_| is_known) {
        line.push(segment(
            3,
            format!("{} tok", format::amount(tokens)),
            Style::new(),
        ));
    }
    let goes_on = matches!(status, Status::Running | Status::Quiet);
    if goes_on && let Some(eta_ms) = store.eta_ms() {
        line.push(segment(
            18,
            format!("ETA {}", format::span_ms(eta_ms)),
            theme.title(),
        ));
    }
    line
}

fn second_line(app: &App, store: &Store, now_ms: u64) -> Vec<Segment> {
    let theme = app.theme;
    let status = store.status(now_ms);
    let mut line = Vec::new();
    if let Some(trouble) = &app.trouble {
        line.push(segment(30, clean(trouble), theme.bad()));
    }
    if let Some(how) = &app.trainer_ended {
        line.push(segment(29, clean(how), theme.hint()));
    }
    let reading = app.run().and_then(|run| run.reading);
    if let Some(lines) = reading.filter(|lines| *lines > 0) {
        let read = app.shown().0.last_step.unwrap_or(0);
        let text = match store.last_step.filter(|last| *last > read) {
            Some(last) => format!("reading the log {:.0}%", read as f64 / last as f64 * 100.0),
            None => format!("reading the log: {} lines", format::count(lines)),
        };
        line.push(segment(22, text, theme.hint()));
    }
    let silence = store
        .last_event_ms
        .map_or(0, |last| now_ms.saturating_sub(last));
    if !status.is_over() && silence >= QUIET_AFTER_MS {
        let text = format!("last event {} ago", format::span_ms(silence));
        line.push(segment(25, text, theme.warn()));
    }
    if let Some((phase, since)) = store.pace.current_phase().filter(|_| status.is_lively()) {
        let time = format::span_ms(now_ms.saturating_sub(since));
        line.push(segment(7, format!("{phase} for {time}"), Style::new()));
    }
    line.push(holding(store, theme));
    for (number, (_, run)) in app.overlaid().enumerate() {
        line.push(segment(
            11,
            format!("● {}", cut_start(&run.name, 24)),
            theme.overlay(number),
        ));
    }
    for (name, before, after, weight) in [
        ("loss", "loss ", "", 24),
        ("tokens_per_second", "", " tok/s", 9),
        ("mfu", "MFU ", "", 8),
    ] {
        if let Some(metric) = store.steps.get(name)
            && let Some((_, value)) = metric.curve.latest()
        {
            let style = if value.is_finite() {
                Style::new()
            } else {
                theme.bad()
            };
            let value = format::value(value, metric.key);
            line.push(segment(weight, format!("{before}{value}{after}"), style));
        }
    }
    if let Some(ms) = store.pace.ms_per_step() {
        line.push(segment(
            6,
            format!("{}/step", format::seconds(ms / 1e3)),
            Style::new(),
        ));
    }
    let shares = store.pace.shares(store.last_event_ms.unwrap_or(now_ms));
    if shares.len() > 1 {
        let share = |(name, share): &(String, f64)| {
            let name = match name.as_str() {
                "forward_backward" => "update",
                name => name,
            };
            format!("{name} {:.0}%", share * 100.0)
        };
        let shares: Vec<String> = shares.iter().take(4).map(share).collect();
        line.push(segment(3, shares.join(" "), theme.dim()));
    }
    if let Some(run) = &store.run {
        let model = cut_start(&clean(&run.model), 28);
        let on = clean(&format!("{model} on {} {}", run.device, run.dtype));
        line.push(segment(2, on, theme.dim()));
    }
    line
}

/// Alerts that hold, by how bad they are; those that were ever raised are in the log.
fn holding(store: &Store, theme: Theme) -> Segment {
    let count = |level: AlertLevel| {
        let of_level = store.alerts.iter().filter(|alert| alert.level == level);
        of_level.count() as u64
    };
    let sign = |count: u64, glyph: &str, style: Style| {
        let style = if count > 0 { style } else { theme.dim() };
        Span::styled(format!("{glyph} {}", format::count(count)), style)
    };
    Segment {
        weight: 12,
        spans: vec![
            sign(count(AlertLevel::Alarm), "✖", theme.bad()),
            Span::raw(" "),
            sign(count(AlertLevel::Warning), "▲", theme.warn()),
        ],
    }
}

/// The screens, the keys that matter here, and what was just asked for.
pub fn footer(app: &App, area: Rect, buffer: &mut Buffer) {
    let width = usize::from(area.width).saturating_sub(2);
    let mut rows = area.rows();
    let mut put = |line: Line| {
        if let Some(row) = rows.next() {
            buffer.set_line(row.x + 1, row.y, &line, width as u16);
        }
    };
    if area.height > 1 {
        put(fit(
            tabs(app).into_iter().map(|(_, tab)| tab).collect(),
            "  ",
            width,
        ));
    }
    let said = filter_line(app, width).or_else(|| said(app));
    put(match said {
        Some(line) => line,
        None => fit(keys(app, area.height > 1), "  ", width),
    });
}

/// The screens by number.
fn tabs(app: &App) -> Vec<(Screen, Segment)> {
    let bindings = KEYS.iter().filter_map(|binding| match binding.action {
        Action::Show(screen) => Some((screen, binding)),
        _ => None,
    });
    let shown = bindings.filter(|(screen, _)| *screen != Screen::Runs || app.runs().len() > 1);
    let tab = |(screen, binding): (Screen, &Binding)| {
        let (weight, style) = match screen == app.screen {
            true => (2, app.theme.selected()),
            false => (1, Style::new()),
        };
        let spans = vec![
            Span::styled(format!("{} ", binding.label), app.theme.hint()),
            Span::styled(binding.short.unwrap_or_default(), style),
        ];
        (screen, Segment { weight, spans })
    };
    shown.map(tab).collect()
}

/// The screen whose name stands in that column of the footer.
pub fn screen_at(app: &App, area: Rect, column: u16) -> Option<Screen> {
    if area.height < 2 {
        return None;
    }
    let mut x = area.x + 1;
    for (screen, tab) in tabs(app) {
        let width = tab.spans.iter().map(Span::width).sum::<usize>() as u16;
        if (x..x + width).contains(&column) {
            return Some(screen);
        }
        x += width + 2;
    }
    None
}

fn filter_line(app: &App, width: usize) -> Option<Line<'static>> {
    let theme = app.theme;
    app.is_typing.then(|| {
        Line::from(vec![
            Span::styled("filter: ", theme.hint()),
            Span::raw(cut_start(&app.filter, width.saturating_sub(40))),
            Span::styled("▏", theme.hint()),
            Span::styled("   Enter keep  Esc clear", theme.dim()),
        ])
    })
}

/// What the user was just told: the state of a request, or a sentence.
fn said(app: &App) -> Option<Line<'static>> {
    const SHOWN_MS: u64 = 8_000;
    let theme = app.theme;
    let style = |level: Level| match level {
        Level::Note => theme.ok(),
        Level::Warning => theme.warn(),
        Level::Alert => theme.bad(),
    };
    let is_fresh = |since: u64| app.now_ms.saturating_sub(since) < SHOWN_MS;
    if let Some((level, text, since)) = &app.notice
        && is_fresh(*since)
    {
        return Some(Line::styled(
            format!("{} {text}", level.glyph()),
            style(*level),
        ));
    }
    let asked = app.run()?.latest_asked()?;
    let (action, ago) = (
        asked.action.name(),
        app.now_ms.saturating_sub(asked.time_ms),
    );
    let ago = format::span_ms(ago);
    let (level, text) = match asked.status {
        None => (
            Level::Note,
            format!("{action}: asked {ago} ago, taken between two steps"),
        ),
        Some(ControlStatus::Accepted) => (Level::Note, format!("{action}: accepted, {ago} ago")),
        Some(ControlStatus::Done) if is_fresh(asked.time_ms) => {
            (Level::Note, format!("{action}: done"))
        }
        Some(ControlStatus::Refused) if is_fresh(asked.time_ms) => {
            let reason = asked.reason.clone().unwrap_or_default();
            (Level::Warning, format!("{action}: refused: {reason}"))
        }
        _ => return None,
    };
    let glyph = if asked.status.is_none() {
        "◌"
    } else {
        level.glyph()
    };
    Some(Line::styled(format!("{glyph} {text}"), style(level)))
}

/// The keys of this screen; where the screens have no line of their own, also how to come to them.
fn keys(app: &App, has_tabs: bool) -> Vec<Segment> {
    let theme = app.theme;
    let mut line = Vec::new();
    if app.is_frozen() {
        line.push(segment(30, "frozen", theme.warn()));
    }
    if !app.filter.is_empty() {
        line.push(segment(29, format!("filter: {}", app.filter), theme.hint()));
    }
    if !has_tabs {
        line.push(segment(26, app.screen.name(), theme.selected()));
        let last = tabs(app).len();
        line.push(Segment {
            weight: 25,
            spans: vec![
                Span::styled(format!("1-{last} "), theme.hint()),
                Span::raw("screens"),
            ],
        });
    }
    for binding in KEYS.iter().filter(|binding| binding.is_on(app.screen)) {
        let Some(short) = binding.short else { continue };
        let (weight, style) = match binding.action {
            Action::Show(_) => continue,
            Action::Detach => (28, Style::new()),
            Action::Help => (27, Style::new()),
            Action::Freeze => (5, Style::new()),
            _ => (10, Style::new()),
        };
        let short = match binding.action {
            Action::Smoothing if app.charts.smoothing > 0.0 => {
                format!("{short} {}", app.charts.smoothing)
            }
            Action::XAxis => app.charts.x.name().to_owned(),
            _ => short.to_owned(),
        };
        let (weight, style) = match is_on(app, binding.action) {
            true => (25, theme.selected()),
            false => (weight, style),
        };
        let label = binding.label.split(" Ctrl").next().unwrap_or(binding.label);
        let spans = vec![
            Span::styled(format!("{label} "), theme.hint()),
            Span::styled(short, style),
        ];
        line.push(Segment { weight, spans });
    }
    line
}

/// Whether a switch is on.
fn is_on(app: &App, action: Action) -> bool {
    match action {
        Action::LogY => app.charts.log_y,
        Action::XAxis => app.charts.x != XAxis::Step,
        Action::Mouse => app.has_mouse,
        Action::Smoothing => app.charts.smoothing > 0.0,
        Action::ZoomIn => app.charts.zoom > 0,
        _ => false,
    }
}

/// Puts the segments in a line, without those of the least weight if there is no room.
fn fit(mut segments: Vec<Segment>, separator: &'static str, columns: usize) -> Line<'static> {
    let width = |segment: &Segment| segment.spans.iter().map(Span::width).sum::<usize>();
    let gap = Span::raw(separator).width();
    segments.retain(|segment| width(segment) > 0);
    while segments.len() > 1
        && segments.iter().map(width).sum::<usize>() + gap * (segments.len() - 1) > columns
    {
        let lightest = (0..segments.len()).min_by_key(|at| (segments[*at].weight, usize::MAX - at));
        segments.remove(lightest.unwrap_or(0));
    }
    let mut spans = Vec::new();
    for segment in segments {
        if !spans.is_empty() {
            spans.push(Span::styled(separator, Theme::PLAIN.dim()));
        }
        spans.extend(segment.spans);
    }
    Line::from(spans)
}

/// The colour of a mood.
pub fn mood(mood: Mood, theme: Theme) -> Style {
    match mood {
        Mood::Good => theme.ok(),
        Mood::Neutral => theme.hint(),
        Mood::Worrying => theme.warn(),
        Mood::Bad => theme.bad(),
    }
}
