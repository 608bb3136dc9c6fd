//! The identity index: what the rows that other rows refer to are called, by table and local key.
//! Foreign keys in the binary log are local integers; this is where they become identities.

use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension, Statement, Transaction, params};

use super::error::Error;
use super::sql::unsigned;
use crate::record::IdentityBytes;
use crate::value::Name;

/// More than any composite of keys the server accepts (3072 bytes) comes to when encoded.
const IDENTITY_BYTES_MAX: usize = 16 * 1024;
/// Changes of an unfinished transaction moved at a time once it ends.
const MERGE_ROWS: i64 = 4096;

/// One step in the life of the index, in the order of the binary log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IndexChange {
    /// A row came to be, or its identity changed.
    Put {
        /// The row's table.
        table: Name,
        /// Its local key.
        local: i64,
        /// What it is called.
        identity: IdentityBytes,
    },
    /// A row went.
    Remove {
        /// The row's table.
        table: Name,
        /// Its local key.
        local: i64,
    },
}

/// The numbers that stand for table names in the index, each looked up once.
#[derive(Debug, Default)]
pub(super) struct Tables {
    numbers: HashMap<Name, i64>,
}

impl Tables {
    fn number(&mut self, connection: &Connection, table: &Name) -> Result<i64, Error> {
        if let Some(number) = self.numbers.get(table) {
            return Ok(*number);
        }
        connection
            .prepare_cached("INSERT INTO indexed_table (name) VALUES (?1) ON CONFLICT DO NOTHING")?
            .execute(params![&**table])?;
        let number = find(connection, table)?
            .ok_or_else(|| Error::damaged(format!("table {table} has no number in the index")))?;
        self.numbers.insert(Name::clone(table), number);
        Ok(number)
    }

    /// Numbers given in a store transaction that was rolled back are worth nothing.
    pub(super) fn forget(&mut self) {
        self.numbers.clear();
    }
}

pub(super) fn find(connection: &Connection, table: &str) -> Result<Option<i64>, Error> {
    Ok(connection
        .prepare_cached("SELECT id FROM indexed_table WHERE name = ?1")?
        .query_row(params![table], |row| row.get(0))
        .optional()?)
}

/// Carries out changes in order; of a transaction that is still unfinished, only beside the index.
pub(super) fn apply(
    transaction: &Transaction<'_>,
    tables: &mut Tables,
    changes: &[IndexChange],
    unfinished: bool,
) -> Result<(), Error> {
    let (put, remove) = if unfinished {
        (
            "INSERT OR REPLACE INTO identity_pending (tab, local, identity) VALUES (?1, ?2, ?3)",
            "INSERT OR REPLACE INTO identity_pending (tab, local, identity) VALUES (?1, ?2, NULL)",
        )
    } else {
        (
            "INSERT OR REPLACE INTO identity (tab, local, identity) VALUES (?1, ?2, ?3)",
            "DELETE FROM identity WHERE tab = ?1 AND local = ?2",
        )
    };
    let mut put = transaction.prepare_cached(put)?;
    let mut remove = transaction.prepare_cached(remove)?;
    for change in changes {
        match change {
            IndexChange::Put { table, local, identity } => {
                let identity = identity.as_slice();
                if identity.len() > IDENTITY_BYTES_MAX {
                    return Err(Error::TooLarge {
                        what: "an identity",
                        bytes: identity.len() as u64,
                        limit: IDENTITY_BYTES_MAX as u64,
                        name: "identity_bytes_max",
                    });
                }
                let table = tables.number(transaction, table)?;
                put.execute(params![table, local, identity])?;
            }
            IndexChange::Remove { table, local } => {
                let table = tables.number(transaction, table)?;
                remove.execute(params![table, local])?;
            }
        }
    }
    Ok(())
}

/// The unfinished transaction has ended: what it did to the index now holds.
pub(super) fn merge_pending(transaction: &Transaction<'_>) -> Result<(), Error> {
    let mut next = transaction.prepare_cached(
        "SELECT tab, local, identity FROM identity_pending WHERE (tab, local) > (?1, ?2)
         ORDER BY tab, local LIMIT ?3",
    )?;
    let mut put = transaction.prepare_cached(
        "INSERT OR REPLACE INTO identity (tab, local, identity) VALUES (?1, ?2, ?3)",
    )?;
    let mut remove =
        transaction.prepare_cached("DELETE FROM identity WHERE tab = ?1 AND local = ?2")?;
    let mut after = (i64::MIN, i64::MIN);
    loop {
        let rows = next
            .query_map(params![after.0, after.1, MERGE_ROWS], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get::<_, Option<Vec<u8>>>(2)?))
            })?
            .collect::<rusqlite::Result<Vec<(i64, i64, _)>>>()?;
        for (table, local, identity) in &rows {
            match identity {
                Some(identity) => put.execute(params![table, local, identity])?,
                None => remove.execute(params![table, local])?,
            };
        }
        match rows.last() {
            Some((table, local, _)) => after = (*table, *local),
            None => return drop_pending(transaction),
        }
    }
}

/// The unfinished transaction will be read again from its start.
pub(super) fn drop_pending(transaction: &Transaction<'_>) -> Result<(), Error> {
    transaction.execute("DELETE FROM identity_pending", [])?;
    Ok(())
}

/// How many rows of each table the index knows.
pub(super) fn counts(connection: &Connection) -> Result<Vec<(Name, u64)>, Error> {
    let mut statement = connection.prepare_cached(
        "SELECT name, (SELECT count(*) FROM identity WHERE tab = indexed_table.id)
         FROM indexed_table ORDER BY name",
    )?;
    let counts = statement
        .query_map([], |row| Ok((Name::from(row.get::<_, String>(0)?), unsigned(row, 1)?)))?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    Ok(counts)
}

/// What an unfinished transaction did to a row goes before what the index says of it.
pub(super) const LOOK_UP: &str = "
    SELECT pending.tab IS NOT NULL, pending.identity,
        (SELECT identity FROM identity WHERE tab = ?1 AND local = ?2)
    FROM (SELECT 1) LEFT JOIN identity_pending AS pending ON tab = ?1 AND local = ?2";

pub(super) fn look_up(
    statement: &mut Statement<'_>,
    table: i64,
    local: i64,
) -> Result<Option<Vec<u8>>, Error> {
    Ok(statement.query_row(params![table, local], |row| {
        let pending: bool = row.get(0)?;
        row.get(if pending { 1 } else { 2 })
    })?)
}
