//! A run: from a resolved recipe and a model folder to its last checkpoint.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use burn::tensor::DType;
use datasets::{AssistantTurns, ChatTokenizer, DocumentStart, OnBadRecord};
use kernels::device::OpenDevice;
use model::checkpoint::{Checkpoint, Dtype as StoredDtype};
use model::{CausalLm, ModelConfig};
use rewards::{Registry, RewardSpec, Rubric};
use serde_json::Value;
use telemetry::event;
use telemetry::{
    DataFile, Event, EventLog, EventTail, Fields, Heartbeat, RunDir, RunLock, RunManifest,
    SampleLog, Scalar,
};

use crate::TrainError;
use crate::best::BestTracker;
use crate::checkpoint::{Start, restore, starting_checkpoint};
use crate::cli::Resume;
use crate::forward::Recompute;
use crate::interrupt;
use crate::monitor::MemoryPeak;
use crate::optimizer::AdamW;
use crate::recipe::{
    self, CptSettings, Dtype, GradientCheckpointing, ModelSettings, PoSettings, PreferenceLossType,
    Recipe, RlSettings, SftSettings, StageSettings, TrainTurns,
};
use crate::rollout::{Prompts, Sampler};
use crate::say;
use crate::stage::Stage;
use crate::stages::preference::pairs::Pairs;
use crate::stages::preference::reference::{ReferenceKey, reference_logprobs};
use crate::stages::preference::{PairData, Preference};
use crate::stages::pretraining::Documents;
use crate::stages::rl::Rl;
use crate::stages::sft::Conversations;
use crate::stages::supervised::{BatchShape, Sequences, Supervised};
use crate::train_loop::{Outcome, Training};

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
    let lock = run_dir.lock()?;
    let log = EventLog::open(&run_dir)?;
    let result = run_locked(&request, &run_dir, &lock, &log);
    if let Err(error) = &result
        && let Err(unlogged) = log_end(&log, error)
    {
        // What ended the run comes first, and its exit code with it: most likely the disk is full,
        // and both say so.
        say!("warning: the end of the run is not in its log: {unlogged}");
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
    let document_start = match config.uses_bos() {
        true => DocumentStart::Bos,
        false => DocumentStart::Text,
    };
    let context = Context {
        recipe,
        model_dir: &request.model_dir,
        document_start,
        log,
        memory,
    };
    let compute = compute_dtype(recipe.model.dtype, &request.device)?;
    match &recipe.stage {
        StageSettings::Cpt(settings) => {
            let stage = pretraining_stage(&context, settings)?;
            context.train(stage, request, run_dir, lock, start, compute)
        }
        StageSettings::Sft(settings) => {
            let stage = sft_stage(&context, settings)?;
            context.train(stage, request, run_dir, lock, start, compute)
        }
        StageSettings::Rl(settings) => {
            let device = request.device.device.clone();
            let reference = (settings.beta > 0.0)
                .then(|| CausalLm::load(&request.model_dir, &device, compute))
                .transpose()?
                .map(|(model, _)| model);
            let stage = rl_stage(&context, settings, reference)?;
            context.train(stage, request, run_dir, lock, start, compute)
        }
        StageSettings::Po(settings) => {
            let device = request.device.device.clone();
            let load = || Ok(CausalLm::load(&request.model_dir, &device, compute)?.0);
            let stage = preference_stage(&context, settings, run_dir, &load)?;
            context.train(stage, request, run_dir, lock, start, compute)
        }
    }
}

struct Context<'a> {
    recipe: &'a Recipe,
    model_dir: &'a Path,
    document_start: DocumentStart,
    log: &'a EventLog,
    memory: MemoryPeak,
}

