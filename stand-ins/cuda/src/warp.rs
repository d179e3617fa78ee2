//! What a warp does together, at which its lanes meet.
//!
//! The layouts of fragments are those of the PTX ISA, "Matrix Fragments for mma" and "ldmatrix".

use half::{bf16, f16};

use crate::fiber::Lane;

pub(crate) const WARP: usize = 32;

/// An operation, with its arguments as words of 32 bits. `cuda.h` has the same numbers.
#[repr(u32)]
#[allow(dead_code, reason = "kernels make them")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    /// No arguments.
    Sync = 0,
    /// A value's two words, which become the other lane's, and that lane's number.
    Shuffle = 1,
    /// A predicate, which becomes the lanes where it is not zero, and a word for the lanes there are.
    Vote = 2,
    /// An address, the number of matrices, whether they are transposed, and four words for them.
    LoadMatrix = 3,
    /// The type, then four words of D, four of A, two of B, four of C.
    Multiply16816 = 4,
    /// As `Multiply16816`, the words of A, B and C being TF32 and 8 the depth.
    Multiply1688 = 5,
    /// m, n and k, then pointers of two words to the lane's elements of D, A, B and C in float32, of
    /// which each lane has an equal share in order of rows.
    MultiplyFragments = 6,
}

impl Operation {
    /// Whether the operation is one of `.aligned` ones.
    pub(crate) fn needs_all(self) -> bool {
        !matches!(self, Self::Shuffle | Self::Vote | Self::Sync)
    }
}

const FLOAT16: u32 = 0;

