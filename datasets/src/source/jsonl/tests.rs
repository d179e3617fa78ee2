use super::*;
use crate::record::{Conversation, Document, PreferencePair};

/// A file that is removed with its folder at the end of the test.
struct TempFile(PathBuf);

impl TempFile {
    fn new(name: &str, bytes: &[u8]) -> Self {
        let folder = std::env::temp_dir().join(format!("keep-jsonl-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("data.jsonl"), bytes).unwrap();
        Self(folder.join("data.jsonl"))
    }

    fn open<T: Record>(&self, on_bad_record: OnBadRecord) -> Result<JsonlSource<T>, DataError> {
        JsonlSource::open(std::slice::from_ref(&self.0), on_bad_record)
    }
}

impl Drop for TempFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(self.0.parent().unwrap());
    }
}

fn error_of<T: Record>(name: &str, bytes: &[u8]) -> String {
    TempFile::new(name, bytes)
        .open::<T>(OnBadRecord::Error)
        .err()
        .unwrap()
        .to_string()
}

#[test]
fn byte_order_mark_crlf_blank_lines_and_a_missing_last_newline_are_read() {
    let bytes = b"\xef\xbb\xbf{\"text\": \"one\"}\r\n\r\n  \n{\"text\": \"zwei \xc3\xa9\"}\n{\"text\": \"drei\"}";
    let file = TempFile::new("forms", bytes);
    let source = file.open::<Document>(OnBadRecord::Error).unwrap();
    let texts: Vec<String> = source
        .iter()
        .map(|document| document.unwrap().text)
        .collect();
    assert_eq!(texts, ["one", "zwei é", "drei"]);
    assert_eq!(source.location(1).line, 4);
    assert_eq!(source.get(2).unwrap().text, "drei");
}

#[test]
fn a_file_is_a_part_and_each_component_of_a_mixed_one() {
    let mixed = TempFile::new(
        "mixed",
        b"{\"text\": \"one\"}\n{\"text\": \"\"}\n{\"text\": \"zwei\", \"component\": \"parallel\"}\n{\"text\": \"three\"}\n",
    );
    let plain = TempFile::new("plain", b"{\"text\": \"four\"}\n");
    let paths = [mixed.0.clone(), plain.0.clone()];
    let source = JsonlSource::<Document>::open(&paths, OnBadRecord::Skip).unwrap();
    let parts: Vec<_> = source.parts().iter().collect();
    let of = |part: &Part| (part.path.clone(), part.component, part.num_records);
    assert_eq!(
        parts.iter().map(|part| of(part)).collect::<Vec<_>>(),
        [
            (mixed.0.clone(), Some(Component::Monolingual), 2),
            (mixed.0.clone(), Some(Component::Parallel), 1),
            (plain.0.clone(), Some(Component::Monolingual), 1),
        ]
    );
    let skipped: Vec<usize> = parts.iter().map(|p| p.skipped.values().sum()).collect();
    assert_eq!(skipped, [1, 0, 0]);
    let of_records: Vec<usize> = (0..4).map(|index| source.part_of(index)).collect();
    assert_eq!(of_records, [0, 1, 0, 2]);
    assert_eq!(source.get(3).unwrap().text, "four");
}

#[test]
fn several_files_follow_one_another() {
    let a = TempFile::new("a", b"{\"text\": \"one\"}\n");
    let b = TempFile::new("b", b"{\"text\": \"two\"}\n{\"text\": \"three\"}\n");
    let source =
        JsonlSource::<Document>::open(&[a.0.clone(), b.0.clone()], OnBadRecord::Error).unwrap();
    assert_eq!(source.len(), 3);
    assert_eq!(source.get(2).unwrap().text, "three");
    assert_eq!(
        source.location(2),
        Location {
            path: b.0.clone(),
            line: 2
        }
    );
}

