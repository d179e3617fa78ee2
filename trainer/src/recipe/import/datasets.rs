//! Where the records come from. Keep reads files; the other programs mostly names on the Hub.

use super::carrier::Carrier;
use super::yaml::{Item, Yaml};
use crate::recipe::StageName;

/// Keys of a data set that say how to make conversations of its columns, which Keep sees by itself.
const FORMAT_KEYS: &[&str] = &[
    "chat_template",
    "conversation",
    "ds_type",
    "name",
    "path",
    "data_files",
    "roles_to_train",
    "split",
    "train_on_eos",
    "type",
];

/// What a record must have, by stage.
fn records(stage: StageName) -> &'static str {
    match stage {
        StageName::Cpt => "{\"text\"}",
        StageName::Sft => "{\"messages\"}",
        StageName::Po => "{\"prompt\", \"chosen\", \"rejected\"}",
        StageName::Rl => "{\"prompt\", \"verifier\", \"ground_truth\"}",
    }
}

/// A list of data sets, for training.
pub(super) fn train(carrier: &mut Carrier<'_>, item: &Item) {
    carry(carrier, item, "train_data");
}

/// A list of data sets, held out.
pub(super) fn eval(carrier: &mut Carrier<'_>, item: &Item) {
    carry(carrier, item, "eval_data");
}

fn carry(carrier: &mut Carrier<'_>, item: &Item, key: &str) {
    let entries: &[Yaml] = match &item.value {
        Yaml::List(entries) => entries,
        one => std::slice::from_ref(one),
    };
    let mut files = Vec::new();
    for (index, entry) in entries.iter().enumerate() {
        let place = match &item.value {
            Yaml::List(_) => format!("{}[{index}]", item.key),
            _ => item.key.clone(),
        };
        let path = entry.get("path").unwrap_or(entry);
        let found = files_of(entry.get("data_files")).or_else(|| files_of(Some(path)));
        match found {
            Some(found) => files.extend(found),
            None => leave_hub_name(carrier, item, &place, path),
        }
        for field in entry.items() {
            if !FORMAT_KEYS.contains(&field.key.as_str()) && field.value != Yaml::Null {
                let field = Item {
                    key: format!("{place}.{}", field.key),
                    ..field.clone()
                };
                let why = format!(
                    "no equivalent: a line is {}, ShareGPT or Alpaca; rename its fields",
                    records(carrier.stage)
                );
                carrier.leave(&field, why);
            }
        }
    }
    if !files.is_empty() {
        let files = files.into_iter().map(Yaml::Text).collect();
        carrier.offer(item, key, &Yaml::List(files));
    }
}

fn leave_hub_name(carrier: &mut Carrier<'_>, item: &Item, place: &str, path: &Yaml) {
    let why = format!(
        "no equivalent: Keep reads files; `load_dataset(\"{path}\").to_json(\"FILE.jsonl\")`, a line \
         {}, and pass --data FILE.jsonl",
        records(carrier.stage)
    );
    let named = Item {
        key: place.to_owned(),
        value: path.clone(),
        line: item.line,
    };
    carrier.leave(&named, why);
}

/// One file of JSON Lines, or several; `None` where any is something else.
fn files_of(value: Option<&Yaml>) -> Option<Vec<String>> {
    let is_jsonl = |text: &&str| [".jsonl", ".ndjson"].iter().any(|end| text.ends_with(end));
    match value? {
        Yaml::List(files) => files
            .iter()
            .map(|file| file.text().filter(is_jsonl).map(str::to_owned))
            .collect(),
        file => Some(vec![file.text().filter(is_jsonl)?.to_owned()]),
    }
}
