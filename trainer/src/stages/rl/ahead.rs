//! A set of samples drawn on a second thread, by the policy before an optimizer step, while that step
//! trains.
//!
//! What comes of it depends on the weights, the seed and the place in the data alone: the thread has
//! its own handles on the weights, which the optimizer then does not change in place but replaces, and
//! nothing asks how far the thread is but to wait for its end. A checkpoint waits too and keeps the
//! set, since the weights that drew it are gone by then.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use model::CausalLm;

use super::sample_set::{Drawing, Place, SampleSet};
use crate::TrainError;

/// The set of a later step.
pub(super) struct Ahead {
    step: u64,
    state: RefCell<State>,
    is_cancelled: Arc<AtomicBool>,
}

enum State {
    Drawing(JoinHandle<Result<Option<SampleSet>, TrainError>>),
    Drawn(Result<Box<SampleSet>, TrainError>),
    Taken,
}

impl Ahead {
    /// Begins to draw the set of this place.
    ///
    /// # Panics
    /// Where the system has no room for a thread.
    pub fn begin(
        drawing: Arc<Drawing>,
        place: Place,
        policy: CausalLm,
        reference: Option<CausalLm>,
    ) -> Self {
        let step = place.step;
        let is_cancelled = Arc::new(AtomicBool::new(false));
        let should_stop = is_cancelled.clone();
        let draw = move || {
            let stops = || should_stop.load(Ordering::Relaxed);
            let set = drawing.draw(&place, &policy, reference.as_ref(), None, &stops)?;
            Ok(set.map(|mut set| {
                set.set_old_logprobs(&policy, drawing.settings.temperature);
                for sample in &mut set.samples {
                    sample.fields.set("policy_step", place.step - 2);
                }
                set
            }))
        };
        let thread = std::thread::Builder::new().name("rollout".to_owned());
        let thread = thread
            .spawn(draw)
            .expect("the system has room for a thread");
        Ahead {
            step,
            state: RefCell::new(State::Drawing(thread)),
            is_cancelled,
        }
    }

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

    /// The set, once it is drawn; `None` where drawing it failed.
    pub fn wait(&self) -> Option<SampleSet> {
        let state = &mut *self.state.borrow_mut();
        state.join();
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
        state.join();
        match std::mem::replace(&mut *state, State::Taken) {
            State::Drawn(set) => set.map(|set| *set),
            _ => unreachable!("it was joined, and is taken once"),
        }
    }
}

impl State {
    fn join(&mut self) {
        if !matches!(self, State::Drawing(_)) {
            return;
        }
        let State::Drawing(thread) = std::mem::replace(self, State::Taken) else {
            unreachable!("it was one just now");
        };
        let drawn = thread.join();
        // Its panic is this thread's.
        let drawn = drawn.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        *self = State::Drawn(drawn.map(|set| Box::new(set.expect("nobody cancelled it"))));
    }
}

impl Drop for Ahead {
    /// Nobody wants the set any more: the thread ends at its next token, and its hold on the weights
    /// with it.
    fn drop(&mut self) {
        self.is_cancelled.store(true, Ordering::Relaxed);
        if let State::Drawing(thread) = std::mem::replace(self.state.get_mut(), State::Taken) {
            let _ = thread.join();
        }
    }
}
