use burn::tensor::{DType, Int, Tensor, TensorData};

use super::*;
use crate::device;
use crate::parity::{Operation, check, check_bfloat16, host, random};
use crate::{Segment, Segments};

/// A row of independent sequences.
fn sequences(lengths: &[usize]) -> Vec<Segment> {
    let segments = lengths.iter().map(|&length| Segment {
        length,
        prefix: None,
    });
    segments.collect()
}

/// Two prompts with answers, one of a single token, and a sequence of its own between them.
fn prompts_and_answers() -> Vec<Segment> {
    let parts = [
        (37, None),
        (5, Some(0)),
        (1, Some(0)),
        (9, None),
        (70, Some(0)),
        (3, None),
        (40, Some(5)),
    ];
    let segments = parts.map(|(length, prefix)| Segment { length, prefix });
    segments.to_vec()
}

#[test]
fn attention_is_its_reference() {
    // Sequences of one token, longer than a tile, and windows shorter and longer than both.
    let packings = [
        sequences(&[1]),
        sequences(&[1, 3, 1, 31]),
        sequences(&[70, 47, 130]),
        prompts_and_answers(),
    ];
    for packing in packings {
        for (heads, kv_heads, head_dim) in [(1, 1, 3), (6, 2, 20), (2, 2, 80)] {
            for (window, softcap) in [
                (None, None),
                (Some(1), None),
                (Some(9), Some(2.0)),
                (Some(500), Some(5.0)),
            ] {
                check_attention(&packing, [heads, kv_heads, head_dim], window, softcap);
            }
        }
    }
}

/// Sequences whose queries several threads share on the way back, one with a prefix, with windows that
/// hide what lies before a share.
#[test]
fn attention_of_long_sequences_is_its_reference() {
    let part = |length, prefix| Segment { length, prefix };
    for packing in [
        sequences(&[1030, 7]),
        vec![part(290, None), part(530, Some(0)), part(31, Some(0))],
    ] {
        for (window, softcap) in [(None, None), (Some(70), Some(2.0)), (Some(700), None)] {
            check_attention(&packing, [2, 1, 8], window, softcap);
        }
    }
}

#[test]
fn attention_of_the_widest_heads_is_its_reference() {
    check_attention(&prompts_and_answers(), [2, 1, 256], Some(9), Some(2.0));
}

#[test]
fn attention_in_bfloat16_is_its_reference() {
    // The widths of the published models, and rows shorter and longer than every tile.
    for (heads, kv_heads, head_dim) in [(2, 1, 16), (2, 2, 80), (4, 2, 128), (2, 1, 256)] {
        for (window, softcap) in [(None, None), (Some(9), Some(2.0)), (Some(100), None)] {
            for packing in [sequences(&[1, 3, 150]), prompts_and_answers()] {
                let shape = [heads, kv_heads, head_dim];
                check_attention_with(check_bfloat16, &packing, shape, window, softcap);
            }
        }
    }
}

fn check_attention(
    packing: &[Segment],
    shape: [usize; 3],
    window: Option<usize>,
    softcap: Option<f32>,
) {
    check_attention_with(check, packing, shape, window, softcap);
}

fn check_attention_with(
    check: fn(&str, &[usize], f64, Operation, Operation),
    packing: &[Segment],
    [heads, kv_heads, head_dim]: [usize; 3],
    window: Option<usize>,
    softcap: Option<f32>,
) {
    let segments = Segments::new(packing);
    let tokens = segments.num_tokens();
    let options = AttentionOptions {
        scale: 0.4,
        softcap,
        window,
    };
    let shaped = |leaves: &[Tensor<1>]| {
        [(0, heads), (1, kv_heads), (2, kv_heads)]
            .map(|(i, heads)| leaves[i].clone().reshape([tokens, heads, head_dim]))
    };
    let kv_size = tokens * kv_heads * head_dim;
    check(
        &format!("attention {packing:?} {heads}/{kv_heads}×{head_dim} {options:?}"),
        &[tokens * heads * head_dim, kv_size, kv_size],
        2.0,
        &|leaves| {
            let [q, k, v] = shaped(leaves);
            attention(q, k, v, &segments, options).flatten(0, 2)
        },
        &|leaves| {
            let [q, k, v] = shaped(leaves);
            attention_reference(q, k, v, &segments, options).flatten(0, 2)
        },
    );
}

