//! The kernels as CUDA takes them, with tensor cores and bfloat16, on a CPU: the tests of operations
//! once more, in processes that find the package `cuda-on-cpu` where CUDA's libraries would be.

use std::env;
use std::process::{Child, Command, Stdio};

#[path = "../../tests/it/stand_in.rs"]
mod stand_in;

const BFLOAT16: &str = "attention_in_bfloat16_is_its_reference";

/// What two processes run, which takes about as long in each.
const PROCESSES: [&[&str]; 2] = [
    &[
        BFLOAT16,
        "linear_logprobs::",
        "random_shapes::",
        "rms_norm::",
        "rope::",
    ],
    &[
        "adamw::",
        "attention::",
        "linear::",
        "embedding::",
        "gated_mlp::",
        "host_values::",
        "kv_cache::",
        "sampling::",
        "square_sum::",
        "--skip",
        BFLOAT16,
    ],
];

#[test]
fn operations_are_their_references_on_cuda() {
    if !stand_in::can_run() {
        return;
    }
    let children: Vec<Child> = PROCESSES
        .iter()
        .map(|tests| {
            stand_in::give(&mut Command::new(env::current_exe().expect("this test")))
                .args(*tests)
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .expect("it starts again")
        })
        .collect();
    let mut failures = String::new();
    for child in children {
        let output = child.wait_with_output().expect("it ends");
        if !output.status.success() {
            let (out, err) = (&output.stdout, &output.stderr);
            let text = [out, err].map(|bytes| String::from_utf8_lossy(bytes).into_owned());
            failures += &format!("{}\n{}\n", output.status, text.concat());
        }
    }
    assert!(failures.is_empty(), "on CUDA:\n{failures}");
}
