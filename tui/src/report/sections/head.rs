//! What a run is, how it did in a few numbers, and what a person should know of it.

use serde::Serialize;
use telemetry::event::AlertLevel;

use super::words::{time, visible};
use crate::format;
use crate::report::numbers::{Number, numbers};
use crate::report::record::RunRecord;
use crate::store::Raised;
use crate::store::journal::{self, Level};
use crate::store::status::Mood;
use crate::text::clean;
use crate::verdict::Verdict;

/// Tiles at the head of a run.
const MAX_TILES: usize = 8;

/// Of them, those about evaluations, so that training is there too.
const MAX_EVALUATED: usize = 5;

/// Warnings and alerts beside those that still hold.
const MAX_NOTICES: usize = 40;

/// Entries of the log.
const MAX_ENTRIES: usize = 400;

/// The run's name and what it is.
#[derive(Debug, Serialize)]
pub struct Head {
    /// The last two parts of its path.
    pub name: String,
    stage: String,
    stage_name: &'static str,
    status: &'static str,
    mood: &'static str,
    progress: Option<Progress>,
    facts: Vec<Fact>,
    failure: Option<String>,
}

#[derive(Debug, Serialize)]
struct Progress {
    percent: f64,
    text: String,
}

#[derive(Debug, Serialize)]
struct Fact {
    name: &'static str,
    value: String,
}

impl Head {
    /// From the log, and what that does not say from the manifest.
    pub fn new(record: &RunRecord) -> Self {
        let (store, status) = (&record.store, record.status());
        Self {
            name: clean(&record.name),
            stage: clean(record.stage()),
            stage_name: match record.stage() {
                "cpt" => "continued pre-training",
                "sft" => "supervised fine-tuning",
                "po" => "preference optimization",
                "rl" => "reinforcement learning",
                _ => "",
            },
            status: status.label(),
            mood: match status.mood() {
                Mood::Good => "good",
                Mood::Neutral => "neutral",
                Mood::Worrying => "worrying",
                Mood::Bad => "bad",
            },
            progress: store
                .last_step
                .map(|step| progress(step, store.total_steps())),
            facts: facts(record),
            failure: store.failure.clone(),
        }
    }
}

fn progress(step: u64, total: Option<u64>) -> Progress {
    match total {
        Some(total) => Progress {
            percent: (step as f64 / total as f64 * 100.0).min(100.0),
            text: format!("step {} of {}", format::count(step), format::count(total)),
        },
        None => Progress {
            percent: 0.0,
            text: format!("step {}", format::count(step)),
        },
    }
}

fn facts(record: &RunRecord) -> Vec<Fact> {
    let (store, manifest) = (&record.store, record.manifest.as_ref());
    let run = store.run.as_ref();
    let mut facts = Vec::new();
    let mut tell = |name, value: Option<String>| {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            facts.push(Fact { name, value });
        }
    };
    let either = |logged: Option<&String>, listed: Option<&String>| {
        logged.or(listed).map(|text| clean(text))
    };
    tell(
        "model",
        either(run.map(|run| &run.model), manifest.map(|m| &m.model)),
    );
    tell(
        "parameters",
        run.map(|run| {
            let all = format::amount(run.parameters as f64);
            match run.fields.scalar("trained_parameters") {
                Some(trained) if trained != run.parameters as f64 => {
                    format!("{all}, of which {} trained", format::amount(trained))
                }
                _ => all,
            }
        }),
    );
    tell(
        "device",
        either(run.map(|run| &run.device), manifest.map(|m| &m.device)),
    );
    tell(
        "number format",
        either(run.map(|run| &run.dtype), manifest.map(|m| &m.dtype)),
    );
    tell(
        "tokens",
        store
            .num_tokens()
            .map(|tokens| match store.timeline.spent_ms() {
                ms if ms > 0.0 => format!(
                    "{}, {} a second over all",
                    format::amount(tokens),
                    format::amount(tokens / ms * 1e3)
                ),
                _ => format::amount(tokens),
            }),
    );
    let (history, over) = (&record.history, record.status().is_over());
    let began = store.first_event_ms();
    tell(
        "duration",
        began.map(|_| match history.num_processes() {
            0 | 1 => format::span_ms(history.total_ms()),
            n => format!("{} in {n} processes", format::span_ms(history.total_ms())),
        }),
    );
    let listed = || {
        Some(
            clean(&manifest?.started_at)
                .replace('T', " ")
                .replace('Z', ""),
        )
    };
    tell(
        "started",
        began.map(time).or_else(listed).map(|time| time + " UTC"),
    );
    let last = store.last_event_ms.map(|ms| time(ms) + " UTC");
    tell(if over { "ended" } else { "last event" }, last);
    let resumed: Vec<String> = store
        .resumed_from
        .iter()
        .map(|step| format::count(*step))
        .collect();
    tell(
        "resumed from",
        (!resumed.is_empty()).then(|| format!("step {}", resumed.join(", "))),
    );
    tell(
        "seed",
        run.map(|run| run.seed)
            .or(manifest.map(|m| m.seed))
            .map(|seed| seed.to_string()),
    );
    tell(
        "program",
        manifest.map(|m| {
            let version = clean(&m.program_version);
            match &m.git_commit {
                Some(commit) => format!("{version}, commit {}", clean(commit)),
                None => version,
            }
        }),
    );
    facts
}