#[test]
fn the_first_bad_line_is_the_error_with_its_number_and_field() {
    let error = error_of::<Document>("bad", b"{\"text\": \"one\"}\n\n{\"text\": 3}\nhello\n");
    assert!(
        error.contains("data.jsonl:3: field `text`: expected text, found a number"),
        "{error}"
    );
    assert!(error.contains("hint:"), "{error}");
}

#[test]
fn what_is_not_json_not_utf8_or_of_another_shape_is_told_apart() {
    assert!(
        error_of::<Conversation>("json", b"hello\n")
            .contains(":1: expected one JSON object a line")
    );
    let error = error_of::<Document>("utf8", b"{\"text\": \"\xff\xfe\"}\n");
    assert!(
        error.contains(":1: expected UTF-8 text, found byte 0xff at column 11"),
        "{error}"
    );
    let error = error_of::<Conversation>("field", b"{\"txt\": \"a\"}\n");
    assert!(error.contains(":1: field `messages`"), "{error}");
    let error = error_of::<Conversation>(
        "turn",
        b"{\"messages\": [{\"role\": \"user\", \"content\": \"hi\"}]}\n",
    );
    assert!(
        error.contains(":1") && error.contains("assistant"),
        "{error}"
    );
    let error = error_of::<PreferencePair>("pair", b"{\"prompt\": \"a\", \"chosen\": \"b\"}\n");
    assert!(error.contains(":1: field `rejected`"), "{error}");
    assert!(
        error_of::<Document>("list", b"[1]\n").contains(":1: expected a JSON object, found a list")
    );
}

#[test]
fn an_empty_file_a_missing_file_and_a_folder_say_so() {
    assert!(error_of::<Document>("empty", b"").contains("the file is empty"));
    assert!(error_of::<Document>("blank", b"\n\n").contains("the file is empty"));
    let open = |path: &str| {
        JsonlSource::<Document>::open(&[path.into()], OnBadRecord::Error)
            .err()
            .unwrap()
            .to_string()
    };
    assert!(open("/nonexistent.jsonl").contains("/nonexistent.jsonl: cannot be read"));
    assert!(open("/").contains("cannot be read"));
}

#[test]
fn skipped_lines_are_counted_by_reason() {
    let bytes = b"{\"text\": 1}\n{\"text\": \"a\"}\nhello\n{\"text\": 2}\n";
    let file = TempFile::new("skip", bytes);
    let source = file.open::<Document>(OnBadRecord::Skip).unwrap();
    assert_eq!((source.len(), source.skipped().total()), (1, 3));
    let shown = source.skipped().to_string();
    assert!(
        shown.contains("2 × field `text`: expected text (first at "),
        "{shown}"
    );
    assert!(
        shown.contains("1 × expected one JSON object a line"),
        "{shown}"
    );
}

#[test]
fn a_file_whose_every_line_is_skipped_is_an_error_that_says_how_many() {
    let file = TempFile::new("all-bad", b"hello\nworld\n");
    let error = file
        .open::<Document>(OnBadRecord::Skip)
        .err()
        .unwrap()
        .to_string();
    assert!(error.contains("all of its 2 lines were skipped"), "{error}");
}

#[test]
fn a_record_that_a_check_refuses_is_a_bad_line_like_any_other() {
    let file = TempFile::new("checked", b"{\"text\": \"a\"}\n{\"text\": \"bb\"}\n");
    let check = |document: &Document| match document.text.len() {
        1 => Ok(()),
        _ => Err(RecordError::field("text", "a letter", "two")),
    };
    let open = |on_bad_record| {
        JsonlSource::<Document>::open_checked(std::slice::from_ref(&file.0), on_bad_record, check)
    };
    let error = open(OnBadRecord::Error).err().unwrap().to_string();
    assert!(
        error.contains(":2: field `text`: expected a letter, found two"),
        "{error}"
    );
    let source = open(OnBadRecord::Skip).unwrap();
    assert_eq!((source.len(), source.skipped().total()), (1, 1));
}
