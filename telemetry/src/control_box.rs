//! The folder through which requests go.

use crate::atomic::write_atomic;
use crate::control::{ControlAction, ControlRequest, answer};
use crate::event::{Control, ControlStatus};
use crate::{Clock, RunDir, TelemetryError};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

/// A run's control box; viewers [`ControlBox::send`], the trainer [`ControlBox::take`]s.
#[derive(Debug)]
pub struct ControlBox {
    dir: PathBuf,
    /// Files that did not parse when last seen, by size: somebody may still be writing them.
    unfinished: BTreeMap<String, usize>,
}

/// What was in the box.
#[derive(Debug, Default, PartialEq)]
pub struct Taken {
    /// To be decided on and answered, oldest first.
    pub requests: Vec<ControlRequest>,
    /// Answers to files that are no requests, to be logged.
    pub refused: Vec<Control>,
}

impl ControlBox {
    /// The box of a run.
    pub fn new(run_dir: &RunDir) -> Self {
        Self {
            dir: run_dir.control_dir(),
            unfinished: BTreeMap::new(),
        }
    }

    /// Asks for something; the answer comes in the event log under the returned id.
    pub fn send(
        &self,
        action: ControlAction,
        clock: &dyn Clock,
    ) -> Result<ControlRequest, TelemetryError> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let (process, count) = (std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let id = format!("{:013}-{process}-{count:04}", clock.now_ms());
        let request = format!("{}\n", serde_json::json!({ "action": action }));
        write_atomic(&self.dir.join(format!("{id}.json")), request)?;
        Ok(ControlRequest { id, action })
    }

    /// Takes the requests out of the box. A file that cannot be read as one gets a second look the next time,
    /// since it may be half written, and is refused if it has not changed.
    pub fn take(&mut self) -> Result<Taken, TelemetryError> {
        let mut taken = Taken::default();
        for (id, path) in self.files()? {
            let bytes = match fs::read(&path) {
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                bytes => bytes.map_err(TelemetryError::io("read", &path))?,
            };
            let action = serde_json::from_slice::<Value>(&bytes)
                .ok()
                .and_then(|json| Some(json.get("action")?.as_str()?.to_owned()));
            if action.is_none()
                && self.unfinished.insert(id.clone(), bytes.len()) != Some(bytes.len())
            {
                continue;
            }
            self.unfinished.remove(&id);
            fs::remove_file(&path).map_err(TelemetryError::io("remove", &path))?;
            let known = ControlAction::ALL
                .into_iter()
                .find(|known| Some(known.name()) == action.as_deref());
            match known {
                Some(action) => taken.requests.push(ControlRequest { id, action }),
                None => {
                    let reason = format!(
                        "expected {{\"action\": …}} with one of {}",
                        ControlAction::ALL.map(ControlAction::name).join(", ")
                    );
                    taken.refused.push(answer(
                        &id,
                        action.as_deref().unwrap_or("unreadable"),
                        ControlStatus::Refused,
                        Some(&reason),
                    ));
                }
            }
        }
        Ok(taken)
    }

    /// Empties the box when a trainer starts: what was asked of an earlier process is refused, so that a run
    /// stopped last week does not stop again.
    pub fn refuse_stale(&mut self) -> Result<Vec<Control>, TelemetryError> {
        let mut refused = Vec::new();
        for (id, path) in self.files()? {
            fs::remove_file(&path).map_err(TelemetryError::io("remove", &path))?;
            refused.push(answer(
                &id,
                "unread",
                ControlStatus::Refused,
                Some("it was left from before this process started"),
            ));
        }
        Ok(refused)
    }

    /// The ids and paths of the files in the box, oldest first.
    fn files(&self) -> Result<BTreeMap<String, PathBuf>, TelemetryError> {
        let entries = match fs::read_dir(&self.dir) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(BTreeMap::new()),
            entries => entries.map_err(TelemetryError::io("read", &self.dir))?,
        };
        let mut files = BTreeMap::new();
        for entry in entries {
            let path = entry.map_err(TelemetryError::io("read", &self.dir))?.path();
            let id = path
                .file_stem()
                .map(|stem| stem.to_string_lossy().into_owned())
                .unwrap_or_default();
            if path
                .extension()
                .is_some_and(|extension| extension == "json")
                && !id.starts_with('.')
            {
                files.insert(id, path);
            }
        }
        Ok(files)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::FixedClock;
    use std::time::Duration;

    fn run() -> (tempfile::TempDir, ControlBox, FixedClock) {
        let dir = tempfile::tempdir().unwrap();
        let control = ControlBox::new(&RunDir::create(dir.path()).unwrap());
        (dir, control, FixedClock::new(1_700_000_000_000))
    }

    #[test]
    fn requests_are_taken_once_in_the_order_they_were_made() {
        let (_dir, mut control, clock) = run();
        let sent: Vec<_> = ControlAction::ALL
            .into_iter()
            .map(|action| {
                clock.advance(Duration::from_millis(1));
                control.send(action, &clock).unwrap()
            })
            .collect();
        assert_eq!(
            control.take().unwrap(),
            Taken {
                requests: sent,
                refused: vec![]
            }
        );
        assert_eq!(control.take().unwrap(), Taken::default());
    }

    #[test]
    fn a_half_written_request_gets_a_second_look() {
        let (dir, mut control, _) = run();
        let path = dir.path().join("control/by-hand.json");
        fs::write(&path, "{\"action\":").unwrap();
        assert_eq!(control.take().unwrap(), Taken::default());
        fs::write(&path, "{\"action\":\"pause\"}").unwrap();
        assert_eq!(
            control.take().unwrap().requests,
            [ControlRequest {
                id: "by-hand".into(),
                action: ControlAction::Pause
            }]
        );
    }

    #[test]
    fn what_is_no_request_is_refused_with_the_reason() {
        let (dir, mut control, _) = run();
        fs::write(
            dir.path().join("control/a.json"),
            "{\"action\":\"explode\"}",
        )
        .unwrap();
        fs::write(dir.path().join("control/b.json"), "stop").unwrap();
        let mut refused = control.take().unwrap().refused;
        refused.extend(control.take().unwrap().refused);
        assert_eq!(
            refused
                .iter()
                .map(|c| (c.id.as_str(), c.action.as_str()))
                .collect::<Vec<_>>(),
            [("a", "explode"), ("b", "unreadable")]
        );
        assert!(
            refused[0]
                .reason
                .as_ref()
                .unwrap()
                .contains("checkpoint, evaluate, pause, continue, stop")
        );
    }

    #[test]
    fn what_was_asked_of_an_earlier_process_is_refused() {
        let (_dir, mut control, clock) = run();
        let old = control.send(ControlAction::Stop, &clock).unwrap();
        let refused = control.refuse_stale().unwrap();
        assert_eq!(
            (refused[0].id.as_str(), refused[0].status),
            (old.id.as_str(), ControlStatus::Refused)
        );
        assert_eq!(control.take().unwrap(), Taken::default());
    }

    #[test]
    fn a_run_without_a_box_has_no_requests() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("recipe.toml"), "").unwrap();
        assert_eq!(
            ControlBox::new(&RunDir::open(dir.path()).unwrap())
                .take()
                .unwrap(),
            Taken::default()
        );
    }
}
