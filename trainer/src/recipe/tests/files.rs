//! The recipes in the repository.

use std::path::{Path, PathBuf};

use super::super::{RawRecipe, for_stage, unused_keys};
use super::{STAGES, StageName};

#[test]
fn each_invalid_recipe_gives_its_message() {
    let files = recipes(&repository().join("tests/invalid_recipes"));
    assert!(files.len() >= 15, "only {} invalid recipes", files.len());
    for path in files {
        let text = std::fs::read_to_string(&path).expect("a readable recipe");
        let mut lines = text.lines();
        let mut header = |start: &str| {
            let line = lines.next().and_then(|line| line.strip_prefix(start));
            line.unwrap_or_else(|| panic!("{} lacks `{start}`", path.display()))
                .to_owned()
        };
        let stage: StageName = header("# stage: ").parse().expect("a stage");
        let expected = header("# error: ");
        let errors = RawRecipe::read(&path).and_then(|raw| for_stage(&raw, stage));
        let errors = errors
            .expect_err(&format!("{} should be refused", path.display()))
            .to_string();
        assert!(
            errors.contains(&expected),
            "{}\nexpected: {expected}\ngot: {errors}",
            path.display()
        );
    }
}

#[test]
fn each_shipped_recipe_resolves_for_every_stage_it_has_and_uses_all_its_keys() {
    let files = recipes(&repository().join("examples/recipes"));
    assert!(!files.is_empty());
    for path in files {
        let raw = RawRecipe::read(&path).unwrap_or_else(|errors| panic!("{errors}"));
        let stages = STAGES
            .into_iter()
            .filter(|stage| raw.entries.iter().any(|entry| entry.stage == Some(*stage)));
        for stage in stages {
            for_stage(&raw, stage).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
            assert_eq!(unused_keys(&raw, stage), [], "{}", path.display());
        }
    }
}

#[test]
fn the_file_of_the_demos_recipe_is_what_the_program_runs() {
    let file = repository().join("examples/recipes/demo/demo.toml");
    let file = RawRecipe::read(&file).unwrap_or_else(|errors| panic!("{errors}"));
    for stage in STAGES {
        let [file, built_in] = [&file, &RawRecipe::demo()]
            .map(|raw| for_stage(raw, stage).unwrap_or_else(|errors| panic!("{errors}")));
        assert_eq!(file, built_in);
    }
}

#[test]
fn a_recipe_that_is_not_there_is_named() {
    let errors = RawRecipe::read(Path::new("/nonexistent/r.toml")).expect_err("no file");
    assert!(
        errors
            .to_string()
            .starts_with("/nonexistent/r.toml: the recipe cannot be read")
    );
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Every recipe below a folder.
fn recipes(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let paths = entries.map(|entry| entry.expect("a readable folder").path());
    let mut found: Vec<PathBuf> = paths
        .flat_map(|path| {
            if path.is_dir() {
                recipes(&path)
            } else {
                vec![path]
            }
        })
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "toml")
        })
        .collect();
    found.sort();
    found
}
