//! Times every operation against its reference.
//!
//! ```sh
//! cargo bench --workspace --bench operations -- [--device cpu|wgpu|cuda] [--op NAME] [--quick] [--json]
//! ```
//!
//! (`cargo bench -p kernels` does the same, and first compiles the dependencies with the features
//! that this crate alone asks for.)
//!
//! Times are medians. Floating-point operations and bytes are what the mathematics must do and move
//! at the least; their share is of what this device does in the same run: its own matmul, and its
//! own copy. Memory is the largest that was allocated beyond inputs and outputs, on the CPU.

mod cases;
#[cfg(feature = "cuda")]
mod matmul;
mod measure;
mod memory;

use burn::tensor::{DType, Device};
use kernels::device::{DeviceName, OpenDevice, open};

use cases::Case;
use measure::{Ceiling, Measured};

#[global_allocator]
static ALLOCATOR: memory::Counting = memory::Counting;

struct Options {
    devices: Vec<String>,
    op: Option<String>,
    quick: bool,
    json: bool,
}

fn main() {
    let options = Options::parse();
    for name in &options.devices {
        let parsed: DeviceName = match name.parse() {
            Ok(parsed) => parsed,
            Err(error) => {
                eprintln!("{error}");
                std::process::exit(2);
            }
        };
        match open(parsed) {
            Ok(device) => run(&device, &options),
            Err(error) => eprintln!("{error}"),
        }
    }
}

fn run(open: &OpenDevice, options: &Options) {
    let (device, quick) = (&open.device, options.quick);
    let name = format!("{} ({})", open.name, open.description);
    table(
        &name,
        device,
        DType::F32,
        options,
        cases::all(device, quick),
    );
    if open.default_dtype != DType::BF16 {
        return;
    }
    table(
        &name,
        device,
        DType::BF16,
        options,
        cases::large(device, quick),
    );
    #[cfg(feature = "cuda")]
    if !options.json && options.op.as_ref().is_none_or(|op| op == "matmul") {
        let index = open
            .name
            .split_once(':')
            .and_then(|(_, index)| index.parse().ok());
        let device = burn_cuda::CudaDevice::new(index.unwrap_or(0));
        matmul::run(&cubecl::Device::Cuda(device), quick);
    }
}

fn table(name: &str, device: &Device, dtype: DType, options: &Options, cases: Vec<Case>) {
    let ceiling = Ceiling::of(device, dtype, options.quick);
    if !options.json {
        println!(
            "\n{name}, {dtype:?}: matmul {:.0} GFLOP/s, copy {:.1} GB/s",
            ceiling.gflops, ceiling.gbytes
        );
        println!(
            "{:<60}{:>11}{:>9}{:>8}{:>8}{:>10}{:>11}{:>8}",
            "operation", "ms", "GFLOP/s", "of it", "of copy", "extra MB", "reference", "ratio"
        );
    }
    for case in cases {
        if options
            .op
            .as_ref()
            .is_none_or(|op| case.name.contains(op.as_str()))
        {
            report(&case, &ceiling, options);
        }
    }
}

fn report(case: &Case, ceiling: &Ceiling, options: &Options) {
    let Measured {
        seconds,
        extra_bytes,
    } = measure::measure(&*case.fused, options.quick);
    if options.json {
        println!(
            r#"{{"name": "{}", "seconds": {seconds}, "extra_bytes": {extra_bytes}}}"#,
            case.name
        );
        return;
    }
    let reference = case
        .reference
        .as_ref()
        .map(|r| measure::measure(&**r, options.quick).seconds);
    let gflops = case.flop / seconds / 1e9;
    let gbytes = case.bytes / seconds / 1e9;
    println!(
        "{:<60}{:>11.3}{:>9}{:>8}{:>7.0}%{:>10}{:>11}{:>8}",
        case.name,
        seconds * 1e3,
        shown(case.flop > 0.0, format!("{gflops:.1}")),
        shown(
            case.flop > 0.0,
            format!("{:.0}%", 100.0 * gflops / ceiling.gflops)
        ),
        100.0 * gbytes / ceiling.gbytes,
        // A GPU's is not counted.
        shown(ceiling.on_cpu, format!("{:.1}", extra_bytes as f64 / 1e6)),
        reference.map_or("–".to_owned(), |r| format!("{:.3}", r * 1e3)),
        reference.map_or("–".to_owned(), |r| format!("{:.2}×", r / seconds)),
    );
}

fn shown(known: bool, text: String) -> String {
    if known { text } else { "–".to_owned() }
}

impl Options {
    fn parse() -> Self {
        let mut options = Options {
            devices: Vec::new(),
            op: None,
            quick: false,
            json: false,
        };
        let mut arguments = std::env::args().skip(1);
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--device" => options.devices.extend(arguments.next()),
                "--op" => options.op = arguments.next(),
                "--quick" => options.quick = true,
                "--json" => options.json = true,
                // What cargo adds.
                "--bench" => {}
                other => {
                    eprintln!(
                        "unknown argument `{other}`: expected --device, --op, --quick or --json"
                    );
                    std::process::exit(2);
                }
            }
        }
        if options.devices.is_empty() {
            options.devices = ["cpu", "wgpu", "cuda"].map(str::to_owned).to_vec();
        }
        options
    }
}
