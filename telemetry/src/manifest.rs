//! `manifest.json`: what ran, on what, from what data.

use crate::atomic::write_atomic;
use crate::{Fields, RunDir, TelemetryError};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

/// Everything one needs to know to trust a run's numbers, or to run it again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunManifest {
    /// The manifest's version, 1.
    pub version: u64,
    /// `cpt`, `sft`, `po` or `rl`.
    pub stage: String,
    /// The model trained, as given.
    pub model: String,
    /// The seed.
    pub seed: u64,
    /// The device in words.
    pub device: String,
    /// The type computed in.
    pub dtype: String,
    /// Version of the program, from Cargo.
    pub program_version: String,
    /// The commit it was built from, where known.
    #[serde(default)]
    pub git_commit: Option<String>,
    /// When the run first started, as [`crate::clock::rfc3339`] writes it.
    pub started_at: String,
    /// The command line.
    pub argv: Vec<String>,
    /// The data files as they were at the start.
    pub data: Vec<DataFile>,
    /// Whatever else is worth knowing.
    #[serde(flatten)]
    pub fields: Fields,
}

impl RunManifest {
    /// The version written here.
    pub const VERSION: u64 = 1;

    /// Writes `manifest.json`, whole or not at all.
    pub fn write(&self, run_dir: &RunDir) -> Result<(), TelemetryError> {
        let mut json = serde_json::to_string_pretty(self).expect("a manifest is plain data");
        json.push('\n');
        write_atomic(&run_dir.manifest_file(), json)
    }

    /// Reads a run's `manifest.json`.
    pub fn read(run_dir: &RunDir) -> Result<Self, TelemetryError> {
        let path = run_dir.manifest_file();
        let json = fs::read_to_string(&path).map_err(TelemetryError::io("read", &path))?;
        serde_json::from_str(&json).map_err(TelemetryError::json(&path))
    }
}

/// A data file by its content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataFile {
    /// Its path as given.
    pub path: String,
    /// Its size.
    pub bytes: u64,
    /// SHA-256 of its content, in hexadecimal.
    pub sha256: String,
}

impl DataFile {
    /// Reads the whole file, at the disk's pace.
    pub fn measure(path: &Path) -> Result<Self, TelemetryError> {
        let fail = || TelemetryError::io("read", path);
        let mut file = File::open(path).map_err(fail())?;
        let (mut hash, mut bytes, mut block) = (Sha256::new(), 0, vec![0; 1 << 16]);
        loop {
            match file.read(&mut block).map_err(fail())? {
                0 => break,
                read => {
                    hash.update(&block[..read]);
                    bytes += read as u64;
                }
            }
        }
        Ok(Self {
            path: path.display().to_string(),
            bytes,
            sha256: hex(hash),
        })
    }

    /// Reads the beginning, the middle and the end of a file, a MiB each: enough to tell one model's
    /// weights from another's, in no time. The hash is of those pieces and the size.
    pub fn sample(path: &Path) -> Result<Self, TelemetryError> {
        const PIECE: u64 = 1 << 20;
        let fail = || TelemetryError::io("read", path);
        let mut file = File::open(path).map_err(fail())?;
        let bytes = file.metadata().map_err(fail())?.len();
        let mut hash = Sha256::new();
        hash.update(bytes.to_le_bytes());
        let last = bytes.saturating_sub(PIECE);
        for start in [0, last / 2, last] {
            let mut piece = Vec::new();
            file.seek(SeekFrom::Start(start)).map_err(fail())?;
            let mut part = (&file).take(PIECE);
            part.read_to_end(&mut piece).map_err(fail())?;
            hash.update(&piece);
        }
        Ok(Self {
            path: path.display().to_string(),
            bytes,
            sha256: hex(hash),
        })
    }
}

fn hex(hash: Sha256) -> String {
    let bytes = hash.finalize();
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_data_file_is_known_by_its_hash() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("abc");
        fs::write(&path, "abc").unwrap();
        let file = DataFile::measure(&path).unwrap();
        assert_eq!(
            (file.bytes, file.sha256.as_str()),
            (
                3,
                "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
            )
        );
        assert!(
            DataFile::measure(&dir.path().join("no.jsonl"))
                .unwrap_err()
                .to_string()
                .contains("no.jsonl")
        );
    }

    #[test]
    fn a_sample_sees_a_change_at_either_end_and_in_the_middle() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("weights");
        let mut bytes = vec![0u8; 5 << 20];
        let mut seen = std::collections::BTreeSet::new();
        for at in [None, Some(0), Some(5 << 19), Some((5 << 20) - 1)] {
            if let Some(at) = at {
                bytes[at] = 1;
            }
            fs::write(&path, &bytes).unwrap();
            seen.insert(DataFile::sample(&path).unwrap().sha256);
        }
        assert_eq!(seen.len(), 4);
    }

    #[test]
    fn a_manifest_survives_the_disk_with_fields_of_the_future() {
        let dir = tempfile::tempdir().unwrap();
        let run = RunDir::create(dir.path()).unwrap();
        let manifest = RunManifest {
            version: RunManifest::VERSION,
            stage: "sft".into(),
            model: "models/gemma2".into(),
            seed: u64::MAX,
            device: "cpu".into(),
            dtype: "float32".into(),
            program_version: "0.1.0".into(),
            git_commit: None,
            started_at: crate::clock::rfc3339(0),
            argv: vec!["trainer".into(), "--stage".into(), "sft".into()],
            data: vec![DataFile {
                path: "a.jsonl".into(),
                bytes: 1,
                sha256: "00".into(),
            }],
            fields: Fields::new().with("slurm_job_id", "77"),
        };
        manifest.write(&run).unwrap();
        assert_eq!(RunManifest::read(&run).unwrap(), manifest);
        fs::write(run.manifest_file(), "{").unwrap();
        assert!(
            RunManifest::read(&run)
                .unwrap_err()
                .to_string()
                .contains("manifest.json: EOF")
        );
    }
}
