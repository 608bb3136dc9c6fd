//! How large pieces and batches are: a piece takes seconds on the link as measured, a batch tens
//! of seconds, so that a cut costs little and a good link is not slowed by round trips.

use std::time::Duration;

/// How long a piece should take.
const PIECE_SECONDS: u64 = 4;
/// How long a batch should take.
const BATCH_SECONDS: u64 = 20;
/// Records shrink to about a third under LZ4, so a batch of so many raw bytes fills its time.
const RAW_PER_STORED: u64 = 3;
/// What is assumed of a link never measured.
const UNMEASURED_BYTES_PER_SECOND: u64 = 4096;

/// The bounds of pieces and batches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PaceLimits {
    /// The smallest piece. Default 1 KiB: 8 seconds at 1 kbit/s.
    pub piece_bytes_min: u64,
    /// The largest piece; a parent refuses pieces above 1 MiB. Default 1 MiB.
    pub piece_bytes_max: u64,
    /// The smallest goal for a batch's records before compression. Default 64 KiB.
    pub batch_bytes_min: u64,
    /// The largest goal for a batch's records before compression. Default 8 MiB.
    pub batch_bytes_max: u64,
}

impl Default for PaceLimits {
    fn default() -> PaceLimits {
        PaceLimits {
            piece_bytes_min: 1024,
            piece_bytes_max: 1024 * 1024,
            batch_bytes_min: 64 * 1024,
            batch_bytes_max: 8 * 1024 * 1024,
        }
    }
}

/// The sizes for now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// Bytes of a piece.
    pub piece_bytes: u64,
    /// Bytes of a batch's records before compression.
    pub batch_bytes: u64,
}

/// The sizes for a link that carries so many bytes a second.
pub fn pace(bytes_per_second: u64, limits: &PaceLimits) -> Pace {
    let bounded = |bytes: u64, min: u64, max: u64| bytes.max(min).min(max);
    Pace {
        piece_bytes: bounded(
            bytes_per_second.saturating_mul(PIECE_SECONDS),
            limits.piece_bytes_min,
            limits.piece_bytes_max,
        ),
        batch_bytes: bounded(
            bytes_per_second.saturating_mul(BATCH_SECONDS * RAW_PER_STORED),
            limits.batch_bytes_min,
            limits.batch_bytes_max,
        ),
    }
}

/// What the link has shown it can carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Meter {
    bytes_per_second: u64,
    /// No piece is larger for now: the link was cut in one, and may be again.
    piece_bytes_max: u64,
}

impl Default for Meter {
    fn default() -> Meter {
        Meter { bytes_per_second: UNMEASURED_BYTES_PER_SECOND, piece_bytes_max: u64::MAX }
    }
}

impl Meter {
    /// The estimate.
    pub fn bytes_per_second(self) -> u64 {
        self.bytes_per_second
    }

    /// The sizes for now.
    pub fn pace(self, limits: &PaceLimits) -> Pace {
        let sizes = pace(self.bytes_per_second, limits);
        let piece_bytes = sizes.piece_bytes.min(self.piece_bytes_max).max(limits.piece_bytes_min);
        Pace { piece_bytes, ..sizes }
    }

    /// A piece got through in this time. The answer to a batch's `last` piece may have waited for
    /// the target database, so it can only raise the estimate.
    pub fn piece(&mut self, bytes: u64, took: Duration, last: bool) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX).max(1);
        let seen = bytes.saturating_mul(1_000_000) / micros;
        self.piece_bytes_max = self.piece_bytes_max.saturating_mul(2);
        let blended = self.bytes_per_second / 2 + seen / 2;
        if !last || blended > self.bytes_per_second {
            self.bytes_per_second = blended.max(1);
        }
    }

    /// The link was cut in the middle of a piece. On a link that is cut again and again only what is
    /// small comes through whole. No smaller than can grow to the smallest piece at once.
    pub fn cut(&mut self, bytes: u64, limits: &PaceLimits) {
        let quarter = self.piece_bytes_max.min(bytes) / 4;
        self.piece_bytes_max = quarter.max(limits.piece_bytes_min);
    }

    /// A piece did not get through.
    pub fn stalled(&mut self) {
        self.bytes_per_second = (self.bytes_per_second / 4).max(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_follow_the_link_within_their_bounds() {
        let limits = PaceLimits::default();
        let of = |rate| pace(rate, &limits);
        assert_eq!(of(1), Pace { piece_bytes: 1024, batch_bytes: 64 * 1024 });
        assert_eq!(of(10_000), Pace { piece_bytes: 40_000, batch_bytes: 600_000 });
        assert_eq!(of(u64::MAX), Pace { piece_bytes: 1 << 20, batch_bytes: 8 << 20 });
        let mut last = of(0);
        for rate in (0..2_000_000).step_by(1000) {
            let next = of(rate);
            assert!(next.piece_bytes >= last.piece_bytes && next.batch_bytes >= last.batch_bytes);
            last = next;
        }
    }

    #[test]
    fn the_estimate_finds_a_link_of_any_speed() {
        for true_rate in [125_u64, 8_000, 1_000_000, 50_000_000] {
            let mut meter = Meter::default();
            for _ in 0..40 {
                let bytes = pace(meter.bytes_per_second(), &PaceLimits::default()).piece_bytes;
                meter.piece(bytes, Duration::from_micros(bytes * 1_000_000 / true_rate), false);
            }
            let found = meter.bytes_per_second();
            assert!(found.abs_diff(true_rate) * 10 <= true_rate, "{found} for {true_rate}");
        }
    }

    #[test]
    fn waiting_for_the_target_does_not_look_like_a_slow_link() {
        let mut meter = Meter { bytes_per_second: 1_000_000, ..Meter::default() };
        meter.piece(500, Duration::from_mins(1), true);
        assert_eq!(meter.bytes_per_second(), 1_000_000);
        meter.stalled();
        assert_eq!(meter.bytes_per_second(), 250_000);
    }

    #[test]
    fn pieces_shrink_where_the_link_is_cut_and_grow_where_it_is_not() {
        let limits = PaceLimits::default();
        let mut meter = Meter { bytes_per_second: 1_000_000, ..Meter::default() };
        let piece = |meter: Meter| meter.pace(&limits).piece_bytes;
        assert_eq!(piece(meter), 1024 * 1024);
        for expected in [262_144, 65_536, 16_384, 4_096, 1_024, 1_024] {
            meter.cut(piece(meter), &limits);
            assert_eq!(piece(meter), expected);
        }
        for expected in [2_048, 4_096, 8_192, 16_384] {
            meter.piece(1_024, Duration::from_millis(1), false);
            assert_eq!(piece(meter), expected);
        }
        // In a batch's short last piece.
        meter.cut(40, &limits);
        assert_eq!(piece(meter), 1_024);
        for expected in [2_048, 4_096, 8_192, 16_384, 32_768, 65_536] {
            meter.piece(1_024, Duration::from_millis(1), false);
            assert_eq!(piece(meter), expected);
        }
    }
}
