//! Going back to an earlier checkpoint without ending the run: weights, moments and what the run
//! knows of its evaluations become what they were, the place in the data does not.
//!
//! What is skipped are therefore the records of all steps that were taken since that checkpoint,
//! those of the step that failed among them: the steps come again with the records after these. A
//! run that is killed after it went back, and started again, goes on from the same checkpoint as it
//! was when it was written, fails at the same step and goes back again: it ends with the same bits.

use std::path::{Path, PathBuf};

use model::CausalLm;
use telemetry::{Fields, SampleLog, event};

use crate::TrainError;
use crate::best::BestTracker;
use crate::checkpoint::{self, TrainState, starting_checkpoint};
use crate::cli::Resume;
use crate::optimizer::AdamW;
use crate::say;
use crate::stage::Stage;
use crate::train_loop::Training;
use crate::trainable::trainable;
use crate::watched::Watch;

/// Where to go back to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// The newest checkpoint that is whole.
    Newest,
    /// The checkpoint after so many steps, for the sake of the watched metric.
    Watched(u64),
}

impl Training {
    /// Goes back, and says `why`.
    ///
    /// # Errors
    /// The checkpoint is not there or cannot be read.
    pub(crate) fn go_back<S: Stage>(
        &mut self,
        stage: &mut S,
        target: Target,
        why: &str,
    ) -> Result<(), TrainError> {
        let checkpoint = match target {
            Target::Newest => self.newest()?,
            Target::Watched(0) => None,
            Target::Watched(step) => Some(self.checkpoint_of(step)?),
        };
        let device = self.model.device().clone();
        let dtype = self.model.dtype();
        let trainable = trainable(&self.recipe.model);
        // Both sets of moments, and of copies, need not be there at once.
        self.model.take_copies();
        self.optimizer = AdamW::new(&self.recipe.optimizer);
        let (step, best, watch) = match &checkpoint {
            Some((dir, state)) => {
                let (source, optimizer) = (&self.source_dir, &mut self.optimizer);
                let on = (&device, dtype);
                self.model = checkpoint::restore(dir, source, &trainable, on, optimizer)?;
                (state.step, state.best.clone(), state.watch.clone())
            }
            None => {
                let source = &self.source_dir;
                self.model = CausalLm::load_to_train(source, &device, dtype, &trainable)?.0;
                Default::default()
            }
        };
        self.keep_copies();
        let watch = match (&self.watch, target) {
            (Some(watched), Target::Watched(_)) => watched.after_rollback(watch),
            _ => watch,
        };
        say!("going back to step {step}: {why}");
        for later in self.run_dir.checkpoints()?.iter().filter(|c| c.step > step) {
            let aside = self.run_dir.set_aside(later)?;
            say!("{} is now {}", later.path.display(), aside.display());
        }
        self.log.append(event::Resumed {
            from_step: step,
            fields: Fields::new().with("reason", why),
        })?;
        self.samples = SampleLog::open_after(&self.run_dir, step)?;
        self.step = step;
        self.best = BestTracker::new(&self.recipe.run, best);
        if let Some(best) = &self.best {
            best.write(&self.run_dir)?;
        }
        self.watch = Watch::new(&self.recipe, watch);
        stage.went_back();
        self.read_alerts()
    }

    /// `None` where there is no checkpoint yet and the run began with the model.
    fn newest(&self) -> Result<Option<(PathBuf, TrainState)>, TrainError> {
        let newest = starting_checkpoint(&self.run_dir, &Resume::Auto)?.checkpoint;
        let began = || self.began_with.as_deref().map(read).transpose();
        newest.map_or_else(began, |newest| Ok(Some(newest)))
    }

    fn checkpoint_of(&self, step: u64) -> Result<(PathBuf, TrainState), TrainError> {
        let own = self.run_dir.checkpoint_dir(step);
        if let Some(dir) = self.began_with.as_deref().filter(|_| !own.is_dir()) {
            let began = read(dir)?;
            if began.1.step == step {
                return Ok(began);
            }
        }
        checkpoint::verify(&own)?;
        read(&own)
    }
}

fn read(dir: &Path) -> Result<(PathBuf, TrainState), TrainError> {
    Ok((dir.to_owned(), checkpoint::read_state(dir)?))
}
