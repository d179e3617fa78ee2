use std::fs;
use std::path::Path;

use datasets::DocumentStart;
use model::ModelConfig;
use model::checkpoint::{DEFAULT_MAX_SHARD_BYTES, Merge};
use telemetry::StagedDir;

use super::opened;
use crate::TrainError;
use crate::checkpoint::copy_tokenizer;
use crate::cli::MergeArgs;
use crate::evaluate::HeldOut;
use crate::table::aligned;

/// Writes the weighted sum of checkpoints, or the best of several.
pub(super) fn run(args: &MergeArgs) -> Result<(), TrainError> {
    if args.output.exists() {
        return Err(TrainError::Usage(format!(
            "{} exists\nhint: nothing is ever overwritten; remove it or give another --output",
            args.output.display()
        )));
    }
    let weights = match args.sweep.is_empty() {
        true => Some(args.weights().map_err(TrainError::Usage)?),
        false => None,
    };
    let merge = Merge::open(&args.models)?;
    let staged = match weights {
        Some(weights) => {
            if weights.iter().any(|weight| !(0.0..=1.0).contains(weight)) {
                eprintln!("note: a weight outside 0 to 1 extrapolates beyond the models");
            }
            staged(args, &merge, &weights)?
        }
        None => sweep(args, &merge)?,
    };
    println!("{}", staged.commit()?.display());
    Ok(())
}

/// A whole model folder that has no name yet.
fn staged(args: &MergeArgs, merge: &Merge, weights: &[f32]) -> Result<StagedDir, TrainError> {
    if let Some(parent) = args.output.parent() {
        fs::create_dir_all(parent).map_err(TrainError::io(parent))?;
    }
    let staged = StagedDir::create(&args.output)?;
    merge.write(staged.path(), weights, DEFAULT_MAX_SHARD_BYTES)?;
    copy_tokenizer(&args.models[0], staged.path())?;
    Ok(staged)
}

/// Tries each weight on the held-out files, prints the table and returns the best merge. At most two
/// merges are on the disk at a time.
fn sweep(args: &MergeArgs, merge: &Merge) -> Result<StagedDir, TrainError> {
    let [first, second] = args.models.as_slice() else {
        return Err(TrainError::Usage(format!(
            "--sweep is for two models, and {} are given\nhint: merge two of them first",
            args.models.len()
        )));
    };
    let start = match ModelConfig::from_dir(first)?.uses_bos() {
        true => DocumentStart::Bos,
        false => DocumentStart::Text,
    };
    let files = args
        .data
        .iter()
        .map(|path| HeldOut::read(path, first, start))
        .collect::<Result<Vec<_>, _>>()?;
    let losses = |dir: &Path, name: &str| -> Result<Vec<f64>, TrainError> {
        let (model, _) = opened::model(dir, args.device, args.dtype)?;
        let losses: Vec<f64> = files.iter().map(|file| file.loss(&model)).collect();
        eprintln!("{name}: {}", spelled(&losses));
        Ok(losses)
    };
    let parents = [
        losses(first, "the first model")?,
        losses(second, "the second model")?,
    ];
    let mut rows = vec![header(&files)];
    rows.push(row("first", &parents[0], &parents));
    let mut best: Option<(f64, f64, StagedDir)> = None;
    for &weight in &args.sweep {
        let merged = staged(args, merge, &[(1.0 - weight) as f32, weight as f32])?;
        let losses = losses(merged.path(), &format!("weight {weight}"))?;
        let ratio = relative_loss(&losses, &parents);
        rows.push(row(&weight.to_string(), &losses, &parents));
        // A ratio that is NaN is never the lowest.
        if ratio.is_finite() && best.as_ref().is_none_or(|(lowest, ..)| ratio < *lowest) {
            best = Some((ratio, weight, merged));
        }
    }
    rows.push(row("second", &parents[1], &parents));
    print!("{}", aligned(&rows));
    let Some((ratio, weight, merged)) = best else {
        return Err(TrainError::NothingToTrain(
            "no merge has a finite loss on every file\nhint: `trainer compare --nan` finds where \
             a model goes wrong"
                .to_owned(),
        ));
    };
    println!("\nbest weight {weight}, relative loss {ratio:.4}");
    if parents
        .iter()
        .any(|alone| relative_loss(alone, &parents) <= ratio)
    {
        eprintln!("note: one of the two models alone is as good as the best merge");
    }
    Ok(merged)
}

/// The mean over files of a loss divided by the better parent's: 1 is as good as the better parent
/// in everything.
fn relative_loss(losses: &[f64], parents: &[Vec<f64>; 2]) -> f64 {
    let ratios = losses
        .iter()
        .zip(parents[0].iter().zip(&parents[1]))
        .map(|(loss, (a, b))| loss / a.min(*b));
    ratios.sum::<f64>() / losses.len() as f64
}

fn header(files: &[HeldOut]) -> Vec<String> {
    std::iter::once("weight".to_owned())
        .chain(files.iter().map(|file| file.name.clone()))
        .chain(["relative loss".to_owned()])
        .collect()
}

fn row(name: &str, losses: &[f64], parents: &[Vec<f64>; 2]) -> Vec<String> {
    let ratio = relative_loss(losses, parents);
    std::iter::once(name.to_owned())
        .chain(losses.iter().map(|loss| format!("{loss:.4}")))
        .chain([format!("{ratio:.4}")])
        .collect()
}

fn spelled(losses: &[f64]) -> String {
    let losses: Vec<String> = losses.iter().map(|loss| format!("{loss:.4}")).collect();
    losses.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_relative_loss_measures_each_file_by_its_better_parent() {
        let parents = [vec![2.0, 0.5], vec![1.0, 1.0]];
        // 1.5 / 1 and 0.75 / 0.5: a file with large losses counts no more than one with small ones.
        assert_eq!(relative_loss(&[1.5, 0.75], &parents), 1.5);
        // Each parent is as good as itself in one skill and twice as bad in the other.
        assert_eq!(relative_loss(&parents[0], &parents), 1.5);
        assert_eq!(relative_loss(&parents[1], &parents), 1.5);
        assert!(relative_loss(&[f64::NAN, 1.0], &parents).is_nan());
    }
}
