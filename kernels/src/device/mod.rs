//! The devices of this machine: which there are, which one `--device` means, and what is missing
//! where one cannot be had.

#[cfg(feature = "cuda")]
mod cuda;
mod name;
#[cfg(feature = "wgpu")]
mod wgpu;

use std::sync::OnceLock;

use burn::tensor::{DType, Device};

pub use name::{DEVICE_HELP, DeviceName, UnknownDevice};

/// A device that was opened.
#[derive(Clone, Debug)]
pub struct OpenDevice {
    /// The device, without gradients.
    pub device: Device,
    /// What `--device` would name it by, such as `cuda:0`.
    pub name: String,
    /// What it calls itself, such as `NVIDIA H200`.
    pub description: String,
    /// What `--dtype auto` computes in.
    pub default_dtype: DType,
}

/// A device this machine or this build does not have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("device `{name}` is not available: {reason}\nhint: {hint}")]
pub struct DeviceUnavailable {
    name: String,
    reason: String,
    hint: String,
}

/// A line of `trainer doctor`: a kind of device, and what was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// `cpu`, `cuda` or `wgpu`.
    pub kind: &'static str,
    /// The devices with their own names, or what is missing.
    pub result: Result<Vec<String>, String>,
    /// What to do about it, where something can be done.
    pub hint: Option<String>,
}

/// Opens the device that a name means. `auto` is CUDA, then a real GPU through wgpu, then the CPU.
///
/// # Errors
/// The machine has no such device, a library it needs is missing, or the build left it out.
pub fn open(name: DeviceName) -> Result<OpenDevice, DeviceUnavailable> {
    match name {
        DeviceName::Cpu => Ok(open_cpu()),
        DeviceName::Cuda(index) => open_cuda(index),
        DeviceName::Wgpu(index) => open_wgpu(name, index, GraphicsApi::Any),
        DeviceName::Vulkan(index) => open_wgpu(name, index, GraphicsApi::Vulkan),
        DeviceName::Metal => open_wgpu(name, None, GraphicsApi::Metal),
        DeviceName::Auto => Ok(open_cuda(0)
            .or_else(|_| open_real_gpu())
            .unwrap_or_else(|_| open_cpu())),
    }
}

/// Whether tensors of a device live in host memory and our CPU operations serve it.
pub fn is_cpu(device: &Device) -> bool {
    crate::choice::on_cpu(device)
}

/// The devices that tests run on: the CPU, and the wgpu adapter of this machine, in software or not,
/// or the device that `KEEP_TEST_DEVICE` names.
///
/// # Panics
/// Where there is none, and `KEEP_REQUIRE_WGPU` is set or the device was named.
#[doc(hidden)]
pub fn for_tests() -> Vec<(&'static str, Device)> {
    static DEVICES: OnceLock<Vec<(&str, Device)>> = OnceLock::new();
    let devices = DEVICES.get_or_init(|| {
        let named = std::env::var("KEEP_TEST_DEVICE").ok();
        let required = named.is_some() || std::env::var_os("KEEP_REQUIRE_WGPU").is_some();
        let gpu = named.as_deref().unwrap_or("wgpu").parse();
        let mut devices = vec![("cpu", open_cpu().device)];
        match open(gpu.expect("KEEP_TEST_DEVICE is a name of a device")) {
            Ok(gpu) => devices.push((gpu.name.leak(), gpu.device)),
            Err(error) if required => panic!("a GPU is required: {error}"),
            Err(_) => {}
        }
        devices
    });
    devices.clone()
}

/// What each kind of device has to offer here.
pub fn findings() -> Vec<Finding> {
    let cpu = Finding {
        kind: "cpu",
        result: Ok(vec![open_cpu().description]),
        hint: None,
    };
    vec![cpu, cuda_finding(), wgpu_finding()]
}

/// Which graphics API wgpu may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum GraphicsApi {
    Any,
    Vulkan,
    Metal,
}

fn open_cpu() -> OpenDevice {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    OpenDevice {
        device: Device::flex(),
        name: "cpu".to_owned(),
        description: format!("{threads} threads, {}", std::env::consts::ARCH),
        default_dtype: DType::F32,
    }
}

#[cfg(feature = "cuda")]
fn open_cuda(index: usize) -> Result<OpenDevice, DeviceUnavailable> {
    cuda::open(index)
}

#[cfg(not(feature = "cuda"))]
fn open_cuda(index: usize) -> Result<OpenDevice, DeviceUnavailable> {
    Err(DeviceUnavailable {
        name: format!("cuda:{index}"),
        reason: "this build has no CUDA".to_owned(),
        hint: "build with `--features cuda`, which is on by default".to_owned(),
    })
}

#[cfg(feature = "wgpu")]
fn open_wgpu(
    name: DeviceName,
    index: Option<usize>,
    api: GraphicsApi,
) -> Result<OpenDevice, DeviceUnavailable> {
    wgpu::open(name, index, api)
}

#[cfg(not(feature = "wgpu"))]
fn open_wgpu(
    name: DeviceName,
    _index: Option<usize>,
    _api: GraphicsApi,
) -> Result<OpenDevice, DeviceUnavailable> {
    Err(DeviceUnavailable {
        name: name.to_string(),
        reason: "this build has no wgpu".to_owned(),
        hint: "build with `--features wgpu`, which is on by default".to_owned(),
    })
}

#[cfg(feature = "wgpu")]
fn open_real_gpu() -> Result<OpenDevice, DeviceUnavailable> {
    wgpu::open_real_gpu()
}

#[cfg(not(feature = "wgpu"))]
fn open_real_gpu() -> Result<OpenDevice, DeviceUnavailable> {
    open_wgpu(DeviceName::Wgpu(None), None, GraphicsApi::Any)
}

fn cuda_finding() -> Finding {
    #[cfg(feature = "cuda")]
    let found = cuda::probe().map(|gpus| gpus.names);
    #[cfg(not(feature = "cuda"))]
    let found = open_cuda(0).map(|_| Vec::new());
    finding("cuda", found)
}

fn wgpu_finding() -> Finding {
    #[cfg(feature = "wgpu")]
    let found = wgpu::descriptions();
    #[cfg(not(feature = "wgpu"))]
    let found = open_real_gpu().map(|_| Vec::new());
    finding("wgpu", found)
}

fn finding(kind: &'static str, found: Result<Vec<String>, DeviceUnavailable>) -> Finding {
    match found {
        Ok(names) => Finding {
            kind,
            result: Ok(names),
            hint: None,
        },
        Err(missing) => Finding {
            kind,
            result: Err(missing.reason),
            hint: Some(missing.hint),
        },
    }
}
