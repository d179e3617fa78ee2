//! Dot products of many pairs of rows, for the vector instructions at hand.

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

    /// `out[i, j] = x[i] · y[j]`, rows of `width` values each.
    pub(super) fn products(self, x: &[f32], y: &[f32], width: usize, out: &mut [f32]) {
        let (rows, columns) = (x.len() / width, y.len() / width);
        assert_eq!(x.len(), rows * width);
        assert_eq!(y.len(), columns * width);
        assert_eq!(out.len(), rows * columns);
        match self {
            // SAFETY: the instructions were detected.
            #[cfg(target_arch = "x86_64")]
            Instructions::Avx512 => unsafe { x86::products_avx512(x, y, width, out) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Instructions::Avx2 => unsafe { x86::products_avx2(x, y, width, out) },
            Instructions::Portable => products::<Eight, 2, 4>(x, y, width, out),
        }
    }
}

/// A vector of lanes.
trait Lanes: Copy {
    const COUNT: usize;

    fn zero() -> Self;

    /// The first `COUNT` values.
    fn load(values: &[f32]) -> Self;

    /// self + a · b, lane by lane.
    fn add_product(self, a: Self, b: Self) -> Self;

    /// Σ of the lanes, in an order of its own.
    fn sum(self) -> f32;
}

/// Tiles of R rows by C columns, as many as registers hold; a rest goes one by one.
#[inline(always)]
fn products<L: Lanes, const R: usize, const C: usize>(
    x: &[f32],
    y: &[f32],
    width: usize,
    out: &mut [f32],
) {
    let (rows, columns) = (x.len() / width, y.len() / width);
    let (whole_rows, whole_columns) = (rows / R * R, columns / C * C);
    for column in (0..whole_columns).step_by(C) {
        for row in (0..whole_rows).step_by(R) {
            tile::<L, R, C>(x, y, width, [row, column], columns, out);
        }
        for row in whole_rows..rows {
            tile::<L, 1, C>(x, y, width, [row, column], columns, out);
        }
    }
    for column in whole_columns..columns {
        for row in 0..rows {
            tile::<L, 1, 1>(x, y, width, [row, column], columns, out);
        }
    }
}

#[inline(always)]
fn tile<L: Lanes, const R: usize, const C: usize>(
    x: &[f32],
    y: &[f32],
    width: usize,
    [row, column]: [usize; 2],
    columns: usize,
    out: &mut [f32],
) {
    let x: [&[f32]; R] = std::array::from_fn(|i| &x[(row + i) * width..][..width]);
    let y: [&[f32]; C] = std::array::from_fn(|j| &y[(column + j) * width..][..width]);
    let mut sums = [[L::zero(); C]; R];
    let whole = width / L::COUNT * L::COUNT;
    let mut k = 0;
    while k < whole {
        let b: [L; C] = std::array::from_fn(|j| L::load(&y[j][k..]));
        for i in 0..R {
            let a = L::load(&x[i][k..]);
            for j in 0..C {
                sums[i][j] = sums[i][j].add_product(a, b[j]);
            }
        }
        k += L::COUNT;
    }
    for i in 0..R {
        for j in 0..C {
            let mut sum = sums[i][j].sum();
            for k in whole..width {
                sum += x[i][k] * y[j][k];
            }
            out[(row + i) * columns + column + j] = sum;
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
    fn load(values: &[f32]) -> Self {
        Eight(values[..8].try_into().expect("eight values"))
    }

    #[inline(always)]
    fn add_product(self, a: Self, b: Self) -> Self {
        Eight(std::array::from_fn(|i| self.0[i] + a.0[i] * b.0[i]))
    }

    #[inline(always)]
    fn sum(self) -> f32 {
        let l = self.0;
        ((l[0] + l[4]) + (l[1] + l[5])) + ((l[2] + l[6]) + (l[3] + l[7]))
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use super::{Eight, Lanes, products};

    #[target_feature(enable = "avx512f")]
    pub(super) fn products_avx512(x: &[f32], y: &[f32], width: usize, out: &mut [f32]) {
        // 24 sums, four of y and one of x: 29 of 32 registers.
        products::<Avx512, 6, 4>(x, y, width, out);
    }

    #[target_feature(enable = "avx2,fma")]
    pub(super) fn products_avx2(x: &[f32], y: &[f32], width: usize, out: &mut [f32]) {
        // Twelve sums, three of y and one of x: all 16 registers.
        products::<Avx2, 4, 3>(x, y, width, out);
    }

    #[derive(Clone, Copy)]
    struct Avx512(__m512);

    #[derive(Clone, Copy)]
    struct Avx2(__m256);

    // SAFETY of the blocks below: these types are used by the two functions above alone, which are
    // compiled for the instructions and called where they were detected. Loads and stores are of
    // arrays that hold as many values.
    impl Lanes for Avx512 {
        const COUNT: usize = 16;

        #[inline(always)]
        fn zero() -> Self {
            Avx512(unsafe { _mm512_setzero_ps() })
        }

        #[inline(always)]
        fn load(values: &[f32]) -> Self {
            let values: &[f32; 16] = values[..16].try_into().expect("sixteen values");
            Avx512(unsafe { _mm512_loadu_ps(values.as_ptr()) })
        }

        #[inline(always)]
        fn add_product(self, a: Self, b: Self) -> Self {
            Avx512(unsafe { _mm512_fmadd_ps(a.0, b.0, self.0) })
        }

        #[inline(always)]
        fn sum(self) -> f32 {
            unsafe { _mm512_reduce_add_ps(self.0) }
        }
    }

    impl Lanes for Avx2 {
        const COUNT: usize = 8;

        #[inline(always)]
        fn zero() -> Self {
            Avx2(unsafe { _mm256_setzero_ps() })
        }

        #[inline(always)]
        fn load(values: &[f32]) -> Self {
            let values: &[f32; 8] = values[..8].try_into().expect("eight values");
            Avx2(unsafe { _mm256_loadu_ps(values.as_ptr()) })
        }

        #[inline(always)]
        fn add_product(self, a: Self, b: Self) -> Self {
            Avx2(unsafe { _mm256_fmadd_ps(a.0, b.0, self.0) })
        }

        #[inline(always)]
        fn sum(self) -> f32 {
            let mut lanes = [0.0; 8];
            unsafe { _mm256_storeu_ps(lanes.as_mut_ptr(), self.0) };
            Eight(lanes).sum()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_instructions_give_the_same_sums_up_to_rounding() {
        let values = |count: usize, step: usize| -> Vec<f32> {
            (0..count).map(|i| ((i * step) % 17) as f32 - 8.0).collect()
        };
        for (rows, columns, width) in [(1, 1, 5), (7, 9, 67), (13, 4, 16)] {
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
                let mut out = vec![0.0; rows * columns];
                instructions.products(&x, &y, width, &mut out);
                assert_eq!(out, want, "{instructions:?} {rows}×{columns}×{width}");
            }
        }
    }
}
