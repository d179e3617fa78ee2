//! Products of rows by rows. Lanes of a vector are rows of x, whose panels have the inner dimension
//! outermost; a value of the weight meets all of them at once and is read where it lies, so that
//! nothing large is rearranged and no lanes are added up.
//!
//! A product is a sum over the inner dimension from its first term to its last, so a value depends
//! on its row and its column of the weight alone.

use super::output::Output;

/// What a machine multiplies and adds with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Instructions {
    /// Sixteen lanes.
    #[cfg(target_arch = "x86_64")]
    Avx512,
    /// Eight lanes.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// What the compiler makes of eight.
    Portable,
}

/// Vectors of a panel; a last panel of few rows has one.
const VECTORS: usize = 2;
/// Values in a line of the cache.
const LINE: usize = 16;

impl Instructions {
    pub(super) fn of_this_machine() -> Self {
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx512f") {
                return Instructions::Avx512;
            }
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                return Instructions::Avx2;
            }
        }
        Instructions::Portable
    }

    fn lanes(self) -> usize {
        match self {
            #[cfg(target_arch = "x86_64")]
            Instructions::Avx512 => 16,
            #[cfg(target_arch = "x86_64")]
            Instructions::Avx2 => 8,
            Instructions::Portable => 8,
        }
    }
}

/// Rows of x, rearranged.
pub(super) struct Panels {
    values: Vec<f32>,
    panels: Vec<Panel>,
    width: usize,
    instructions: Instructions,
}

/// `width` times as many values as its vectors have lanes; lanes without a row are zero.
struct Panel {
    start: usize,
    vectors: usize,
    first_row: usize,
    rows: usize,
}

impl Panels {
    pub(super) fn new(x: &[f32], width: usize, instructions: Instructions) -> Self {
        let rows = x.len() / width;
        assert_eq!(x.len(), rows * width);
        let lanes = instructions.lanes();
        let mut values = vec![0.0; rows.next_multiple_of(lanes) * width];
        let mut panels = Vec::new();
        let mut start = 0;
        for first_row in (0..rows).step_by(VECTORS * lanes) {
            let rows = (rows - first_row).min(VECTORS * lanes);
            let vectors = rows.div_ceil(lanes);
            let panel = &mut values[start..][..vectors * lanes * width];
            transpose(&x[first_row * width..][..rows * width], width, panel);
            panels.push(Panel {
                start,
                vectors,
                first_row,
                rows,
            });
            start += panel.len();
        }
        Panels {
            values,
            panels,
            width,
            instructions,
        }
    }

    /// `output[i, first_column + j] = x[i] · weight[j]`.
    ///
    /// # Safety
    /// No other thread uses these columns of the output.
    pub(super) unsafe fn products(&self, weight: &[f32], first_column: usize, output: &Output) {
        match self.instructions {
            // SAFETY: the instructions were detected.
            #[cfg(target_arch = "x86_64")]
            Instructions::Avx512 => unsafe {
                x86::products_avx512(self, weight, first_column, output);
            },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Instructions::Avx2 => unsafe {
                x86::products_avx2(self, weight, first_column, output);
            },
            // SAFETY: by the caller's word.
            Instructions::Portable => unsafe {
                products::<Eight, 6>(self, weight, first_column, output);
            },
        }
    }
}

/// Rows of `width` values to columns of a panel, eight at a time.
fn transpose(x: &[f32], width: usize, panel: &mut [f32]) {
    const ROWS: usize = 8;
    let rows = x.len() / width;
    let lanes = panel.len() / width;
    let nothing = vec![0.0; width];
    for first in (0..rows).step_by(ROWS) {
        let x: [&[f32]; ROWS] = std::array::from_fn(|i| match first + i {
            row if row < rows => &x[row * width..][..width],
            _ => &nothing[..width],
        });
        for (k, column) in (0..width).zip(panel.chunks_exact_mut(lanes)) {
            let values: [f32; ROWS] = std::array::from_fn(|i| x[i][k]);
            column[first..][..ROWS].copy_from_slice(&values);
        }
    }
}

/// A vector of lanes.
trait Lanes: Copy {
    const COUNT: usize;

    fn zero() -> Self;

    /// The value in every lane.
    fn splat(value: f32) -> Self;

    /// # Safety
    /// `COUNT` values can be read.
    unsafe fn load(values: *const f32) -> Self;

    /// # Safety
    /// `COUNT` values can be written.
    unsafe fn store(self, values: *mut f32);

    /// self + a · b, lane by lane.
    fn add_product(self, a: Self, b: Self) -> Self;

