use std::collections::HashMap;

use burn::module::{ModuleVisitor, Param, ParamId};
use burn::tensor::{DType, Tensor};

use crate::config::EMBEDDING;
use crate::{CausalLm, parameter_name};

/// Trained matrices rounded to the dtype of the computation, beside the float32 ones: rounded once, when
/// they change, and not each time that a pass multiplies by them. A copy is a leaf of the graph in its
/// matrix's place, so the matrix's gradient comes to the copy.
#[derive(Clone, Debug, Default)]
pub struct Copies {
    by_id: HashMap<ParamId, Tensor<2>>,
}

impl Copies {
    /// The copy of a parameter.
    pub fn get(&self, id: ParamId) -> Option<&Tensor<2>> {
        self.by_id.get(&id)
    }

    /// A matrix in the dtype of the computation: its copy, or else a cast.
    pub(crate) fn matrix(&self, weight: &Param<Tensor<2>>, dtype: DType) -> Tensor<2> {
        match self.get(weight.id) {
            Some(copy) => copy.clone(),
            None => weight.val().cast(dtype),
        }
    }

    /// Takes a copy out, for another to be put in its place.
    pub fn take(&mut self, id: ParamId) -> Option<Tensor<2>> {
        self.by_id.remove(&id)
    }

    /// Keeps the copy of a parameter, on a device that computes gradients.
    pub fn put(&mut self, id: ParamId, copy: Tensor<2>) {
        self.by_id.insert(id, copy);
    }

    /// The copies without gradients, sharing their tensors.
    pub(crate) fn valid(&self) -> Self {
        let inner = |(id, copy): (&ParamId, &Tensor<2>)| (*id, copy.clone().inner());
        Copies {
            by_id: self.by_id.iter().map(inner).collect(),
        }
    }

    /// Of every trained matrix of a model that it multiplies by in another dtype than the matrix's own.
    pub(crate) fn of(model: &CausalLm) -> Self {
        let mut maker = Maker {
            path: Vec::new(),
            model,
            copies: Copies::default(),
        };
        model.visit(&mut maker);
        maker.copies
    }
}

struct Maker<'a> {
    path: Vec<String>,
    model: &'a CausalLm,
    copies: Copies,
}

impl ModuleVisitor for Maker<'_> {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let (matrix, dtype) = (param.val(), self.model.dtype());
        let name = parameter_name(&self.path);
        let multiplies = D == 2 && (name != EMBEDDING || self.model.config().tie_word_embeddings);
        if multiplies && matrix.is_require_grad() && matrix.dtype() != dtype {
            let [rows, columns] = matrix.shape().dims();
            let copy = matrix.inner().cast(dtype).reshape([rows, columns]);
            let copy = Tensor::from_inner(copy).require_grad();
            self.copies.put(param.id, copy);
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;
    use crate::causal_lm::tests::tiny;

    fn model(dtype: DType) -> CausalLm {
        let mut model = tiny(&Device::flex().autodiff(), dtype);
        model.keep_copies();
        model
    }

    #[test]
    fn every_matrix_that_is_multiplied_by_has_a_copy_until_the_parameters_change() {
        struct Unchanged;
        impl burn::module::ModuleMapper for Unchanged {}

        let mut model = model(DType::BF16);
        // Seven in its block, and the embedding, which is the head.
        assert_eq!(model.copies().by_id.len(), 7 + 1);
        let mut copies = model.copies().by_id.values();
        assert!(copies.all(|copy| copy.dtype() == DType::BF16));
        model.update(&mut Unchanged);
        assert_eq!(model.copies().by_id.len(), 0);
    }

    #[test]
    fn generation_multiplies_by_the_copies() {
        let mut model = model(DType::BF16);
        let zeros = |(id, copy): (&ParamId, &Tensor<2>)| (*id, copy.zeros_like());
        let by_id = model.copies().by_id.iter().map(zeros).collect();
        model.set_copies(Copies { by_id });
        let generating = model.for_generation();
        let is_zero = |matrix: Tensor<1>| crate::host_values(matrix).iter().all(|x| *x == 0.0);
        assert!(is_zero(generating.head().flatten(0, 1)));
        let parameters = generating.parameters();
        for (name, parameter) in parameters {
            let is_matrix = name.ends_with("proj.weight");
            assert_eq!(
                is_zero(parameter),
                is_matrix || name.ends_with("norm.weight"),
                "{name}"
            );
        }
    }

    #[test]
    fn a_computation_in_float32_needs_no_copies() {
        assert_eq!(model(DType::F32).copies().by_id.len(), 0);
    }
}
