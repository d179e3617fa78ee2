use std::collections::HashSet;

use datasets::{SupervisedTokens, Truncation};

use super::sequences::{MarkCounts, Unusable, warn_of_duplicates};
use super::{Finding, Findings, MAX_RECORDS, Marks, spread};
use crate::recipe::PoSettings;
use crate::stages::preference::pairs::{Pairs, Sides};

/// From this ratio of mean lengths on, length alone tells the answers apart, and a loss of sums of
/// log-probabilities learns it first.
const LENGTH_BIAS: f64 = 1.5;
/// From this share of cut pairs on, what is cut is no exception.
const MANY_CUT: f64 = 0.01;

/// The share of the weighted desirable answers to the weighted undesirable ones that KTO's authors
/// advise (arXiv 2402.01306, equation 8).
const BALANCE: std::ops::RangeInclusive<f64> = 1.0..=4.0 / 3.0;

/// What preference optimization will see.
pub fn look_at_pairs(pairs: &Pairs, settings: &PoSettings) -> Findings {
    let (total, max_length) = (pairs.len(), settings.max_length);
    let mut findings = Findings::of([total, total.min(MAX_RECORDS)]);
    let seen = findings.num_records[1];
    let marks = Marks::new(pairs.tokenizer().tokenizer(), Some(pairs.tokenizer()));
    let mut of_marks = MarkCounts::default();
    let mut truncation = Truncation::new(max_length);
    let mut unusable = Unusable::default();
    let mut distinct = HashSet::new();
    let (mut prompts, mut chosen, mut rejected) = (Vec::new(), Vec::new(), Vec::new());
    let (mut equal, mut apart, mut read) = (0, 0, 0);
    let (mut num_pairs, mut labels) = (0, [0, 0]);
    for index in spread(total, MAX_RECORDS) {
        let whole = match pairs.whole(index) {
            Ok(whole) => whole,
            Err(error) => {
                unusable.add(&error.to_string());
                continue;
            }
        };
        read += 1;
        let before = |answer: &SupervisedTokens| {
            let start = answer.loss_mask.iter().position(|&supervised| supervised);
            answer.ids[..start.unwrap_or(answer.ids.len())].to_vec()
        };
        match whole {
            Sides::Pair([first, second]) => {
                marks.add_to(&mut of_marks, &first);
                marks.add_to(&mut of_marks, &second);
                distinct.insert((vec![first.ids.clone(), second.ids.clone()], None));
                equal += usize::from(first == second);
                let Some((first, second)) = truncation.pair(first, second) else {
                    continue;
                };
                let prompt = before(&first);
                apart += usize::from(prompt != before(&second));
                prompts.push(prompt.len());
                chosen.push(first.num_supervised());
                rejected.push(second.num_supervised());
                num_pairs += 1;
            }
            Sides::Unpaired(answer, label) => {
                marks.add_to(&mut of_marks, &answer);
                distinct.insert((vec![answer.ids.clone()], Some(label)));
                let Some(answer) = truncation.sequence(answer) else {
                    continue;
                };
                prompts.push(before(&answer).len());
                labels[usize::from(label)] += 1;
                match label {
                    true => chosen.push(answer.num_supervised()),
                    false => rejected.push(answer.num_supervised()),
                }
            }
        }
    }
    let report = truncation.report();
    let mean = |lengths: &[usize]| lengths.iter().sum::<usize>() as f64 / lengths.len() as f64;
    let ratio = mean(&chosen) / mean(&rejected);
    let usable = chosen.len().min(rejected.len());
    let has_any = !prompts.is_empty();
    let unpaired = labels[0] + labels[1];
    findings.lengths("prompt tokens", prompts);
    findings.lengths("chosen tokens", chosen);
    findings.lengths("rejected tokens", rejected);
    if usable > 0 {
        findings.number("chosen over rejected tokens", ratio, format!("{ratio:.2}"));
    }
    findings.count("cut to max_length", report.num_truncated, seen);
    findings.count("nothing supervised", report.num_without_supervision, seen);
    if num_pairs > 0 || unpaired == 0 {
        findings.count("equal answers", equal, seen);
        findings.count("prompts that differ", apart, seen);
    }
    if unpaired > 0 {
        findings.count("label true", labels[1], seen);
        findings.count("label false", labels[0], seen);
    }
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
        "records are cut to max_length, the longer answer first",
        "raise max_length, or leave these records out",
    );
    if !(1.0 / LENGTH_BIAS..=LENGTH_BIAS).contains(&ratio) && usable > 0 {
        findings.warn(
            format!(
                "the chosen answers have {ratio:.2} times the tokens of the rejected ones: length \
                 alone tells them apart, and the model learns it first"
            ),
            match unpaired {
                0 => {
                    "balance the lengths, or set loss_type = \"sigmoid_norm\" or \"simpo\", or \
                     ld_alpha below 1"
                }
                _ => "balance the lengths",
            },
        );
    }
    if unpaired > 0 {
        // A pair has an answer of either kind.
        warn_of_balance(
            &mut findings,
            labels.map(|count| count + num_pairs),
            settings,
        );
    }
    warn_of_duplicates(&mut findings, read - distinct.len());
    if !has_any && total == seen {
        findings.refusal = Some(Finding {
            problem: format!(
                "none of {seen} records has a supervised token in each of its answers"
            ),
            hint: format!("raise max_length ({max_length} now), and see `trainer inspect`"),
        });
    }
    findings
}

/// One kind of answer outweighs the other, or there is only one.
fn warn_of_balance(findings: &mut Findings, labels: [usize; 2], settings: &PoSettings) {
    let [undesirable, desirable] = labels.map(|count| count as f64);
    let ratio = desirable * settings.desirable_weight / (undesirable * settings.undesirable_weight);
    if BALANCE.contains(&ratio) {
        return;
    }
    if desirable == 0.0 || undesirable == 0.0 {
        let (label, other) = (desirable > 0.0, desirable == 0.0);
        findings.warn(
            format!("every label is {label}: the loss pushes all answers one way"),
            format!("add records with `\"label\": {other}`"),
        );
        return;
    }
    let [low, high] = [BALANCE.start(), BALANCE.end()]
        .map(|bound| bound * undesirable * settings.undesirable_weight / desirable);
    findings.warn(
        format!(
            "answers to learn weigh {ratio:.2} times those to unlearn (labels times \
             desirable_weight and undesirable_weight), and KTO's authors advise 1 to 1.33"
        ),
        format!("set desirable_weight between {low:.2} and {high:.2}"),
    );
}