/// Carries out an operation for the lanes that have arguments.
///
/// # Safety
/// The arguments are those of the operation, and no lane of the warp runs.
pub(crate) unsafe fn carry_out(operation: Operation, arguments: &[*mut u32; WARP], lane: &Lane) {
    let there = |lane: usize| !arguments[lane].is_null();
    let read = |lane: usize, word: usize| {
        // SAFETY: the caller's.
        unsafe { *arguments[lane].add(word) }
    };
    let write = |lane: usize, word: usize, value: u32| {
        // SAFETY: the caller's.
        unsafe { *arguments[lane].add(word) = value }
    };
    let lanes = || (0..WARP).filter(|&lane| there(lane));
    match operation {
        Operation::Sync => {}
        Operation::Shuffle => {
            let mut values = [[u32::MAX; 2]; WARP];
            for lane in lanes() {
                values[lane] = [read(lane, 0), read(lane, 1)];
            }
            for lane in lanes() {
                let [low, high] = values[read(lane, 2) as usize];
                write(lane, 0, low);
                write(lane, 1, high);
            }
        }
        Operation::Vote => {
            let bits = |keep: &dyn Fn(usize) -> bool| {
                lanes()
                    .filter(|&lane| keep(lane))
                    .fold(0, |bits, lane| bits | 1 << lane)
            };
            let (ballot, all) = (bits(&|lane| read(lane, 0) != 0), bits(&|_| true));
            for lane in lanes() {
                write(lane, 0, ballot);
                write(lane, 1, all);
            }
        }
        Operation::LoadMatrix => {
            let transposed = read(0, 2) != 0;
            for matrix in 0..read(0, 1) as usize {
                let mut rows = [[0; 8]; 8];
                for (row, values) in rows.iter_mut().enumerate() {
                    let at = lane.shared_at(read(8 * matrix + row, 0), 16);
                    // SAFETY: 16 bytes of shared memory, at a multiple of 16.
                    *values = unsafe { at.cast::<[u16; 8]>().read() };
                }
                for lane in 0..WARP {
                    let (row, column) = (lane / 4, 2 * (lane % 4));
                    let pair = if transposed {
                        [rows[column][row], rows[column + 1][row]]
                    } else {
                        [rows[row][column], rows[row][column + 1]]
                    };
                    write(
                        lane,
                        3 + matrix,
                        u32::from(pair[0]) | u32::from(pair[1]) << 16,
                    );
                }
            }
        }
        Operation::Multiply16816 => {
            let float: fn(u16) -> f32 = match read(0, 0) {
                FLOAT16 => |bits| f16::from_bits(bits).to_f32(),
                _ => |bits| bf16::from_bits(bits).to_f32(),
            };
            let pair = |lane, word| {
                let both = read(lane, word);
                [float(both as u16), float((both >> 16) as u16)]
            };
            let mut a = [[0.0; 16]; 16];
            let mut b = [[0.0; 16]; 8];
            for lane in 0..WARP {
                let (group, column) = (lane / 4, 2 * (lane % 4));
                for word in 0..4 {
                    let row = group + 8 * (word % 2);
                    let k = column + 8 * (word / 2);
                    [a[row][k], a[row][k + 1]] = pair(lane, 5 + word);
                }
                for word in 0..2 {
                    let k = column + 8 * word;
                    [b[group][k], b[group][k + 1]] = pair(lane, 9 + word);
                }
            }
            add_product(&a, &b, read, write);
        }
        Operation::Multiply1688 => {
            let float = |lane, word| tf32(f32::from_bits(read(lane, word)));
            let mut a = [[0.0; 8]; 16];
            let mut b = [[0.0; 8]; 8];
            for lane in 0..WARP {
                let (group, column) = (lane / 4, lane % 4);
                for word in 0..4 {
                    a[group + 8 * (word % 2)][column + 4 * (word / 2)] = float(lane, 5 + word);
                }
                for word in 0..2 {
                    b[group][column + 4 * word] = float(lane, 9 + word);
                }
            }
            add_product(&a, &b, read, write);
        }
        Operation::MultiplyFragments => {
            let [m, n, k] = [0, 1, 2].map(|word| read(0, word) as usize);
            let elements = |part: usize, count: usize| {
                let mut all = Vec::with_capacity(count);
                for lane in 0..WARP {
                    let at = pointer(read(lane, 4 + 2 * part), read(lane, 5 + 2 * part));
                    // SAFETY: a lane's share of the fragment.
                    all.extend(unsafe { std::slice::from_raw_parts(at, count / WARP) });
                }
                all
            };
            let (a, b, mut sums) = (elements(1, m * k), elements(2, k * n), elements(3, m * n));
            for (index, sum) in sums.iter_mut().enumerate() {
                let (row, column) = (index / n, index % n);
                for k_at in 0..k {
                    *sum += a[row * k + k_at] * b[k_at * n + column];
                }
            }
            for (lane, share) in sums.chunks(m * n / WARP).enumerate() {
                let at = pointer(read(lane, 4), read(lane, 5));
                // SAFETY: the lane's share of the fragment, which nothing else reaches now.
                unsafe { at.copy_from_nonoverlapping(share.as_ptr(), share.len()) };
            }
        }
    }
}

/// D = A·B + C, 16 rows of A by 8 columns of B; the columns of B are given as rows.
fn add_product<const K: usize>(
    a: &[[f32; K]; 16],
    b: &[[f32; K]; 8],
    read: impl Fn(usize, usize) -> u32,
    write: impl Fn(usize, usize, u32),
) {
    for lane in 0..WARP {
        for word in 0..4 {
            let row = &a[lane / 4 + 8 * (word / 2)];
            let column = &b[2 * (lane % 4) + word % 2];
            let sum = f32::from_bits(read(lane, 11 + word));
            let products = row.iter().zip(column).map(|(a, b)| a * b);
            write(
                lane,
                1 + word,
                products.fold(sum, |sum, p| sum + p).to_bits(),
            );
        }
    }
}

/// What the tensor cores see of a float32: ten bits of the mantissa.
fn tf32(value: f32) -> f32 {
    f32::from_bits(value.to_bits() & !0x1fff)
}

fn pointer(low: u32, high: u32) -> *mut f32 {
    (u64::from(low) | u64::from(high) << 32) as *mut f32
}
