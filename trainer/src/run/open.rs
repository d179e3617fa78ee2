//! A stage from its recipe: its data opened, its settings turned into what it is made of.

use std::path::PathBuf;
use std::sync::Arc;

use burn::tensor::DType;
use datasets::{AssistantTurns, ChatTokenizer, Loader, OnBadRecord, Order, Shard};
use model::{CausalLm, ModelConfig};
use telemetry::{DataFile, RunDir};

use super::{Context, MAX_BATCH_SIZE, REFERENCE, total_steps};
use crate::TrainError;
use crate::interrupt;
use crate::plan::report::size;
use crate::plan::{Hardware, Job};
use crate::recipe::{
    self, CptSettings, OnNonfinite, PoSettings, PreferenceLossType, RlSettings, SftSettings,
    TrainTurns,
};
use crate::rollout::{Prompts, RewardFunctions, Sampler, rubric, watched};
use crate::stages::preference::pairs::{Pairs, Unpaired};
use crate::stages::preference::reference::{
    Reference as PairReference, ReferenceKey, Wanted, reference_logprobs,
};
use crate::stages::preference::{PairData, Preference};
use crate::stages::pretraining::Documents;
use crate::stages::rl::{Reference, Rl, SftTerm};
use crate::stages::sft::Conversations;
use crate::stages::supervised::{BatchShape, Objective, Sequences, Supervised};
use crate::train_loop::MAX_ROLLBACKS;

impl Context<'_> {
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

    fn order(&self) -> Order {
        match self.shuffle_seed() {
            Some(seed) => Order::Shuffled { seed },
            None => Order::Sequential,
        }
    }

    /// Where the loader of a run over these pairs stands, and the steps that are still to come with the
    /// records of each. A run that goes back by itself takes others for the steps that come again.
    fn steps_to_come(
        &self,
        pairs: &Pairs,
        [batch_size, accumulation]: [usize; 2],
    ) -> Result<(Loader, [usize; 2]), TrainError> {
        let (run, step_size) = (&self.recipe.run, batch_size * accumulation);
        let mut loader = Loader::new(pairs.len(), self.order(), Shard::ALL);
        let mut taken = 0;
        if let Some((step, state)) = &self.resumed
            && let Ok(state) = serde_json::from_value(state.clone())
        {
            loader.restore(state)?;
            taken = *step;
        }
        let total = total_steps(run, pairs.len() as f64 / step_size as f64) as usize;
        let times = match run.on_nonfinite {
            OnNonfinite::Rollback => 1 + MAX_ROLLBACKS,
            _ => 1,
        };
        Ok((loader, [total.saturating_sub(taken) * times, step_size]))
    }

    /// Training and held-out sequences of a supervised stage.
    fn supervised(
        &self,
        shape: BatchShape,
        objective: Objective,
        open: impl Fn(&[PathBuf]) -> Result<Box<dyn Sequences>, TrainError>,
    ) -> Result<Supervised, TrainError> {
        let train = open(self.recipe.require_train_data()?)?;
        self.look.at_sequences(&*train, shape)?;
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
            objective,
            self.shuffle_seed(),
        ))
    }
}

pub(super) fn pretraining_stage(
    context: &Context,
    settings: &CptSettings,
) -> Result<Supervised, TrainError> {
    let shape = context.shape(settings.max_length, settings.packing);
    let objective = Objective::of_cpt(settings);
    let stage = context.supervised(shape, objective, |paths| {
        Ok(Box::new(Documents::open(
            paths,
            context.on_bad_record(),
            context.model_dir,
            context.document_start,
            context.recipe.model.seed,
        )?))
    })?;
    stage.with_questions(settings.eval_generate, settings.eval_max_new_tokens)
}

pub(super) fn sft_stage(
    context: &Context,
    settings: &SftSettings,
) -> Result<Supervised, TrainError> {
    let shape = context.shape(settings.max_length, settings.packing);
    let turns = match settings.train_turns {
        TrainTurns::All => AssistantTurns::All,
        TrainTurns::Last => AssistantTurns::Last,
    };
    let objective = Objective::of_sft(settings, context.recipe.model.seed);
    let stage = context.supervised(shape, objective, |paths| {
        Ok(Box::new(Conversations::open(
            paths,
            context.on_bad_record(),
            context.model_dir,
            context.document_start,
            turns,
            context.recipe.model.seed,
        )?))
    })?;
    stage.with_questions(settings.eval_generate, settings.eval_max_new_tokens)
}

