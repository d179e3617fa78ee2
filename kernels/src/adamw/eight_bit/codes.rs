use std::sync::OnceLock;

/// What the 256 codes stand for: of the first moment, which has a sign, and of the second. Ascending.
pub(in crate::adamw) fn tables() -> &'static [[f32; 256]; 2] {
    static TABLES: OnceLock<[[f32; 256]; 2]> = OnceLock::new();
    TABLES.get_or_init(|| [table(Sign::Both), table(Sign::Positive)])
}

#[derive(Clone, Copy, PartialEq)]
enum Sign {
    Both,
    Positive,
}

/// 0, 1, and seven decades below 1; the i-th decade from below is cut in 2ⁱ steps on either side,
/// or in twice as many on one, each code in the middle of its step.
fn table(sign: Sign) -> [f32; 256] {
    let mut values = vec![0.0f64, 1.0];
    for decade in 0..7 {
        let steps = match sign {
            Sign::Both => 1 << decade,
            Sign::Positive => 2 << decade,
        };
        let largest = 10f64.powi(decade - 6);
        for step in 0..steps {
            let middle = 0.1 + 0.9 * (f64::from(step) + 0.5) / f64::from(steps);
            values.push(largest * middle);
            if sign == Sign::Both {
                values.push(-largest * middle);
            }
        }
    }
    values.sort_by(f64::total_cmp);
    let values: Vec<f32> = values.into_iter().map(|value| value as f32).collect();
    values.try_into().expect("256 codes")
}

/// The code of the nearest entry, the lower one of two that are equally near. NaN takes the last.
#[inline(always)]
pub(super) fn nearest(table: &[f32; 256], value: f32) -> u8 {
    let mut low = 0usize;
    // The largest code whose lower neighbour's half-way point lies below the value.
    let mut half = 128;
    while half > 0 {
        let candidate = low + half;
        let midpoint = 0.5 * (table[candidate - 1] + table[candidate]);
        // Not `value > midpoint`: a NaN must not end as a small number.
        low = if value <= midpoint { low } else { candidate };
        half /= 2;
    }
    low as u8
}

/// [`nearest`] of one table without a search: the upper half of a value's bits leaves two neighbouring
/// codes at most, and one comparison decides.
pub(super) struct Nearest {
    /// The lower one by the upper 16 bits: sign, exponent and seven bits of the significand.
    lowest: Vec<u8>,
    /// Half-way points: of a code and the one above it.
    midpoints: [f32; 256],
}

impl Nearest {
    /// Those of the two tables.
    pub(super) fn tables() -> &'static [Nearest; 2] {
        static TABLES: OnceLock<[Nearest; 2]> = OnceLock::new();
        TABLES.get_or_init(|| tables().each_ref().map(Nearest::of))
    }

    fn of(table: &[f32; 256]) -> Self {
        let lowest = (0..=u16::MAX).map(|upper| {
            let ends = [0, 0xffff].map(|lower| f32::from_bits(u32::from(upper) << 16 | lower));
            let [a, b] = ends.map(|value| nearest(table, value));
            a.min(b)
        });
        Nearest {
            lowest: lowest.collect(),
            midpoints: std::array::from_fn(|code| match table.get(code + 1) {
                Some(above) => 0.5 * (table[code] + above),
                None => f32::INFINITY,
            }),
        }
    }

    /// The code; for a signalling NaN, which arithmetic does not make, any.
    #[inline(always)]
    pub(super) fn code(&self, value: f32) -> u8 {
        let lowest = self.lowest[(value.to_bits() >> 16) as usize];
        lowest + u8::from(value > self.midpoints[usize::from(lowest)])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// At every half-way point and every change of the upper bits, and beside them.
    #[test]
    fn a_code_without_a_search_is_the_one_that_the_search_finds() {
        for (table, direct) in tables().iter().zip(Nearest::tables()) {
            let middles = table.windows(2).map(|pair| 0.5 * (pair[0] + pair[1]));
            let edges = (0..=u16::MAX).map(|upper| f32::from_bits(u32::from(upper) << 16));
            let edges = edges.filter(|edge| !edge.is_nan());
            let special = [f32::NAN, -f32::NAN, f32::INFINITY, f32::NEG_INFINITY];
            let values = middles.chain(edges).chain(special);
            for value in values.flat_map(|value| [value.next_down(), value, value.next_up()]) {
                let want = nearest(table, value);
                assert_eq!(direct.code(value), want, "{value:e}");
            }
        }
    }

    #[test]
    fn tables_hold_the_paper_s_values() {
        let [signed, positive] = tables();
        assert_eq!((signed[255], positive[0], positive[255]), (1.0, 0.0, 1.0));
        assert_eq!(signed[127], 0.0);
        // The largest negative code: the middle of the last of 64 steps from 0.1 to 1.
        assert!(
            (signed[0] + 1.0 - 0.9 / 128.0).abs() < 1e-7,
            "{}",
            signed[0]
        );
        // The smallest positive ones: one step from 1e-7 to 1e-6, and the first of two.
        assert!((signed[128] - 5.5e-7).abs() < 1e-12);
        assert!((positive[1] - 3.25e-7).abs() < 1e-12);
    }

    #[test]
    fn every_entry_is_its_own_nearest_and_the_middle_goes_down() {
        for table in tables() {
            for code in 0..=255u8 {
                assert_eq!(nearest(table, table[usize::from(code)]), code);
            }
            let middle = 0.5 * (table[200] + table[201]);
            assert_eq!(nearest(table, middle), 200);
        }
    }
}
