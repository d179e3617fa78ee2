//! A run's metrics for other programs: what `report_to` names, fed from the event log.

use telemetry::{
    EventLog, Line, Observer, Prometheus, RunDir, TelemetryError, TensorBoard, event::Warning,
};

use crate::recipe::{Recipe, ReportTo};
use crate::say;

/// Has the log's events also go where the recipe says.
pub fn report_to(recipe: &Recipe, run_dir: &RunDir, log: &EventLog) {
    for &target in &recipe.run.report_to {
        match target {
            ReportTo::Tensorboard => {
                let mut tensorboard = TensorBoard::new(run_dir.tensorboard_dir());
                attach(log, target, move |line| tensorboard.add(line));
            }
            ReportTo::Prometheus => {
                // The collector has the files of many runs in one place.
                let path = std::path::absolute(run_dir.path());
                let name = path.unwrap_or_else(|_| run_dir.path().to_owned());
                let (name, stage) = (name.display().to_string(), recipe.stage_name().as_str());
                let file = run_dir.prometheus_file();
                let mut prometheus = Prometheus::new(file, &name, stage);
                attach(log, target, move |line| prometheus.add(line));
            }
        }
    }
}

fn attach(
    log: &EventLog,
    target: ReportTo,
    add: impl FnMut(&Line) -> Result<(), TelemetryError> + Send + 'static,
) {
    log.attach(Export {
        target,
        add,
        has_warned: false,
    });
}

/// An export whose failure is a warning: the log has all of it, and the run goes on.
struct Export<F> {
    target: ReportTo,
    add: F,
    has_warned: bool,
}

impl<F> Observer for Export<F>
where
    F: FnMut(&Line) -> Result<(), TelemetryError> + Send,
{
    fn observe(&mut self, line: &Line) -> Option<Warning> {
        let error = (self.add)(line).err()?;
        if std::mem::replace(&mut self.has_warned, true) {
            return None;
        }
        let message = format!(
            "report_to = {}: {error}\nhint: the run goes on; its own log is not affected",
            self.target
        );
        say!("warning: {message}");
        Some(Warning::new(message))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use telemetry::{Event, EventTail, Fields, event};

    use super::*;
    use crate::recipe::{RawRecipe, StageName, for_stage};

    fn recipe(setting: &str) -> Recipe {
        let mut raw = RawRecipe::new();
        raw.set(Some(StageName::Cpt), setting);
        for_stage(&raw, StageName::Cpt).expect("it is sound")
    }

    #[test]
    fn an_export_that_fails_is_one_warning_and_no_error() {
        let dir = tempfile::tempdir().expect("a folder");
        let run_dir = RunDir::create(dir.path()).expect("a run");
        fs::write(run_dir.tensorboard_dir(), "in the way").expect("a file");
        let log = EventLog::open(&run_dir).expect("a log");
        report_to(&recipe("report_to=tensorboard"), &run_dir, &log);
        for from_step in 0..3 {
            let fields = Fields::new();
            let resumed = event::Resumed { from_step, fields };
            log.append(resumed).expect("the log is fine");
        }
        let (lines, _) = EventTail::read_all(run_dir.events_file()).expect("a log");
        let warning = |event: &Event| match event {
            Event::Warning(warning) => Some(warning.message.clone()),
            _ => None,
        };
        let warnings: Vec<String> = lines.iter().filter_map(|l| warning(&l.event)).collect();
        assert_eq!((lines.len(), warnings.len()), (4, 1));
        assert!(warnings[0].starts_with("report_to = tensorboard: cannot create "));
    }

    #[test]
    fn a_run_reports_to_nobody_unless_it_is_asked_to() {
        let of = |setting| recipe(setting).run.report_to;
        assert_eq!(of("seed=1"), []);
        assert_eq!(of("report_to=none"), []);
        assert_eq!(of("report_to=[]"), []);
        let both = [ReportTo::Prometheus, ReportTo::Tensorboard];
        assert_eq!(of("report_to=['prometheus', 'tensorboard']"), both);
    }
}
