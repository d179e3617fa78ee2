//! Every rule fires on what it is for, does not on healthy noise, and is cleared.

mod of_log;

use datasets::counter_rng;
use telemetry::Scalar;
use telemetry::event::Gpu;

use super::*;
use crate::recipe::{RawRecipe, StageName, for_stage};

fn alerts(stage: StageName, alert_rules: &str) -> Alerts {
    Alerts::new(&recipe(stage, alert_rules))
}

fn recipe(stage: StageName, alert_rules: &str) -> Recipe {
    let mut raw = RawRecipe::new();
    raw.set(Some(stage), &format!("alert_rules={alert_rules}"));
    for_stage(&raw, stage).expect("a sound recipe")
}

/// A step that is healthy in every stage, with these metrics instead.
fn step(number: u64, metrics: &[(&str, f64)]) -> Step {
    let get = |name: &str, usual: f64| {
        let given = metrics.iter().find(|(other, _)| *other == name);
        Scalar(given.map_or(usual, |(_, value)| *value))
    };
    let named = ["loss", "grad_norm", "tokens_per_second"];
    let others = metrics.iter().filter(|(name, _)| !named.contains(name));
    Step {
        step: number,
        loss: get("loss", 2.0),
        grad_norm: get("grad_norm", 0.5),
        learning_rate: Scalar(1e-5),
        tokens_per_second: get("tokens_per_second", 1000.0),
        fields: others.copied().collect(),
    }
}

fn evaluation(step: u64, metrics: &[(&str, f64)]) -> Evaluation {
    Evaluation {
        step,
        name: "held_out".to_owned(),
        table: Vec::new(),
        fields: metrics.iter().copied().collect(),
    }
}

/// A number between -1 and 1 that a seed and a step decide.
fn noise(seed: u64, step: u64) -> f64 {
    f64::from(
        counter_rng::symmetric(seed, &[step])
            .next()
            .expect("endless"),
    )
}

/// The rules that events raise and clear, `-` before those that are cleared.
fn names(events: Vec<Event>) -> Vec<String> {
    let name = |event: Event| match event {
        Event::Alert(alert) => alert.rule,
        Event::AlertCleared(cleared) => format!("-{}", cleared.rule),
        other => panic!("{other:?}"),
    };
    events.into_iter().map(name).collect()
}

/// A run whose steps have one metric: what it raises and clears, each with its step.
fn of_steps(
    stage: StageName,
    metric: &str,
    values: impl Fn(u64) -> f64,
    steps: u64,
) -> Vec<String> {
    let mut alerts = alerts(stage, "[]");
    let mut told = Vec::new();
    for number in 1..=steps {
        let step = step(number, &[(metric, values(number))]);
        let events = alerts.observe(Observation::Step(&step), Some(number));
        told.extend(
            names(events)
                .into_iter()
                .map(|name| format!("{number} {name}")),
        );
    }
    told
}

fn of_evaluations(stage: StageName, metric: &str, values: &[f64]) -> Vec<String> {
    let mut alerts = alerts(stage, "[]");
    let mut told = Vec::new();
    for (number, &value) in (0..).zip(values) {
        let evaluation = evaluation(10 * number, &[(metric, value)]);
        let events = alerts.observe(Observation::Evaluation(&evaluation), None);
        told.extend(
            names(events)
                .into_iter()
                .map(|name| format!("{number} {name}")),
        );
    }
    told
}

/// From step 31 to 60 a bad value, before and after it a healthy one.
fn bad_for_a_while(healthy: f64, bad: f64) -> impl Fn(u64) -> f64 {
    move |step| match step {
        31..=60 => bad,
        _ => healthy,
    }
}