impl Context<'_> {
    fn train<S: Stage>(
        &self,
        mut stage: S,
        request: &RunRequest,
        run_dir: &RunDir,
        lock: &RunLock,
        start: Start,
        compute: DType,
    ) -> Result<RunEnd, TrainError> {
        let total_steps = match self.recipe.run.max_steps {
            0 => (self.recipe.run.num_train_epochs * stage.steps_per_epoch()?).ceil() as u64,
            steps => steps as u64,
        };
        let step = start.step();
        let state = start.checkpoint.as_ref().map(|(_, state)| state);
        let best = BestTracker::new(
            &self.recipe.run,
            state.map(|state| state.best.clone()).unwrap_or_default(),
        );
        let early_stopped = best.as_ref().is_some_and(|b| b.out_of_patience().is_some());
        if state.is_some() && (step >= total_steps || early_stopped) {
            self.finish_again(run_dir, early_stopped, step)?;
            return Ok(RunEnd::AlreadyFinished);
        }
        let device = request.device.device.clone().autodiff();
        let mut optimizer = AdamW::new(&self.recipe.optimizer);
        let resumes = start.checkpoint.is_some() || self.has_logged_steps(run_dir)?;
        let model = match &start.checkpoint {
            Some((dir, state)) => {
                stage.restore(&state.stage_state)?;
                restore(dir, &device, compute, &mut optimizer)?
            }
            None => {
                let (model, report) = CausalLm::load(self.model_dir, &device, compute)?;
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
        let heartbeat = Heartbeat::start(self.log, Heartbeat::PERIOD);
        let mut training = Training {
            run_dir: run_dir.clone(),
            log: self.log.clone(),
            samples: SampleLog::open_after(run_dir, step)?,
            recipe: self.recipe.clone(),
            recompute: recompute(&self.recipe.model, model.config()),
            model,
            optimizer,
            step,
            total_steps,
            best,
            tokenizer_dir: self.model_dir.to_owned(),
            save_dtype,
            interrupter: interrupt::on_signal(),
        };
        let outcome = training.run(&mut stage)?;
        drop(heartbeat);
        let end = end_reason(outcome.early_stopped);
        finish(self.log, end, training.step, self.memory.fields())?;
        Ok(RunEnd::Trained(Box::new(outcome)))
    }

    fn has_logged_steps(&self, run_dir: &RunDir) -> Result<bool, TrainError> {
        let (lines, _) = EventTail::read_all(run_dir.events_file())?;
        Ok(lines
            .iter()
            .any(|line| matches!(line.event, Event::Step(_))))
    }

    /// Logs the end of a run that was killed or stopped between its last checkpoint and that event.
    fn finish_again(
        &self,
        run_dir: &RunDir,
        early_stopped: bool,
        step: u64,
    ) -> Result<(), TrainError> {
        let (lines, _) = EventTail::read_all(run_dir.events_file())?;
        let mut ends = lines.iter().rev().map(|line| &line.event);
        match ends.find(|event| matches!(event, Event::Finished(_) | Event::RunStarted(_))) {
            Some(Event::Finished(end)) if end.reason != "stopped" => Ok(()),
            _ => finish(self.log, end_reason(early_stopped), step, Fields::new()),
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
            .map(|path| DataFile::measure(path))
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
            fields: Fields::new(),
        })?)
    }

    fn warn(&self, message: &str) -> Result<(), TrainError> {
        say!("warning: {message}");
        Ok(self.log.append(event::Warning::new(message))?)
    }

    fn on_bad_record(&self) -> OnBadRecord {
        match self.recipe.data.on_bad_record {
            recipe::OnBadRecord::Error => OnBadRecord::Error,
            recipe::OnBadRecord::Skip => OnBadRecord::Skip,
        }
    }

    fn shape(&self, max_length: usize, packing: bool) -> BatchShape {
        BatchShape {
            max_length,
            batch_size: self.recipe.data.per_device_train_batch_size,
            accumulation: self.recipe.data.gradient_accumulation_steps,
            packing,
        }
    }

    fn shuffle_seed(&self) -> Option<u64> {
        self.recipe.data.shuffle.then_some(self.recipe.model.seed)
    }

    /// Training and held-out sequences of a supervised stage.
    fn supervised(
        &self,
        shape: BatchShape,
        open: impl Fn(&[PathBuf]) -> Result<Box<dyn Sequences>, TrainError>,
    ) -> Result<Supervised, TrainError> {
        let train = open(self.recipe.require_train_data()?)?;
        let eval = match self.recipe.data.eval_data.as_slice() {
            [] => None,
            paths => Some(open(paths)?),
        };
        let name = self.recipe.stage_name();
        Ok(Supervised::new(
            name,
            train,
            eval,
            shape,
            self.shuffle_seed(),
        ))
    }
}

fn pretraining_stage(context: &Context, settings: &CptSettings) -> Result<Supervised, TrainError> {
    let shape = context.shape(settings.max_length, settings.packing);
    context.supervised(shape, |paths| {
        Ok(Box::new(Documents::open(
            paths,
            context.on_bad_record(),
            context.model_dir,
            context.document_start,
            context.recipe.model.seed,
        )?))
    })
}

fn sft_stage(context: &Context, settings: &SftSettings) -> Result<Supervised, TrainError> {
    let shape = context.shape(settings.max_length, settings.packing);
    let turns = match settings.train_turns {
        TrainTurns::All => AssistantTurns::All,
        TrainTurns::Last => AssistantTurns::Last,
    };
    context.supervised(shape, |paths| {
        Ok(Box::new(Conversations::open(
            paths,
            context.on_bad_record(),
            context.model_dir,
            context.document_start,
            turns,
            context.recipe.model.seed,
        )?))
    })
}

