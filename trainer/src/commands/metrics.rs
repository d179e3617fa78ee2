use std::fs;
use std::path::Path;

use rewards::metrics::{Bleu, Chrf, Tokenizer};
use serde_json::{Map, Value, json};

use crate::TrainError;
use crate::cli::{Metric, MetricsArgs, Tokenization};

/// Prints the corpus metrics of a file of translations.
pub(super) fn run(args: &MetricsArgs) -> Result<(), TrainError> {
    let hypotheses = segments(&args.hypotheses)?;
    let references = segments(&args.references)?;
    if hypotheses.len() != references.len() {
        return Err(TrainError::Usage(format!(
            "{} has {} lines and {} has {}\nhint: line i of one is the reference of line i of \
             the other",
            args.hypotheses.display(),
            hypotheses.len(),
            args.references.display(),
            references.len()
        )));
    }
    let references: Vec<Vec<String>> = references.into_iter().map(|line| vec![line]).collect();
    let mut results = Map::new();
    for &metric in &args.metrics {
        let (name, score, signature) = match metric {
            Metric::Bleu => {
                let bleu = Bleu::corpus(tokenizer(args.tokenize));
                let score = bleu.corpus_score(&hypotheses, &references).score;
                ("bleu", score, bleu.signature(Some(1)))
            }
            Metric::Chrf => chrf("chrf", Chrf::CHRF, &hypotheses, &references),
            Metric::ChrfPlusPlus => chrf("chrf++", Chrf::CHRF_PLUS_PLUS, &hypotheses, &references),
        };
        let result = json!({"score": score, "signature": signature});
        results.insert(name.to_owned(), result);
    }
    if args.json {
        println!("{}", Value::Object(results));
        return Ok(());
    }
    for (name, result) in &results {
        let score = result["score"].as_f64().unwrap_or(f64::NAN);
        let signature = result["signature"].as_str().unwrap_or_default();
        println!("{name:<7} {score:>7.3}   {signature}");
    }
    Ok(())
}

fn chrf(
    name: &'static str,
    chrf: Chrf,
    hypotheses: &[String],
    references: &[Vec<String>],
) -> (&'static str, f64, String) {
    let score = chrf.corpus_score(hypotheses, references);
    (name, score, chrf.signature(Some(1)))
}

fn tokenizer(choice: Tokenization) -> Tokenizer {
    match choice {
        Tokenization::Mteval13a => Tokenizer::V13a,
        Tokenization::Zh => Tokenizer::Zh,
        Tokenization::Char => Tokenizer::Char,
        Tokenization::None => Tokenizer::None,
    }
}

/// One segment a line; an empty line is an empty segment, the end of the last line is none.
fn segments(path: &Path) -> Result<Vec<String>, TrainError> {
    let text = fs::read_to_string(path).map_err(TrainError::io(path))?;
    let text = text.strip_suffix('\n').unwrap_or(&text);
    let lines = text.split('\n');
    Ok(lines
        .map(|line| line.strip_suffix('\r').unwrap_or(line).to_owned())
        .collect())
}
