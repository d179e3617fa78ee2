//! A block's shared memory, which ends where memory ends.

use std::ptr;

/// Memory between two pages that may not be touched. What it is given for ends at the second, so that
/// the first byte too far ends the process.
pub(crate) struct SharedMemory {
    mapped: *mut u8,
    mapped_bytes: usize,
    pub(crate) start: *mut u8,
    pub(crate) bytes: usize,
}

/// What shared memory is aligned to, and kernels are told at most.
const ALIGNMENT: usize = 128;
const PAGE: usize = 1 << 16;

impl SharedMemory {
    pub(crate) fn new(bytes: usize) -> Self {
        let inside = bytes.next_multiple_of(PAGE);
        let mapped_bytes = inside + 2 * PAGE;
        // SAFETY: a new mapping touches no memory of anyone, and the part that is opened lies in it.
        let mapped = unsafe {
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
            let mapped = libc::mmap(ptr::null_mut(), mapped_bytes, libc::PROT_NONE, flags, -1, 0);
            assert!(mapped != libc::MAP_FAILED, "no memory for a block");
            let open = libc::PROT_READ | libc::PROT_WRITE;
            let code = libc::mprotect(mapped.byte_add(PAGE), inside, open);
            assert!(code == 0, "no memory for a block");
            mapped.cast::<u8>()
        };
        let start = mapped.wrapping_add(PAGE + inside - bytes.next_multiple_of(ALIGNMENT));
        Self {
            mapped,
            mapped_bytes,
            start,
            bytes,
        }
    }

    /// NaN in every type of floating-point numbers.
    pub(crate) fn poison(&mut self) {
        // SAFETY: the bytes lie in the part of the mapping that is open.
        unsafe { self.start.write_bytes(0xff, self.bytes) };
    }
}

impl Drop for SharedMemory {
    fn drop(&mut self) {
        // SAFETY: mapped in `new`, and no block runs on it any more.
        let code = unsafe { libc::munmap(self.mapped.cast(), self.mapped_bytes) };
        debug_assert_eq!(code, 0);
    }
}
