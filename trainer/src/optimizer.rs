//! AdamW over the parameters that train, and the gradients of an optimizer step. A frozen parameter
//! has no gradient, no moments, and no part in the norm.

use std::collections::{BTreeMap, BTreeSet};

use burn::module::{ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{DType, Device, FloatDType, Gradients, Tensor, TensorData};
use kernels::{AdamWStep, EightBitMoments, GradScale, HostValues};
use model::checkpoint::TensorFile;
use model::{CausalLm, Copies, parameter_name};

use crate::TrainError;
use crate::recipe::{Optim, OptimizerSettings};

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
            copies: model.copies(),
            gradients,
            buffer: self,
        });
    }

    /// What a step multiplies these gradients by, so that their norm is `max_norm` at most (0: as they
    /// are), and what the host is told of it. Nothing is waited for. The step is left out where the norm
    /// or one of the losses is not finite.
    ///
    /// # Shapes
    /// - losses: `[1]` each
    pub fn clip(&self, losses: Vec<Tensor<1>>, max_norm: f64) -> (GradScale, StepValues) {
        let squares = self.by_name.values().cloned().map(kernels::square_sum);
        let squares: Vec<Tensor<1>> = squares.collect();
        let num_squares = squares.len();
        let values: Vec<Tensor<1>> = squares.into_iter().chain(losses).collect();
        let values = Tensor::cat(values, 0);
        let scale = GradScale::clip(values.clone(), num_squares, max_norm);
        let values = HostValues::of(Tensor::cat(vec![scale.factor(), values], 0));
        let values = StepValues {
            values,
            num_squares,
        };
        (scale, values)
    }

    /// The gradients by Hugging Face name.
    pub fn by_name(&self) -> &BTreeMap<String, Tensor<1>> {
        &self.by_name
    }
}

/// What the host is told of a step, on its way there.
pub struct StepValues {
    /// The factor, the square sums of the gradients, the losses.
    values: HostValues,
    num_squares: usize,
}

/// A step as the host sees it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepOutcome {
    /// The sum of the micro-batches' losses.
    pub loss: f64,
    /// √(Σ g²) over all parameters, before clipping.
    pub grad_norm: f64,
    /// Whether the optimizer took it: not where something is NaN or infinite.
    pub is_taken: bool,
}

impl StepOutcome {
    /// Of a step that had no loss.
    pub const NOTHING: StepOutcome = StepOutcome {
        loss: 0.0,
        grad_norm: 0.0,
        is_taken: true,
    };
}

impl StepValues {
    /// The values, once the gradients are there.
    pub fn wait(self) -> StepOutcome {
        let values = self.values.wait();
        let (squares, losses) = values[1..].split_at(self.num_squares);
        let sum = |values: &[f32]| values.iter().copied().map(f64::from).sum::<f64>();
        // As the device has it, which sums in float32.
        let square = match sum(squares) {
            square if square > f64::from(f32::MAX) => f64::INFINITY,
            square => square,
        };
        StepOutcome {
            loss: sum(losses),
            grad_norm: square.sqrt(),
            is_taken: values[0] >= 0.0,
        }
    }
}

struct Collector<'a> {
    path: Vec<String>,
    copies: &'a Copies,
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
        let flat = |gradient: Tensor<D>| gradient.flatten::<1>(0, D - 1);
        let own = param.val().grad_remove(self.gradients).map(flat);
        // An embedding that is the head as well has both.
        let of_copy = self.copies.get(param.id);
        let of_copy = of_copy.and_then(|copy| copy.grad_remove(self.gradients));
        let of_copy = of_copy.map(|gradient| gradient.flatten(0, 1).cast(FloatDType::F32));
        let gradient = match (own, of_copy) {
            (Some(own), Some(of_copy)) => own + of_copy,
            (Some(gradient), None) | (None, Some(gradient)) => gradient,
            (None, None) => return,
        };
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
    moments: BTreeMap<String, Moments>,
}

/// The moments of one parameter.
#[derive(Clone, Debug)]
pub enum Moments {
    /// First and second, as they are.
    Float32([Tensor<1>; 2]),
    /// Both by blocks.
    EightBit(EightBitMoments),
}

/// Parameters with fewer values keep float32 moments, as in bitsandbytes: norms and biases weigh
/// nothing, and their moments vary most.
pub const MIN_8BIT_SIZE: usize = 4096;

impl AdamW {
    /// Moments of zero.
    pub fn new(settings: &OptimizerSettings) -> Self {
        AdamW {
            settings: settings.clone(),
            moments: BTreeMap::new(),
        }
    }

