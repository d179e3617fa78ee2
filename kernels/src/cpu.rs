//! What the CPU implementations share: slices of burn-flex tensors, vector code for the machine at
//! hand, elementary functions the compiler can vectorise, and the gemm.

use std::mem::{ManuallyDrop, MaybeUninit};

use burn::tensor::{DType, Shape};
use burn_backend::Bytes;
use burn_flex::{FlexTensor, Layout};

/// The values of a contiguous float32 tensor.
pub(crate) fn values(tensor: &FlexTensor) -> &[f32] {
    tensor
        .as_slice::<f32>()
        .expect("the caller made the tensor contiguous and float32")
}

pub(crate) fn contiguous(tensor: FlexTensor) -> FlexTensor {
    if tensor.as_slice::<f32>().is_some() {
        tensor
    } else {
        tensor.to_contiguous()
    }
}

pub(crate) fn tensor<const D: usize>(values: Vec<f32>, shape: [usize; D]) -> FlexTensor {
    let shape = Shape::from(shape);
    assert_eq!(values.len(), shape.num_elements(), "values for {shape:?}");
    FlexTensor::new(
        Bytes::from_elems(values),
        Layout::contiguous(shape),
        DType::F32,
    )
}

/// An expression, compiled for the widest vector instructions of this machine. What it calls must be
/// marked `#[inline(always)]`: what is not inlined is compiled for the oldest machine.
macro_rules! vectorized {
    ($body:expr) => {
        $crate::cpu::with_widest_vectors(
            #[inline(always)]
            || $body,
        )
    };
}
pub(crate) use vectorized;

/// Behind [`vectorized`], which has `f` inlined.
#[inline(always)]
pub(crate) fn with_widest_vectors<R>(f: impl FnOnce() -> R) -> R {
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512dq") {
            // SAFETY: the instructions were detected.
            return unsafe { with_avx512(f) };
        }
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            // SAFETY: as above.
            return unsafe { with_avx2(f) };
        }
    }
    f()
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512dq,avx2,fma")]
fn with_avx512<R>(f: impl FnOnce() -> R) -> R {
    f()
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn with_avx2<R>(f: impl FnOnce() -> R) -> R {
    f()
}

/// Room for values that are all written before one is read: filling it with zeros first would cost a
/// large output half as much again.
pub(crate) fn unwritten(count: usize) -> Vec<MaybeUninit<f32>> {
    let mut values = Vec::new();
    values.resize_with(count, MaybeUninit::uninit);
    values
}

/// # Safety
/// Every value has been written.
pub(crate) unsafe fn written(values: Vec<MaybeUninit<f32>>) -> Vec<f32> {
    let mut values = ManuallyDrop::new(values);
    let (pointer, count, capacity) = (values.as_mut_ptr(), values.len(), values.capacity());
    // SAFETY: the parts of a vector whose values are, by the caller's word, floats; `MaybeUninit`
    // has their size and alignment.
    unsafe { Vec::from_raw_parts(pointer.cast(), count, capacity) }
}

/// eˣ to about 1.5 units in the last place: range reduction by ln 2 in two parts and a polynomial
/// of degree 6. Below the smallest normal result it is 0, above the largest finite one +∞; NaN
/// stays NaN.
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    const LOG2_E: f32 = std::f32::consts::LOG2_E;
    const LN_2_HIGH: f32 = 0.693_359_4;
    const LN_2_LOW: f32 = -2.121_944_4e-4;
    // Adding and subtracting 1.5·2²³ rounds to the nearest integer, which is then also in the low bits
    // of the sum: a cast of floats saturates, and is not vectorised.
    const ROUND: f32 = 12_582_912.0;
    // Of those whose result is finite.
    const LARGEST: f32 = 88.722_83;
    let clamped = if x < -87.3 { -87.3 } else { x };
    let clamped = if clamped > LARGEST { LARGEST } else { clamped };
    let rounded = clamped * LOG2_E + ROUND;
    let n = rounded - ROUND;
    let r = clamped - n * LN_2_HIGH - n * LN_2_LOW;
    let mut p = 1.987_569_1e-4_f32;
    p = p * r + 1.398_199_9e-3;
    p = p * r + 8.333_452e-3;
    p = p * r + 4.166_579_6e-2;
    p = p * r + 1.666_666_5e-1;
    p = p * r + 0.5;
    let value = p * r * r + r + 1.0;
    // 2ⁿ in two factors, because n may be 128.
    let n = rounded
        .to_bits()
        .wrapping_sub(ROUND.to_bits())
        .cast_signed();
    let half = n >> 1;
    let scale = |e: i32| f32::from_bits((e.wrapping_add(127) << 23).cast_unsigned());
    let value = value * scale(half) * scale(n.wrapping_sub(half));
    let value = if x < -87.3 { 0.0 } else { value };
    let value = if x > LARGEST { f32::INFINITY } else { value };
    if x.is_nan() { x } else { value }
}

