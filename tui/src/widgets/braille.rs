//! Dots: two columns and four rows of them in each cell.

/// A field of dots over some cells.
#[derive(Debug, Clone)]
pub struct Dots {
    columns: usize,
    rows: usize,
    cells: Vec<u8>,
}

impl Dots {
    /// No dots in that many cells.
    pub fn new(columns: usize, rows: usize) -> Self {
        Self {
            columns,
            rows,
            cells: vec![0; columns * rows],
        }
    }

    /// Dots across.
    pub fn width(&self) -> usize {
        self.columns * 2
    }

    /// Dots down.
    pub fn height(&self) -> usize {
        self.rows * 4
    }

    /// Sets a dot, counted from the top left; outside the field nothing happens.
    pub fn set(&mut self, x: usize, y: usize) {
        const BITS: [[u8; 2]; 4] = [[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]];
        if x < self.width() && y < self.height() {
            self.cells[y / 4 * self.columns + x / 2] |= BITS[y % 4][x % 2];
        }
    }

    /// Sets all dots of a column between two rows, both included.
    pub fn vertical(&mut self, x: usize, from: usize, to: usize) {
        (from.min(to)..=from.max(to)).for_each(|y| self.set(x, y));
    }

    /// Joins two points.
    pub fn line(&mut self, (x0, y0): (usize, usize), (x1, y1): (usize, usize)) {
        let steps = x1.abs_diff(x0);
        let at = |i: usize| {
            (y0 as f64 + (y1 as f64 - y0 as f64) * i as f64 / steps as f64).round() as usize
        };
        if steps == 0 {
            return self.vertical(x0, y0, y1);
        }
        for i in 0..steps {
            // Half of the way up belongs to this column, the other half to the next.
            let middle = (at(i) + at(i + 1)) / 2;
            self.vertical(x0.min(x1) + i, at(i), middle);
            self.vertical(x0.min(x1) + i + 1, middle, at(i + 1));
        }
    }

    /// The dots of a cell as the lower byte of a braille character.
    pub fn cell(&self, column: usize, row: usize) -> u8 {
        self.cells[row * self.columns + column]
    }
}

/// The braille character with these dots.
pub fn symbol(dots: u8) -> char {
    char::from_u32(0x2800 + u32::from(dots)).unwrap_or(' ')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_no_gaps() {
        for (from, to) in [
            ((0, 0), (7, 7)),
            ((0, 7), (3, 0)),
            ((2, 1), (2, 6)),
            ((0, 0), (1, 7)),
        ] {
            let mut dots = Dots::new(4, 2);
            dots.line(from, to);
            let is_set = |x: usize, y: usize| {
                let mut one = Dots::new(4, 2);
                one.set(x, y);
                dots.cell(x / 2, y / 4) & one.cell(x / 2, y / 4) != 0
            };
            assert!(is_set(from.0, from.1) && is_set(to.0, to.1));
            let mut rows: Vec<usize> = Vec::new();
            for x in from.0..=to.0 {
                let set: Vec<usize> = (0..8).filter(|y| is_set(x, *y)).collect();
                assert!(!set.is_empty(), "column {x} of {from:?} to {to:?}");
                rows.extend(set);
            }
            let expected = from.1.min(to.1)..=from.1.max(to.1);
            assert!(
                expected.into_iter().all(|y| rows.contains(&y)),
                "{from:?} to {to:?}"
            );
        }
        assert_eq!(symbol(0xff), '⣿');
    }
}
