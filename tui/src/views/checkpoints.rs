//! What is saved, why it is kept, and how to use it.

use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::Style;
use ratatui::text::Span;
use serde_json::Value;
use telemetry::MetricKey;

use super::notice;
use crate::app::App;
use crate::format;
use crate::keymap::Screen;
use crate::store::Saved;
use crate::text::{clean, cut_start, shell_word, wrap};
use crate::widgets::panel::Panel;
use crate::widgets::table::{Column, Table};

/// The newest first.
fn listed(app: &App) -> Vec<&Saved> {
    app.shown().0.checkpoints.iter().rev().collect()
}

/// Checkpoints listed.
pub fn num_rows(app: &App) -> usize {
    listed(app).len()
}

/// Draws it.
pub fn draw(app: &App, area: Rect, buffer: &mut Buffer) {
    let saved = listed(app);
    let (_, now_ms) = app.shown();
    if saved.is_empty() {
        let text =
            "no checkpoint yet: they come every `save_steps` and at the end; C asks for one now";
        return notice(app, "checkpoints", text, area, buffer);
    }
    let selected = app.selected(Screen::Checkpoints).min(saved.len() - 1);
    let commands = commands(app, saved[selected]);
    let columns = usize::from(area.width).saturating_sub(4);
    let texts = commands.iter().flat_map(|(what, command)| {
        let mut lines = vec![(what.clone(), app.theme.dim())];
        lines.extend(
            wrap(command, columns - 2, 3)
                .into_iter()
                .map(|l| (format!("  {l}"), Style::new())),
        );
        lines
    });
    let texts: Vec<(String, Style)> = texts.collect();
    let below = (texts.len() as u16 + 2).min(area.height / 2);
    let [top, bottom] =
        Layout::vertical([Constraint::Fill(1), Constraint::Length(below)]).areas(area);
    let on_disk = saved.iter().filter(|saved| !saved.is_removed);
    let bytes: u64 = on_disk.clone().map(|saved| saved.checkpoint.bytes).sum();
    let total = format!(
        "{} on disk, {}",
        on_disk.count(),
        format::bytes(bytes as f64)
    );
    let inside = Panel::new("checkpoints")
        .value(vec![Span::raw(total)])
        .draw(top, buffer);
    let rows = saved.iter().map(|saved| row(app, saved, now_ms)).collect();
    Table {
        columns: vec![
            Column::right("step"),
            Column::left("", 9),
            Column::right("size"),
            Column::right("age"),
            Column::right("took"),
            Column::left("kept as", 24),
            Column::left("metric", 36),
            Column::left("folder", 80),
        ],
        rows,
        selected: Some(selected),
        theme: app.theme,
    }
    .draw(inside, buffer);
    let title = format!(
        "checkpoint {}",
        format::count(saved[selected].checkpoint.step)
    );
    let inside = Panel::new(title).draw(bottom, buffer);
    for (row, (line, style)) in inside.rows().zip(texts) {
        buffer.set_stringn(row.x + 1, row.y, line, columns, style);
    }
}

fn row(app: &App, saved: &Saved, now_ms: u64) -> Vec<Span<'static>> {
    let theme = app.theme;
    let checkpoint = &saved.checkpoint;
    let style = if saved.is_removed {
        theme.dim()
    } else {
        Style::new()
    };
    let state = match saved.is_removed {
        true => Span::styled("removed", theme.dim()),
        false => Span::styled("✔ on disk", theme.ok()),
    };
    vec![
        Span::styled(format::count(checkpoint.step), style),
        state,
        Span::styled(format::bytes(checkpoint.bytes as f64), style),
        Span::styled(format::age(now_ms.saturating_sub(saved.time_ms)), style),
        Span::styled(format::seconds(checkpoint.seconds.0), theme.dim()),
        Span::styled(app.shown().0.kept(saved).join(", "), theme.hint()),
        Span::styled(metric(saved), style),
        Span::styled(cut_start(&clean(&checkpoint.path), 80), theme.dim()),
    ]
}

/// The metric that chooses the best one, where this was the best when it was saved.
fn metric(saved: &Saved) -> String {
    let fields = &saved.checkpoint.fields;
    let is_best = fields.scalar("best_global_step") == Some(saved.checkpoint.step as f64);
    let name = fields.get("metric_for_best_model").and_then(Value::as_str);
    match (name, fields.scalar("best_metric")) {
        (Some(name), Some(value)) if is_best => {
            let shown = format::value(value, MetricKey::lookup(name));
            format!("{} {shown}", clean(name))
        }
        _ => String::new(),
    }
}

/// What one does with it, and the command for that.
fn commands(app: &App, saved: &Saved) -> Vec<(String, String)> {
    let path = clean(&saved.checkpoint.path);
    if saved.is_removed {
        let why = "it is not there any more: removed for later ones (`save_total_limit`), or renamed to \
                   abandoned-… when the run went back";
        return vec![(why.to_owned(), path)];
    }
    let folder = app.run().map_or("", |run| &run.path);
    let checkpoint = format!("{folder}/checkpoint-{}", saved.checkpoint.step);
    let checkpoint = shell_word(&checkpoint);
    let mut commands = Vec::new();
    if let Some(run) = &app.shown().0.run {
        let recipe = shell_word(&format!("{folder}/recipe.toml"));
        let (model, folder) = (shell_word(&run.model), shell_word(folder));
        let again = format!(
            "trainer --stage {} --recipe {recipe} --model {model} --output {folder} --resume {checkpoint}",
            shell_word(&run.stage)
        );
        let what = "go on from it (checksums are verified; later checkpoints are set aside)";
        commands.push((what.to_owned(), again));
    }
    let uses = [
        (
            "try it",
            format!("trainer generate --model {checkpoint} --prompt 'Hello'"),
        ),
        (
            "measure it",
            format!("trainer evaluate --model {checkpoint}"),
        ),
    ];
    commands.extend(uses.map(|(what, command)| (what.to_owned(), command)));
    commands
}

/// The command that goes on from the selected checkpoint.
pub fn copied(app: &App) -> Option<String> {
    let saved = listed(app);
    let selected = saved.get(app.selected(Screen::Checkpoints))?;
    if selected.is_removed {
        return None;
    }
    Some(commands(app, selected).first()?.1.clone())
}
