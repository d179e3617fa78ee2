//! `trainer import`, as a user calls it.

use std::path::{Path, PathBuf};

use crate::checkpoints::scratch;
use crate::program::{run, succeed, text, write};

/// Beside the golden values, wherever the tests run.
fn configuration(name: &str) -> PathBuf {
    crate::golden::dir().join("../imports").join(name)
}

#[test]
fn a_recipe_goes_to_standard_output_or_a_new_file_and_what_it_lacks_to_standard_error() {
    let config = configuration("trl_dpo.yaml");
    let printed = succeed(&["import", "trl", text(&config)]);
    let recipe = String::from_utf8_lossy(&printed.stdout).into_owned();
    assert!(recipe.contains("[po]\n"), "{recipe}");
    let stderr = String::from_utf8_lossy(&printed.stderr);
    for words in ["trl_dpo.yaml:5: dataset_name", "not carried", "stage po: "] {
        assert!(stderr.contains(words), "no `{words}` in\n{stderr}");
    }
    let output = scratch("import").join("recipe.toml");
    let args = ["import", "trl", text(&config), "--output", text(&output)];
    let silent = succeed(&args);
    assert_eq!(silent.stdout, b"");
    let written = std::fs::read_to_string(&output).expect("the recipe is there");
    assert_eq!(written, recipe);
    assert_eq!(run(&args).status.code(), Some(2), "a recipe is overwritten");
}

#[test]
fn a_configuration_that_is_none_is_answered_with_a_sentence() {
    let dir = scratch("import-wrong");
    let torn = write(&dir, "torn.yaml", &["a: [1, 2", "b: 3"]);
    let vague = write(&dir, "vague.yaml", &["learning_rate: 1e-5"]);
    let missing = dir.join("missing.yaml");
    let cases: [(&Path, i32, &str); 3] = [
        (&torn, 2, "not YAML"),
        (&vague, 2, "--stage"),
        (&missing, 1, "missing.yaml"),
    ];
    for (file, code, words) in cases {
        let output = run(&["import", "trl", text(file)]);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{stderr}");
        assert!(stderr.contains(words), "no `{words}` in\n{stderr}");
    }
    let said = ["import", "axolotl", text(&vague), "--stage", "sft"];
    let recipe = succeed(&said).stdout;
    assert!(String::from_utf8_lossy(&recipe).contains("learning_rate = 1e-5"));
}