/// tanh through e⁻²|ˣ|, and an odd polynomial near zero where that would cancel.
#[inline(always)]
pub(crate) fn tanh(x: f32) -> f32 {
    let a = x.abs();
    let e = exp(-2.0 * a);
    let large = (1.0 - e) / (1.0 + e);
    let s = x * x;
    let mut p = -5.704_988_7e-3_f32;
    p = p * s + 2.063_909e-2;
    p = p * s - 5.373_971_6e-2;
    p = p * s + 1.333_144_2e-1;
    p = p * s - 3.333_328e-1;
    let small = a + a * s * p;
    let value = if a < 0.625 { small } else { large };
    value.copysign(x)
}

/// Σ aᵢ·bᵢ in eight fixed lanes, so the order of the sum does not depend on the instructions.
#[inline(always)]
pub(crate) fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut lanes = [0.0f32; 8];
    let (a8, a_rest) = a.as_chunks::<8>();
    let (b8, b_rest) = b.as_chunks::<8>();
    for (x, y) in a8.iter().zip(b8) {
        for lane in 0..8 {
            lanes[lane] += x[lane] * y[lane];
        }
    }
    for (lane, (x, y)) in a_rest.iter().zip(b_rest).enumerate() {
        lanes[lane] += x * y;
    }
    sum_lanes(lanes)
}

/// Σ xᵢ in eight fixed lanes.
#[inline(always)]
pub(crate) fn sum(x: &[f32]) -> f32 {
    let mut lanes = [0.0f32; 8];
    let (x8, rest) = x.as_chunks::<8>();
    for chunk in x8 {
        for lane in 0..8 {
            lanes[lane] += chunk[lane];
        }
    }
    for (lane, value) in rest.iter().enumerate() {
        lanes[lane] += value;
    }
    sum_lanes(lanes)
}

/// The largest value; NaN if there is one.
#[inline(always)]
pub(crate) fn max(x: &[f32]) -> f32 {
    // Lanes, which the compiler needs to vectorise it.
    let mut best = [f32::NEG_INFINITY; 16];
    let mut nans = [0u32; 16];
    let (chunks, rest) = x.as_chunks::<16>();
    for chunk in chunks {
        for lane in 0..16 {
            let value = chunk[lane];
            best[lane] = if value > best[lane] {
                value
            } else {
                best[lane]
            };
            nans[lane] |= u32::from(value.is_nan());
        }
    }
    let larger = |best: f32, &value: &f32| if value > best { value } else { best };
    let largest = best.iter().chain(rest).fold(f32::NEG_INFINITY, larger);
    match nans != [0; 16] || rest.iter().any(|value| value.is_nan()) {
        true => f32::NAN,
        false => largest,
    }
}

#[inline(always)]
fn sum_lanes(l: [f32; 8]) -> f32 {
    ((l[0] + l[4]) + (l[1] + l[5])) + ((l[2] + l[6]) + (l[3] + l[7]))
}

/// A matrix in a slice: element (i, j) is at `i * row_stride + j * column_stride`.
#[derive(Clone, Copy)]
pub(crate) struct Mat<'a> {
    pub(crate) values: &'a [f32],
    pub(crate) row_stride: usize,
    pub(crate) column_stride: usize,
}

impl<'a> Mat<'a> {
    /// Rows of `columns` values each, `row_stride` apart.
    pub(crate) fn rows(values: &'a [f32], row_stride: usize) -> Self {
        Mat {
            values,
            row_stride,
            column_stride: 1,
        }
    }

    pub(crate) fn transposed(self) -> Self {
        Mat {
            values: self.values,
            row_stride: self.column_stride,
            column_stride: self.row_stride,
        }
    }

    fn check(&self, rows: usize, columns: usize, name: &str) {
        let last = (rows - 1) * self.row_stride + (columns - 1) * self.column_stride;
        assert!(
            last < self.values.len(),
            "{name}: {rows}×{columns} reaches element {last} of {}",
            self.values.len()
        );
    }
}

/// What a gemm does with its destination.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Into {
    Overwrite,
    Add,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Threads {
    One,
    All,
}

