//! A curve in one row.

use crate::store::curve::Curve;

/// The curve from its first step to its last in `columns` columns, lowest value to highest. `✖` marks values
/// that are no numbers; a column without a value repeats the one before.
pub fn spark(curve: &Curve, columns: usize) -> String {
    const LEVELS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let Some(all) = curve.summary(0).filter(|_| columns > 0) else {
        return String::new();
    };
    let span = (all.last - all.first).max(1);
    let mut cells: Vec<Option<(f64, u32, bool)>> = vec![None; columns];
    for bucket in curve.live() {
        let middle = bucket.first + (bucket.last - bucket.first) / 2 - all.first;
        let at = (middle as u128 * (columns as u128 - 1) / u128::from(span)) as usize;
        let cell = cells[at].get_or_insert((0.0, 0, false));
        if let Some(mean) = bucket.mean() {
            (cell.0, cell.1) = (cell.0 + mean, cell.1 + 1);
        }
        cell.2 |= bucket.num_broken > 0;
    }
    let range = all.max - all.min;
    let level = |value: f64| match range > 0.0 {
        true => (((value - all.min) / range) * 7.0).round().clamp(0.0, 7.0) as usize,
        false => 3,
    };
    let mut line = String::with_capacity(columns * 3);
    let mut before = ' ';
    for cell in cells {
        before = match cell {
            Some((_, _, true)) => '✖',
            Some((sum, count, false)) => LEVELS[level(sum / f64::from(count))],
            None if before == '✖' => ' ',
            None => before,
        };
        line.push(before);
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn curve(values: &[f64]) -> Curve {
        let mut curve = Curve::default();
        (0..)
            .zip(values)
            .for_each(|(step, value)| curve.push(step, *value));
        curve
    }

    #[test]
    fn a_spark_shows_shape_and_breaks() {
        assert_eq!(spark(&curve(&[0.0, 1.0, 2.0, 7.0]), 4), "▁▂▃█");
        assert_eq!(spark(&curve(&[0.0, f64::NAN, 2.0, 7.0]), 4), "▁✖▃█");
        assert_eq!(spark(&curve(&[5.0, 5.0]), 3), "▄▄▄");
        assert_eq!(spark(&curve(&[f64::NAN]), 3), "✖  ");
        assert_eq!(spark(&Curve::default(), 3), "");
    }
}
