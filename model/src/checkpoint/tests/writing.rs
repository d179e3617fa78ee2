//! What is written is read back, in every dtype, in one file and in many.

use std::{borrow::Cow, fs};

use super::{Scratch, assert_says, specs, tiny, values, write};
use crate::{
    checkpoint::{
        Checkpoint, DEFAULT_MAX_SHARD_BYTES, Dtype, TensorData, TensorFile, TensorToWrite,
        read_tensors, write_checkpoint, write_tensor_file, write_tensors,
    },
    error::CheckpointError,
};

#[test]
fn every_dtype_is_read_back_as_written() {
    let config = tiny();
    for dtype in [
        Dtype::Float32,
        Dtype::Bfloat16,
        Dtype::Float16,
        Dtype::Float64,
    ] {
        let dir = Scratch::new();
        let written = write(
            &dir,
            &config,
            &specs(&config.expected_tensors(), dtype),
            DEFAULT_MAX_SHARD_BYTES,
        );
        assert_eq!(
            written.files,
            [dir.join("config.json"), dir.join("model.safetensors")]
        );
        assert_eq!(
            written.total_size,
            config.num_parameters() * dtype.num_bytes() as u64
        );
        let checkpoint = Checkpoint::open(&*dir).unwrap();
        assert_eq!(checkpoint.dtype(), Some(dtype));
        for spec in config.expected_tensors() {
            let tensor = checkpoint.tensor(&spec.name).unwrap();
            assert_eq!((tensor.dtype, tensor.shape), (dtype, &spec.shape[..]));
            let expected = values(&spec.name, spec.num_elements());
            assert_eq!(tensor.to_f32(), expected);
            let mut read = vec![f32::NAN; expected.len()];
            checkpoint.read_f32_into(&spec.name, &mut read).unwrap();
            assert_eq!(read, expected);
        }
        assert_eq!(
            fs::read_to_string(dir.join("config.json")).unwrap(),
            config.raw()
        );
    }
}

#[test]
fn shards_hold_the_same_tensors_as_one_file() {
    let config = tiny();
    let tensors = specs(&config.expected_tensors(), Dtype::Float32);
    let dir = Scratch::new();
    let max = 8000;
    let written = write(&dir, &config, &tensors, max);
    let shards: Vec<_> = written
        .files
        .iter()
        .filter(|f| f.extension().unwrap() == "safetensors")
        .collect();
    assert!(shards.len() > 3, "{shards:?}");
    let last = format!("model-{n:05}-of-{n:05}.safetensors", n = shards.len());
    assert!(shards.last().unwrap().ends_with(last));
    for shard in shards {
        let file = TensorFile::open(shard).unwrap();
        let size: usize = file
            .names()
            .map(|name| file.tensor(name).unwrap().bytes.len())
            .sum();
        assert!(size as u64 <= max);
    }
    let index = fs::read(dir.join("model.safetensors.index.json")).unwrap();
    let index: serde_json::Value = serde_json::from_slice(&index).unwrap();
    assert_eq!(index["metadata"]["total_size"], config.num_parameters() * 4);
    assert_eq!(
        index["weight_map"].as_object().unwrap().len(),
        tensors.len()
    );
    let checkpoint = Checkpoint::open(&*dir).unwrap();
    checkpoint.validate(&config).unwrap();
    for spec in config.expected_tensors() {
        assert_eq!(
            checkpoint.read_f32(&spec.name).unwrap(),
            values(&spec.name, spec.num_elements())
        );
    }
}

#[test]
fn a_tensor_larger_than_a_shard_gets_its_own() {
    let config = tiny();
    let dir = Scratch::new();
    let tensors = specs(&config.expected_tensors(), Dtype::Float32);
    let written = write(&dir, &config, &tensors, 1);
    assert_eq!(written.files.len(), tensors.len() + 2);
    Checkpoint::open(&*dir).unwrap().validate(&config).unwrap();
}

