//! What a log says about the alerts that hold at its end.

use telemetry::event::Resumed;
use telemetry::{EventLog, FixedClock};

use super::*;

/// The events of a run with this KL a step, as its trainer would log them.
fn log_steps(log: &EventLog, alerts: &mut Alerts, steps: std::ops::RangeInclusive<u64>, kl: f64) {
    for number in steps {
        let step = step(number, &[("kl", kl)]);
        log.append(step.clone()).expect("a line");
        for event in alerts.observe(Observation::Step(&step), Some(number)) {
            log.append(event).expect("a line");
        }
    }
}

#[test]
fn a_resumed_run_knows_what_an_uninterrupted_one_knows() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("events.jsonl");
    let clock = std::sync::Arc::new(FixedClock::default());
    let log = EventLog::open_with(&path, clock).expect("a log");
    let recipe = recipe(StageName::Rl, "[]");
    let mut first = Alerts::new(&recipe);
    // Bad from step 6 on, told at step 11, and cleared at step 36 of a tail that is abandoned.
    log_steps(&log, &mut first, 1..=5, 0.1);
    log_steps(&log, &mut first, 6..=30, 0.7);
    log_steps(&log, &mut first, 31..=60, 0.1);
    log.append(Resumed {
        from_step: 30,
        fields: Fields::new(),
    })
    .expect("a line");
    let (mut resumed, raised) = Alerts::of_log(&recipe, &path).expect("a log");
    let raised: Vec<_> = raised.into_iter().map(|a| (a.rule, a.step)).collect();
    assert_eq!(
        raised,
        [("kl > 0.5".to_owned(), Some(11))],
        "`resumed` ended it"
    );
    let bad = step(31, &[("kl", 0.7)]);
    assert_eq!(
        resumed.observe(Observation::Step(&bad), Some(31)),
        [],
        "it was told"
    );
    let told: Vec<String> = (32..=50)
        .flat_map(|number| {
            let step = step(number, &[("kl", 0.1)]);
            names(resumed.observe(Observation::Step(&step), Some(number)))
        })
        .collect();
    assert_eq!(told, ["-kl > 0.5"]);
}

#[test]
fn a_rule_that_a_resumed_recipe_adds_is_told_at_once() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("events.jsonl");
    let clock = std::sync::Arc::new(FixedClock::default());
    let log = EventLog::open_with(&path, clock).expect("a log");
    let mut first = alerts(StageName::Rl, "[]");
    log_steps(&log, &mut first, 1..=20, 0.3);
    let stricter = recipe(StageName::Rl, r#"["kl > 0.2"]"#);
    let (_, raised) = Alerts::of_log(&stricter, &path).expect("a log");
    let names: Vec<&str> = raised.iter().map(|alert| &*alert.rule).collect();
    assert_eq!(names, ["kl > 0.2"]);
}

#[test]
fn an_alert_about_the_watched_metric_holds_until_the_log_clears_or_abandons_it() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("events.jsonl");
    let clock = std::sync::Arc::new(FixedClock::default());
    let log = EventLog::open_with(&path, clock).expect("a log");
    let recipe = recipe(StageName::Rl, "[]");
    let append = |event: Event| log.append(event).expect("a line");
    let fell = |step| {
        append(Event::from(Alert {
            rule: watched::RULE.to_owned(),
            message: "it fell".to_owned(),
            step: Some(step),
            level: Some(AlertLevel::Alarm),
            fields: Fields::new(),
        }));
    };
    let held = || {
        let (_, raised) = Alerts::of_log(&recipe, &path).expect("a log");
        let steps = raised.into_iter().map(|alert| alert.step);
        steps.collect::<Vec<_>>()
    };
    fell(10);
    assert_eq!(held(), [Some(10)]);
    append(Event::from(AlertCleared {
        rule: watched::RULE.to_owned(),
        message: "it is the highest so far".to_owned(),
        step: Some(20),
        fields: Fields::new(),
    }));
    assert_eq!(held(), []);
    fell(30);
    assert_eq!(held(), [Some(30)]);
    append(Event::from(Resumed {
        from_step: 20,
        fields: Fields::new(),
    }));
    assert_eq!(held(), []);
}
