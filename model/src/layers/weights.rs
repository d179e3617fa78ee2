use burn::module::{Param, ParamId};
use burn::tensor::{DType, Device, Tensor, TensorData};

use super::Adapter;
use crate::checkpoint::{Checkpoint, Dtype};
use crate::{Error, Trainable};

/// Where a model's parameters come from, one tensor at a time.
pub struct Weights<'a> {
    source: Source<'a>,
    device: &'a Device,
    trainable: Trainable,
    /// Of the computation.
    dtype: DType,
}

enum Source<'a> {
    Checkpoint(&'a Checkpoint),
    Random { seed: u64, std: f32 },
}

impl<'a> Weights<'a> {
    /// The tensors of a checkpoint, converted to float32.
    pub fn from_checkpoint(checkpoint: &'a Checkpoint, device: &'a Device) -> Self {
        Self::new(Source::Checkpoint(checkpoint), device)
    }

    /// Matrices from a normal distribution with mean 0, biases and norms at their neutral value.
    /// A tensor's values depend on the seed and its name alone.
    pub fn random(seed: u64, std: f32, device: &'a Device) -> Self {
        Self::new(Source::Random { seed, std }, device)
    }

    fn new(source: Source<'a>, device: &'a Device) -> Self {
        Weights {
            source,
            device,
            trainable: Trainable::default(),
            dtype: DType::F32,
        }
    }

    /// For training some of them in this dtype. A frozen matrix that the file has in it stays in it:
    /// nothing is ever added to it that a float32 copy would have to hold.
    pub fn trained(self, trainable: &Trainable, dtype: DType) -> Self {
        Weights {
            trainable: trainable.clone(),
            dtype,
            ..self
        }
    }

    pub(crate) fn trainable(&self) -> &Trainable {
        &self.trainable
    }

    pub(crate) fn matrix(&self, name: &str, shape: [usize; 2]) -> Result<Param<Tensor<2>>, Error> {
        match self.source {
            Source::Checkpoint(_) => self.stored(name, shape),
            Source::Random { seed, std } => {
                let key = mix(seed ^ hash(name));
                let values = (0..shape[0] * shape[1])
                    .map(|index| std * normal(key, index as u64))
                    .collect();
                Ok(self.parameter(name, values, shape, DType::F32))
            }
        }
    }

    /// A new adapter for the linear layer `name`, where it gets one. As in PEFT, A is uniform in
    /// ±1 / √in (He's bound for a slope of √5), from its name and the seed alone, and B is zero.
    pub(crate) fn adapter(&self, name: &str, [input, output]: [usize; 2]) -> Option<Adapter> {
        let lora = self.trainable.lora.as_ref()?;
        if !lora.adapts(name) {
            return None;
        }
        let key = mix(lora.seed ^ hash(&format!("{name}.lora_A.weight")));
        let bound = 1.0 / (input as f64).sqrt();
        let a = (0..lora.r * input)
            .map(|index| (bound * (2.0 * uniform(key, index as u64) - 1.0)) as f32)
            .collect();
        let leaf = |values: Vec<f32>, shape: [usize; 2]| {
            let tensor = Tensor::from_data(TensorData::new(values, shape), self.device);
            Param::initialized(ParamId::new(), tracked(tensor))
        };
        Some(Adapter {
            lora_a: leaf(a, [lora.r, input]),
            lora_b: leaf(vec![0.0; output * lora.r], [output, lora.r]),
            scale: lora.scale(),
        })
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
            Source::Random { .. } => {
                Ok(self.parameter(name, vec![neutral; length], [length], DType::F32))
            }
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
        if self.trainable.streams(name) {
            // One zero that says the shape and the dtype; who runs the block reads the values.
            let dtype = self.dtype_of::<D>(name, stored_dtype(checkpoint, name)?);
            let zero = TensorData::new(vec![0.0f32], [1; D]);
            let tensor = Tensor::<D>::from_data(zero, (self.device, dtype)).expand(shape);
            return Ok(Param::initialized(ParamId::new(), tensor));
        }
        let values = checkpoint.read_f32(name)?;
        assert_eq!(
            values.len(),
            shape.iter().product::<usize>(),
            "{name}: the checkpoint was validated"
        );
        let stored = stored_dtype(checkpoint, name)?;
        Ok(self.parameter(name, values, shape, stored))
    }

    fn parameter<const D: usize>(
        &self,
        name: &str,
        values: Vec<f32>,
        shape: [usize; D],
        stored: DType,
    ) -> Param<Tensor<D>> {
        let is_trained = self.trainable.trains(name);
        let dtype = self.dtype_of::<D>(name, stored);
        let tensor = Tensor::from_data(TensorData::new(values, shape), (self.device, dtype));
        let tensor = if is_trained { tracked(tensor) } else { tensor };
        Param::initialized(ParamId::new(), tensor)
    }

    /// What a parameter is kept in. Norms and biases weigh nothing, and a norm is computed in float32.
    fn dtype_of<const D: usize>(&self, name: &str, stored: DType) -> DType {
        match D == 2 && !self.trainable.trains(name) && stored == self.dtype {
            true => stored,
            false => DType::F32,
        }
    }
}

fn stored_dtype(checkpoint: &Checkpoint, name: &str) -> Result<DType, Error> {
    Ok(match checkpoint.tensor(name)?.dtype {
        Dtype::Bfloat16 => DType::BF16,
        Dtype::Float16 => DType::F16,
        _ => DType::F32,
    })
}

/// Asks for the tensor's gradient, where its device computes gradients.
fn tracked<const D: usize>(tensor: Tensor<D>) -> Tensor<D> {
    if tensor.device().is_autodiff() {
        tensor.require_grad()
    } else {
        tensor
    }
}

/// Two uniform numbers to a normal one (Box and Muller 1958), from a counter.
fn normal(key: u64, index: u64) -> f32 {
    let (first, second) = (uniform(key, 2 * index), uniform(key, 2 * index + 1));
    ((-2.0 * first.ln()).sqrt() * (std::f64::consts::TAU * second).cos()) as f32
}

/// A number between 0 and 1, from a counter.
fn uniform(key: u64, index: u64) -> f64 {
    let bits = mix(key.wrapping_add(index + 1));
    ((bits >> 11) as f64 + 0.5) / (1u64 << 53) as f64
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
