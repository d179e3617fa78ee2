//! The threads of a block as fibers of one thread of the host.

use std::cell::{Cell, RefCell};
use std::ffi::c_void;
use std::ptr;

use corosensei::stack::DefaultStack;
use corosensei::{Coroutine, CoroutineResult, Yielder};

use crate::warp::Operation;

/// Kernels keep what a GPU has in registers and local memory on the stack.
const STACK_BYTES: usize = 1 << 20;

/// What a kernel sees of its thread, as `cuda.h` declares it, and the copies the thread began.
#[repr(C)]
pub(crate) struct Lane {
    pub(crate) thread: [u32; 3],
    pub(crate) block: [u32; 3],
    pub(crate) block_size: [u32; 3],
    pub(crate) grid_size: [u32; 3],
    pub(crate) shared: *mut u8,
    pub(crate) shared_bytes: usize,
    yielder: *const Yielder<(), Wait>,
    pub(crate) copies: Copies,
}

/// What a thread waits for, and the line of the program where it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wait {
    Block {
        line: u32,
    },
    Warp {
        operation: Operation,
        line: u32,
        arguments: *mut u32,
    },
}

/// A function that runs a kernel for the current thread.
pub(crate) type Entry = unsafe extern "C" fn(*mut *mut c_void);

thread_local! {
    static LANE: Cell<*mut Lane> = const { Cell::new(ptr::null_mut()) };
    static STACKS: RefCell<Vec<DefaultStack>> = const { RefCell::new(Vec::new()) };
}

/// A thread of a block that has begun.
pub(crate) struct Fiber(Coroutine<(), Wait, ()>);

impl Fiber {
    /// # Safety
    /// `lane` stays in place until the fiber has ended, `arguments` are those of the kernel.
    pub(crate) unsafe fn new(lane: *mut Lane, entry: Entry, arguments: *mut *mut c_void) -> Self {
        let stack = STACKS.with_borrow_mut(Vec::pop);
        let stack = stack.unwrap_or_else(|| DefaultStack::new(STACK_BYTES).expect("a stack"));
        Self(Coroutine::with_stack(
            stack,
            move |yielder: &Yielder<(), Wait>, ()| {
                // SAFETY: the caller keeps the lane, and the yielder lives as long as the fiber.
                unsafe {
                    (*lane).yielder = yielder;
                    entry(arguments);
                }
            },
        ))
    }

    /// Runs the thread of `lane` until it waits. `None` once it has ended.
    pub(crate) fn resume(&mut self, lane: *mut Lane) -> Option<Wait> {
        LANE.set(lane);
        match self.0.resume(()) {
            CoroutineResult::Yield(wait) => Some(wait),
            CoroutineResult::Return(()) => None,
        }
    }

    /// Keeps the stack of a fiber that has ended for the next.
    pub(crate) fn recycle(self) {
        let stack = self.0.into_stack();
        STACKS.with_borrow_mut(|stacks| stacks.push(stack));
    }
}

impl Lane {
    pub(crate) fn new(
        thread: [u32; 3],
        block: [u32; 3],
        sizes: ([u32; 3], [u32; 3]),
        shared: (*mut u8, usize),
    ) -> Self {
        let (block_size, grid_size) = sizes;
        Self {
            thread,
            block,
            block_size,
            grid_size,
            shared: shared.0,
            shared_bytes: shared.1,
            yielder: ptr::null(),
            copies: Copies::default(),
        }
    }

    /// Where `bytes` at a shared address are.
    pub(crate) fn shared_at(&self, address: u32, bytes: usize) -> *mut u8 {
        let at = address as usize;
        assert!(
            at + bytes <= self.shared_bytes && at.is_multiple_of(bytes),
            "thread {:?} of block {:?} takes {bytes} bytes at {at} of {} bytes of shared memory",
            self.thread,
            self.block,
            self.shared_bytes
        );
        self.shared.wrapping_add(at)
    }
}

