use std::collections::HashSet;

use datasets::packing::pack;
use datasets::{ChatTokenizer, SupervisedTokens, Tokenizer};

use super::{Finding, Findings, MAX_RECORDS, percent, spread};
use crate::stages::supervised::{BatchShape, Sequences};

/// From this share of cut records on, what is cut is no exception.
const MANY_CUT: f64 = 0.01;
/// And of documents, which lose an end and keep all that is before it.
const MANY_CUT_DOCUMENTS: f64 = 0.2;
/// Repeated records are learnt by heart; a few do no harm.
const MANY_DUPLICATES: f64 = 0.05;

/// The tokens that begin a document and those that end a turn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Marks {
    bos: Option<u32>,
    ends: Vec<u32>,
}

/// What [`Marks`] say of some records.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct MarkCounts {
    doubled_bos: usize,
    open_turns: usize,
    ends_inside: usize,
    num_turns: usize,
}

impl Marks {
    /// Those of documents, or of turns where there is a chat template.
    pub fn new(tokenizer: &Tokenizer, chat: Option<&ChatTokenizer>) -> Self {
        Marks {
            bos: tokenizer.bos_id(),
            ends: chat.map_or_else(|| vec![tokenizer.eos_id()], ChatTokenizer::stop_ids),
        }
    }

    /// Adds what is to be said of one record, whole.
    pub(super) fn add_to(&self, counts: &mut MarkCounts, tokens: &SupervisedTokens) {
        let SupervisedTokens { ids, loss_mask } = tokens;
        let begins_twice = self.bos.is_some_and(|bos| ids.starts_with(&[bos, bos]));
        counts.doubled_bos += usize::from(begins_twice);
        let mut end = 0;
        for turn in loss_mask.chunk_by(|a, b| a == b) {
            let start = end;
            end += turn.len();
            if turn[0] {
                let is_end = |id: &u32| self.ends.contains(id);
                counts.num_turns += 1;
                counts.open_turns += usize::from(!is_end(&ids[end - 1]));
                counts.ends_inside += usize::from(ids[start..end - 1].iter().any(is_end));
            }
        }
    }
}

impl MarkCounts {
    /// Says what seems wrong with them.
    pub(super) fn report(&self, findings: &mut Findings) {
        let seen = findings.num_records[1];
        findings.count("records with two BOS", self.doubled_bos, seen);
        findings.count(
            "turns without an end token",
            self.open_turns,
            self.num_turns,
        );
        findings.warn_from(
            0.0,
            self.doubled_bos,
            seen,
            "records begin with BOS twice, which the model has never seen",
            "take the BOS out of the data's text: it is added by itself",
        );
        findings.warn_from(
            0.0,
            self.open_turns,
            self.num_turns,
            "supervised turns do not end with a token that ends generation, so the model does not \
             learn to stop",
            "give the chat template an end-of-turn token of the tokenizer's, or name it as eos_token",
        );
        findings.warn_from(
            0.0,
            self.ends_inside,
            self.num_turns,
            "supervised turns have a token that ends generation inside, after which no answer goes on",
            "take the end-of-turn tokens out of the data's text: the template adds them",
        );
    }
}