/// What a shared prompt is for: the answers' outputs, and the gradients, are those of a row in which
/// the prompt is repeated before every answer.
#[test]
fn a_shared_prompt_is_the_same_as_a_repeated_one() {
    let (prompt, answers) = (13, [4, 1, 7]);
    let [heads, kv_heads, head_dim] = [4, 2, 6];
    let options = AttentionOptions {
        scale: 0.4,
        softcap: Some(3.0),
        window: Some(9),
    };
    let answer = |length| Segment {
        length,
        prefix: Some(0),
    };
    let mut shared = sequences(&[prompt]);
    shared.extend(answers.map(answer));
    let shared = Segments::new(&shared);
    let repeated = Segments::from_lengths(&answers.map(|length| prompt + length));
    // Row of the shared packing for each row of the repeated one.
    let mut rows: Vec<i32> = Vec::new();
    let mut start = prompt as i32;
    for length in answers {
        rows.extend(0..prompt as i32);
        rows.extend(start..start + length as i32);
        start += length as i32;
    }
    let tokens = shared.num_tokens();
    let answer_rows: Vec<i32> = (0..rows.len() as i32)
        .filter(|&row| rows[row as usize] >= prompt as i32)
        .collect();
    let shaped = |leaves: &[Tensor<1>]| {
        [(0, heads), (1, kv_heads), (2, kv_heads)]
            .map(|(i, heads)| leaves[i].clone().reshape([tokens, heads, head_dim]))
    };
    let indices = |rows: &[i32], like: &Tensor<3>| {
        Tensor::<1, Int>::from_data(TensorData::new(rows.to_vec(), [rows.len()]), &like.device())
    };
    let kv_size = tokens * kv_heads * head_dim;
    check(
        "a shared prompt",
        &[tokens * heads * head_dim, kv_size, kv_size],
        1.0,
        &|leaves| {
            let [q, k, v] = shaped(leaves);
            let output = attention(q, k, v, &shared, options);
            output.narrow(0, prompt, tokens - prompt).flatten(0, 2)
        },
        &|leaves| {
            let [q, k, v] = shaped(leaves).map(|x| {
                let rows = indices(&rows, &x);
                x.select(0, rows)
            });
            let output = attention_reference(q, k, v, &repeated, options);
            let rows = indices(&answer_rows, &output);
            output.select(0, rows).flatten(0, 2)
        },
    );
}

/// 0 · NaN is NaN, so a NaN may also reach earlier rows of its own segment. Beyond it, an output
/// reaches the segments that continue it, and a gradient the prefix.
#[test]
fn a_nan_never_reaches_a_sequence_that_does_not_hold_it() {
    let segments = Segments::new(&prompts_and_answers());
    let tokens = segments.num_tokens();
    let options = AttentionOptions {
        scale: 0.4,
        softcap: Some(2.0),
        window: None,
    };
    // Row 53 begins the second answer of 70 tokens, row 122 the second prompt of three.
    for (device_name, device) in device::for_tests() {
        for (row, [prompt, own]) in [(52, [0..37, 52..122]), (124, [122..125, 122..165])] {
            let device = device.clone().autodiff();
            let leaves: Vec<Tensor<3>> = (0..3)
                .map(|seed| {
                    let mut values: Vec<f64> = random(tokens * 8, seed).collect();
                    values[row * 8] = f64::NAN;
                    let data = TensorData::new(values, [tokens, 2, 4]);
                    Tensor::from_data(data, (&device, DType::F32)).require_grad()
                })
                .collect();
            let [q, k, v] = [0, 1, 2].map(|i| leaves[i].clone());
            let output = attention(q, k, v, &segments, options);
            let mut gradients = output.clone().sum().backward();
            let mut parts = vec![output.inner()];
            parts.extend(leaves.into_iter().map(|leaf| {
                let gradient = leaf.grad_remove(&mut gradients);
                gradient.expect("every input has a gradient")
            }));
            for part in parts {
                let values = host(part.flatten(0, 2));
                let nan_rows: Vec<usize> = (0..tokens)
                    .filter(|&t| values[t * 8..(t + 1) * 8].iter().any(|v| v.is_nan()))
                    .collect();
                let may_show = |row: &usize| prompt.contains(row) || own.contains(row);
                assert!(
                    nan_rows.contains(&row) && nan_rows.iter().all(may_show),
                    "{device_name}: NaN at {row} shows in {nan_rows:?}"
                );
            }
        }
    }
}