    /// One step, in place.
    pub fn step(
        &mut self,
        model: &mut CausalLm,
        gradients: GradientBuffer,
        scale: &GradScale,
        learning_rate: f64,
        step: u64,
    ) {
        let mut stepper = Stepper {
            path: Vec::new(),
            gradients,
            copies: model.take_copies(),
            moments: &mut self.moments,
            optim: self.settings.optim,
            scale,
            step: AdamWStep {
                learning_rate,
                beta1: self.settings.adam_beta1,
                beta2: self.settings.adam_beta2,
                epsilon: self.settings.adam_epsilon,
                weight_decay: self.settings.weight_decay,
                step,
            },
        };
        model.update(&mut stepper);
        model.set_copies(stepper.copies);
    }

    /// The moments by parameter name.
    pub fn moments(&self) -> &BTreeMap<String, Moments> {
        &self.moments
    }

    /// Puts back the moments that a checkpoint's file holds, those of one parameter after the other: all
    /// of them at once would be as much memory again as they are.
    ///
    /// # Errors
    /// The file cannot be read, or they are not what the recipe's `optim` makes.
    pub fn restore(&mut self, file: &TensorFile, device: &Device) -> Result<(), TrainError> {
        let broken = |why: String| {
            let path = file.path().display();
            TrainError::Checkpoint(format!("{path}: {why}"))
        };
        let mut parts: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for stored in file.names() {
            if let Some((part, name)) = stored.split_once('.') {
                parts.entry(name).or_default().insert(part);
            }
        }
        for (name, parts) in parts {
            let part = |part: &str| file.read_f32(&format!("{part}.{name}"));
            let parts: Vec<&str> = parts.into_iter().collect();
            let moments = match parts.as_slice() {
                ["first", "second"] => {
                    let moment = |values: Vec<f32>| Tensor::from_data(flat(values), device);
                    Moments::Float32([moment(part("first")?), moment(part("second")?)])
                }
                ["codes", "scales"] => Moments::eight_bit(part("codes")?, part("scales")?, device),
                _ => return Err(broken(format!("the moments of {name} are not complete"))),
            };
            let saved_as = match moments {
                Moments::EightBit(_) => Optim::Adamw8bit,
                Moments::Float32(_) => Optim::AdamwTorch,
            };
            let wanted = Optim::of(self.settings.optim, moments.count());
            if saved_as != wanted {
                return Err(broken(format!(
                    "the moments of {name} were saved by optim = {saved_as}, and this run has optim \
                     = {}\nhint: set optim as it was, or start afresh with `--resume never`",
                    self.settings.optim
                )));
            }
            self.moments.insert(name.to_owned(), moments);
        }
        Ok(())
    }
}

/// Values as a tensor's data, of which no second copy is made.
fn flat(values: Vec<f32>) -> TensorData {
    let count = values.len();
    TensorData::new(values, [count])
}

impl Optim {
    /// What a parameter of this size gets.
    fn of(self, count: usize) -> Self {
        match self {
            Optim::Adamw8bit if count >= MIN_8BIT_SIZE => Optim::Adamw8bit,
            _ => Optim::AdamwTorch,
        }
    }
}

impl Moments {
    fn zeros(optim: Optim, count: usize, device: &Device) -> Self {
        match optim.of(count) {
            Optim::Adamw8bit => Moments::EightBit(EightBitMoments::zeros(count, device)),
            Optim::AdamwTorch => Moments::Float32([0, 1].map(|_| Tensor::zeros([count], device))),
        }
    }

    fn eight_bit(codes: Vec<f32>, scales: Vec<f32>, device: &Device) -> Self {
        let (words, blocks) = (codes.len() / 2, scales.len() / 2);
        let codes: Vec<i32> = codes.into_iter().map(|c| c.to_bits() as i32).collect();
        Moments::EightBit(EightBitMoments {
            codes: Tensor::from_data(TensorData::new(codes, [2, words]), (device, DType::I32)),
            scales: Tensor::from_data(TensorData::new(scales, [2, blocks]), device),
        })
    }

