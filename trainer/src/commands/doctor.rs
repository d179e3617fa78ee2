use kernels::device::{DeviceName, findings, open};

use crate::TrainError;
use crate::cli::DoctorArgs;

/// Prints what each kind of device has to offer here, or opens the one asked for.
pub(super) fn run(args: &DoctorArgs) -> Result<(), TrainError> {
    println!("trainer {}", env!("CARGO_PKG_VERSION"));
    if args.device != DeviceName::Auto {
        let device = open(args.device)?;
        println!("{:<6} ok   {}", device.name, device.description);
        return Ok(());
    }
    for finding in findings() {
        match finding.result {
            Ok(names) => {
                for name in names {
                    println!("{:<6} ok   {name}", finding.kind);
                }
            }
            Err(reason) => println!("{:<6} –    {reason}", finding.kind),
        }
        if let Some(hint) = finding.hint {
            println!("            hint: {hint}");
        }
    }
    let auto = open(DeviceName::Auto)?;
    println!("\n--device auto is {} ({})", auto.name, auto.description);
    Ok(())
}
