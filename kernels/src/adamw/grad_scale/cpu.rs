use burn::backend::tensor::FloatTensor;
use burn_flex::Flex;

use super::{GradScaleOps, LEFT_OUT, TABLES, with_tables};
use crate::cpu::{contiguous, tensor, values};

impl GradScaleOps for Flex {
    fn grad_scale(x: FloatTensor<Self>, num_squares: usize, max_norm: f64) -> FloatTensor<Self> {
        let x = contiguous(x);
        let all = values(&x);
        let sum: f64 = all[..num_squares].iter().copied().map(f64::from).sum();
        let factor = match max_norm > 0.0 {
            true => (max_norm / (sum.sqrt() + 1e-6)).min(1.0) as f32,
            false => 1.0,
        };
        let is_finite = all.iter().all(|value| value.is_finite()) && (sum as f32).is_finite();
        let factor = if is_finite { factor } else { LEFT_OUT };
        tensor(with_tables(factor), [1 + TABLES])
    }
}
