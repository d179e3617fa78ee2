//! What the page says of a run, in words and drawings, ready to be laid out.

mod charts;
mod data;
mod evaluations;
mod head;
mod samples;
mod spending;
mod words;

use serde::Serialize;

use super::record::RunRecord;

/// A run on the page.
#[derive(Debug, Serialize)]
pub struct Section {
    /// Unique on the page.
    id: String,
    head: head::Head,
    tiles: Vec<head::Tile>,
    notices: head::Notices,
    charts: charts::Charts,
    evaluations: Vec<evaluations::Suite>,
    answers: Option<samples::Answers>,
    groups: samples::Groups,
    data: data::Data,
    spending: spending::Spending,
    recipe: Option<Vec<RecipeLine>>,
    command: Option<String>,
    log: Vec<head::Entry>,
}

/// A line of the recipe's file.
#[derive(Debug, Serialize)]
struct RecipeLine {
    text: String,
    is_comment: bool,
}

impl Section {
    /// What is told of a run. `number` tells it from the others.
    pub fn new(record: &RunRecord, number: usize) -> Self {
        let recipe = record.recipe.as_ref().filter(|recipe| !recipe.is_empty());
        let line = |text: &str| RecipeLine {
            text: words::visible(text),
            is_comment: text.trim_start().starts_with('#'),
        };
        let manifest = record.manifest.as_ref();
        Self {
            id: format!("run-{number}"),
            head: head::Head::new(record),
            tiles: head::tiles(record),
            notices: head::Notices::new(record),
            charts: charts::Charts::new(record),
            evaluations: evaluations::suites(record),
            answers: samples::Answers::new(record),
            groups: samples::Groups::new(record),
            data: data::Data::new(record),
            spending: spending::Spending::new(record),
            recipe: recipe.map(|recipe| recipe.lines().map(line).collect()),
            command: manifest.map(|manifest| words::command(&manifest.argv)),
            log: head::log(record),
        }
    }
}
