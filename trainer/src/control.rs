//! What is asked of a running trainer through its control box, see [`telemetry::control`].
//!
//! The loop looks into the box between two steps, and nowhere else: nothing that training depends on
//! is half done then. A request is answered at once with `accepted` or `refused`, and with `done`
//! when it is. What is asked for never changes what is learnt: an evaluation that somebody asked for
//! is logged, and the alert rules look at it as at every other one, but it makes no checkpoint the
//! best one, takes nothing of the patience of early stopping and sets off no `on_watch`; a checkpoint
//! is one more to go on from, and a pause is no time of any step.

use std::thread;
use std::time::Duration;

use telemetry::{
    ControlAction, ControlBox, ControlRequest, EventLog, RunDir, Taken, TelemetryError, event,
};

use crate::TrainError;
use crate::say;
use crate::stage::Stage;
use crate::train_loop::Training;

/// How often the loop looks into the box, at most: steps may be shorter.
const PERIOD: Duration = Duration::from_millis(200);

/// How often a paused run looks for signals.
const PAUSED_PERIOD: Duration = Duration::from_millis(50);

/// The trainer's end of the control box, and what of the requests it has still to see to.
#[derive(Debug)]
pub struct Requests {
    inbox: ControlBox,
    looked: Option<Duration>,
    is_paused: bool,
    /// The request that ends the run; it is done once the checkpoint is saved.
    stop: Option<ControlRequest>,
    /// At the last look something in the box could not be read, and the log says so.
    is_broken: bool,
}

/// What the loop does after it has looked into the box.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// Take a step.
    Step,
    /// Save and end the run.
    Stop,
}

/// Refuses what was asked of an earlier process; for one that began to work on the run at `since_ms`.
///
/// # Errors
/// The log cannot be written.
pub fn refuse_stale(run_dir: &RunDir, log: &EventLog, since_ms: u64) -> Result<(), TrainError> {
    let stale = ControlBox::new(run_dir).refuse_stale(since_ms);
    let stale = stale.unwrap_or_else(unread);
    for refused in stale.refused {
        log.append(refused)?;
    }
    stale.left.map_or(Ok(()), |error| warn(log, &error))
}

/// A box that cannot be read is no reason to end a run.
fn unread(error: TelemetryError) -> Taken {
    Taken {
        left: Some(error),
        ..Taken::default()
    }
}

fn warn(log: &EventLog, error: &TelemetryError) -> Result<(), TrainError> {
    let message = format!("requests to this run cannot be read: {error}");
    say!("warning: {message}");
    Ok(log.append(event::Warning::new(message))?)
}

impl Requests {
    /// The box of a run.
    pub fn new(run_dir: &RunDir) -> Self {
        Requests {
            inbox: ControlBox::new(run_dir),
            looked: None,
            is_paused: false,
            stop: None,
            is_broken: false,
        }
    }

    /// Refuses what is still in the box when the run ends, and returns how it ended.
    ///
    /// # Errors
    /// What ended the run; only where nothing did, that the log cannot be written. Most likely both say
    /// that the disk is full, but not if the run was stopped.
    pub fn close_after<T>(
        &mut self,
        outcome: Result<T, TrainError>,
        log: &EventLog,
    ) -> Result<T, TrainError> {
        let closed = self.close(log);
        let outcome = outcome?;
        closed?;
        Ok(outcome)
    }

    fn close(&mut self, log: &EventLog) -> Result<(), TrainError> {
        for request in self.take(log)? {
            log.append(request.refused("the run has ended"))?;
        }
        Ok(())
    }

    /// What is in the box, where it is time to look.
    fn poll(&mut self, log: &EventLog) -> Result<Vec<ControlRequest>, TrainError> {
        let now = log.clock().elapsed();
        if self.looked.is_some_and(|looked| now - looked < PERIOD) {
            return Ok(Vec::new());
        }
        self.looked = Some(now);
        self.take(log)
    }

    fn take(&mut self, log: &EventLog) -> Result<Vec<ControlRequest>, TrainError> {
        let taken = self.inbox.take().unwrap_or_else(unread);
        for refused in taken.refused {
            log.append(refused)?;
        }
        let was_broken = std::mem::replace(&mut self.is_broken, taken.left.is_some());
        if let Some(error) = taken.left.filter(|_| !was_broken) {
            warn(log, &error)?;
        }
        Ok(taken.requests)
    }

