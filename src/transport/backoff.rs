//! How long a child waits before it dials again: exponential with full jitter, capped, for ever.

use std::time::Duration;

/// The waits between tries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BackoffLimits {
    /// The upper bound of the first wait. Default 1 s.
    pub first: Duration,
    /// The upper bound of every wait. Default 5 min.
    pub longest: Duration,
    /// The upper bound of the wait after a refusal, which only a person can mend. Default 5 min.
    pub refused: Duration,
}

impl Default for BackoffLimits {
    fn default() -> BackoffLimits {
        BackoffLimits {
            first: Duration::from_secs(1),
            longest: Duration::from_mins(5),
            refused: Duration::from_mins(5),
        }
    }
}

/// The tries since the last success.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Backoff {
    failures: u32,
}

impl Backoff {
    /// The wait after one more failure; `jitter` is evenly spread over `0.0..1.0`. A hundred
    /// clinics that lost the same parent do not come back in the same second.
    pub fn after_failure(&mut self, limits: &BackoffLimits, jitter: f64) -> Duration {
        let bound = limits.first.saturating_mul(2_u32.saturating_pow(self.failures));
        self.failures = self.failures.saturating_add(1);
        bound.min(limits.longest).mul_f64(jitter.clamp(0.0, 1.0))
    }

    /// The wait after a refusal: long, but never for ever, so that mending it at the parent is
    /// enough. At least half of it, because asking sooner changes nothing.
    pub fn after_refusal(limits: &BackoffLimits, jitter: f64) -> Duration {
        limits.refused.mul_f64(0.5 + jitter.clamp(0.0, 1.0) / 2.0)
    }

    /// Something got through.
    pub fn succeeded(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_cap_and_start_over_after_success() {
        let limits = BackoffLimits::default();
        let mut backoff = Backoff::default();
        let waits: Vec<u64> =
            (0..12).map(|_| backoff.after_failure(&limits, 1.0).as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]);
        for _ in 0..1000 {
            assert!(backoff.after_failure(&limits, 1.0) <= limits.longest);
        }
        backoff.succeeded();
        assert_eq!(backoff.after_failure(&limits, 0.5), Duration::from_millis(500));
        assert!(Backoff::after_refusal(&limits, 0.0) >= Duration::from_secs(150));
    }
}
