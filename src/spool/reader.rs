//! Looking identities up, on the thread that captures, at the speed of the page cache.
//!
//! Beginning and ending a read transaction costs several times what a look-up costs, so a reader
//! stays in one until the index changes, or until the store's thread asks for it to end because it
//! is about to copy the write-ahead log into the file.

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};

use rusqlite::Connection;

use super::error::Error;
use super::{file, index, locked};
use crate::value::Name;

/// The readers of one store, as the thread that writes it knows them.
#[derive(Debug, Default)]
pub(super) struct Readers {
    /// How often the index has changed.
    version: AtomicU64,
    snapshots: Mutex<Vec<Weak<Mutex<Snapshot>>>>,
}

impl Readers {
    /// What has been committed to the index is to be seen by whoever asks from now on.
    pub(super) fn index_changed(&self) {
        self.version.fetch_add(1, Ordering::Release);
    }

    /// Ends every read transaction, so that the write-ahead log can be copied and begun anew.
    pub(super) fn rest(&self) -> Result<(), Error> {
        let mut snapshots = locked(&self.snapshots);
        snapshots.retain(|snapshot| snapshot.strong_count() > 0);
        for snapshot in snapshots.iter().filter_map(Weak::upgrade) {
            locked(&snapshot).end()?;
        }
        Ok(())
    }
}

#[derive(Debug)]
struct Snapshot {
    connection: Connection,
    /// The version of the index at which the present read transaction began, if there is one.
    begun: Option<u64>,
}

impl Snapshot {
    /// Makes sure that what is read is not older than `version`.
    fn reach(&mut self, version: u64) -> Result<(), Error> {
        if self.begun != Some(version) {
            self.end()?;
            self.connection.execute_batch("BEGIN DEFERRED")?;
            self.begun = Some(version);
        }
        Ok(())
    }

    fn end(&mut self) -> Result<(), Error> {
        if self.begun.take().is_some() {
            self.connection.execute_batch("COMMIT")?;
        }
        Ok(())
    }
}

/// Looks identities up, on the thread that asks, through a connection of its own. It sees what has
/// been appended, including the parts of a transaction that is still unfinished.
#[derive(Debug)]
pub struct IndexReader {
    snapshot: Arc<Mutex<Snapshot>>,
    /// `None` beside another process, whose changes are not announced: nothing is held then.
    readers: Option<Arc<Readers>>,
    numbers: HashMap<Name, i64>,
}

impl IndexReader {
    pub(super) fn open(folder: &Path, readers: Option<Arc<Readers>>) -> Result<IndexReader, Error> {
        let connection = file::open_reader(folder)?;
        let snapshot = Arc::new(Mutex::new(Snapshot { connection, begun: None }));
        if let Some(readers) = &readers {
            locked(&readers.snapshots).push(Arc::downgrade(&snapshot));
        }
        Ok(IndexReader { snapshot, readers, numbers: HashMap::new() })
    }

    /// What the row of `table` with this local key is called, if the index knows.
    pub fn get(&mut self, table: &Name, local: i64) -> Result<Option<Vec<u8>>, Error> {
        self.read(table, |connection, table| {
            let Some(table) = table else { return Ok(None) };
            index::look_up(&mut *connection.prepare_cached(index::LOOK_UP)?, table, local)
        })
    }

    /// What several rows of one table are called, in the order asked.
    pub fn get_many(
        &mut self,
        table: &Name,
        locals: &[i64],
    ) -> Result<Vec<Option<Vec<u8>>>, Error> {
        self.read(table, |connection, table| {
            let Some(table) = table else { return Ok(vec![None; locals.len()]) };
            let mut statement = connection.prepare_cached(index::LOOK_UP)?;
            locals.iter().map(|local| index::look_up(&mut statement, table, *local)).collect()
        })
    }

    /// Whether the index knows any row of this table: if not, it has yet to be filled.
    pub fn knows(&mut self, table: &Name) -> Result<bool, Error> {
        self.read(table, |connection, table| {
            let Some(table) = table else { return Ok(false) };
            index::knows(connection, table)
        })
    }

    fn read<T>(
        &mut self,
        table: &Name,
        work: impl FnOnce(&Connection, Option<i64>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let mut snapshot = locked(&self.snapshot);
        if let Some(readers) = &self.readers {
            // Read before the transaction begins: it sees at least this version.
            snapshot.reach(readers.version.load(Ordering::Acquire))?;
        }
        let number = match self.numbers.get(table) {
            Some(number) => Some(*number),
            None => index::find(&snapshot.connection, table)?,
        };
        if let Some(number) = number
            && !self.numbers.contains_key(table)
        {
            self.numbers.insert(Name::clone(table), number);
        }
        work(&snapshot.connection, number)
    }
}
