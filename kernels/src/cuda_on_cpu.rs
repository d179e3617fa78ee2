//! The kernels as CUDA takes them, with tensor cores and bfloat16, on a CPU: the tests of operations
//! once more, in processes that find the package `cuda-on-cpu` where CUDA's libraries would be.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::{env, fs};

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
        "kv_cache::",
        "sampling::",
        "square_sum::",
        "--skip",
        BFLOAT16,
    ],
];

#[test]
fn operations_are_their_references_on_cuda() {
    if let Err(error) = Command::new("c++").arg("--version").output() {
        let required = env::var_os("KEEP_REQUIRE_WGPU").is_some();
        assert!(
            !required,
            "CUDA's kernels need a C++ compiler, `c++`: {error}"
        );
        return;
    }
    let folder = stand_in().expect("a folder beside the tests");
    let children: Vec<Child> = PROCESSES
        .iter()
        .map(|tests| {
            Command::new(env::current_exe().expect("this test"))
                .args(*tests)
                .env("KEEP_TEST_DEVICE", "cuda")
                .env("LD_LIBRARY_PATH", &folder)
                .env("CUDA_PATH", &folder)
                .env("CUDA_ON_CPU_CACHE", folder.join("compiled"))
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

/// A folder where the stand-in has the names of CUDA's libraries, beside the folder of the tests.
fn stand_in() -> std::io::Result<PathBuf> {
    let tests = env::current_exe()?;
    let built = tests.with_file_name("libcuda_on_cpu.so");
    assert!(
        built.exists(),
        "cargo builds {} with the tests",
        built.display()
    );
    let folder = tests
        .ancestors()
        .nth(2)
        .expect("two folders up")
        .join("cuda-on-cpu");
    fs::create_dir_all(folder.join("include"))?;
    fs::write(folder.join("include/cuda_fp16.h"), "")?;
    for name in ["libcuda.so", "libcuda.so.1", "libnvrtc.so"] {
        link(&built, &folder.join(name))?;
    }
    Ok(folder)
}

/// Another run may have made the link before, or make it now.
fn link(to: &Path, name: &Path) -> std::io::Result<()> {
    match std::os::unix::fs::symlink(to, name) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists && name.exists() => Ok(()),
        result => result,
    }
}
