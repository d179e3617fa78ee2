//! Which runs a folder has.

use std::fs;
use std::path::{Path, PathBuf};

use telemetry::RunDir;

/// Whether there has to be a run at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// There has to be one.
    Now,
    /// A trainer was just started and will make it.
    Soon,
}

/// More than a screen can list.
const MAX_RUNS: usize = 500;

/// The runs at and below a folder, at most two levels down: those in it before itself, since the stages of a run
/// lie in the folder of the last one, and otherwise by name. What cannot be read has no runs.
pub fn find_runs(root: &Path) -> Vec<PathBuf> {
    let mut runs = Vec::new();
    find_below(root, 2, &mut runs);
    runs
}

fn find_below(folder: &Path, levels: usize, runs: &mut Vec<PathBuf>) {
    if levels > 0 {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        let mut folders: Vec<PathBuf> = entries
            .map(|entry| entry.path())
            .filter(|path| may_be_run(path))
            .collect();
        folders.sort_by_key(|path| (stage_number(path), path.clone()));
        for folder in folders {
            find_below(&folder, levels - 1, runs);
        }
    }
    if runs.len() < MAX_RUNS && RunDir::open(folder).is_ok() {
        runs.push(folder.to_owned());
    }
}

/// Whether to look into a folder. Those that a run keeps for itself are none.
fn may_be_run(path: &Path) -> bool {
    const OF_A_RUN: [&str; 3] = ["checkpoint-", "abandoned-", "."];
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.is_dir() && name != "control" && !OF_A_RUN.iter().any(|prefix| name.starts_with(prefix))
}

/// Stages come in the order in which they are run, and before anything else.
fn stage_number(path: &Path) -> usize {
    const STAGES: [&str; 4] = ["cpt", "sft", "po", "rl"];
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let stage = STAGES.iter().position(|stage| name == *stage);
    stage.unwrap_or(STAGES.len())
}

/// What to call the run: the last two parts of its path.
pub fn run_name(run_dir: &Path) -> String {
    let path = run_dir
        .canonicalize()
        .unwrap_or_else(|_| run_dir.to_owned());
    let parts: Vec<String> = path
        .iter()
        .rev()
        .take(2)
        .map(|part| part.to_string_lossy().into_owned())
        .collect();
    let named: Vec<String> = parts.into_iter().rev().filter(|part| part != "/").collect();
    named.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stages_come_in_their_order_and_checkpoints_are_no_runs() {
        let dir = tempfile::tempdir().unwrap();
        let runs = [
            "a",
            "b/sft",
            "b/cpt",
            "b/po",
            "b",
            "b/checkpoint-5",
            "b/control",
            "too/far/down",
        ];
        for run in runs {
            fs::create_dir_all(dir.path().join(run)).unwrap();
            fs::write(dir.path().join(run).join("recipe.toml"), "").unwrap();
        }
        let found = find_runs(dir.path());
        let names = found
            .iter()
            .map(|path| path.strip_prefix(dir.path()).unwrap());
        let names: Vec<_> = names
            .map(|path| path.to_string_lossy().into_owned())
            .collect();
        assert_eq!(names, ["a", "b/cpt", "b/sft", "b/po", "b"]);
        assert_eq!(find_runs(&dir.path().join("no")), [] as [PathBuf; 0]);
    }
}
