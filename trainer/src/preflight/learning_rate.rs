use tui::format;

use super::Findings;
use crate::recipe::ScheduleSettings;
use crate::schedule::Schedule;

/// Adds that the learning rate never gets to its peak, in a run of `total_steps`: it is still in
/// warm-up at the end, or falls before warm-up is over.
pub fn peak_of_learning_rate(
    findings: &mut Findings,
    settings: &ScheduleSettings,
    total_steps: u64,
) {
    if total_steps == 0 {
        return;
    }
    let schedule = Schedule::new(settings, total_steps);
    let warmup = schedule.warmup_steps();
    // The recipe's own check sees to ratios; what rounding adds to them is no mistake.
    let decay_start = schedule.decay_start().filter(|start| {
        let overlap = warmup as f64 - start;
        settings.warmup_steps > 0 && overlap > 1e-6
    });
    let longer = "or train for longer";
    let (end, hint) = match decay_start {
        _ if warmup >= total_steps => {
            let hint = match settings.warmup_steps {
                0 => format!("set warmup_ratio lower, {longer}; 0 is no warm-up"),
                _ => format!("set warmup_steps below {total_steps}, {longer}"),
            };
            (format!("the run after step {total_steps}"), hint)
        }
        Some(start) => {
            let hint = format!("set warmup_steps or decay_ratio lower, {longer}");
            (format!("decay begins after step {}", start.floor()), hint)
        }
        None => return,
    };
    let [highest, peak] =
        [schedule.highest_learning_rate(), settings.learning_rate].map(format::number);
    let problem = format!(
        "warm-up ends after step {warmup} and {end}: the learning rate gets to {highest} and never \
         to its peak, {peak}"
    );
    findings.warn(problem, hint);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipe::{RawRecipe, StageName, for_stage};

    fn warned(settings: &[&str], total_steps: u64) -> Vec<String> {
        let mut raw = RawRecipe::new();
        for setting in settings {
            raw.set(Some(StageName::Sft), setting);
        }
        let recipe = for_stage(&raw, StageName::Sft).expect("it is sound");
        let mut findings = Findings::default();
        peak_of_learning_rate(&mut findings, &recipe.schedule, total_steps);
        let warnings = findings.warnings.iter();
        warnings.map(ToString::to_string).collect()
    }

    #[test]
    fn a_run_that_ends_in_its_warm_up_is_told_of_the_rate_it_gets_to() {
        let settings = ["warmup_steps=100", "learning_rate=2e-5"];
        let warnings = warned(&settings, 41);
        let [warning] = &warnings[..] else {
            panic!("one warning");
        };
        // The 41st step comes after 40 of 100 steps of warm-up.
        assert!(warning.contains("gets to 8.00e-6"), "{warning}");
        assert!(warning.contains("set warmup_steps below 41"), "{warning}");
        assert_eq!(warned(&settings, 100).len(), 1);
        assert_eq!(warned(&settings, 101), Vec::<String>::new());
    }

    #[test]
    fn one_step_of_a_ratio_is_all_warm_up() {
        let warnings = warned(&["warmup_ratio=0.03"], 1);
        let [warning] = &warnings[..] else {
            panic!("one warning");
        };
        assert!(warning.contains("set warmup_ratio lower"), "{warning}");
        assert_eq!(warned(&["warmup_ratio=0.03"], 2), Vec::<String>::new());
        assert_eq!(warned(&["warmup_ratio=0"], 1), Vec::<String>::new());
    }

    #[test]
    fn warm_up_by_steps_and_decay_by_share_may_not_overlap() {
        let settings = [
            "lr_scheduler_type=warmup_stable_decay",
            "warmup_steps=60",
            "decay_ratio=0.5",
        ];
        let warnings = warned(&settings, 100);
        let [warning] = &warnings[..] else {
            panic!("one warning");
        };
        assert!(warning.contains("decay begins after step 50:"), "{warning}");
        assert!(warning.contains("decay_ratio lower"), "{warning}");
        assert_eq!(warned(&settings, 120), Vec::<String>::new());
    }
}
