//! What of the loop tells alerts and the state of the data.

use telemetry::{Event, Fields, event};

use crate::TrainError;
use crate::monitor::{Alerts, Observation};
use crate::say;
use crate::stage::Stage;
use crate::watched::{self, Watch};

use super::Training;

impl Training {
    /// Has the monitoring rules look at what was just logged.
    pub(super) fn observe(&mut self, seen: Observation<'_>) -> Result<(), TrainError> {
        let step = match seen {
            // One that is not finite is told of before it counts as taken.
            Observation::Step(step) => step.step,
            _ => self.step,
        };
        for event in self.alerts.observe(seen, Some(step)) {
            self.tell(event)?;
        }
        Ok(())
    }

    /// The rules as they stand at the end of the log: where the run goes on from a checkpoint, or back
    /// to one. The `resumed` event that the log ends with has ended all alerts, so those that hold are
    /// told again.
    pub(crate) fn read_alerts(&mut self) -> Result<(), TrainError> {
        let log = self.run_dir.events_file();
        let (alerts, raised) = Alerts::of_log(&self.recipe, &log)?;
        self.alerts = alerts;
        let has_fired = self.watch.as_ref().is_some_and(Watch::has_fired);
        raised
            .into_iter()
            .filter(|alert| has_fired || alert.rule != watched::RULE)
            .try_for_each(|alert| self.tell(alert.into()))
    }

    pub(super) fn tell(&self, event: Event) -> Result<(), TrainError> {
        match &event {
            Event::Alert(alert) => say!("alert: {}", alert.message),
            Event::AlertCleared(cleared) => say!("alert cleared: {}", cleared.message),
            _ => {}
        }
        Ok(self.log.append(event)?)
    }

    /// Logs what was taken of each source so far, unless the log says it already.
    pub(super) fn report_data<S: Stage>(&mut self, stage: &S) -> Result<(), TrainError> {
        let data = event::Data {
            step: self.step,
            sources: stage.sources(),
            fields: Fields::new(),
        };
        if self.reported_data.as_ref() == Some(&data) {
            return Ok(());
        }
        self.log.append(data.clone())?;
        self.reported_data = Some(data);
        Ok(())
    }
}
