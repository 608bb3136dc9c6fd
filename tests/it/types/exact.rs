//! Between two servers of one kind every type arrives exactly: inserted, updated, left alone and
//! deleted, whatever the log tells about its columns.

use std::collections::{BTreeMap, BTreeSet};

use headwater_rig::{Flavor, Server, ServerOptions};
use mysql_async::prelude::Queryable as _;

use super::ends::{Ends, Shown, session, shown};
use super::kinds::{Kind, kinds};
use crate::support::ledger::{EXACT, Ledger, NOT_THERE};
use crate::support::{on, on_all};

pub(super) const TYPES: Ledger = Ledger { file: "types.md", head: "type" };

/// The kinds of each table.
pub(super) type Groups = BTreeMap<&'static str, Vec<Kind>>;

pub(super) fn groups(has: impl Fn(&Kind) -> bool) -> Groups {
    let mut groups = Groups::new();
    for kind in kinds().into_iter().filter(has) {
        groups.entry(kind.group).or_default().push(kind);
    }
    groups
}

/// The definitions of a table's columns.
pub(super) fn columns(kinds: &[Kind]) -> Vec<String> {
    let column = |(place, kind): (usize, &Kind)| match kind.column.strip_suffix(" NULL") {
        Some(_) => format!("c{place} {}", kind.column),
        None => format!("c{place} {} NULL", kind.column),
    };
    kinds.iter().enumerate().map(column).collect()
}

/// How many rows show every value of every column.
fn rows(kinds: &[Kind]) -> usize {
    kinds.iter().map(|kind| kind.values.len() + 1).max().unwrap_or(1)
}

/// What a row gets; `turn` shifts which value a column has in which row. One in each turn is NULL.
fn assignments(kinds: &[Kind], row: usize, turn: usize) -> String {
    let value = |kind: &Kind| match (row + turn) % (kind.values.len() + 1) {
        0 => "NULL".to_owned(),
        place => kind.values[place - 1].clone(),
    };
    let one = |(place, kind): (usize, &Kind)| format!("c{place} = {}", value(kind));
    kinds.iter().enumerate().map(one).collect::<Vec<_>>().join(", ")
}

/// What is done to the rows, one transaction each.
#[derive(Debug, Clone, Copy)]
pub(super) enum Phase {
    Insert,
    Change,
    Touch,
    DeleteSome,
    DeleteAll,
}

pub(super) const PHASES: [Phase; 5] =
    [Phase::Insert, Phase::Change, Phase::Touch, Phase::DeleteSome, Phase::DeleteAll];

impl Phase {
    fn statements(self, table: &str, kinds: &[Kind]) -> Vec<String> {
        let all = 0..rows(kinds);
        match self {
            Phase::Insert => all
                .map(|row| {
                    format!(
                        "INSERT INTO {table} SET uuid = 'row-{row:03}', {}",
                        assignments(kinds, row, 0)
                    )
                })
                .collect(),
            Phase::Change => all
                .map(|row| {
                    let set = assignments(kinds, row, 1);
                    format!("UPDATE {table} SET {set} WHERE uuid = 'row-{row:03}'")
                })
                .collect(),
            Phase::Touch => vec![format!("UPDATE {table} SET touched = touched + 1")],
            Phase::DeleteSome => {
                vec![format!("DELETE FROM {table} WHERE RIGHT(uuid, 1) IN ('1', '4', '7')")]
            }
            Phase::DeleteAll => vec![format!("DELETE FROM {table}")],
        }
    }

    /// Does it to all tables of the child in one transaction.
    pub(super) async fn at_child(self, ends: &Ends, groups: &Groups) {
        let mut conn = session(&ends.child).await;
        conn.query_drop("BEGIN").await.unwrap();
        for (table, kinds) in groups {
            for sql in self.statements(table, kinds) {
                let outcome = conn.query_drop(&sql).await;
                let start: String = sql.chars().take(3000).collect();
                assert!(outcome.is_ok(), "{:?}: {start}", outcome.unwrap_err());
            }
        }
        conn.query_drop("COMMIT").await.unwrap();
    }
}

