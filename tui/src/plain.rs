//! A run as lines of text, for where there is no terminal to draw on.

use std::time::Duration;

use telemetry::event::{Evaluation, Step};

/// The metrics a progress line shows where a step has them, with their short names.
const SHOWN: [(&str, &str); 4] = [
    ("reward", "reward"),
    ("rewards/margins", "margin"),
    ("kl", "kl"),
    ("completions/mean_length", "length"),
];

/// One line for one step.
///
/// Example: `step   12/400  loss 1.234  lr 1.0e-3  |g| 0.71  tok/s 2.4k  eta 6 min 12 s`.
pub fn step_line(step: &Step, total_steps: u64, eta: Duration) -> String {
    let width = total_steps.to_string().len();
    let mut line = format!("step {:>width$}/{total_steps}", step.step);
    line.push_str(&format!("  loss {}", number(step.loss.0)));
    for (name, short) in SHOWN {
        if let Some(value) = step.fields.scalar(name) {
            line.push_str(&format!("  {short} {}", number(value)));
        }
    }
    line.push_str(&format!("  lr {:.1e}", step.learning_rate.0));
    line.push_str(&format!("  |g| {}", number(step.grad_norm.0)));
    line.push_str(&format!("  tok/s {}", short(step.tokens_per_second.0)));
    line.push_str(&format!("  eta {}", duration(eta)));
    line
}

/// One line for one evaluation.
pub fn evaluation_line(evaluation: &Evaluation) -> String {
    let metrics: Vec<String> = evaluation
        .fields
        .scalars()
        .map(|(name, value)| format!("{name} {}", number(value)))
        .collect();
    format!(
        "held-out at step {}: {}",
        evaluation.step,
        metrics.join("  ")
    )
}

/// Four significant digits; what is not a number says so.
pub fn number(value: f64) -> String {
    if !value.is_finite() {
        return value.to_string();
    }
    let magnitude = value.abs();
    if magnitude != 0.0 && !(1e-3..1e5).contains(&magnitude) {
        return format!("{value:.2e}");
    }
    let decimals = match magnitude {
        m if m >= 1000.0 => 0,
        m if m >= 100.0 => 1,
        m if m >= 10.0 => 2,
        _ => 3,
    };
    format!("{value:.decimals$}")
}

/// A count with a unit letter: `980`, `2.4k`, `1.3M`.
pub fn short(value: f64) -> String {
    match value {
        v if !v.is_finite() => v.to_string(),
        v if v >= 1e6 => format!("{:.1}M", v / 1e6),
        v if v >= 1e3 => format!("{:.1}k", v / 1e3),
        v => format!("{v:.0}"),
    }
}

/// The two largest units of a time: `1 d 07 h`, `6 min 12 s`, `18 s`.
pub fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{minutes} min {:02} s", seconds % 60),
        3600..86_400 => format!("{hours} h {:02} min", minutes % 60),
        _ => format!("{days} d {:02} h", hours % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use telemetry::{Fields, Scalar};

    #[test]
    fn a_step_is_one_line_with_what_the_stage_measures() {
        let step = Step {
            step: 12,
            loss: Scalar(1.23456),
            grad_norm: Scalar(f64::NAN),
            learning_rate: Scalar(1e-3),
            tokens_per_second: Scalar(2410.0),
            fields: Fields::new().with("reward", 0.5),
        };
        assert_eq!(
            step_line(&step, 400, Duration::from_secs(372)),
            "step  12/400  loss 1.235  reward 0.500  lr 1.0e-3  |g| NaN  tok/s 2.4k  \
             eta 6 min 12 s"
        );
    }

    #[test]
    fn durations_show_two_units() {
        let show = |seconds| duration(Duration::from_secs(seconds));
        assert_eq!(show(18), "18 s");
        assert_eq!(show(3_700), "1 h 01 min");
        assert_eq!(show(86_400 + 7 * 3600), "1 d 07 h");
    }
}
