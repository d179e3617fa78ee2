//! Results as a table a person can read.

use rewards::guards;
use telemetry::event::EvaluationRow;

use crate::stage::Evaluation;
use crate::train_loop::{Outcome, paired_rows};

/// Start and end of a run on held-out data, in all and by task or language pair, and what the model
/// writes at the end. Empty where nothing was measured.
pub fn outcome(outcome: &Outcome) -> String {
    let (Some(start), Some(end)) = (&outcome.start, &outcome.end) else {
        return String::new();
    };
    let all = end.metrics.scalars().map(|(name, _)| name);
    let (guards, names): (Vec<&str>, Vec<&str>) =
        all.partition(|name| guards::NAMES.contains(name));
    let mut rows = vec![header(&names)];
    let mut row = |group: &str, count: u64, start: &telemetry::Fields, end: &telemetry::Fields| {
        let mut cells = vec![group.to_owned(), count.to_string()];
        for name in &names {
            let [before, after] = [start, end].map(|fields| fields.scalar(name));
            cells.extend([show(before), show(after), change(before, after)]);
        }
        rows.push(cells);
    };
    for (start, end) in paired_rows(start, end) {
        row(&start.group, end.count, &start.metrics, &end.metrics);
    }
    // Answers are counted in other rows than the tokens of losses.
    let is_counted =
        |row: &&EvaluationRow| names.iter().take(1).all(|n| row.metrics.get(n).is_some());
    let count = end
        .rows
        .iter()
        .filter(is_counted)
        .map(|row| row.count)
        .sum();
    row("all", count, &start.metrics, &end.metrics);
    let guards = guards.iter().filter_map(|name| {
        let [before, after] = [start, end].map(|evaluation| evaluation.metrics.scalar(name));
        Some(format!("{name} {} → {}", show(before), show(Some(after?))))
    });
    let guards: Vec<String> = guards.collect();
    let guards = match guards.is_empty() {
        true => String::new(),
        false => format!("{}\n", guards.join("  ")),
    };
    format!("{}{guards}{}", aligned(&rows), samples(end))
}

fn header(names: &[&str]) -> Vec<String> {
    let mut cells = vec!["held out".to_owned(), "n".to_owned()];
    for name in names {
        cells.extend([(*name).to_owned(), "end".to_owned(), "change".to_owned()]);
    }
    cells
}

fn show(value: Option<f64>) -> String {
    value.map_or_else(|| "–".to_owned(), |value| format!("{value:.3}"))
}

fn change(before: Option<f64>, after: Option<f64>) -> String {
    match (before, after) {
        (Some(before), Some(after)) => format!("{:+.3}", after - before),
        _ => "–".to_owned(),
    }
}

/// The first column to the left, the others to the right.
pub(crate) fn aligned(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in rows {
        for (column, cell) in row.iter().enumerate() {
            let width = widths[column];
            if column == 0 {
                text.push_str(&format!("{cell:<width$}"));
            } else {
                text.push_str(&format!("  {cell:>width$}"));
            }
        }
        text.push('\n');
    }
    text
}

/// One answer a group, the groups spread over all of them.
fn samples(end: &Evaluation) -> String {
    let mut text = String::new();
    for sample in end.shown_samples() {
        text.push_str(&format!("\n[{}] {}\n", sample.group, sample.prompt.trim()));
        text.push_str(&format!("  → {}", sample.completion.trim()));
        match &sample.reference {
            Some(reference) if reference.trim() == sample.completion.trim() => {
                text.push_str("  (right)");
            }
            Some(reference) => text.push_str(&format!("  (reference: {reference})")),
            None => {}
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stage::EvaluationSample;
    use telemetry::{Fields, Scalar};

    fn evaluation(reward: f64) -> Evaluation {
        let metrics = Fields::new().with("reward", reward);
        Evaluation {
            metrics: metrics.clone().with("copy_rate", 1.0 - reward),
            rows: vec![EvaluationRow {
                group: "en-de".to_owned(),
                count: 5,
                metrics,
            }],
            samples: vec![EvaluationSample {
                group: "en-de".to_owned(),
                prompt: "tower".to_owned(),
                completion: "Turm".to_owned(),
                reference: Some("Turm".to_owned()),
                reward: Some(Scalar(reward)),
            }],
        }
    }

    #[test]
    fn a_table_shows_start_end_and_change_of_each_group() {
        let text = outcome(&Outcome {
            start: Some(evaluation(0.25)),
            end: Some(evaluation(0.75)),
            ..Outcome::default()
        });
        let want = "held out  n  reward    end  change\n\
                    en-de     5   0.250  0.750  +0.500\n\
                    all       5   0.250  0.750  +0.500\n\
                    copy_rate 0.750 → 0.250\n\
                    \n[en-de] tower\n  → Turm  (right)\n";
        assert_eq!(text, want);
    }
}
