//! A plan as text.

use std::fmt::Write;

use super::memory::Place;
use super::{Change, Hardware, StagePlan};
use crate::table::aligned;

const GIB: f64 = (1u64 << 30) as f64;

/// What a solid-state disk gives; where the host has the blocks in memory, it is several times as much.
const STREAMED_PER_SECOND: f64 = 2.0 * GIB;

/// Whether a stage fits, and what of.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Verdict {
    /// Bytes there are.
    pub available: u64,
    /// Bytes at the peak.
    pub peak: u64,
}

impl Verdict {
    /// Whether the peak is no more than there is.
    pub fn fits(self) -> bool {
        self.peak <= self.available
    }
}

/// The table of a stage.
pub fn stage(plan: &StagePlan) -> String {
    let job = &plan.job;
    let work = &job.work;
    let sft = work.sft.map_or(String::new(), |sft| {
        let length = thousands(sft.length);
        format!(" and {} conversations of {length}", sft.sequences)
    });
    let mut text = format!(
        "stage {}: up to {} sequences of {} tokens a micro-batch, {} of them{sft} a step: {} tokens\n",
        plan.stage,
        work.sequences,
        thousands(work.length),
        work.micro_batches,
        thousands(work.tokens_per_step()),
    );
    let (peak, moment) = plan.memory.peak();
    let mut rows = vec![
        ["memory", "most", "at the peak"]
            .map(str::to_owned)
            .to_vec(),
    ];
    for item in &plan.memory.items {
        let on_host = match item.place {
            Place::Host => " (host)",
            Place::Device => "",
        };
        let at_peak = match item.at(moment) {
            0 => "–".to_owned(),
            bytes => size(bytes),
        };
        rows.push(vec![
            format!("{}{on_host}", item.name),
            size(item.largest()),
            at_peak,
        ]);
    }
    rows.push(vec!["peak".to_owned(), String::new(), size(peak)]);
    for line in aligned(&rows).lines() {
        writeln!(text, "  {}", line.trim_end()).expect("a string takes text");
    }
    let mut line = |name: &str, value: String| {
        writeln!(text, "  {name:<12} {value}").expect("a string takes text");
    };
    line("peak in", moment.words().to_owned());
    let frozen = match job.num_frozen() {
        0 => String::new(),
        frozen => format!(", {} frozen", thousands(frozen)),
    };
    let trained = thousands(job.num_trained());
    line("parameters", format!("{trained} trained{frozen}"));
    if job.hardware != Hardware::Cpu && plan.memory.host_peak() > 0 {
        line("host memory", size(plan.memory.host_peak()));
    }
    line("arithmetic", flops(plan.flops_per_step) + " a step");
    if let Some([blocks, step]) = plan.streamed_bytes {
        let text = format!(
            "{} of blocks, {} read a step: {} at {}/s, beside the arithmetic",
            size(blocks),
            size(step),
            duration(step as f64 / STREAMED_PER_SECOND),
            size(STREAMED_PER_SECOND as u64),
        );
        line("streamed", text);
    }
    let one = size(plan.checkpoint_bytes);
    line(
        "checkpoint",
        match plan.checkpoints {
            Some(1) => format!("{one} on disk"),
            Some(count) => {
                let all = size(plan.checkpoint_bytes * count);
                format!("{one} on disk, {all} with {count} of them")
            }
            None => format!("{one} on disk each, and none is ever removed"),
        },
    );
    text
}

/// One line that says whether the stage fits, and what to change where it does not.
pub fn verdict(verdict: Verdict, changes: &[Change]) -> String {
    let Verdict { available, peak } = verdict;
    if verdict.fits() {
        return format!(
            "  fits in {}, with {} to spare\n",
            size(available),
            size(available - peak)
        );
    }
    let mut text = format!(
        "  does not fit in {}: {} too much\n",
        size(available),
        size(peak - available)
    );
    let rows: Vec<Vec<String>> = changes
        .iter()
        .map(|change| {
            vec![
                format!("  {}", change.keys),
                format!("saves {}", size(change.saves)),
                match change.peak <= available {
                    true => "then it fits".to_owned(),
                    false => String::new(),
                },
            ]
        })
        .collect();
    for line in aligned(&rows).lines() {
        writeln!(text, "  {}", line.trim_end()).expect("a string takes text");
    }
    text
}

fn duration(seconds: f64) -> String {
    match seconds {
        seconds if seconds < 600.0 => format!("{seconds:.0} s"),
        seconds if seconds < 48.0 * 3600.0 => format!("{:.1} hours", seconds / 3600.0),
        seconds => format!("{:.1} days", seconds / 86_400.0),
    }
}

/// Bytes in GiB, in MiB below one of them and in TiB above ten thousand.
pub fn size(bytes: u64) -> String {
    let gib = bytes as f64 / GIB;
    match gib {
        gib if gib >= 10_000.0 => format!("{:.0} TiB", gib / 1024.0),
        gib if gib >= 100.0 => format!("{gib:.0} GiB"),
        gib if gib >= 1.0 => format!("{gib:.1} GiB"),
        gib => format!("{:.0} MiB", gib * 1024.0),
    }
}

/// A count with commas.
pub fn thousands(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn flops(count: u64) -> String {
    let (scale, unit) = match count {
        0..1_000_000_000_000 => (1e9, "GFLOP"),
        1_000_000_000_000..1_000_000_000_000_000 => (1e12, "TFLOP"),
        _ => (1e15, "PFLOP"),
    };
    format!("{:.1} {unit}", count as f64 / scale)
}
