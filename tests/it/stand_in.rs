//! The package `cuda-on-cpu` where a process looks for CUDA's libraries. The unit tests of `kernels` have
//! this file too.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

/// Whether the stand-in can run here.
///
/// # Panics
/// If it cannot, and software GPUs are required.
pub fn can_run() -> bool {
    let Err(error) = Command::new("c++").arg("--version").output() else {
        return true;
    };
    let required = env::var_os("KEEP_REQUIRE_WGPU").is_some();
    assert!(
        !required,
        "CUDA's kernels need a C++ compiler, `c++`: {error}"
    );
    false
}

/// Lets a program find the stand-in for CUDA.
pub fn give(command: &mut Command) -> &mut Command {
    let folder = folder().expect("a folder beside the tests");
    command
        .env("KEEP_TEST_DEVICE", "cuda")
        .env("LD_LIBRARY_PATH", &folder)
        .env("CUDA_PATH", &folder)
        .env("CUDA_ON_CPU_CACHE", folder.join("compiled"))
}

/// A folder where the stand-in has the names of CUDA's libraries, beside the folder of the tests.
fn folder() -> std::io::Result<PathBuf> {
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
