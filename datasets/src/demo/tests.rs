//! What the whole corpus promises: the same for the same seed, well formed, and nothing of the evaluation in training.

use super::*;

fn text<'a>(record: &'a Value, field: &str) -> &'a str {
    record[field]
        .as_str()
        .unwrap_or_else(|| panic!("{field} of {record} is not a string"))
}

#[test]
fn the_same_seed_gives_the_same_records_and_another_gives_others() {
    let records = |seed| {
        let corpus = DemoCorpus::new(seed);
        corpus
            .documents(50)
            .chain(corpus.conversations(50))
            .chain(corpus.prompts(50))
            .chain(corpus.held_out(50))
            .collect::<Vec<_>>()
    };
    assert_eq!(records(1), records(1));
    assert_ne!(records(1), records(2));
}

#[test]
fn asking_for_more_does_not_change_the_first() {
    let corpus = DemoCorpus::new(4);
    assert_eq!(
        corpus.documents(20).collect::<Vec<_>>(),
        corpus.documents(100).take(20).collect::<Vec<_>>()
    );
    assert_eq!(
        corpus.held_out(20).collect::<Vec<_>>(),
        corpus.held_out(100).take(20).collect::<Vec<_>>()
    );
}

#[test]
fn no_held_out_prompt_or_pair_is_in_any_training_set() {
    let mut prompts = HashSet::new();
    let mut pairs = HashSet::new();
    let mut training = String::new();
    for seed in 0..2 {
        let corpus = DemoCorpus::new(seed);
        for document in corpus.documents(6_000) {
            if document.get("text").is_some() {
                training.push_str(text(&document, "text"));
                training.push('\n');
                continue;
            }
            let (source, target) = (text(&document, "source"), text(&document, "target"));
            pairs.insert((source.to_owned(), target.to_owned()));
            pairs.insert((target.to_owned(), source.to_owned()));
        }
        for conversation in corpus.conversations(6_000) {
            prompts.insert(text(&conversation["messages"][0], "content").to_owned());
        }
        for prompt in corpus.prompts(6_000).chain(corpus.preferences(6_000)) {
            prompts.insert(text(&prompt, "prompt").to_owned());
        }
    }
    for prompt in DemoCorpus::new(9).held_out(2_000) {
        let question = text(&prompt, "prompt");
        assert!(!prompts.contains(question), "{prompt}");
        assert!(!training.contains(&format!("{question}\n")), "{prompt}");
        if prompt.get("source").is_some() {
            let pair = (
                text(&prompt, "source").to_owned(),
                text(&prompt, "ground_truth").to_owned(),
            );
            assert!(!pairs.contains(&pair), "{prompt}");
        }
    }
}

#[test]
fn held_out_sentences_are_in_no_language_of_the_training_text() {
    let training: HashSet<String> = DemoCorpus::new(0)
        .documents(10_000)
        .filter_map(|document| Some(document.get("text")?.as_str()?.to_owned()))
        .collect();
    let lines: HashSet<&str> = training
        .iter()
        .flat_map(|text| text.lines())
        .map(|line| line.split_once(": ").map_or(line, |(_, rest)| rest))
        .collect();
    for prompt in DemoCorpus::new(0).held_out(1_000) {
        let source = prompt
            .get("source")
            .and_then(Value::as_str)
            .unwrap_or_default();
        if source.ends_with('.') {
            assert!(!lines.contains(source), "{prompt}");
        }
    }
}

#[test]
fn no_held_out_prompt_comes_twice_and_thousands_come() {
    let prompts: Vec<_> = DemoCorpus::new(0)
        .held_out(2_000)
        .map(|prompt| text(&prompt, "prompt").to_owned())
        .collect();
    assert_eq!(prompts.len(), 2_000);
    assert_eq!(prompts.iter().collect::<HashSet<_>>().len(), prompts.len());
}

#[test]
fn every_record_has_the_fields_of_its_form() {
    let corpus = DemoCorpus::new(0);
    for document in corpus.documents(2_000) {
        if document.get("text").is_none() {
            let languages = ["source_lang", "target_lang"].map(|field| text(&document, field));
            assert!(languages.iter().all(|code| {
                Language::ALL
                    .iter()
                    .any(|language| language.code() == *code)
            }));
            assert!(!text(&document, "source").is_empty() && !text(&document, "target").is_empty());
        }
    }
    for conversation in corpus.conversations(2_000) {
        let roles = [0, 1].map(|turn| text(&conversation["messages"][turn], "role"));
        assert_eq!(roles, ["user", "assistant"]);
    }
    for preference in corpus.preferences(2_000) {
        assert_ne!(
            text(&preference, "chosen"),
            text(&preference, "rejected"),
            "{preference}"
        );
    }
    for prompt in corpus.prompts(2_000).chain(corpus.held_out(500)) {
        assert!(
            prompt["verifier"]
                .as_array()
                .is_some_and(|verifiers| verifiers[0] == "exact_match")
        );
        let answer = text(&prompt, "ground_truth");
        assert!(!answer.is_empty() && answer == answer.trim(), "{prompt}");
        if text(&prompt, "task").starts_with("translate/") {
            assert!(
                text(&prompt, "prompt").ends_with(text(&prompt, "source")),
                "{prompt}"
            );
            assert_eq!(text(&prompt, "reference"), answer);
        }
    }
}

#[test]
fn a_prompt_has_a_single_answer() {
    let mut answers = std::collections::HashMap::new();
    for prompt in DemoCorpus::new(0).prompts(20_000) {
        let answer = text(&prompt, "ground_truth").to_owned();
        let first = answers
            .entry(text(&prompt, "prompt").to_owned())
            .or_insert_with(|| answer.clone())
            .clone();
        assert_eq!(first, answer, "{prompt}");
    }
}
