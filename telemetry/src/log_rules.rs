//! The rules of the event log as one can observe them from outside, writer against reader.

use crate::event::{Phase, Resumed, Warning};
use crate::line::tests::{one_of_each, step};
use crate::series::steps_after_resume;
use crate::{Event, EventLog, EventTail, Fields, FixedClock, Line, RunDir};
use std::fs;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

fn open(path: &Path) -> (EventLog, Arc<FixedClock>) {
    let clock = Arc::new(FixedClock::new(1_700_000_000_000));
    (EventLog::open_with(path, clock.clone()).unwrap(), clock)
}

fn events(path: &Path) -> Vec<Event> {
    EventTail::read_all(path)
        .unwrap()
        .0
        .into_iter()
        .map(|line| line.event)
        .collect()
}

/// A new file; writing over the old one would wait for the disk thousands of times.
fn fresh(path: &Path, bytes: &[u8]) -> fs::File {
    // The first time there is none to remove.
    let _ = fs::remove_file(path);
    let mut file = fs::File::create(path).unwrap();
    file.write_all(bytes).unwrap();
    file
}

#[test]
fn one_object_a_line_with_version_time_and_kind() {
    let dir = tempfile::tempdir().unwrap();
    let path = RunDir::create(dir.path()).unwrap().events_file();
    let (log, clock) = open(&path);
    for event in one_of_each() {
        log.append(event).unwrap();
        clock.advance(Duration::from_millis(7));
    }
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.ends_with('\n'));
    for (i, line) in text.lines().enumerate() {
        let object: serde_json::Map<String, serde_json::Value> =
            serde_json::from_str(line).unwrap();
        assert_eq!(object["v"], 1);
        assert_eq!(object["time"], 1_700_000_000_000u64 + 7 * i as u64);
        assert!(object["kind"].is_string());
    }
    assert_eq!(events(&path), one_of_each());
}

#[test]
fn the_log_is_continued_never_rewritten() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("events.jsonl");
    open(&path).0.append(step(1, 3.0)).unwrap();
    let before = fs::read(&path).unwrap();
    open(&path).0.append(step(2, 2.0)).unwrap();
    assert!(fs::read(&path).unwrap().starts_with(&before));
    assert_eq!(events(&path).len(), 2);
}

#[test]
fn a_reader_never_sees_a_torn_line_wherever_it_is_torn() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("events.jsonl");
    let expected = one_of_each();
    let whole: String = expected
        .iter()
        .map(|event| Line::new(5, event.clone()).to_json())
        .collect();
    for cut in 0..=whole.len() {
        let bytes = whole.as_bytes();
        let mut file = fresh(&path, &bytes[..cut]);
        let mut tail = EventTail::new(&path);
        let mut seen = tail.poll().unwrap().lines;
        assert_eq!(
            seen.len(),
            bytes[..cut].iter().filter(|&&b| b == b'\n').count()
        );
        file.write_all(&bytes[cut..]).unwrap();
        let rest = tail.poll().unwrap();
        assert!(rest.at_end && !rest.restarted);
        seen.extend(rest.lines);
        assert_eq!(
            seen.into_iter().map(|line| line.event).collect::<Vec<_>>(),
            expected,
            "cut at {cut}"
        );
        assert_eq!(tail.counts().malformed, 0);
    }
}

#[test]
fn a_writer_killed_at_any_byte_leaves_a_log_that_goes_on_whole() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("events.jsonl");
    let whole: String = (1..=3)
        .map(|n| Line::new(5, step(n, 1.0 / n as f64)).to_json())
        .collect();
    for cut in 0..=whole.len() {
        fresh(&path, &whole.as_bytes()[..cut]);
        let (log, _) = open(&path);
        let survived = whole[..cut].matches('\n').count();
        assert_eq!(
            log.dropped_bytes() == 0,
            cut == 0 || whole[..cut].ends_with('\n')
        );
        log.append(Resumed {
            from_step: 0,
            fields: Fields::new(),
        })
        .unwrap();
        let (lines, counts) = EventTail::read_all(&path).unwrap();
        assert_eq!(
            (lines.len(), counts.malformed),
            (survived + 1, 0),
            "cut at {cut}"
        );
    }
}

#[test]
fn nan_infinity_zero_and_missing_stay_apart() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("events.jsonl");
    let (log, _) = open(&path);
    let mut diverged = step(1, f64::NAN);
    diverged.grad_norm = f64::INFINITY.into();
    diverged.fields.set("kl", f64::NEG_INFINITY);
    diverged.fields.set("reward", 0.0);
    log.append(diverged).unwrap();
    let text = fs::read_to_string(&path).unwrap();
    assert!(
        !text.contains("null") && text.contains(r#""loss":"nan","grad_norm":"inf""#),
        "{text}"
    );
    let [Event::Step(step)] = &events(&path)[..] else {
        panic!("{text}")
    };
    assert!(step.loss.0.is_nan() && step.grad_norm.0 == f64::INFINITY);
    assert_eq!(step.fields.scalar("kl"), Some(f64::NEG_INFINITY));
    assert_eq!(
        (
            step.fields.scalar("reward"),
            step.fields.scalar("entropy_bonus")
        ),
        (Some(0.0), None)
    );
}

