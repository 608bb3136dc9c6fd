//! The one thread that writes the store, and what it keeps in mind between calls.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, Transaction, TransactionBehavior};
use tokio::sync::{mpsc, watch};

use super::elapsed::Elapsed;
use super::error::Error;
use super::link;
use super::log::{self, Released, Tail};
use super::reader::Readers;
use super::room::free_bytes;
use super::sql::unsigned;
use super::{Append, Limits, file, incoming, index, lock::Lock};
use crate::change::Sequence;
use crate::clock::{SharedClock, Timestamp};
use crate::position::Position;

/// The write-ahead log is copied into the file when it holds this many pages (16 MiB) more than
/// have been copied.
const CHECKPOINT_PAGES: i64 = 2048;
/// Free pages kept in the file for what comes next (16 MiB); what is above is given back.
const FREE_PAGES_KEPT: i64 = 2048;
/// Pages given back to the file system at a time.
const FREE_PAGES_AT_ONCE: i64 = 1024;

/// What SQLite can keep in one row, less what is beside the blob.
const SEGMENT_BYTES_MAX: u64 = 999_000_000;

/// One call, carried out on the store's thread.
pub(super) type Call = Box<dyn FnOnce(&mut Store) + Send>;

/// The first error that ended the use of the store, seen by everybody.
pub(super) type Failure = Arc<OnceLock<Error>>;

/// What the store's thread owns.
pub(super) struct Store {
    connection: Connection,
    folder: PathBuf,
    clock: SharedClock,
    elapsed: Elapsed,
    limits: Limits,
    tables: index::Tables,
    tail: Tail,
    released: Sequence,
    /// Compressed bytes in the log, unfinished parts included.
    bytes: u64,
    head: watch::Sender<Sequence>,
    readers: Arc<Readers>,
    failure: Failure,
    closed: bool,
    /// Given up last, when the file is closed.
    _lock: Lock,
}

/// Whether a store transaction has to be on the disk before its call returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Durable {
    /// Yes: something outside depends on it.
    Now,
    /// With the next that has to: losing it to a power cut costs only a repetition.
    Soon,
}

impl Store {
    /// Takes the folder, opens or makes the store, and removes what was never finished.
    pub(super) fn open(
        folder: &Path,
        clock: SharedClock,
        limits: Limits,
        failure: Failure,
    ) -> Result<Store, Error> {
        let lock = Lock::wait(folder)?;
        let connection = file::open_writer(folder, clock.now())?;
        let (head, released) = log::ends(&connection)?;
        let bytes = log::bytes(&connection)?;
        let mut store = Store {
            connection,
            folder: folder.to_path_buf(),
            clock,
            elapsed: Elapsed::default(),
            limits,
            tables: index::Tables::default(),
            tail: Tail { head, parts: 0 },
            released,
            bytes,
            head: watch::Sender::new(head),
            readers: Arc::default(),
            failure,
            closed: false,
            _lock: lock,
        };
        store.discard_unfinished()?;
        Ok(store)
    }

    pub(super) fn heads(&self) -> watch::Receiver<Sequence> {
        self.head.subscribe()
    }

    pub(super) fn readers(&self) -> Arc<Readers> {
        Arc::clone(&self.readers)
    }

    pub(super) fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Carries out calls until the last handle is gone or the store is closed.
    pub(super) fn serve(mut self, mut calls: mpsc::Receiver<Call>) {
        while !self.closed
            && let Some(call) = calls.blocking_recv()
        {
            call(&mut self);
            self.checkpoint_if_due();
        }
        if self.failure.get().is_none() {
            let checkpointed = self.checkpoint("TRUNCATE");
            self.note_failure(checkpointed.as_ref().err());
        }
    }

    /// The caller has been answered before the thread ends.
    pub(super) fn close(&mut self) {
        self.closed = true;
    }

    /// Does the work unless the store has failed; remembers a failure for good.
    pub(super) fn guarded<T>(
        &mut self,
        work: impl FnOnce(&mut Store) -> Result<T, Error>,
    ) -> Result<T, Error> {
        if let Some(failure) = self.failure.get() {
            return Err(failure.clone());
        }
        let result = work(self);
        self.note_failure(result.as_ref().err());
        result
    }

