use nvml_wrapper::enum_wrappers::device::TemperatureSensor;
use nvml_wrapper::{Device, Nvml};
use telemetry::Scalar;
use telemetry::event::Gpu;

/// The NVIDIA GPUs of the machine, all that the driver lists.
///
/// The driver's library is looked for when the program runs. Where there is none, as where there is
/// no such GPU, nothing is known of GPUs.
pub struct Gpus {
    driver: Option<Nvml>,
}

impl Gpus {
    /// Opens the driver's library.
    pub fn open() -> Self {
        Gpus {
            driver: Nvml::init().ok(),
        }
    }

    /// Of a run that does not compute on one.
    pub fn none() -> Self {
        Gpus { driver: None }
    }

    /// What each of them is doing; `None` where the driver does not say.
    pub fn state(&self) -> Option<Vec<Gpu>> {
        let driver = self.driver.as_ref()?;
        let count = driver.device_count().ok()?;
        let devices = (0..count).filter_map(|index| driver.device_by_index(index).ok());
        Some(devices.map(|device| state_of(&device)).collect())
    }
}

/// What a GPU does not tell is left out: several do not know their temperature or power.
fn state_of(device: &Device) -> Gpu {
    let memory = device.memory_info().ok();
    let utilization = device.utilization_rates().ok();
    let temperature = device.temperature(TemperatureSensor::Gpu).ok();
    Gpu {
        name: device.name().unwrap_or_else(|_| "unnamed GPU".to_owned()),
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
