//! A run: from a resolved recipe and a model folder to its last checkpoint.

mod data_files;
mod open;

use std::path::{Path, PathBuf};

use burn::tensor::DType;
use datasets::DocumentStart;
use kernels::device::OpenDevice;
use model::checkpoint::{Checkpoint, Dtype as StoredDtype};
use model::flops::{ForwardCosts, Trained};
use model::{CausalLm, ModelConfig, Trainable};
use serde_json::Value;
use telemetry::event;
use telemetry::{
    Clock, Event, EventLog, EventTail, Fields, Heartbeat, Line, RunDir, RunLock, RunManifest,
    SampleLog, Scalar, SystemClock,
};

use crate::TrainError;
use crate::best::BestTracker;
use crate::checkpoint::{Start, TrainState, fingerprint, restore, starting_checkpoint};
use crate::cli::Resume;
use crate::control::{self, Requests};
use crate::forward::Recompute;
use crate::interrupt;
use crate::monitor::{
    Alerts, Gpus, LatestSystem, MemoryPeak, SystemMonitor, Utilization, peak_flops,
};
use crate::optimizer::AdamW;
use crate::preflight::{Look, Saving};
use crate::recipe::{Dtype, Recipe, RunSettings, StageSettings};
use crate::report_to::report_to;
use crate::say;
use crate::stage::Stage;
use crate::stages::rl::Reference;
use crate::train_loop::{Ended, Outcome, Training, Until};
use crate::trainable::trainable;
use crate::watched::Watch;
use data_files::DataFiles;

/// The file of what the reference makes of the training pairs.
const REFERENCE: &str = "reference.jsonl";

/// Sequences the sampler decodes at a time.
pub const MAX_BATCH_SIZE: usize = 64;

/// What a run needs beside its recipe.
pub struct RunRequest {
    /// The resolved recipe.
    pub recipe: Recipe,
    /// The model to start from.
    pub model_dir: PathBuf,
    /// The run's directory.
    pub output: PathBuf,
    /// Where to compute.
    pub device: OpenDevice,
    /// Whether to go on from a checkpoint.
    pub resume: Resume,
    /// Where to leave off without saving anything; `None` is the last step.
    pub until: Option<Until>,
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq)]
pub enum RunEnd {
    /// It had ended before.
    AlreadyFinished,
    /// It trained to its last step.
    Trained(Box<Outcome>),
}

/// Runs one stage to its last step.
///
/// # Errors
/// As [`Training::run`], and whatever is wrong with the model, the data or the output directory.
pub fn run(request: RunRequest) -> Result<RunEnd, TrainError> {
    let run_dir = RunDir::create(&request.output)?;
    // Whoever sees the lock may ask for something at once.
    let since_ms = SystemClock::new().now_ms();
    let lock = run_dir.lock()?;
    let log = say::shown(EventLog::open(&run_dir)?);
    control::refuse_stale(&run_dir, &log, since_ms)?;
    report_to(&request.recipe, &run_dir, &log);
    let result = run_locked(&request, &run_dir, &lock, &log);
    if let Err(error) = &result
        && let Err(unlogged) = log_end(&log, error)
    {
        // What ended the run comes first, and its exit code with it: most likely the disk is full,
        // and both say so.
        say::warning(&format!("the end of the run is not in its log: {unlogged}"));
    }
    result
}

fn log_end(log: &EventLog, error: &TrainError) -> Result<(), TrainError> {
    match error {
        TrainError::Stopped { step } => finish(log, "stopped", *step, Fields::new()),
        TrainError::Diverged { step, .. } => {
            log.append(failed(error))?;
            finish(log, "diverged", *step, Fields::new())
        }
        _ => Ok(log.append(failed(error))?),
    }
}

