use std::cell::RefCell;
use std::hint::black_box;
use std::time::Instant;

use burn::tensor::{DType, Device, Tensor};
use rayon::prelude::*;

use crate::memory;

/// Values of a copy: larger than caches.
const COPIED: usize = 1 << 24;

/// What the device can do at best.
pub struct Ceiling {
    pub gflops: f64,
    pub gbytes: f64,
    pub on_cpu: bool,
}

pub struct Measured {
    /// The median.
    pub seconds: f64,
    /// The most that was allocated in the host's memory beyond what was before and after.
    pub extra_bytes: usize,
}

/// A run of an operation. What it returns keeps its results alive until the clock has stopped.
pub type Operation = dyn Fn() -> Vec<Tensor<1>>;

impl Ceiling {
    pub fn of(device: &Device, dtype: DType, quick: bool) -> Self {
        let size = match (dtype, quick) {
            (DType::BF16, false) => 8192,
            (_, false) => 1024,
            (_, true) => 512,
        };
        let on = (device, dtype);
        let a = Tensor::<2>::ones([size, size], on);
        let product = measure(&move || vec![first(a.clone().matmul(a.clone()))], quick);
        let on_cpu = kernels::device::is_cpu(device);
        let copy = match on_cpu {
            true => copied_by_all_threads(quick),
            false => {
                let x = Tensor::<1>::ones([COPIED], (device, DType::F32));
                measure(&move || vec![first(x.clone().mul_scalar(2.0))], quick)
            }
        };
        Ceiling {
            gflops: 2.0 * (size as f64).powi(3) / product.seconds / 1e9,
            gbytes: 8.0 * COPIED as f64 / copy.seconds / 1e9,
            on_cpu,
        }
    }
}

/// burn-flex's own would measure the kernel's clearing of fresh pages, with one thread.
fn copied_by_all_threads(quick: bool) -> Measured {
    let from = vec![1.0f32; COPIED];
    let to = RefCell::new(vec![0.0f32; COPIED]);
    let copy = move || {
        let mut to = to.borrow_mut();
        let pieces = to.par_chunks_mut(1 << 16).zip(from.par_chunks(1 << 16));
        pieces.for_each(|(to, from)| to.copy_from_slice(from));
        black_box(to[COPIED - 1]);
        Vec::new()
    };
    measure(&copy, quick)
}

/// One value of a result, as a sign that it is there.
pub fn first<const D: usize>(result: Tensor<D>) -> Tensor<1> {
    result.flatten::<1>(0, D - 1).narrow(0, 0, 1)
}

pub fn measure(operation: &Operation, quick: bool) -> Measured {
    let once = || {
        let before = memory::begin();
        let began = Instant::now();
        let results = operation();
        // Kernels run on their own, and `into_data` waits for none of them: what it gives does once its
        // bytes are looked at.
        for result in &results {
            black_box(result.clone().into_data().as_bytes()[0]);
        }
        let seconds = began.elapsed().as_secs_f64();
        let extra = memory::peak().saturating_sub(before.max(memory::now()));
        (seconds, extra)
    };
    // Compiles the kernels.
    let (first, extra_bytes) = once();
    let budget = if quick { 0.3 } else { 2.0 };
    let runs = ((budget / first) as usize).clamp(if quick { 1 } else { 5 }, 200);
    let mut times: Vec<f64> = (0..runs).map(|_| once().0).collect();
    times.sort_by(f64::total_cmp);
    Measured {
        seconds: times[times.len() / 2],
        extra_bytes,
    }
}
