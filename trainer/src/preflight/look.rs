use std::cell::RefCell;
use std::path::Path;

use model::ModelConfig;
use telemetry::EventLog;

use super::{
    Finding, Findings, Saving, disk_room, look_at_pairs, look_at_sequences, model_files,
    peak_of_learning_rate, unread_keys,
};
use crate::TrainError;
use crate::checkpoint::Start;
use crate::recipe::{PoSettings, Preflight, Recipe};
use crate::say;
use crate::stages::preference::pairs::Pairs;
use crate::stages::supervised::{BatchShape, Sequences};

/// The pre-flight of a run: of its data as soon as they are open, before a reference is computed or
/// a model loaded, and of the rest once the model is there.
pub struct Look<'a> {
    how: Preflight,
    recipe: &'a Recipe,
    config: &'a ModelConfig,
    output: &'a Path,
    /// What the data showed, and has been printed.
    found: RefCell<Option<Findings>>,
}

impl<'a> Look<'a> {
    /// At a run that writes to `output`. What a resumed run trains on was looked at when it began.
    pub fn new(
        recipe: &'a Recipe,
        config: &'a ModelConfig,
        output: &'a Path,
        start: &Start,
    ) -> Self {
        Look {
            how: match start.checkpoint {
                Some(_) => Preflight::Off,
                None => recipe.run.preflight,
            },
            recipe,
            config,
            output,
            found: RefCell::default(),
        }
    }

    /// Looks at the data of a supervised stage.
    ///
    /// # Errors
    /// As [`Findings::verdict`].
    pub fn at_sequences(&self, data: &dyn Sequences, shape: BatchShape) -> Result<(), TrainError> {
        self.at_data(|| {
            let mut findings = look_at_sequences(data, shape);
            model_files(&mut findings, self.config, data.tokenizer());
            findings
        })
    }

    /// Looks at preference pairs.
    ///
    /// # Errors
    /// As [`Findings::verdict`].
    pub fn at_pairs(&self, pairs: &Pairs, settings: &PoSettings) -> Result<(), TrainError> {
        self.at_data(|| {
            let mut findings = look_at_pairs(pairs, settings);
            model_files(&mut findings, self.config, pairs.tokenizer().tokenizer());
            findings
        })
    }

    fn at_data(&self, look: impl FnOnce() -> Findings) -> Result<(), TrainError> {
        if self.how == Preflight::Off {
            return Ok(());
        }
        let findings = look();
        print(&findings, &findings.warnings);
        findings.verdict(self.how)?;
        self.found.replace(Some(findings));
        Ok(())
    }

    /// Looks at the losses' keys, the schedule, the disk and, where the stage has something to try out with
    /// its model, at that; logs all that was found.
    ///
    /// # Errors
    /// As [`Findings::verdict`], and what `probe` fails with.
    pub fn finish(
        &self,
        log: &EventLog,
        saving: Saving,
        probe: impl FnOnce() -> Result<Option<Findings>, TrainError>,
    ) -> Result<(), TrainError> {
        if self.how == Preflight::Off {
            return Ok(());
        }
        let printed = self.found.take();
        let num_printed = printed.as_ref().map(|findings| findings.warnings.len());
        let mut findings = match printed {
            Some(findings) => findings,
            None => probe()?.unwrap_or_default(),
        };
        unread_keys(&mut findings, &self.recipe.stage);
        peak_of_learning_rate(&mut findings, &self.recipe.schedule, saving.total_steps);
        disk_room(&mut findings, saving, &self.recipe.run, self.output);
        match num_printed {
            None => print(&findings, &findings.warnings),
            Some(printed) => say_all(&findings.warnings[printed..]),
        }
        log.append(findings.event())?;
        findings.verdict(self.how)
    }
}

fn print(findings: &Findings, warnings: &[Finding]) {
    say!("{}", findings.table().trim_end());
    say_all(warnings);
}

fn say_all(warnings: &[Finding]) {
    for warning in warnings {
        say!("{warning}");
    }
}
