//! The corpus in files.

use super::{DemoCorpus, DemoError};
use serde_json::Value;
use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};

/// How many records each file holds. The defaults are more than each stage can read in its two or three minutes on two cores,
/// so that no record is seen twice, and still take under a second and ten megabytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// Documents for continued pretraining.
    pub documents: usize,
    /// Conversations for fine-tuning.
    pub conversations: usize,
    /// Pairs for preference optimization.
    pub preferences: usize,
    /// Prompts for reinforcement learning.
    pub prompts: usize,
    /// Held-out prompts.
    pub held_out: usize,
}

impl Default for Sizes {
    fn default() -> Self {
        Self {
            documents: 20_000,
            conversations: 20_000,
            preferences: 4_000,
            prompts: 4_000,
            held_out: 500,
        }
    }
}

/// Where the corpus lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DemoFiles {
    /// `cpt.jsonl`.
    pub documents: PathBuf,
    /// `sft.jsonl`.
    pub conversations: PathBuf,
    /// `po.jsonl`.
    pub preferences: PathBuf,
    /// `rl.jsonl`.
    pub prompts: PathBuf,
    /// `eval.jsonl`.
    pub held_out: PathBuf,
}

/// Writes the corpus of this seed into `dir`, which is made if it is missing. Each file appears whole or not at all.
///
/// # Errors
/// When a file cannot be written.
pub fn write(dir: &Path, seed: u64, sizes: Sizes) -> Result<DemoFiles, DemoError> {
    let corpus = DemoCorpus::new(seed);
    Ok(DemoFiles {
        documents: write_records(dir, "cpt.jsonl", corpus.documents(sizes.documents))?,
        conversations: write_records(dir, "sft.jsonl", corpus.conversations(sizes.conversations))?,
        preferences: write_records(dir, "po.jsonl", corpus.preferences(sizes.preferences))?,
        prompts: write_records(dir, "rl.jsonl", corpus.prompts(sizes.prompts))?,
        held_out: write_records(dir, "eval.jsonl", corpus.held_out(sizes.held_out))?,
    })
}

fn write_records(
    dir: &Path,
    name: &str,
    records: impl Iterator<Item = Value>,
) -> Result<PathBuf, DemoError> {
    write_whole(dir, name, |file| {
        for record in records {
            writeln!(file, "{record}")?;
        }
        Ok(())
    })
}

/// Writes `dir/name` under another name first, so that nobody ever reads half a file.
pub(super) fn write_whole(
    dir: &Path,
    name: &str,
    fill: impl FnOnce(&mut BufWriter<File>) -> std::io::Result<()>,
) -> Result<PathBuf, DemoError> {
    let path = dir.join(name);
    let temporary = dir.join(format!(".{name}.{}", std::process::id()));
    let written = (|| {
        fs::create_dir_all(dir)?;
        let mut file = BufWriter::new(File::create(&temporary)?);
        fill(&mut file)?;
        file.into_inner()
            .map_err(std::io::IntoInnerError::into_error)?
            .sync_all()?;
        fs::rename(&temporary, &path)
    })();
    match written {
        Ok(()) => Ok(path),
        Err(source) => {
            // The error that matters is the first one; the temporary file may not even exist.
            let _ = fs::remove_file(&temporary);
            Err(DemoError::Write { path, source })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FEW: Sizes = Sizes {
        documents: 30,
        conversations: 20,
        preferences: 10,
        prompts: 10,
        held_out: 5,
    };

    #[test]
    fn the_same_seed_writes_the_same_files() {
        let dir = std::env::temp_dir().join(format!("keep-demo-write-{}", std::process::id()));
        let (a, b) = (
            write(&dir.join("a"), 3, FEW).unwrap(),
            write(&dir.join("b"), 3, FEW).unwrap(),
        );
        for (a, b, lines) in [
            (a.documents, b.documents, 30),
            (a.conversations, b.conversations, 20),
            (a.held_out, b.held_out, 5),
        ] {
            let text = fs::read_to_string(&a).unwrap();
            assert_eq!(text, fs::read_to_string(&b).unwrap());
            assert_eq!(text.lines().count(), lines, "{}", a.display());
        }
        assert_eq!(
            fs::read_dir(dir.join("a")).unwrap().count(),
            5,
            "temporary files stay behind"
        );
        fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_named() {
        let file = std::env::temp_dir().join(format!("keep-demo-file-{}", std::process::id()));
        fs::write(&file, "").unwrap();
        let error = write(&file.join("dir"), 0, FEW).unwrap_err().to_string();
        assert!(
            error.contains("cpt.jsonl") && error.contains("hint:"),
            "{error}"
        );
        fs::remove_file(&file).unwrap();
    }
}
