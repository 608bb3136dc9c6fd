//! The store's promises, each by a test of its own.

mod appending;
mod failing;
mod indexing;
mod links;
mod opening;
mod receiving;
mod surviving;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use super::{Append, IndexChange, Limits, Segment, Spool};
use crate::change::Sequence;
use crate::clock::{Clock, SharedClock, Timestamp};
use crate::position::{Position, ServerIdentity};
use crate::record::IdentityBytes;

/// A clock that stands still until it is moved.
struct StillClock {
    passed: AtomicI64,
    leapt: AtomicI64,
}

impl StillClock {
    fn shared() -> Arc<StillClock> {
        let passed = AtomicI64::new(1_760_000_000_000_000);
        Arc::new(StillClock { passed, leapt: AtomicI64::new(0) })
    }

    fn pass(&self, duration: Duration) {
        self.passed.fetch_add(i64::try_from(duration.as_micros()).unwrap(), Ordering::Relaxed);
    }

    /// Sets the wall clock to another time, which is no time passing.
    fn leap(&self, days: i64) {
        self.leapt.fetch_add(days * 86_400_000_000, Ordering::Relaxed);
    }
}

impl Clock for StillClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.passed.load(Ordering::Relaxed) + self.leapt.load(Ordering::Relaxed))
    }

    fn monotonic(&self) -> Duration {
        Duration::from_micros(u64::try_from(self.passed.load(Ordering::Relaxed)).unwrap())
    }
}

fn open(folder: &Path) -> Spool {
    Spool::open(folder, StillClock::shared(), Limits::default()).unwrap()
}

fn open_at(folder: &Path, clock: &Arc<StillClock>) -> Spool {
    let clock: SharedClock = Arc::<StillClock>::clone(clock);
    Spool::open(folder, clock, Limits::default()).unwrap()
}

/// A segment of whole transactions.
fn whole(first: u64, last: u64) -> Segment {
    Segment {
        first: Sequence(first),
        last: Sequence(last),
        part: 0,
        complete: true,
        changes: last - first + 1,
        raw_bytes: 1000,
        committed_at: Timestamp(i64::try_from(last).unwrap() * 1_000_000),
        compressed: vec![u8::try_from(last % 251).unwrap(); 500],
    }
}

/// One part of a transaction.
fn part(sequence: u64, part: u32, complete: bool) -> Segment {
    Segment { part, complete, ..whole(sequence, sequence) }
}

fn position(offset: u64) -> Position {
    Position {
        server: ServerIdentity::Mysql { server_uuid: "a".to_owned() },
        file: "binlog.000001".to_owned(),
        offset,
        gtids: None,
    }
}

/// Segments and the position at their end, which is 100 times the last sequence.
fn captured(segments: Vec<Segment>) -> Append {
    let last = segments.last().map_or(0, |segment| segment.last.0);
    Append { segments, position: Some(position(last * 100)), ..Append::default() }
}

fn put(table: &str, local: i64, identity: &str) -> IndexChange {
    IndexChange::Put {
        table: table.into(),
        local,
        identity: IdentityBytes::from_slice(identity.as_bytes()),
    }
}

fn forget(table: &str) -> IndexChange {
    IndexChange::Forget { table: table.into() }
}

fn remove(table: &str, local: i64) -> IndexChange {
    IndexChange::Remove { table: table.into(), local }
}

fn sequences(segments: &[Segment]) -> Vec<(u64, u64, u32)> {
    segments.iter().map(|segment| (segment.first.0, segment.last.0, segment.part)).collect()
}
