//! Where capture starts: the position in the store, or, the first time, the log's present end.

use std::collections::BTreeSet;
use std::sync::Arc;

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Row};

use super::Error;
use super::fetch::Fetcher;
use super::identities::Identities;
use super::tables::alike;
use super::translate::{Decisions, RowValues as _, Translator, lender, local_key};
use crate::database::schema::LiveSchema;
use crate::database::server::{Flavor, Server};
use crate::position::Position;
use crate::schema_map::{BoundIdentity, BoundMap, BoundTable, MapFile, ReferenceRule, Role};
use crate::spool::{Append, IDENTITY_BYTES_MAX, Spool};
use crate::value::Name;

/// Rows asked for at once while the identity index is filled.
const PAGE_ROWS: usize = 5_000;
/// The note of the store that says of which tables the identity index has all rows.
const FILLED: &str = "capture.filled";
/// How often the tables are looked at again because they were being altered.
const ALTERED_MAX: usize = 20;
/// How often the log's end is asked for again because something was executed meanwhile.
const BUSY_MAX: usize = 20;

/// Whether the log can be asked for by what has been executed: a MySQL that does not give GTIDs to
/// all its transactions refuses that.
pub(super) fn resumes_by_gtids(server: &Server) -> bool {
    server.flavor == Flavor::Mariadb || server.is_on("gtid_mode")
}

/// What the server must be set to for its log to hold every change exactly. The same conditions
/// are enforced again on every event: a session can change them at any time.
pub(super) fn suitable(server: &Server) -> Result<(), Error> {
    let wrong = |what: &str| Err(Error::Unsuitable(format!("{what}; see `headwater doctor`")));
    if !server.is_on("log_bin") {
        return wrong("the server writes no binary log (log_bin is OFF)");
    }
    let is = |name: &str, wanted: &str| {
        server.variable(name).is_none_or(|value| value.eq_ignore_ascii_case(wanted))
    };
    if !is("binlog_format", "ROW") {
        return wrong("the binary log is not in row format (binlog_format must be ROW)");
    }
    if !is("binlog_row_image", "FULL") {
        return wrong("rows are logged without all their columns (binlog_row_image must be FULL)");
    }
    Ok(())
}

/// The present end of the server's log.
pub async fn log_end(connection: &mut Conn, server: &Server) -> Result<Position, Error> {
    let asked = |source: mysql_async::Error| Error::Question {
        table: Name::from("(binary log status)"),
        source: source.into(),
    };
    let mut row: Result<Option<Row>, _> = connection.query_first("SHOW BINARY LOG STATUS").await;
    if matches!(&row, Err(mysql_async::Error::Server(error)) if error.code == 1064) {
        row = connection.query_first("SHOW MASTER STATUS").await;
    }
    let off = || Error::Unsuitable("the server writes no binary log (log_bin is OFF)".to_owned());
    let mut row = row.map_err(asked)?.ok_or_else(off)?;
    let file: Vec<u8> = row.take(0).ok_or_else(off)?;
    let offset: u64 = row.take(1).ok_or_else(off)?;
    let gtids = match server.flavor {
        Flavor::Mysql if server.is_on("gtid_mode") => {
            row.take::<Vec<u8>, _>(4).map(|text| String::from_utf8_lossy(&text).replace('\n', ""))
        }
        Flavor::Mysql => None,
        Flavor::Mariadb => {
            let state: Option<String> =
                connection.query_first("SELECT @@gtid_binlog_pos").await.map_err(asked)?;
            // An empty state would mean the log's very beginning.
            state.filter(|state| !state.is_empty())
        }
    };
    let file = String::from_utf8_lossy(&file).into_owned();
    Ok(Position { server: server.identity.clone(), file, offset, gtids })
}

/// The tables of which the identity index has all rows, as the store remembers: those whose rows lend
/// their identities to others. When such a row is deleted together with its borrower, the log tells
/// the borrower's local key only, and nobody can be asked any more.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Filled(BTreeSet<Name>);

/// What a page of the table is believed against what the index says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Belief {
    /// The page: no row has been read from the log yet.
    Page,
    /// The index, which knows what the rows were called where the log is being read.
    Index,
}

impl Filled {
    /// What the store remembers.
    pub(super) async fn read(spool: &Spool) -> Result<Filled, Error> {
        let noted = spool.note(FILLED).await?.unwrap_or_default();
        Ok(Filled(serde_json::from_slice(&noted).unwrap_or_default()))
    }

    async fn store(&self, spool: &Spool) -> Result<(), Error> {
        Ok(spool.set_note(FILLED, serde_json::to_vec(&self.0).unwrap_or_default()).await?)
    }

    /// The index is about to forget tables. Whether any was full.
    pub(super) async fn forget(
        &mut self,
        tables: &BTreeSet<Name>,
        spool: &Spool,
    ) -> Result<bool, Error> {
        let before = self.0.len();
        self.0.retain(|table| !tables.contains(table));
        let forgets = self.0.len() < before;
        if forgets {
            self.store(spool).await?;
        }
        Ok(forgets)
    }

    /// Whether the index has all rows that lend their identities.
    pub(super) fn is_full(&self, map: &BoundMap) -> bool {
        lenders(map).iter().all(|table| self.0.contains(&table.name))
    }

    /// Fills the index with what it lacks of the tables that are not full.
    pub(super) async fn fill(
        &mut self,
        map: &BoundMap,
        fetcher: &mut Fetcher,
        identities: &mut Identities,
        spool: &Spool,
    ) -> Result<(), Error> {
        let lacking = lenders(map).into_iter().filter(|table| !self.0.contains(&table.name));
        let lacking: Vec<_> = lacking.collect();
        if lacking.is_empty() {
            return Ok(());
        }
        for table in lacking {
            page_through(map, &table, fetcher, identities, spool, Belief::Index).await?;
            self.0.insert(table.name.clone());
        }
        self.store(spool).await
    }
}

