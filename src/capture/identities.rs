//! Local keys to identities, in binlog order: a cache over the store's identity index, with the
//! changes that go into the store together with the transactions that made them.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::num::NonZeroUsize;

use foldhash::fast::RandomState;

use super::Error;
use crate::change::Identity;
use crate::record::IdentityBytes;
use crate::spool::{IDENTITY_BYTES_MAX, IndexChange, IndexReader};
use crate::value::Name;

/// A table's number within one run of capture, so that keys are cheap to hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct TableNumber(u32);

type Key = (TableNumber, i64);

/// What is known of a local key.
#[derive(Debug, Clone)]
enum Known {
    /// The row's identity; of a row that nobody knows any more, [`Identity::Lost`].
    Called(IdentityBytes),
    /// The row was deleted.
    Gone,
}

/// What is known of local keys.
pub(super) struct Identities {
    reader: IndexReader,
    numbers: HashMap<Name, TableNumber>,
    names: Vec<Name>,
    known: Generations,
    /// Tables forgotten, and by which change: what the store has of them is not asked for before it
    /// has forgotten them too.
    forgotten: HashMap<TableNumber, u64>,
    /// Tables of which nothing has been noted since they were forgotten.
    blank: HashSet<TableNumber>,
    gathering: Vec<IndexChange>,
    /// So many of them belong to transactions whose end has been read.
    settled: usize,
    /// Changes handed over so far, and those of them that are in the store.
    handed_over: u64,
    committed: u64,
}

