//! What of the loop writes checkpoints.

use model::MergeDifference;
use telemetry::event;
use telemetry::{Fields, Scalar};

use crate::TrainError;
use crate::best::BestTracker;
use crate::checkpoint::{self, TrainState};
use crate::say;
use crate::stage::Stage;
use crate::watched::Watch;

use super::{Outcome, Training};

impl Training {
    pub(super) fn save<S: Stage>(&self, stage: &S) -> Result<(), TrainError> {
        self.phase("checkpoint")?;
        let began = self.log.clock().elapsed();
        self.log.sync()?;
        self.samples.sync()?;
        let state = TrainState {
            step: self.step,
            total_steps: self.total_steps,
            stage: stage.name().to_string(),
            stage_state: stage.state(),
            best: self
                .best
                .as_ref()
                .map(|b| b.state().clone())
                .unwrap_or_default(),
            watch: self
                .watch
                .as_ref()
                .map(|w| w.state().clone())
                .unwrap_or_default(),
            lacks_evaluation: self.lacks_evaluation,
            base: self.base.clone(),
            has_checksums: true,
        };
        let saved = checkpoint::save(
            &self.run_dir,
            &self.model,
            &self.optimizer,
            &state,
            &self.source_dir,
            self.save_dtype,
        )?;
        let took = self.log.clock().elapsed() - began;
        let best = self.best.as_ref().map(BestTracker::fields);
        let mut fields = best.unwrap_or_default();
        if let Some(merge) = &saved.merge {
            self.report_merge(merge, &mut fields)?;
        }
        self.log.append(event::Checkpoint {
            step: self.step,
            path: saved.path.display().to_string(),
            bytes: saved.bytes,
            seconds: Scalar(took.as_secs_f64()),
            fields,
        })?;
        if let Some(best) = &self.best {
            best.write(&self.run_dir)?;
        }
        self.drop_old_checkpoints()?;
        self.phase("train")
    }

    /// Says how far the merged model of a checkpoint is from the one in training.
    fn report_merge(&self, merge: &MergeDifference, fields: &mut Fields) -> Result<(), TrainError> {
        let MergeDifference {
            max,
            effect,
            rounding,
        } = merge;
        say!(
            "adapters merged: the largest difference of a logit is {max:.2e}, where they change \
             one by {effect:.2e}"
        );
        fields.set("merge/max_difference", *max);
        fields.set("merge/adapter_effect", *effect);
        if merge.is_rounding() {
            return Ok(());
        }
        self.warn(&format!(
            "the merged model of step {} differs from the one in training by {max:.2e} in a logit, \
             and rounding explains {rounding:.2e}: use the checkpoint's adapter/ on its base model",
            self.step
        ))
    }

    /// Called once a new checkpoint has its name, so that there is a whole one at every moment.
    fn drop_old_checkpoints(&self) -> Result<(), TrainError> {
        let limit = self.recipe.run.save_total_limit;
        let best = self.best.as_ref().and_then(BestTracker::step);
        let watched = self.watch.as_ref().and_then(Watch::kept_step);
        let checkpoints = self.run_dir.checkpoints()?;
        if limit > 0 && checkpoints.len() > limit {
            let old = &checkpoints[..checkpoints.len() - limit];
            for old in old
                .iter()
                .filter(|checkpoint| ![best, watched].contains(&Some(checkpoint.step)))
            {
                telemetry::atomic::remove_dir_atomic(&old.path)?;
            }
        }
        Ok(())
    }

    /// Saves what is not saved yet and ends the run as stopped.
    pub(super) fn stop<S: Stage>(&self, stage: &S, saved: u64) -> Result<Outcome, TrainError> {
        if saved < self.step {
            self.save(stage)?;
        }
        Err(TrainError::Stopped { step: self.step })
    }
}
