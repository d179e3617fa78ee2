use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use kernels::device::{DeviceName, open};
use telemetry::{CheckpointDir, DataFile, RunDir, RunManifest};

use crate::TrainError;
use crate::cli::{ReplayArgs, Resume};
use crate::recipe::{Recipe, StageSettings};
use crate::replay::Recorded;
use crate::run::{self, RunRequest};
use crate::say;
use crate::table::aligned;
use crate::train_loop::Until;

/// What a run's folder has for its preference losses; computing it again takes an epoch.
const REFERENCE: &str = "reference.jsonl";

/// Runs a recorded step again and prints where it differs.
pub(super) fn run(args: &ReplayArgs) -> Result<(), TrainError> {
    let run_dir = RunDir::open(&args.run_dir)?;
    let checkpoint = checkpoint_before(&run_dir, args.step)?;
    // Without one, from what the run began with.
    let from_step = checkpoint.as_ref().map_or(0, |checkpoint| checkpoint.step);
    let recorded = Recorded::read(&run_dir, args.step, from_step)?;
    let recorded = recorded.ok_or_else(|| not_recorded(args))?;
    if checkpoint.is_none() && recorded.went_on_from_checkpoint {
        return Err(no_checkpoint(&run_dir, args.step));
    }
    let path = run_dir.recipe_file();
    let recipe = fs::read_to_string(&path).map_err(TrainError::io(&path))?;
    let mut recipe = Recipe::from_toml(&recipe)?;
    recipe.run.report_to.clear();
    let manifest = RunManifest::read(&run_dir)?;
    check_data(&recipe, &manifest)?;
    let device = open(args.device.unwrap_or_else(|| device_of(&manifest)))?;
    let from = checkpoint.as_ref().map(|checkpoint| &checkpoint.path);
    say!(
        "step {} from step {from_step}, {}, on {} ({})",
        args.step,
        from.map_or(manifest.model.clone(), |path| path.display().to_string()),
        device.name,
        device.description
    );

    let scratch = Scratch::create()?;
    let reference = run_dir.path().join(REFERENCE);
    if reference.exists() {
        let copy = scratch.0.join(REFERENCE);
        fs::copy(&reference, &copy).map_err(TrainError::io(&reference))?;
    }
    run::run(RunRequest {
        recipe: match recorded.times_back {
            0 => training_alone(recipe),
            // What took the run back may have been an evaluation.
            _ => recipe,
        },
        model_dir: PathBuf::from(&manifest.model),
        output: scratch.0.clone(),
        device,
        resume: checkpoint.map_or(Resume::Never, |checkpoint| Resume::From(checkpoint.path)),
        until: Some(Until {
            step: args.step,
            times_back: recorded.times_back,
        }),
    })?;
    let again = RunDir::open(&scratch.0)?;
    let replayed = Recorded::read(&again, args.step, from_step)?.ok_or_else(|| {
        TrainError::Diverges(format!("the replay did not come to step {}", args.step))
    })?;
    warn_of_other_numerics(&manifest, &RunManifest::read(&again)?);
    report(args.step, &recorded, &replayed)
}

fn report(step: u64, recorded: &Recorded, replayed: &Recorded) -> Result<(), TrainError> {
    let parts = replayed.reward_parts();
    if !parts.is_empty() {
        println!("{}", aligned(&parts));
    }
    let differences = recorded.differences(replayed);
    if differences.is_empty() {
        let (metrics, completions) = recorded.counts();
        println!("step {step}: the same bits ({metrics} metrics, {completions} completions)");
        return Ok(());
    }
    let mut rows = vec![
        ["differs", "recorded", "replayed"]
            .map(str::to_owned)
            .to_vec(),
    ];
    let count = differences.len();
    rows.extend(
        differences
            .into_iter()
            .map(|d| vec![d.what, d.recorded, d.replayed]),
    );
    print!("{}", aligned(&rows));
    let values = if count == 1 { "value" } else { "values" };
    Err(TrainError::Diverges(format!(
        "step {step} came out with {count} other {values} than were recorded"
    )))
}

/// The recipe without what looks at training from outside and leaves its numbers as they are.
fn training_alone(mut recipe: Recipe) -> Recipe {
    recipe.data.eval_data.clear();
    recipe.run.save_steps = 0;
    recipe.run.eval_steps = 0;
    recipe.run.metric_for_best_model = None;
    recipe.run.early_stopping_patience = 0;
    if let StageSettings::Rl(settings) = &mut recipe.stage {
        settings.watch_metric = None;
    }
    recipe
}

fn checkpoint_before(run_dir: &RunDir, step: u64) -> Result<Option<CheckpointDir>, TrainError> {
    let checkpoints = run_dir.checkpoints()?;
    Ok(checkpoints.into_iter().rev().find(|c| c.step < step))
}

fn no_checkpoint(run_dir: &RunDir, step: u64) -> TrainError {
    TrainError::Checkpoint(format!(
        "{} has no checkpoint before step {step}, and went on from one that is not there any \
         more\nhint: save_total_limit = 0 keeps all checkpoints",
        run_dir.path().display(),
    ))
}

fn not_recorded(args: &ReplayArgs) -> TrainError {
    TrainError::Usage(format!(
        "{} has no step {}\nhint: `trainer watch {}` shows how far the run came",
        args.run_dir.display(),
        args.step,
        args.run_dir.display()
    ))
}

/// Whether the files that the run trained on are what they were.
fn check_data(recipe: &Recipe, manifest: &RunManifest) -> Result<(), TrainError> {
    for path in &recipe.data.train_data {
        let name = path.display().to_string();
        let Some(then) = manifest.data.iter().find(|file| file.path == name) else {
            continue;
        };
        let now = DataFile::measure(path)?;
        if now != *then {
            return Err(TrainError::Checkpoint(format!(
                "{name} has changed since the run: {} bytes with SHA-256 {}, then {} bytes with \
                 {}\nhint: put the file back as it was",
                now.bytes, now.sha256, then.bytes, then.sha256
            )));
        }
    }
    Ok(())
}

/// `cuda:0 (NVIDIA H200)` is the device `cuda:0`.
fn device_of(manifest: &RunManifest) -> DeviceName {
    let name = manifest.device.split(" (").next().unwrap_or_default();
    name.parse().unwrap_or_default()
}

fn warn_of_other_numerics(then: &RunManifest, now: &RunManifest) {
    let pairs = [
        ("device", &then.device, &now.device),
        ("dtype", &then.dtype, &now.dtype),
        ("version", &then.program_version, &now.program_version),
    ];
    for (what, then, now) in pairs.into_iter().filter(|(_, then, now)| then != now) {
        say!("warning: the run's {what} was {then} and the replay's is {now}");
    }
}

/// A folder of this command's own, removed in the end.
struct Scratch(PathBuf);

impl Scratch {
    fn create() -> Result<Self, TrainError> {
        let place = std::env::temp_dir();
        let process = std::process::id();
        // A process of the same number may have been killed here before.
        for number in 0.. {
            let path = place.join(format!("keep-replay-{process}-{number}"));
            match fs::create_dir(&path) {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                created => {
                    created.map_err(TrainError::io(&path))?;
                    return Ok(Scratch(path));
                }
            }
        }
        unreachable!("numbers do not end")
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        remove(&self.0);
    }
}

fn remove(path: &Path) {
    if let Err(error) = fs::remove_dir_all(path) {
        say!("warning: {} stays: {error}", path.display());
    }
}
