//! Numbers, sizes and times as they stand on the screen.

use std::time::Duration;

use telemetry::metric::{MetricKey, Unit};

/// A metric's value with three significant digits, in the metric's unit. `NaN` and `inf` are shown as such.
pub fn value(value: f64, key: Option<&MetricKey>) -> String {
    if !value.is_finite() {
        return value.to_string();
    }
    match key.map(|key| key.unit) {
        Some(Unit::Share) => percent(value * 100.0),
        Some(Unit::Percent) => percent(value),
        Some(Unit::TokensPerSecond) => amount(value),
        Some(Unit::Bytes) => bytes(value),
        Some(Unit::Seconds) => seconds(value),
        _ => number(value),
    }
}

/// Three significant digits: `0.412`, `58.3`, `1,240`, `1.00e-6`.
pub fn number(value: f64) -> String {
    let magnitude = value.abs();
    match magnitude {
        _ if !value.is_finite() => value.to_string(),
        0.0 => "0".to_owned(),
        m if !(1e-3..1e7).contains(&m) => format!("{value:.2e}"),
        m if m < 0.009995 => format!("{value:.5}"),
        m if m < 0.09995 => format!("{value:.4}"),
        m if m < 0.9995 => format!("{value:.3}"),
        m if m < 9.995 => format!("{value:.2}"),
        m if m < 99.95 => format!("{value:.1}"),
        m => format!(
            "{}{}",
            if value < 0.0 { "-" } else { "" },
            count(m.round() as u64)
        ),
    }
}

/// A whole number with its thousands separated: `1,240`.
pub fn count(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// An amount with a letter: `980`, `14.2k`, `612M`, `2.61B`.
pub fn amount(value: f64) -> String {
    scaled(
        value,
        &[(1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")],
        "",
    )
}

/// A size: `5.23 GB`.
pub fn bytes(value: f64) -> String {
    scaled(
        value,
        &[(1e12, " TB"), (1e9, " GB"), (1e6, " MB"), (1e3, " kB")],
        " B",
    )
}

fn scaled(value: f64, units: &[(f64, &str)], bare: &str) -> String {
    // 999,950 rounds to 1.00M, not to 1000k.
    let fits = |(size, _): &&(f64, &str)| value.abs() >= size * 0.9995;
    match units.iter().find(fits) {
        Some((size, unit)) => {
            let scaled = value / size;
            let decimals = match scaled.abs() {
                s if s < 9.995 => 2,
                s if s < 99.95 => 1,
                _ => 0,
            };
            format!("{scaled:.decimals$}{unit}")
        }
        None if value.fract() == 0.0 || value.abs() >= 99.95 => format!("{value:.0}{bare}"),
        None => format!("{}{bare}", number(value)),
    }
}

fn percent(value: f64) -> String {
    match value.abs() {
        m if m == 0.0 || m >= 99.95 => format!("{value:.0}%"),
        m if m >= 9.95 => format!("{value:.1}%"),
        _ => format!("{value:.2}%"),
    }
}

/// A time span given in seconds: `71 ms`, `7.10 s`, `18 s`, `6 min 12 s`.
pub fn seconds(value: f64) -> String {
    match value {
        v if !v.is_finite() => v.to_string(),
        v if v < 0.0 => format!("-{}", seconds(-v)),
        v if v < 0.9995 => format!("{:.0} ms", v * 1e3),
        v if v < 9.995 => format!("{v:.2} s"),
        v => crate::plain::duration(Duration::from_secs_f64(v.round().min(1e12))),
    }
}

/// A time span in milliseconds, to the second: `18 s`, `1 d 07 h`.
pub fn span_ms(ms: u64) -> String {
    crate::plain::duration(Duration::from_secs(ms / 1000))
}

/// How long ago something was, in one unit: `44 s`, `5 min`, `2 h`, `3 d`.
pub fn age(ms: u64) -> String {
    match ms / 1000 {
        seconds @ 0..60 => format!("{seconds} s"),
        seconds @ 60..3600 => format!("{} min", seconds / 60),
        seconds @ 3600..86_400 => format!("{} h", seconds / 3600),
        seconds => format!("{} d", count(seconds / 86_400)),
    }
}

/// A change with its sign: `+1.90`, `-0.400`, `0`.
pub fn change(change: f64, key: Option<&MetricKey>) -> String {
    match change > 0.0 {
        true => format!("+{}", value(change, key)),
        false => value(change, key),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use telemetry::metric;

    #[test]
    fn numbers_have_three_significant_digits() {
        let cases = [
            (0.0, "0"),
            (0.4123, "0.412"),
            (-0.00512, "-0.00512"),
            (58.31, "58.3"),
            (0.99961, "1.00"),
            (99.96, "100"),
            (-1240.4, "-1,240"),
            (1e-6, "1.00e-6"),
            (1.5e9, "1.50e9"),
            (f64::NAN, "NaN"),
            (f64::NEG_INFINITY, "-inf"),
        ];
        for (number_, text) in cases {
            assert_eq!(number(number_), text);
        }
    }

    #[test]
    fn a_metric_is_shown_in_its_unit() {
        let cases = [
            (0.3801, metric::MFU, "38.0%"),
            (0.0123, metric::MFU, "1.23%"),
            (14_210.0, metric::TOKENS_PER_SECOND, "14.2k"),
            (71.2, metric::STEP_TIME, "1 min 11 s"),
            (0.0713, metric::STEP_TIME, "71 ms"),
            (5.23e9, metric::MEMORY_USED_BYTES, "5.23 GB"),
            (58.3, metric::CHRF, "58.3"),
            (f64::NAN, metric::MFU, "NaN"),
        ];
        for (number, key, text) in cases {
            assert_eq!(value(number, Some(&key)), text);
        }
    }

    #[test]
    fn amounts_round_into_the_next_unit() {
        assert_eq!(amount(612e6), "612M");
        assert_eq!(amount(999_960.0), "1.00M");
        assert_eq!(amount(980.0), "980");
        assert_eq!(bytes(12.0), "12 B");
        assert_eq!(count(1_234_567), "1,234,567");
        assert_eq!(change(0.5, None), "+0.500");
    }
}
