//! The arguments of a short run of a stage, headless on the CPU.

use std::path::Path;

use crate::golden;
use crate::program::text;

/// Those of a run on the golden checkpoint of that family, with further settings.
pub fn arguments(
    stage: &str,
    family: &str,
    (data, output): (&Path, &Path),
    steps: u32,
    settings: &[&str],
) -> Vec<String> {
    let model = golden::model_dir(family);
    let steps = steps.to_string();
    let base = [
        "--stage",
        stage,
        "--model",
        text(&model),
        "--data",
        text(data),
        "--output",
        text(output),
        "--device",
        "cpu",
        "--max-steps",
        &steps,
        "--tui",
        "never",
    ];
    let set = settings.iter().flat_map(|setting| ["--set", setting]);
    base.into_iter().chain(set).map(str::to_owned).collect()
}
