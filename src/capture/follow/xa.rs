//! XA transactions: their rows stand before the XA PREPARE; whether they were committed is told later
//! in the log, by a statement that names them.

use std::collections::BTreeSet;

use super::Follower;
use super::refuse::{given_up, refused};
use crate::capture::Error;
use crate::capture::decode::{Header, XaPrepare};
use crate::capture::place::Spot;
use crate::capture::statement::{xa_committed, xid};
use crate::capture::words::words;

/// More prepared transactions than this are not remembered: those that end later are refused.
const PREPARED_MAX: usize = 10_000;

/// The names of transactions that were prepared with nothing in them to carry, or were given up.
#[derive(Debug, Default)]
pub(super) struct Prepared(BTreeSet<String>);

impl Follower {
    pub(super) fn xa(&mut self, sql: &str, header: &Header, start: &Spot) -> Result<(), Error> {
        let second = words(sql).nth(1);
        let is = |keyword: &str| second.as_ref().is_some_and(|word| word.is(keyword));
        if is("START") || is("BEGIN") || is("END") {
            if let Some(transaction) = &mut self.transaction {
                transaction.xa = true;
                transaction.began = true;
            }
            return Ok(());
        }
        // One whose rows are in the same transaction of the log ends with them.
        let apart = self.transaction.as_ref().is_none_or(|open| !open.began);
        if apart
            && let Some(name) = xa_committed(sql)
            && !self.prepared.0.remove(&name)
            && !self.is_accepted(start)
        {
            let what = format!(
                "XA transaction {name} was committed, which was prepared before capture began to \
                 read: whether it changed mapped tables, and which rows, is not known"
            );
            return Err(refused(start, &what, &given_up(start)));
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
            self.prepared.0.insert(xid(prepare.format, prepare.global, prepare.branch));
        }
        if carries {
            return self.abandon();
        }
        self.transaction = None;
        self.boundary = None;
        self.place.done();
        Ok(())
    }
}
