//! A launch: its blocks over the threads of the host, and each block's warps in turn.

use std::cell::RefCell;
use std::ffi::c_void;

use rayon::prelude::*;

use crate::fiber::{Entry, Fiber, Lane, Wait};
use crate::shared_memory::SharedMemory;
use crate::warp::{self, WARP};

/// A kernel with all that it runs on.
pub(crate) struct Launch<'a> {
    pub(crate) name: &'a str,
    pub(crate) entry: Entry,
    pub(crate) arguments: *mut *mut c_void,
    pub(crate) grid_size: [u32; 3],
    pub(crate) block_size: [u32; 3],
    pub(crate) shared_bytes: usize,
}

// SAFETY: the driver's caller keeps the arguments for the whole call, and kernels only read them.
unsafe impl Sync for Launch<'_> {}

thread_local! {
    static SHARED: RefCell<Option<SharedMemory>> = const { RefCell::new(None) };
}

impl Launch<'_> {
    /// Runs all blocks.
    ///
    /// # Safety
    /// The arguments are those of the kernel, and what they point to is as large as it takes.
    pub(crate) unsafe fn run(&self) {
        let blocks: usize = self.grid_size.iter().map(|&size| size as usize).product();
        (0..blocks).into_par_iter().for_each(|index| {
            SHARED.with_borrow_mut(|shared| {
                let fits = |shared: &SharedMemory| shared.bytes == self.shared_bytes;
                let shared = match shared {
                    Some(shared) if fits(shared) => shared,
                    shared => shared.insert(SharedMemory::new(self.shared_bytes)),
                };
                shared.poison();
                // SAFETY: the caller's.
                unsafe { Block::new(self, index, shared) }.run();
            });
        });
    }
}

struct Block<'a> {
    launch: &'a Launch<'a>,
    index: usize,
    threads: Vec<Thread>,
}

struct Thread {
    lane: Lane,
    state: State,
}

enum State {
    Ready(Option<Fiber>),
    Waits(Fiber, Wait),
    Ended,
}

impl<'a> Block<'a> {
    /// # Safety
    /// As `Launch::run`.
    unsafe fn new(launch: &'a Launch<'a>, index: usize, shared: &SharedMemory) -> Self {
        let block = position(index, launch.grid_size);
        let sizes = (launch.block_size, launch.grid_size);
        let size: u32 = launch.block_size.iter().product();
        let threads = (0..size as usize).map(|thread| Thread {
            lane: Lane::new(
                position(thread, launch.block_size),
                block,
                sizes,
                (shared.start, shared.bytes),
            ),
            state: State::Ready(None),
        });
        Self {
            launch,
            index,
            threads: threads.collect(),
        }
    }

    /// Warp after warp up to the next barrier of the block, until all threads have ended. Every other
    /// block goes backwards, so that what relies on the order without a barrier is seen.
    fn run(mut self) {
        let warps = self.threads.len().div_ceil(WARP);
        loop {
            for warp in 0..warps {
                let warp = if self.index.is_multiple_of(2) {
                    warp
                } else {
                    warps - 1 - warp
                };
                self.run_warp(warp * WARP);
            }
            if !self.pass_barrier() {
                return;
            }
        }
    }

    /// Runs the warp whose first thread is `first` until none of it is ready.
    fn run_warp(&mut self, first: usize) {
        let last = (first + WARP).min(self.threads.len());
        loop {
            for lane in first..last {
                let lane = if self.index.is_multiple_of(2) {
                    lane
                } else {
                    first + last - 1 - lane
                };
                self.threads[lane].run(self.launch);
            }
            if !self.meet(first, last) {
                return;
            }
        }
    }

    /// Carries out the operation at which a warp waits, if it does.
    fn meet(&mut self, first: usize, last: usize) -> bool {
        let warp = &mut self.threads[first..last];
        let mut arguments = [std::ptr::null_mut(); WARP];
        let mut met = None;
        for (thread, slot) in warp.iter().zip(&mut arguments) {
            let State::Waits(
                _,
                Wait::Warp {
                    operation,
                    line,
                    arguments,
                },
            ) = thread.state
            else {
                continue;
            };
            *slot = arguments;
            let (one, other) = (*met.get_or_insert((operation, line)), (operation, line));
            if one != other {
                self.fail(&format!("lanes of a warp are at {one:?} and at {other:?}"));
            }
        }
        let Some((operation, line)) = met else {
            return false;
        };
        if operation.needs_all() && arguments.iter().any(|arguments| arguments.is_null()) {
            self.fail(&format!(
                "{operation:?} at line {line} without all lanes of the warp"
            ));
        }
        // SAFETY: each lane waits at this operation, with its arguments on its stack.
        unsafe { warp::carry_out(operation, &arguments, &warp[0].lane) };
        for thread in warp {
            thread.release();
        }
        true
    }

    /// Lets all threads pass the barrier at which they wait. `false` where all have ended.
    fn pass_barrier(&mut self) -> bool {
        let mut waits = self.threads.iter().map(|thread| match thread.state {
            State::Waits(_, wait) => Some(wait),
            _ => None,
        });
        let first = waits.next().flatten();
        if let Some(other) = waits.find(|wait| *wait != first) {
            self.fail(&format!(
                "a barrier that not all threads reach: {first:?}, {other:?}"
            ));
        }
        for thread in &mut self.threads {
            thread.release();
        }
        first.is_some()
    }

    fn fail(&self, what: &str) -> ! {
        panic!(
            "kernel {}, block {:?} of {:?}: {what}",
            self.launch.name,
            position(self.index, self.launch.grid_size),
            self.launch.grid_size
        )
    }
}

impl Thread {
    /// Runs the thread until it waits or ends, if it is ready.
    fn run(&mut self, launch: &Launch) {
        let State::Ready(fiber) = &mut self.state else {
            return;
        };
        let lane = &raw mut self.lane;
        // SAFETY: the lane has its place in the block, which outlives the fiber.
        let new = || unsafe { Fiber::new(lane, launch.entry, launch.arguments) };
        let mut fiber = fiber.take().unwrap_or_else(new);
        self.state = match fiber.resume(lane) {
            Some(wait) => State::Waits(fiber, wait),
            None => {
                fiber.recycle();
                State::Ended
            }
        };
    }

    fn release(&mut self) {
        if let State::Waits(fiber, _) = std::mem::replace(&mut self.state, State::Ended) {
            self.state = State::Ready(Some(fiber));
        }
    }
}

/// The place of an index in three dimensions, the first the quickest.
fn position(index: usize, size: [u32; 3]) -> [u32; 3] {
    let [x, y] = [size[0] as usize, size[1] as usize];
    [index % x, index / x % y, index / (x * y)].map(|at| at as u32)
}