    /// Says that the line of the cache will be read; any address will do.
    fn prefetch(address: *const f32);
}

/// Tiles of a panel by C columns, as many as registers hold; the last columns two by two and one.
///
/// # Safety
/// As `Panels::products`.
#[inline(always)]
unsafe fn products<L: Lanes, const C: usize>(
    x: &Panels,
    weight: &[f32],
    first_column: usize,
    output: &Output,
) {
    let columns = weight.len() / x.width;
    assert_eq!(weight.len(), columns * x.width);
    let mut column = 0;
    while column < columns {
        let weight = &weight[column * x.width..];
        // SAFETY: by the caller's word.
        column += unsafe {
            match columns - column {
                left if left >= C => all_panels::<L, C>(x, weight, first_column + column, output),
                1 => all_panels::<L, 1>(x, weight, first_column + column, output),
                _ => all_panels::<L, 2>(x, weight, first_column + column, output),
            }
        };
    }
}

/// # Safety
/// As `Panels::products`.
#[inline(always)]
unsafe fn all_panels<L: Lanes, const C: usize>(
    x: &Panels,
    weight: &[f32],
    column: usize,
    output: &Output,
) -> usize {
    // The next columns come from memory while these are multiplied.
    let lines = C.div_ceil(x.panels.len().max(1));
    let mut ahead = weight.as_ptr().wrapping_add(C * x.width);
    for panel in &x.panels {
        let values = &x.values[panel.start..];
        let mut products = [[0.0; VECTORS * 16]; C];
        match panel.vectors {
            1 => tile::<L, 1, C>(values, weight, x.width, ahead, lines, &mut products),
            _ => tile::<L, VECTORS, C>(values, weight, x.width, ahead, lines, &mut products),
        }
        ahead = ahead.wrapping_add(lines * x.width);
        for row in 0..panel.rows {
            let products = std::array::from_fn(|c| products[c][row]);
            // SAFETY: by the caller's word.
            unsafe { output.write::<C>(panel.first_row + row, column, products) };
        }
    }
    C
}

#[inline(always)]
fn tile<L: Lanes, const V: usize, const C: usize>(
    x: &[f32],
    weight: &[f32],
    width: usize,
    ahead: *const f32,
    lines: usize,
    products: &mut [[f32; VECTORS * 16]; C],
) {
    assert!(V <= VECTORS && L::COUNT <= 16);
    assert!(x.len() >= width * V * L::COUNT && weight.len() >= width * C);
    let mut sums = [[L::zero(); V]; C];
    let mut k = 0;
    while k < width {
        for line in 0..lines {
            L::prefetch(ahead.wrapping_add(k * lines + line * LINE));
        }
        let end = (k + LINE).min(width);
        while k < end {
            // SAFETY: k is below the width, and the assertion above is of all that it reaches.
            unsafe {
                let x = x.as_ptr().add(k * V * L::COUNT);
                let x: [L; V] = std::array::from_fn(|v| L::load(x.add(v * L::COUNT)));
                for (c, sums) in sums.iter_mut().enumerate() {
                    let weight = L::splat(*weight.as_ptr().add(c * width + k));
                    for (sum, x) in sums.iter_mut().zip(x) {
                        *sum = sum.add_product(weight, x);
                    }
                }
            }
            k += 1;
        }
    }
    for c in 0..C {
        for v in 0..V {
            let into = &mut products[c][v * L::COUNT..][..L::COUNT];
            // SAFETY: the slice has as many values.
            unsafe { sums[c][v].store(into.as_mut_ptr()) };
        }
    }
}

#[derive(Clone, Copy)]
struct Eight([f32; 8]);

impl Lanes for Eight {
    const COUNT: usize = 8;

    #[inline(always)]
    fn zero() -> Self {
        Eight([0.0; 8])
    }

    #[inline(always)]
    fn splat(value: f32) -> Self {
        Eight([value; 8])
    }

    #[inline(always)]
    unsafe fn load(values: *const f32) -> Self {
        // SAFETY: by the caller's word; an array of floats needs no more alignment than one.
        Eight(unsafe { *values.cast() })
    }

    #[inline(always)]
    unsafe fn store(self, values: *mut f32) {
        // SAFETY: as above.
        unsafe { *values.cast() = self.0 };
    }

    #[inline(always)]
    fn add_product(self, a: Self, b: Self) -> Self {
        Eight(std::array::from_fn(|i| self.0[i] + a.0[i] * b.0[i]))
    }

    #[inline(always)]
    fn prefetch(_address: *const f32) {}
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use super::{Lanes, Output, Panels, products};

