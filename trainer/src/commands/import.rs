use std::fs;

use telemetry::atomic::write_atomic;

use crate::TrainError;
use crate::cli::ImportArgs;
use crate::recipe::import::import;

/// Writes the recipe, and says what it lacks.
pub(super) fn run(args: &ImportArgs) -> Result<(), TrainError> {
    if let Some(output) = args.output.as_deref().filter(|output| output.exists()) {
        return Err(TrainError::Usage(format!(
            "{} exists\nhint: nothing is ever overwritten; remove it or give another --output",
            output.display()
        )));
    }
    let text = fs::read_to_string(&args.file).map_err(TrainError::io(&args.file))?;
    let file = args.file.display().to_string();
    let imported = import(args.program, &file, &text, args.stage)
        .map_err(|error| TrainError::Usage(error.to_string()))?;
    for note in &imported.notes {
        eprintln!("{file}:{note}");
    }
    match &args.output {
        Some(output) => write_atomic(output, &imported.toml)?,
        None => print!("{}", imported.toml),
    }
    eprintln!(
        "stage {}: {} keys carried, {} not",
        imported.stage,
        imported.num_carried,
        imported.notes.iter().filter(|note| !note.carried).count()
    );
    Ok(())
}
