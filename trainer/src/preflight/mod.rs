//! A look at the data and the model's files before the first step: what is in them, and what will
//! most likely go wrong, each with a reason and what to do.
//!
//! What is looked at is a thousand records, spread evenly over the data, so that a look takes no
//! longer for a larger file; reinforcement learning also has a few prompts answered.

mod disk;
mod distribution;
mod learning_rate;
mod look;
mod model_files;
mod pairs;
mod prompts;
mod sequences;
mod unread;

use telemetry::{Fields, event};
use tui::format;

use crate::TrainError;
use crate::recipe::Preflight;
use crate::table::aligned;

pub use disk::{Saving, disk_room};
pub use distribution::{Distribution, spread};
pub use learning_rate::peak_of_learning_rate;
pub use look::Look;
pub use model_files::model_files;
pub use pairs::look_at_pairs;
pub use prompts::{Probe, look_at_prompts};
pub use sequences::{Marks, look_at_sequences};
pub use unread::unread_keys;

/// Records that are looked at.
pub const MAX_RECORDS: usize = 1000;

/// What a look found.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Findings {
    /// Records there are, and records looked at.
    pub num_records: [usize; 2],
    /// The tables' rows: of lengths, with their median, 95th percentile and maximum, and of counts.
    lengths: Vec<Vec<String>>,
    counts: Vec<Vec<String>>,
    /// The same numbers for the log.
    pub fields: Fields,
    /// What seems wrong.
    pub warnings: Vec<Finding>,
    /// Why there is nothing to train on.
    pub refusal: Option<Finding>,
}

/// Something that seems wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What it is, and why it matters.
    pub problem: String,
    /// What to do about it.
    pub hint: String,
}

impl Findings {
    /// Of `records[1]` records out of `records[0]`.
    pub fn of(num_records: [usize; 2]) -> Self {
        Findings {
            num_records,
            ..Findings::default()
        }
    }

    /// A row with the median, the 95th percentile and the maximum.
    pub fn lengths(&mut self, name: &str, values: Vec<usize>) {
        let Some(of) = Distribution::of(values) else {
            return;
        };
        let key = key(name);
        let mut cells = vec![name.to_owned()];
        for (part, value) in [("median", of.median), ("p95", of.p95), ("max", of.max)] {
            self.fields.set(format!("{key}/{part}"), value as u64);
            cells.push(format::count(value as u64));
        }
        self.lengths.push(cells);
    }

    /// A row with a number, and its share of `total`, unless there is none of them.
    pub fn count(&mut self, name: &str, count: usize, total: usize) {
        self.fields.set(key(name), count as u64);
        let share = percent(count, total);
        let cells = match count {
            0 => vec![name.to_owned(), "0".to_owned(), String::new()],
            _ => vec![name.to_owned(), format::count(count as u64), share],
        };
        self.counts.push(cells);
    }

    /// A row with a number in words.
    pub fn number(&mut self, name: &str, value: f64, words: String) {
        self.fields.set(key(name), value);
        self.counts
            .push(vec![name.to_owned(), words, String::new()]);
    }

    /// Adds a warning.
    pub fn warn(&mut self, problem: String, hint: impl Into<String>) {
        let hint = hint.into();
        self.warnings.push(Finding { problem, hint });
    }

    /// A warning where `count` of `total` records are affected, from a share `from` on.
    pub fn warn_from(&mut self, from: f64, count: usize, total: usize, what: &str, hint: &str) {
        if count > 0 && count as f64 >= from * total as f64 {
            let share = percent(count, total);
            self.warn(format!("{count} of {total} ({share}) {what}"), hint);
        }
    }

