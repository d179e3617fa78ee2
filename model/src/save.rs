use std::borrow::Cow;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::path::Path;

use burn::module::{ModuleMapper, ModuleVisitor, Param};
use burn::tensor::Tensor;

use crate::checkpoint::{
    CheckpointError, DEFAULT_MAX_SHARD_BYTES, Dtype, TensorData, TensorToWrite, Written,
    write_checkpoint,
};
use crate::layers::merged;
use crate::streamed::Block;
use crate::{CausalLm, Error, Pass, Trainable};

impl CausalLm {
    /// Writes `config.json` and the weights, in `dtype`, into a folder that holds neither. Adapters
    /// are merged into the weights, in float32 before that is rounded.
    ///
    /// # Errors
    /// A file exists or cannot be written.
    pub fn save(&self, dir: &Path, dtype: Dtype) -> Result<Written, Error> {
        let parameters = self.parameters();
        let own = |tensor: &TensorToWrite| -> Result<Tensor<1>, CheckpointError> {
            if let Some(parameter) = parameters.get(&tensor.name) {
                return Ok(parameter.clone());
            }
            let source = self.streamed().expect("a parameter is kept or streamed");
            let values = source.checkpoint().read_f32(&tensor.name)?;
            let device = self.device().clone().inner();
            Ok(Tensor::from_floats(values.as_slice(), &device))
        };
        let merged = |tensor: &TensorToWrite, own: &Tensor<1>| -> Option<Tensor<2>> {
            let lora = self.lora()?;
            let layer = tensor.name.strip_suffix(".weight")?;
            let a = parameters.get(&format!("{layer}.lora_A.weight"))?.clone();
            let b = parameters.get(&format!("{layer}.lora_B.weight"))?.clone();
            let (output, input) = (tensor.shape[0], tensor.shape[1]);
            let weight = own.clone().reshape([output, input]);
            let adapter = [a.reshape([lora.r, input]), b.reshape([output, lora.r])];
            Some(merged(weight, adapter, lora.scale()))
        };
        let tensors: Vec<TensorToWrite> = self
            .config()
            .expected_tensors()
            .into_iter()
            .map(|spec| TensorToWrite {
                name: spec.name,
                shape: spec.shape,
                dtype,
            })
            .collect();
        let written = write_checkpoint(
            dir,
            &self.config().decoder_json(),
            &tensors,
            DEFAULT_MAX_SHARD_BYTES,
            |tensor| -> Result<_, CheckpointError> {
                let own = own(tensor)?;
                let values = match merged(tensor, &own) {
                    Some(weight) => host_values(weight),
                    None => host_values(own),
                };
                Ok(TensorData::Float32(Cow::Owned(values)))
            },
        )?;
        Ok(written)
    }

    /// Every parameter under its Hugging Face name, flattened; adapters under PEFT's.
    /// Those that are not kept in memory are left out.
    pub fn parameters(&self) -> BTreeMap<String, Tensor<1>> {
        let mut collector = Collector {
            path: Vec::new(),
            parameters: BTreeMap::new(),
            trainable: self.trainable(),
        };
        self.visit(&mut collector);
        collector.parameters
    }
}

/// The Hugging Face name of the parameter at a path of module fields.
///
/// Example: `["layers", "0", "mlp", "up_proj", "weight"]` → `model.layers.0.mlp.up_proj.weight`.
pub fn parameter_name(path: &[String]) -> String {
    let path = path.join(".");
    let path = path
        .replace(".adapter.lora_a", ".lora_A.weight")
        .replace(".adapter.lora_b", ".lora_B.weight");
    if path.starts_with("lm_head.") {
        path
    } else {
        format!("model.{path}")
    }
}

/// Reads a tensor back as float32.
pub fn host_values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor
        .cast(burn::tensor::FloatDType::F32)
        .into_data()
        .try_to_vec::<f32>()
        .expect("the tensor was cast to float32")
}

impl CausalLm {
    /// Values that train.
    pub fn num_trained_parameters(&self) -> u64 {
        let sizes = self.trained_parameters().into_values();
        sizes.map(|size| size as u64).sum()
    }

    /// Names of the parameters that train, with the number of their values.
    pub(crate) fn trained_parameters(&self) -> BTreeMap<String, usize> {
        let mut collector = TrainedNames::default();
        self.visit(&mut collector);
        collector.sizes
    }
}

#[derive(Default)]
struct TrainedNames {
    path: Vec<String>,
    sizes: BTreeMap<String, usize>,
}

impl ModuleVisitor for TrainedNames {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let tensor = param.val();
        if tensor.is_require_grad() {
            let size = tensor.shape().num_elements();
            self.sizes.insert(parameter_name(&self.path), size);
        }
    }
}

struct Collector<'a> {
    path: Vec<String>,
    parameters: BTreeMap<String, Tensor<1>>,
    trainable: &'a Trainable,
}

impl ModuleVisitor for Collector<'_> {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let name = parameter_name(&self.path);
        if name.contains(".lora_") || !self.trainable.streams(&name) {
            let tensor = param.val().inner().flatten(0, D - 1);
            self.parameters.insert(name, tensor);
        }
    }
}

impl CausalLm {
    /// The model with other values of its parameters, by Hugging Face name.
    ///
    /// # Errors
    /// Whatever `values` fails with.
    pub fn with_parameters<E>(
        self,
        mut values: impl FnMut(&str) -> Result<Vec<f32>, E>,
    ) -> Result<Self, E> {
        self.with_some_parameters(|name| values(name).map(Some))
    }

    /// As [`Self::with_parameters`]; those without a value stay.
    pub(crate) fn with_some_parameters<E>(
        mut self,
        mut values: impl FnMut(&str) -> Result<Option<Vec<f32>>, E>,
    ) -> Result<Self, E> {
        let flat = |values: Vec<f32>| {
            let count = values.len();
            burn::tensor::TensorData::new(values, [count])
        };
        let mut replacer = Replacer {
            path: Vec::new(),
            values: |name: &str| Ok(values(name)?.map(flat)),
            error: None,
        };
        self.update(&mut replacer);
        match replacer.error {
            Some(error) => Err(error),
            None => Ok(self),
        }
    }

    /// Runs a layer with a block's values in place of its own parameters, for each of several inputs; its
    /// adapters stay as they are.
    pub(crate) fn replaced_layer<const N: usize>(
        &self,
        index: usize,
        inputs: [(Tensor<2>, &mut Pass); N],
        mut block: Block,
    ) -> [Tensor<2>; N] {
        let mut replacer = Replacer {
            path: vec!["layers".to_owned(), index.to_string()],
            values: |name: &str| Ok::<_, Infallible>(block.remove(name)),
            error: None,
        };
        self.mapped_layer(index, inputs, &mut replacer)
    }
}

struct Replacer<F, E> {
    path: Vec<String>,
    values: F,
    error: Option<E>,
}

impl<E, F: FnMut(&str) -> Result<Option<burn::tensor::TensorData>, E>> ModuleMapper
    for Replacer<F, E>
{
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        match (self.values)(&parameter_name(&self.path)) {
            Ok(None) => param,
            Ok(Some(data)) => param.map(|tensor| {
                let dtype = data.dtype();
                let data =
                    burn::tensor::TensorData::from_bytes(data.into_bytes(), tensor.shape(), dtype);
                let new = Tensor::from_data(data, (&tensor.device(), tensor.dtype()));
                match tensor.is_require_grad() {
                    true => new.require_grad(),
                    false => new,
                }
            }),
            Err(error) => {
                self.error = Some(error);
                param
            }
        }
    }
}