    /// Why a request cannot be met; if it can, the run is about to be as it asks for.
    fn objection(&mut self, request: &ControlRequest, at: Moment) -> Option<&'static str> {
        if self.stop.is_some() {
            return Some("the run is stopping");
        }
        match request.action {
            ControlAction::Checkpoint if at.step == 0 => {
                Some("no step has been taken yet: the model is what the run began with")
            }
            ControlAction::Evaluate if !at.has_eval_data => Some("the recipe has no eval_data"),
            ControlAction::Pause if self.is_paused => Some("the run is paused already"),
            ControlAction::Continue if !self.is_paused => Some("the run is not paused"),
            ControlAction::Pause => {
                self.is_paused = true;
                None
            }
            ControlAction::Continue => {
                self.is_paused = false;
                None
            }
            ControlAction::Stop => {
                self.stop = Some(request.clone());
                None
            }
            ControlAction::Checkpoint | ControlAction::Evaluate => None,
        }
    }
}

/// What of a run decides whether a request can be met.
#[derive(Debug, Clone, Copy)]
struct Moment {
    step: u64,
    has_eval_data: bool,
}

impl Training {
    /// Does what was asked for since the last step; waits while the run is paused. `saved` is the
    /// step of the newest checkpoint.
    ///
    /// # Errors
    /// What saving, evaluating or the log fails with.
    pub(crate) fn serve_requests<S: Stage>(
        &mut self,
        stage: &mut S,
        saved: &mut u64,
    ) -> Result<Next, TrainError> {
        self.do_requests(stage, saved)?;
        let is_held = self.requests.is_paused;
        while self.requests.is_paused && !self.is_stopping() {
            thread::sleep(PAUSED_PERIOD);
            self.do_requests(stage, saved)?;
        }
        if self.is_stopping() {
            return Ok(Next::Stop);
        }
        if is_held {
            self.phase("train")?;
        }
        Ok(Next::Step)
    }

    /// Answers the request that ended the run, which has a checkpoint now.
    pub(crate) fn stopped_on_request(&mut self) -> Result<(), TrainError> {
        match self.requests.stop.take() {
            Some(request) => Ok(self.log.append(request.done())?),
            None => Ok(()),
        }
    }

    fn is_stopping(&self) -> bool {
        self.requests.stop.is_some() || self.interrupter.should_stop()
    }

    fn do_requests<S: Stage>(&mut self, stage: &mut S, saved: &mut u64) -> Result<(), TrainError> {
        let at = Moment {
            step: self.step,
            has_eval_data: !self.recipe.data.eval_data.is_empty(),
        };
        let mut accepted = Vec::new();
        for request in self.requests.poll(&self.log)? {
            match self.requests.objection(&request, at) {
                Some(reason) => self.log.append(request.refused(reason))?,
                None => {
                    self.log.append(request.accepted())?;
                    accepted.push(request);
                }
            }
        }
        for request in accepted {
            self.do_request(stage, saved, &request)?;
        }
        Ok(())
    }

