mod session;

use std::path::{Path, PathBuf};

use kernels::device::{OpenDevice, open};
use telemetry::{ProcessMark, RunDir};

use crate::TrainError;
use crate::best::result_checkpoint;
use crate::cli::{Resume, StageChoice, TrainArgs};
use crate::demo::Demo;
use crate::interrupt;
use crate::recipe::{RawRecipe, RunSettings, StageName, for_stage, unused_keys};
use crate::run::{self, RunEnd, RunRequest};
use crate::say;
use crate::table;

/// Trains, in this process or in one of its own with the viewer in this one.
pub(super) fn run(args: &TrainArgs) -> Result<(), TrainError> {
    say::set_format(args.log_format);
    session::enter_own();
    let raw = args.raw_recipe()?;
    let output = output(args);
    for stage in stages(args) {
        for_stage(&raw, stage)?;
    }
    if session::wants_viewer(args)? {
        return session::watched(&output);
    }
    interrupt::ignore_hangup();
    train(args, &raw, &output)
}

/// Runs the named stage, and before it what it builds on: in the demo the earlier stages whose
/// checkpoints are missing, with `--stage all` every stage.
fn train(args: &TrainArgs, raw: &RawRecipe, output: &Path) -> Result<(), TrainError> {
    let device = open(args.device)?;
    say!("device {} ({})", device.name, device.description);
    let stages = stages(args);
    let mut mark = None;
    if args.is_demo() || stages.len() > 1 {
        // A plain file in the way is reported before anything is made beside it.
        RunDir::create(output)?;
        mark = ProcessMark::leave(output, "starts")?;
    }
    let mut doing = |what: &str| match &mut mark {
        Some(mark) => mark.now(what).map_err(TrainError::io(output)),
        None => Ok(()),
    };
    let demo = match args.is_demo() {
        true => {
            doing("makes the demo's corpus, tokenizer and model")?;
            Some(prepare_demo(args, raw, output, &device)?)
        }
        false => None,
    };
    let mut previous = demo.as_ref().map(|demo| demo.base.clone());
    let last = stages.len() - 1;
    for (position, &stage) in stages.iter().enumerate() {
        let dir = match position == last && args.stage != StageChoice::All {
            true => output.to_owned(),
            false => output.join(stage.as_str()),
        };
        doing(&format!("is at stage {stage}"))?;
        let mut raw = raw.clone();
        if let Some(demo) = &demo {
            demo_layer(args, &mut raw, stage, demo);
        }
        if args.stage.named().is_none() || position == last {
            for key in unused_keys(&raw, stage) {
                say::note(&key.to_string());
            }
        }
        let recipe = for_stage(&raw, stage)?;
        let settings = recipe.run.clone();
        let model_dir = match &previous {
            Some(dir) => dir.clone(),
            None => recipe.require_model()?.to_owned(),
        };
        say!(
            "\nstage {stage}: {} → {}",
            model_dir.display(),
            dir.display()
        );
        let end = run::run(RunRequest {
            recipe,
            model_dir,
            output: dir.clone(),
            device: device.clone(),
            resume: match position == last {
                true => args.resume.clone(),
                false => Resume::Auto,
            },
            until: None,
        })?;
        match end {
            RunEnd::AlreadyFinished => say!("{} had finished before", dir.display()),
            RunEnd::Trained(outcome) if position == last || args.stage == StageChoice::All => {
                say::results(&table::outcome(&outcome));
            }
            RunEnd::Trained(_) => {}
        }
        previous = Some(checkpoint_of(&dir, &settings)?);
    }
    if let Some(checkpoint) = previous {
        say::results(&format!("\n{}\n", checkpoint.display()));
    }
    Ok(())
}

/// The run directory of the last stage.
fn output(args: &TrainArgs) -> PathBuf {
    args.output.clone().unwrap_or_else(|| {
        let stage = args.stage.named().map_or("all", StageName::as_str);
        PathBuf::from("runs").join(format!("{}{stage}", demo_prefix(args)))
    })
}

fn demo_prefix(args: &TrainArgs) -> &'static str {
    if args.is_demo() { "demo-" } else { "" }
}

fn stages(args: &TrainArgs) -> Vec<StageName> {
    match args.stage.named() {
        None => StageName::ALL.to_vec(),
        Some(named) if args.is_demo() => StageName::ALL[..=named as usize].to_vec(),
        Some(named) => vec![named],
    }
}

/// Corpus, tokenizer and untrained model, from the recipe's seed.
fn prepare_demo(
    args: &TrainArgs,
    raw: &RawRecipe,
    output: &Path,
    device: &OpenDevice,
) -> Result<Demo, TrainError> {
    say!(
        "no model, data or recipe was given: this is the built-in demo, a small model on a corpus \
         that the program makes up"
    );
    let stage = args.stage.named().unwrap_or(StageName::Cpt);
    let seed = for_stage(raw, stage)?.model.seed;
    Demo::prepare(output, seed, device)
}

/// The demo's files, and the named stage's seed for the stages before it too: all of them are made
/// for this run.
fn demo_layer(args: &TrainArgs, raw: &mut RawRecipe, stage: StageName, demo: &Demo) {
    let path = |path: PathBuf| path.display().to_string();
    raw.flag(
        Some(stage),
        "the demo",
        "train_data",
        path(demo.train_data(stage)),
    );
    if stage == StageName::Rl {
        raw.flag(Some(stage), "the demo", "eval_data", path(demo.eval_data()));
    }
    if let Some(seed) = args.seed {
        raw.flag(Some(stage), "--seed", "seed", seed);
    }
}

/// What the next stage builds on.
fn checkpoint_of(dir: &Path, settings: &RunSettings) -> Result<PathBuf, TrainError> {
    let checkpoint = result_checkpoint(&RunDir::open(dir)?, settings)?;
    checkpoint.ok_or_else(|| {
        TrainError::Checkpoint(format!("{}: no checkpoint was written", dir.display()))
    })
}