fn run_locked(
    request: &RunRequest,
    run_dir: &RunDir,
    lock: &RunLock,
    log: &EventLog,
) -> Result<RunEnd, TrainError> {
    let memory = MemoryPeak::watch();
    let start = starting_checkpoint(run_dir, &request.resume)?;
    let source = start
        .checkpoint
        .as_ref()
        .map_or(&*request.model_dir, |(dir, _)| dir);
    let config = ModelConfig::from_dir(source)?;
    let recipe = &request.recipe;
    check_stage(&start, recipe)?;
    let document_start = match config.uses_bos() {
        true => DocumentStart::Bos,
        false => DocumentStart::Text,
    };
    let context = Context {
        recipe,
        model_dir: &request.model_dir,
        document_start,
        log,
        look: Look::new(recipe, &config, run_dir.path(), &start),
        memory,
        data_files: DataFiles::default(),
        heartbeat: Heartbeat::start(log, Heartbeat::PERIOD),
        resumed: start
            .checkpoint
            .as_ref()
            .map(|(_, state)| (state.step as usize, state.stage_state.clone())),
    };
    let compute = compute_dtype(recipe.model.dtype, &request.device)?;
    match &recipe.stage {
        StageSettings::Cpt(settings) => {
            let stage = open::pretraining_stage(&context, settings)?;
            context.train(stage, request, run_dir, lock, start, compute)
        }
        StageSettings::Sft(settings) => {
            let stage = open::sft_stage(&context, settings)?;
            context.train(stage, request, run_dir, lock, start, compute)
        }
        StageSettings::Rl(settings) => {
            let device = request.device.device.clone();
            let reference = match settings.beta > 0.0 {
                false => Reference::None,
                true if recipe.model.lora_r > 0 => Reference::WithoutAdapters,
                true => {
                    let (model, _) = CausalLm::load_frozen(&request.model_dir, &device, compute)?;
                    Reference::Model(Box::new(model))
                }
            };
            let stage = open::rl_stage(&context, settings, reference)?;
            context.train(stage, request, run_dir, lock, start, compute)
        }
        StageSettings::Po(settings) => {
            let device = request.device.device.clone();
            // As in training, so that it fits wherever that does.
            let load = || {
                let (dir, trainable) = (&request.model_dir, trainable(&recipe.model));
                let (model, _) = CausalLm::load_to_train(dir, &device, compute, &trainable)?;
                Ok(model.without_adapters())
            };
            let stage = open::preference_stage(&context, settings, run_dir, compute, &load)?;
            context.train(stage, request, run_dir, lock, start, compute)
        }
    }
}

/// A run goes on in the stage it began with.
fn check_stage(start: &Start, recipe: &Recipe) -> Result<(), TrainError> {
    let Some((dir, state)) = &start.checkpoint else {
        return Ok(());
    };
    let stage = recipe.stage_name().as_str();
    if state.stage == stage {
        return Ok(());
    }
    let dir = dir.display();
    Err(TrainError::Usage(format!(
        "{dir} is of stage {}, and this is stage {stage}\nhint: choose another --output, and \
         `--model {dir}` to build on it",
        state.stage
    )))
}

/// Optimizer steps of a whole run.
fn total_steps(run: &RunSettings, steps_per_epoch: f64) -> u64 {
    match run.max_steps {
        0 => (run.num_train_epochs * steps_per_epoch).ceil() as u64,
        steps => steps as u64,
    }
}

struct Context<'a> {
    recipe: &'a Recipe,
    model_dir: &'a Path,
    document_start: DocumentStart,
    log: &'a EventLog,
    look: Look<'a>,
    memory: MemoryPeak,
    data_files: DataFiles,
    heartbeat: Heartbeat,
    /// Where it goes on from: steps taken, and the stage's state then.
    resumed: Option<(usize, Value)>,
}

