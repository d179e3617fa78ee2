//! Every screen in every state a run can be in, at two sizes: a file a state.

use std::fmt::Write as _;
use std::time::Duration;

use telemetry::FixedClock;

use super::{MEDIUM, Played, SMALL, check_text, put_fixture, put_run};
use crate::app::{Access, App, Effect, Msg};
use crate::frame_text::frame_text;
use crate::keymap::{Key, Screen};
use crate::source::{Expected, Source};
use crate::theme::Theme;

/// All screens of a fixture, `age_ms` after its last event.
fn check_screens(fixture: &str, age_ms: u64, name: &str) {
    for (columns, rows) in [SMALL, MEDIUM] {
        let mut played = Played::new(fixture, age_ms, (columns, rows));
        let mut frames = String::new();
        for (number, screen) in (1..).zip(Screen::ALL) {
            played.press(&number.to_string());
            write_frame(&mut frames, screen.name(), &played.app);
        }
        check_text(&frames, &format!("states/{name}_{columns}x{rows}"));
    }
}

fn write_frame(frames: &mut String, name: &str, app: &App) {
    writeln!(frames, "=== {name}\n{}", frame_text(app)).unwrap();
}

#[test]
fn a_run_of_each_stage() {
    for stage in ["cpt", "sft", "po", "rl"] {
        check_screens(stage, 2_000, stage);
    }
}

#[test]
fn a_run_that_has_not_begun() {
    check_screens("none", 2_000, "waiting");
    check_screens("booting", 2_000, "booting");
}

#[test]
fn a_run_that_is_silent() {
    check_screens("sft", 43_000, "quiet");
    check_screens("sft", 100_000, "stalled");
    check_screens("sft", 7_200_000, "silent");
}

#[test]
fn a_run_that_was_asked_to_wait() {
    check_screens("paused", 65_000, "paused");
}

#[test]
fn a_run_in_trouble() {
    check_screens("nan", 2_000, "nan");
    check_screens("resumed", 2_000, "resumed");
    check_screens("failed", 2_000, "failed");
}

#[test]
fn a_run_that_is_over() {
    check_screens("finished", 86_400_000, "finished");
}

#[test]
fn what_lies_over_a_screen() {
    for (columns, rows) in [SMALL, MEDIUM] {
        let mut frames = String::new();
        let mut picture = |name: &str, fixture: &str, keys: &str| {
            let mut played = Played::new(fixture, 2_000, (columns, rows));
            played.press(keys);
            write_frame(&mut frames, name, &played.app);
        };
        picture("stop, asked", "rl", "S");
        picture("stop, half typed", "rl", "Ssto");
        picture("stop, given up", "rl", "Ssto⎋");
        picture("stop of a run that is over", "finished", "S");
        picture("a filter being typed", "rl", "2/rew");
        picture("a filter that nothing passes", "rl", "2/zzz⏎");
        picture("frozen", "rl", "f");
        for (number, screen) in (1..).zip(Screen::ALL) {
            picture(
                &format!("help of {}", screen.name()),
                "rl",
                &format!("{number}?"),
            );
        }
        check_text(&frames, &format!("states/over_{columns}x{rows}"));
    }
}

#[test]
fn a_request_is_followed_until_it_is_done() {
    let mut played = Played::new("rl", 2_000, SMALL);
    let mut frames = String::new();
    let mut ask = |played: &mut Played, key: char, name: &str| {
        played.app.update(Msg::Key(Key::Char(key)));
        played.act();
        write_frame(&mut frames, name, &played.app);
    };
    ask(&mut played, 'C', "checkpoint asked");
    assert_eq!(played.requests(), ["checkpoint"]);
    played.answer("accepted", None);
    ask(&mut played, '6', "checkpoint accepted");
    played.answer("done", None);
    ask(&mut played, '1', "checkpoint done");
    ask(&mut played, 'V', "evaluation asked");
    played.answer("refused", Some("there is no eval_data"));
    ask(&mut played, '1', "evaluation refused");
    check_text(&frames, "states/requests_80x24");
}

