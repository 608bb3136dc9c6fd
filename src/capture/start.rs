//! Where capture starts: the position in the store, or, the first time, the log's present end.

use std::sync::Arc;

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Row};

use super::Error;
use super::fetch::Fetcher;
use super::identities::Identities;
use super::translate::{Decisions, RowValues as _, Translator, lender, local_key};
use crate::database::server::{Flavor, Server};
use crate::position::Position;
use crate::record::IdentityBytes;
use crate::schema_map::{BoundIdentity, BoundMap, BoundTable, ReferenceRule, Role};
use crate::spool::{Append, Spool};
use crate::value::Name;

/// Rows asked for at once while the identity index is filled.
const PAGE_ROWS: usize = 5_000;

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

/// Notes the identities of all rows that lend theirs to others, before the first position is
/// taken: when such a row is deleted together with its borrower, the log tells the borrower's
/// local key only, and nobody can be asked any more.
pub(super) async fn fill_lenders(
    map: &BoundMap,
    fetcher: &mut Fetcher,
    identities: &mut Identities,
    spool: &Spool,
) -> Result<(), Error> {
    for table in lenders(map) {
        let number = identities.number(&table.name);
        let Some(key) = table.local_key else { continue };
        let mut after = i64::MIN;
        loop {
            let rows = fetcher.page(&table, after, PAGE_ROWS).await?;
            let full = rows.len() == PAGE_ROWS;
            for row in &rows {
                let Some(local) = local_key(&row.value(key)?) else { continue };
                after = after.max(local);
                let decisions = Decisions::default();
                let mut translator =
                    Translator { map, identities: &mut *identities, decisions: &decisions };
                if let Ok(Some(identity)) = translator.identity(&table, row) {
                    let identity = IdentityBytes::new(&identity);
                    identities.put(number, local, identity);
                }
            }
            if identities.gathered() >= PAGE_ROWS {
                hand_over(identities, spool).await?;
            }
            if !full {
                break;
            }
        }
    }
    hand_over(identities, spool).await
}

async fn hand_over(identities: &mut Identities, spool: &Spool) -> Result<(), Error> {
    let index = identities.hand_over();
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
