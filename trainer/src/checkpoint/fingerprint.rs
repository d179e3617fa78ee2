use std::fs;
use std::path::Path;

use telemetry::DataFile;

use crate::TrainError;

/// What tells a model folder from another: hashes of its configuration, of what makes its tokenizer,
/// and of pieces of its weights, by file. A copy of the folder has the same.
///
/// # Errors
/// A file cannot be read.
pub fn fingerprint(model_dir: &Path) -> Result<Vec<(String, String)>, TrainError> {
    let mut files = datasets::Tokenizer::files(model_dir);
    files.push(model_dir.join("config.json"));
    for entry in fs::read_dir(model_dir).map_err(TrainError::io(model_dir))? {
        let path = entry.map_err(TrainError::io(model_dir))?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "safetensors")
        {
            files.push(path);
        }
    }
    files.sort();
    files.dedup();
    files
        .iter()
        .map(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            Ok((name.into_owned(), DataFile::sample(path)?.sha256))
        })
        .collect()
}
