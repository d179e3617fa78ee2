use std::time::Instant;

use burn::tensor::{DType, Device, Tensor};

use crate::memory;

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
        let x = Tensor::<1>::ones([1 << 24], (device, DType::F32));
        let copy = measure(
            &move || vec![x.clone().mul_scalar(2.0).narrow(0, 0, 1)],
            quick,
        );
        // burn-flex multiplies with one thread; two copy twice as much.
        let on_cpu = kernels::device::is_cpu(device);
        let threads = match on_cpu {
            true => std::thread::available_parallelism().map_or(1, usize::from),
            false => 1,
        };
        Ceiling {
            gflops: 2.0 * (size as f64).powi(3) / product.seconds / 1e9,
            gbytes: threads as f64 * 8.0 * f64::from(1 << 24) / copy.seconds / 1e9,
            on_cpu,
        }
    }
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
        // Kernels run on their own; reading a value of each result waits for them.
        for result in &results {
            result.clone().into_data();
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
