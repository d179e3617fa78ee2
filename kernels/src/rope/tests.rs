use std::sync::Arc;

use burn::tensor::Tensor;

use super::*;
use crate::device;
use crate::parity::{Operation, check, check_bfloat16, float32, host, nans, random};

#[test]
fn rope_is_its_reference() {
    check_rope(check);
}

#[test]
fn rope_in_bfloat16_is_its_reference() {
    check_rope(check_bfloat16);
}

fn check_rope(check: fn(&str, &[usize], f64, Operation, Operation)) {
    let positions: Arc<[u32]> = [0, 1, 2, 0, 77, 3].into();
    for (heads, head_dim, rotary_dim) in [(1, 2, 2), (3, 20, 20), (4, 64, 64), (2, 31, 6)] {
        let table = Rotary::new(rotary_dim, 100.0, 1.0).table(positions.clone());
        let shaped = |leaves: &[Tensor<1>]| leaves[0].clone().reshape([6, heads, head_dim]);
        check(
            &format!("rope {heads}×{head_dim}, {rotary_dim} turned"),
            &[6 * heads * head_dim],
            1.0,
            &|leaves| rope(shaped(leaves), &table).flatten(0, 2),
            &|leaves| rope_reference(shaped(leaves), &table).flatten(0, 2),
        );
    }
}

#[test]
fn a_nan_or_an_infinity_stays_in_its_pair() {
    // Pairs (0, 3), (1, 4) and (2, 5) of eight values; the last two stay as they are.
    let table = Rotary::new(6, 100.0, 1.0).table([1, 2, 0].into());
    for (device_name, device) in device::for_tests() {
        let mut values: Vec<f64> = random(3 * 2 * 8, 1).collect();
        // Of the first token, whose first pair turns by one radian: −∞ by a positive sine and cosine.
        values[0] = f64::NEG_INFINITY;
        values[8 + 1] = f64::NAN;
        // Of the second token, a value that does not turn; of the third, one that turns by nothing.
        values[16 + 7] = f64::NAN;
        values[32 + 5] = f64::NAN;
        let y = host(rope(float32(&values, [3, 2, 8], &device), &table).flatten(0, 2));
        assert_eq!(nans(&y), [9, 12, 23, 34, 37], "{device_name}: {y:?}");
        let infinite: Vec<usize> = (0..y.len())
            .filter(|&i| y[i] == f64::NEG_INFINITY)
            .collect();
        assert_eq!(infinite, [0, 3], "{device_name}: {y:?}");
    }
}