/// A table's values as both ends show them: for each kind, how the child and how the parent.
pub(super) type Compared = BTreeMap<&'static str, Vec<(String, String)>>;

/// Both ends show each kind alike.
pub(super) fn alike(groups: &Groups) -> Compared {
    let of = |kind: &Kind| (kind.show.to_owned(), kind.show.to_owned());
    groups.iter().map(|(table, kinds)| (*table, kinds.iter().map(of).collect())).collect()
}

/// The rows of the docs in which some value differs, with what was found.
pub(super) async fn differing(
    ends: &Ends,
    groups: &Groups,
    compared: &Compared,
) -> BTreeMap<String, String> {
    let mut wrong = BTreeMap::new();
    for (table, kinds) in groups {
        let of = |pick: fn(&(String, String)) -> &String| -> Vec<String> {
            let shows = compared[table].iter().enumerate();
            let shows = shows.map(|(place, show)| pick(show).replace("{}", &format!("c{place}")));
            shows.chain(["touched".to_owned()]).collect()
        };
        let child = shown(&ends.child, table, &of(|(child, _)| child)).await;
        let parent = shown(&ends.parent, table, &of(|(_, parent)| parent)).await;
        let names =
            |rows: &Shown| rows.iter().map(|(uuid, _)| uuid.clone()).collect::<BTreeSet<_>>();
        if names(&child) != names(&parent) {
            let found = format!("rows {:?} became {:?}", names(&child), names(&parent));
            wrong.insert((*table).to_owned(), found);
            continue;
        }
        for ((uuid, ours), (_, theirs)) in child.iter().zip(&parent) {
            if ours.last() != theirs.last() {
                let found = format!("{uuid} was touched otherwise: {:?}", theirs.last());
                wrong.insert((*table).to_owned(), found);
            }
            for ((kind, one), other) in kinds.iter().zip(ours).zip(theirs) {
                // By their bits: -0.0 is not 0.0.
                let (one, other) = (format!("{one:?}"), format!("{other:?}"));
                if one != other {
                    let found =
                        format!("{} in {uuid}: {one:.200} became {other:.200}", kind.column);
                    wrong.entry(kind.row.clone()).or_insert(found);
                }
            }
        }
    }
    wrong
}

/// What the log may be told to say about its columns.
pub(super) fn metadata(flavor: Flavor) -> &'static [&'static str] {
    match flavor {
        _ if flavor.is_new_mysql() => &["FULL", "MINIMAL"],
        Flavor::Mysql56 | Flavor::Mysql57 => &[""],
        _ => &["NO_LOG", "MINIMAL", "FULL"],
    }
}

/// What lets a server compress what it logs, however small.
pub(super) fn compression(flavor: Flavor) -> Option<&'static str> {
    match flavor {
        _ if flavor.is_new_mysql() => Some("SET GLOBAL binlog_transaction_compression = ON"),
        Flavor::Mysql56 | Flavor::Mysql57 => None,
        _ => Some("SET GLOBAL log_bin_compress = ON, log_bin_compress_min_len = 10"),
    }
}

