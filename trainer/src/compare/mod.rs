//! One batch computed two ways, block by block, forward and backward: which operation is to blame
//! where two devices or two sets of kernels differ, or where a number stops being one.
//!
//! Each block runs three times: on side A along its own path, on side B along its own, and on side
//! B from what side A gave it. The last is the block's own error and is held to its bound; the
//! first two show what has added up on the way, which a sound model may amplify.

mod nonfinite;
mod report;
mod side;
mod tolerance;

use datasets::TokenBatch;

pub use nonfinite::{NonFinite, first_nonfinite, nonfinite_parameters};
pub use report::table;
pub use side::{Block, Side};

use side::Named;
use tolerance::{distance, relative_error};

/// Which way a block was walked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Activations.
    Forward,
    /// Gradients.
    Backward,
}

impl Direction {
    /// `forward` or `backward`.
    pub fn name(self) -> &'static str {
        match self {
            Direction::Forward => "forward",
            Direction::Backward => "backward",
        }
    }
}

/// How much of a block a row is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// What it hands on: its output, or the gradient of its input.
    Block,
    /// A result inside it, or the gradient of one.
    Part,
    /// The gradient of a parameter.
    Parameter,
}

/// A line of the comparison: one tensor of a block on both sides.
#[derive(Clone, Debug)]
pub struct Row {
    /// Activation or gradient.
    pub direction: Direction,
    /// Where.
    pub block: Block,
    /// How much of the block.
    pub scope: Scope,
    /// What: `output`, `input`, a part or a parameter.
    pub name: String,
    /// ‖b − a‖ / ‖a‖ with the same input to both sides.
    pub error: f64,
    /// What rounding explains of it.
    pub bound: f64,
    /// ‖b − a‖ / ‖a‖ with each side on its own path.
    pub carried: f64,
}

impl Row {
    /// Whether the difference is more than rounding. NaN is.
    pub fn diverges(&self) -> bool {
        self.error.is_nan() || self.error > self.bound
    }
}

/// Compares two sides on a batch. Rows are in the order of computation; `progress` hears of each
/// block before it runs.
///
/// # Panics
/// If the sides' models have other shapes, or nothing in the batch is predicted.
pub fn compare(
    [a, b]: [&Side; 2],
    batch: &TokenBatch,
    progress: &dyn Fn(Direction, Block),
) -> Vec<Row> {
    let blocks = Block::all(a.model.config());
    assert_eq!(blocks, Block::all(b.model.config()), "two models");
    let epsilon = tolerance::epsilon([a, b]);
    let mut rows = Vec::new();

    // What goes into each block on its side's own path.
    let mut inputs: Vec<[Vec<f32>; 2]> = vec![[Vec::new(), Vec::new()]];
    for (index, &block) in blocks.iter().enumerate() {
        progress(Direction::Forward, block);
        let [input_a, input_b] = &inputs[index];
        let on_a = a.forward(block, input_a, batch);
        let on_b = b.forward(block, input_b, batch);
        let same = b.forward(block, input_a, batch);
        let bound = tolerance::bound([a, b], batch, block, Direction::Forward);
        rows.extend(compared(
            Direction::Forward,
            block,
            [bound, epsilon],
            [&on_a, &same, &on_b],
        ));
        inputs.push([on_a, on_b].map(last));
    }

    // The loss's own gradient is 1.
    let mut upstream = [vec![1.0], vec![1.0]];
    for (index, &block) in blocks.iter().enumerate().rev() {
        progress(Direction::Backward, block);
        let [input_a, input_b] = &inputs[index];
        let on_a = a.backward(block, input_a, &upstream[0], batch);
        let on_b = b.backward(block, input_b, &upstream[1], batch);
        let same = b.backward(block, input_a, &upstream[0], batch);
        let bound = tolerance::bound([a, b], batch, block, Direction::Backward);
        rows.extend(compared(
            Direction::Backward,
            block,
            [bound, epsilon],
            [&on_a, &same, &on_b],
        ));
        upstream = [on_a, on_b].map(input_gradient);
    }
    rows
}

/// The first row that diverges.
pub fn first_diverging(rows: &[Row]) -> Option<&Row> {
    rows.iter().find(|row| row.diverges())
}

fn compared(
    direction: Direction,
    block: Block,
    [bound, epsilon]: [f64; 2],
    [a, same, carried]: [&[Named]; 3],
) -> Vec<Row> {
    assert!(
        a.len() == same.len() && a.len() == carried.len(),
        "{block}: one model has parts that the other lacks"
    );
    // A gradient that cancels to nothing has no size of its own to be measured against: eight roundings
    // of the block's largest tensor, as in the kernels' parity tests, are not held against it.
    let sizes = a.iter().map(|named| named.size).filter(|s| s.is_finite());
    let floor = 8.0 * epsilon * sizes.fold(0.0, f64::max) / bound;
    let relative = |other: &Named, a: &Named| {
        relative_error(distance(&other.values, &a.values), a.size.max(floor))
    };
    let rows = a.iter().zip(same).zip(carried);
    rows.map(|((a, same), carried)| Row {
        direction,
        block,
        scope: a.scope,
        name: a.name.clone(),
        error: relative(same, a),
        bound,
        carried: relative(carried, a),
    })
    .collect()
}

fn last(mut results: Vec<Named>) -> Vec<f32> {
    results.pop().expect("a block has an output").values
}

fn input_gradient(results: Vec<Named>) -> Vec<f32> {
    let mut results = results.into_iter();
    let input = results.find(|result| result.scope == Scope::Block);
    input.map(|input| input.values).unwrap_or_default()
}
