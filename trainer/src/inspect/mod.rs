//! What a stage will really see: the measurements of the pre-flight, what is rejected and why, how
//! rows are packed, and records as the loss sees them.

mod masked_text;

use std::fmt::Write;

use datasets::packing::pack;
use datasets::{Location, SkippedRecords, SupervisedTokens, Tokenizer, Truncation};
use tui::format;
use tui::text::{clean, cut_start};

use crate::TrainError;
use crate::preflight::{Findings, spread};
use crate::rollout::Prompts;
use crate::stages::preference::pairs::{Pairs, Sides};
use crate::stages::supervised::{BatchShape, Sequences};

pub use masked_text::{Marking, Stretch, lines, stretches};

/// Columns of everything that is shown.
const COLUMNS: usize = 80;
/// Records whose packing is planned, and rows of the plan that are shown.
const PLANNED_RECORDS: usize = 200;
const SHOWN_ROWS: usize = 3;
const SHOWN_IN_ROW: usize = 8;

/// Text for standard output.
pub struct Page {
    text: String,
    marking: Marking,
    num_records: usize,
}

impl Page {
    /// With so many records, spread over the data.
    pub fn new(marking: Marking, num_records: usize) -> Self {
        Page {
            text: String::new(),
            marking,
            num_records,
        }
    }

    /// The text.
    pub fn into_text(self) -> String {
        self.text
    }

    /// The measurements of the pre-flight, and what seems wrong.
    pub fn findings(&mut self, findings: &Findings) {
        self.text.push_str(&findings.table());
        let refusal = findings.refusal.iter();
        for finding in refusal.chain(&findings.warnings) {
            self.paragraph(&format!("warning: {}", finding.problem), "");
            self.paragraph(&format!("hint: {}", finding.hint), "   ");
        }
    }

    /// The lines that are no records of the stage, by reason.
    pub fn rejects(&mut self, skipped: &SkippedRecords) {
        if skipped.total() == 0 {
            return;
        }
        let total = format::count(skipped.total() as u64);
        self.line("");
        self.paragraph(
            &format!(
                "rejected lines: {total}; a run ends at the first of them, or leaves them out under \
                 on_bad_record = \"skip\""
            ),
            "",
        );
        for (reason, (count, first)) in &skipped.reasons {
            let count = format::count(*count as u64);
            self.paragraph(
                &format!("{count} × {reason}, first at {}", shown(first)),
                "  ",
            );
        }
    }

    /// Rows that the first records fill, where rows are packed.
    ///
    /// # Errors
    /// A record cannot be read.
    pub fn packing(&mut self, data: &dyn Sequences, shape: BatchShape) -> Result<(), TrainError> {
        if !shape.packing {
            return Ok(());
        }
        let lengths = (0..data.len().min(PLANNED_RECORDS))
            .map(|index| Ok(data.get(index)?.tokens.ids.len().min(shape.max_length)))
            .collect::<Result<Vec<usize>, TrainError>>()?;
        let rows = pack(&lengths, shape.max_length);
        let room = rows.len() * shape.max_length;
        self.line(&format!(
            "\npacking: {} records fill {} rows of {} tokens to {:.0} %",
            lengths.len(),
            rows.len(),
            format::count(shape.max_length as u64),
            100.0 * lengths.iter().sum::<usize>() as f64 / room as f64
        ));
        for (number, row) in rows.iter().enumerate().take(SHOWN_ROWS) {
            let tokens: usize = row.iter().map(|&record| lengths[record]).sum();
            let named = row.iter().take(SHOWN_IN_ROW).map(|r| (r + 1).to_string());
            let mut named = named.collect::<Vec<_>>().join(", ");
            if row.len() > SHOWN_IN_ROW {
                named.push_str(", …");
            }
            self.line(&format!(
                "  row {}: {} tokens, {} records: {named}",
                number + 1,
                format::count(tokens as u64),
                row.len()
            ));
        }
        Ok(())
    }

    /// Records of a supervised stage.
    ///
    /// # Errors
    /// A token cannot be decoded.
    pub fn sequences(&mut self, data: &dyn Sequences, max_length: usize) -> Result<(), TrainError> {
        for index in spread(data.len(), self.num_records) {
            let place = shown(&data.location(index));
            match data.get(index) {
                Ok(sequence) => {
                    self.record(&place, data.tokenizer(), sequence.tokens, max_length)?
                }
                Err(error) => self.unusable(&place, &error),
            }
        }
        Ok(())
    }

