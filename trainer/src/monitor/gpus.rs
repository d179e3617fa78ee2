use std::env;

use nvml_wrapper::enum_wrappers::device::TemperatureSensor;
use nvml_wrapper::{Device, Nvml};
use telemetry::Scalar;
use telemetry::event::Gpu;

/// The GPU that the run computes on, or all that the driver lists where it cannot be told which of
/// them that is.
///
/// The driver's library is looked for when the program runs. Where there is none, as where there is
/// no such GPU, nothing is known of GPUs.
pub struct Gpus {
    driver: Option<Nvml>,
    /// The driver's number of the run's own one.
    own: Option<u32>,
}

impl Gpus {
    /// Opens the driver's library, for a run on a device of this name (`cuda:0`).
    pub fn open(device: &str) -> Self {
        let driver = Nvml::init().ok();
        let own = driver.as_ref().and_then(|driver| {
            let variable =
                |name| env::var_os(name).map(|value| value.to_string_lossy().into_owned());
            let visible = variable("CUDA_VISIBLE_DEVICES");
            let order = variable("CUDA_DEVICE_ORDER");
            let listed = names(driver)?;
            driver_index(device, &listed, visible.as_deref(), order.as_deref())
        });
        Gpus { driver, own }
    }

    /// Of a run that does not compute on one.
    pub fn none() -> Self {
        Gpus {
            driver: None,
            own: None,
        }
    }

    /// What it is doing, or each of them; `None` where the driver does not say.
    pub fn state(&self) -> Option<Vec<Gpu>> {
        let driver = self.driver.as_ref()?;
        let indices = match self.own {
            Some(own) => own..own + 1,
            None => 0..driver.device_count().ok()?,
        };
        let device = |index| Some((index, driver.device_by_index(index).ok()?));
        let devices = indices.filter_map(device);
        Some(devices.map(|(index, it)| state_of(index, &it)).collect())
    }
}

fn names(driver: &Nvml) -> Option<Vec<String>> {
    let count = driver.device_count().ok()?;
    let name = |index| {
        driver
            .device_by_index(index)
            .and_then(|gpu| gpu.name())
            .ok()
    };
    (0..count).map(name).collect()
}

/// The driver's number of the device that CUDA knows by this name, where that is certain.
///
/// CUDA counts what CUDA_VISIBLE_DEVICES leaves, the fastest one first; the driver counts all, by their
/// place on the bus. The two orders are the same where CUDA_DEVICE_ORDER says so, and where no GPU is
/// faster than another.
fn driver_index(
    device: &str,
    listed: &[String],
    visible: Option<&str>,
    order: Option<&str>,
) -> Option<u32> {
    let are_alike = listed.windows(2).all(|pair| pair[0] == pair[1]);
    if order != Some("PCI_BUS_ID") && !are_alike {
        return None;
    }
    let number: u32 = device.strip_prefix("cuda:")?.parse().ok()?;
    let index = match visible {
        None => number,
        Some(visible) => {
            let plain = visible.split(',').map(|index| index.trim().parse().ok());
            let plain: Vec<u32> = plain.collect::<Option<_>>()?;
            *plain.get(number as usize)?
        }
    };
    ((index as usize) < listed.len()).then_some(index)
}

/// What a GPU does not tell is left out: several do not know their temperature or power.
fn state_of(index: u32, device: &Device) -> Gpu {
    let memory = device.memory_info().ok();
    let utilization = device.utilization_rates().ok();
    let temperature = device.temperature(TemperatureSensor::Gpu).ok();
    Gpu {
        name: device.name().unwrap_or_else(|_| "unnamed GPU".to_owned()),
        index: Some(index),
        utilization_percent: utilization.map(|rates| Scalar(f64::from(rates.gpu))),
        memory_used_bytes: memory.as_ref().map(|memory| memory.used),
        memory_total_bytes: memory.as_ref().map(|memory| memory.total),
        temperature_celsius: temperature.map(|celsius| Scalar(f64::from(celsius))),
        power_watts: device
            .power_usage()
            .ok()
            .map(|milliwatts| Scalar(f64::from(milliwatts) / 1e3)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_runs_gpu_is_told_from_the_others_only_where_the_orders_agree() {
        let index = |device, gpus: &str, visible, order| {
            let listed: Vec<String> = gpus.chars().map(String::from).collect();
            driver_index(device, &listed, visible, order)
        };
        assert_eq!(index("cuda:1", "AAAA", None, None), Some(1));
        assert_eq!(index("cuda:1", "AAAA", Some("3, 2"), None), Some(2));
        assert_eq!(index("cuda:0", "A", None, None), Some(0));
        assert_eq!(index("cuda:1", "AB", None, Some("PCI_BUS_ID")), Some(1));
        assert_eq!(index("cuda:1", "AB", None, None), None, "one is faster");
        assert_eq!(index("cuda:2", "AAAA", Some("3,2"), None), None);
        assert_eq!(index("cuda:0", "AAAA", Some("GPU-5ebe9ff2"), None), None);
        assert_eq!(index("cuda:0", "AAAA", Some(""), None), None);
        assert_eq!(index("cuda:0", "AA", Some("7"), None), None);
        assert_eq!(index("wgpu", "AA", None, None), None);
    }
}
