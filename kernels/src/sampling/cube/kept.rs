//! What top-k and top-p keep of a row, by passes of a cube over its logits.

use cubecl::prelude::*;

use super::{STEP, UNITS, logit, order};
use crate::cube::cube_sum;

/// Sums that are taken at once, one a digit of the threshold or one a slice.
pub(super) const BINS: usize = 16;

/// What top-k or top-p keeps.
#[derive(CubeType)]
pub(super) struct Threshold {
    /// The least key.
    pub(super) key: u32,
    /// What is wanted of the tokens with that key: their number or weight.
    pub(super) rest: f32,
    /// What there is of them.
    pub(super) ties: f32,
}

/// The largest key such that the kept tokens at or above it are enough. Kept are those above
/// `kept_key`, and of the equal ones the ids below `kept_end`.
#[cube]
pub(super) fn threshold<F: Float>(
    logits: &[F],
    start: usize,
    vocab: usize,
    cap: f32,
    kept_key: u32,
    kept_end: usize,
    wanted: f32,
    largest: f32,
    inverse_temperature: f32,
    scratch: &mut Shared<[f32]>,
    bins: &mut Shared<[f32]>,
    #[comptime] capped: bool,
    #[comptime] weighted: bool,
) -> Threshold {
    let unit = UNIT_POS as usize;
    let mut prefix = 0u32;
    let mut above = 0.0f32;
    let mut ties = 0.0f32;
    for level in 0..8u32 {
        let shift = 28u32 - 4u32 * level;
        for bin in 0..BINS {
            bins[bin * STEP + unit] = 0.0;
        }
        let mut token = unit;
        while token < vocab {
            let x = logit::<F>(logits, start + token, cap, capped);
            let key = order(x);
            let is_kept = key > kept_key || (key == kept_key && token < kept_end);
            // All bits above these four are those found before.
            if is_kept && ((key ^ prefix) >> shift) >> 4u32 == 0u32 {
                let bin = ((key >> shift) & 15u32) as usize;
                if comptime!(weighted) {
                    bins[bin * STEP + unit] += ((x - largest) * inverse_temperature).exp();
                } else {
                    bins[bin * STEP + unit] += 1.0;
                }
            }
            token += STEP;
        }
        sum_bins(scratch, bins);
        // Every unit walks down to the same digit, or where rounding leaves too little, to the last.
        let mut digit = 0u32;
        let mut beyond = above;
        let mut found = false;
        for i in 0..BINS {
            if !found {
                let bin = 15 - i;
                let sum = bin_sum(scratch, bin);
                digit = bin as u32;
                ties = sum;
                above = beyond;
                beyond += sum;
                found = beyond >= wanted;
            }
        }
        sync_cube();
        prefix |= digit << shift;
    }
    Threshold {
        key: max(prefix, kept_key),
        rest: wanted - above,
        ties,
    }
}

/// Leaves in `scratch` the sums of each bin over all units, sixteen to a bin.
#[cube]
fn sum_bins(scratch: &mut Shared<[f32]>, bins: &mut Shared<[f32]>) {
    sync_cube();
    let unit = UNIT_POS as usize;
    let (bin, part) = (unit / BINS, unit % BINS);
    let mut sum = 0.0f32;
    for i in 0..BINS {
        sum += bins[bin * STEP + i * BINS + part];
    }
    scratch[unit] = sum;
    sync_cube();
}

#[cube]
fn bin_sum(scratch: &mut Shared<[f32]>, bin: usize) -> f32 {
    let mut sum = 0.0f32;
    for part in 0..BINS {
        sum += scratch[bin * BINS + part];
    }
    sum
}

/// The weight of the kept tokens, those above a key and those equal to it below an id, in `sums` that of
/// each slice.
#[cube]
pub(super) fn kept_weights<F: Float>(
    logits: &[F],
    start: usize,
    vocab: usize,
    cap: f32,
    key: u32,
    end: usize,
    largest: f32,
    inverse_temperature: f32,
    scratch: &mut Shared<[f32]>,
    bins: &mut Shared<[f32]>,
    sums: &mut Shared<[f32]>,
    #[comptime] each: usize,
    #[comptime] capped: bool,
) -> f32 {
    let unit = UNIT_POS as usize;
    // Sixteen slices at a time.
    for group in 0..BINS {
        let first = group * comptime!(BINS * each * STEP);
        if first < vocab {
            for slice in 0..BINS {
                let mut mine = 0.0f32;
                for i in 0..each {
                    let token = first + (slice * each + i) * STEP + unit;
                    if token < vocab {
                        let x = logit::<F>(logits, start + token, cap, capped);
                        let other = order(x);
                        if other > key || (other == key && token < end) {
                            mine += ((x - largest) * inverse_temperature).exp();
                        }
                    }
                }
                bins[slice * STEP + unit] = mine;
            }
            sum_bins(scratch, bins);
            if unit < BINS {
                sums[group * BINS + unit] = bin_sum(scratch, unit);
            }
            sync_cube();
        } else if unit < BINS {
            sums[group * BINS + unit] = 0.0;
        }
    }
    sync_cube();
    let own = sums[unit];
    cube_sum(own, scratch, UNITS)
}

/// The end of the shortest run of ids whose tokens of this key are enough, at least one.
#[cube]
pub(super) fn first_of<F: Float>(
    logits: &[F],
    start: usize,
    limit: usize,
    cap: f32,
    key: u32,
    wanted: f32,
    #[comptime] weighted: bool,
    largest: f32,
    inverse_temperature: f32,
    scratch: &mut Shared<[f32]>,
    #[comptime] capped: bool,
) -> usize {
    // A run of `low` ids is too short, one of `high` ids is long enough or all there is.
    let mut low = 0usize;
    let mut high = limit;
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        let mut mine = 0.0f32;
        let mut token = UNIT_POS as usize;
        while token < middle {
            let x = logit::<F>(logits, start + token, cap, capped);
            if order(x) == key {
                if comptime!(weighted) {
                    mine += ((x - largest) * inverse_temperature).exp();
                } else {
                    mine += 1.0;
                }
            }
            token += STEP;
        }
        let sum = cube_sum(mine, scratch, UNITS);
        if sum >= wanted && sum > 0.0 {
            high = middle;
        } else {
            low = middle;
        }
    }
    high
}
