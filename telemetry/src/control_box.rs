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
#[derive(Debug, Default)]
pub struct Taken {
    /// To be decided on and answered, oldest first.
    pub requests: Vec<ControlRequest>,
    /// Answers to files that are no requests, to be logged.
    pub refused: Vec<Control>,
    /// Why a file is still in the box, the first one where there are several. It is tried again the next time.
    pub left: Option<TelemetryError>,
}

impl Taken {
    fn leave(&mut self, error: TelemetryError) {
        self.left.get_or_insert(error);
    }
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
    /// since it may be half written, and is refused if it has not changed. One that the operating system refuses
    /// to give keeps no other from being taken; it is not carried out before it can be removed, lest it come
    /// again and again.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn take(&mut self) -> Result<Taken, TelemetryError> {
        let mut taken = Taken::default();
        for (id, path) in self.files()? {
            let bytes = match fs::read(&path) {
                Ok(bytes) => bytes,
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                Err(error) => {
                    taken.leave(TelemetryError::io("read", &path)(error));
                    continue;
                }
            };
            let action = serde_json::from_slice::<Value>(&bytes)
                .ok()
                .and_then(|json| Some(json.get("action")?.as_str()?.to_owned()));
            if action.is_none()
                && self.unfinished.insert(id.clone(), bytes.len()) != Some(bytes.len())
            {
                continue;
            }
            if let Err(error) = fs::remove_file(&path) {
                taken.leave(TelemetryError::io("remove", &path)(error));
                continue;
            }
            self.unfinished.remove(&id);
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

    /// Takes what was left before `since_ms`, when a trainer began: what was asked of an earlier process is
    /// refused, so that a run stopped last week does not stop again.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn refuse_stale(&mut self, since_ms: u64) -> Result<Taken, TelemetryError> {
        let mut taken = Taken::default();
        for (id, path) in self.files()? {
            let asked_ms = id.split('-').next().and_then(|ms| ms.parse::<u64>().ok());
            if asked_ms.is_some_and(|asked| asked >= since_ms) {
                continue;
            }
            if let Err(error) = fs::remove_file(&path) {
                taken.leave(TelemetryError::io("remove", &path)(error));
                continue;
            }
            taken.refused.push(answer(
                &id,
                "unread",
                ControlStatus::Refused,
                Some("it was left from before this process started"),
            ));
        }
        Ok(taken)
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

    fn assert_empty(taken: &Taken) {
        let is_empty = taken.requests.is_empty() && taken.refused.is_empty();
        assert!(is_empty && taken.left.is_none(), "{taken:?}");
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
        assert_eq!(control.take().unwrap().requests, sent);
        assert_empty(&control.take().unwrap());
    }

    #[test]
    fn a_half_written_request_gets_a_second_look() {
        let (dir, mut control, _) = run();
        let path = dir.path().join("control/by-hand.json");
        fs::write(&path, "{\"action\":").unwrap();
        assert_empty(&control.take().unwrap());
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
    fn a_file_that_cannot_be_read_keeps_no_other_from_being_taken() {
        let (dir, mut control, clock) = run();
        // Nothing that is read or removed as a file is, and the first and the last in the order of ids.
        for name in ["0.json", "z.json"] {
            fs::create_dir(dir.path().join("control").join(name)).unwrap();
        }
        let sent = control.send(ControlAction::Pause, &clock).unwrap();
        let taken = control.take().unwrap();
        assert_eq!(taken.requests, [sent]);
        assert!(taken.left.unwrap().to_string().contains("0.json"));
        let old = control.send(ControlAction::Stop, &clock).unwrap();
        let stale = control.refuse_stale(u64::MAX).unwrap();
        assert_eq!(stale.refused[0].id, old.id);
        assert!(stale.left.unwrap().to_string().contains("0.json"));
        assert!(control.take().unwrap().requests.is_empty());
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
        clock.advance(Duration::from_millis(1));
        let began = clock.now_ms();
        let new = control.send(ControlAction::Pause, &clock).unwrap();
        let refused = control.refuse_stale(began).unwrap().refused;
        assert_eq!(refused.len(), 1);
        assert_eq!(
            (refused[0].id.as_str(), refused[0].status),
            (old.id.as_str(), ControlStatus::Refused)
        );
        assert_eq!(control.take().unwrap().requests, [new]);
    }

    #[test]
    fn a_run_without_a_box_has_no_requests() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("recipe.toml"), "").unwrap();
        let mut control = ControlBox::new(&RunDir::open(dir.path()).unwrap());
        assert_empty(&control.take().unwrap());
    }
}
