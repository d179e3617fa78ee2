use std::fs;
use std::path::{Path, PathBuf};

use kernels::device::{DeviceName, OpenDevice, open};
use model::{CausalLm, ModelConfig};
use telemetry::SystemClock;

use crate::TrainError;
use crate::cli::PlanArgs;
use crate::monitor::total_memory;
use crate::plan::measure::{self, MAX_RANDOM_PARAMETERS};
use crate::plan::report::{self, Verdict};
use crate::plan::{Hardware, StagePlan, changes};
use crate::recipe::{RawRecipe, Recipe, StageName, for_stage, unused_keys};
use crate::run::compute_dtype;
use crate::say;
use crate::trainable::trainable;

/// Prints the plan of each stage, and fails where one does not fit.
pub(super) fn run(args: &PlanArgs) -> Result<(), TrainError> {
    let raw = args.raw_recipe()?;
    let stages = args.stages(&raw);
    let (config, source) = config(args, &raw, stages[0])?;
    let hardware = hardware(args.device)?;
    let available = available(args, hardware);
    println!(
        "{}: {} parameters, {} blocks",
        source.display(),
        report::thousands(config.num_parameters()),
        config.num_hidden_layers
    );
    if available.is_none() {
        say!("note: pass `--memory GIB`, the device's, to hear whether it fits");
    }
    let mut too_large = Vec::new();
    for stage in stages {
        for key in unused_keys(&raw, stage) {
            say!("note: {key}");
        }
        let recipe = for_stage(&raw, stage)?;
        let plan = StagePlan::of(&recipe, &config, hardware);
        print!("\n{}", report::stage(&plan));
        if let Some(available) = available {
            let verdict = Verdict {
                available,
                peak: plan.memory.peak().0,
            };
            let changes = match verdict.fits() {
                true => Vec::new(),
                false => changes(&recipe, &config, hardware),
            };
            print!("{}", report::verdict(verdict, &changes));
            if !verdict.fits() {
                too_large.push(stage.as_str());
            }
        }
        if args.measure {
            measure(args, &recipe, &plan)?;
        }
    }
    if too_large.is_empty() {
        return Ok(());
    }
    Err(TrainError::DoesNotFit(format!(
        "{} does not fit in memory",
        too_large.join(", ")
    )))
}

/// The model's shape: that of `--config`, of `--model` or the recipe's model, or of the config.json
/// beside the recipe.
fn config(
    args: &PlanArgs,
    raw: &RawRecipe,
    stage: StageName,
) -> Result<(ModelConfig, PathBuf), TrainError> {
    let read = |path: &Path| -> Result<_, TrainError> {
        let json = fs::read(path).map_err(TrainError::io(path))?;
        Ok((ModelConfig::from_json(&json, path)?, path.to_owned()))
    };
    if let Some(path) = &args.config {
        return read(path);
    }
    let recipe = for_stage(raw, stage)?;
    if let Some(model) = &recipe.model.model_name_or_path {
        return read(&model.join("config.json"));
    }
    let beside = args.recipe.with_file_name("config.json");
    if beside.exists() {
        return read(&beside);
    }
    Err(TrainError::Usage(
        "which model is it for?\nhint: pass `--model DIR` or `--config config.json`, or set \
         model_name_or_path in the recipe"
            .to_owned(),
    ))
}

/// What a device's name means for a plan. Only `auto` looks at this machine.
fn hardware(device: DeviceName) -> Result<Hardware, TrainError> {
    Ok(match device {
        DeviceName::Cpu => Hardware::Cpu,
        DeviceName::Cuda(_) => Hardware::Cuda,
        DeviceName::Wgpu(_) | DeviceName::Vulkan(_) | DeviceName::Metal => Hardware::Gpu,
        DeviceName::Auto => match open(DeviceName::Auto)?.name.split(':').next() {
            Some("cpu") => Hardware::Cpu,
            Some("cuda") => Hardware::Cuda,
            _ => Hardware::Gpu,
        },
    })
}

fn available(args: &PlanArgs, hardware: Hardware) -> Option<u64> {
    let given = args.memory.map(|gib| (gib * f64::from(1 << 30)) as u64);
    given.or_else(|| match hardware {
        Hardware::Cpu => total_memory(),
        Hardware::Gpu | Hardware::Cuda => None,
    })
}

fn measure(args: &PlanArgs, recipe: &Recipe, plan: &StagePlan) -> Result<(), TrainError> {
    let device = open(args.device)?;
    let model = model_to_measure(args, recipe, plan, &device)?;
    let clock = SystemClock::new();
    let time = measure::step_time(plan, model, &recipe.optimizer, &clock);
    let step = time.step(plan.job.work.micro_batches);
    println!(
        "  measured     {:.2} s a micro-batch, {:.2} s the optimizer: {:.1} s a step on {}",
        time.micro_batch.as_secs_f64(),
        time.optimizer.as_secs_f64(),
        step.as_secs_f64(),
        device.name,
    );
    if plan.job.work.rollout.is_some() {
        println!("               sampling comes on top, and was not measured");
    }
    if let Some(steps) = plan.steps {
        let hours = step.as_secs_f64() * steps as f64 / 3600.0;
        println!("               {hours:.2} hours for {steps} steps");
    }
    Ok(())
}

fn model_to_measure(
    args: &PlanArgs,
    recipe: &Recipe,
    plan: &StagePlan,
    device: &OpenDevice,
) -> Result<CausalLm, TrainError> {
    let dtype = compute_dtype(recipe.model.dtype, device)?;
    let with_gradients = device.device.clone().autodiff();
    if let Some(dir) = &args.model {
        let trainable = trainable(&recipe.model);
        return Ok(CausalLm::load_to_train(dir, &with_gradients, dtype, &trainable)?.0);
    }
    if plan.job.counts.total > MAX_RANDOM_PARAMETERS {
        return Err(TrainError::Usage(format!(
            "{} parameters are too many to measure with random weights\nhint: pass `--model DIR`",
            report::thousands(plan.job.counts.total)
        )));
    }
    Ok(measure::random_model(plan, &with_gradients, dtype))
}
