use std::fmt;

use datasets::TokenBatch;
use model::host_values;

use super::side::Named;
use super::{Block, Direction, Scope, Side};

/// The first tensor in the order of computation that holds a NaN or an infinity; all before it are
/// finite.
#[derive(Clone, Debug, PartialEq)]
pub struct NonFinite {
    /// Activation or gradient.
    pub direction: Direction,
    /// Where.
    pub block: Block,
    /// How much of the block.
    pub scope: Scope,
    /// What: `output`, `input`, a part or a parameter.
    pub name: String,
    /// How many of its numbers are NaN.
    pub num_nan: usize,
    /// How many are infinite.
    pub num_infinite: usize,
    /// All its numbers.
    pub num_values: usize,
    /// The largest of the numbers that the tensor before it holds.
    pub largest_before: f32,
}

/// Walks the blocks forward, then backward, until something is not finite.
///
/// # Panics
/// If nothing in the batch is predicted.
pub fn first_nonfinite(
    side: &Side,
    batch: &TokenBatch,
    progress: &dyn Fn(Direction, Block),
) -> Option<NonFinite> {
    let blocks = Block::all(side.model.config());
    let mut largest = 0.0;
    let mut inputs = vec![Vec::new()];
    for (index, &block) in blocks.iter().enumerate() {
        progress(Direction::Forward, block);
        let results = side.forward(block, &inputs[index], batch);
        if let Some(found) = first(Direction::Forward, block, &results, &mut largest) {
            return Some(found);
        }
        inputs.push(super::last(results));
    }
    largest = 1.0;
    let mut upstream = vec![1.0];
    for (index, &block) in blocks.iter().enumerate().rev() {
        progress(Direction::Backward, block);
        let results = side.backward(block, &inputs[index], &upstream, batch);
        if let Some(found) = first(Direction::Backward, block, &results, &mut largest) {
            return Some(found);
        }
        upstream = super::input_gradient(results);
    }
    None
}

/// The parameters that hold a NaN or an infinity, and how many.
pub fn nonfinite_parameters(side: &Side) -> Vec<(String, usize)> {
    let parameters = side.model.parameters().into_iter();
    parameters
        .map(|(name, values)| {
            let values = host_values(values);
            let count = values.iter().filter(|value| !value.is_finite()).count();
            (name, count)
        })
        .filter(|(_, count)| *count > 0)
        .collect()
}

fn first(
    direction: Direction,
    block: Block,
    results: &[Named],
    largest: &mut f32,
) -> Option<NonFinite> {
    for result in results {
        let values = &result.values;
        let num_nan = values.iter().filter(|value| value.is_nan()).count();
        let num_infinite = values.iter().filter(|value| value.is_infinite()).count();
        if num_nan + num_infinite > 0 {
            return Some(NonFinite {
                direction,
                block,
                scope: result.scope,
                name: result.name.clone(),
                num_nan,
                num_infinite,
                num_values: values.len(),
                largest_before: *largest,
            });
        }
        *largest = values.iter().fold(0.0, |most, value| most.max(value.abs()));
    }
    None
}

impl fmt::Display for NonFinite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let gradient = match self.direction {
            Direction::Forward => "",
            Direction::Backward => "gradient of ",
        };
        write!(
            f,
            "{}, {}, {gradient}{}: {} NaN and {} infinite of {}; everything before it is finite, \
             at most {:.2e} just before",
            self.direction.name(),
            self.block,
            self.name,
            self.num_nan,
            self.num_infinite,
            self.num_values,
            self.largest_before
        )
    }
}