async fn every_type_arrives_exactly(flavor: Flavor) {
    let mut ends = Ends::start(flavor, flavor).await;
    let groups = groups(|kind| kind.is_on(flavor));
    for (table, kinds) in &groups {
        ends.table(table, &columns(kinds)).await;
    }
    ends.run().await;
    for metadata in metadata(flavor) {
        if !metadata.is_empty() {
            let sql = format!("SET GLOBAL binlog_row_metadata = {metadata}");
            ends.child.sql(&sql).await.unwrap();
        }
        told(&mut ends, &groups, metadata).await;
    }
    if let Some(compress) = compression(flavor) {
        ends.child.sql(compress).await.unwrap();
        told(&mut ends, &groups, "compressed").await;
    }
    ends.stop().await;
    let mut cells: Vec<(String, String)> = Vec::new();
    for kind in kinds() {
        let cell = if kind.is_on(flavor) { EXACT } else { NOT_THERE };
        match cells.iter_mut().find(|(row, _)| *row == kind.row) {
            Some((_, known)) if cell == EXACT => cell.clone_into(known),
            Some(_) => {}
            None => cells.push((kind.row, cell.to_owned())),
        }
    }
    TYPES.settle_all(crate::support::ledger::column(flavor), &cells);
}

/// Everything is done to the rows once, and must be the same at the parent after each step.
async fn told(ends: &mut Ends, groups: &Groups, setting: &str) {
    let mut wrong = BTreeMap::new();
    for phase in PHASES {
        phase.at_child(ends, groups).await;
        ends.carry().await;
        for held in ends.held().await {
            wrong.insert(format!("{phase:?}, {setting}"), held);
        }
        for (row, found) in differing(ends, groups, &alike(groups)).await {
            wrong.insert(row, format!("{phase:?}, {setting}: {found}"));
        }
        assert!(wrong.is_empty(), "{}: {wrong:#?}", ends.child.flavor());
    }
}

/// What is asked of the database rather than read in the log is the same.
async fn rows_that_the_parent_lacks_arrive_whole(flavor: Flavor) {
    let mut ends = Ends::start(flavor, flavor).await;
    let groups = groups(|kind| kind.is_on(flavor));
    for (table, kinds) in &groups {
        ends.table(table, &columns(kinds)).await;
    }
    // Before capture begins: nothing of it is in the log that is read.
    Phase::Insert.at_child(&ends, &groups).await;
    ends.run().await;
    for (table, kinds) in &groups {
        let uuids: Vec<String> = (0..rows(kinds)).map(|row| format!("row-{row:03}")).collect();
        ends.ask_for(table, &uuids).await;
        ends.carry_all().await;
    }
    let wrong = differing(&ends, &groups, &alike(&groups)).await;
    assert!(wrong.is_empty(), "{flavor}: {wrong:#?}");
    ends.stop().await;
}

/// Why `FLOAT` and `DOUBLE` of -0.0 are not there: what is bound by its bits, so by headwater too,
/// is stored without its sign. A server that keeps it fails this, and is to be told of in the docs.
async fn a_signed_zero_loses_its_sign_whoever_writes_it(flavor: Flavor) {
    let server = Server::start(flavor, ServerOptions::default()).await.unwrap();
    server.sql("CREATE DATABASE kinds; CREATE TABLE kinds.z (f FLOAT, d DOUBLE)").await.unwrap();
    let mut conn = session(&server).await;
    let zeros = (mysql_async::Value::Float(-0.0), mysql_async::Value::Double(-0.0));
    conn.exec_drop("INSERT INTO z VALUES (?, ?)", zeros).await.unwrap();
    conn.query_drop("INSERT INTO z VALUES (-0e0, -0e0)").await.unwrap();
    let stored: Vec<mysql_async::Row> = conn.exec("SELECT f, d FROM z", ()).await.unwrap();
    assert_eq!(stored.len(), 2);
    for row in stored {
        let row = row.unwrap();
        let [mysql_async::Value::Float(float), mysql_async::Value::Double(double)] = row.as_slice()
        else {
            panic!("{row:?}")
        };
        assert_eq!((float.to_bits(), double.to_bits()), (0, 0), "{flavor}");
    }
    conn.disconnect().await.unwrap();
}

// MariaDB 11.8 does so from some version after 11.8.6 on.
on!(mariadb_10_11, Mariadb1011, a_signed_zero_loses_its_sign_whoever_writes_it);
on_all!(every_type_arrives_exactly, rows_that_the_parent_lacks_arrive_whole);
