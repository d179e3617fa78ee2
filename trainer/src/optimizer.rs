//! AdamW over the model's parameters, and the gradients of an optimizer step.

use std::collections::BTreeMap;

use burn::module::{ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{Device, Gradients, Tensor};
use kernels::AdamWStep;
use model::{CausalLm, parameter_name};

use crate::recipe::OptimizerSettings;

/// Gradients by parameter name, flattened, summed over micro-batches.
#[derive(Default)]
pub struct GradientBuffer {
    by_name: BTreeMap<String, Tensor<1>>,
}

impl GradientBuffer {
    /// Adds what one backward pass left.
    pub fn add(&mut self, model: &CausalLm, gradients: &mut Gradients) {
        model.visit(&mut Collector {
            path: Vec::new(),
            gradients,
            buffer: self,
        });
    }

    /// √(Σ g²) over all parameters: one read from the device.
    pub fn global_norm(&self) -> f64 {
        if self.by_name.is_empty() {
            return 0.0;
        }
        let squares = self.by_name.values().cloned().map(kernels::square_sum);
        let squares = model::host_values(Tensor::cat(squares.collect(), 0));
        squares.into_iter().map(f64::from).sum::<f64>().sqrt()
    }

    /// The gradients by Hugging Face name.
    pub fn by_name(&self) -> &BTreeMap<String, Tensor<1>> {
        &self.by_name
    }
}

struct Collector<'a> {
    path: Vec<String>,
    gradients: &'a mut Gradients,
    buffer: &'a mut GradientBuffer,
}

impl ModuleVisitor for Collector<'_> {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let Some(gradient) = param.val().grad_remove(self.gradients) else {
            return;
        };
        let gradient = gradient.flatten::<1>(0, D - 1);
        let name = parameter_name(&self.path);
        let by_name = &mut self.buffer.by_name;
        let sum = match by_name.remove(&name) {
            Some(sum) => sum + gradient,
            None => gradient,
        };
        by_name.insert(name, sum);
    }
}

/// AdamW with its moments.
#[derive(Clone)]
pub struct AdamW {
    settings: OptimizerSettings,
    moments: BTreeMap<String, [Tensor<1>; 2]>,
}

impl AdamW {
    /// Moments of zero.
    pub fn new(settings: &OptimizerSettings) -> Self {
        AdamW {
            settings: settings.clone(),
            moments: BTreeMap::new(),
        }
    }

    /// One step. `grad_scale` clips: it multiplies every gradient.
    pub fn step(
        &mut self,
        model: CausalLm,
        gradients: GradientBuffer,
        learning_rate: f64,
        grad_scale: f64,
        step: u64,
    ) -> CausalLm {
        model.map(&mut Stepper {
            path: Vec::new(),
            gradients,
            moments: &mut self.moments,
            step: AdamWStep {
                learning_rate,
                beta1: self.settings.adam_beta1,
                beta2: self.settings.adam_beta2,
                epsilon: self.settings.adam_epsilon,
                weight_decay: self.settings.weight_decay,
                grad_scale,
                step,
            },
        })
    }

    /// The moments by parameter name.
    pub fn moments(&self) -> &BTreeMap<String, [Tensor<1>; 2]> {
        &self.moments
    }

    /// Puts saved moments back.
    pub fn restore(&mut self, moments: BTreeMap<String, [Vec<f32>; 2]>, device: &Device) {
        let tensor = |values: Vec<f32>| Tensor::from_floats(values.as_slice(), device);
        self.moments = moments
            .into_iter()
            .map(|(name, moments)| (name, moments.map(tensor)))
            .collect();
    }
}

struct Stepper<'a> {
    path: Vec<String>,
    gradients: GradientBuffer,
    moments: &'a mut BTreeMap<String, [Tensor<1>; 2]>,
    step: AdamWStep,
}

impl ModuleMapper for Stepper<'_> {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let name = parameter_name(&self.path);
        let Some(gradient) = self.gradients.by_name.remove(&name) else {
            return param;
        };
        let moments = self.moments.remove(&name).unwrap_or_else(|| {
            let zeros = || Tensor::zeros(gradient.shape(), &gradient.device());
            [zeros(), zeros()]
        });
        let (id, tensor, mapper) = param.consume();
        let shape = tensor.shape();
        let flat = tensor.inner().flatten::<1>(0, D - 1);
        let (flat, moments) = kernels::adamw(flat, gradient, moments, self.step);
        self.moments.insert(name, moments);
        let tensor = Tensor::from_inner(flat.reshape(shape)).require_grad();
        Param::from_mapped_value(id, tensor, mapper)
    }
}