    /// # Safety
    /// As `Panels::products`.
    #[target_feature(enable = "avx512f")]
    pub(super) unsafe fn products_avx512(
        x: &Panels,
        weight: &[f32],
        first_column: usize,
        output: &Output,
    ) {
        // 24 sums and two of x: 26 of 32 registers; a value of the weight comes from memory.
        // SAFETY: by the caller's word.
        unsafe { products::<Avx512, 12>(x, weight, first_column, output) };
    }

    /// # Safety
    /// As `Panels::products`.
    #[target_feature(enable = "avx2,fma")]
    pub(super) unsafe fn products_avx2(
        x: &Panels,
        weight: &[f32],
        first_column: usize,
        output: &Output,
    ) {
        // Twelve sums, two of x and one of the weight: 15 of 16 registers.
        // SAFETY: by the caller's word.
        unsafe { products::<Avx2, 6>(x, weight, first_column, output) };
    }

    #[derive(Clone, Copy)]
    struct Avx512(__m512);

    #[derive(Clone, Copy)]
    struct Avx2(__m256);

    // SAFETY of the blocks below: these types are used by the two functions above alone, which are
    // compiled for the instructions and called where they were detected. What loads and stores
    // reach is their caller's word, and a prefetch reaches nothing.
    impl Lanes for Avx512 {
        const COUNT: usize = 16;

        #[inline(always)]
        fn zero() -> Self {
            Avx512(unsafe { _mm512_setzero_ps() })
        }

        #[inline(always)]
        fn splat(value: f32) -> Self {
            Avx512(unsafe { _mm512_set1_ps(value) })
        }

        #[inline(always)]
        unsafe fn load(values: *const f32) -> Self {
            Avx512(unsafe { _mm512_loadu_ps(values) })
        }

        #[inline(always)]
        unsafe fn store(self, values: *mut f32) {
            unsafe { _mm512_storeu_ps(values, self.0) };
        }

        #[inline(always)]
        fn add_product(self, a: Self, b: Self) -> Self {
            Avx512(unsafe { _mm512_fmadd_ps(a.0, b.0, self.0) })
        }

        #[inline(always)]
        fn prefetch(address: *const f32) {
            unsafe { _mm_prefetch::<_MM_HINT_T1>(address.cast()) };
        }
    }

    impl Lanes for Avx2 {
        const COUNT: usize = 8;

        #[inline(always)]
        fn zero() -> Self {
            Avx2(unsafe { _mm256_setzero_ps() })
        }

        #[inline(always)]
        fn splat(value: f32) -> Self {
            Avx2(unsafe { _mm256_set1_ps(value) })
        }

        #[inline(always)]
        unsafe fn load(values: *const f32) -> Self {
            Avx2(unsafe { _mm256_loadu_ps(values) })
        }

        #[inline(always)]
        unsafe fn store(self, values: *mut f32) {
            unsafe { _mm256_storeu_ps(values, self.0) };
        }

        #[inline(always)]
        fn add_product(self, a: Self, b: Self) -> Self {
            Avx2(unsafe { _mm256_fmadd_ps(a.0, b.0, self.0) })
        }

        #[inline(always)]
        fn prefetch(address: *const f32) {
            unsafe { _mm_prefetch::<_MM_HINT_T1>(address.cast()) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::{unwritten, written};

    #[test]
    fn all_instructions_give_the_same_sums_up_to_rounding() {
        let values = |count: usize, step: usize| -> Vec<f32> {
            (0..count).map(|i| ((i * step) % 17) as f32 - 8.0).collect()
        };
        for (rows, columns, width) in [(1, 1, 5), (7, 9, 67), (13, 4, 16), (41, 29, 33)] {
            let (x, y) = (values(rows * width, 5), values(columns * width, 7));
            // Small integers: every order of the sum is exact.
            let want: Vec<f32> = x
                .chunks(width)
                .flat_map(|x| {
                    y.chunks(width)
                        .map(|y| x.iter().zip(y).map(|(x, y)| x * y).sum())
                })
                .collect();
            let mut sets = vec![Instructions::Portable, Instructions::of_this_machine()];
            #[cfg(target_arch = "x86_64")]
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                sets.push(Instructions::Avx2);
            }
            for instructions in sets {
                let mut out = unwritten(rows * columns);
                let output = Output::of(&mut out, columns);
                // SAFETY: there is one thread, and it writes every value.
                let out = unsafe {
                    Panels::new(&x, width, instructions).products(&y, 0, &output);
                    written(out)
                };
                assert_eq!(out, want, "{instructions:?} {rows}×{columns}×{width}");
            }
        }
    }
}