/// Opens the pairs and computes what their losses compare with.
pub(super) fn preference_stage(
    context: &Context,
    settings: &PoSettings,
    run_dir: &RunDir,
    compute: DType,
    load: &dyn Fn() -> Result<CausalLm, TrainError>,
) -> Result<Preference, TrainError> {
    let data = &context.recipe.data;
    let with_reference = settings.loss_type.iter().any(|loss| loss.needs_reference());
    let interrupter = interrupt::on_signal();
    let batch = [
        data.per_device_train_batch_size,
        data.gradient_accumulation_steps,
    ];
    let kto = settings.loss_type.contains(&PreferenceLossType::Kto);
    let open = |paths: &[PathBuf], name: &str| {
        let pairs = Pairs::open(
            paths,
            context.on_bad_record(),
            Unpaired::of(settings),
            context.model_dir,
            context.document_start,
        )?;
        if name == REFERENCE {
            context.look.at_pairs(&pairs, settings)?;
        }
        let mut reference = PairReference::default();
        if with_reference {
            let files = paths.iter().map(|path| context.data_files.measure(path));
            let files: Vec<DataFile> = files.collect::<Result<_, _>>()?;
            let key = ReferenceKey::measure(context.model_dir, &files, settings, compute)?;
            let wanted = match name == REFERENCE {
                true => {
                    let (loader, steps) = context.steps_to_come(&pairs, batch)?;
                    Wanted::by_training(&pairs, loader, steps, settings.max_length, kto)?
                }
                false => Wanted::by_evaluation(&pairs, settings.max_length, kto)?,
            };
            // The model is loaded where there is something to compute, and that may take long.
            let load = || {
                let taken = context.resumed.as_ref().map_or(0, |(step, _)| *step as u64);
                context.phase("reference", taken)?;
                load()
            };
            let computed = reference_logprobs(
                &run_dir.path().join(name),
                &key,
                &pairs,
                &wanted,
                data.per_device_train_batch_size,
                &load,
                &|| interrupter.should_stop(),
            )?;
            reference = computed.ok_or(TrainError::Stopped { step: 0 })?;
        }
        Ok::<_, TrainError>(PairData { pairs, reference })
    };
    let train = open(context.recipe.require_train_data()?, REFERENCE)?;
    let eval = match data.eval_data.as_slice() {
        [] => None,
        paths => Some(open(paths, "reference-eval.jsonl")?),
    };
    let shuffle = context.shuffle_seed();
    Preference::new(settings.clone(), train, eval, batch, shuffle).with_questions()
}

pub(super) fn rl_stage(
    context: &Context,
    settings: &RlSettings,
    reference: Reference,
) -> Result<Rl, TrainError> {
    let recipe = context.recipe;
    let tokenizer = ChatTokenizer::from_dir(context.model_dir, context.document_start)?;
    let tokenizer = Arc::new(tokenizer);
    warn_of_streaming(context)?;
    let open = |paths: &[PathBuf]| {
        let length = settings.max_prompt_length;
        let functions = RewardFunctions::of(settings)?;
        let on_bad_record = context.on_bad_record();
        Prompts::open(paths, on_bad_record, tokenizer.clone(), length, functions)
    };
    let prompts = open(recipe.require_train_data()?)?;
    let eval = match recipe.data.eval_data.as_slice() {
        [] => None,
        paths => Some(open(paths)?),
    };
    let sampler = Sampler {
        tokenizer: tokenizer.clone(),
        rubric: rubric(settings)?,
        watch: watched(settings, &prompts)?,
        max_completion_length: settings.max_completion_length,
        max_batch_size: MAX_BATCH_SIZE,
    };
    let batch = [
        recipe.data.per_device_train_batch_size,
        recipe.data.gradient_accumulation_steps * settings.num_mini_batches,
    ];
    let seeds = [Some(recipe.model.seed), context.shuffle_seed()];
    Ok(Rl::new(
        settings.clone(),
        prompts,
        eval,
        sampler,
        reference,
        sft_term(context, settings)?,
        batch,
        seeds,
    ))
}

/// Sampling reads streamed blocks far more often than training does.
fn warn_of_streaming(context: &Context) -> Result<(), TrainError> {
    let config = ModelConfig::from_dir(context.model_dir)?;
    let job = Job::of(context.recipe, &config, Hardware::Cuda);
    let (Some([blocks, step]), Some(rollout)) = (job.streamed_bytes(), job.work.rollout) else {
        return Ok(());
    };
    let slots = rollout.generation.slots.min(rollout.sequences);
    context.warn(&format!(
        "stream_frozen_blocks: sampling reads the blocks, {}, once for each token that {slots} \
         completions get together, up to {} times for the {} of a set; with the gradients' reads that \
         is up to {} a step",
        size(blocks),
        rollout.passes(),
        rollout.sequences,
        size(step)
    ))
}

fn sft_term(context: &Context, settings: &RlSettings) -> Result<Option<SftTerm>, TrainError> {
    if settings.sft_data.is_empty() || settings.sft_alpha == 0.0 {
        return Ok(None);
    }
    let seed = context.recipe.model.seed;
    let conversations = Conversations::open(
        &settings.sft_data,
        context.on_bad_record(),
        context.model_dir,
        context.document_start,
        AssistantTurns::All,
        seed,
    )?;
    Ok(Some(SftTerm::new(
        Box::new(conversations),
        Order::Shuffled { seed },
        settings.sft_batch_size,
        settings.max_prompt_length + settings.max_completion_length,
        settings.sft_alpha,
    )))
}
