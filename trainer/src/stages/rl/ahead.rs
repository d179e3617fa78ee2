//! A set of samples drawn on a second thread, by the policy before an optimizer step, while that step
//! trains.
//!
//! What comes of it depends on the weights, the seed and the place in the data alone: the thread has
//! its own handles on the weights, which the optimizer then does not change in place but replaces, and
//! nothing asks how far the thread is but to wait for its end. A checkpoint waits too and keeps the
//! set, since the weights that drew it are gone by then.

use std::any::Any;
use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use model::CausalLm;

use super::sample_set::{Drawing, Place, SampleSet};
use crate::TrainError;

/// The second thread, one for a whole run: a GPU's runtime gives each thread a queue of its own, with
/// memory that it keeps.
pub(super) struct Worker {
    /// Absent only while it is dropped.
    jobs: Option<Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

/// The set of a later step.
pub(super) struct Ahead {
    step: u64,
    state: RefCell<State>,
    is_cancelled: Arc<AtomicBool>,
}

/// How often a thread that waits asks whether the user stops the run.
const ASK_EVERY: Duration = Duration::from_millis(50);

enum State {
    Drawing(Receiver<Drawn>),
    Drawn(Result<Box<SampleSet>, TrainError>),
    Taken,
}

/// The set, `None` of it where nobody wants it any more; or what the thread panicked with.
type Drawn = Result<Result<Option<SampleSet>, TrainError>, Box<dyn Any + Send>>;

struct Job {
    drawing: Arc<Drawing>,
    place: Place,
    policy: CausalLm,
    reference: Option<CausalLm>,
    is_cancelled: Arc<AtomicBool>,
    drawn: Sender<Drawn>,
}

impl Worker {
    /// Waits for work.
    ///
    /// # Panics
    /// Where the system has no room for a thread.
    pub fn start() -> Self {
        let (jobs, inbox) = channel::<Job>();
        let thread = std::thread::Builder::new().name("rollout".to_owned());
        let thread = thread.spawn(move || {
            for job in inbox {
                let answer = job.drawn.clone();
                let drawn = catch_unwind(AssertUnwindSafe(|| job.draw()));
                // Who does not listen any more does not want it.
                let _ = answer.send(drawn);
            }
        });
        Worker {
            jobs: Some(jobs),
            thread: Some(thread.expect("the system has room for a thread")),
        }
    }

    /// Begins to draw the set of this place.
    pub fn begin(
        &self,
        drawing: Arc<Drawing>,
        place: Place,
        policy: CausalLm,
        reference: Option<CausalLm>,
    ) -> Ahead {
        let (step, is_cancelled) = (place.step, Arc::new(AtomicBool::new(false)));
        let (answer, drawn) = channel();
        let job = Job {
            drawing,
            place,
            policy,
            reference,
            is_cancelled: is_cancelled.clone(),
            drawn: answer,
        };
        let jobs = self.jobs.as_ref().expect("it is not being dropped");
        assert!(jobs.send(job).is_ok(), "the thread ends with its inbox");
        Ahead {
            step,
            state: RefCell::new(State::Drawing(drawn)),
            is_cancelled,
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Job {
    fn draw(self) -> Result<Option<SampleSet>, TrainError> {
        let stops = || self.is_cancelled.load(Ordering::Relaxed);
        let (policy, reference) = (&self.policy, self.reference.as_ref());
        let drawn = self
            .drawing
            .draw(&self.place, policy, reference, None, &stops)?;
        Ok(drawn.map(|mut set| {
            set.set_old_logprobs(policy, self.drawing.settings.temperature, 0..0);
            for sample in &mut set.samples {
                // Of the weights after so many steps.
                sample.fields.set("policy_step", self.place.step - 2);
            }
            set
        }))
    }
}

impl Ahead {
    /// A set that a checkpoint kept.
    pub fn known(set: SampleSet) -> Self {
        Ahead {
            step: set.step,
            state: RefCell::new(State::Drawn(Ok(Box::new(set)))),
            is_cancelled: Arc::default(),
        }
    }

    /// The first step that trains on it.
    pub fn step(&self) -> u64 {
        self.step
    }

    /// Waits until it is drawn or the user stops the run; whether it is drawn.
    pub fn wait_unless(&self, should_stop: &dyn Fn() -> bool) -> bool {
        let state = &mut *self.state.borrow_mut();
        loop {
            let State::Drawing(drawn) = state else {
                return true;
            };
            match drawn.recv_timeout(ASK_EVERY) {
                Ok(drawn) => *state = State::of(drawn),
                Err(RecvTimeoutError::Timeout) if should_stop() => return false,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => unreachable!("the thread answers each job"),
            }
        }
    }

    /// The set, once it is drawn; `None` where drawing it failed, which the run then ends with.
    pub fn wait(&self) -> Option<SampleSet> {
        let state = &mut *self.state.borrow_mut();
        state.wait();
        match state {
            State::Drawn(Ok(set)) => Some((**set).clone()),
            _ => None,
        }
    }

    /// The set, once it is drawn.
    ///
    /// # Errors
    /// What drawing it failed with.
    pub fn take(self) -> Result<SampleSet, TrainError> {
        let mut state = self.state.borrow_mut();
        state.wait();
        match std::mem::replace(&mut *state, State::Taken) {
            State::Drawn(set) => set.map(|set| *set),
            _ => unreachable!("it was waited for, and is taken once"),
        }
    }
}

impl State {
    fn wait(&mut self) {
        let State::Drawing(drawn) = self else {
            return;
        };
        *self = State::of(drawn.recv().expect("the thread answers each job"));
    }

    fn of(drawn: Drawn) -> Self {
        // Its panic is this thread's.
        let drawn = drawn.unwrap_or_else(|panic| resume_unwind(panic));
        State::Drawn(drawn.map(|set| Box::new(set.expect("nobody cancelled it"))))
    }
}

impl Drop for Ahead {
    /// Nobody wants the set any more: the thread leaves it at its next token, and with it its hold on
    /// the weights.
    fn drop(&mut self) {
        self.is_cancelled.store(true, Ordering::Relaxed);
        if let State::Drawing(drawn) = self.state.get_mut() {
            let _ = drawn.recv();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_waits_hears_that_the_run_is_stopped() {
        let (answer, drawn) = channel();
        let ahead = Ahead {
            step: 1,
            state: RefCell::new(State::Drawing(drawn)),
            is_cancelled: Arc::default(),
        };
        assert!(!ahead.wait_unless(&|| true));
        // What comes meanwhile is taken all the same.
        let sent = answer.send(Ok(Err(TrainError::NothingToTrain(String::new()))));
        assert!(sent.is_ok() && ahead.wait_unless(&|| true));
        assert!(ahead.take().is_err());
    }
}
