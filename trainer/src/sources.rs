//! What a run has taken of each of its sources: the numbers of `data` events.
//!
//! A stage counts what it trains on where it takes it from its loader, and keeps the counts in its state, so
//! that a run that was killed and resumed tells the same as one that was not. A run that goes back to an
//! earlier checkpoint does not give records back: it goes on behind them, and they stay counted.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use datasets::Part;
use serde::{Deserialize, Serialize};
use telemetry::Scalar;
use telemetry::event::DataSource;

/// The sources of one stage's loader: files, and the components of a file that mixes several.
pub struct Sources {
    /// What does not change during the run.
    known: Vec<DataSource>,
    /// By source.
    taken: Vec<Taken>,
}

/// What was taken of one source so far.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Taken {
    /// Records trained on.
    records: u64,
    /// Tokens in them.
    tokens: u64,
    /// Records that the loader gave and nothing was trained on, by reason.
    left_out: BTreeMap<String, u64>,
}

/// What goes into a checkpoint: the counts by the sources' names.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SourcesState(BTreeMap<String, Taken>);

impl Sources {
    /// The parts of a data source, by their numbers there.
    pub fn new(parts: &[Part]) -> Self {
        let known = parts.iter().zip(names(parts)).map(|(part, name)| {
            let skipped = part.skipped.iter();
            DataSource {
                name,
                records: part.num_records as u64,
                rejected: skipped.map(|(why, &n)| (why.clone(), n as u64)).collect(),
                ..DataSource::default()
            }
        });
        Sources {
            known: known.collect(),
            taken: vec![Taken::default(); parts.len()],
        }
    }

    /// A record of this part cannot be used at all.
    pub fn reject(&mut self, part: usize, why: &str) {
        self.known[part].records -= 1;
        *self.known[part].rejected.entry(why.to_owned()).or_default() += 1;
    }

    /// A record of this part is trained on.
    pub fn take(&mut self, part: usize, num_tokens: usize) {
        self.taken[part].records += 1;
        self.taken[part].tokens += num_tokens as u64;
    }

    /// A record of this part came and is not trained on.
    pub fn leave_out(&mut self, part: usize, why: &str) {
        *self.taken[part].left_out.entry(why.to_owned()).or_default() += 1;
    }

    /// What goes into a checkpoint.
    pub fn state(&self) -> SourcesState {
        let names = self.known.iter().map(|source| source.name.clone());
        SourcesState(names.zip(self.taken.iter().cloned()).collect())
    }

    /// Puts the counts of a checkpoint back; older ones have none.
    pub fn restore(&mut self, mut state: SourcesState) {
        for (source, taken) in self.known.iter().zip(&mut self.taken) {
            *taken = state.0.remove(&source.name).unwrap_or_default();
        }
    }

    /// As the log has them, each with its share among them.
    pub fn report(&self) -> Vec<DataSource> {
        let share = |part: u64, all: u64| (all > 0).then(|| Scalar(part as f64 / all as f64));
        let all_records = self.known.iter().map(|source| source.records).sum();
        let all_taken = self.taken.iter().map(|taken| taken.records).sum();
        let sources = self.known.iter().zip(&self.taken);
        sources
            .map(|(known, taken)| {
                let mut source = known.clone();
                source.records_taken = taken.records;
                source.tokens_taken = Some(taken.tokens);
                // A loader goes over all records alike.
                source.target_share = share(known.records, all_records);
                source.share = share(taken.records, all_taken);
                let visited = taken.records + taken.left_out.values().sum::<u64>();
                source.epoch = share(visited, known.records);
                for (why, count) in &taken.left_out {
                    *source.rejected.entry(why.clone()).or_default() += count;
                }
                source
            })
            .collect()
    }
}

/// A part is named by its file, where two files have one name by their paths, and where a file has several
/// parts by its component too: `corpus.jsonl (parallel)`.
fn names(parts: &[Part]) -> impl Iterator<Item = String> {
    let mut components: HashMap<&Path, usize> = HashMap::new();
    for part in parts {
        *components.entry(&part.path).or_default() += 1;
    }
    let mut files: HashMap<_, usize> = HashMap::new();
    for path in components.keys() {
        *files.entry(path.file_name()).or_default() += 1;
    }
    parts.iter().map(move |part| {
        let file = match (part.path.file_name(), files[&part.path.file_name()]) {
            (Some(name), 1) => name.to_string_lossy().into_owned(),
            _ => part.path.display().to_string(),
        };
        match (part.component, components[&*part.path]) {
            (Some(component), 2..) => format!("{file} ({})", component.name()),
            _ => file,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use datasets::{CorpusRecord, JsonlSource, OnBadRecord};
    use std::path::PathBuf;
    use telemetry::atomic::write_atomic;

    fn sources(dir: &Path) -> Sources {
        let write = |name: &str, lines: &[&str]| -> PathBuf {
            let path = dir.join(name);
            std::fs::create_dir_all(path.parent().expect("in a folder")).expect("a folder");
            write_atomic(&path, lines.join("\n")).expect("a file");
            path
        };
        let pair = r#"{"source": "a", "target": "b", "source_lang": "en", "target_lang": "de"}"#;
        let text = r#"{"text": "a"}"#;
        let paths = [
            write("mix.jsonl", &[text, pair, text, "{}"]),
            write("x/same.jsonl", &[text]),
            write("y/same.jsonl", &[text]),
        ];
        let source = JsonlSource::<CorpusRecord>::open(&paths, OnBadRecord::Skip);
        Sources::new(source.expect("sound files").parts())
    }

    #[test]
    fn sources_are_files_and_components_with_names_of_their_own() {
        let dir = tempfile::tempdir().expect("a folder");
        let report = sources(dir.path()).report();
        let names: Vec<&str> = report.iter().map(|source| &*source.name).collect();
        let path = |name: &str| dir.path().join(name).display().to_string();
        assert_eq!(
            names,
            [
                "mix.jsonl (monolingual)",
                "mix.jsonl (parallel)",
                &path("x/same.jsonl"),
                &path("y/same.jsonl")
            ]
        );
        let records: Vec<u64> = report.iter().map(|source| source.records).collect();
        assert_eq!(records, [2, 1, 1, 1]);
        assert_eq!(report[0].rejected.values().sum::<u64>(), 1);
        assert_eq!(report[0].target_share, Some(Scalar(0.4)));
        assert_eq!(report[0].share, None, "nothing was taken yet");
    }

    #[test]
    fn what_was_taken_and_left_out_survives_a_checkpoint() {
        let dir = tempfile::tempdir().expect("a folder");
        let mut counted = sources(dir.path());
        counted.take(0, 10);
        counted.take(0, 20);
        counted.take(1, 5);
        counted.leave_out(0, "too long");
        counted.reject(0, "no verifier");
        let report = counted.report();
        // One of two records was rejected; two were taken and one left out: three passes.
        assert_eq!((report[0].records, report[0].records_taken), (1, 2));
        assert_eq!(report[0].tokens_taken, Some(30));
        assert_eq!(report[0].epoch, Some(Scalar(3.0)));
        assert_eq!(report[0].share, Some(Scalar(2.0 / 3.0)));
        assert_eq!(report[0].rejected["too long"], 1);
        let json = serde_json::to_string(&counted.state()).expect("counts");
        let mut resumed = sources(dir.path());
        resumed.reject(0, "no verifier");
        resumed.restore(serde_json::from_str(&json).expect("counts"));
        assert_eq!(resumed.report(), report);
    }
}