/// The median of ten steps is bad from the sixth bad one on: the fifth makes it the mean of both.
#[test]
fn each_threshold_of_a_stage_fires_once_and_is_cleared() {
    use StageName::{Cpt, Po, Rl, Sft};
    for (stage, metric, healthy, bad, rules) in [
        (Cpt, "grad_norm", 1.0, 20.0, vec!["grad_norm > 10"]),
        (Sft, "grad_norm", 1.0, 20.0, vec!["grad_norm > 10"]),
        (Sft, "grad_norm", 1.0, 0.01, vec!["grad_norm < 0.1"]),
        (Po, "weights/mean", 0.5, 0.01, vec!["weights/mean < 0.05"]),
        (Rl, "grad_norm", 0.5, 5.0, vec!["grad_norm > 1"]),
        (Rl, "grad_norm", 0.5, 1e-5, vec!["grad_norm < 0.001"]),
        (
            Rl,
            "frac_reward_zero_std",
            0.3,
            0.9,
            vec!["frac_reward_zero_std > 0.8"],
        ),
        (Rl, "kl", 0.1, 0.7, vec!["kl > 0.5"]),
        (Rl, "kl", 0.1, 5.0, vec!["kl > 0.5", "kl > 2"]),
        (
            Rl,
            "sampling/logp_difference/mean",
            1e-6,
            0.2,
            vec!["sampling/logp_difference/mean > 0.1"],
        ),
        (
            Rl,
            "clip_ratio/region_mean",
            0.01,
            0.2,
            vec!["clip_ratio/region_mean > 0.1"],
        ),
        (
            Rl,
            "completions/clipped_ratio",
            0.01,
            1.0,
            vec![
                "completions/clipped_ratio > 0.3",
                "completions/clipped_ratio > 0.8",
            ],
        ),
        (Rl, "length_ratio", 1.0, 2.0, vec!["length_ratio > 1.3"]),
        (Rl, "length_ratio", 1.0, 0.5, vec!["length_ratio < 0.8"]),
    ] {
        let told = of_steps(stage, metric, bad_for_a_while(healthy, bad), 100);
        let mut rest: Vec<&str> = told
            .iter()
            .filter_map(|t| t.split_once(' '))
            .map(|(_, r)| r)
            .collect();
        // Of two rules about one metric, the one that was raised last is cleared first.
        rest[rules.len()..].sort_unstable();
        let cleared: Vec<String> = rules.iter().map(|rule| format!("-{rule}")).collect();
        let want: Vec<&str> = rules
            .iter()
            .copied()
            .chain(cleared.iter().map(|c| &**c))
            .collect();
        assert_eq!(rest, want, "{metric} = {bad} in {stage}: {told:?}");
        let when = |told: &String| told.split_once(' ').map(|(step, _)| step.parse::<u64>());
        let first = when(&told[0]).expect("a step").expect("a number");
        assert!((35..=36).contains(&first), "{told:?}");
    }
}

#[test]
fn a_single_bad_step_raises_no_threshold() {
    for bad in [2, 40, 41] {
        let spike = |step| if step == bad { 50.0 } else { 0.1 };
        assert_eq!(of_steps(StageName::Rl, "kl", spike, 80), [""; 0]);
        assert_eq!(
            of_steps(StageName::Rl, "completions/clipped_ratio", spike, 80),
            [""; 0]
        );
    }
}

#[test]
fn a_value_at_the_border_is_told_of_once() {
    // It swings by 4 % around the threshold, and must fall 10 % below it to be cleared.
    let swinging = |step: u64| match step {
        ..=200 => 0.5 + 0.02 * ((step / 15) % 2) as f64 - 0.01,
        _ => 0.3,
    };
    let told = of_steps(StageName::Rl, "kl", swinging, 240);
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told[0].ends_with(" kl > 0.5") && told[1].ends_with(" -kl > 0.5"));
}

#[test]
fn a_loss_six_deviations_above_128_steps_is_told_of_and_cleared_after_32_quiet_ones() {
    let noisy = |step| 1.0 + 0.1 * noise(3, step);
    let spike = |step| if step == 150 { 3.0 } else { noisy(step) };
    let early = |step| if step == 100 { 3.0 } else { noisy(step) };
    let rule = "loss z-score > 6";
    let want = [format!("150 {rule}"), format!("182 -{rule}")];
    assert_eq!(of_steps(StageName::Sft, "loss", spike, 400), want);
    assert_eq!(of_steps(StageName::Sft, "loss", early, 120), [""; 0]);
    assert_eq!(of_steps(StageName::Sft, "loss", noisy, 400), [""; 0]);
}

#[test]
fn gradient_norms_need_two_outliers_close_together() {
    let noisy = |step| 1.0 + 0.1 * noise(3, step);
    let after = |second: u64| {
        let spikes = move |step| match step {
            150 => 3.0,
            step if step == second => 6.0,
            step => noisy(step),
        };
        of_steps(StageName::Sft, "grad_norm", spikes, 400)
    };
    assert_eq!(after(170), [""; 0], "twenty steps lie between");
    let rule = "grad_norm z-score > 6";
    assert_eq!(after(155), [format!("155 {rule}"), format!("187 -{rule}")]);
}