    fn note_failure(&mut self, error: Option<&Error>) {
        let Some(error) = error.filter(|error| error.poisons()) else { return };
        tracing::error!(%error, "the store is not used again by this process");
        let _first = self.failure.set(error.clone());
        // Closing must not touch the file either. Should this fail, so will the checkpoint.
        let _off = self.connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true);
    }

    fn transact<T>(
        &mut self,
        durable: Durable,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        if file::is_gone(&self.folder) {
            return Err(Error::Removed { folder: self.folder.clone() });
        }
        if durable == Durable::Soon {
            self.connection.pragma_update(None, "synchronous", "NORMAL")?;
        }
        let result = (|| {
            let behavior = TransactionBehavior::Immediate;
            let transaction = self.connection.transaction_with_behavior(behavior)?;
            let value = work(&transaction)?;
            transaction.commit()?;
            Ok(value)
        })();
        if durable == Durable::Soon {
            self.connection.pragma_update(None, "synchronous", "FULL")?;
        } else if result.is_ok() {
            metrics::counter!("headwater_store_commits_total").increment(1);
        }
        result
    }

    /// Work with times that were remembered; it is given the present one. Losing it to a power cut
    /// costs only a repetition.
    fn transact_in_time<T>(
        &mut self,
        work: impl FnOnce(&Transaction<'_>, Timestamp) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let clock = Arc::clone(&self.clock);
        let mut elapsed = self.elapsed;
        let result = self.transact(Durable::Soon, |transaction| {
            let now = elapsed.follow(transaction, &*clock)?;
            work(transaction, now)
        });
        // After a failure nothing of it was written.
        if result.is_ok() {
            self.elapsed = elapsed;
        }
        result
    }

    /// Segments, index changes and position in one store transaction.
    pub(super) fn append(&mut self, append: &Append) -> Result<(), Error> {
        let before = self.tail;
        let after = append.segments.iter().try_fold(before, Tail::then)?;
        if let Some(unfinished) = after.unfinished()
            && (after.head != before.head || append.position.is_some())
        {
            return Err(Error::Unfinished(unfinished));
        }
        if let Some(segment) =
            append.segments.iter().find(|it| it.compressed.len() as u64 > SEGMENT_BYTES_MAX)
        {
            return Err(Error::TooLarge {
                what: "a compressed segment",
                bytes: segment.compressed.len() as u64,
                limit: SEGMENT_BYTES_MAX,
                name: "SQLite's largest value",
            });
        }
        let wanted = append.segments.iter().map(|segment| segment.compressed.len() as u64).sum();
        self.has_room(wanted)?;
        let bytes = self.bytes.saturating_add(wanted);
        let now = self.clock.now();
        let mut tables = std::mem::take(&mut self.tables);
        let result = self.transact(Durable::Now, |transaction| {
            log::insert(transaction, &append.segments)?;
            if before.parts > 0 && after.parts == 0 {
                index::merge_pending(transaction)?;
            }
            index::apply(transaction, &mut tables, &append.index, after.parts > 0)?;
            if after.head != before.head {
                log::set_head(transaction, after.head)?;
            }
            if append.position.is_some() {
                log::set_position(transaction, append.position.as_ref(), append.read_to, now)?;
            }
            if let Some(tables) = &append.tables {
                log::set_tables(transaction, tables)?;
            }
            if let Some((name, value)) = &append.note {
                put_note(transaction, name, value)?;
            }
            Ok(())
        });
        if result.is_err() {
            tables.forget();
        }
        self.tables = tables;
        result?;
        self.bytes = bytes;
        self.tail = after;
        self.readers.index_changed();
        if after.head != before.head {
            self.head.send_replace(after.head);
        }
        Ok(())
    }

    /// Refuses what would fill the spool, or the disk, beyond its limit. Positions alone are small,
    /// and always written.
    fn has_room(&self, wanted: u64) -> Result<(), Error> {
        let limit = self.limits.spool_bytes_max;
        if wanted > 0 && self.bytes.saturating_add(wanted) > limit {
            return Err(Error::SpoolFull { held: self.bytes, wanted, limit });
        }
        self.disk_has_room(wanted)
    }

    /// Refuses what would leave less on the disk than is to stay free.
    pub(super) fn disk_has_room(&self, wanted: u64) -> Result<(), Error> {
        let limit = self.limits.disk_free_bytes_min;
        if wanted == 0 || limit == 0 {
            return Ok(());
        }
        match free_bytes(&self.folder) {
            Some(free) if free < limit.saturating_add(wanted) => {
                Err(Error::DiskLow { folder: self.folder.clone(), free, limit })
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Removes the parts of a transaction whose end will not come, and what it did to the index.
    pub(super) fn discard_unfinished(&mut self) -> Result<(), Error> {
        let head = self.tail.head;
        let bytes = self.transact(Durable::Now, |transaction| {
            index::drop_pending(transaction)?;
            log::delete_unfinished(transaction, head)
        })?;
        self.tail.parts = 0;
        self.readers.index_changed();
        self.bytes = self.bytes.saturating_sub(bytes);
        Ok(())
    }

    pub(super) fn set_position(&mut self, position: Option<&Position>) -> Result<(), Error> {
        if let Some(unfinished) = self.tail.unfinished() {
            return Err(Error::Unfinished(unfinished));
        }
        let now = self.clock.now();
        self.transact(Durable::Now, |transaction| {
            log::set_position(transaction, position, None, now)
        })
    }

    /// Reads, changes and writes back one link.
    pub(super) fn update_link<R>(
        &mut self,
        name: &str,
        change: impl FnOnce(&mut link::Link) -> R,
    ) -> Result<R, Error> {
        self.transact(Durable::Now, |transaction| {
            let known = link::get(transaction, name)?;
            let mut link = known.clone().ok_or_else(|| Error::UnknownLink(name.to_owned()))?;
            let result = change(&mut link);
            name.clone_into(&mut link.name);
            if Some(&link) != known.as_ref() {
                link::put(transaction, &link)?;
            }
            Ok(result)
        })
    }

    pub(super) fn put_link(&mut self, link: &link::Link) -> Result<(), Error> {
        self.transact(Durable::Now, |transaction| link::put(transaction, link))
    }

    pub(super) fn delete_link(&mut self, name: &str) -> Result<(), Error> {
        self.transact(Durable::Now, |transaction| {
            incoming::clear(transaction, name)?;
            link::delete(transaction, name)
        })
    }

    pub(super) fn acknowledge(&mut self, name: &str, through: Sequence) -> Result<(), Error> {
        if through > self.tail.head {
            return Err(Error::BeyondHead { named: through, head: self.tail.head });
        }
        self.transact_in_time(|transaction, now| link::acknowledge(transaction, name, through, now))
    }

    pub(super) fn rewind(&mut self, name: &str, to: Sequence) -> Result<(), Error> {
        if to < self.released {
            return Err(Error::Released { after: to, released: self.released });
        }
        self.transact(Durable::Now, |transaction| link::rewind(transaction, name, to))
    }

    pub(super) fn contact(&mut self, name: &str, contact: &link::Contact) -> Result<(), Error> {
        self.transact(Durable::Soon, |transaction| link::contact(transaction, name, contact))
    }

    pub(super) fn release(&mut self, grace: Duration) -> Result<Released, Error> {
        let (head, released) = (self.tail.head, self.released);
        let result = self.transact_in_time(|transaction, now| {
            match link::releasable(transaction, now, grace)? {
                Some(through) if through > released => {
                    log::delete_through(transaction, through.min(head), released)
                }
                Some(_) | None => Ok(Released { through: released, ..Released::default() }),
            }
        })?;
        self.released = result.through;
        self.bytes = self.bytes.saturating_sub(result.bytes);
        self.give_back()?;
        Ok(result)
    }

    /// Returns free pages to the file system once there are more than are likely to be used again.
    fn give_back(&self) -> Result<(), Error> {
        let free: i64 =
            self.connection.pragma_query_value(None, "freelist_count", |row| row.get(0))?;
        let surplus = free.saturating_sub(FREE_PAGES_KEPT).min(FREE_PAGES_AT_ONCE);
        if surplus > 0 {
            // Each step of the statement frees one page.
            let mut statement =
                self.connection.prepare(&format!("PRAGMA incremental_vacuum({surplus})"))?;
            let mut rows = statement.query([])?;
            while rows.next()?.is_some() {}
        }
        Ok(())
    }

    pub(super) fn incoming_put(
        &mut self,
        link: &str,
        key: &incoming::IncomingKey,
        offset: u64,
        bytes: &[u8],
    ) -> Result<u64, Error> {
        let too_large = |what, bytes, limit, name| Error::TooLarge { what, bytes, limit, name };
        let (length, limits) = (bytes.len() as u64, &self.limits);
        if length > limits.piece_bytes_max {
            return Err(too_large("a piece", length, limits.piece_bytes_max, "piece_bytes_max"));
        }
        if key.total_bytes > limits.batch_bytes_max {
            let limit = limits.batch_bytes_max;
            return Err(too_large("a batch", key.total_bytes, limit, "batch_bytes_max"));
        }
        self.disk_has_room(length)?;
        self.transact(Durable::Soon, |transaction| {
            incoming::put(transaction, link, key, offset, bytes)
        })
    }

    pub(super) fn incoming_clear(&mut self, link: &str) -> Result<(), Error> {
        self.transact(Durable::Soon, |transaction| incoming::clear(transaction, link))
    }

    pub(super) fn set_note(&mut self, name: &str, value: &[u8]) -> Result<(), Error> {
        self.write_note(Durable::Now, name, value)
    }

    pub(super) fn set_note_soon(&mut self, name: &str, value: &[u8]) -> Result<(), Error> {
        self.write_note(Durable::Soon, name, value)
    }

    fn write_note(&mut self, durable: Durable, name: &str, value: &[u8]) -> Result<(), Error> {
        self.transact(durable, |transaction| put_note(transaction, name, value))
    }

    fn checkpoint_if_due(&mut self) {
        if self.failure.get().is_some() {
            return;
        }
        let done = self.log_pages().and_then(|pages| {
            if pages < CHECKPOINT_PAGES { Ok(()) } else { self.checkpoint("PASSIVE") }
        });
        // No space, or a reader in the way: what is in the log is safe there, and it is tried
        // again after the next call.
        self.note_failure(done.as_ref().err());
    }

    /// Pages of the write-ahead log that are not in the file yet.
    fn log_pages(&self) -> Result<i64, Error> {
        let mut statement = self.connection.prepare_cached("PRAGMA wal_checkpoint(NOOP)")?;
        let (pages, copied) =
            statement.query_row([], |row| Ok((row.get::<_, i64>(1)?, row.get::<_, i64>(2)?)))?;
        Ok(pages.saturating_sub(copied))
    }

    /// Copies the write-ahead log into the file. An I/O error here is one of an fsync, so it ends
    /// the use of the store like any other.
    fn checkpoint(&self, mode: &str) -> Result<(), Error> {
        self.readers.rest()?;
        let mut statement =
            self.connection.prepare_cached(&format!("PRAGMA wal_checkpoint({mode})"))?;
        let copied = statement.query_row([], |row| unsigned(row, 2))?;
        tracing::trace!(pages = copied, "copied the write-ahead log into the store's file");
        // One that began meanwhile stays in the log and keeps it from being begun anew; one that
        // begins from now on finds all of it in the file.
        self.readers.rest()
    }
}

fn put_note(transaction: &Transaction<'_>, name: &str, value: &[u8]) -> Result<(), Error> {
    transaction
        .prepare_cached(
            "INSERT INTO note (name, value) VALUES (?1, ?2)
             ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        )?
        .execute(rusqlite::params![name, value])?;
    Ok(())
}
