//! The report as a few lines for a pull request.

use super::Report;
use super::numbers::numbers;
use super::record::RunRecord;
use crate::format;
use crate::text::clean;

/// Alerts that are quoted.
const MAX_ALERTS: usize = 5;

impl Report {
    /// The report as Markdown: a heading, a line and a table for each stage.
    pub fn markdown(&self) -> String {
        let runs = self.runs.iter().map(run);
        runs.collect::<Vec<_>>().join("\n")
    }
}

fn run(record: &RunRecord) -> String {
    let store = &record.store;
    let mut text = format!("### {}: {}", plain(&record.name), record.status().label());
    if let Some(step) = store.last_step {
        let of = store.total_steps().map_or(String::new(), |total| {
            format!(" of {}", format::count(total))
        });
        text.push_str(&format!(", step {}{of}", format::count(step)));
    }
    text.push_str("\n\n");
    text.push_str(&facts(record));
    let numbers = numbers(record);
    if numbers.is_empty() {
        text.push_str("\nNo metric was logged.\n");
    } else {
        text.push_str("\n| metric | first | last | change |\n|:--|--:|--:|--:|\n");
    }
    for number in numbers {
        let (step, last) = number.last;
        let first = number.first.map_or("–".to_owned(), |first| {
            format!("{} at {}", number.show(first.value), first.shown_steps())
        });
        let change = number
            .shown_change()
            .map_or("–".to_owned(), |(change, verdict)| {
                format!("{change} {}", verdict.glyph())
            });
        text.push_str(&format!(
            "| {} | {first} | {} at step {} | {} |\n",
            plain(&number.name),
            number.show(last),
            format::count(step),
            change.trim_end()
        ));
    }
    text.push_str(&alerts(record));
    text
}

/// What it is, on a line.
fn facts(record: &RunRecord) -> String {
    let (store, manifest) = (&record.store, record.manifest.as_ref());
    let mut facts = Vec::new();
    if !record.stage().is_empty() {
        facts.push(plain(record.stage()));
    }
    if let Some(run) = &store.run {
        let parameters = format::amount(run.parameters as f64);
        facts.push(format!("{} ({parameters} parameters)", plain(&run.model)));
        facts.push(format!("{} in {}", plain(&run.device), plain(&run.dtype)));
    }
    if let Some(tokens) = store.num_tokens() {
        facts.push(format!("{} tokens", format::amount(tokens)));
    }
    if record.history.num_processes() > 0 {
        facts.push(format::span_ms(record.history.total_ms()));
    }
    if let Some(manifest) = manifest {
        let commit = manifest
            .git_commit
            .as_ref()
            .map(|commit| format!(" at {}", plain(commit)));
        facts.push(format!(
            "Keep {}{}",
            plain(&manifest.program_version),
            commit.unwrap_or_default()
        ));
    }
    if facts.is_empty() {
        String::new()
    } else {
        format!("{}\n", facts.join(" · "))
    }
}

fn alerts(record: &RunRecord) -> String {
    let store = &record.store;
    let (alerts, warnings) = (store.journal.num_alerts(), store.journal.num_warnings());
    let mut text = String::new();
    if alerts + warnings > 0 {
        text.push_str(&format!(
            "\n✖ {} alerts, ▲ {} warnings\n",
            format::count(alerts),
            format::count(warnings)
        ));
    }
    let serious = store
        .journal
        .newest_first()
        .filter(|entry| entry.level > crate::store::journal::Level::Note);
    for entry in serious.take(MAX_ALERTS) {
        text.push_str(&format!(
            "* {} {}\n",
            entry.level.glyph(),
            plain(&entry.text)
        ));
    }
    text
}

/// Text from a log that Markdown shows as it is.
fn plain(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in clean(text).chars() {
        match c {
            '<' => shown.push_str("&lt;"),
            '&' => shown.push_str("&amp;"),
            '\\' | '|' | '`' | '*' | '[' | ']' | '#' | '_' | '~' => shown.extend(['\\', c]),
            // No mention of a person and no link to an issue.
            '@' => shown.push_str("@\u{2060}"),
            c => shown.push(c),
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_of_a_log_is_taken_for_markdown() {
        assert_eq!(
            plain("a|b <img src=x> *c* [d](e)\n`f`"),
            "a\\|b &lt;img src=x> \\*c\\* \\[d\\](e)↵\\`f\\`"
        );
    }
}