    /// The tables.
    pub fn table(&self) -> String {
        let [all, seen] = self.num_records.map(|n| format::count(n as u64));
        let of = match self.num_records[0] == self.num_records[1] {
            true => format!("all {all} records"),
            false => format!("{seen} of {all} records, spread over all of them"),
        };
        let mut text = format!("pre-flight: {of}\n");
        let head = ["", "median", "p95", "max"].map(str::to_owned).to_vec();
        let lengths = match self.lengths.as_slice() {
            [] => Vec::new(),
            rows => [&[head], rows].concat(),
        };
        let names = || lengths.iter().chain(&self.counts).map(|row| &row[0]);
        let width = names().map(String::len).max().unwrap_or(0);
        for mut rows in [lengths.clone(), self.counts.clone()] {
            for row in &mut rows {
                row[0] = format!("{:width$}", row[0]);
            }
            for line in aligned(&rows).lines() {
                text.push_str(&format!("  {}\n", line.trim_end()));
            }
        }
        text
    }

    /// What ends the run: nothing to train on, or, where the recipe is strict, anything that seems
    /// wrong.
    ///
    /// # Errors
    /// [`TrainError::Preflight`] with it.
    pub fn verdict(&self, how: Preflight) -> Result<(), TrainError> {
        if let Some(Finding { problem, hint }) = &self.refusal {
            return Err(TrainError::Preflight(format!("{problem}\nhint: {hint}")));
        }
        match self.warnings.len() {
            n if n > 0 && how == Preflight::Strict => Err(TrainError::Preflight(format!(
                "the pre-flight has {n} warnings, and preflight = \"strict\"\nhint: set right what \
                 they name, or set preflight = \"warn\""
            ))),
            _ => Ok(()),
        }
    }

    /// The event of the log.
    pub fn event(&self) -> event::Preflight {
        event::Preflight {
            records: self.num_records[0] as u64,
            looked_at: self.num_records[1] as u64,
            warnings: self.warnings.iter().map(|w| w.problem.clone()).collect(),
            fields: self.fields.clone(),
        }
    }
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "warning: {}\n   hint: {}", self.problem, self.hint)
    }
}

/// A row's name as the log has it.
fn key(name: &str) -> String {
    name.replace([' ', '-'], "_")
}

/// Such as `0.4 %`.
fn percent(count: usize, total: usize) -> String {
    format!("{:.1} %", 100.0 * count as f64 / total.max(1) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings() -> Findings {
        let mut findings = Findings::of([4000, 1000]);
        findings.lengths("tokens", vec![1200, 3, 7]);
        findings.count("cut to max_length", 12, 1000);
        findings.count("duplicates", 0, 1000);
        findings.warn_from(0.01, 12, 1000, "are cut", "raise max_length");
        findings.warn_from(0.05, 12, 1000, "are something else", "do not mind");
        findings
    }

    #[test]
    fn the_table_shows_lengths_and_counts() {
        let want = "pre-flight: 1,000 of 4,000 records, spread over all of them\n\
                    \x20                    median    p95    max\n\
                    \x20 tokens                  7  1,200  1,200\n\
                    \x20 cut to max_length  12  1.2 %\n\
                    \x20 duplicates          0\n";
        assert_eq!(findings().table(), want);
    }

    #[test]
    fn the_event_has_the_numbers_and_the_warnings() {
        let event = findings().event();
        assert_eq!((event.records, event.looked_at), (4000, 1000));
        assert_eq!(event.warnings, ["12 of 1000 (1.2 %) are cut"]);
        assert_eq!(event.fields.scalar("tokens/p95"), Some(1200.0));
        assert_eq!(event.fields.scalar("cut_to_max_length"), Some(12.0));
    }

    #[test]
    fn warnings_stop_a_strict_run_alone_and_nothing_to_train_on_every_run() {
        let mut findings = findings();
        assert!(findings.verdict(Preflight::Warn).is_ok());
        let strict = findings.verdict(Preflight::Strict);
        assert_eq!(strict.expect_err("it has a warning").exit_code(), 2);
        findings.refusal = Some(Finding {
            problem: "nothing".to_owned(),
            hint: "something".to_owned(),
        });
        assert!(findings.verdict(Preflight::Warn).is_err());
    }
}
