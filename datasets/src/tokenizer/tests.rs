use serde_json::json;

use super::*;
use crate::test_model::{GEMMA_TOKENS, TestModel};

fn load(model: &TestModel, start: DocumentStart) -> Result<Tokenizer, DataError> {
    Tokenizer::from_dir(model.path(), start)
}

#[test]
fn a_document_starts_with_bos_only_where_the_family_has_one() {
    let model = TestModel::gemma("document", None);
    let gemma = load(&model, DocumentStart::Bos).unwrap();
    let text = gemma.encode("the tower").unwrap();
    assert_eq!(
        gemma.document("the tower", DocumentEnd::Eos).unwrap(),
        [&[2], &text[..], &[1]].concat()
    );
    assert_eq!(
        gemma.document("the tower", DocumentEnd::Open).unwrap(),
        [&[2], &text[..]].concat()
    );
    let bare = load(&model, DocumentStart::Text).unwrap();
    assert_eq!(bare.document("the tower", DocumentEnd::Open).unwrap(), text);
    assert_eq!(
        (gemma.bos_id(), bare.bos_id(), bare.eos_id()),
        (Some(2), None, 1)
    );
}

#[test]
fn text_survives_the_round_trip_and_control_tokens_can_be_left_out() {
    let model = TestModel::gemma("roundtrip", None);
    let tokenizer = load(&model, DocumentStart::Bos).unwrap();
    let text = "<start_of_turn>der Turm, 塔 🗼\n\n tower<end_of_turn>";
    let ids = tokenizer.encode(text).unwrap();
    assert_eq!(tokenizer.decode_with_special(&ids).unwrap(), text);
    assert_eq!(tokenizer.decode(&ids).unwrap(), "der Turm, 塔 🗼\n\n tower");
    assert_eq!(tokenizer.vocab_size(), 5 + 256 + 6);
}

#[test]
fn spans_cover_the_text_even_where_the_post_processor_would_trim_them() {
    let model = TestModel::gemma("spans", None);
    let tokenizer = load(&model, DocumentStart::Bos).unwrap();
    let spans = tokenizer.encode_spans("a tower\n\n<eos>").unwrap();
    let bytes: Vec<_> = spans
        .iter()
        .map(|span| (span.bytes.start, span.bytes.end))
        .collect();
    assert_eq!(bytes, [(0, 1), (1, 7), (7, 9), (9, 14)]);
    assert!(tokenizer.is_added(spans[3].id) && !tokenizer.is_added(spans[1].id));
}

#[test]
fn missing_files_and_tokens_are_named() {
    let error = Tokenizer::from_dir(Path::new("/nonexistent"), DocumentStart::Text)
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("/nonexistent/tokenizer.json: the file is missing"),
        "{error}"
    );
    let model = TestModel::new("no-eos", &GEMMA_TOKENS, json!({"bos_token": "<bos>"}), None);
    let error = load(&model, DocumentStart::Bos).unwrap_err().to_string();
    assert!(
        error.contains("tokenizer_config.json: there is no `eos_token`"),
        "{error}"
    );
    let model = TestModel::new("odd-eos", &GEMMA_TOKENS, json!({"eos_token": "</s>"}), None);
    let error = load(&model, DocumentStart::Text).unwrap_err().to_string();
    assert!(
        error.contains("`eos_token` is `</s>`, which tokenizer.json does not know"),
        "{error}"
    );
}

#[test]
fn the_special_tokens_map_fills_in_what_the_config_lacks() {
    let model = TestModel::new("map", &GEMMA_TOKENS, json!({"bos_token": null}), None);
    let map = json!({"bos_token": {"content": "<bos>"}, "eos_token": "<eos>"});
    std::fs::write(
        model.path().join("special_tokens_map.json"),
        map.to_string(),
    )
    .unwrap();
    let tokenizer = load(&model, DocumentStart::Bos).unwrap();
    assert_eq!((tokenizer.bos_id(), tokenizer.eos_id()), (Some(2), 1));
}

#[test]
fn an_eos_token_that_is_a_plain_word_becomes_one_token() {
    let model = TestModel::new(
        "word-eos",
        &GEMMA_TOKENS,
        json!({"eos_token": "tower"}),
        None,
    );
    let tokenizer = load(&model, DocumentStart::Text).unwrap();
    assert!(tokenizer.is_added(tokenizer.eos_id()));
    assert_eq!(
        tokenizer
            .decode(&tokenizer.encode("a tower").unwrap())
            .unwrap(),
        "a "
    );
}

#[test]
fn only_tokenizer_files_that_exist_are_listed() {
    let model = TestModel::gemma("files", Some("{{ messages }}"));
    std::fs::write(model.path().join("model.safetensors"), "").unwrap();
    let names: Vec<String> = Tokenizer::files(model.path())
        .iter()
        .map(|path| path.file_name().unwrap().to_string_lossy().into_owned())
        .collect();
    assert_eq!(
        names,
        [
            "tokenizer.json",
            "tokenizer_config.json",
            "chat_template.jinja"
        ]
    );
}
