use std::sync::{Arc, Mutex};

use burn::tensor::{Device, Tensor, TensorData};
#[cfg(feature = "cube")]
use burn_cubecl::tensor::CubeTensor;

/// The cosines and sines of one θ, made for as many positions as were asked for so far.
#[derive(Debug)]
pub struct Rotary {
    inverse_frequencies: Vec<f32>,
    angles: Mutex<Arc<Angles>>,
}

#[derive(Debug, Default)]
struct Angles {
    /// `[position][rotary_dim / 2]`.
    cos: Vec<f32>,
    sin: Vec<f32>,
}

impl Rotary {
    /// For the first `rotary_dim` values of a head. `factor` divides every frequency (Hugging Face's `linear` scaling); 1 for none. Frequencies
    /// and angles are float32, as in transformers.
    pub fn new(rotary_dim: usize, theta: f64, factor: f64) -> Self {
        assert!(
            rotary_dim.is_multiple_of(2),
            "{rotary_dim} values make no pairs"
        );
        let inverse_frequencies = (0..rotary_dim / 2)
            .map(|i| {
                let exponent = (2 * i) as f32 / rotary_dim as f32;
                1.0 / (theta as f32).powf(exponent) / factor as f32
            })
            .collect();
        Rotary {
            inverse_frequencies,
            angles: Mutex::default(),
        }
    }

    /// The table for one row of tokens.
    pub fn table(&self, positions: Arc<[u32]>) -> RotaryTable {
        let needed = positions.iter().max().map_or(0, |&last| last as usize + 1);
        let mut angles = self.angles.lock().expect("no holder of the table panics");
        let half = self.inverse_frequencies.len();
        if angles.cos.len() < needed * half {
            *angles = Arc::new(self.angles(needed.next_power_of_two()));
        }
        RotaryTable(Arc::new(Inner {
            positions,
            half,
            angles: angles.clone(),
            on_device: Mutex::default(),
            #[cfg(feature = "cube")]
            interleaved: Mutex::default(),
        }))
    }

    fn angles(&self, positions: usize) -> Angles {
        let mut angles = Angles::default();
        for position in 0..positions {
            for frequency in &self.inverse_frequencies {
                let angle = position as f32 * frequency;
                angles.cos.push(angle.cos());
                angles.sin.push(angle.sin());
            }
        }
        angles
    }
}

/// Cosines and sines for the tokens of one row. Cheap to clone.
#[derive(Clone, Debug)]
pub struct RotaryTable(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    positions: Arc<[u32]>,
    half: usize,
    angles: Arc<Angles>,
    /// What the reference path reads: made once a row and device, kept for all layers.
    on_device: Mutex<Vec<(Device, [Tensor<3>; 2])>>,
    /// What a GPU's kernel reads.
    #[cfg(feature = "cube")]
    interleaved: Mutex<Vec<CubeTensor>>,
}

impl RotaryTable {
    /// The positions of the row's tokens.
    pub fn positions(&self) -> &[u32] {
        &self.0.positions
    }

    /// Values of a head that turn.
    pub fn rotary_dim(&self) -> usize {
        2 * self.0.half
    }

    /// The cosines and sines of a position, `rotary_dim / 2` each.
    pub(crate) fn at(&self, position: u32) -> (&[f32], &[f32]) {
        let start = position as usize * self.0.half;
        let range = start..start + self.0.half;
        (&self.0.angles.cos[range.clone()], &self.0.angles.sin[range])
    }

    /// `[tokens, 2, rotary_dim / 2]`, cosines and then sines, on the device of a tensor.
    #[cfg(feature = "cube")]
    pub(crate) fn interleaved(&self, like: &CubeTensor) -> CubeTensor {
        let mut tables = self.0.interleaved.lock().expect("no holder panics");
        if let Some(table) = tables.iter().find(|table| table.device == like.device) {
            return table.clone();
        }
        let mut angles = Vec::with_capacity(self.0.positions.len() * self.rotary_dim());
        for &position in self.0.positions.iter() {
            let (cos, sin) = self.at(position);
            angles.extend_from_slice(cos);
            angles.extend_from_slice(sin);
        }
        let table = crate::cube::tensor(like, &angles, [self.0.positions.len(), 2, self.0.half]);
        tables.push(table.clone());
        table
    }

    /// `[tokens, 1, rotary_dim / 2]` each.
    pub(crate) fn on_device(&self, device: &Device) -> [Tensor<3>; 2] {
        let mut tables = self.0.on_device.lock().expect("no holder panics");
        if let Some((_, tables)) = tables.iter().find(|(other, _)| other == device) {
            return tables.clone();
        }
        let shape = [self.0.positions.len(), 1, self.0.half];
        let (mut all_cos, mut all_sin) = (Vec::new(), Vec::new());
        for &position in self.0.positions.iter() {
            let (cos, sin) = self.at(position);
            all_cos.extend_from_slice(cos);
            all_sin.extend_from_slice(sin);
        }
        let both = [all_cos, all_sin]
            .map(|values| Tensor::from_data(TensorData::new(values, shape), device));
        tables.push((device.clone(), both.clone()));
        both
    }
}
