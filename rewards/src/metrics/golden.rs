//! Parity with sacreBLEU: on the corners in `golden/` and on the pairs and corpora of
//! `tests/golden/metrics.json` at the workspace's root, each with the script that made it beside it, and, if
//! `KEEP_CASES` names a folder, on its `metrics.json`.

use super::{Bleu, Chrf, Tokenizer};
use serde_json::Value;
use std::path::Path;

const TOLERANCE: f64 = 1e-9;

#[test]
fn corners_score_as_in_sacrebleu() {
    check_all(include_str!("golden/cases.json"), "golden/cases.json");
}

#[test]
fn cases_from_outside_score_as_in_sacrebleu() {
    let Some(folder) = std::env::var_os("KEEP_CASES") else {
        return;
    };
    let file = Path::new(&folder).join("metrics.json");
    check_all(&read(&file), &file.display().to_string());
}

#[test]
fn varied_pairs_score_and_tokenize_as_in_sacrebleu() {
    for pair in array(&recorded()["pairs"]) {
        let hypothesis = pair["hypothesis"].as_str().unwrap();
        let reference = [pair["reference"].as_str().unwrap()];
        let scores = [
            ("chrf", Chrf::CHRF.sentence_score(hypothesis, &reference)),
            (
                "chrf++",
                Chrf::CHRF_PLUS_PLUS.sentence_score(hypothesis, &reference),
            ),
            (
                "sentence_bleu",
                Bleu::sentence(Tokenizer::V13a).sentence_score(hypothesis, &reference),
            ),
        ];
        for (name, score) in scores {
            assert_close(score, &pair[name], || format!("{name} of {pair}"));
        }
        for (name, expected) in pair["tokenized"].as_object().unwrap() {
            // sacreBLEU splits the words on white space afterwards; ours are split already.
            let expected: Vec<&str> = super::text::words(expected.as_str().unwrap()).collect();
            assert_eq!(
                tokenizer(name).tokenize(hypothesis),
                expected.join(" "),
                "{name}"
            );
        }
    }
}

#[test]
fn recorded_corpora_score_as_in_sacrebleu_part_by_part() {
    let recorded = recorded();
    for corpus in array(&recorded["corpora"]) {
        let pairs = array(&corpus["pairs"])
            .iter()
            .map(|i| &recorded["pairs"][i.as_u64().unwrap() as usize]);
        let (hypotheses, references): (Vec<_>, Vec<_>) = pairs
            .map(|p| {
                (
                    p["hypothesis"].as_str().unwrap(),
                    vec![p["reference"].as_str().unwrap()],
                )
            })
            .unzip();
        for (name, expected) in corpus["bleu"].as_object().unwrap() {
            let metric = Bleu::corpus(tokenizer(name));
            let bleu = metric.corpus_score(&hypotheses, &references);
            let what = || format!("{name} BLEU of {:?}", corpus["name"]);
            assert_close(bleu.score, &expected["score"], what);
            assert_close(bleu.brevity_penalty, &expected["bp"], what);
            for n in 0..4 {
                assert_close(bleu.precisions[n], &expected["precisions"][n], what);
                assert_eq!(
                    bleu.stats.correct[n],
                    expected["counts"][n].as_u64().unwrap(),
                    "{}",
                    what()
                );
                assert_eq!(
                    bleu.stats.total[n],
                    expected["totals"][n].as_u64().unwrap(),
                    "{}",
                    what()
                );
            }
            assert_eq!(
                bleu.stats.hypothesis_len,
                expected["sys_len"].as_u64().unwrap(),
                "{}",
                what()
            );
            assert_eq!(
                bleu.stats.reference_len,
                expected["ref_len"].as_u64().unwrap(),
                "{}",
                what()
            );
            assert_eq!(
                metric.signature(Some(1)),
                expected["signature"].as_str().unwrap()
            );
        }
        for (name, metric) in [("chrf", Chrf::CHRF), ("chrf++", Chrf::CHRF_PLUS_PLUS)] {
            let score = metric.corpus_score(&hypotheses, &references);
            assert_close(score, &corpus[name]["score"], || {
                format!("{name} of {:?}", corpus["name"])
            });
            assert_eq!(
                metric.signature(Some(1)),
                corpus[name]["signature"].as_str().unwrap()
            );
        }
    }
}

