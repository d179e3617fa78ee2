//! Weights that are, or are not, those of the model in `config.json`.

use std::path::Path;

use super::{Scratch, assert_says, specs, tiny, values, write};
use crate::{
    checkpoint::{Checkpoint, Dtype, LoadReport, LoadWarning, TensorToWrite},
    config::ModelConfig,
    error::CheckpointError,
};

/// The tiny model's configuration with one key changed.
fn changed(key: &str, value: serde_json::Value) -> ModelConfig {
    let mut json = tiny().to_json();
    json[key] = value;
    ModelConfig::from_json(json.to_string().as_bytes(), Path::new("config.json")).unwrap()
}

/// Writes the tiny model's tensors after a change, and checks them against `config`.
fn check(
    config: &ModelConfig,
    change: impl FnOnce(&mut Vec<TensorToWrite>),
) -> Result<LoadReport, CheckpointError> {
    let dir = Scratch::new();
    let mut tensors = specs(&tiny().expected_tensors(), Dtype::Bfloat16);
    change(&mut tensors);
    write(&dir, config, &tensors, u64::MAX);
    Checkpoint::open(&*dir).unwrap().validate(config)
}

fn tensor(name: &str, shape: &[usize]) -> TensorToWrite {
    TensorToWrite {
        name: name.into(),
        shape: shape.to_vec(),
        dtype: Dtype::Bfloat16,
    }
}

#[test]
fn a_checkpoint_that_fits_is_reported_with_its_size() {
    let report = check(&tiny(), |_| ()).unwrap();
    assert_eq!(report.num_parameters, tiny().num_parameters());
    assert_eq!(report.dtype, Dtype::Bfloat16);
    assert!(report.warnings.is_empty() && report.vision.is_empty());
}

#[test]
fn a_wrong_size_in_config_json_is_named_with_both_shapes() {
    let error = check(&changed("hidden_size", 23.into()), |_| ()).unwrap_err();
    assert_says(
        &error,
        &[
            "`model.embed_tokens.weight` in model.safetensors has shape [40, 24], config.json asks for [40, 23]",
            "more",
            "hint:",
        ],
    );
    let error = check(&changed("vocab_size", 5000.into()), |_| ()).unwrap_err();
    assert_says(&error, &["[40, 24]", "[5000, 24]"]);
    assert!(!error.to_string().contains("more"));
}

#[test]
fn a_missing_tensor_is_named_with_its_shape() {
    let error = check(&tiny(), |tensors| {
        tensors.retain(|t| t.name != "model.layers.1.mlp.gate_proj.weight");
    });
    assert_says(
        &error.unwrap_err(),
        &["`model.layers.1.mlp.gate_proj.weight` of shape [30, 24] is missing"],
    );
}

#[test]
fn an_untied_model_needs_its_head() {
    let config = changed("tie_word_embeddings", false.into());
    assert_says(
        &check(&config, |_| ()).unwrap_err(),
        &["`lm_head.weight` of shape [40, 24] is missing"],
    );
    let report = check(&config, |tensors| {
        tensors.push(tensor("lm_head.weight", &[40, 24]))
    })
    .unwrap();
    assert_eq!(report.num_parameters, tiny().num_parameters() + 40 * 24);
}

#[test]
fn a_tied_model_may_store_its_head_too_and_is_warned_of_another() {
    let report = check(&tiny(), |tensors| {
        tensors.push(tensor("lm_head.weight", &[40, 24]))
    })
    .unwrap();
    let [warning @ LoadWarning::TiedHeadDiffers { name }] = &report.warnings[..] else {
        panic!("{:?}", report.warnings);
    };
    assert_eq!(name, "lm_head.weight");
    assert!(warning.to_string().contains("tie_word_embeddings"));
}

#[test]
fn a_head_equal_to_its_tied_embedding_is_no_matter() {
    let dir = Scratch::new();
    let embedding = values("both", 40 * 24);
    let mut tensors: Vec<(String, Vec<usize>, Vec<f32>)> = tiny()
        .expected_tensors()
        .into_iter()
        .map(|t| {
            (
                t.name.clone(),
                t.shape.clone(),
                values(&t.name, t.num_elements()),
            )
        })
        .collect();
    tensors[0].2.clone_from(&embedding);
    tensors.push(("lm_head.weight".into(), vec![40, 24], embedding.clone()));
    let borrowed: Vec<_> = tensors
        .iter()
        .map(|(n, s, v)| (n.as_str(), &s[..], &v[..]))
        .collect();
    crate::checkpoint::write_tensors(&dir.join("model.safetensors"), &borrowed).unwrap();
    let checkpoint = Checkpoint::open(&*dir).unwrap();
    assert_eq!(checkpoint.validate(&tiny()).unwrap().warnings, []);

    // safetensors' own `save_model` keeps the first name of a shared tensor, which is the head.
    let dir = Scratch::new();
    crate::checkpoint::write_tensors(&dir.join("model.safetensors"), &borrowed[1..]).unwrap();
    let checkpoint = Checkpoint::open(&*dir).unwrap();
    assert_eq!(checkpoint.validate(&tiny()).unwrap().warnings, []);
    assert_eq!(
        checkpoint.read_f32("model.embed_tokens.weight").unwrap(),
        embedding
    );
    let untied = changed("tie_word_embeddings", false.into());
    let error = checkpoint.validate(&untied).unwrap_err();
    assert_says(
        &error,
        &["`model.embed_tokens.weight` of shape [40, 24] is missing"],
    );
}

#[test]
fn unknown_tensors_are_listed_and_computed_buffers_are_not() {
    let report = check(&tiny(), |tensors| {
        tensors.push(tensor("model.layers.0.self_attn.rotary_emb.inv_freq", &[3]));
        for i in 0..5 {
            tensors.push(tensor(&format!("extra.{i}"), &[1]));
        }
    })
    .unwrap();
    let [warning @ LoadWarning::UnknownTensors { names }] = &report.warnings[..] else {
        panic!("{:?}", report.warnings);
    };
    assert_eq!(names.len(), 5);
    assert!(
        warning
            .to_string()
            .ends_with("`extra.0`, `extra.1`, `extra.2` and 2 more")
    );
}

#[test]
fn a_tensor_of_integers_where_weights_belong_is_named() {
    let dir = Scratch::new();
    let mut offset = 0;
    let mut header = serde_json::Map::new();
    for spec in tiny().expected_tensors() {
        let end = offset + spec.num_elements();
        header.insert(
            spec.name,
            serde_json::json!({"dtype": "I8", "shape": spec.shape, "data_offsets": [offset, end]}),
        );
        offset = end;
    }
    let header = serde_json::to_vec(&header).unwrap();
    let file = [
        &(header.len() as u64).to_le_bytes()[..],
        &header,
        &vec![0; offset],
    ]
    .concat();
    std::fs::write(dir.join("model.safetensors"), file).unwrap();
    let error = Checkpoint::open(&*dir)
        .unwrap()
        .validate(&tiny())
        .unwrap_err();
    assert_says(
        &error,
        &["`model.embed_tokens.weight` in model.safetensors is I8, expected one of F32, BF16"],
    );
}
