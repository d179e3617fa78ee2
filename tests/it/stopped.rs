//! A run that is stopped in its last evaluation makes it when it goes on.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::checkpoints::scratch;
use crate::program::{conversations, events, text, trainer};
use crate::stage_run;

const STEPS: u32 = 2;

#[test]
fn a_run_stopped_in_its_last_evaluation_goes_on_to_make_it_and_is_finished_then() {
    let dir = scratch("stopped-last");
    let (data, run_dir) = (conversations(&dir), dir.join("run"));
    // Enough of it for a signal to come in time.
    let lines = std::fs::read_to_string(&data).expect("the records");
    let held_out = dir.join("held_out.jsonl");
    std::fs::write(&held_out, lines.repeat(250)).expect("the folder is writable");
    let start = || {
        let mut command = trainer();
        command.args(arguments(&data, &held_out, &run_dir));
        command.stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().expect("the program starts")
    };

    let mut child = start();
    let deadline = Instant::now() + Duration::from_secs(60);
    let evaluates = "\"kind\":\"phase\",\"name\":\"evaluate\",\"step\":2";
    let log = run_dir.join("events.jsonl");
    while !std::fs::read_to_string(&log).is_ok_and(|log| log.contains(evaluates)) {
        assert!(Instant::now() < deadline, "no last evaluation in a minute");
        std::thread::sleep(Duration::from_millis(1));
    }
    let pid = child.id().to_string();
    let sent = Command::new("kill").args(["-INT", &pid]).status();
    assert!(sent.expect("kill is there").success());
    assert_eq!(child.wait().expect("it ends").code(), Some(130));
    let evaluated = || {
        events(&run_dir, "evaluation")
            .iter()
            .filter(|e| e["step"] == 2)
            .count()
    };
    let reasons = || {
        let ends = events(&run_dir, "finished");
        let reasons = ends.iter().map(|end| end["reason"].to_string());
        reasons.collect::<String>()
    };
    assert_eq!((evaluated(), reasons().as_str()), (0, "\"stopped\""));

    let best = run_dir.join("best.json");
    assert!(!best.exists(), "nothing was judged yet");
    for _ in 0..2 {
        // The second time there is nothing left to do.
        assert_eq!(start().wait().expect("it ends").code(), Some(0));
        assert_eq!(
            (evaluated(), reasons().as_str()),
            (1, "\"stopped\"\"completed\"")
        );
        assert_eq!(events(&run_dir, "step").len(), 2);
        let best = std::fs::read_to_string(&best).expect("it is written");
        assert!(best.contains("checkpoint-2"), "{best}");
    }
}

fn arguments(data: &Path, held_out: &Path, output: &Path) -> Vec<String> {
    let eval = format!("eval_data={:?}", text(held_out));
    let settings = [
        &eval,
        "metric_for_best_model=eval/loss",
        "learning_rate=1e-3",
        "max_length=64",
    ];
    stage_run::arguments("sft", "gemma2", (data, output), STEPS, &settings)
}
