//! CUDA, asked with care: its bindings panic where the driver or NVRTC is missing, so both are
//! looked for first.

use std::ffi::{CStr, c_char, c_int};
use std::path::PathBuf;

use burn::tensor::{DType, Device};
use libloading::{Library, Symbol};

use super::{DeviceUnavailable, OpenDevice};

/// The GPUs the driver reports.
pub(super) struct Gpus {
    pub(super) names: Vec<String>,
}

pub(super) fn open(index: usize) -> Result<OpenDevice, DeviceUnavailable> {
    let gpus = probe().map_err(|missing| DeviceUnavailable {
        name: format!("cuda:{index}"),
        ..missing
    })?;
    let Some(description) = gpus.names.get(index) else {
        return Err(DeviceUnavailable {
            name: format!("cuda:{index}"),
            reason: format!("the driver reports {} GPU(s)", gpus.names.len()),
            hint: "`trainer doctor` lists the devices of this machine".to_owned(),
        });
    };
    let device = burn_cuda::CudaDevice::new(index);
    Ok(OpenDevice {
        device: Device::new(burn::backend::DispatchDevice::Cube(cubecl::Device::Cuda(
            device,
        ))),
        name: format!("cuda:{index}"),
        description: description.clone(),
        default_dtype: DType::BF16,
    })
}

pub(super) fn probe() -> Result<Gpus, DeviceUnavailable> {
    let missing = |reason: &str, hint: &str| DeviceUnavailable {
        name: "cuda".to_owned(),
        reason: reason.to_owned(),
        hint: hint.to_owned(),
    };
    let names = driver_gpus().map_err(|reason| {
        missing(
            &reason,
            "install the NVIDIA driver, or use `--device cpu` or `--device wgpu`",
        )
    })?;
    if names.is_empty() {
        return Err(missing(
            "the driver reports no GPU",
            "check `nvidia-smi` and CUDA_VISIBLE_DEVICES",
        ));
    }
    if !NVRTC_NAMES.iter().any(|name| loads(name)) {
        return Err(missing(
            "NVRTC, CUDA's run-time compiler, is not installed",
            "install the CUDA toolkit 12 or newer and put its lib folder in LD_LIBRARY_PATH",
        ));
    }
    if toolkit_headers().is_none() {
        return Err(missing(
            "the headers of the CUDA toolkit were not found",
            "set CUDA_PATH to the toolkit's folder, the one that has `include` in it",
        ));
    }
    Ok(Gpus { names })
}

#[cfg(windows)]
const DRIVER_NAMES: &[&str] = &["nvcuda.dll"];
#[cfg(not(windows))]
const DRIVER_NAMES: &[&str] = &["libcuda.so.1", "libcuda.so"];
#[cfg(windows)]
const NVRTC_NAMES: &[&str] = &["nvrtc64_130_0.dll", "nvrtc64_120_0.dll", "nvrtc.dll"];
#[cfg(not(windows))]
const NVRTC_NAMES: &[&str] = &["libnvrtc.so", "libnvrtc.so.13", "libnvrtc.so.12"];

fn loads(name: &str) -> bool {
    // SAFETY: loading runs the initialisers of a vendor library found by its own name, which is
    // what using the device would do.
    unsafe { Library::new(name) }.is_ok()
}

/// The names of the driver's GPUs, from its own three functions.
fn driver_gpus() -> Result<Vec<String>, String> {
    // SAFETY: as in `loads`.
    let driver = DRIVER_NAMES
        .iter()
        .find_map(|name| unsafe { Library::new(name) }.ok())
        .ok_or("the NVIDIA driver library (libcuda) was not found")?;
    // SAFETY: the signatures are those of cuda.h, and stable since CUDA 4.
    unsafe {
        let symbol = |name: &str| format!("the NVIDIA driver has no {name}");
        let init: Symbol<unsafe extern "C" fn(u32) -> c_int> =
            driver.get(b"cuInit\0").map_err(|_| symbol("cuInit"))?;
        let count: Symbol<unsafe extern "C" fn(*mut c_int) -> c_int> = driver
            .get(b"cuDeviceGetCount\0")
            .map_err(|_| symbol("cuDeviceGetCount"))?;
        let name: Symbol<unsafe extern "C" fn(*mut c_char, c_int, c_int) -> c_int> = driver
            .get(b"cuDeviceGetName\0")
            .map_err(|_| symbol("cuDeviceGetName"))?;
        let code = init(0);
        if code != 0 {
            return Err(format!(
                "the NVIDIA driver does not start (cuInit gives {code})"
            ));
        }
        let mut gpus = 0;
        let code = count(&raw mut gpus);
        if code != 0 {
            return Err(format!("cuDeviceGetCount gives {code}"));
        }
        (0..gpus)
            .map(|gpu| {
                let mut buffer = [0 as c_char; 256];
                let code = name(buffer.as_mut_ptr(), buffer.len() as c_int, gpu);
                if code != 0 {
                    return Err(format!("cuDeviceGetName of GPU {gpu} gives {code}"));
                }
                let name = CStr::from_ptr(buffer.as_ptr());
                Ok(name.to_string_lossy().into_owned())
            })
            .collect()
    }
}

/// Where kernels find `cuda_fp16.h`, in the order cubecl looks.
fn toolkit_headers() -> Option<PathBuf> {
    let from_environment = std::env::var_os("CUDA_PATH").map(PathBuf::from);
    let usual = ["/usr/local/cuda", "/opt/cuda", "/usr"].map(PathBuf::from);
    from_environment
        .into_iter()
        .chain(usual)
        .map(|root| root.join("include"))
        .find(|include| include.join("cuda_fp16.h").exists())
}
