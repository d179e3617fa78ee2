use std::collections::HashSet;

use datasets::Truncation;

use super::sequences::{MarkCounts, Unusable, warn_of_duplicates};
use super::{Finding, Findings, MAX_RECORDS, Marks, spread};
use crate::stages::preference::pairs::Pairs;

/// From this ratio of mean lengths on, length alone tells the answers apart, and a loss of sums of
/// log-probabilities learns it first.
const LENGTH_BIAS: f64 = 1.5;
/// From this share of cut pairs on, what is cut is no exception.
const MANY_CUT: f64 = 0.01;

/// What preference optimization will see.
pub fn look_at_pairs(pairs: &Pairs, max_length: usize) -> Findings {
    let total = pairs.len();
    let mut findings = Findings::of([total, total.min(MAX_RECORDS)]);
    let seen = findings.num_records[1];
    let marks = Marks::new(pairs.tokenizer().tokenizer(), Some(pairs.tokenizer()));
    let mut of_marks = MarkCounts::default();
    let mut truncation = Truncation::new(max_length);
    let mut unusable = Unusable::default();
    let mut distinct = HashSet::new();
    let (mut prompts, mut chosen, mut rejected) = (Vec::new(), Vec::new(), Vec::new());
    let (mut equal, mut apart, mut read) = (0, 0, 0);
    for index in spread(total, MAX_RECORDS) {
        let (whole, pair) = match pairs.whole(index) {
            Ok(whole) => (whole.clone(), truncation.pair(whole.0, whole.1)),
            Err(error) => {
                unusable.add(&error.to_string());
                continue;
            }
        };
        read += 1;
        marks.add_to(&mut of_marks, &whole.0);
        marks.add_to(&mut of_marks, &whole.1);
        distinct.insert([whole.0.ids.clone(), whole.1.ids.clone()]);
        equal += usize::from(whole.0 == whole.1);
        let Some((first, second)) = pair else {
            continue;
        };
        let before = |ids: &[u32], mask: &[bool]| {
            let start = mask.iter().position(|&supervised| supervised);
            ids[..start.unwrap_or(ids.len())].to_vec()
        };
        let prompt = before(&first.ids, &first.loss_mask);
        apart += usize::from(prompt != before(&second.ids, &second.loss_mask));
        prompts.push(prompt.len());
        chosen.push(first.num_supervised());
        rejected.push(second.num_supervised());
    }
    let report = truncation.report();
    let mean = |lengths: &[usize]| lengths.iter().sum::<usize>() as f64 / lengths.len() as f64;
    let ratio = mean(&chosen) / mean(&rejected);
    let usable = chosen.len();
    findings.lengths("prompt tokens", prompts);
    findings.lengths("chosen tokens", chosen);
    findings.lengths("rejected tokens", rejected);
    if usable > 0 {
        findings.number("chosen over rejected tokens", ratio, format!("{ratio:.2}"));
    }
    findings.count("cut to max_length", report.num_truncated, seen);
    findings.count("nothing supervised", report.num_without_supervision, seen);
    findings.count("equal answers", equal, seen);
    findings.count("prompts that differ", apart, seen);
    findings.count("duplicates", read - distinct.len(), seen);
    of_marks.report(&mut findings);
    unusable.report(&mut findings);
    let warn = Findings::warn_from;
    warn(
        &mut findings,
        0.0,
        equal,
        seen,
        "pairs have the same answer twice, which says nothing and pulls both ways",
        "leave these pairs out",
    );
    warn(
        &mut findings,
        0.0,
        apart,
        seen,
        "pairs have answers to different prompts: what is in one prompt alone counts as its answer's",
        "give both answers one prompt",
    );
    warn(
        &mut findings,
        MANY_CUT,
        report.num_truncated,
        seen,
        "pairs are cut to max_length, the longer answer first",
        "raise max_length, or leave these pairs out",
    );
    if !(1.0 / LENGTH_BIAS..=LENGTH_BIAS).contains(&ratio) && usable > 0 {
        findings.warn(
            format!(
                "the chosen answers have {ratio:.2} times the tokens of the rejected ones: length \
                 alone tells them apart, and the model learns it first"
            ),
            "balance the lengths, or set loss_type = \"sigmoid_norm\" or \"simpo\", or ld_alpha below 1",
        );
    }
    warn_of_duplicates(&mut findings, read - distinct.len());
    if usable == 0 && total == seen {
        findings.refusal = Some(Finding {
            problem: format!("none of {seen} pairs has a supervised token in both answers"),
            hint: format!("raise max_length ({max_length} now), and see `trainer inspect`"),
        });
    }
    findings
}