/// Opens the pairs and computes what their losses compare with.
fn preference_stage(
    context: &Context,
    settings: &PoSettings,
    run_dir: &RunDir,
    load: &dyn Fn() -> Result<CausalLm, TrainError>,
) -> Result<Preference, TrainError> {
    let data = &context.recipe.data;
    let with_reference = settings.loss_type.iter().any(|loss| loss.needs_reference());
    let interrupter = interrupt::on_signal();
    let open = |paths: &[PathBuf], name: &str| {
        let pairs = Pairs::open(
            paths,
            context.on_bad_record(),
            context.model_dir,
            context.document_start,
        )?;
        let mut reference = Vec::new();
        if with_reference {
            let kto = settings.loss_type.contains(&PreferenceLossType::Kto);
            let key = ReferenceKey::measure(context.model_dir, paths, settings, kto)?;
            let computed = reference_logprobs(
                &run_dir.path().join(name),
                &key,
                &pairs,
                data.per_device_train_batch_size,
                load,
                &|| interrupter.should_stop(),
            )?;
            reference = computed.ok_or(TrainError::Stopped { step: 0 })?;
        }
        Ok::<_, TrainError>(PairData { pairs, reference })
    };
    let train = open(context.recipe.require_train_data()?, "reference.jsonl")?;
    let eval = match data.eval_data.as_slice() {
        [] => None,
        paths => Some(open(paths, "reference-eval.jsonl")?),
    };
    let batch = [
        data.per_device_train_batch_size,
        data.gradient_accumulation_steps,
    ];
    let shuffle = context.shuffle_seed();
    Ok(Preference::new(
        settings.clone(),
        train,
        eval,
        batch,
        shuffle,
    ))
}

fn rl_stage(
    context: &Context,
    settings: &RlSettings,
    reference: Option<CausalLm>,
) -> Result<Rl, TrainError> {
    let recipe = context.recipe;
    let tokenizer = ChatTokenizer::from_dir(context.model_dir, context.document_start)?;
    let tokenizer = Arc::new(tokenizer);
    let open = |paths: &[PathBuf]| {
        let length = settings.max_prompt_length;
        Prompts::open(paths, context.on_bad_record(), tokenizer.clone(), length)
    };
    let prompts = open(recipe.require_train_data()?)?;
    let eval = match recipe.data.eval_data.as_slice() {
        [] => None,
        paths => Some(open(paths)?),
    };
    let sampler = Sampler {
        tokenizer: tokenizer.clone(),
        rubric: rubric(settings)?,
        max_completion_length: settings.max_completion_length,
        max_batch_size: MAX_BATCH_SIZE,
    };
    let batch = [
        recipe.data.per_device_train_batch_size,
        recipe.data.gradient_accumulation_steps,
    ];
    let seeds = [Some(recipe.model.seed), context.shuffle_seed()];
    Ok(Rl::new(
        settings.clone(),
        prompts,
        eval,
        sampler,
        reference,
        batch,
        seeds,
    ))
}

fn rubric(settings: &RlSettings) -> Result<Rubric, TrainError> {
    let mut names = settings.reward_funcs.clone();
    for name in settings.reward_weights.keys() {
        if !names.contains(name) {
            names.push(name.clone());
        }
    }
    let specs: Vec<RewardSpec> = names
        .into_iter()
        .map(|name| RewardSpec {
            weight: settings.reward_weights.get(&name).copied().unwrap_or(1.0),
            args: Value::Null,
            name,
        })
        .collect();
    Rubric::parse(&Registry::standard(), &specs, &[]).map_err(|source| TrainError::Reward {
        place: "reward_funcs".to_owned(),
        source,
    })
}

/// Models from here on are recomputed by themselves: what a step keeps would soon outweigh them.
const RECOMPUTE_FROM: u64 = 1_000_000_000;

/// What the forward passes of a model of this shape keep.
pub fn recompute(settings: &ModelSettings, config: &ModelConfig) -> Recompute {
    let large = config.num_parameters() >= RECOMPUTE_FROM;
    match (settings.gradient_checkpointing, large) {
        (GradientCheckpointing::False, _) | (GradientCheckpointing::Auto, false) => {
            Recompute::Nothing
        }
        _ if settings.activation_offloading => Recompute::BlocksOnHost,
        _ => Recompute::Blocks,
    }
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

fn end_reason(early_stopped: bool) -> &'static str {
    match early_stopped {
        true => "early_stopped",
        false => "completed",
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
