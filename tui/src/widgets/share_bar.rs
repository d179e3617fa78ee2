//! A share of a whole in one row.

/// `▓▓▓▓░░░░` in `columns` columns; what is no number is nothing.
pub fn progress(share: f64, columns: usize) -> String {
    let filled = (share.clamp(0.0, 1.0) * columns as f64).floor() as usize;
    let filled = filled.min(columns);
    "▓".repeat(filled) + &"░".repeat(columns - filled)
}

/// `███▍` in `columns` columns, to an eighth of a column, with spaces after it.
pub fn bar(share: f64, columns: usize) -> String {
    const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    let eighths = (share.clamp(0.0, 1.0) * (columns * 8) as f64).round() as usize;
    let mut text = "█".repeat(eighths / 8) + EIGHTHS[eighths % 8];
    let missing = columns - eighths.div_ceil(8);
    text.extend(std::iter::repeat_n(' ', missing));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_have_their_width() {
        for share in [f64::NAN, -1.0, 0.0, 0.3, 0.49, 1.0, f64::INFINITY] {
            for columns in 0..12 {
                assert_eq!(progress(share, columns).chars().count(), columns);
                assert_eq!(bar(share, columns).chars().count(), columns);
            }
        }
        assert_eq!(progress(0.31, 10), "▓▓▓░░░░░░░");
        assert_eq!(bar(0.5, 3), "█▌ ");
    }
}