/// A number that a run is judged by.
#[derive(Debug, Serialize)]
pub struct Tile {
    name: String,
    value: String,
    is_broken: bool,
    /// Where it came from, and at which steps.
    from: String,
    change: Option<String>,
    verdict: Verdict,
    glyph: &'static str,
}

/// The first few numbers of the run.
pub fn tiles(record: &RunRecord) -> Vec<Tile> {
    let (evaluated, trained): (Vec<Number>, Vec<Number>) = numbers(record)
        .into_iter()
        .partition(|number| record.store.steps.get(&number.name).is_none());
    let few = evaluated.into_iter().take(MAX_EVALUATED);
    few.chain(trained)
        .take(MAX_TILES)
        .map(|number| tile(&number))
        .collect()
}

fn tile(number: &Number) -> Tile {
    let (step, value) = number.last;
    let at = format!("at step {}", format::count(step));
    let (change, verdict) = number.shown_change().unzip();
    let verdict = verdict.unwrap_or(Verdict::Same);
    Tile {
        name: visible(&number.name),
        value: number.show(value),
        is_broken: !value.is_finite(),
        from: match number.first {
            Some(first) => format!(
                "{at}, from {} at {}",
                number.show(first.value),
                first.shown_steps()
            ),
            None => at,
        },
        glyph: if change.is_some() {
            verdict.glyph()
        } else {
            ""
        },
        change,
        verdict,
    }
}

/// What a person should know.
#[derive(Debug, Serialize)]
pub struct Notices {
    /// Alerts that hold.
    open: Vec<Entry>,
    /// Warnings and alerts of the log, newest first.
    past: Vec<Entry>,
    /// Those that are not listed.
    left_out: u64,
    /// What could not be read.
    troubles: Vec<String>,
}

/// A sentence of the log.
#[derive(Debug, Serialize)]
pub struct Entry {
    kind: &'static str,
    glyph: &'static str,
    time: String,
    step: String,
    text: String,
    repeats: String,
}

impl Notices {
    /// Those of a run.
    pub fn new(record: &RunRecord) -> Self {
        let store = &record.store;
        let open = store.alerts.iter().map(|alert| {
            let level = match alert.level {
                AlertLevel::Warning => Level::Warning,
                AlertLevel::Alarm => Level::Alert,
            };
            entry(&journal::Entry {
                time_ms: alert.time_ms,
                level,
                step: alert.step,
                text: format!("{} (rule: {})", alert.message, clean(&alert.rule)),
                repeats: 1,
            })
        });
        let serious = store
            .journal
            .newest_first()
            .filter(|entry| entry.level > Level::Note);
        let serious: Vec<&journal::Entry> = serious.take(MAX_NOTICES).collect();
        let all = store.journal.num_warnings() + store.journal.num_alerts();
        let listed: u64 = serious.iter().map(|entry| entry.repeats).sum();
        // An alert that holds is told once.
        let is_open = |entry: &journal::Entry| {
            let is_same =
                |alert: &Raised| (alert.time_ms, &alert.message) == (entry.time_ms, &entry.text);
            store.alerts.iter().any(is_same)
        };
        let past = serious.into_iter().filter(|entry| !is_open(entry));
        Self {
            open: open.collect(),
            past: past.map(entry).collect(),
            left_out: all.saturating_sub(listed),
            troubles: troubles(record),
        }
    }
}

fn troubles(record: &RunRecord) -> Vec<String> {
    let mut troubles: Vec<String> = record
        .troubles
        .iter()
        .map(|trouble| visible(trouble))
        .collect();
    let counted = [
        (
            record.counts.malformed,
            "of the log are no events and were left out",
        ),
        (
            record.counts.newer,
            "of the log were written by a newer version of the program",
        ),
        (
            record.counts.unknown.values().sum(),
            "of the log are of a kind that this version does not know",
        ),
    ];
    for (count, what) in counted.into_iter().filter(|(count, _)| *count > 0) {
        let lines = if count == 1 { "line" } else { "lines" };
        troubles.push(format!("{} {lines} {what}", format::count(count)));
    }
    troubles
}

fn entry(entry: &journal::Entry) -> Entry {
    Entry {
        kind: match entry.level {
            Level::Note => "note",
            Level::Warning => "warning",
            Level::Alert => "alert",
        },
        glyph: entry.level.glyph(),
        time: time(entry.time_ms),
        step: entry.step.map_or(String::new(), format::count),
        text: entry.text.clone(),
        repeats: match entry.repeats {
            1 => String::new(),
            n => format!("× {}", format::count(n)),
        },
    }
}

/// The latest entries of the log, newest first.
pub fn log(record: &RunRecord) -> Vec<Entry> {
    record
        .store
        .journal
        .newest_first()
        .take(MAX_ENTRIES)
        .map(entry)
        .collect()
}
