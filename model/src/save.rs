use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;

use burn::module::{ModuleMapper, ModuleVisitor, Param};
use burn::tensor::Tensor;

use crate::checkpoint::{
    CheckpointError, DEFAULT_MAX_SHARD_BYTES, Dtype, TensorData, TensorToWrite, Written,
    write_checkpoint,
};
use crate::layers::trained;
use crate::{CausalLm, Error};

impl CausalLm {
    /// Writes `config.json` and the weights, in `dtype`, into a folder that holds neither.
    ///
    /// # Errors
    /// A file exists or cannot be written.
    pub fn save(&self, dir: &Path, dtype: Dtype) -> Result<Written, Error> {
        let parameters = self.parameters();
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
                let values = host_values(parameters[&tensor.name].clone());
                Ok(TensorData::Float32(Cow::Owned(values)))
            },
        )?;
        Ok(written)
    }

    /// Every parameter under its Hugging Face name, flattened.
    pub fn parameters(&self) -> BTreeMap<String, Tensor<1>> {
        let mut collector = Collector::default();
        self.visit(&mut collector);
        collector.parameters
    }
}

/// The Hugging Face name of the parameter at a path of module fields.
///
/// Example: `["layers", "0", "mlp", "up_proj", "weight"]` → `model.layers.0.mlp.up_proj.weight`.
pub fn parameter_name(path: &[String]) -> String {
    let path = path.join(".");
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

#[derive(Default)]
struct Collector {
    path: Vec<String>,
    parameters: BTreeMap<String, Tensor<1>>,
}

impl ModuleVisitor for Collector {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let tensor = param.val().inner().flatten(0, D - 1);
        self.parameters.insert(parameter_name(&self.path), tensor);
    }
}

impl CausalLm {
    /// The model with other values of its parameters, by Hugging Face name.
    ///
    /// # Errors
    /// Whatever `values` fails with.
    pub fn with_parameters<E>(
        mut self,
        values: impl FnMut(&str) -> Result<Vec<f32>, E>,
    ) -> Result<Self, E> {
        let mut replacer = Replacer {
            path: Vec::new(),
            values,
            error: None,
        };
        self.update(&mut replacer);
        match replacer.error {
            Some(error) => Err(error),
            None => Ok(self),
        }
    }
}

struct Replacer<F, E> {
    path: Vec<String>,
    values: F,
    error: Option<E>,
}

impl<E, F: FnMut(&str) -> Result<Vec<f32>, E>> ModuleMapper for Replacer<F, E> {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        match (self.values)(&parameter_name(&self.path)) {
            Ok(values) => param.map(|tensor| {
                let data = burn::tensor::TensorData::new(values, tensor.shape());
                trained(Tensor::from_data(data, &tensor.device()))
            }),
            Err(error) => {
                self.error = Some(error);
                param
            }
        }
    }
}