#[test]
fn the_file_begins_as_hugging_faces_do() {
    let dir = Scratch::new();
    let path = dir.join("t.safetensors");
    let tensor = |name: &str, dtype| TensorToWrite {
        name: name.into(),
        shape: vec![2],
        dtype,
    };
    let tensors = [
        tensor("b", Dtype::Bfloat16),
        tensor("z", Dtype::Float32),
        tensor("a", Dtype::Bfloat16),
    ];
    write_tensor_file(&path, &tensors, |_| {
        Ok::<_, CheckpointError>(TensorData::Float32(Cow::Borrowed(&[1.0, -2.0])))
    })
    .unwrap();
    let bytes = fs::read(path).unwrap();
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    assert_eq!(length % 8, 0);
    let header = std::str::from_utf8(&bytes[8..8 + length])
        .unwrap()
        .trim_end();
    assert_eq!(
        header,
        concat!(
            r#"{"__metadata__":{"format":"pt"},"z":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"#,
            r#""a":{"dtype":"BF16","shape":[2],"data_offsets":[8,12]},"b":{"dtype":"BF16","shape":[2],"data_offsets":[12,16]}}"#
        )
    );
    assert_eq!(bytes[8 + length..][..8], [0, 0, 0x80, 0x3f, 0, 0, 0, 0xc0]);
    assert_eq!(bytes[8 + length..][8..12], [0x80, 0x3f, 0, 0xc0]);
}

#[test]
fn bytes_are_carried_over_as_they_are() {
    let config = tiny();
    let (from, to) = (Scratch::new(), Scratch::new());
    let tensors = specs(&config.expected_tensors(), Dtype::Bfloat16);
    write(&from, &config, &tensors, 3000);
    let source = Checkpoint::open(&*from).unwrap();
    write_checkpoint(&to, config.raw(), &tensors, 3000, |tensor| {
        Ok::<_, CheckpointError>(TensorData::Bytes(Cow::Borrowed(
            source.tensor(&tensor.name)?.bytes,
        )))
    })
    .unwrap();
    for entry in fs::read_dir(&*from).unwrap() {
        let name = entry.unwrap().file_name();
        assert_eq!(
            fs::read(from.join(&name)).unwrap(),
            fs::read(to.join(&name)).unwrap()
        );
    }
}

#[test]
fn an_error_of_the_source_stops_the_writer() {
    let dir = Scratch::new();
    let config = tiny();
    let tensors = specs(&config.expected_tensors(), Dtype::Float32);
    let failed = write_checkpoint(&dir, config.raw(), &tensors, u64::MAX, |tensor| {
        Err(CheckpointError::NoTensor {
            place: "the device".into(),
            name: tensor.name.clone(),
        })
    });
    assert_says(
        &failed.unwrap_err(),
        &["the device", "model.embed_tokens.weight"],
    );
}

#[test]
fn nothing_is_overwritten_and_a_missing_folder_is_named() {
    let dir = Scratch::new();
    let path = dir.join("state.safetensors");
    write_tensors(&path, &[("m", &[1], &[1.0])]).unwrap();
    let again = write_tensors(&path, &[("m", &[1], &[2.0])]).unwrap_err();
    assert_says(
        &again,
        &["state.safetensors", "nothing is ever overwritten"],
    );
    assert_eq!(read_tensors(&path).unwrap()[0].values, [1.0]);
    let nowhere = write_tensors(&dir.join("no/state.safetensors"), &[]).unwrap_err();
    assert_says(&nowhere, &["no/state.safetensors", "hint:"]);
}

#[test]
fn state_is_read_back_bit_for_bit_with_odd_shapes_and_names() {
    let dir = Scratch::new();
    let path = dir.join("state.safetensors");
    let odd = [
        f32::NAN,
        -0.0,
        f32::MIN_POSITIVE / 2.0,
        f32::INFINITY,
        1.0 / 3.0,
        f32::MAX,
    ];
    write_tensors(
        &path,
        &[
            ("b \"é\"", &[2, 3], &odd),
            ("a", &[], &[7.5]),
            ("empty", &[0, 4], &[]),
        ],
    )
    .unwrap();
    let read = read_tensors(&path).unwrap();
    let names: Vec<&str> = read.iter().map(|t| t.name.as_str()).collect();
    assert_eq!(names, ["a", "b \"é\"", "empty"]);
    assert_eq!((read[0].shape.len(), &read[0].values[..]), (0, &[7.5][..]));
    let bits = |values: &[f32]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
    assert_eq!(bits(&read[1].values), bits(&odd));
    assert_eq!(read[2].shape, [0, 4]);
}

#[test]
#[should_panic(expected = "two tensors are called `m`")]
fn two_tensors_of_one_name_are_a_mistake_of_the_program() {
    let dir = Scratch::new();
    let _ = write_tensors(&dir.join("t"), &[("m", &[1], &[1.0]), ("m", &[1], &[2.0])]);
}
