//! XA transactions: their rows stand before the XA PREPARE; whether they were committed is told later
//! in the log, by a statement that names them.

use std::collections::BTreeMap;

use super::refuse::{given_up, refused};
use super::{Beginning, Follower};
use crate::capture::Error;
use crate::capture::decode::{Header, XaPrepare};
use crate::capture::place::Spot;
use crate::capture::statement::{xa_ended, xid};
use crate::capture::words::words;
use crate::spool::Spool;
use crate::value::Name;

/// More prepared transactions than this are not remembered: those that end later are refused.
const PREPARED_MAX: usize = 10_000;

/// The note of the store that says which are prepared at capture's position.
const PREPARED: &str = "capture.prepared";

/// The names of transactions that were prepared with nothing in them to carry, or were given up, and
/// the tables that each changed: once committed, their rows may be called otherwise.
#[derive(Debug, Default)]
pub(in crate::capture) struct Prepared {
    names: BTreeMap<String, Vec<Name>>,
    /// The store does not have them as they are now.
    changed: bool,
}

impl Prepared {
    /// What the store remembers.
    pub(in crate::capture) async fn read(spool: &Spool) -> Result<Prepared, Error> {
        let noted = spool.note(PREPARED).await?.unwrap_or_default();
        let names = serde_json::from_slice(&noted).unwrap_or_default();
        Ok(Prepared { names, changed: false })
    }

    /// What the store is to remember with the position, if it does not yet.
    pub(in crate::capture) fn for_store(&mut self) -> Option<(&'static str, Vec<u8>)> {
        let changed = std::mem::take(&mut self.changed);
        changed.then(|| (PREPARED, serde_json::to_vec(&self.names).unwrap_or_default()))
    }

    fn add(&mut self, name: String, tables: Vec<Name>) {
        if self.names.len() < PREPARED_MAX {
            self.names.insert(name, tables);
            self.changed = true;
        }
    }

    fn remove(&mut self, name: &str) -> Option<Vec<Name>> {
        let tables = self.names.remove(name);
        self.changed |= tables.is_some();
        tables
    }
}

impl Follower {
    pub(super) fn xa(&mut self, sql: &str, header: &Header, start: &Spot) -> Result<(), Error> {
        let second = words(sql).nth(1);
        let is = |keyword: &str| second.as_ref().is_some_and(|word| word.is(keyword));
        if is("START") || is("BEGIN") || is("END") {
            if let Some(transaction) = &mut self.transaction {
                transaction.xa = true;
                transaction.beginning = Beginning::Read;
            }
            return Ok(());
        }
        // One whose rows are in the same transaction of the log ends with them.
        let apart = self.transaction.as_ref().is_none_or(|open| !open.has_begun());
        if apart && let Some(name) = xa_ended(sql, "ROLLBACK") {
            self.prepared.remove(&name);
        }
        if apart && let Some(name) = xa_ended(sql, "COMMIT") {
            match self.prepared.remove(&name) {
                Some(tables) => tables.iter().for_each(|table| self.forget(table)),
                None if self.is_accepted(start) => self.forget_all(),
                None => {
                    let what = format!(
                        "XA transaction {name} was committed, which was prepared before capture \
                         began to read: whether it changed mapped tables, and which rows, is not \
                         known"
                    );
                    return Err(refused(start, &what, &given_up(start)));
                }
            }
        }
        self.commit(header);
        Ok(())
    }

    pub(super) fn prepared(&mut self, prepare: &XaPrepare<'_>, start: &Spot) -> Result<(), Error> {
        let carries = self.assembly.is_open();
        if carries && !self.is_accepted(start) {
            let what = format!(
                "an XA transaction changed table {}; whether it was committed is told elsewhere \
                 in the log, which this version does not follow",
                self.changed_table()
            );
            return Err(refused(start, &what, &given_up(start)));
        }
        let tables = self.transaction.as_ref().map(|open| open.tables.clone());
        let name = xid(prepare.format, prepare.global, prepare.branch);
        self.prepared.add(name, tables.unwrap_or_default());
        // Whatever becomes of it is told later: nothing that it did holds so far.
        self.abandon()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;
    use crate::spool::{Append, Limits};

    #[tokio::test]
    async fn what_is_prepared_is_known_to_the_next_connection_until_it_ends() {
        let folder = tempfile::tempdir().unwrap();
        let spool = Spool::open(folder.path(), SystemClock::shared(), Limits::default()).unwrap();
        let mut prepared = Prepared::read(&spool).await.unwrap();
        assert_eq!(prepared.for_store(), None);
        prepared.add("x'01',x'',1".to_owned(), vec!["note".into()]);
        prepared.add("x'02',x'',1".to_owned(), Vec::new());
        let note = prepared.for_store();
        assert!(note.is_some() && prepared.for_store().is_none());
        spool.append(Append { note, ..Append::default() }).await.unwrap();

        let mut again = Prepared::read(&spool).await.unwrap();
        assert_eq!(again.remove("x'01',x'',1"), Some(vec!["note".into()]));
        assert_eq!(again.remove("x'01',x'',1"), None);
        let note = again.for_store();
        spool.append(Append { note, ..Append::default() }).await.unwrap();
        let known = Prepared::read(&spool).await.unwrap().names;
        assert_eq!(known.into_keys().collect::<Vec<_>>(), ["x'02',x'',1"]);
    }
}