#[test]
fn resuming_cuts_the_series_back_and_keeps_the_tail() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("events.jsonl");
    let (log, _) = open(&path);
    (1..=5).for_each(|n| log.append(step(n, n as f64)).unwrap());
    log.append(Resumed {
        from_step: 3,
        fields: Fields::new(),
    })
    .unwrap();
    (4..=6).for_each(|n| log.append(step(n, 10.0 * n as f64)).unwrap());
    let events = events(&path);
    let series = steps_after_resume(&events);
    let losses = |steps: &[(u64, &crate::event::Step)]| {
        steps
            .iter()
            .map(|(_, step)| step.loss.0)
            .collect::<Vec<_>>()
    };
    assert_eq!(losses(series.live()), [1.0, 2.0, 3.0, 40.0, 50.0, 60.0]);
    assert_eq!(losses(&series.abandoned()[0]), [4.0, 5.0]);
}

#[test]
fn unknown_kinds_and_fields_are_kept_and_counted_and_garbage_is_passed_over() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("events.jsonl");
    let future = r#"{"v":2,"time":9,"kind":"dream","depth":3,"inner":{"a":[1,"nan"]}}"#;
    let phase = r#"{"v":1,"time":9,"kind":"phase","name":"rollout","step":4,"policy_step":3}"#;
    fs::write(&path, format!("{future}\nnot json\n\n{future}\n{phase}\n")).unwrap();
    let (lines, counts) = EventTail::read_all(&path).unwrap();
    assert_eq!(lines[0].to_json().trim_end(), future);
    assert_eq!(
        lines[2].to_json().trim_end(),
        r#"{"v":1,"time":9,"kind":"phase","name":"rollout","step":4,"policy_step":3}"#
    );
    let expected = Phase {
        name: "rollout".into(),
        step: 4,
        fields: Fields::new().with("policy_step", 3u64),
    };
    assert_eq!(lines[2].event, expected.into());
    assert_eq!((counts.lines, counts.malformed, counts.newer), (5, 2, 2));
    assert_eq!(
        counts.unknown.into_iter().collect::<Vec<_>>(),
        [("dream".to_owned(), 2)]
    );
}

#[test]
fn a_line_of_an_older_version_is_read_as_far_as_it_goes() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("events.jsonl");
    let old = [
        r#"{"kind":"step","step":3,"loss":1.5,"grad_norm":1,"learning_rate":0.1,"tokens_per_second":9}"#,
        r#"{"v":0,"time":7,"kind":"alert","rule":"kl > 2","message":"kl is 3"}"#,
        r#"{"v":0,"time":8,"kind":"system","cpu_percent":50}"#,
    ];
    fs::write(&path, format!("{}\n", old.join("\n"))).unwrap();
    let (lines, counts) = EventTail::read_all(&path).unwrap();
    assert_eq!(
        (counts.malformed, counts.newer, counts.unknown.len()),
        (0, 0, 0)
    );
    let [
        Event::Step(step),
        Event::Alert(alert),
        Event::System(system),
    ] = &lines
        .iter()
        .map(|line| line.event.clone())
        .collect::<Vec<_>>()[..]
    else {
        panic!("{lines:?}")
    };
    assert_eq!((step.step, step.loss.0, lines[0].time_ms), (3, 1.5, 0));
    assert_eq!((alert.level, system.process_memory_bytes), (None, None));
}

#[test]
fn a_reader_keeps_up_with_a_writer() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("events.jsonl");
    let (log, _) = open(&path);
    let mut tail = EventTail::new(&path);
    std::thread::scope(|scope| {
        scope.spawn(move || (1..=2000).for_each(|n| log.append(step(n, 1.0)).unwrap()));
        let mut next = 1;
        while next <= 2000 {
            for line in tail.poll().unwrap().lines {
                let Event::Step(step) = line.event else {
                    panic!("{line:?}")
                };
                assert_eq!(step.step, next);
                next += 1;
            }
        }
    });
    assert_eq!(tail.counts().malformed, 0);
}

#[test]
fn a_step_is_about_six_hundred_bytes_at_most() {
    let mut rl = step(123_456, 0.123_456_789_012_345_67);
    for name in [
        "reward",
        "reward_std",
        "rewards/chrf/mean",
        "kl",
        "clip_ratio/low_mean",
        "clip_ratio/high_mean",
        "completions/mean_length",
        "frac_reward_zero_std",
    ] {
        rl.fields.set(name, 0.123_456_789_012_345_67);
    }
    assert!(Line::new(1_700_000_000_000, rl).to_json().len() < 600);
}

#[test]
fn a_warning_may_span_lines_but_its_event_does_not() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("events.jsonl");
    open(&path)
        .0
        .append(Warning::new("first\nsecond\u{2028}third\r\n"))
        .unwrap();
    assert_eq!(
        events(&path),
        [Warning::new("first\nsecond\u{2028}third\r\n").into()]
    );
}
