//! The identity index: what the rows that other rows refer to are called, by table and local key.
//! Foreign keys in the binary log are local integers; this is where they become identities.

use std::collections::HashMap;

use rusqlite::{CachedStatement, Connection, OptionalExtension, Statement, Transaction, params};

use super::error::Error;
use super::run::{self, Entry, Gone};
use super::sql::unsigned;
use crate::record::IdentityBytes;
use crate::value::Name;

/// More than any composite of keys the server accepts (3072 bytes) comes to when encoded.
pub(crate) const IDENTITY_BYTES_MAX: usize = 16 * 1024;
/// Runs of an unfinished transaction moved at a time once it ends.
const MERGE_RUNS: i64 = 128;
/// Beside the index, the run that says that the table was forgotten before its other runs there came
/// to be. No local key is in it, and it comes before all that have some.
const FORGOTTEN: i64 = i64::MIN;

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
    /// Something happened to rows of a table and nobody knows what: nothing that the index says of
    /// them is to be believed, and what is needed is asked anew.
    Forget {
        /// The table.
        table: Name,
    },
}

impl IndexChange {
    fn table(&self) -> &Name {
        match self {
            IndexChange::Put { table, .. }
            | IndexChange::Remove { table, .. }
            | IndexChange::Forget { table } => table,
        }
    }
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
pub(super) fn apply<'c>(
    transaction: &Transaction<'_>,
    tables: &mut Tables,
    changes: &'c [IndexChange],
    unfinished: bool,
) -> Result<(), Error> {
    let forgets = |(at, change): (usize, &'c IndexChange)| {
        matches!(change, IndexChange::Forget { .. }).then(|| (change.table(), at))
    };
    let forgotten: HashMap<&Name, usize> = changes.iter().enumerate().filter_map(forgets).collect();
    let mut placed = Vec::with_capacity(changes.len());
    for (at, change) in changes.iter().enumerate() {
        if forgotten.get(change.table()).is_some_and(|forgotten| at < *forgotten) {
            continue;
        }
        let (table, local, identity) = match change {
            IndexChange::Put { table, local, identity } => {
                (table, local, Some(checked(identity.as_slice())?))
            }
            IndexChange::Remove { table, local } => (table, local, None),
            IndexChange::Forget { .. } => continue,
        };
        let (run, slot) = run::place(*local);
        placed.push((tables.number(transaction, table)?, run, slot, identity));
    }
    // Stable: of several changes to one row the last one holds.
    placed.sort_by_key(|(table, run, slot, _)| (*table, *run, *slot));
    let mut runs = if unfinished { Runs::pending(transaction)? } else { Runs::index(transaction)? };
    for table in forgotten.into_keys() {
        runs.forget(tables.number(transaction, table)?)?;
    }
    let mut entries: Vec<Entry<'_>> = Vec::new();
    for changes in placed.chunk_by(|one, other| (one.0, one.1) == (other.0, other.1)) {
        entries.clear();
        for (_, _, slot, identity) in changes {
            if entries.last().is_some_and(|last| last.0 == *slot) {
                entries.pop();
            }
            entries.push((*slot, *identity));
        }
        if let Some((table, run, _, _)) = changes.first() {
            runs.change(*table, *run, &entries)?;
        }
    }
    Ok(())
}

fn checked(identity: &[u8]) -> Result<&[u8], Error> {
    if identity.len() <= IDENTITY_BYTES_MAX {
        return Ok(identity);
    }
    Err(Error::TooLarge {
        what: "an identity",
        bytes: identity.len() as u64,
        limit: IDENTITY_BYTES_MAX as u64,
        name: "identity_bytes_max",
    })
}

/// The runs of the index, or of what an unfinished transaction does to it, being changed.
struct Runs<'t> {
    get: CachedStatement<'t>,
    put: CachedStatement<'t>,
    delete: CachedStatement<'t>,
    empty: CachedStatement<'t>,
    gone: Gone,
    old: Vec<u8>,
    new: Vec<u8>,
}

