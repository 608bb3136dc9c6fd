//! How the grace period is counted although the clock leaps: a machine whose clock battery is dead
//! begins in 1970 and is in the present once it has reached a time server. Acknowledgements are
//! remembered by the wall clock; when that clock leaps they leap with it, so that what has passed
//! since each is what this process saw pass.

use std::time::Duration;

use rusqlite::{OptionalExtension, Transaction, params};

use super::error::Error;
use crate::clock::{Clock, Timestamp};

/// What the wall clock showed last, in the store.
const NOTE: &str = "clock.seen";
/// It is noted so often.
const NOTE_EVERY: Duration = Duration::from_mins(1);
/// A clock that is set right by less than this has not leapt.
const LEAP_MIN: Duration = Duration::from_secs(10);
/// How long a machine was off cannot be told from a clock that leapt meanwhile. So much of it counts.
const OFF_MAX: Duration = Duration::from_hours(24);

/// What this process saw of the clock.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Elapsed {
    seen: Option<(Timestamp, Duration)>,
    noted: Option<Duration>,
}

impl Elapsed {
    /// Moves what is remembered by the wall clock as far as that clock has leapt. To be called in
    /// each transaction that writes or reads such a time, before it does.
    pub(super) fn follow(
        &mut self,
        transaction: &Transaction<'_>,
        clock: &dyn Clock,
    ) -> Result<Timestamp, Error> {
        let (now, monotonic) = (clock.now(), clock.monotonic());
        let leap = match self.seen {
            Some((then, at)) => {
                let passed = i64::try_from(monotonic.saturating_sub(at).as_micros());
                let leap = between(then, now).saturating_sub(passed.unwrap_or(i64::MAX));
                if leap.unsigned_abs() < micros(LEAP_MIN).unsigned_abs() { 0 } else { leap }
            }
            None => noted(transaction)?.map_or(0, |then| {
                let off = between(then, now);
                off.saturating_sub(off.clamp(0, micros(OFF_MAX)))
            }),
        };
        if leap != 0 {
            tracing::info!(seconds = leap / 1_000_000, "the clock has leapt, or the machine slept");
            transaction
                .prepare_cached("UPDATE acknowledgement SET at = at + ?1")?
                .execute(params![leap])?;
        }
        if leap != 0 || self.noted.is_none_or(|at| monotonic.saturating_sub(at) >= NOTE_EVERY) {
            transaction
                .prepare_cached(
                    "INSERT INTO note (name, value) VALUES (?1, ?2)
                     ON CONFLICT (name) DO UPDATE SET value = excluded.value",
                )?
                .execute(params![NOTE, now.0.to_le_bytes()])?;
            self.noted = Some(monotonic);
        }
        self.seen = Some((now, monotonic));
        Ok(now)
    }
}

fn noted(transaction: &Transaction<'_>) -> Result<Option<Timestamp>, Error> {
    let bytes: Option<Vec<u8>> = transaction
        .prepare_cached("SELECT value FROM note WHERE name = ?1")?
        .query_row(params![NOTE], |row| row.get(0))
        .optional()?;
    let number = bytes.as_deref().and_then(|bytes| bytes.first_chunk::<8>().copied());
    Ok(number.map(|bytes| Timestamp(i64::from_le_bytes(bytes))))
}

fn between(then: Timestamp, now: Timestamp) -> i64 {
    now.0.saturating_sub(then.0)
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}