#[test]
fn a_loss_that_is_no_number_is_an_alarm_at_once() {
    let broken = |step| if step == 5 { f64::NAN } else { 1.0 };
    let want = ["5 loss is not finite", "37 -loss is not finite"];
    assert_eq!(of_steps(StageName::Po, "loss", broken, 60), want);
    let step = step(1, &[("grad_norm", f64::INFINITY)]);
    let events = alerts(StageName::Rl, "[]").observe(Observation::Step(&step), Some(1));
    let [Event::Alert(alert)] = &*events else {
        panic!("{events:?}");
    };
    assert_eq!(alert.level, Some(AlertLevel::Alarm));
    assert_eq!(alert.fields.scalar("value"), Some(f64::INFINITY));
}

#[test]
fn entropy_collapses_and_falls_by_half() {
    let falling = |step: u64| 1.0 - 0.007 * step as f64 + 0.05 * noise(1, step);
    let told = of_steps(StageName::Rl, "entropy", falling, 100);
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].ends_with(" entropy < 0.5 × its start"), "{told:?}");
    let noisy = |step| 0.6 + 0.2 * noise(1, step);
    assert_eq!(of_steps(StageName::Rl, "entropy", noisy, 300), [""; 0]);
    let collapsed = |step| if step > 50 { 0.001 } else { 0.6 };
    let told = of_steps(StageName::Rl, "entropy", collapsed, 100);
    assert!(
        told.iter().any(|t| t.ends_with(" entropy < 0.01")),
        "{told:?}"
    );
}

#[test]
fn a_guard_at_twice_its_start_is_told_of_unless_it_is_next_to_nothing() {
    for guard in [
        "off_target_rate",
        "copy_rate",
        "empty_rate",
        "repetition_rate",
    ] {
        let rule = format!("{guard} > 2 × its start");
        let doubled = bad_for_a_while(0.05, 0.2);
        let told = of_steps(StageName::Rl, guard, doubled, 120);
        assert_eq!(told.len(), 2, "{told:?}");
        assert!(told[0].ends_with(&rule) && told[1].ends_with(&format!("-{rule}")));
        let tiny = |step| if step > 30 { 0.002 } else { 0.001 };
        assert_eq!(of_steps(StageName::Rl, guard, tiny, 120), [""; 0]);
        let evaluations = of_evaluations(StageName::Sft, guard, &[0.01, 0.02, 0.05, 0.02]);
        assert_eq!(
            evaluations,
            [format!("2 eval/{rule}"), format!("3 -eval/{rule}")]
        );
    }
}

#[test]
fn lengths_of_held_out_answers_count_from_the_first_step_on() {
    let told = of_evaluations(StageName::Sft, "length_ratio", &[5.0, 1.1, 1.5, 1.0]);
    assert_eq!(
        told,
        ["2 eval/length_ratio > 1.3", "3 -eval/length_ratio > 1.3"]
    );
    let told = of_evaluations(StageName::Po, "length_ratio", &[1.0, 0.5, 1.0]);
    assert_eq!(
        told,
        ["1 eval/length_ratio < 0.8", "2 -eval/length_ratio < 0.8"]
    );
}

#[test]
fn a_held_out_loss_that_rises_three_times_is_told_of() {
    for stage in [StageName::Cpt, StageName::Sft, StageName::Po] {
        let values = [2.0, 1.5, 1.6, 1.7, 1.8, 1.9, 1.4, 1.5, 1.6, 1.5];
        let rule = "eval/loss rises 3 times in a row";
        let want = [format!("4 {rule}"), format!("6 -{rule}")];
        assert_eq!(of_evaluations(stage, "loss", &values), want);
    }
    // The one before a resume is measured again after it.
    let mut alerts = alerts(StageName::Sft, "[]");
    for (step, loss) in [(10, 1.0), (20, 1.1), (30, 1.2), (30, 1.2)] {
        let evaluation = evaluation(step, &[("loss", loss)]);
        assert_eq!(
            alerts.observe(Observation::Evaluation(&evaluation), None),
            []
        );
    }
    let evaluation = evaluation(40, &[("loss", 1.3)]);
    assert_eq!(
        alerts
            .observe(Observation::Evaluation(&evaluation), None)
            .len(),
        1
    );
}

#[test]
fn lengths_that_grow_without_a_pause_are_told_of() {
    let growing = |step: u64| 50.0 + 0.5 * step as f64 + 5.0 * noise(2, step);
    let told = of_steps(StageName::Rl, "completions/mean_length", growing, 200);
    assert_eq!(told, ["120 completions/mean_length grows without a pause"]);
    // As much, and then no more; and noise about a mean.
    let settling = |step: u64| 50.0 + 0.5 * step.min(60) as f64 + 5.0 * noise(2, step);
    assert_eq!(
        of_steps(StageName::Rl, "completions/mean_length", settling, 300),
        [""; 0]
    );
}

