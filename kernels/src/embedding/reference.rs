use burn::tensor::{Int, Tensor, TensorData};

/// The definition, in plain tensor operations.
pub fn embedding(weight: Tensor<2>, ids: &[u32], scale: f32) -> Tensor<2> {
    let ids: Vec<i32> = ids.iter().map(|&id| id as i32).collect();
    let length = ids.len();
    let ids = Tensor::<1, Int>::from_data(TensorData::new(ids, [length]), &weight.device());
    let rows = weight.select(0, ids);
    if scale == 1.0 {
        rows
    } else {
        rows.mul_scalar(scale)
    }
}
