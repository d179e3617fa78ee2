use burn::tensor::{DType, FloatDType, Tensor};

/// Rows of one matmul. A device's own matmul may choose its tiles by the number of rows; here it
/// always sees this many.
const ROWS: usize = 32;

/// Blocks of 32 rows through the device's matmul. In half precision its sums are rounded before they
/// can be anything else, so they are taken of float32 copies.
pub fn decode_linear(x: Tensor<2>, weight: Tensor<2>, dtype: DType) -> Tensor<2> {
    let [x, weight] = [x, weight].map(|matrix| matrix.cast(FloatDType::F32));
    let [rows, width] = x.dims();
    let blocks = rows.div_ceil(ROWS);
    let missing = blocks * ROWS - rows;
    let x = if missing == 0 {
        x
    } else {
        let zeros = Tensor::zeros([missing, width], (&x.device(), x.dtype()));
        Tensor::cat(vec![x, zeros], 0)
    };
    let weight = weight.transpose();
    let outputs = (0..blocks)
        .map(|block| {
            x.clone()
                .narrow(0, block * ROWS, ROWS)
                .matmul(weight.clone())
        })
        .collect();
    Tensor::cat(outputs, 0).narrow(0, 0, rows).cast(dtype)
}