impl Context<'_> {
    fn train<S: Stage>(
        self,
        mut stage: S,
        request: &RunRequest,
        run_dir: &RunDir,
        lock: &RunLock,
        start: Start,
        compute: DType,
    ) -> Result<RunEnd, TrainError> {
        let total_steps = total_steps(&self.recipe.run, stage.steps_per_epoch()?);
        let step = start.step();
        let state = start.checkpoint.as_ref().map(|(_, state)| state);
        let best = BestTracker::new(
            &self.recipe.run,
            state.map(|state| state.best.clone()).unwrap_or_default(),
        );
        let watch = state.map(|state| state.watch.clone()).unwrap_or_default();
        let watch = Watch::new(self.recipe, watch);
        let ended = Ended::early(best.as_ref(), watch.as_ref());
        let lacks_evaluation = state.is_some_and(|state| state.lacks_evaluation);
        let is_over = step >= total_steps && !(step == total_steps && lacks_evaluation);
        if state.is_some() && (is_over || ended.is_some()) {
            self.finish_again(run_dir, ended.unwrap_or_default(), step)?;
            return Ok(RunEnd::AlreadyFinished);
        }
        let monitor = self.system_monitor(request, run_dir);
        let device = request.device.device.clone().autodiff();
        let trainable = trainable(&self.recipe.model);
        let mut optimizer = AdamW::new(&self.recipe.optimizer);
        let resumes = start.checkpoint.is_some() || self.has_logged_steps(run_dir)?;
        let model = match &start.checkpoint {
            Some((dir, state)) => {
                stage.restore(&state.stage_state)?;
                self.check_base(dir, state)?;
                let on = (&device, compute);
                restore(dir, self.model_dir, &trainable, on, &mut optimizer)?
            }
            None => {
                let (model, report) =
                    CausalLm::load_to_train(self.model_dir, &device, compute, &trainable)?;
                for warning in &report.warnings {
                    self.warn(&warning.to_string())?;
                }
                model
            }
        };
        let save_dtype = Checkpoint::open(self.model_dir)?
            .dtype()
            .unwrap_or(StoredDtype::Float32);
        let started_at = match resumes {
            false => None,
            true => RunManifest::read(run_dir)
                .ok()
                .map(|before| before.started_at),
        };
        self.announce(request, run_dir, &model, total_steps, started_at)?;
        let saving = Saving::of(&model, save_dtype, self.recipe, total_steps);
        self.look.finish(self.log, saving, || {
            self.phase("preflight", step)?;
            let stopper = interrupt::on_signal();
            stage.probe(&model, &**self.log.clock(), &|| stopper.should_stop())
        })?;
        if !lock.is_supported() {
            self.warn("this file system has no locks: do not start a second trainer here")?;
        }
        for name in lock.cleaned() {
            self.warn(&format!(
                "{name} was left unfinished by a killed run and removed"
            ))?;
        }
        if self.log.dropped_bytes() > 0 {
            self.warn("the event log's last line was torn by a killed run and removed")?;
        }
        for remark in &start.remarks {
            self.log.append(event::Warning::new(remark))?;
        }
        // Left in place, they would count as the newest ones: pruning would keep them instead of
        // what is saved from now on, and the next resume would go on from them.
        for checkpoint in run_dir.checkpoints()?.iter().filter(|c| c.step > step) {
            let aside = run_dir.set_aside(checkpoint)?;
            self.warn(&format!(
                "{} is of a later step than the run goes on from and was renamed to {}",
                checkpoint.path.display(),
                aside.display()
            ))?;
        }
        // Also from step 0, where a run was killed before its first checkpoint: its steps come again.
        if resumes {
            self.log.append(event::Resumed {
                from_step: step,
                fields: Fields::new(),
            })?;
        }
        let mut training = Training {
            run_dir: run_dir.clone(),
            log: self.log.clone(),
            samples: SampleLog::open_after(run_dir, step)?,
            recipe: self.recipe.clone(),
            recompute: Recompute::of(&self.recipe.model, model.config()),
            base: match model.lora() {
                Some(_) => Some(fingerprint(self.model_dir)?),
                None => None,
            },
            utilization: utilization(request, &trainable, compute, model.config()),
            model,
            optimizer,
            step,
            total_steps,
            until: request.until,
            lacks_evaluation,
            best,
            watch,
            alerts: Alerts::new(self.recipe),
            reported_data: None,
            began_with: start.checkpoint.map(|(dir, _)| dir),
            source_dir: self.model_dir.to_owned(),
            save_dtype,
            interrupter: interrupt::on_signal(),
            requests: Requests::new(run_dir),
            system: LatestSystem::of(self.log),
        };
        training.keep_copies();
        if resumes {
            training.read_alerts()?;
        }
        // What is logged before `resumed` counts as of the run before: of its step, or of none.
        let monitor = monitor.start(self.log, SystemMonitor::PERIOD);
        let outcome = training.run(&mut stage);
        drop((self.heartbeat, monitor));
        let outcome = training.requests.close_after(outcome, self.log)?;
        finish(
            self.log,
            outcome.ended.reason(),
            training.step,
            self.memory.fields(),
        )?;
        Ok(RunEnd::Trained(Box::new(outcome)))
    }

    /// The machine as this run sees it: a run that computes on the CPU has no business with GPUs.
    fn system_monitor(&self, request: &RunRequest, run_dir: &RunDir) -> SystemMonitor {
        let gpus = match kernels::device::is_cpu(&request.device.device) {
            true => Gpus::none(),
            false => Gpus::open(&request.device.name),
        };
        SystemMonitor::new(run_dir.path(), gpus, &**self.log.clock())
    }

    fn phase(&self, name: &str, step: u64) -> Result<(), TrainError> {
        Ok(self.log.append(event::Phase {
            name: name.to_owned(),
            step,
            fields: Fields::new(),
        })?)
    }

    fn has_logged_steps(&self, run_dir: &RunDir) -> Result<bool, TrainError> {
        let is_step = |line: &Line| matches!(line.event, Event::Step(_));
        Ok(EventTail::find_first(&run_dir.events_file(), is_step)?.is_some())
    }

    /// Logs the end of a run that was killed or stopped between its last checkpoint and that event.
    fn finish_again(&self, run_dir: &RunDir, ended: Ended, step: u64) -> Result<(), TrainError> {
        let is_end = |line: &Line| matches!(line.event, Event::Finished(_) | Event::RunStarted(_));
        let end = EventTail::find_last(&run_dir.events_file(), is_end)?;
        match end.map(|line| line.event) {
            Some(Event::Finished(end)) if end.reason != "stopped" => Ok(()),
            _ => finish(self.log, ended.reason(), step, Fields::new()),
        }
    }

    /// The run's recipe, manifest and first event; `started_at` where it had started before.
    fn announce(
        &self,
        request: &RunRequest,
        run_dir: &RunDir,
        model: &CausalLm,
        total_steps: u64,
        started_at: Option<String>,
    ) -> Result<(), TrainError> {
        let recipe = self.recipe;
        let dtype = format!("{:?}", model.dtype()).to_lowercase();
        let model_name = self.model_dir.display().to_string();
        let device = format!("{} ({})", request.device.name, request.device.description);
        telemetry::atomic::write_atomic(&run_dir.recipe_file(), recipe.to_toml())?;
        let data = recipe
            .data
            .train_data
            .iter()
            .chain(&recipe.data.eval_data)
            .map(|path| self.data_files.measure(path))
            .collect::<Result<_, _>>()?;
        RunManifest {
            version: RunManifest::VERSION,
            stage: recipe.stage_name().to_string(),
            model: model_name.clone(),
            seed: recipe.model.seed,
            device: device.clone(),
            dtype: dtype.clone(),
            program_version: env!("CARGO_PKG_VERSION").to_owned(),
            git_commit: None,
            started_at: started_at
                .unwrap_or_else(|| telemetry::clock::rfc3339(self.log.clock().now_ms())),
            argv: std::env::args().collect(),
            data,
            fields: Fields::new(),
        }
        .write(run_dir)?;
        Ok(self.log.append(event::RunStarted {
            stage: recipe.stage_name().to_string(),
            model: model_name,
            device,
            dtype,
            parameters: model.config().num_parameters(),
            seed: recipe.model.seed,
            total_steps,
            fields: Fields::new().with("trained_parameters", model.num_trained_parameters()),
        })?)
    }

    /// Adapters mean nothing beside another model than the one that they were learnt beside.
    fn check_base(&self, dir: &Path, state: &TrainState) -> Result<(), TrainError> {
        let Some(base) = &state.base else {
            return Ok(());
        };
        if *base == fingerprint(self.model_dir)? {
            return Ok(());
        }
        Err(TrainError::Checkpoint(format!(
            "{}: its adapters were learnt beside another model than {}, which has changed since or is \
             another folder\nhint: name that model, or start afresh with `--resume never` and \
             another --output",
            dir.display(),
            self.model_dir.display()
        )))
    }

    fn warn(&self, message: &str) -> Result<(), TrainError> {
        say!("warning: {message}");
        Ok(self.log.append(event::Warning::new(message))?)
    }
}

