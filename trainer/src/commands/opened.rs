use std::path::Path;

use datasets::DocumentStart;
use kernels::device::{DeviceName, open};
use model::CausalLm;

use crate::TrainError;
use crate::recipe::Dtype;
use crate::run::compute_dtype;

/// Loads a model for scoring or generation, and how its documents begin.
pub(super) fn model(
    dir: &Path,
    device: DeviceName,
    dtype: Dtype,
) -> Result<(CausalLm, DocumentStart), TrainError> {
    let device = open(device)?;
    let dtype = compute_dtype(dtype, &device)?;
    let (model, report) = CausalLm::load_frozen(dir, &device.device, dtype)?;
    for warning in &report.warnings {
        eprintln!("warning: {warning}");
    }
    let document_start = match model.config().uses_bos() {
        true => DocumentStart::Bos,
        false => DocumentStart::Text,
    };
    Ok((model, document_start))
}
