//! A clock that is moved by years.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use crate::clock::{Clock, SharedClock, SystemClock, Timestamp};

/// The machine's clock, moved by hours.
pub(super) struct MovedClock {
    pub(super) inner: SharedClock,
    pub(super) micros: AtomicI64,
}

impl Clock for MovedClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.inner.now().0 + self.micros.load(Ordering::SeqCst))
    }
    fn monotonic(&self) -> Duration {
        self.inner.monotonic()
    }
}

pub(super) fn clock() -> Arc<MovedClock> {
    Arc::new(MovedClock { inner: SystemClock::shared(), micros: AtomicI64::new(0) })
}

pub(super) fn shared(clock: &Arc<MovedClock>) -> SharedClock {
    Arc::<MovedClock>::clone(clock)
}

impl MovedClock {
    pub(super) fn move_years(&self, years: i64) {
        self.micros.store(years * 365 * 86_400 * 1_000_000, Ordering::SeqCst);
    }
}