/// What the device can do and the model costs, where the device's peak is known.
fn utilization(
    request: &RunRequest,
    trainable: &Trainable,
    compute: DType,
    config: &ModelConfig,
) -> Option<Utilization> {
    let trained = match trainable {
        Trainable { lora: Some(_), .. } => Trained::Adapters,
        trainable if trainable.freeze_embeddings && config.tie_word_embeddings => Trained::Blocks,
        _ => Trained::All,
    };
    let peak = peak_flops(&request.device.description, compute)?;
    Some(Utilization {
        peak,
        costs: ForwardCosts::of(config),
        trained,
    })
}

/// What `--dtype` means on a device.
///
/// # Errors
/// The device cannot compute in it.
pub fn compute_dtype(dtype: Dtype, device: &OpenDevice) -> Result<DType, TrainError> {
    let dtype = match dtype {
        Dtype::Auto => device.default_dtype,
        Dtype::Float32 => DType::F32,
        Dtype::Bfloat16 => DType::BF16,
    };
    if device.device.supports_dtype(dtype) {
        return Ok(dtype);
    }
    Err(TrainError::Usage(format!(
        "device `{}` ({}) does not compute in bfloat16\nhint: use `--dtype float32`",
        device.name, device.description
    )))
}

fn failed(error: &TrainError) -> event::Failed {
    event::Failed {
        message: error.to_string(),
        fields: Fields::new(),
    }
}

fn finish(log: &EventLog, reason: &str, step: u64, fields: Fields) -> Result<(), TrainError> {
    log.append(event::Finished {
        reason: reason.to_owned(),
        step,
        seconds: Scalar(log.clock().elapsed().as_secs_f64()),
        fields,
    })?;
    Ok(log.sync()?)
}
