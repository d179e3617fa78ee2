//! What the model wrote, and what each part of the reward thinks of it: the groups at the left, and of the one selected
//! the question, every completion and how they differ.

mod answer;
mod document;
mod latest;
mod list;
mod page;
mod question;
mod runs_of_text;
mod table;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::Span;

use super::notice;
use crate::app::App;
use crate::browser::{Browser, Current, Difference, Group, Sort};
use crate::format;
use crate::text::{clean, width};
use crate::widgets::panel::Panel;
use page::Page;

pub use latest::draw as latest;
pub use page::{Scroll, scrolled};

/// Draws it.
pub fn draw(app: &App, area: Rect, buffer: &mut Buffer) {
    let areas = page::areas(area);
    let Some(browser) = app.run().map(|run| &run.browser) else {
        return notice(app, "samples", &why_none(app), area, buffer);
    };
    if browser.num_groups() == 0 {
        return notice(app, "samples", &why_none(app), area, buffer);
    }
    list::draw(app, browser, areas.list, buffer);
    let problem = match browser.current() {
        Current::Group(group) => return draw_group(app, browser, group, areas, buffer),
        Current::None => "no group has these words; Esc shows all".to_owned(),
        Current::Reading => "reading …".to_owned(),
        Current::Failed(problem) => clean(problem),
    };
    notice(app, "samples", &problem, areas.detail(), buffer);
}

fn draw_group(
    app: &App,
    browser: &Browser,
    group: &Group,
    areas: page::Areas,
    buffer: &mut Buffer,
) {
    let page = Page::new(app, browser, group, areas);
    // A border, a space and a rule at each end of both.
    let room = usize::from(areas.text.width).saturating_sub(10);
    let [marks, sort] = legend(browser, group);
    let lines = match page.position() {
        Some((first, last, of)) => format!("lines {first}–{last} of {of}"),
        None => String::new(),
    };
    let hint = if lines.is_empty() { "" } else { "  PgUp PgDn" };
    let fits = |left: &str, right: &str| width(left) + width(right) <= room;
    let legend = match fits(&lines, &format!("{sort}{marks}")) {
        true => format!("{sort}{marks}"),
        false => marks,
    };
    let below = match fits(&format!("{lines}{hint}"), &legend) {
        true => format!("{lines}{hint}"),
        false => lines,
    };
    let place = format!("{} of {}", browser.position() + 1, browser.num_listed());
    let inside = Panel::new(title(browser, group))
        .value(vec![Span::raw(place)])
        .below(below, legend)
        .draw(areas.text, buffer);
    let columns = inside.width.saturating_sub(2);
    for (row, line) in inside.rows().zip(page.lines()) {
        buffer.set_line(row.x + 1, row.y, line, columns);
    }
    if let Some([top, bottom]) = page.side {
        let inside = Panel::new("question").draw(top, buffer);
        for (row, line) in inside.rows().zip(&page.side_lines) {
            buffer.set_line(row.x + 1, row.y, line, inside.width.saturating_sub(2));
        }
        table::draw(app, browser, group, bottom, buffer);
    }
}

/// What would make samples appear.
fn why_none(app: &App) -> String {
    let (store, _) = app.shown();
    match store.stage() {
        "rl" => "no samples yet: with each step the rl stage writes its groups to samples.jsonl"
            .to_owned(),
        "cpt" | "sft" | "po" => format!(
            "no samples: the {} stage trains on texts that are given. With `eval_data` and `eval_generate` = N in its recipe \
             each evaluation answers N held-out records, and the answers are shown here",
            store.stage()
        ),
        _ => "no samples yet".to_owned(),
    }
}

fn title(browser: &Browser, group: &Group) -> String {
    let task = match group.task.is_empty() {
        true => String::new(),
        false => format!("  {}", clean(&group.task)),
    };
    let step = format::count(group.step);
    if let Some(name) = browser.evaluation() {
        return format!("{} at step {step}{task}", clean(name));
    }
    let mut title = format!("group {step}/{}{task}", group.number);
    if group.is_alike() && group.answers.len() > 1 {
        title += "  = all alike";
    }
    let count = |name: &str| group.fields.get(name)?.as_u64().map(format::count);
    if let Some(of) = count("num_generations") {
        title += &format!("  {} of {of} kept", group.answers.len());
    }
    if let Some(policy) = count("policy_step") {
        title += &format!("  policy {policy}");
    }
    title
}

/// What the marks mean, and how completions are listed where that is not by number.
fn legend(browser: &Browser, group: &Group) -> [String; 2] {
    if browser.shows_prompt {
        return ["t completions".to_owned(), String::new()];
    }
    let marks = match (browser.difference, &group.reference) {
        (Difference::Off, _) => "",
        (Difference::Reference, None) => "no reference to compare with",
        (Difference::Reference, Some(_)) => "‹−reference +answer›",
        (Difference::Best, _) => "‹−best +answer›",
    };
    let sort = match browser.sort() {
        Sort::Number => "",
        Sort::Reward if marks.is_empty() => "by reward",
        Sort::Reward => "by reward  ",
    };
    [marks.to_owned(), sort.to_owned()]
}

/// The group that is looked at, as text.
pub fn export(app: &App) -> Option<String> {
    match app.run()?.browser.current() {
        Current::Group(group) => Some(group.to_text()),
        _ => None,
    }
}

/// What the file with that text is called, so that each group has its own.
pub fn export_name(app: &App) -> Option<String> {
    match app.run()?.browser.current() {
        Current::Group(group) => Some(format!("samples-{}-{}", group.step, group.number)),
        _ => None,
    }
}

/// The completion that is looked at, or the prompt where that is shown.
pub fn copied(app: &App) -> Option<String> {
    let browser = &app.run()?.browser;
    match browser.current() {
        Current::Group(group) if browser.shows_prompt => Some(group.prompt.clone()),
        _ => Some(browser.answer()?.text.clone()),
    }
}
