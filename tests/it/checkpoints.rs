//! A checkpoint that is saved is the one that was loaded.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use burn::tensor::{DType, Device};
use model::checkpoint::{Checkpoint, Dtype};
use model::{CausalLm, host_values};

use crate::golden;

/// A folder of this test's own, empty.
pub fn scratch(name: &str) -> PathBuf {
    let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    if dir.exists() {
        std::fs::remove_dir_all(&dir).expect("the test's own folder can be removed");
    }
    std::fs::create_dir_all(&dir).expect("the target folder is writable");
    dir
}

fn loaded(dir: &Path) -> CausalLm {
    CausalLm::load(dir, &Device::flex(), DType::F32)
        .expect("the model loads")
        .0
}

#[test]
fn every_tensor_survives_saving_in_the_dtype_of_its_source() {
    for family in golden::FAMILIES {
        let source = Checkpoint::open(golden::model_dir(family)).expect("it opens");
        let dtype = source.dtype().expect("one dtype");
        let dir = scratch(&format!("save-{family}"));
        loaded(&golden::model_dir(family))
            .save(&dir, dtype)
            .expect("it saves");
        let saved = Checkpoint::open(&dir).expect("it opens");
        let names = |checkpoint: &Checkpoint| -> BTreeSet<String> {
            checkpoint.names().map(str::to_owned).collect()
        };
        assert_eq!(names(&saved), names(&source), "{family}");
        for name in names(&source) {
            let tensors = [&source, &saved].map(|c| c.tensor(&name).expect("it is there"));
            assert_eq!(tensors[0].bytes, tensors[1].bytes, "{family}: {name}");
        }
        let config = |dir: &Path| std::fs::read(dir.join("config.json")).expect("a config");
        assert_eq!(config(&dir), config(&golden::model_dir(family)), "{family}");
    }
    assert_eq!(
        Checkpoint::open(golden::model_dir("gemma3"))
            .expect("it opens")
            .dtype(),
        Some(Dtype::Bfloat16),
        "one of the families is stored in another dtype than it computes in"
    );
}

#[test]
fn parameters_carry_the_names_and_sizes_of_the_checkpoint() {
    for family in golden::FAMILIES {
        let model = loaded(&golden::model_dir(family));
        let parameters = model.parameters();
        let expected = model.config().expected_tensors();
        assert_eq!(parameters.len(), expected.len(), "{family}");
        for tensor in expected {
            let parameter = parameters.get(&tensor.name);
            let parameter = parameter.unwrap_or_else(|| panic!("{family}: {}", tensor.name));
            assert_eq!(parameter.dims(), [tensor.num_elements()], "{}", tensor.name);
        }
    }
}

#[test]
fn replacing_parameters_by_themselves_changes_nothing() {
    let model = loaded(&golden::model_dir("qwen3"));
    let before = model.parameters();
    let same = model
        .with_parameters(|name| Ok::<_, ()>(host_values(before[name].clone())))
        .expect("every name is known");
    for (name, tensor) in same.parameters() {
        assert_eq!(
            host_values(tensor),
            host_values(before[&name].clone()),
            "{name}"
        );
    }
}
