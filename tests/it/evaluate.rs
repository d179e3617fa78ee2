//! `trainer evaluate`, as a user calls it.

use serde_json::{Value, json};

use crate::checkpoints::scratch;
use crate::golden;
use crate::program::{conversations, prompts, run, succeed, text, write};

#[test]
fn each_kind_of_file_is_measured_and_the_suite_compares_skills() {
    let dir = scratch("evaluate");
    write(
        &dir,
        "documents.jsonl",
        &[
            r#"{"text": "The tower has stones."}"#,
            r#"{"text": "A well."}"#,
        ],
    );
    write(
        &dir,
        "pairs.jsonl",
        &[
            r#"{"source": "the tower", "target": "der Turm", "source_lang": "en", "target_lang": "de"}"#,
            r#"{"source": "a stone", "target": "une pierre", "source_lang": "en", "target_lang": "fr"}"#,
        ],
    );
    conversations(&dir);
    prompts(&dir);
    let suite = write(
        &dir,
        "suite.toml",
        &[
            "max_new_tokens = 6",
            "[[data]]\nfile = \"pairs.jsonl\"\nskill = \"translation\"",
            "[[data]]\nfile = \"prompts.jsonl\"\nskill = \"math\"\nsamples = 3\ntemperature = 1.0",
            "[[data]]\nfile = \"sft.jsonl\"\nskill = \"chat\"",
            "[[data]]\nfile = \"documents.jsonl\"\nskill = \"text\"",
        ],
    );
    for family in ["gemma2", "qwen3"] {
        let model = golden::model_dir(family);
        let json = dir.join("scores.json");
        let measure = || {
            succeed(&[
                "evaluate",
                "--model",
                text(&model),
                "--suite",
                text(&suite),
                "--output",
                text(&json),
                "--device",
                "cpu",
            ])
        };
        let output = measure();
        let scores = std::fs::read_to_string(&json).expect("it was written");
        measure();
        assert_eq!(
            scores,
            std::fs::read_to_string(&json).expect("and again"),
            "{family}"
        );
        let scores: Value = serde_json::from_str(&scores).expect("JSON");
        let files = scores["files"].as_array().expect("a list of files");
        let kinds: Vec<_> = files.iter().map(|f| (&f["kind"], &f["count"])).collect();
        let expected = [
            (json!("pairs"), json!(2)),
            (json!("prompts"), json!(3)),
            (json!("conversations"), json!(12)),
            (json!("documents"), json!(2)),
        ];
        assert!(
            kinds
                .iter()
                .copied()
                .eq(expected.iter().map(|(a, b)| (a, b))),
            "{kinds:?}"
        );
        for (file, names) in files.iter().zip([
            &["chrf", "bleu"][..],
            &["reward", "right", "rewards/exact_match", "rewards/length"],
            &["loss", "perplexity"],
            &["loss", "perplexity"],
        ]) {
            for name in names {
                assert!(
                    file["metrics"][name].is_number(),
                    "{family}: no {name} in {file}"
                );
            }
        }
        assert_eq!(files[0]["rows"].as_array().map(Vec::len), Some(2));
        let number = |value: &Value| value.as_f64().expect("a number");
        let of_text = &files[3]["metrics"];
        assert_eq!(
            number(&of_text["perplexity"]),
            number(&of_text["loss"]).exp()
        );
        let overall = &scores["overall"];
        assert_eq!(
            overall["translation"],
            scores["skills"]["translation"]["chrf"]
        );
        assert_eq!(
            overall["general skills"],
            scores["skills"]["math"]["reward"]
        );
        let stdout = String::from_utf8_lossy(&output.stdout);
        for word in [
            "en-de",
            "(translation)",
            "translation | general skills",
            "chat",
        ] {
            assert!(stdout.contains(word), "{family}: no {word:?} in\n{stdout}");
        }
    }

    // Files alone go by what they hold.
    let model = golden::model_dir("gemma2");
    let output = succeed(&[
        "evaluate",
        "--model",
        text(&model),
        "--data",
        text(&dir.join("documents.jsonl")),
        "--data",
        text(&dir.join("pairs.jsonl")),
        "--max-new-tokens",
        "4",
        "--device",
        "cpu",
    ]);
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(stdout.contains("documents.jsonl (documents)"), "{stdout}");
    assert!(stdout.contains("pairs.jsonl (translation)"), "{stdout}");
}

#[test]
fn what_cannot_be_measured_is_answered_with_a_sentence() {
    let dir = scratch("evaluate-not");
    let model = golden::model_dir("gemma2");
    let preferences = write(
        &dir,
        "po.jsonl",
        &[r#"{"prompt": "a", "chosen": "b", "rejected": "c"}"#],
    );
    let broken = write(&dir, "broken.jsonl", &[r#"{"source": "a", "target": "b"}"#]);
    let suite = write(&dir, "suite.toml", &["[[data]]", "fil = \"x\""]);
    let refused = |more: &[&str], code: i32, word: &str| {
        let base = ["evaluate", "--model", text(&model), "--device", "cpu"];
        let output = run(&base
            .into_iter()
            .chain(more.iter().copied())
            .collect::<Vec<_>>());
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{stderr}");
        assert!(stderr.contains(word), "no {word:?} in\n{stderr}");
    };
    refused(&[], 2, "--suite");
    refused(
        &["--data", text(&preferences)],
        2,
        "preferences have no score",
    );
    refused(&["--data", text(&broken)], 1, "broken.jsonl:1");
    refused(&["--suite", text(&suite)], 2, "suite.toml");
}
