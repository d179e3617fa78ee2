//! The devices tests run on: the CPU, and a GPU through wgpu where there is one.

use burn::tensor::Device;
use kernels::device::{DeviceName, open};

/// The CPU, and the wgpu adapter of this machine, in software or not. Where there is none, the test
/// says that it skipped it, or fails where `KEEP_REQUIRE_WGPU` is set.
pub fn all() -> Vec<(&'static str, Device)> {
    let cpu = open(DeviceName::Cpu).expect("the CPU is always there");
    let mut devices = vec![("cpu", cpu.device)];
    devices.extend(gpu().map(|device| ("wgpu", device)));
    devices
}

pub fn gpu() -> Option<Device> {
    match open(DeviceName::Wgpu(None)) {
        Ok(gpu) => Some(gpu.device),
        Err(error) if std::env::var_os("KEEP_REQUIRE_WGPU").is_some() => {
            panic!("KEEP_REQUIRE_WGPU is set: {error}")
        }
        Err(error) => {
            eprintln!("skipped on wgpu: {error}");
            None
        }
    }
}