/// What a supervised stage will see.
pub fn look_at_sequences(data: &dyn Sequences, shape: BatchShape) -> Findings {
    let total = data.len();
    let mut findings = Findings::of([total, total.min(MAX_RECORDS)]);
    let seen = findings.num_records[1];
    let marks = Marks::new(data.tokenizer(), data.chat());
    let mut of_marks = MarkCounts::default();
    let mut distinct = HashSet::new();
    let mut unusable = Unusable::default();
    let (mut lengths, mut supervised, mut fitting) = (Vec::new(), Vec::new(), Vec::new());
    let (mut cut, mut cut_supervised) = (0, 0);
    for index in spread(total, MAX_RECORDS) {
        let mut tokens = match data.get(index) {
            Ok(sequence) => sequence.tokens,
            Err(error) => {
                unusable.add(&error.to_string());
                continue;
            }
        };
        marks.add_to(&mut of_marks, &tokens);
        distinct.insert(tokens.ids.clone());
        let whole = [tokens.ids.len(), tokens.num_supervised()];
        tokens.ids.truncate(shape.max_length);
        tokens.loss_mask.truncate(shape.max_length);
        lengths.push(whole[0]);
        supervised.push(tokens.num_supervised());
        fitting.push(tokens.ids.len());
        cut += usize::from(whole[0] > shape.max_length);
        cut_supervised += usize::from(whole[1] > tokens.num_supervised());
    }
    let learnt: usize = supervised.iter().sum();
    let without = supervised.iter().filter(|&&count| count == 0).count();
    let (read, rows) = (lengths.len(), pack(&fitting, shape.max_length).len());
    let duplicates = read - distinct.len();
    findings.lengths("tokens", lengths);
    findings.lengths("supervised tokens", supervised);
    let all = (learnt as f64 * total as f64 / seen as f64).round();
    let about = if total == seen { "" } else { "about " };
    let words = format!("{about}{}", tui::format::count(all as u64));
    findings.number("supervised tokens in all", all, words);
    findings.count("cut to max_length", cut, seen);
    findings.count("nothing supervised", without, seen);
    findings.count("duplicates", duplicates, seen);
    of_marks.report(&mut findings);
    if shape.packing && rows > 0 {
        let fill = fitting.iter().sum::<usize>() as f64 / (rows * shape.max_length) as f64;
        let words = format!("{rows}, {:.0} % full", 100.0 * fill);
        findings.number("packed rows", rows as f64, words);
    }
    unusable.report(&mut findings);
    let (from, hint) = match data.chat() {
        Some(_) => (MANY_CUT, "raise max_length, or shorten these records"),
        None => (
            MANY_CUT_DOCUMENTS,
            "raise max_length, or split these documents",
        ),
    };
    let what = "records lose supervised tokens to max_length, their end first";
    findings.warn_from(from, cut_supervised, seen, what, hint);
    warn_of_duplicates(&mut findings, duplicates);
    if learnt == 0 {
        let problem =
            format!("nothing is supervised in any of {seen} records, so there is nothing to learn");
        let hint = format!(
            "raise max_length ({} now), check that the records have answers of role `assistant`, \
             and see `trainer inspect`",
            shape.max_length
        );
        match total == seen {
            true => findings.refusal = Some(Finding { problem, hint }),
            false => findings.warn(problem, hint),
        }
    } else {
        let what = "records have nothing supervised within max_length and are left out";
        findings.warn_from(0.0, without, seen, what, hint);
    }
    findings
}

/// Records that fail.
#[derive(Default)]
pub(super) struct Unusable {
    count: usize,
    first: Option<String>,
}

impl Unusable {
    pub(super) fn add(&mut self, error: &str) {
        self.count += 1;
        self.first.get_or_insert_with(|| error.to_owned());
    }

    pub(super) fn report(self, findings: &mut Findings) {
        let Some(first) = self.first else {
            return;
        };
        let (problem, hint) = first.split_once("\nhint: ").unwrap_or((&first, ""));
        let share = percent(self.count, findings.num_records[1]);
        findings.warn(
            format!(
                "{} records ({share}) end the run where it reads them: {problem}",
                self.count
            ),
            hint,
        );
    }
}

pub(super) fn warn_of_duplicates(findings: &mut Findings, duplicates: usize) {
    let seen = findings.num_records[1];
    let what = "records are the same as another, and what is repeated is learnt by heart";
    let hint = "take the repeated records out";
    findings.warn_from(MANY_DUPLICATES, duplicates, seen, what, hint);
}

#[cfg(test)]
mod tests {
    use super::*;

    const MARKS: fn() -> Marks = || Marks {
        bos: Some(2),
        ends: vec![1, 4],
    };

    fn counts(ids: &[u32], supervised: &[usize]) -> MarkCounts {
        let mut counts = MarkCounts::default();
        let tokens = SupervisedTokens {
            ids: ids.to_vec(),
            loss_mask: (0..ids.len()).map(|at| supervised.contains(&at)).collect(),
        };
        MARKS().add_to(&mut counts, &tokens);
        counts
    }

    #[test]
    fn a_turn_ends_with_a_token_that_ends_generation() {
        // Two turns, 9 4 and 8 7.
        let got = counts(&[2, 5, 9, 4, 5, 8, 7], &[2, 3, 5, 6]);
        let want = MarkCounts {
            open_turns: 1,
            num_turns: 2,
            ..MarkCounts::default()
        };
        assert_eq!(got, want);
    }

    #[test]
    fn an_end_token_inside_a_turn_and_a_second_bos_are_found() {
        let got = counts(&[2, 2, 9, 4, 8, 1], &[2, 3, 4, 5]);
        let want = MarkCounts {
            doubled_bos: 1,
            open_turns: 0,
            ends_inside: 1,
            num_turns: 1,
        };
        assert_eq!(got, want);
    }
}
