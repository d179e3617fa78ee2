//! What judges records that name no verifier.

use std::path::Path;

use crate::checkpoints::scratch;
use crate::program::{events, run, write};
use crate::stage_run;

/// Records that name no verifier are judged by the recipe's functions, with its arguments and their own.
#[test]
fn reward_functions_judge_records_without_a_verifier() {
    let dir = scratch("rl-reward-funcs");
    let lines = [
        r#"{"prompt": "Add 2 and 3.", "ground_truth": "5"}"#,
        r#"{"prompt": "Say nothing.", "args": {"ground_truth": "", "cache": 2}}"#,
    ];
    let data = write(&dir, "prompts.jsonl", &lines);
    let settings = [
        "num_generations=4",
        "per_device_train_batch_size=2",
        "max_completion_length=6",
        r#"reward_funcs=["exact_match", "soft_overlong"]"#,
        "reward_args={ soft_overlong = { cache = 4 } }",
        "reward_weights={ exact_match = 2 }",
    ];
    let output = dir.join("run");
    let run = |settings: &[&str], output: &Path| {
        run(&stage_run::arguments(
            "rl",
            "gemma2",
            (&data, output),
            1,
            settings,
        ))
    };
    let done = run(&settings, &output);
    let stderr = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{stderr}");
    let steps = events(&output, "step");
    for key in ["rewards/exact_match/mean", "rewards/soft_overlong/mean"] {
        assert!(steps[0][key].is_number(), "{key} in {}", steps[0]);
    }
    for (settings, words) in [
        // soft_overlong's argument is nobody's.
        (&settings[..4], "argument \"cache\" should be"),
        (&settings[..3], "prompts.jsonl:1: nothing judges the answer"),
        // Another function takes it, this one does not.
        (
            &[
                settings[3],
                "reward_args={ exact_match = { cache = 4 }, soft_overlong = { cache = 4 } }",
            ],
            "verifier \"exact_match\": unknown argument \"cache\"",
        ),
    ] {
        let refused = run(settings, &dir.join("refused"));
        let stderr = String::from_utf8_lossy(&refused.stderr);
        assert_eq!(refused.status.code(), Some(1), "{stderr}");
        assert!(stderr.contains(words), "no {words} in {stderr}");
    }
    // Where bad lines are left out, so are those that nothing judges, but not all.
    let skip = [&settings[..3], &["on_bad_record=skip"]].concat();
    let refused = run(&skip, &dir.join("none"));
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    let judged = r#"{"prompt": "Say 5.", "verifier": "exact_match", "ground_truth": "5"}"#;
    write(&dir, "prompts.jsonl", &[lines[0], judged, judged]);
    let done = run(&skip, &dir.join("skipped"));
    assert!(done.status.success(), "{done:?}");
}
