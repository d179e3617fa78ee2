//! The newest group on the overview: its question, its best and its worst answer.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use telemetry::SampleEntry;

use super::answer::{self, Shown};
use super::question;
use crate::app::App;
use crate::browser::{Difference, Group};
use crate::format;
use crate::text::{Extent, clean};
use crate::widgets::panel::Panel;

/// Draws it.
pub fn draw(
    app: &App,
    entry: &SampleEntry,
    text: &Result<Group, String>,
    area: Rect,
    buffer: &mut Buffer,
) {
    let step = format::count(entry.step);
    let title = format!(
        "latest sample: {step}/{} {}",
        entry.group,
        clean(&entry.task)
    );
    let inside = Panel::new(title.trim_end()).draw(area, buffer);
    let columns = usize::from(inside.width).saturating_sub(2);
    let group = match text {
        Ok(group) => group,
        Err(problem) => {
            let style = app.theme.bad();
            buffer.set_stringn(inside.x + 1, inside.y, clean(problem), columns, style);
            return;
        }
    };
    let room = usize::from(inside.height);
    let each = (room / 5).max(1);
    let mut lines = question::short(group, columns, each, app.theme);
    let part_columns = answer::part_columns(group);
    let ranked = group.ranked();
    let worst = ranked.last().filter(|_| ranked.len() > 1);
    for (name, at) in [("best", ranked.first()), ("worst", worst)] {
        let Some(at) = at.copied() else { continue };
        if room >= 8 {
            let shown = Shown {
                selected: false,
                extent: Extent::Lines(each),
                difference: Difference::Off,
                columns,
                part_columns: &part_columns,
                theme: app.theme,
            };
            lines.extend(answer::lines(group, at, shown));
        } else {
            let found = &group.answers[at];
            let label = format!("{name} {}", answer::reward(found.reward, app.theme).0);
            lines.extend(question::labelled(
                &label,
                &found.text,
                columns,
                each,
                app.theme,
            ));
        }
    }
    for (row, line) in inside.rows().zip(lines) {
        buffer.set_line(row.x + 1, row.y, &line, columns as u16);
    }
}