    fn do_request<S: Stage>(
        &mut self,
        stage: &mut S,
        saved: &mut u64,
        request: &ControlRequest,
    ) -> Result<(), TrainError> {
        say!("{} was asked for", request.action.name());
        let answer = match request.action {
            ControlAction::Checkpoint => {
                if !self.run_dir.checkpoint_dir(self.step).is_dir() {
                    self.save(stage)?;
                    *saved = self.step;
                }
                request.done()
            }
            ControlAction::Evaluate => match self.evaluate(stage)? {
                Some(_) => request.done(),
                None => request.refused("a signal cut the evaluation short"),
            },
            ControlAction::Pause | ControlAction::Continue => request.done(),
            ControlAction::Stop => return Ok(()),
        };
        // Each of them ends in the phase of training.
        if self.requests.is_paused {
            self.phase(event::Phase::PAUSED)?;
        }
        Ok(self.log.append(answer)?)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use telemetry::event::ControlStatus;
    use telemetry::{Event, EventTail, FixedClock};

    use super::*;

    struct Run {
        _dir: tempfile::TempDir,
        run_dir: RunDir,
        clock: Arc<FixedClock>,
        log: EventLog,
    }

    fn run() -> Run {
        let dir = tempfile::tempdir().expect("a folder");
        let run_dir = RunDir::create(dir.path()).expect("it is writable");
        let clock = Arc::new(FixedClock::new(1));
        let log = EventLog::open_with(&run_dir.events_file(), clock.clone()).expect("a log");
        Run {
            _dir: dir,
            run_dir,
            clock,
            log,
        }
    }

    impl Run {
        fn ask(&self, action: ControlAction) -> ControlRequest {
            self.clock.advance(Duration::from_millis(1));
            ControlBox::new(&self.run_dir)
                .send(action, &*self.clock)
                .expect("it is writable")
        }

        fn answers(&self) -> Vec<(String, ControlStatus, Option<String>)> {
            let (lines, _) = EventTail::read_all(self.run_dir.events_file()).expect("a log");
            lines
                .into_iter()
                .filter_map(|line| match line.event {
                    Event::Control(control) => Some((control.id, control.status, control.reason)),
                    _ => None,
                })
                .collect()
        }
    }

    #[test]
    fn what_was_asked_before_the_process_began_or_after_the_run_ended_is_refused() {
        let run = run();
        let before = run.ask(ControlAction::Stop);
        refuse_stale(&run.run_dir, &run.log, u64::MAX).expect("a box");
        let mut requests = Requests::new(&run.run_dir);
        let after = run.ask(ControlAction::Pause);
        requests.close_after(Ok(()), &run.log).expect("a box");
        let answers = run.answers();
        let ids: Vec<&str> = answers.iter().map(|(id, ..)| id.as_str()).collect();
        assert_eq!(ids, [before.id, after.id]);
        assert!(
            answers
                .iter()
                .all(|(_, status, _)| *status == ControlStatus::Refused)
        );
        assert_eq!(answers[1].2.as_deref(), Some("the run has ended"));
    }

    #[test]
    fn the_box_is_looked_into_five_times_a_second_at_most() {
        let run = run();
        let mut requests = Requests::new(&run.run_dir);
        assert!(requests.poll(&run.log).expect("a box").is_empty());
        run.ask(ControlAction::Evaluate);
        assert!(requests.poll(&run.log).expect("a box").is_empty());
        run.clock.advance(PERIOD);
        assert_eq!(requests.poll(&run.log).expect("a box").len(), 1);
    }

    #[test]
    fn what_makes_no_sense_now_is_refused_with_the_reason() {
        let run = run();
        let mut requests = Requests::new(&run.run_dir);
        let mut objection = |action, step, has_eval_data| {
            let at = Moment {
                step,
                has_eval_data,
            };
            requests
                .objection(&run.ask(action), at)
                .map(|reason| reason.rsplit(' ').next().expect("a word"))
        };
        use ControlAction::{Checkpoint, Continue, Evaluate, Pause, Stop};
        assert_eq!(objection(Continue, 1, true), Some("paused"));
        assert_eq!(objection(Pause, 1, true), None);
        assert_eq!(objection(Pause, 1, true), Some("already"));
        assert_eq!(objection(Checkpoint, 1, true), None);
        assert_eq!(objection(Checkpoint, 0, true), Some("with"));
        assert_eq!(objection(Evaluate, 1, true), None);
        assert_eq!(objection(Evaluate, 1, false), Some("eval_data"));
        assert_eq!(objection(Continue, 1, true), None);
        assert_eq!(objection(Continue, 1, true), Some("paused"));
        assert_eq!(objection(Stop, 1, true), None);
        assert_eq!(objection(Stop, 1, true), Some("stopping"));
    }

    #[cfg(unix)]
    #[test]
    fn a_box_that_cannot_be_read_is_one_warning_each_time_and_is_read_once_it_can_be() {
        let run = run();
        let mut requests = Requests::new(&run.run_dir);
        let control = run.run_dir.control_dir();
        for outage in 1..=2 {
            std::fs::remove_dir(&control).expect("an empty folder");
            std::fs::File::create(&control).expect("it is writable");
            for _ in 0..2 {
                run.clock.advance(PERIOD);
                assert!(requests.poll(&run.log).expect("no error").is_empty());
            }
            let (lines, _) = EventTail::read_all(run.run_dir.events_file()).expect("a log");
            assert_eq!(lines.len(), outage, "{lines:?}");
            std::fs::remove_file(&control).expect("a file");
            std::fs::create_dir(&control).expect("it is writable");
            let asked = run.ask(ControlAction::Evaluate);
            run.clock.advance(PERIOD);
            assert_eq!(requests.poll(&run.log).expect("a box"), [asked]);
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn what_ended_the_run_comes_before_a_log_that_cannot_be_written() {
        let run = run();
        let full = EventLog::open_with(std::path::Path::new("/dev/full"), run.clock.clone())
            .expect("it opens");
        let close_after = |outcome| {
            run.ask(ControlAction::Pause);
            Requests::new(&run.run_dir).close_after(outcome, &full)
        };
        let stopped = close_after(Err(TrainError::Stopped { step: 3 }));
        assert!(
            matches!(stopped, Err(TrainError::Stopped { step: 3 })),
            "{stopped:?}"
        );
        let unlogged = close_after(Ok(())).expect_err("the answer has no room");
        assert!(unlogged.to_string().contains("/dev/full"), "{unlogged}");
    }
}
