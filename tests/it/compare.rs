//! `trainer compare`: that sides which compute the same agree, and that a real difference and a NaN
//! are found where they are.

use std::process::{Command, Output};

use burn::tensor::DType;
use datasets::{SupervisedTokens, TokenBatch};
use kernels::KernelSet;
use model::CausalLm;
use trainer::compare::{Block, Direction, Side, compare, first_diverging, first_nonfinite};

use crate::checkpoints::scratch;
use crate::{devices, golden};

fn batch() -> TokenBatch {
    let document = |range: std::ops::Range<u32>| SupervisedTokens::document(range.collect());
    TokenBatch::from_sequences(&[document(5..40), document(60..71)])
}

/// A golden model on a device, some of its parameters changed.
fn side(
    family: &str,
    device: &burn::tensor::Device,
    kernels: KernelSet,
    change: impl Fn(&str, &mut Vec<f32>),
) -> Side {
    let dir = golden::model_dir(family);
    let device = device.clone().autodiff();
    let (model, _) = CausalLm::load(&dir, &device, DType::F32).expect("the golden model loads");
    let parameters = model.parameters();
    let model = model.with_parameters(|name| {
        let mut values = model::host_values(parameters[name].clone());
        change(name, &mut values);
        Ok::<_, model::Error>(values)
    });
    Side {
        name: format!("{family}/{kernels}"),
        model: model.expect("every parameter is there"),
        kernels,
    }
}

#[test]
fn sides_that_compute_the_same_agree() {
    for (device_name, device) in devices::all() {
        for family in golden::FAMILIES {
            let cpu = burn::tensor::Device::flex();
            let a = side(family, &cpu, KernelSet::Reference, |_, _| {});
            let b = side(family, &device, KernelSet::Fused, |_, _| {});
            let rows = compare([&a, &b], &batch(), &|_, _| {});
            let layers = a.model.config().num_hidden_layers;
            assert!(rows.len() > 8 * layers, "{} rows", rows.len());
            let first = first_diverging(&rows);
            assert!(first.is_none(), "{family} on {device_name}: {first:?}");
        }
    }
}

#[test]
fn a_changed_weight_is_found_in_its_layer_and_part() {
    let device = burn::tensor::Device::flex();
    let a = side("gemma2", &device, KernelSet::Fused, |_, _| {});
    let b = side("gemma2", &device, KernelSet::Fused, |name, values| {
        if name == "model.layers.1.mlp.down_proj.weight" {
            values[3] += 0.05;
        }
    });
    let rows = compare([&a, &b], &batch(), &|_, _| {});
    let first = first_diverging(&rows).expect("it differs");
    assert_eq!(
        (first.direction, first.block, &*first.name),
        (Direction::Forward, Block::Layer(1), "mlp")
    );
}

#[test]
fn a_nan_in_a_weight_is_found_where_it_first_shows() {
    let device = burn::tensor::Device::flex();
    let sound = side("qwen3", &device, KernelSet::Fused, |_, _| {});
    assert_eq!(first_nonfinite(&sound, &batch(), &|_, _| {}), None);
    let broken = side("qwen3", &device, KernelSet::Fused, |name, values| {
        if name == "model.layers.1.mlp.up_proj.weight" {
            values[0] = f32::NAN;
        }
    });
    let found = first_nonfinite(&broken, &batch(), &|_, _| {}).expect("a NaN");
    assert_eq!(
        (found.direction, found.block, &*found.name),
        (Direction::Forward, Block::Layer(1), "gated")
    );
}

#[test]
fn the_command_says_which_sides_and_exits_by_what_it_found() {
    let dir = scratch("compare");
    let data = dir.join("texts.jsonl");
    let texts = "{\"text\": \"tower river house\"}\n{\"text\": \"one two\"}\n";
    std::fs::write(&data, texts).expect("the folder is writable");
    let run = |options: &[&str]| -> Output {
        Command::new(env!("CARGO_BIN_EXE_trainer"))
            .arg("compare")
            .arg("--model")
            .arg(golden::model_dir("gemma3"))
            .arg("--data")
            .arg(&data)
            .args(options)
            .output()
            .expect("the program starts")
    };
    let same = run(&["--a", "reference", "--b", "fused", "--device", "cpu"]);
    let stdout = String::from_utf8_lossy(&same.stdout);
    assert_eq!(same.status.code(), Some(0), "{stdout}");
    assert!(
        stdout.contains("cpu/reference and cpu/fused agree"),
        "{stdout}"
    );
    assert!(
        stdout.contains("layer 0") && stdout.contains("q_proj.weight"),
        "{stdout}"
    );

    // Two tokens: attention has one key, and the gradients of q and k are zero but for rounding.
    let short = run(&[
        "--a",
        "reference",
        "--b",
        "fused",
        "--device",
        "cpu",
        "--max-tokens",
        "2",
    ]);
    let stdout = String::from_utf8_lossy(&short.stdout);
    assert_eq!(short.status.code(), Some(0), "{stdout}");

    let finite = run(&["--nan", "--device", "cpu"]);
    assert_eq!(finite.status.code(), Some(0));

    for (options, word) in [
        (&["--a", "cpu", "--b", "cpu"][..], "hint"),
        (&["--a", "cpu", "--b", "tpu"], "`tpu`"),
        (&["--a", "cpu"], "--b"),
    ] {
        let wrong = run(options);
        let stderr = String::from_utf8_lossy(&wrong.stderr);
        assert_eq!(wrong.status.code(), Some(2), "{options:?}: {stderr}");
        assert!(stderr.contains(word), "{options:?}: {stderr}");
    }
}
