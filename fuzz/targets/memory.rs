//! How much memory a target takes.

use peak_alloc::PeakAlloc;

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

/// The most memory that so many bytes may take, beside what was in use before.
pub struct Limit {
    /// Whatever the bytes are, in KiB.
    pub fixed_kib: usize,
    /// For each of them, in bytes.
    pub per_byte: usize,
}

impl Limit {
    /// Runs and measures. Only what Rust's allocator hands out counts; libFuzzer watches the rest.
    pub fn hold(&self, count: usize, run: impl FnOnce()) {
        let before = ALLOCATOR.current_usage();
        ALLOCATOR.reset_peak_usage();
        run();
        let taken = ALLOCATOR.peak_usage().saturating_sub(before);
        let limit = self.fixed_kib * 1024 + self.per_byte * count;
        assert!(taken <= limit, "{count} bytes took {taken} bytes of memory, more than {limit}");
    }
}
