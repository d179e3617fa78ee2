//! GPUs through wgpu. A software adapter is taken where it is named, or is the only one there is.

use burn::backend::DispatchDevice;
use burn::tensor::{DType, Device, DeviceType};
use burn_wgpu::WgpuDevice;
use cubecl::device::WgpuDeviceKind;

use super::{DeviceName, DeviceUnavailable, GraphicsApi, OpenDevice};

pub(super) fn open(
    name: DeviceName,
    index: Option<usize>,
    api: GraphicsApi,
) -> Result<OpenDevice, DeviceUnavailable> {
    let devices = devices(api).map_err(|reason| unavailable(name, &reason))?;
    if devices.is_empty() {
        return Err(unavailable(name, "no graphics adapter was found"));
    }
    match devices.into_iter().nth(index.unwrap_or(0)) {
        Some(device) => Ok(opened(name, device)),
        None => Err(unavailable(name, "there are fewer adapters than that")),
    }
}

pub(super) fn open_real_gpu() -> Result<OpenDevice, DeviceUnavailable> {
    let name = DeviceName::Wgpu(None);
    let devices = devices(GraphicsApi::Any).map_err(|reason| unavailable(name, &reason))?;
    match devices.into_iter().find(|device| !is_software(device)) {
        Some(device) => Ok(opened(name, device)),
        None => Err(unavailable(name, "no GPU was found through wgpu")),
    }
}

pub(super) fn descriptions() -> Result<Vec<String>, DeviceUnavailable> {
    let name = DeviceName::Wgpu(None);
    let devices = devices(GraphicsApi::Any).map_err(|reason| unavailable(name, &reason))?;
    if devices.is_empty() {
        return Err(unavailable(name, "no graphics adapter was found"));
    }
    Ok(devices.iter().map(describe).collect())
}

/// Adapters of an API, real GPUs first.
fn devices(api: GraphicsApi) -> Result<Vec<Device>, String> {
    let kind = match api {
        GraphicsApi::Any => DeviceType::Wgpu,
        #[cfg(feature = "vulkan")]
        GraphicsApi::Vulkan => DeviceType::Vulkan,
        #[cfg(not(feature = "vulkan"))]
        GraphicsApi::Vulkan => {
            return Err("this build has no SPIR-V compiler: it lacks feature `vulkan`".to_owned());
        }
        GraphicsApi::Metal if cfg!(target_os = "macos") => DeviceType::Wgpu,
        GraphicsApi::Metal => return Err("Metal is on macOS only".to_owned()),
    };
    let mut devices = Device::enumerate(kind).into_vec();
    devices.sort_by_key(is_software);
    Ok(devices)
}

fn opened(name: DeviceName, device: Device) -> OpenDevice {
    OpenDevice {
        description: describe(&device),
        device,
        name: name.to_string(),
        default_dtype: DType::F32,
    }
}

fn describe(device: &Device) -> String {
    let name = device
        .identity()
        .map_or_else(|| "unnamed adapter".to_owned(), |identity| identity.name);
    if is_software(device) {
        format!("{name} (software)")
    } else {
        name
    }
}

fn is_software(device: &Device) -> bool {
    matches!(
        device.as_dispatch(),
        DispatchDevice::Cube(cubecl::Device::Wgpu(WgpuDevice {
            kind: WgpuDeviceKind::Cpu,
            ..
        }))
    )
}

fn unavailable(name: DeviceName, reason: &str) -> DeviceUnavailable {
    let hint = if matches!(name, DeviceName::Vulkan(_)) && !cfg!(feature = "vulkan") {
        "build with `--features vulkan`, or use `--device wgpu`, which runs on Vulkan too"
    } else {
        "install a Vulkan driver (on Debian, `mesa-vulkan-drivers` has a software one), or use \
         `--device cpu`"
    };
    DeviceUnavailable {
        name: name.to_string(),
        reason: reason.to_owned(),
        hint: hint.to_owned(),
    }
}
