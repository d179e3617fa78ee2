use std::fs;

use telemetry::Fields;

/// The most memory this process had resident since it began to watch, as the kernel counts it.
///
/// Linux keeps a high-water mark and lets a process set it back to what it has now. Where it does
/// not, a run that stays below an earlier one in the same process has no peak that anyone knows;
/// then, and on other systems, the fields are left out.
pub struct MemoryPeak {
    /// Resident when the watch began.
    baseline: Option<u64>,
    /// A high-water mark of before, where it could not be set back.
    earlier: Option<u64>,
}

const STATUS: &str = "/proc/self/status";
const MEMINFO: &str = "/proc/meminfo";
const CLEAR_REFS: &str = "/proc/self/clear_refs";
/// What sets the high-water mark back: `man 5 proc_pid_clear_refs`.
const RESET_PEAK: &str = "5";

impl MemoryPeak {
    /// Watches from now on: before a model is loaded, so that the difference is what it took.
    pub fn watch() -> Self {
        let reset = fs::write(CLEAR_REFS, RESET_PEAK).is_ok();
        let status = fs::read_to_string(STATUS).unwrap_or_default();
        MemoryPeak {
            baseline: bytes(&status, "VmRSS:"),
            earlier: bytes(&status, "VmHWM:").filter(|_| !reset),
        }
    }

    /// `memory/baseline_bytes` and `memory/peak_bytes`, as far as they are known.
    pub fn fields(&self) -> Fields {
        let status = fs::read_to_string(STATUS).unwrap_or_default();
        let mut fields = Fields::new();
        if let Some(baseline) = self.baseline {
            fields.set("memory/baseline_bytes", baseline);
        }
        let peak = bytes(&status, "VmHWM:");
        if let Some(peak) = peak.filter(|peak| self.earlier.is_none_or(|earlier| *peak > earlier)) {
            fields.set("memory/peak_bytes", peak);
        }
        fields
    }
}

/// The machine's memory, where the system says it.
pub fn total_memory() -> Option<u64> {
    bytes(&fs::read_to_string(MEMINFO).ok()?, "MemTotal:")
}

/// What of it this process has resident, where the system says it.
pub fn resident_memory() -> Option<u64> {
    bytes(&fs::read_to_string(STATUS).ok()?, "VmRSS:")
}

/// The value of a line such as `VmHWM:     1234 kB`.
fn bytes(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    let kilobytes: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kilobytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_status_file_is_read_in_bytes() {
        let status = "Name:\ttrainer\nVmHWM:\t    2048 kB\nVmRSS:\t    1024 kB\n";
        assert_eq!(bytes(status, "VmHWM:"), Some(2 << 20));
        assert_eq!(bytes(status, "VmRSS:"), Some(1 << 20));
        assert_eq!(bytes(status, "VmSwap:"), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_peak_is_above_the_baseline_by_what_was_held_and_freed() {
        let peak = MemoryPeak::watch();
        let held = vec![1u8; 64 << 20];
        assert_eq!(std::hint::black_box(&held)[1 << 20], 1);
        drop(held);
        let fields = peak.fields();
        let [baseline, peak] =
            ["memory/baseline_bytes", "memory/peak_bytes"].map(|name| fields.scalar(name));
        let grown = peak.expect("known") - baseline.expect("known");
        assert!(grown >= f64::from(60 << 20), "{grown}");
    }
}