#[test]
fn pairs_with_nothing_left_to_learn_are_told_of_after_200_steps() {
    let rule = "rewards/accuracies > 0.99";
    let told = of_steps(StageName::Po, "rewards/accuracies", |_| 1.0, 300);
    assert_eq!(told, [format!("200 {rule}")]);
    let good = |step: u64| if step.is_multiple_of(4) { 0.9375 } else { 1.0 };
    assert_eq!(
        of_steps(StageName::Po, "rewards/accuracies", good, 300),
        [""; 0]
    );
}

fn displacement(chosen: impl Fn(u64) -> f64, margins: impl Fn(u64) -> f64) -> Vec<String> {
    let mut alerts = alerts(StageName::Po, "[]");
    let mut told = Vec::new();
    for number in 1..=150 {
        let metrics = [
            ("logps/chosen", chosen(number)),
            ("rewards/margins", margins(number)),
        ];
        let step = step(number, &metrics);
        told.extend(names(
            alerts.observe(Observation::Step(&step), Some(number)),
        ));
    }
    told
}

#[test]
fn chosen_answers_that_become_unlikely_while_margins_rise_are_told_of() {
    let rising = |step: u64| 0.01 * step as f64 + 0.1 * noise(5, step);
    let flat = |step: u64| 0.1 * noise(5, step);
    let falling = |step: u64| -50.0 - 0.2 * step as f64 + 10.0 * noise(4, step);
    let noisy = |step: u64| -50.0 + 10.0 * noise(4, step);
    let rule = "logps/chosen falls while rewards/margins rises";
    assert_eq!(displacement(falling, rising), [rule]);
    assert_eq!(displacement(noisy, rising), [""; 0]);
    assert_eq!(displacement(falling, flat), [""; 0]);
    // It falls, and comes back.
    let back = |step: u64| {
        if step > 90 {
            noisy(step)
        } else {
            falling(step)
        }
    };
    assert_eq!(displacement(back, rising), [rule, &format!("-{rule}")]);
}

#[test]
fn a_reward_that_stays_near_nothing_is_told_of_after_20_steps() {
    let told = of_steps(
        StageName::Rl,
        "reward",
        |step| 0.05 + 0.05 * noise(6, step),
        60,
    );
    assert_eq!(told, ["20 reward < 0.15"]);
    assert_eq!(
        of_steps(
            StageName::Rl,
            "reward",
            |step| 0.4 + 0.2 * noise(6, step),
            60
        ),
        [""; 0]
    );
}

#[test]
fn a_step_with_nothing_in_it_is_told_of_at_once() {
    let empty = |step| if step == 7 { 0.0 } else { 900.0 };
    let told = of_steps(StageName::Sft, "num_supervised", empty, 10);
    assert_eq!(told, ["7 num_supervised < 1", "8 -num_supervised < 1"]);
    let told = of_steps(StageName::Rl, "num_tokens", empty, 10);
    assert_eq!(told, ["7 num_tokens < 1", "8 -num_tokens < 1"]);
}

#[test]
fn a_run_that_is_slower_than_its_median_is_told_of() {
    let noisy = |step: u64| 1000.0 * (1.0 + 0.25 * noise(7, step));
    assert_eq!(
        of_steps(StageName::Cpt, "tokens_per_second", noisy, 600),
        [""; 0]
    );
    let slow = |step: u64| match step {
        300..=350 => 0.5 * noisy(step),
        _ => noisy(step),
    };
    let told = of_steps(StageName::Cpt, "tokens_per_second", slow, 400);
    assert_eq!(told.len(), 2, "{told:?}");
    let rule = "tokens_per_second < 70 % of its median";
    assert!(told[0].ends_with(rule) && told[1].ends_with(&format!("-{rule}")));
}

fn system(free: u64, used: u64) -> System {
    System {
        cpu_percent: None,
        memory_used_bytes: None,
        memory_total_bytes: None,
        process_memory_bytes: None,
        disk_free_bytes: Some(free),
        disk_total_bytes: Some(1000),
        gpus: Some(vec![Gpu {
            name: "Some GPU".to_owned(),
            index: Some(1),
            memory_used_bytes: Some(used),
            memory_total_bytes: Some(100),
            ..Gpu::default()
        }]),
        fields: Fields::new(),
    }
}