    /// What a checkpoint stores: the name of each part, and how many values it has.
    pub fn parts(&self) -> [(&'static str, usize); 2] {
        match self {
            Moments::Float32([first, second]) => [
                ("first", first.shape().num_elements()),
                ("second", second.shape().num_elements()),
            ],
            Moments::EightBit(EightBitMoments { codes, scales }) => [
                ("codes", codes.shape().num_elements()),
                ("scales", scales.shape().num_elements()),
            ],
        }
    }

    /// The values of a part by its name. Codes are four to a float's bits, because that is what the
    /// file's other tensors are made of.
    pub fn part(&self, name: &str) -> Vec<f32> {
        match (self, name) {
            (Moments::Float32([first, _]), "first") => model::host_values(first.clone()),
            (Moments::Float32([_, second]), "second") => model::host_values(second.clone()),
            (Moments::EightBit(moments), "codes") => {
                let codes = moments.codes.clone().into_data().try_to_vec::<i32>();
                let codes = codes.expect("codes are i32").into_iter();
                codes.map(|code| f32::from_bits(code as u32)).collect()
            }
            (Moments::EightBit(moments), "scales") => model::host_values(moments.scales.clone()),
            _ => unreachable!("`parts` has no part called {name}"),
        }
    }

    /// Values that they are of, up to the end of the last block.
    fn count(&self) -> usize {
        match self {
            Moments::Float32([first, _]) => first.dims()[0],
            Moments::EightBit(moments) => {
                moments.scales.dims()[1] * kernels::adamw::eight_bit::BLOCK
            }
        }
    }
}

struct Stepper<'a> {
    path: Vec<String>,
    gradients: GradientBuffer,
    copies: Copies,
    moments: &'a mut BTreeMap<String, Moments>,
    optim: Optim,
    scale: &'a GradScale,
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
        let [count] = gradient.dims();
        let moments = self.moments.remove(&name);
        let moments =
            moments.unwrap_or_else(|| Moments::zeros(self.optim, count, &gradient.device()));
        let (id, tensor, mapper) = param.consume();
        let shape = tensor.shape();
        let flat = tensor.inner().flatten::<1>(0, D - 1);
        // The old copy makes room for the new one.
        let copied = self.copies.take(id).map(|copy| copy.dtype());
        let (flat, moments, copy) = match moments {
            Moments::Float32(moments) => {
                let (flat, moments, copy) =
                    kernels::adamw(flat, gradient, moments, copied, self.scale, self.step);
                (flat, Moments::Float32(moments), copy)
            }
            Moments::EightBit(moments) => {
                let (flat, moments, copy) =
                    kernels::adamw_8bit(flat, gradient, moments, copied, self.scale, self.step);
                (flat, Moments::EightBit(moments), copy)
            }
        };
        if let Some(copy) = copy {
            let copy = Tensor::from_inner(copy.reshape(shape.dims::<2>())).require_grad();
            self.copies.put(id, copy);
        }
        self.moments.insert(name, moments);
        let tensor = Tensor::from_inner(flat.reshape(shape)).require_grad();
        Param::from_mapped_value(id, tensor, mapper)
    }
}

#[cfg(test)]
mod tests {
    use burn::module::ModuleVisitor;
    use model::ModelConfig;
    use model::config::Gemma2Shape;

    use super::*;
    use crate::recipe::{RawRecipe, StageName, for_stage};

    /// How many copies a model has that are a cast of their matrix now, and how many it has at all.
    fn fresh_copies(model: &CausalLm) -> [usize; 2] {
        struct Counter<'a>(&'a CausalLm, [usize; 2]);
        impl ModuleVisitor for Counter<'_> {
            fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
                let bytes = |data: TensorData| data.as_bytes().to_vec();
                if let Some(copy) = self.0.copies().get(param.id) {
                    let cast = param.val().cast(FloatDType::BF16);
                    let is_fresh = bytes(copy.to_data()) == bytes(cast.into_data());
                    self.1 = [self.1[0] + usize::from(is_fresh), self.1[1] + 1];
                }
            }
        }
        let mut counter = Counter(model, [0; 2]);
        model.visit(&mut counter);
        counter.1
    }

    #[test]
    fn a_step_renews_the_copy_of_every_matrix_that_it_changes() {
        let shape = Gemma2Shape {
            vocab_size: 512,
            hidden_size: 16,
            intermediate_size: 16,
            num_hidden_layers: 1,
            num_attention_heads: 2,
            num_key_value_heads: 1,
            head_dim: 8,
            ..Gemma2Shape::default()
        };
        let config = ModelConfig::demo_gemma2(&shape).expect("a sound shape");
        // The embedding alone is large enough for moments of eight bits.
        for optim in ["adamw_torch", "adamw_8bit"] {
            let mut raw = RawRecipe::new();
            raw.set(Some(StageName::Sft), &format!("optim={optim}"));
            let recipe = for_stage(&raw, StageName::Sft).expect("the recipe is sound");
            let device = Device::flex().autodiff();
            let one = GradScale::of(1.0, &Device::flex());
            let mut model = CausalLm::random(config.clone(), 1, 0.02, &device, DType::BF16);
            model.keep_copies();
            let mut optimizer = AdamW::new(&recipe.optimizer);
            for step in 1..=2 {
                let before = model.copies().clone();
                let by_name = model
                    .parameters()
                    .into_iter()
                    .map(|(name, parameter)| (name, parameter.inner().ones_like()));
                let gradients = GradientBuffer {
                    by_name: by_name.collect(),
                };
                optimizer.step(&mut model, gradients, &one, 0.1, step);
                assert_eq!(fresh_copies(&model), [8, 8], "{optim}");
                model.set_copies(before);
                assert_eq!(fresh_copies(&model), [0, 8], "{optim}");
                model.keep_copies();
            }
        }
    }
}
