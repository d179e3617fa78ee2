//! The devices tests run on: the CPU, and a GPU through wgpu where there is one.

use burn::tensor::Device;
/// The CPU, and the wgpu adapter of this machine, in software or not. Where there is none, the test
/// says that it skipped it, or fails where `KEEP_REQUIRE_WGPU` is set.
pub fn all() -> Vec<(&'static str, Device)> {
    let devices = kernels::device::for_tests();
    if devices.len() == 1 {
        eprintln!("skipped on wgpu: there is no adapter");
    }
    devices
}