#[test]
fn a_disk_without_room_for_two_checkpoints_and_a_full_device_are_told_of() {
    let mut alerts = alerts(StageName::Cpt, "[]");
    let mut see = |system: System| names(alerts.observe(Observation::System(&system), None));
    assert_eq!(
        see(system(10, 90)),
        [""; 0],
        "no checkpoint says yet what one takes"
    );
    assert_eq!(see(system(900, 96)), ["device memory > 95 %"]);
    assert_eq!(see(system(900, 94)), [""; 0]);
    assert_eq!(see(system(900, 80)), ["-device memory > 95 %"]);
    let checkpoint = Checkpoint {
        step: 10,
        path: "checkpoint-10".to_owned(),
        bytes: 100,
        seconds: Scalar(1.0),
        fields: Fields::new(),
    };
    assert_eq!(
        alerts.observe(Observation::Checkpoint(&checkpoint), Some(10)),
        []
    );
    let mut see = |system: System| names(alerts.observe(Observation::System(&system), None));
    assert_eq!(see(system(300, 1)), [""; 0]);
    assert_eq!(see(system(150, 1)), ["disk_free_bytes < 2 checkpoints"]);
    assert_eq!(see(system(205, 1)), [""; 0]);
    assert_eq!(see(system(500, 1)), ["-disk_free_bytes < 2 checkpoints"]);
}

#[test]
fn the_memory_of_a_device_is_told_of_by_its_number_and_only_where_it_is_the_runs() {
    let mut alerts = alerts(StageName::Cpt, "[]");
    let mut several = system(900, 96);
    several.gpus.get_or_insert_default().push(Gpu::default());
    let told = alerts.observe(Observation::System(&several), Some(1));
    assert_eq!(told, [], "it may be the other one that the run is on");
    let told = alerts.observe(Observation::System(&system(900, 96)), Some(1));
    let [Event::Alert(alert)] = &*told else {
        panic!("{told:?}");
    };
    let start = "96 % of the memory of GPU 1 (Some GPU) is in use: ";
    assert!(alert.message.starts_with(start), "{}", alert.message);
}

#[test]
fn a_recipe_replaces_adds_and_takes_away_rules() {
    let run = |rules: &str, metric: &str, value: f64| {
        let mut alerts = alerts(StageName::Rl, rules);
        let steps = (1..=40).flat_map(|number| {
            let step = step(number, &[(metric, value)]);
            names(alerts.observe(Observation::Step(&step), Some(number)))
        });
        let mut told: Vec<String> = steps.collect();
        let evaluation = evaluation(40, &[(metric, value)]);
        told.extend(names(
            alerts.observe(Observation::Evaluation(&evaluation), None),
        ));
        told
    };
    assert_eq!(run("[]", "kl", 0.7), ["kl > 0.5"]);
    assert_eq!(run(r#"["kl > 1"]"#, "kl", 0.7), [""; 0]);
    assert_eq!(run(r#"["kl > 1"]"#, "kl", 1.5), ["kl > 1", "eval/kl > 1"]);
    assert_eq!(run(r#"["kl off"]"#, "kl", 9.0), [""; 0]);
    assert_eq!(
        run(r#"["eval/chrf < 20"]"#, "chrf", 10.0),
        ["eval/chrf < 20"]
    );
    assert_eq!(run(r#"["off"]"#, "grad_norm", 9.0), [""; 0]);
    assert_eq!(
        run(r#"["off", "chrf < 20", "chrf < 5"]"#, "chrf", 10.0),
        ["chrf < 20", "eval/chrf < 20"]
    );
    assert_eq!(run(r#"["length_ratio > 3"]"#, "length_ratio", 2.0), [""; 0]);
}

#[test]
fn a_message_has_the_value_the_range_and_what_it_means() {
    let mut alerts = alerts(StageName::Rl, "[]");
    let mut events = Vec::new();
    for number in 1..=10 {
        let step = step(number, &[("kl", 0.75)]);
        events.extend(alerts.observe(Observation::Step(&step), Some(number)));
    }
    let [Event::Alert(alert)] = &*events else {
        panic!("{events:?}");
    };
    assert_eq!(
        alert.message,
        "kl is 0.750, the median of 10 steps; healthy is at most 0.5: the policy moves away from \
         its reference"
    );
    assert_eq!(
        (alert.step, alert.level),
        (Some(10), Some(AlertLevel::Warning))
    );
    let numbers = ["value", "threshold"].map(|name| alert.fields.scalar(name));
    assert_eq!(numbers, [Some(0.75), Some(0.5)]);
}
