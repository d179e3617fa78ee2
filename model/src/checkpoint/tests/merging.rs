//! The weighted sum of checkpoints.

use std::borrow::Cow;
use std::path::Path;

use half::bf16;

use super::{Scratch, specs, tiny, values, write};
use crate::checkpoint::{Checkpoint, Dtype, Merge, TensorData, TensorToWrite, write_checkpoint};
use crate::config::{Gemma2Shape, ModelConfig};
use crate::error::{CheckpointError, Error};

/// Another checkpoint of the tiny model, with values that need all bits of a float32.
fn write_other(dir: &Path, dtype: Dtype) {
    let tensors = specs(&tiny().expected_tensors(), dtype);
    write_checkpoint(dir, tiny().raw(), &tensors, u64::MAX, |tensor| {
        Ok::<_, CheckpointError>(TensorData::Float32(Cow::Owned(other_values(tensor))))
    })
    .unwrap();
}

fn other_values(tensor: &TensorToWrite) -> Vec<f32> {
    let values = values(&tensor.name, tensor.shape.iter().product());
    values.iter().map(|value| (value + 0.1) / 3.0).collect()
}

/// The two checkpoints and the folder of their merge.
struct Pair {
    a: Scratch,
    b: Scratch,
    merged: Scratch,
}

impl Pair {
    fn new(a_dtype: Dtype, b_dtype: Dtype) -> Self {
        let pair = Pair {
            a: Scratch::new(),
            b: Scratch::new(),
            merged: Scratch::new(),
        };
        let tensors = specs(&tiny().expected_tensors(), a_dtype);
        write(&pair.a, &tiny(), &tensors, u64::MAX);
        write_other(&pair.b, b_dtype);
        pair
    }

    fn merge(&self, weights: [f32; 2]) -> Checkpoint {
        let merge = Merge::open(&[&*self.a, &*self.b]).unwrap();
        merge.write(&self.merged, &weights, u64::MAX).unwrap();
        Checkpoint::open(&*self.merged).unwrap()
    }
}