impl Identities {
    /// About `cached_max` identities are held in memory.
    pub(super) fn new(reader: IndexReader, cached_max: NonZeroUsize) -> Identities {
        Identities {
            reader,
            numbers: HashMap::new(),
            names: Vec::new(),
            known: Generations::new(cached_max),
            forgotten: HashMap::new(),
            blank: HashSet::new(),
            gathering: Vec::new(),
            settled: 0,
            handed_over: 0,
            committed: 0,
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
    ) -> Result<Option<&IdentityBytes>, Error> {
        self.make_room();
        let forgotten = !self.forgotten.is_empty() && self.forgotten.contains_key(&table);
        let known = self.known.recall((table, local), || {
            if forgotten {
                return Ok(None);
            }
            let Some(name) = self.names.get(table.0 as usize) else { return Ok(None) };
            let bytes = self.reader.get(name, local)?;
            Ok(bytes.map(|bytes| Known::Called(IdentityBytes::from_slice(&bytes))))
        })?;
        match known {
            Some(Known::Called(identity)) => Ok(Some(identity)),
            Some(Known::Gone) | None => Ok(None),
        }
    }

    /// Notes a row's identity, as an insert, an update or the database tells it. An error if it is
    /// longer than the store takes.
    pub(super) fn put(
        &mut self,
        table: TableNumber,
        local: i64,
        identity: IdentityBytes,
    ) -> Result<(), Error> {
        let Some(name) = self.names.get(table.0 as usize) else { return Ok(()) };
        let bytes = identity.as_slice().len();
        if bytes > IDENTITY_BYTES_MAX {
            return Err(Error::LongIdentity { table: name.clone(), local, bytes });
        }
        self.gathering.push(IndexChange::Put {
            table: name.clone(),
            local,
            identity: identity.clone(),
        });
        self.keep((table, local), Known::Called(identity));
        Ok(())
    }

    /// Notes that the database has no row under this key. Not kept in the store: a later row may
    /// take the key.
    pub(super) fn lost(&mut self, table: TableNumber, local: i64) {
        let lost = IdentityBytes::new(&Identity::Lost(local));
        self.keep((table, local), Known::Called(lost));
    }

    /// Forgets a deleted row.
    pub(super) fn remove(&mut self, table: TableNumber, local: i64) {
        let Some(name) = self.names.get(table.0 as usize) else { return };
        self.gathering.push(IndexChange::Remove { table: name.clone(), local });
        self.keep((table, local), Known::Gone);
    }

    /// Something happened to rows of a table that is not known: what is needed of it has to be asked
    /// anew. Whether there was anything to forget.
    pub(super) fn forget(&mut self, table: TableNumber) -> bool {
        let Some(name) = self.names.get(table.0 as usize) else { return false };
        if !self.blank.insert(table) {
            return false;
        }
        self.gathering.push(IndexChange::Forget { table: name.clone() });
        self.known.forget_table(table);
        self.forgotten.insert(table, self.changes());
        true
    }

    /// How many changes of the index there have been.
    fn changes(&self) -> u64 {
        self.handed_over.saturating_add(self.gathering.len() as u64)
    }

    fn keep(&mut self, key: Key, known: Known) {
        self.make_room();
        self.blank.remove(&key.0);
        self.known.young.insert(key, known);
    }

    fn make_room(&mut self) {
        self.known.make_room(self.changes(), self.committed);
    }

    /// How many changes wait to be handed to the store.
    pub(super) fn gathered(&self) -> usize {
        self.gathering.len()
    }

    /// How many of them belong to transactions whose end has been read.
    pub(super) fn settled(&self) -> usize {
        self.settled
    }

    /// The end of a transaction has been read: what it did to the index holds.
    pub(super) fn settle(&mut self) {
        self.settled = self.gathering.len();
    }

    /// Hands over what whole transactions did; the former hand-over must have been committed. What
    /// an open transaction did is written with its end, or with parts of it: its rows are read again
    /// after a power cut, and must then be known by what they were called before.
    pub(super) fn hand_over_settled(&mut self) -> Vec<IndexChange> {
        let open = self.gathering.split_off(self.settled);
        let changes = std::mem::replace(&mut self.gathering, open);
        self.handed(changes)
    }

    /// Hands over all that has been gathered; the former hand-over must have been committed.
    pub(super) fn hand_over(&mut self) -> Vec<IndexChange> {
        let next = Vec::with_capacity(self.gathering.len());
        let changes = std::mem::replace(&mut self.gathering, next);
        self.handed(changes)
    }

    fn handed(&mut self, changes: Vec<IndexChange>) -> Vec<IndexChange> {
        self.settled = 0;
        self.handed_over = self.handed_over.saturating_add(changes.len() as u64);
        changes
    }

    /// The open transaction was rolled back: nothing that it did is remembered. Everything before it
    /// must be in the store.
    pub(super) fn undo(&mut self) {
        self.gathering.clear();
        self.settled = 0;
        self.known.forget();
        self.forgotten.clear();
        self.blank.clear();
    }

    /// The last hand-over is in the store.
    pub(super) fn committed(&mut self) {
        self.committed = self.handed_over;
        self.forgotten.retain(|_, change| *change > self.committed);
    }
}

/// A cache in two generations: what is asked for moves to the young one, and when that is full the
/// old one is dropped and the young one grows old. What the store does not have yet is never
/// dropped: the store's reader would not see it.
struct Generations {
    young: HashMap<Key, Known, RandomState>,
    old: HashMap<Key, Known, RandomState>,
    /// All changes of the index up to this one may be known by the old generation only.
    old_changes: u64,
    /// The most that a generation holds, unless the store is behind.
    each_max: usize,
}

impl Generations {
    fn new(cached_max: NonZeroUsize) -> Generations {
        Generations {
            young: HashMap::default(),
            old: HashMap::default(),
            old_changes: 0,
            each_max: cached_max.get().div_ceil(2),
        }
    }

    /// What is known of a key, in the young generation afterwards; `look_up` is asked last.
    fn recall(
        &mut self,
        key: Key,
        look_up: impl FnOnce() -> Result<Option<Known>, Error>,
    ) -> Result<Option<&Known>, Error> {
        Ok(match self.young.entry(key) {
            Entry::Occupied(known) => Some(known.into_mut()),
            Entry::Vacant(place) => match self.old.remove(&key) {
                Some(known) => Some(place.insert(known)),
                None => look_up()?.map(|known| &*place.insert(known)),
            },
        })
    }

    fn forget_table(&mut self, table: TableNumber) {
        self.young.retain(|key, _| key.0 != table);
        self.old.retain(|key, _| key.0 != table);
    }

    fn forget(&mut self) {
        self.young.clear();
        self.old.clear();
        self.old_changes = 0;
    }