    /// Preference records, each answer with what comes before it.
    ///
    /// # Errors
    /// A token cannot be decoded.
    pub fn pairs(&mut self, pairs: &Pairs, max_length: usize) -> Result<(), TrainError> {
        let tokenizer = pairs.tokenizer().tokenizer();
        for index in spread(pairs.len(), self.num_records) {
            let place = shown(&pairs.location(index));
            match pairs.whole(index) {
                Ok(Sides::Pair(answers)) => {
                    for (name, answer) in ["chosen", "rejected"].into_iter().zip(answers) {
                        self.record(&format!("{place} {name}"), tokenizer, answer, max_length)?;
                    }
                }
                Ok(Sides::Unpaired(answer, label)) => {
                    let place = format!("{place} label {label}");
                    self.record(&place, tokenizer, answer, max_length)?;
                }
                Err(error) => self.unusable(&place, &error),
            }
        }
        Ok(())
    }

    /// Prompts with what judges their answers.
    ///
    /// # Errors
    /// A token cannot be decoded.
    pub fn prompts(&mut self, prompts: &Prompts) -> Result<(), TrainError> {
        let tokenizer = prompts.chat().tokenizer();
        for index in spread(prompts.len(), self.num_records) {
            let place = shown(&prompts.location(index));
            let prompt = prompts.get(index)?;
            self.line(&format!("\n{place}  {} tokens", prompt.ids.len()));
            let tokens = SupervisedTokens {
                ids: prompt.ids.to_vec(),
                loss_mask: vec![false; prompt.ids.len()],
            };
            self.masked(tokenizer, &tokens)?;
            let names: Vec<&str> = prompt.verifiers.iter().map(|v| v.name()).collect();
            let mut judged = format!("judged by: {}", names.join(", "));
            if names.is_empty() {
                judged = "judged by reward_funcs alone".to_owned();
            }
            if let Some(reference) = &prompt.reference {
                write!(judged, "; reference: {reference}").expect("a string takes all");
            }
            self.paragraph(&judged, "  ");
        }
        Ok(())
    }

    fn record(
        &mut self,
        place: &str,
        tokenizer: &Tokenizer,
        tokens: SupervisedTokens,
        max_length: usize,
    ) -> Result<(), TrainError> {
        let whole = tokens.ids.len();
        let mut head = format!(
            "\n{place}  {} tokens, {} supervised",
            format::count(whole as u64),
            format::count(tokens.num_supervised() as u64)
        );
        if whole > max_length {
            write!(head, ", cut to {max_length}").expect("a string takes all");
        }
        self.line(&head);
        match Truncation::new(max_length).sequence(tokens) {
            Some(tokens) => self.masked(tokenizer, &tokens),
            None => {
                self.line("  left out: nothing within max_length is supervised");
                Ok(())
            }
        }
    }

    fn masked(
        &mut self,
        tokenizer: &Tokenizer,
        tokens: &SupervisedTokens,
    ) -> Result<(), TrainError> {
        for line in lines(&stretches(tokenizer, tokens)?, self.marking, COLUMNS) {
            self.line(&line);
        }
        Ok(())
    }

    fn unusable(&mut self, place: &str, error: &TrainError) {
        self.line(&format!("\n{place}  cannot be used"));
        for line in error.to_string().lines() {
            self.paragraph(line, "  ");
        }
    }

    fn paragraph(&mut self, text: &str, indent: &str) {
        for (number, line) in wrapped(text, COLUMNS - indent.len() - 2).iter().enumerate() {
            let hanging = if number == 0 { "" } else { "  " };
            self.line(&format!("{indent}{hanging}{line}"));
        }
    }

    fn line(&mut self, line: &str) {
        self.text.push_str(line);
        self.text.push('\n');
    }
}

/// A place, of a long path the end.
fn shown(location: &Location) -> String {
    cut_start(&location.to_string(), COLUMNS / 2)
}

fn wrapped(text: &str, columns: usize) -> Vec<String> {
    tui::text::wrap(&clean(text), columns, 12)
}
