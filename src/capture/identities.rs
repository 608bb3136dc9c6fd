//! Local keys to identities, in binlog order: a cache over the store's identity index, with the
//! changes that go into the store together with the transactions that made them.

use std::collections::HashMap;
use std::num::NonZeroUsize;

use lru::LruCache;

use super::Error;
use crate::change::Identity;
use crate::record::{identity_from_bytes, identity_to_bytes};
use crate::spool::{IndexChange, IndexReader};
use crate::value::Name;

/// A table's number within one run of capture, so that keys are cheap to hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct TableNumber(u32);

type Key = (TableNumber, i64);

/// What is known of local keys.
pub(super) struct Identities {
    reader: IndexReader,
    numbers: HashMap<Name, TableNumber>,
    names: Vec<Name>,
    known: LruCache<Key, Option<Identity<'static>>>,
    /// Changes not yet handed to the store, and those handed over but not yet committed: the
    /// reader does not see them, and the cache may have dropped them.
    gathering: Pending,
    committing: Pending,
}

#[derive(Default)]
struct Pending {
    latest: HashMap<Key, Option<Identity<'static>>>,
    changes: Vec<IndexChange>,
}

impl Identities {
    pub(super) fn new(reader: IndexReader, cached_max: NonZeroUsize) -> Identities {
        Identities {
            reader,
            numbers: HashMap::new(),
            names: Vec::new(),
            known: LruCache::new(cached_max),
            gathering: Pending::default(),
            committing: Pending::default(),
        }
    }

    /// The number of a table, given on first sight.
    pub(super) fn number(&mut self, table: &Name) -> TableNumber {
        if let Some(number) = self.numbers.get(table) {
            return *number;
        }
        let number = TableNumber(u32::try_from(self.names.len()).unwrap_or(u32::MAX));
        self.numbers.insert(table.clone(), number);
        self.names.push(table.clone());
        number
    }

    /// The identity of a row; `None` if neither cache nor store knows the key. A key that the
    /// database did not know either is [`Identity::Lost`].
    pub(super) fn get(
        &mut self,
        table: TableNumber,
        local: i64,
    ) -> Result<Option<Identity<'static>>, Error> {
        let key = (table, local);
        if let Some(found) = self.known.get(&key) {
            return Ok(found.clone());
        }
        for pending in [&self.gathering, &self.committing] {
            if let Some(found) = pending.latest.get(&key) {
                return Ok(found.clone());
            }
        }
        let Some(name) = self.names.get(table.0 as usize) else { return Ok(None) };
        let Some(bytes) = self.reader.get(name, local)? else { return Ok(None) };
        let identity = identity_from_bytes(&bytes)?.into_owned();
        self.known.put(key, Some(identity.clone()));
        Ok(Some(identity))
    }

    /// Notes a row's identity, as an insert, an update or the database tells it.
    pub(super) fn put(&mut self, table: TableNumber, local: i64, identity: Identity<'static>) {
        let Some(name) = self.names.get(table.0 as usize) else { return };
        self.gathering.changes.push(IndexChange::Put {
            table: name.clone(),
            local,
            identity: identity_to_bytes(&identity),
        });
        self.gathering.latest.insert((table, local), Some(identity.clone()));
        self.known.put((table, local), Some(identity));
    }

    /// Notes that the database has no row under this key. Not kept in the store: a later row may
    /// take the key.
    pub(super) fn lost(&mut self, table: TableNumber, local: i64) {
        self.known.put((table, local), Some(Identity::Lost(local)));
    }

    /// Forgets a deleted row.
    pub(super) fn remove(&mut self, table: TableNumber, local: i64) {
        let Some(name) = self.names.get(table.0 as usize) else { return };
        self.gathering.changes.push(IndexChange::Remove { table: name.clone(), local });
        self.gathering.latest.insert((table, local), None);
        self.known.pop(&(table, local));
    }

    /// How many changes wait to be handed to the store.
    pub(super) fn gathered(&self) -> usize {
        self.gathering.changes.len()
    }

    /// Hands over what has been gathered; the former hand-over must have been committed.
    pub(super) fn hand_over(&mut self) -> Vec<IndexChange> {
        self.committing = std::mem::take(&mut self.gathering);
        std::mem::take(&mut self.committing.changes)
    }

    /// The last hand-over is in the store.
    pub(super) fn committed(&mut self) {
        self.committing = Pending::default();
    }
}