/// `out[m, n] = alpha · a[m, k] · b[k, n]`, or `+=`. Rows of `out` are `out_stride` apart.
pub(crate) fn gemm(
    [m, n, k]: [usize; 3],
    out: &mut [f32],
    out_stride: usize,
    into: Into,
    alpha: f32,
    a: Mat<'_>,
    b: Mat<'_>,
    threads: Threads,
) {
    if m == 0 || n == 0 {
        return;
    }
    assert!(k > 0, "a gemm over no terms");
    a.check(m, k, "a");
    b.check(k, n, "b");
    let last = (m - 1) * out_stride + n - 1;
    assert!(last < out.len(), "out: element {last} of {}", out.len());
    let parallelism = match threads {
        Threads::One => gemm::Parallelism::None,
        Threads::All => gemm::Parallelism::Rayon(0),
    };
    // SAFETY: the three checks above bound every element the strides reach, `out` is borrowed
    // mutably so it overlaps neither operand, and f32 is a type the gemm crate supports.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            out.as_mut_ptr(),
            1,
            out_stride as isize,
            into == Into::Add,
            a.values.as_ptr(),
            a.column_stride as isize,
            a.row_stride as isize,
            b.values.as_ptr(),
            b.column_stride as isize,
            b.row_stride as isize,
            1.0,
            alpha,
            false,
            false,
            false,
            parallelism,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn worst_relative_error(f: impl Fn(f32) -> f32, exact: impl Fn(f64) -> f64) -> f64 {
        (-8_700..8_700)
            .map(|i| i as f32 * 0.01 + 0.003)
            .map(|x| {
                let want = exact(f64::from(x));
                (f64::from(f(x)) - want).abs() / want.abs()
            })
            .fold(0.0, |worst, error| {
                if error.is_nan() || error > worst {
                    error
                } else {
                    worst
                }
            })
    }

    #[test]
    fn exp_is_within_two_units_in_the_last_place() {
        let error = worst_relative_error(exp, f64::exp);
        assert!(error < 2.0 * f64::from(f32::EPSILON), "{error:e}");
        // Up to the largest whose result is finite.
        for x in [87.5f32, 88.0, 88.5, 88.7, 88.71, 88.72, 88.722_83] {
            let want = f64::from(x).exp();
            let error = (f64::from(exp(x)) / want - 1.0).abs();
            assert!(error < 2.0 * f64::from(f32::EPSILON), "{x}: {error:e}");
        }
        assert_eq!(exp(88.722_84), f32::INFINITY);
    }

    #[test]
    fn tanh_is_within_two_units_in_the_last_place() {
        let error = worst_relative_error(tanh, f64::tanh);
        assert!(error < 2.0 * f64::from(f32::EPSILON), "{error:e}");
    }

    #[test]
    fn exp_and_tanh_keep_their_limits() {
        assert_eq!(exp(f32::NEG_INFINITY), 0.0);
        assert_eq!(exp(f32::INFINITY), f32::INFINITY);
        assert_eq!(exp(0.0), 1.0);
        assert!(exp(f32::NAN).is_nan() && tanh(f32::NAN).is_nan());
        assert_eq!(tanh(f32::INFINITY), 1.0);
        assert_eq!(tanh(f32::NEG_INFINITY), -1.0);
        assert_eq!(tanh(-0.0).to_bits(), (-0.0f32).to_bits());
    }

    #[test]
    fn max_shows_a_nan() {
        assert!(max(&[1.0, f32::NAN, 3.0]).is_nan());
        assert_eq!(max(&[1.0, 5.0, 3.0]), 5.0);
        let mut many = [-2.0; 37];
        for (place, largest) in [(3, -1.0), (20, 0.5), (35, 2.0)] {
            many[place] = largest;
            assert_eq!(max(&many), largest);
        }
        many[18] = f32::NAN;
        assert!(max(&many).is_nan());
    }

    #[test]
    fn gemm_adds_to_strided_rows() {
        let a = [1.0, 2.0, 3.0, 4.0];
        let b = [5.0, 6.0, 7.0, 8.0];
        let mut out = [100.0; 6];
        gemm(
            [2, 2, 2],
            &mut out,
            3,
            Into::Add,
            2.0,
            Mat::rows(&a, 2),
            Mat::rows(&b, 2).transposed(),
            Threads::One,
        );
        assert_eq!(out, [134.0, 146.0, 100.0, 178.0, 206.0, 100.0]);
    }
}