impl<'t> Runs<'t> {
    fn index(transaction: &'t Transaction<'_>) -> Result<Runs<'t>, Error> {
        Runs::of(transaction, "identity_run", Gone::Forgotten)
    }

    fn pending(transaction: &'t Transaction<'_>) -> Result<Runs<'t>, Error> {
        Runs::of(transaction, "pending_run", Gone::Kept)
    }

    fn of(transaction: &'t Transaction<'_>, name: &str, gone: Gone) -> Result<Runs<'t>, Error> {
        let prepare = |sql: String| transaction.prepare_cached(&sql);
        Ok(Runs {
            get: prepare(format!("SELECT bytes FROM {name} WHERE tab = ?1 AND run = ?2"))?,
            put: prepare(format!(
                "INSERT OR REPLACE INTO {name} (tab, run, known, bytes) VALUES (?1, ?2, ?3, ?4)"
            ))?,
            delete: prepare(format!("DELETE FROM {name} WHERE tab = ?1 AND run = ?2"))?,
            empty: prepare(format!("DELETE FROM {name} WHERE tab = ?1"))?,
            gone,
            old: Vec::new(),
            new: Vec::new(),
        })
    }

    /// Forgets all rows of a table.
    fn forget(&mut self, table: i64) -> Result<(), Error> {
        self.empty.execute(params![table])?;
        if self.gone == Gone::Kept {
            self.put.execute(params![table, FORGOTTEN, 0, [0_u8; 0]])?;
        }
        Ok(())
    }

    /// Changes one run; `entries` sorted by slot, each slot once.
    fn change(&mut self, table: i64, run: i64, entries: &[Entry<'_>]) -> Result<(), Error> {
        self.old.clear();
        let mut rows = self.get.query(params![table, run])?;
        if let Some(row) = rows.next()? {
            self.old.extend_from_slice(row.get_ref(0)?.as_blob().map_err(rusqlite::Error::from)?);
        }
        drop(rows);
        let count = run::merge(&self.old, entries, self.gone, &mut self.new)?;
        if count > 0 {
            self.put.execute(params![table, run, count, self.new])?;
        } else if !self.old.is_empty() {
            self.delete.execute(params![table, run])?;
        }
        Ok(())
    }
}

/// The unfinished transaction has ended: what it did to the index now holds.
pub(super) fn merge_pending(transaction: &Transaction<'_>) -> Result<(), Error> {
    let mut next = transaction.prepare_cached(
        "SELECT tab, run, bytes FROM pending_run WHERE (tab, run) > (?1, ?2)
         ORDER BY tab, run LIMIT ?3",
    )?;
    let mut runs = Runs::index(transaction)?;
    // The numbers of tables are above zero.
    let mut after = (0, 0);
    loop {
        let found = next
            .query_map(params![after.0, after.1, MERGE_RUNS], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?))
            })?
            .collect::<rusqlite::Result<Vec<(i64, i64, Vec<u8>)>>>()?;
        for (table, run, bytes) in &found {
            if *run == FORGOTTEN {
                runs.forget(*table)?;
            } else {
                runs.change(*table, *run, &run::entries(bytes)?)?;
            }
        }
        match found.last() {
            Some((table, run, _)) => after = (*table, *run),
            None => return drop_pending(transaction),
        }
    }
}

/// The unfinished transaction will be read again from its start.
pub(super) fn drop_pending(transaction: &Transaction<'_>) -> Result<(), Error> {
    transaction.execute("DELETE FROM pending_run", [])?;
    Ok(())
}

/// How many rows of each table the index knows.
pub(super) fn counts(connection: &Connection) -> Result<Vec<(Name, u64)>, Error> {
    let mut statement = connection.prepare_cached(
        "SELECT name, (SELECT coalesce(sum(known), 0) FROM identity_run WHERE tab = indexed_table.id)
         FROM indexed_table ORDER BY name",
    )?;
    let counts = statement
        .query_map([], |row| Ok((Name::from(row.get::<_, String>(0)?), unsigned(row, 1)?)))?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    Ok(counts)
}

/// Whether the index knows any row of a table.
pub(super) fn knows(connection: &Connection, table: i64) -> Result<bool, Error> {
    Ok(connection
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM identity_run WHERE tab = ?1)")?
        .query_row(params![table], |row| row.get(0))?)
}

pub(super) const LOOK_UP: &str = "
    SELECT (SELECT bytes FROM pending_run WHERE tab = ?1 AND run = ?2),
        (SELECT bytes FROM identity_run WHERE tab = ?1 AND run = ?2
            AND NOT EXISTS (SELECT 1 FROM pending_run WHERE tab = ?1 AND run = ?3))";

/// What a row is called. What an unfinished transaction did to it goes before what the index says.
pub(super) fn look_up(
    statement: &mut Statement<'_>,
    table: i64,
    local: i64,
) -> Result<Option<Vec<u8>>, Error> {
    let (run, slot) = run::place(local);
    let mut rows = statement.query(params![table, run, FORGOTTEN])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    for column in 0..2 {
        let bytes = row.get_ref(column)?.as_blob_or_null().map_err(rusqlite::Error::from)?;
        if let Some((_, found)) = run::find(bytes.unwrap_or_default(), slot)? {
            return Ok(found.map(<[u8]>::to_vec));
        }
    }
    Ok(None)
}
