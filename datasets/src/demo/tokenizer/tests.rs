use super::*;

fn texts(record: &Value) -> Vec<String> {
    match record {
        Value::String(text) => vec![text.clone()],
        Value::Array(values) => values.iter().flat_map(texts).collect(),
        Value::Object(fields) => fields.values().flat_map(texts).collect(),
        _ => vec![],
    }
}

#[test]
fn training_twice_gives_the_same_bytes() {
    let bytes = |_| train(0).unwrap().to_string(false).unwrap();
    let runs: Vec<_> = (0..2).map(bytes).collect();
    assert_eq!(runs[0], runs[1]);
}

#[test]
fn every_text_comes_back_from_its_tokens() {
    let tokenizer = train(0).unwrap();
    let corpus = DemoCorpus::new(5);
    let records = corpus
        .documents(300)
        .chain(corpus.conversations(300))
        .chain(corpus.held_out(300));
    let others = ["人生は美しい 🦀", "<end_of_turn>", " two  spaces\t\r\n"].map(str::to_owned);
    for text in records.flat_map(|record| texts(&record)).chain(others) {
        let tokens = tokenizer.encode(text.as_str(), false).unwrap();
        assert_eq!(tokenizer.decode(tokens.get_ids(), false).unwrap(), text);
    }
}

#[test]
fn every_figure_is_a_token() {
    let tokenizer = train(0).unwrap();
    let tokens = tokenizer.encode("57,50", false).unwrap();
    assert_eq!(tokens.get_tokens(), ["5", "7", ",", "5", "0"]);
}

#[test]
fn the_special_tokens_are_single_tokens_and_bos_comes_first() {
    let tokenizer = train(0).unwrap();
    assert_eq!(tokenizer.get_vocab_size(true), VOCAB_SIZE);
    let tokens = tokenizer
        .encode("<start_of_turn>user\nfour<end_of_turn>", true)
        .unwrap();
    let ids = tokens.get_ids();
    assert_eq!((ids[0], ids[1], ids[ids.len() - 1]), (2, 3, 4));
    assert_eq!(ids.len(), 6, "{:?}", tokens.get_tokens());
}

/// What a stage of minutes can learn is counted in tokens, so prompts and answers must stay short.
#[test]
fn prompts_and_answers_are_short() {
    let tokenizer = train(0).unwrap();
    let length = |text: &Value| {
        tokenizer
            .encode(text.as_str().unwrap(), false)
            .unwrap()
            .len()
    };
    let prompts: Vec<_> = DemoCorpus::new(0).held_out(1000).collect();
    let lengths = |field| {
        prompts
            .iter()
            .map(|prompt| length(&prompt[field]))
            .collect::<Vec<_>>()
    };
    for (field, mean_bound, bound) in [("prompt", 16.0, 32), ("ground_truth", 10.0, 24)] {
        let lengths = lengths(field);
        let mean = lengths.iter().sum::<usize>() as f64 / lengths.len() as f64;
        let longest = lengths.iter().max().unwrap();
        println!("{field}: mean {mean:.1}, longest {longest} tokens");
        assert!(
            mean < mean_bound && *longest <= bound,
            "{field}: mean {mean:.1}, longest {longest} tokens"
        );
    }
}

#[test]
fn a_written_tokenizer_loads_again() {
    let dir = std::env::temp_dir().join(format!("keep-demo-tokenizer-{}", std::process::id()));
    let tokenizer = write(&dir, 1).unwrap();
    let loaded = Tokenizer::from_file(dir.join("tokenizer.json")).unwrap();
    assert_eq!(
        loaded.to_string(false).unwrap(),
        tokenizer.to_string(false).unwrap()
    );
    let config: Value =
        serde_json::from_str(&std::fs::read_to_string(dir.join("tokenizer_config.json")).unwrap())
            .unwrap();
    assert_eq!(config["eos_token"], "<eos>");
    assert!(!CHAT_TEMPLATE.ends_with('\n'));
    std::fs::remove_dir_all(&dir).unwrap();
}