    /// Lets the young generation grow old when it is full, if the store has all that the old one
    /// knows. `changes` of the index have been made by now, `committed` of them are in the store.
    fn make_room(&mut self, changes: u64, committed: u64) {
        if self.young.len() >= self.each_max && self.old_changes <= committed {
            std::mem::swap(&mut self.old, &mut self.young);
            self.young.clear();
            self.old_changes = changes;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;
    use crate::spool::{Append, Limits, Spool};

    fn called(local: i64) -> IdentityBytes {
        IdentityBytes::new(&Identity::Many(vec![crate::value::Value::Int(local)]))
    }

    #[tokio::test]
    async fn a_forgotten_table_is_not_asked_of_a_store_that_still_knows_it() {
        let folder = tempfile::tempdir().unwrap();
        let spool = Spool::open(folder.path(), SystemClock::shared(), Limits::default()).unwrap();
        let mut identities =
            Identities::new(spool.index_reader().unwrap(), NonZeroUsize::new(2).unwrap());
        let (person, role) =
            (identities.number(&"person".into()), identities.number(&"role".into()));
        let store = |index| spool.append(Append { index, ..Append::default() });
        for local in 0..9 {
            identities.put(person, local, called(local)).unwrap();
            identities.put(role, local, called(local)).unwrap();
        }
        store(identities.hand_over()).await.unwrap();
        identities.committed();

        assert!(identities.forget(person));
        let gathered = identities.gathered();
        assert!(!identities.forget(person), "nothing has been noted of it since");
        assert_eq!(identities.gathered(), gathered);
        identities.put(person, 5, called(50)).unwrap();
        for stored in [false, true] {
            for local in 0..9 {
                let after = (local == 5).then(|| called(50));
                assert_eq!(identities.get(person, local).unwrap().cloned(), after, "{local}");
                assert_eq!(identities.get(role, local).unwrap(), Some(&called(local)));
            }
            if !stored {
                store(identities.hand_over()).await.unwrap();
                identities.committed();
            }
        }
        assert!(identities.forgotten.is_empty());

        // Undone with the transaction that it belongs to.
        identities.forget(role);
        assert_eq!(identities.get(role, 3).unwrap(), None);
        identities.undo();
        assert_eq!(identities.get(role, 3).unwrap(), Some(&called(3)));
        identities.put(role, 3, called(30)).unwrap();
        assert!(identities.forget(role), "what it was called since is forgotten");
        assert_eq!(identities.get(role, 3).unwrap(), None);
    }

    #[tokio::test]
    async fn an_identity_that_the_store_would_not_take_is_refused_when_it_is_noted() {
        let folder = tempfile::tempdir().unwrap();
        let spool = Spool::open(folder.path(), SystemClock::shared(), Limits::default()).unwrap();
        let cached = NonZeroUsize::new(2).unwrap();
        let mut identities = Identities::new(spool.index_reader().unwrap(), cached);
        let note = identities.number(&"note".into());
        let called = |bytes: usize| {
            let text = crate::value::Value::Text("x".repeat(bytes).into());
            IdentityBytes::new(&Identity::Many(vec![text]))
        };
        identities.put(note, 1, called(IDENTITY_BYTES_MAX - 100)).unwrap();
        let refused = identities.put(note, 2, called(IDENTITY_BYTES_MAX)).unwrap_err();
        assert!(matches!(refused, Error::LongIdentity { local: 2, .. }), "{refused}");
        // What was noted, the store takes.
        spool.append(Append { index: identities.hand_over(), ..Append::default() }).await.unwrap();
    }

    fn holds(known: &mut Generations, local: i64) -> bool {
        known.recall((TableNumber(0), local), || Ok(None)).unwrap().is_some()
    }

    fn put(known: &mut Generations, local: i64, changes: u64, committed: u64) {
        known.make_room(changes, committed);
        let called = Known::Called(IdentityBytes::new(&Identity::Lost(local)));
        known.young.insert((TableNumber(0), local), called);
    }

    #[test]
    fn what_is_asked_for_outlives_what_is_not() {
        let mut known = Generations::new(NonZeroUsize::new(20).unwrap());
        for local in 0..30 {
            put(&mut known, local, 0, 0);
            assert!(holds(&mut known, 0), "after {local}");
        }
        assert!(!holds(&mut known, 1));
        assert!(known.young.len() + known.old.len() <= 21);
    }

    #[test]
    fn what_the_store_does_not_have_yet_is_never_dropped() {
        let mut known = Generations::new(NonZeroUsize::new(4).unwrap());
        for local in 0..100_u32 {
            put(&mut known, local.into(), u64::from(local), 2);
        }
        for local in 2..100 {
            assert!(holds(&mut known, local), "change {local} is not committed");
        }
    }
}
