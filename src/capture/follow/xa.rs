//! XA transactions: their rows stand before the XA PREPARE; whether they were committed is told later
//! in the log, by a statement that names them.

use std::collections::BTreeMap;

use super::refuse::{given_up, refused};
use super::{Beginning, Follower};
use crate::capture::Error;
use crate::capture::decode::{Header, XaPrepare};
use crate::capture::place::Spot;
use crate::capture::statement::{xa_committed, xid};
use crate::capture::words::words;
use crate::value::Name;

/// More prepared transactions than this are not remembered: those that end later are refused.
const PREPARED_MAX: usize = 10_000;

/// The names of transactions that were prepared with nothing in them to carry, or were given up, and
/// the tables that each changed: once committed, their rows may be called otherwise.
#[derive(Debug, Default)]
pub(super) struct Prepared(BTreeMap<String, Vec<Name>>);

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
        if apart && let Some(name) = xa_committed(sql) {
            match self.prepared.0.remove(&name) {
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
        if self.prepared.0.len() < PREPARED_MAX {
            let tables = self.transaction.as_ref().map(|open| open.tables.clone());
            let name = xid(prepare.format, prepare.global, prepare.branch);
            self.prepared.0.insert(name, tables.unwrap_or_default());
        }
        // Whatever becomes of it is told later: nothing that it did holds so far.
        self.abandon()
    }
}