/// Calls `check` with each name and its values in the first, the second and the merged checkpoint.
fn for_each(pair: &Pair, merged: &Checkpoint, check: impl Fn(&str, &[f32], &[f32], &[f32])) {
    let [a, b] = [&pair.a, &pair.b].map(|dir| Checkpoint::open(&**dir).unwrap());
    let names: Vec<&str> = a.names().collect();
    assert_eq!(names, merged.names().collect::<Vec<_>>());
    for name in names {
        let read = |checkpoint: &Checkpoint| checkpoint.read_f32(name).unwrap();
        check(name, &read(&a), &read(&b), &read(merged));
    }
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

#[test]
fn a_weight_of_0_gives_the_first_models_bytes_whatever_the_other_holds() {
    for dtype in [Dtype::Float32, Dtype::Bfloat16, Dtype::Float64] {
        let pair = Pair::new(dtype, Dtype::Float32);
        let merged = pair.merge([1.0, 0.0]);
        let a = Checkpoint::open(&*pair.a).unwrap();
        for name in a.names() {
            let [kept, first] = [&merged, &a].map(|c| c.tensor(name).unwrap());
            assert_eq!((kept.dtype, kept.bytes), (first.dtype, first.bytes));
        }
        let config = |dir: &Path| std::fs::read(dir.join("config.json")).unwrap();
        assert_eq!(config(&pair.merged), config(&pair.a));
    }
}

#[test]
fn a_weight_of_1_gives_the_other_models_values_in_the_first_models_dtype() {
    let pair = Pair::new(Dtype::Float32, Dtype::Bfloat16);
    for_each(&pair, &pair.merge([0.0, 1.0]), |name, _, b, merged| {
        assert_eq!(bits(b), bits(merged), "{name}");
    });
    let pair = Pair::new(Dtype::Bfloat16, Dtype::Float32);
    let merged = pair.merge([0.0, 1.0]);
    assert_eq!(merged.dtype(), Some(Dtype::Bfloat16));
    for_each(&pair, &merged, |name, _, b, merged| {
        let rounded: Vec<f32> = b.iter().map(|b| bf16::from_f32(*b).to_f32()).collect();
        assert_eq!(bits(&rounded), bits(merged), "{name}");
    });
}

#[test]
fn a_half_is_the_mean() {
    let pair = Pair::new(Dtype::Float32, Dtype::Float32);
    for_each(&pair, &pair.merge([0.5, 0.5]), |name, a, b, merged| {
        let mean = a.iter().zip(b).map(|(a, b)| 0.5 * a + 0.5 * b);
        assert_eq!(bits(&mean.collect::<Vec<_>>()), bits(merged), "{name}");
    });
}

#[test]
fn a_sum_is_taken_in_float32_and_rounded_to_bfloat16_once() {
    let pair = Pair::new(Dtype::Bfloat16, Dtype::Float32);
    for_each(&pair, &pair.merge([0.7, 0.3]), |name, a, b, merged| {
        let sum = a.iter().zip(b).map(|(a, b)| 0.7 * a + 0.3 * b);
        let rounded: Vec<f32> = sum.map(|sum| bf16::from_f32(sum).to_f32()).collect();
        assert_eq!(bits(&rounded), bits(merged), "{name}");
    });
}

#[test]
fn shards_of_either_side_do_not_change_the_sum() {
    let pair = Pair::new(Dtype::Bfloat16, Dtype::Float32);
    let whole = pair.merge([0.7, 0.3]);
    let (sharded_a, into) = (Scratch::new(), Scratch::new());
    let tensors = specs(&tiny().expected_tensors(), Dtype::Bfloat16);
    assert!(write(&sharded_a, &tiny(), &tensors, 4000).files.len() > 3);
    let merge = Merge::open(&[&*sharded_a, &*pair.b]).unwrap();
    let written = merge.write(&into, &[0.7, 0.3], 4000).unwrap();
    assert!(written.files.len() > 3, "{written:?}");
    let sharded = Checkpoint::open(&*into).unwrap();
    for name in whole.names() {
        let [a, b] = [&whole, &sharded].map(|c| c.tensor(name).unwrap().bytes);
        assert!(a == b, "{name}");
    }
}

#[test]
fn three_models_add_up_and_a_weight_of_0_keeps_a_nan_out() {
    let pair = Pair::new(Dtype::Float32, Dtype::Float32);
    let nan = Scratch::new();
    let tensors = specs(&tiny().expected_tensors(), Dtype::Float32);
    write_checkpoint(&nan, tiny().raw(), &tensors, u64::MAX, |tensor| {
        let values = vec![f32::NAN; tensor.shape.iter().product()];
        Ok::<_, CheckpointError>(TensorData::Float32(Cow::Owned(values)))
    })
    .unwrap();
    let merge = Merge::open(&[&*pair.a, &*nan, &*pair.b]).unwrap();
    merge
        .write(&pair.merged, &[0.25, 0.0, 0.75], u64::MAX)
        .unwrap();
    let merged = Checkpoint::open(&*pair.merged).unwrap();
    for_each(&pair, &merged, |name, a, b, merged| {
        let sum = a.iter().zip(b).map(|(a, b)| 0.25 * a + 0.75 * b);
        assert_eq!(bits(&sum.collect::<Vec<_>>()), bits(merged), "{name}");
    });
}

#[test]
fn tensors_beside_the_decoder_are_the_first_models() {
    let (a, b, into) = (Scratch::new(), Scratch::new(), Scratch::new());
    let vision = TensorToWrite {
        name: "vision_tower.patch.weight".into(),
        shape: vec![3],
        dtype: Dtype::Bfloat16,
    };
    let mut tensors = specs(&tiny().expected_tensors(), Dtype::Bfloat16);
    for tensor in &mut tensors {
        let name = tensor.name.strip_prefix("model.").unwrap();
        tensor.name = format!("language_model.model.{name}");
    }
    tensors.push(vision);
    write(&a, &tiny(), &tensors, u64::MAX);
    write_other(&b, Dtype::Float32);
    let merge = Merge::open(&[&*a, &*b]).unwrap();
    merge.write(&into, &[0.5, 0.5], u64::MAX).unwrap();
    let [first, merged] = [&a, &into].map(|dir| Checkpoint::open(&**dir).unwrap());
    let name = "vision_tower.patch.weight";
    let [kept, was] = [&merged, &first].map(|c| c.tensor(name).unwrap().bytes);
    assert_eq!(kept, was);
    assert_eq!(
        merged.stored_name("model.norm.weight"),
        Some("language_model.model.norm.weight")
    );
}

#[track_caller]
fn refused(b: &Path, words: &[&str]) {
    let a = Scratch::new();
    let tensors = specs(&tiny().expected_tensors(), Dtype::Bfloat16);
    write(&a, &tiny(), &tensors, u64::MAX);
    let error = Merge::open(&[&*a, b]).unwrap_err();
    assert!(matches!(error, Error::Merge(_)), "{error}");
    let message = error.to_string();
    for word in words {
        assert!(message.contains(word), "{word:?} is not in: {message}");
    }
}

#[test]
fn other_shapes_names_and_keys_are_refused_by_name() {
    let wider = Gemma2Shape {
        vocab_size: 41,
        hidden_size: 24,
        intermediate_size: 30,
        num_hidden_layers: 2,
        head_dim: 6,
        ..Gemma2Shape::default()
    };
    let wider = ModelConfig::demo_gemma2(&wider).unwrap();
    let dir = Scratch::new();
    let tensors = specs(&wider.expected_tensors(), Dtype::Bfloat16);
    write(&dir, &wider, &tensors, u64::MAX);
    refused(
        &dir,
        &["`model.embed_tokens.weight`", "[40, 24]", "[41, 24]"],
    );

    let dir = Scratch::new();
    let mut tensors = specs(&tiny().expected_tensors(), Dtype::Bfloat16);
    tensors.push(TensorToWrite {
        name: "model.extra.weight".into(),
        shape: vec![2],
        dtype: Dtype::Bfloat16,
    });
    write(&dir, &tiny(), &tensors, u64::MAX);
    refused(&dir, &["the first has no tensor `model.extra.weight`"]);

    let dir = Scratch::new();
    let mut json = tiny().to_json();
    json["attn_logit_softcapping"] = serde_json::json!(20.0);
    let capped = json.to_string();
    let capped = ModelConfig::from_json(capped.as_bytes(), Path::new("config.json")).unwrap();
    let tensors = specs(&tiny().expected_tensors(), Dtype::Bfloat16);
    write(&dir, &capped, &tensors, u64::MAX);
    refused(&dir, &["attn_logit_softcapping", "Some(20.0)"]);
}
