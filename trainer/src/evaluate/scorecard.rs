use std::collections::BTreeMap;

use serde_json::{Value, json};
use telemetry::event::EvaluationRow;
use telemetry::{Fields, Scalar};

use super::FileKind;
use crate::table::aligned;

/// The skill that stands apart from the others.
const TRANSLATION: &str = "translation";

/// What was measured on one file.
#[derive(Clone, Debug, PartialEq)]
pub struct FileScores {
    /// Its path as given.
    pub file: String,
    /// What it measures.
    pub skill: String,
    /// What it holds.
    pub kind: FileKind,
    /// Its records.
    pub count: u64,
    /// Over all of them.
    pub metrics: Fields,
    /// By task or language pair.
    pub rows: Vec<EvaluationRow>,
}

/// What was measured on all files.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Scorecard {
    /// In the order in which they were measured.
    pub files: Vec<FileScores>,
}

impl Scorecard {
    /// Each skill's metrics: the means over its files, every file weighing the same.
    pub fn skills(&self) -> BTreeMap<&str, Fields> {
        let mut files: BTreeMap<&str, Vec<&Fields>> = BTreeMap::new();
        for file in &self.files {
            files.entry(&file.skill).or_default().push(&file.metrics);
        }
        let skills = files.into_iter();
        skills.map(|(skill, of)| (skill, means(&of))).collect()
    }

    /// The mean chrF of translation, or its reward where no pairs are in the files, and the mean over
    /// all other skills of their rewards; `None` where nothing measured it.
    pub fn overall(&self) -> [(&'static str, &'static str, Option<f64>); 2] {
        let skills = self.skills();
        let translation = skills.get(TRANSLATION);
        let of_translation = |metric: &str| translation.and_then(|of| of.scalar(metric));
        let (metric, value) = match (of_translation("chrf"), of_translation("reward")) {
            (None, Some(reward)) => ("reward", Some(reward)),
            (chrf, _) => ("chrf", chrf),
        };
        let others = skills.iter().filter(|(skill, _)| **skill != TRANSLATION);
        let rewards: Vec<f64> = others.filter_map(|(_, of)| of.scalar("reward")).collect();
        let count = rewards.len() as f64;
        let reward = (count > 0.0).then(|| rewards.iter().sum::<f64>() / count);
        [
            (TRANSLATION, metric, value),
            ("general skills", "reward", reward),
        ]
    }

    /// As `--output` has it.
    pub fn to_json(&self) -> Value {
        let files: Vec<Value> = self
            .files
            .iter()
            .map(|file| {
                json!({
                    "file": file.file,
                    "skill": file.skill,
                    "kind": file.kind.name(),
                    "count": file.count,
                    "metrics": file.metrics,
                    "rows": file.rows,
                })
            })
            .collect();
        let overall: Fields = self
            .overall()
            .into_iter()
            .map(|(name, _, value)| (name, value))
            .collect();
        json!({"files": files, "skills": self.skills(), "overall": overall})
    }

    /// As a person reads it: files with their rows, then skills, then translation beside the rest.
    pub fn to_text(&self) -> String {
        let of_files = self.files.iter().map(|file| &file.metrics);
        let names = names(of_files);
        let mut rows = vec![header("file", "n", &names)];
        for file in &self.files {
            let title = format!("{} ({})", file.file, file.skill);
            rows.push(row(title, file.count, &file.metrics, &names));
            // One row says the same as its file.
            for part in file.rows.iter().filter(|_| file.rows.len() > 1) {
                rows.push(row(
                    format!("  {}", part.group),
                    part.count,
                    &part.metrics,
                    &names,
                ));
            }
        }
        let mut text = aligned(&rows);
        let mut rows = vec![header("skill", "files", &names)];
        for (skill, metrics) in self.skills() {
            let files = self.files.iter().filter(|file| file.skill == skill);
            rows.push(row(
                skill.to_owned(),
                files.count() as u64,
                &metrics,
                &names,
            ));
        }
        text.push('\n');
        text.push_str(&aligned(&rows));
        let overall = self.overall();
        let titles = overall.map(|(title, ..)| title).join(" | ");
        let values = overall.map(|(_, metric, value)| format!("{metric} {}", number(value)));
        text.push_str(&format!("\n{titles}\n{}\n", values.join(" | ")));
        text
    }
}

fn means(files: &[&Fields]) -> Fields {
    let mean = |name: &str| {
        let values: Vec<f64> = files.iter().filter_map(|of| of.scalar(name)).collect();
        Scalar(values.iter().sum::<f64>() / values.len() as f64)
    };
    let names = names(files.iter().copied());
    names.into_iter().map(|name| (name, mean(name))).collect()
}

/// The names of all metrics, in the order in which they first come.
fn names<'a>(of: impl Iterator<Item = &'a Fields>) -> Vec<&'a str> {
    let mut names: Vec<&str> = Vec::new();
    for (name, _) in of.flat_map(Fields::scalars) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

fn header(first: &str, count: &str, names: &[&str]) -> Vec<String> {
    let titles = [first, count].into_iter().chain(names.iter().copied());
    titles.map(str::to_owned).collect()
}

fn row(title: String, count: u64, metrics: &Fields, names: &[&str]) -> Vec<String> {
    let values = names.iter().map(|name| number(metrics.scalar(name)));
    [title, count.to_string()]
        .into_iter()
        .chain(values)
        .collect()
}

fn number(value: Option<f64>) -> String {
    value.map_or_else(|| "–".to_owned(), |value| format!("{value:.3}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scores(file: &str, skill: &str, kind: FileKind, metrics: Fields) -> FileScores {
        FileScores {
            file: file.to_owned(),
            skill: skill.to_owned(),
            kind,
            count: 2,
            rows: Vec::new(),
            metrics,
        }
    }

    #[test]
    fn skills_weigh_their_files_and_the_rest_its_skills_the_same() {
        let chrf = |value: f64| Fields::new().with("chrf", value);
        let reward = |value: f64| Fields::new().with("reward", value);
        let scorecard = Scorecard {
            files: vec![
                scores("a", "translation", FileKind::Pairs, chrf(60.0)),
                scores("b", "translation", FileKind::Pairs, chrf(40.0)),
                scores("c", "math", FileKind::Prompts, reward(0.25)),
                scores("d", "math", FileKind::Prompts, reward(0.75)),
                scores("e", "form", FileKind::Prompts, reward(1.0)),
                scores(
                    "f",
                    "text",
                    FileKind::Documents,
                    Fields::new().with("loss", 2.0),
                ),
            ],
        };
        let values = scorecard.overall().map(|(.., value)| value);
        assert_eq!(values, [Some(50.0), Some(0.75)]);
        let text = scorecard.to_text();
        assert!(
            text.ends_with("\ntranslation | general skills\nchrf 50.000 | reward 0.750\n"),
            "{text}"
        );
        assert!(
            text.contains("math             2       –   0.500      –"),
            "{text}"
        );
        let json = scorecard.to_json();
        assert_eq!(json["skills"]["math"]["reward"], 0.5);
        assert_eq!(json["overall"]["general skills"], 0.75);
        assert_eq!(json["files"][5]["kind"], "documents");
    }
}
