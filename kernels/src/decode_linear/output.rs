use std::mem::MaybeUninit;

/// A matrix to be written, whose columns are shared out among threads.
pub(super) struct Output {
    values: *mut f32,
    len: usize,
    columns: usize,
}

// SAFETY: `write` is how threads reach the values, and its contract keeps them apart.
unsafe impl Sync for Output {}

impl Output {
    pub(super) fn of(values: &mut [MaybeUninit<f32>], columns: usize) -> Self {
        Output {
            values: values.as_mut_ptr().cast(),
            len: values.len(),
            columns,
        }
    }

    /// # Safety
    /// The matrix is alive, and no other thread uses these columns.
    #[inline(always)]
    pub(super) unsafe fn write<const C: usize>(&self, row: usize, column: usize, values: [f32; C]) {
        let start = row * self.columns + column;
        assert!(column + C <= self.columns && start + C <= self.len);
        // SAFETY: in bounds by the assertion, alone by the caller's word.
        unsafe {
            self.values
                .add(start)
                .cast::<[f32; C]>()
                .write_unaligned(values)
        };
    }
}
