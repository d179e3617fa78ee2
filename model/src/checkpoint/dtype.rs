//! Kinds of number a checkpoint holds, and their conversion to and from f32.

use half::{bf16, f16};
use safetensors::Dtype as SafetensorsDtype;

/// A kind of number that weights are stored in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dtype {
    /// IEEE 754 single precision.
    Float32,
    /// The upper half of a `Float32`.
    Bfloat16,
    /// IEEE 754 half precision.
    Float16,
    /// IEEE 754 double precision.
    Float64,
}

impl Dtype {
    /// The largest relative error of rounding to it.
    pub(crate) fn roundoff(self) -> f64 {
        let significant_bits = match self {
            Dtype::Float64 => 53,
            Dtype::Float32 => 24,
            Dtype::Float16 => 11,
            Dtype::Bfloat16 => 8,
        };
        0.5f64.powi(significant_bits)
    }

    /// What safetensors calls them all, for errors.
    pub(crate) const SAFETENSORS_NAMES: &str = "F32, BF16, F16, F64";

    /// Bytes of one value.
    #[must_use]
    pub fn num_bytes(self) -> usize {
        match self {
            Self::Float32 => 4,
            Self::Bfloat16 | Self::Float16 => 2,
            Self::Float64 => 8,
        }
    }

    /// Its name in `config.json`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Float32 => "float32",
            Self::Bfloat16 => "bfloat16",
            Self::Float16 => "float16",
            Self::Float64 => "float64",
        }
    }

    /// The dtype of a name in `config.json`, with or without `torch.` before it.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        let name = name.strip_prefix("torch.").unwrap_or(name);
        [Self::Float32, Self::Bfloat16, Self::Float16, Self::Float64]
            .into_iter()
            .find(|dtype| dtype.name() == name)
    }

    /// The nearest value that this dtype has; a tie goes to the even one.
    #[must_use]
    pub fn round(self, value: f64) -> f32 {
        match self {
            Self::Float32 | Self::Float64 => value as f32,
            Self::Bfloat16 => bf16::from_f64(value).to_f32(),
            Self::Float16 => f16::from_f64(value).to_f32(),
        }
    }

    pub(super) fn to_safetensors(self) -> SafetensorsDtype {
        match self {
            Self::Float32 => SafetensorsDtype::F32,
            Self::Bfloat16 => SafetensorsDtype::BF16,
            Self::Float16 => SafetensorsDtype::F16,
            Self::Float64 => SafetensorsDtype::F64,
        }
    }

    pub(super) fn from_safetensors(dtype: SafetensorsDtype) -> Option<Self> {
        match dtype {
            SafetensorsDtype::F32 => Some(Self::Float32),
            SafetensorsDtype::BF16 => Some(Self::Bfloat16),
            SafetensorsDtype::F16 => Some(Self::Float16),
            SafetensorsDtype::F64 => Some(Self::Float64),
            _ => None,
        }
    }

    /// Little-endian bytes of this dtype to f32, which only `Float64` can lose precision in.
    pub(super) fn decode(self, bytes: &[u8], values: &mut [f32]) {
        assert_eq!(bytes.len(), values.len() * self.num_bytes());
        match self {
            Self::Float32 => decode_each(bytes, values, f32::from_le_bytes),
            Self::Bfloat16 => decode_each(bytes, values, |b| bf16::from_le_bytes(b).to_f32()),
            Self::Float16 => decode_each(bytes, values, |b| f16::from_le_bytes(b).to_f32()),
            Self::Float64 => decode_each(bytes, values, |b| f64::from_le_bytes(b) as f32),
        }
    }

    /// f32 to little-endian bytes of this dtype, rounded to the nearest value, a tie to the even
    /// one.
    pub(super) fn encode(self, values: &[f32], bytes: &mut [u8]) {
        assert_eq!(bytes.len(), values.len() * self.num_bytes());
        match self {
            Self::Float32 => encode_each(values, bytes, f32::to_le_bytes),
            Self::Bfloat16 => encode_each(values, bytes, |v| bf16::from_f32(v).to_le_bytes()),
            Self::Float16 => encode_each(values, bytes, |v| f16::from_f32(v).to_le_bytes()),
            Self::Float64 => encode_each(values, bytes, |v| f64::from(v).to_le_bytes()),
        }
    }
}

fn decode_each<const N: usize>(bytes: &[u8], values: &mut [f32], decode: impl Fn([u8; N]) -> f32) {
    let (chunks, _) = bytes.as_chunks::<N>();
    for (value, chunk) in values.iter_mut().zip(chunks) {
        *value = decode(*chunk);
    }
}

fn encode_each<const N: usize>(values: &[f32], bytes: &mut [u8], encode: impl Fn(f32) -> [u8; N]) {
    let (chunks, _) = bytes.as_chunks_mut::<N>();
    for (value, chunk) in values.iter().zip(chunks) {
        *chunk = encode(*value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Dtype; 4] = [
        Dtype::Float32,
        Dtype::Bfloat16,
        Dtype::Float16,
        Dtype::Float64,
    ];

    fn round_trip(dtype: Dtype, values: &[f32]) -> Vec<f32> {
        let mut bytes = vec![0; values.len() * dtype.num_bytes()];
        dtype.encode(values, &mut bytes);
        let mut back = vec![0.0; values.len()];
        dtype.decode(&bytes, &mut back);
        back
    }

    #[test]
    fn small_integers_infinities_and_signed_zeros_survive_every_dtype() {
        let values = [
            0.0,
            -0.0,
            1.0,
            -2.5,
            255.0,
            f32::INFINITY,
            f32::NEG_INFINITY,
        ];
        for dtype in ALL {
            let back = round_trip(dtype, &values);
            assert!(
                values
                    .iter()
                    .zip(&back)
                    .all(|(a, b)| a.to_bits() == b.to_bits())
            );
            assert!(round_trip(dtype, &[f32::NAN])[0].is_nan());
        }
    }

    #[test]
    fn every_f32_bit_pattern_kind_survives_float32_and_float64() {
        let values: Vec<f32> = (0..u32::MAX).step_by(65_537).map(f32::from_bits).collect();
        for dtype in [Dtype::Float32, Dtype::Float64] {
            let back = round_trip(dtype, &values);
            let same =
                |(a, b): (&f32, &f32)| a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan();
            assert!(values.iter().zip(&back).all(same));
        }
    }

    #[test]
    fn ties_round_to_the_even_neighbour() {
        // bfloat16 has 8 bits of precision: between 256 and 512 it holds even numbers, so odd ones
        // are ties.
        assert_eq!(
            round_trip(Dtype::Bfloat16, &[257.0, 259.0, 257.1]),
            [256.0, 260.0, 258.0]
        );
        // float16 has 11: between 2048 and 4096 likewise.
        assert_eq!(
            round_trip(Dtype::Float16, &[2049.0, 2051.0]),
            [2048.0, 2052.0]
        );
        assert_eq!(round_trip(Dtype::Float16, &[65_520.0]), [f32::INFINITY]);
    }

    #[test]
    fn names_are_those_of_config_json() {
        for dtype in ALL {
            assert_eq!(Dtype::from_name(dtype.name()), Some(dtype));
            assert_eq!(Dtype::from_safetensors(dtype.to_safetensors()), Some(dtype));
        }
        assert_eq!(Dtype::from_name("torch.bfloat16"), Some(Dtype::Bfloat16));
        assert_eq!(Dtype::from_name("int8"), None);
    }
}