/// Where capture begins that never ran before: the present end of the log, how the tables are defined
/// there, and what their rows are called.
pub(super) async fn begin(
    connection: &mut Conn,
    server: &Server,
    file: &MapFile,
    fetcher: &mut Fetcher,
    identities: &mut Identities,
    spool: &Spool,
) -> Result<(Position, LiveSchema, Filled), Error> {
    let database = fetcher.options().database.clone();
    // Before the position is taken, so that of a row deleted right after it is known what it was called.
    let live = LiveSchema::read(connection, &database).await?;
    fill_lenders(&BoundMap::bind(file, &live), fetcher, identities, spool).await?;
    let (position, live) = log_end_and_schema(connection, server, &database).await?;
    // And again after it: what changed in between is not in the log that follows.
    let map = BoundMap::bind(file, &live);
    fill_lenders(&map, fetcher, identities, spool).await?;
    let filled = Filled(lenders(&map).iter().map(|table| table.name.clone()).collect());
    filled.store(spool).await?;
    Ok((position, live, filled))
}

/// The log's end at a moment when nothing was being executed, or else the last that was told: a server
/// says what it has executed a little before or after where its log ends.
async fn quiet_end(connection: &mut Conn, server: &Server) -> Result<Position, Error> {
    let mut end = log_end(connection, server).await?;
    for _ in 0..BUSY_MAX {
        let again = log_end(connection, server).await?;
        if again.gtids == end.gtids {
            break;
        }
        end = again;
    }
    Ok(end)
}

/// The log's end, and how all tables are defined there: they were the same before and after.
async fn log_end_and_schema(
    connection: &mut Conn,
    server: &Server,
    database: &str,
) -> Result<(Position, LiveSchema), Error> {
    let mut before = LiveSchema::read(connection, database).await?;
    for _ in 0..ALTERED_MAX {
        let position = quiet_end(connection, server).await?;
        let after = LiveSchema::read(connection, database).await?;
        if before.tables.len() == after.tables.len()
            && after.tables.iter().all(|(name, table)| {
                before.tables.get(name).is_some_and(|before| alike(before, table))
            })
        {
            return Ok((position, after));
        }
        before = after;
    }
    let reason = "the tables are being altered; capture begins when that has ended".to_owned();
    Err(Error::Lost { reason })
}

/// Notes the identities of all rows that lend theirs to others.
async fn fill_lenders(
    map: &BoundMap,
    fetcher: &mut Fetcher,
    identities: &mut Identities,
    spool: &Spool,
) -> Result<(), Error> {
    for table in lenders(map) {
        page_through(map, &table, fetcher, identities, spool, Belief::Page).await?;
    }
    Ok(())
}

async fn page_through(
    map: &BoundMap,
    table: &Arc<BoundTable>,
    fetcher: &mut Fetcher,
    identities: &mut Identities,
    spool: &Spool,
    belief: Belief,
) -> Result<(), Error> {
    let number = identities.number(&table.name);
    let Some(key) = table.local_key else { return Ok(()) };
    let mut after = i64::MIN;
    loop {
        let rows = fetcher.page(table, after, PAGE_ROWS).await?;
        let full = rows.len() == PAGE_ROWS;
        for row in &rows {
            let Some(local) = local_key(&row.value(key)?) else { continue };
            after = after.max(local);
            let decisions = Decisions::default();
            let mut translator =
                Translator { map, identities: &mut *identities, decisions: &decisions };
            let Ok(Some(found)) = translator.kept(table, row) else { continue };
            let known = identities.get(number, local)?;
            let is_news = known.is_none_or(|known| belief == Belief::Page && *known != found);
            if is_news && found.as_slice().len() <= IDENTITY_BYTES_MAX {
                identities.put(number, local, found)?;
            }
        }
        if identities.gathered() >= PAGE_ROWS {
            hand_over(identities, spool).await?;
        }
        if !full {
            break;
        }
    }
    hand_over(identities, spool).await
}

async fn hand_over(identities: &mut Identities, spool: &Spool) -> Result<(), Error> {
    let index = identities.hand_over();
    if index.is_empty() {
        return Ok(());
    }
    spool.append(Append { index, ..Append::default() }).await?;
    identities.committed();
    Ok(())
}

/// The tables whose identities other tables' identities are made of.
fn lenders(map: &BoundMap) -> Vec<Arc<BoundTable>> {
    let mut names: Vec<Name> = Vec::new();
    for table in map.tables.values() {
        match &table.identity {
            BoundIdentity::Borrowed { table: owner, .. } => names.push(lender(map, owner)),
            BoundIdentity::Composite(_) | BoundIdentity::WholeRow => {
                for column in table.identity_columns() {
                    if let Some(Role::Reference(ReferenceRule::Always { table, .. })) =
                        table.columns.get(column).map(|column| &column.role)
                    {
                        names.push(lender(map, table));
                    }
                }
            }
            BoundIdentity::Column(_) => {}
        }
    }
    names.sort_unstable();
    names.dedup();
    names
        .iter()
        .filter_map(|name| map.tables.get(name))
        .filter(|table| {
            // A natural key is its own identity, and a large table of rows that only whole-row
            // identities mention is asked row by row.
            !matches!(table.identity, BoundIdentity::Column(column) if table.local_key == Some(column))
        })
        .cloned()
        .collect()
}
