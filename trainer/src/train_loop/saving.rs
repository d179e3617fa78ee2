//! What of the loop writes checkpoints.

use model::MergeDifference;
use serde_json::{Value, json};
use telemetry::event;
use telemetry::{CheckpointDir, Fields, Scalar};

use crate::TrainError;
use crate::best::BestTracker;
use crate::checkpoint::{self, ModelFolder, TrainState};
use crate::monitor::Observation;
use crate::say;
use crate::stage::Stage;
use crate::watched::Watch;

use super::{Outcome, Training};

impl Training {
    pub(crate) fn save<S: Stage>(&mut self, stage: &S) -> Result<(), TrainError> {
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
            ModelFolder {
                source_dir: &self.source_dir,
                dtype: self.save_dtype,
                end_of_turn: stage.end_of_turn(),
            },
        )?;
        let took = self.log.clock().elapsed() - began;
        let best = self.best.as_ref().map(BestTracker::fields);
        let mut fields = best.unwrap_or_default();
        if let Some(merge) = &saved.merge {
            self.report_merge(merge, &mut fields)?;
        }
        fields.set("kept", self.why_kept());
        if let Some(best) = self.best.as_ref().filter(|b| b.step() == Some(self.step)) {
            fields.set("metric", best.value());
        }
        let event = event::Checkpoint {
            step: self.step,
            path: saved.path.display().to_string(),
            bytes: saved.bytes,
            seconds: Scalar(took.as_secs_f64()),
            fields,
        };
        self.log.append(event.clone())?;
        self.observe(Observation::Checkpoint(&event))?;
        self.report_data(stage)?;
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

    /// Why the checkpoint of this step is kept, in words of the log: `newest`, until others are newer;
    /// `best`, by metric_for_best_model, and `watched`, to go back to, until another one is; or `all`
    /// are, as `save_total_limit` is 0.
    fn why_kept(&self) -> Value {
        let newest = match self.recipe.run.save_total_limit {
            0 => "all",
            _ => "newest",
        };
        let [best, watched] = self.kept_steps();
        let reasons = [("best", best), ("watched", watched)];
        let here = reasons.iter().filter(|(_, step)| *step == Some(self.step));
        let names = here.map(|(name, _)| *name);
        let names: Vec<&str> = std::iter::once(newest).chain(names).collect();
        json!(names)
    }

    /// The steps whose checkpoints stay however old they are: the best one, and the one to go back to.
    fn kept_steps(&self) -> [Option<u64>; 2] {
        [
            self.best.as_ref().and_then(BestTracker::step),
            self.watch.as_ref().and_then(Watch::kept_step),
        ]
    }

    /// Called once a new checkpoint has its name, so that there is a whole one at every moment.
    fn drop_old_checkpoints(&self) -> Result<(), TrainError> {
        let limit = self.recipe.run.save_total_limit;
        let kept = self.kept_steps();
        let checkpoints = self.run_dir.checkpoints()?;
        if limit > 0 && checkpoints.len() > limit {
            let old = &checkpoints[..checkpoints.len() - limit];
            let dropped = |checkpoint: &&CheckpointDir| !kept.contains(&Some(checkpoint.step));
            for old in old.iter().filter(dropped) {
                telemetry::atomic::remove_dir_atomic(&old.path)?;
                self.log.append(event::CheckpointRemoved {
                    step: old.step,
                    path: old.path.display().to_string(),
                    fields: Fields::new(),
                })?;
            }
        }
        Ok(())
    }

    /// Saves what is not saved yet and ends the run as stopped.
    pub(super) fn stop<S: Stage>(&mut self, stage: &S, saved: u64) -> Result<Outcome, TrainError> {
        if saved < self.step {
            self.save(stage)?;
        }
        self.stopped_on_request()?;
        Err(TrainError::Stopped { step: self.step })
    }
}
