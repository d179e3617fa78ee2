use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::TrainError;

/// The files of an evaluation.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Suite {
    /// In the order in which they are measured.
    pub files: Vec<SuiteFile>,
}

/// A file, e.g. `{path: "wmt24.jsonl", skill: Some("translation"), answering: …}`.
#[derive(Clone, Debug, PartialEq)]
pub struct SuiteFile {
    /// Where it is.
    pub path: PathBuf,
    /// What it measures; `None` leaves that to what it holds.
    pub skill: Option<String>,
    /// How its records are answered.
    pub answering: Answering,
}

/// How records are answered.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Answering {
    /// Tokens after which an answer is cut.
    pub max_new_tokens: usize,
    /// Divides the logits; 0 takes the likeliest token each time.
    pub temperature: f64,
    /// Answers to each record.
    pub samples: usize,
    /// Everything random follows from it.
    pub seed: u64,
}

impl Default for Answering {
    fn default() -> Self {
        Answering {
            max_new_tokens: 256,
            temperature: 0.0,
            samples: 1,
            seed: 42,
        }
    }
}

#[derive(Deserialize)]
struct RawSuite {
    #[serde(flatten)]
    answering: RawAnswering,
    data: Vec<RawFile>,
}

#[derive(Deserialize)]
struct RawFile {
    file: PathBuf,
    skill: Option<String>,
    #[serde(flatten)]
    answering: RawAnswering,
}

/// Both tables may have these keys, and the flattened struct gathers what neither has.
#[derive(Deserialize)]
struct RawAnswering {
    max_new_tokens: Option<usize>,
    temperature: Option<f64>,
    samples: Option<usize>,
    seed: Option<u64>,
    #[serde(flatten)]
    unknown: toml::Table,
}

impl Suite {
    /// Reads a suite. Its files are beside it unless their paths are absolute.
    ///
    /// # Errors
    /// It cannot be read or is no suite: a key is unknown, or a value out of its range.
    pub fn read(path: &Path) -> Result<Self, TrainError> {
        let text = fs::read_to_string(path).map_err(TrainError::io(path))?;
        let folder = path.parent().unwrap_or(Path::new(""));
        Self::parse(&text, folder)
            .map_err(|problem| TrainError::Usage(format!("{}: {problem}", path.display())))
    }

    fn parse(text: &str, folder: &Path) -> Result<Self, String> {
        const HINT: &str = "hint: `trainer evaluate --help` shows a suite";
        let raw: RawSuite = toml::from_str(text).map_err(|error| format!("{error}{HINT}"))?;
        let general = raw.answering.over(Answering::default(), &["data"])?;
        let files = raw.data.into_iter().map(|file| {
            Ok(SuiteFile {
                path: folder.join(file.file),
                skill: file.skill,
                answering: file.answering.over(general, &["file", "skill"])?,
            })
        });
        let files = files.collect::<Result<Vec<_>, String>>()?;
        match files.is_empty() {
            true => Err(format!("it names no file\n{HINT}")),
            false => Ok(Suite { files }),
        }
    }
}

impl RawAnswering {
    fn over(self, default: Answering, beside: &[&str]) -> Result<Answering, String> {
        const KEYS: &str = "max_new_tokens, temperature, samples, seed";
        if let Some(key) = self.unknown.keys().next() {
            let beside = beside.join(", ");
            return Err(format!(
                "unknown key `{key}`\nhint: there are {beside}, {KEYS}"
            ));
        }
        let answering = Answering {
            max_new_tokens: self.max_new_tokens.unwrap_or(default.max_new_tokens),
            temperature: self.temperature.unwrap_or(default.temperature),
            samples: self.samples.unwrap_or(default.samples),
            seed: self.seed.unwrap_or(default.seed),
        };
        let Answering {
            max_new_tokens,
            temperature,
            samples,
            ..
        } = answering;
        if max_new_tokens == 0 || samples == 0 {
            return Err(format!(
                "max_new_tokens = {max_new_tokens} and samples = {samples}: expected 1 or more"
            ));
        }
        if !(temperature.is_finite() && temperature >= 0.0) {
            return Err(format!("temperature = {temperature}: expected 0 or more"));
        }
        Ok(answering)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_answers_as_the_suite_says_unless_it_says_otherwise() {
        let text = "max_new_tokens = 8\nsamples = 2\n\
                    [[data]]\nfile = \"a.jsonl\"\nskill = \"math\"\nsamples = 4\ntemperature = 1\n\
                    [[data]]\nfile = \"/b.jsonl\"\n";
        let suite = Suite::parse(text, Path::new("suites")).expect("a sound suite");
        let [a, b] = suite.files.as_slice() else {
            panic!("{suite:?}");
        };
        assert_eq!(a.path, Path::new("suites/a.jsonl"));
        assert_eq!(a.skill.as_deref(), Some("math"));
        assert_eq!((a.answering.samples, a.answering.max_new_tokens), (4, 8));
        assert_eq!(a.answering.temperature, 1.0);
        assert_eq!(
            (b.path.as_path(), b.answering.samples),
            (Path::new("/b.jsonl"), 2)
        );
    }

    #[test]
    fn what_is_wrong_with_a_suite_is_said() {
        for (text, words) in [
            ("data = []", "names no file"),
            ("[[data]]\nfile = \"a\"\nskil = \"x\"", "unknown key `skil`"),
            ("sample = 2\n[[data]]\nfile = \"a\"", "unknown key `sample`"),
            ("samples = 0\n[[data]]\nfile = \"a\"", "samples = 0"),
            ("[[data]]\nskill = \"x\"", "missing field `file`"),
            (
                "[[data]]\nfile = \"a\"\ntemperature = -1.0",
                "temperature = -1",
            ),
        ] {
            let problem = Suite::parse(text, Path::new("")).expect_err(text);
            assert!(problem.contains(words), "{text}: {problem}");
        }
    }
}
