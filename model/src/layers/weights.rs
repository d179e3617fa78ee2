use burn::module::{Param, ParamId};
use burn::tensor::{Device, Tensor, TensorData};

use crate::Error;
use crate::checkpoint::Checkpoint;

/// Where a model's parameters come from, one tensor at a time.
pub struct Weights<'a> {
    source: Source<'a>,
    device: &'a Device,
}

enum Source<'a> {
    Checkpoint(&'a Checkpoint),
    Random { seed: u64, std: f32 },
}

impl<'a> Weights<'a> {
    /// The tensors of a checkpoint, converted to float32.
    pub fn from_checkpoint(checkpoint: &'a Checkpoint, device: &'a Device) -> Self {
        Weights {
            source: Source::Checkpoint(checkpoint),
            device,
        }
    }

    /// Matrices from a normal distribution with mean 0, biases and norms at their neutral value.
    /// A tensor's values depend on the seed and its name alone.
    pub fn random(seed: u64, std: f32, device: &'a Device) -> Self {
        Weights {
            source: Source::Random { seed, std },
            device,
        }
    }

    pub(crate) fn matrix(&self, name: &str, shape: [usize; 2]) -> Result<Param<Tensor<2>>, Error> {
        match self.source {
            Source::Checkpoint(_) => self.stored(name, shape),
            Source::Random { seed, std } => {
                let key = mix(seed ^ hash(name));
                let values = (0..shape[0] * shape[1])
                    .map(|index| std * normal(key, index as u64))
                    .collect();
                Ok(self.parameter(values, shape))
            }
        }
    }

    /// `neutral` is what an untrained model begins with.
    pub(crate) fn vector(
        &self,
        name: &str,
        length: usize,
        neutral: f32,
    ) -> Result<Param<Tensor<1>>, Error> {
        match self.source {
            Source::Checkpoint(_) => self.stored(name, [length]),
            Source::Random { .. } => Ok(self.parameter(vec![neutral; length], [length])),
        }
    }

    fn stored<const D: usize>(
        &self,
        name: &str,
        shape: [usize; D],
    ) -> Result<Param<Tensor<D>>, Error> {
        let Source::Checkpoint(checkpoint) = self.source else {
            unreachable!("only called with a checkpoint")
        };
        let values = checkpoint.read_f32(name)?;
        assert_eq!(
            values.len(),
            shape.iter().product::<usize>(),
            "{name}: the checkpoint was validated"
        );
        Ok(self.parameter(values, shape))
    }

    fn parameter<const D: usize>(&self, values: Vec<f32>, shape: [usize; D]) -> Param<Tensor<D>> {
        let tensor = Tensor::from_data(TensorData::new(values, shape), self.device);
        Param::initialized(ParamId::new(), trained(tensor))
    }
}

/// Asks for the tensor's gradient, where its device computes gradients.
pub(crate) fn trained<const D: usize>(tensor: Tensor<D>) -> Tensor<D> {
    if tensor.device().is_autodiff() {
        tensor.require_grad()
    } else {
        tensor
    }
}

/// Two uniform numbers to a normal one (Box and Muller 1958), from a counter.
fn normal(key: u64, index: u64) -> f32 {
    let unit = |bits: u64| ((bits >> 11) as f64 + 0.5) / (1u64 << 53) as f64;
    let first = unit(mix(key.wrapping_add(2 * index + 1)));
    let second = unit(mix(key.wrapping_add(2 * index + 2)));
    ((-2.0 * first.ln()).sqrt() * (std::f64::consts::TAU * second).cos()) as f32
}

/// The finaliser of SplitMix64 (Steele, Lea and Flood 2014).
pub(crate) fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    value ^ (value >> 31)
}

fn hash(name: &str) -> u64 {
    name.bytes()
        .fold(0, |hash, byte| mix(hash ^ u64::from(byte)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_weights_have_the_asked_mean_and_deviation() {
        let values: Vec<f64> = (0..100_000).map(|i| f64::from(normal(7, i))).collect();
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / values.len() as f64;
        // Five standard errors of each estimate.
        assert!(mean.abs() < 5.0 / 100_000f64.sqrt(), "{mean}");
        assert!(
            (variance - 1.0).abs() < 5.0 * (2.0 / 100_000f64).sqrt(),
            "{variance}"
        );
    }
}
