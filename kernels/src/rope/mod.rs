//! Rotary position embedding in the rotate-half form of Hugging Face (Su et al. 2021,
//! arXiv 2104.09864): with a = position · θ^(−2i/d), the pair (xᵢ, xᵢ₊d⁄₂) turns by the angle a.

mod backward;
mod cpu;
#[cfg(feature = "cube")]
mod cube;
mod reference;
mod table;
#[cfg(test)]
mod tests;

use burn::backend::{Backend, Dispatch, backend_extension, tensor::FloatTensor};
use burn::tensor::Tensor;

pub use reference::rope as rope_reference;
pub use table::{Rotary, RotaryTable};

/// Turns every head of every token by its position.
///
/// # Shapes
/// - x: `[tokens, heads, head_dim]`
/// - table: of as many positions as x has tokens, for the first values of a head, an even number;
///   the others stay as they are (partial rotation)
/// - output: as x
pub fn rope(x: Tensor<3>, table: &RotaryTable) -> Tensor<3> {
    let [tokens, _, head_dim] = x.dims();
    assert_eq!(tokens, table.positions().len(), "positions for the tokens");
    let turned = table.rotary_dim();
    assert!(
        turned <= head_dim,
        "{turned} values to turn in a head of {head_dim}"
    );
    if !crate::choice::fused(&x) {
        return reference::rope(x, table);
    }
    Tensor::from_dispatch(<Dispatch as RopeOps>::rope(
        x.into_dispatch(),
        table.clone(),
        Turn::Forward,
    ))
}

/// Backward turns by the opposite angle: the rotation is orthogonal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    Forward,
    Backward,
}

/// The operation on a backend's own tensors.
#[backend_extension(Cube: cfg(feature = "cube"), Flex, Fusion: cfg(feature = "fusion"), Autodiff)]
pub(crate) trait RopeOps: Backend {
    #[fusion(dtype = x, shape = x)]
    fn rope(x: FloatTensor<Self>, table: RotaryTable, turn: Turn) -> FloatTensor<Self>;
}