#[test]
fn a_run_that_cannot_be_asked_says_why() {
    let mut played = Played::new("rl", 2_000, MEDIUM);
    let control = played.run_dir().control_dir();
    std::fs::remove_dir(&control).unwrap();
    std::fs::write(&control, "a file in the way").unwrap();
    let last_line = |played: &mut Played| {
        played.press("C");
        played.act();
        frame_text(&played.app).lines().last().unwrap().to_owned()
    };
    assert!(last_line(&mut played).starts_with(" ▲ cannot ask the run: "));
    played.app.access = Access::ReadOnly;
    assert_eq!(
        last_line(&mut played),
        " ▲ this viewer only looks (--read-only)"
    );
}

#[test]
fn a_run_that_cannot_be_read_keeps_no_other_from_being_read() {
    let dir = tempfile::tempdir().unwrap();
    put_fixture(&dir, "sft");
    for name in ["a", "z"] {
        let broken = put_run(&dir.path().join(name), b"", None);
        std::fs::create_dir(broken.events_file()).unwrap();
    }
    let mut app = App::new(Theme::PLAIN, Access::Control);
    let clock = FixedClock::new(0);
    let mut source = Source::open(dir.path(), Expected::Now).unwrap();
    for _ in 0..3 {
        assert!(source.poll(&mut app, &clock).is_err());
        clock.advance(Duration::from_secs(5));
    }
    assert_eq!(app.runs().len(), 3);
    let run = app.run().unwrap();
    assert_eq!(
        (run.name.as_str(), run.is_known()),
        ("tower_plus_2b/sft", true)
    );
}

#[test]
fn what_a_screen_shows_can_be_taken_elsewhere() {
    let mut played = Played::new("rl", 2_000, MEDIUM);
    let first_lines = [
        ('1', "metric,first_step,last_step,min,mean,max,num_broken"),
        ('3', "step 80 group 1"),
        (
            '4',
            "source,records,records_taken,tokens_taken,target_share,share,epoch,rejected",
        ),
        ('5', "step,suite,group,metric,value"),
        ('7', "2025-11-23T14:05:09Z"),
    ];
    for (screen, start) in first_lines {
        played.press(&format!("{screen}e"));
        let effects = played.app.take_effects();
        let [Effect::Export(name, text)] = &effects[..] else {
            panic!("{effects:?}")
        };
        assert!(name.starts_with("tower_plus_2b_rl-"), "{name}");
        assert!(
            text.starts_with(start) && text.lines().count() > 3,
            "{text}"
        );
    }
    played.press("8y");
    let command = "trainer --stage rl --recipe runs/tower_plus_2b/rl/recipe.toml \
                   --model models/tower_plus_2b/3_wpo --output runs/tower_plus_2b/rl \
                   --resume runs/tower_plus_2b/rl/checkpoint-40";
    assert_eq!(
        played.app.take_effects(),
        [Effect::Copy(command.to_owned())]
    );
}

#[test]
fn an_alert_that_still_holds_after_a_resume_is_told_once() {
    let mut played = Played::new("rl", 2_000, MEDIUM);
    let holding = |played: &Played| played.app.shown().0.alerts.len();
    let told = |played: &Played| played.app.shown().0.journal.num_alerts();
    assert_eq!((holding(&played), told(&played)), (2, 1));
    played.log(&[r#"{"v":1,"time":1,"kind":"resumed","from_step":66}"#]);
    assert_eq!((holding(&played), told(&played)), (0, 1));
    let again = r#"{"v":1,"time":1,"kind":"alert","rule":"off_target_rate > 2 × start","message":"off-target rate of en→hi is 2.1 % (0.8 % at the start)","step":66,"level":"alarm"}"#;
    played.log(&[again]);
    assert_eq!((holding(&played), told(&played)), (1, 1));
    let saved = &played.app.shown().0.checkpoints;
    assert!(saved.iter().all(|saved| saved.checkpoint.step <= 66));
}

#[test]
fn a_folder_of_runs_is_listed_and_overlaid() {
    let mut played = Played::folder(&["cpt", "sft", "po", "rl"], 2_000, MEDIUM);
    let mut frames = String::new();
    write_frame(&mut frames, "the latest is shown", &played.app);
    played.press("9");
    write_frame(&mut frames, "the list", &played.app);
    played.press("ggj ");
    write_frame(&mut frames, "one marked", &played.app);
    played.press("G⏎2");
    write_frame(
        &mut frames,
        "its curves beside those of another",
        &played.app,
    );
    played.press("x");
    write_frame(&mut frames, "along tokens", &played.app);
    check_text(&frames, "states/folder_120x40");
}