/// The copies of a thread: those since the last commit, and the groups that were not waited for.
#[derive(Default)]
pub(crate) struct Copies {
    open: Vec<Copy>,
    groups: Vec<Vec<Copy>>,
}

struct Copy {
    from: *const u8,
    to: *mut u8,
    read: usize,
    bytes: usize,
}

impl Copies {
    fn begin(&mut self, copy: Copy) {
        // SAFETY: `to` was checked to lie in shared memory.
        unsafe { copy.to.write_bytes(0xff, copy.bytes) };
        self.open.push(copy);
    }

    fn commit(&mut self) {
        self.groups.push(std::mem::take(&mut self.open));
    }

    /// Lets all groups but the newest `but` arrive.
    fn wait(&mut self, but: usize) {
        let arrived = self.groups.len().saturating_sub(but);
        for copy in self.groups.drain(..arrived).flatten() {
            // SAFETY: the kernel gave a source of `read` bytes, and `to` lies in shared memory, which
            // kernels reach through pointers alone.
            unsafe {
                copy.to.copy_from_nonoverlapping(copy.from, copy.read);
                copy.to
                    .add(copy.read)
                    .write_bytes(0, copy.bytes - copy.read);
            }
        }
    }
}

/// What a compiled kernel calls, in the order of `cuda.h`.
#[repr(C)]
pub(crate) struct Runtime {
    lane: extern "C" fn() -> *const Lane,
    block: extern "C" fn(u32),
    warp: extern "C" fn(Operation, u32, *mut u32),
    shared_address: extern "C" fn(*const u8) -> u32,
    copy: extern "C" fn(u32, *const u8, usize, usize),
    commit: extern "C" fn(),
    arrive: extern "C" fn(usize),
}

pub(crate) static RUNTIME: Runtime = Runtime {
    lane: current_lane,
    block: wait_for_block,
    warp: wait_for_warp,
    shared_address,
    copy: begin_copy,
    commit: commit_copies,
    arrive: wait_for_copies,
};

extern "C" fn current_lane() -> *const Lane {
    LANE.get()
}

fn suspend(wait: Wait) {
    // SAFETY: only a running kernel calls this, with its own lane as the current one, and the yielder
    // lives as long as the kernel runs.
    unsafe { (*(*LANE.get()).yielder).suspend(wait) }
}

extern "C" fn wait_for_block(line: u32) {
    suspend(Wait::Block { line });
}

extern "C" fn wait_for_warp(operation: Operation, line: u32, arguments: *mut u32) {
    suspend(Wait::Warp {
        operation,
        line,
        arguments,
    });
}

/// The lane of the kernel that calls.
fn lane<'a>() -> &'a mut Lane {
    // SAFETY: as in `suspend`; nothing else holds the lane while its kernel runs.
    unsafe { &mut *LANE.get() }
}

extern "C" fn shared_address(pointer: *const u8) -> u32 {
    let lane = lane();
    let at = (pointer as usize).wrapping_sub(lane.shared as usize);
    assert!(
        at < lane.shared_bytes,
        "thread {:?} of block {:?} takes for shared memory what is not",
        lane.thread,
        lane.block
    );
    at as u32
}

extern "C" fn begin_copy(to: u32, from: *const u8, bytes: usize, read: usize) {
    assert!(read <= bytes, "cp.async reads {read} bytes for {bytes}");
    assert!(
        read == 0 || (from as usize).is_multiple_of(bytes),
        "cp.async of {bytes} bytes from {from:?}"
    );
    let lane = lane();
    let to = lane.shared_at(to, bytes);
    lane.copies.begin(Copy {
        from,
        to,
        read,
        bytes,
    });
}

extern "C" fn commit_copies() {
    lane().copies.commit();
}

extern "C" fn wait_for_copies(but: usize) {
    lane().copies.wait(but);
}