fn recorded() -> Value {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden/metrics.json");
    serde_json::from_str(&read(&file)).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

fn read(file: &Path) -> String {
    std::fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

fn tokenizer(name: &str) -> Tokenizer {
    name.parse().unwrap_or_else(|error| panic!("{error}"))
}

fn check_all(text: &str, name: &str) {
    let cases: Vec<Value> =
        serde_json::from_str(text).unwrap_or_else(|error| panic!("{name}: {error}"));
    assert!(!cases.is_empty(), "{name} has no cases");
    cases.iter().for_each(check);
}

/// `{"tokenize", "hyp": […], "ref": […], "bleu", "chrf", "chrf++"}`, where an entry of `ref` may be a list;
/// `sentence_bleu` and its like may give lists of scores, `bleu signature` and its like the signatures.
fn check(case: &Value) {
    let tokenizer = tokenizer(case["tokenize"].as_str().unwrap());
    let hypotheses: Vec<&str> = array(&case["hyp"])
        .iter()
        .map(|h| h.as_str().unwrap())
        .collect();
    let references: Vec<Vec<&str>> = array(&case["ref"]).iter().map(references).collect();
    let num_references = references[0].len();
    let num_references = references
        .iter()
        .all(|r| r.len() == num_references)
        .then_some(num_references);

    let (bleu, sentence_bleu) = (Bleu::corpus(tokenizer), Bleu::sentence(tokenizer));
    let (chrf, chrfpp) = (Chrf::CHRF, Chrf::CHRF_PLUS_PLUS);
    let corpus = [
        (
            "bleu",
            bleu.corpus_score(&hypotheses, &references).score,
            bleu.signature(num_references),
        ),
        (
            "chrf",
            chrf.corpus_score(&hypotheses, &references),
            chrf.signature(num_references),
        ),
        (
            "chrf++",
            chrfpp.corpus_score(&hypotheses, &references),
            chrfpp.signature(num_references),
        ),
    ];
    for (name, score, signature) in corpus {
        assert_close(score, &case[name], || format!("{name} of {case}"));
        if let Some(expected) = case[format!("{name} signature")].as_str() {
            assert_eq!(signature, expected);
        }
    }
    for (i, (hypothesis, references)) in hypotheses.iter().zip(&references).enumerate() {
        let sentence = [
            (
                "sentence_bleu",
                sentence_bleu.sentence_score(hypothesis, references),
            ),
            ("sentence_chrf", chrf.sentence_score(hypothesis, references)),
            (
                "sentence_chrf++",
                chrfpp.sentence_score(hypothesis, references),
            ),
        ];
        for (name, score) in sentence {
            if let Some(scores) = case.get(name) {
                assert_close(score, &scores[i], || {
                    format!("{name} of {hypothesis:?} against {references:?}")
                });
            }
        }
    }
}

fn assert_close(score: f64, expected: &Value, what: impl Fn() -> String) {
    let expected = expected
        .as_f64()
        .unwrap_or_else(|| panic!("no score for {}", what()));
    assert!(
        (score - expected).abs() <= TOLERANCE,
        "{score} for {expected}: {}",
        what()
    );
}

fn references(entry: &Value) -> Vec<&str> {
    match entry {
        Value::Array(several) => several.iter().map(|r| r.as_str().unwrap()).collect(),
        one => vec![one.as_str().unwrap()],
    }
}

fn array(value: &Value) -> &[Value] {
    value
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_else(|| panic!("expected a list, found {value}"))
}
