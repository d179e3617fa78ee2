//! `trainer report` on a run that was just made.

#[path = "../../tui/src/report/tests/balanced.rs"]
mod balanced;

use std::path::Path;

use serde_json::Value;

use crate::checkpoints::scratch;
use crate::golden;
use crate::program::{conversations, events, run, succeed, text};

fn short_run(dir: &Path) {
    let data = conversations(dir);
    succeed(&[
        "--stage",
        "sft",
        "--model",
        text(&golden::model_dir("gemma2")),
        "--data",
        text(&data),
        "--output",
        text(&dir.join("run")),
        "--device",
        "cpu",
        "--max-steps",
        "3",
        "--tui",
        "never",
    ]);
}

#[test]
fn a_run_becomes_a_page_a_table_and_an_object_and_is_held_to_what_is_required() {
    let dir = scratch("report");
    short_run(&dir);
    let run_dir = dir.join("run");
    let steps = events(&run_dir, "step");
    let loss = steps[2]["loss"].as_f64().expect("a loss");

    succeed(&["report", text(&run_dir)]);
    let page = std::fs::read_to_string(run_dir.join("report.html")).expect("a page");
    let elements = balanced::elements(&page).unwrap_or_else(|wrong| panic!("{wrong}"));
    assert!(elements.iter().any(|name| name == "svg"), "no chart");
    let shown = tui::format::number(loss);
    assert!(
        page.contains(&format!(">{shown}</span>")),
        "no {shown} beside its chart"
    );
    for word in [
        "finished",
        "gemma2",
        "learning_rate",
        "checkpoint-3",
        "recipe.toml",
    ] {
        assert!(page.contains(word), "no {word}");
    }
    let piped = succeed(&["report", text(&run_dir), "--output", "-"]);
    assert!(String::from_utf8_lossy(&piped.stdout).starts_with("<!doctype html>"));

    let table = succeed(&["report", text(&run_dir), "--format", "md"]);
    let table = String::from_utf8_lossy(&table.stdout).into_owned();
    assert!(table.contains(&format!("{shown} at step 3")), "{table}");
    let object = succeed(&["report", text(&run_dir), "--format", "json"]);
    let object: Value = serde_json::from_slice(&object.stdout).expect("JSON");
    assert_eq!(object["runs"][0]["metrics"]["loss"]["last"], loss);

    let require = |requirement: &str| {
        let output = run(&[
            "report",
            text(&run_dir),
            "--format",
            "md",
            "--require",
            requirement,
        ]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code(), said)
    };
    let (code, said) = require("loss<1000");
    assert!(
        code == Some(0) && said.contains("loss < 1000 holds"),
        "{said}"
    );
    let (code, said) = require("loss>1000");
    assert!(
        code == Some(1) && said.contains("loss > 1000 fails"),
        "{said}"
    );
    let (code, said) = require("los>0");
    assert!(
        code == Some(2) && said.contains("the nearest is `loss`"),
        "{said}"
    );
}
