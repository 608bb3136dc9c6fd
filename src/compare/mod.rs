//! Compares two databases by identity and value, through different local ids. An independent
//! check: it reads rows and what they refer to with SQL joins, and shares no code with capture or
//! apply but the schema map.
//!
//! Each side is read in one snapshot. Of every row a hash of its identity and one of its values is
//! kept until its fellow is found; tables too large for that are read several times, a share of
//! the identities each time. Only rows that turn out to differ are read again, to describe them.

mod canon;
mod project;
mod rows;
mod tally;

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::Serialize;

use crate::config::Config;
use crate::database::Error as DatabaseError;
use crate::schema_map::file::Error as MapError;
use crate::schema_map::{BoundTable, Direction, Role};
use crate::value::Name;
use project::Projection;
use rows::{Passage, Side, Stopped};
use tally::Tally;

/// How many rows' hashes are in memory at once: about 50 bytes each.
const ROWS_HELD_MAX: u64 = 4_000_000;
/// `ER_TOO_MANY_TABLES`: a server joins 61 in one statement.
const TOO_MANY_TABLES: u16 = 1116;

/// What is compared, and how much is told of it.
#[derive(Debug, Clone, Default)]
pub struct Wish {
    /// Rows that only the second database has are no differences.
    pub subset: bool,
    /// Only these tables; all mapped ones if empty.
    pub tables: Vec<String>,
    /// How many differing rows of each table are described.
    pub show: usize,
}

impl Wish {
    fn is_for(&self, table: &str) -> bool {
        self.tables.is_empty() || self.tables.iter().any(|asked| asked == table)
    }
}

/// What came out.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// The tables compared, by name; those that are empty on both sides included.
    pub tables: Vec<TableReport>,
    /// Tables that are mapped in one of the databases only. Their rows are missing in the other.
    pub only_on_one_side: Vec<String>,
    /// Tables that should travel and cannot, in one of the databases at least. They are not compared.
    pub not_compared: Vec<NotCompared>,
    /// Rows that are equal in both.
    pub equal: u64,
    /// Rows that differ or are missing.
    pub differences: u64,
    /// Rows that only the second database has and that do not count as differences.
    pub beyond: u64,
}

impl Report {
    /// Whether all that should be the same is.
    pub fn is_even(&self) -> bool {
        self.differences == 0 && self.not_compared.is_empty()
    }
}

/// A table that is not compared, for what it is in one of the databases.
#[derive(Debug, Clone, Serialize)]
pub struct NotCompared {
    /// Its name.
    pub table: String,
    /// Which database.
    pub at: Place,
    /// What keeps it from travelling there, and what to do.
    pub why: String,
}

/// One table.
#[derive(Debug, Clone, Default, Serialize)]
pub struct TableReport {
    /// Its name.
    pub table: String,
    /// The only database in which it is there and mapped; `None` if it is in both.
    pub only: Option<Place>,
    /// Rows in the first database.
    pub here: u64,
    /// Rows in the second.
    pub there: u64,
    /// Rows that are in both and equal.
    pub equal: u64,
    /// Rows that are in both and differ.
    pub differing: u64,
    /// Rows that the second lacks.
    pub missing_there: u64,
    /// Rows that the first lacks.
    pub missing_here: u64,
    /// Travelling columns that only the first database has: rows in which one of them is not NULL
    /// differ.
    pub columns_only_here: Vec<String>,
    /// Travelling columns that only the second has; they are not compared.
    pub columns_only_there: Vec<String>,
    /// The first differing rows.
    pub examples: Vec<Difference>,
}

/// One of the two databases.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// The first.
    Here,
    /// The second.
    There,
}

/// One row that is not the same.
#[derive(Debug, Clone, Serialize)]
pub struct Difference {
    /// What the row is called.
    pub identity: String,
    /// What is wrong with it.
    pub what: What,
    /// The columns that differ, with both values, where the row is in both.
    pub columns: Vec<ColumnDifference>,
}

/// What is wrong with a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// It is in both, with other values.
    Differs,
    /// The second lacks it.
    MissingThere,
    /// The first lacks it.
    MissingHere,
}

/// One column of such a row.
#[derive(Debug, Clone, Serialize)]
pub struct ColumnDifference {
    /// The column.
    pub column: String,
    /// Its value in the first database.
    pub here: String,
    /// Its value in the second.
    pub there: String,
}

/// Why two databases cannot be compared.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// One of the servers.
    #[error("{place}: {source}")]
    Database {
        /// Which, and where a table was being read, which.
        place: String,
        /// What it says.
        source: DatabaseError,
    },
    /// One of the maps.
    #[error(transparent)]
    Map(#[from] MapError),
    /// A table that was asked for by name.
    #[error("no mapped table is called {0}: headwater map check lists them")]
    NoSuchTable(String),
    /// There is nothing to compare.
    #[error(
        "none of the maps' tables is in {here}, nor in {there}\n  remedy: check the databases' names in database.url, and database.maps, of both configurations"
    )]
    NothingMapped {
        /// The first database.
        here: String,
        /// The second.
        there: String,
    },
}

impl Error {
    /// Whether a server could not be reached, rather than said no.
    pub fn is_unreachable(&self) -> bool {
        matches!(self, Error::Database { source, .. } if source.is_transient())
    }
}

/// Compares every mapped table of two nodes' databases; `done` hears of each as it is finished.
pub async fn compare(
    here: &Config,
    there: &Config,
    wish: &Wish,
    mut done: impl FnMut(&TableReport),
) -> Result<Report, Error> {
    let (mut here, mut there) =
        tokio::try_join!(Side::open(here, Place::Here), Side::open(there, Place::There))?;
    let not_compared = not_compared(&here, &there, wish);
    let names = chosen(&here, &there, wish, &not_compared)?;
    let mut report = Report {
        tables: Vec::new(),
        only_on_one_side: Vec::new(),
        not_compared,
        equal: 0,
        differences: 0,
        beyond: 0,
    };
    for name in names {
        let table = match table(&mut here, &mut there, &name, wish).await {
            Ok(table) => table,
            Err(stopped) => {
                report.not_compared.push(refused(&name, stopped)?);
                continue;
            }
        };
        done(&table);
        if table.only.is_some() {
            report.only_on_one_side.push(name.to_string());
        }
        report.equal = report.equal.saturating_add(table.equal);
        report.differences =
            report.differences.saturating_add(table.differing).saturating_add(table.missing_there);
        if wish.subset {
            report.beyond = report.beyond.saturating_add(table.missing_here);
        } else {
            report.differences = report.differences.saturating_add(table.missing_here);
        }
        report.tables.push(table);
    }
    here.close().await;
    there.close().await;
    Ok(report)
}

/// Those that should travel, were asked for, and cannot.
fn not_compared(here: &Side, there: &Side, wish: &Wish) -> Vec<NotCompared> {
    let of = |side: &Side, at: Place| {
        let stuck = side.stuck().into_iter().filter(|(table, _)| wish.is_for(table));
        stuck.map(move |(table, why)| NotCompared { table: table.to_string(), at, why })
    };
    let mut found: Vec<NotCompared> =
        of(here, Place::Here).chain(of(there, Place::There)).collect();
    found.sort_by(|one, other| one.table.cmp(&other.table));
    found
}

/// The tables that travel in either database, but for those that cannot in one of them.
fn chosen(
    here: &Side,
    there: &Side,
    wish: &Wish,
    not_compared: &[NotCompared],
) -> Result<BTreeSet<Name>, Error> {
    let travelling = here
        .map
        .tables
        .values()
        .chain(there.map.tables.values())
        .filter(|table| table.direction != Direction::None)
        .map(|table| Arc::clone(&table.name));
    let all: BTreeSet<Name> = travelling.collect();
    let stuck = |name: &str| not_compared.iter().any(|table| table.table == *name);
    if all.is_empty() && not_compared.is_empty() {
        return Err(Error::NothingMapped { here: here.place.clone(), there: there.place.clone() });
    }
    let known = |name: &String| all.contains(name.as_str()) || stuck(name);
    if let Some(unknown) = wish.tables.iter().find(|name| !known(name)) {
        return Err(Error::NoSuchTable(unknown.clone()));
    }
    Ok(all.into_iter().filter(|name| wish.is_for(name) && !stuck(name)).collect())
}

/// A table that a server does not let be read is named, and the others are compared all the same.
fn refused(table: &Name, stopped: Stopped) -> Result<NotCompared, Error> {
    let Stopped { at, place, source } = stopped;
    let why = match &source {
        DatabaseError::Refused { code: TOO_MANY_TABLES, .. } => format!(
            "its rows refer to those of more tables than the server joins in one statement: {source}"
        ),
        DatabaseError::Refused { .. } | DatabaseError::Privilege { .. } => {
            format!("its rows cannot be read: {source}")
        }
        _ => return Err(Error::Database { place: format!("{place}, table {table}"), source }),
    };
    Ok(NotCompared { table: table.to_string(), at, why })
}

/// Compares one table. Where only one of the databases has it, its rows are missing in the other.
async fn table(
    here: &mut Side,
    there: &mut Side,
    name: &Name,
    wish: &Wish,
) -> Result<TableReport, Stopped> {
    let ours = here.map.tables.get(name).cloned();
    let theirs = there.map.tables.get(name).cloned();
    let (our_columns, their_columns) = (travelling(ours.as_deref()), travelling(theirs.as_deref()));
    let only_in = |some: &BTreeSet<Name>, others: &BTreeSet<Name>| -> Vec<String> {
        some.difference(others).map(ToString::to_string).collect()
    };
    let mut report = TableReport { table: name.to_string(), ..TableReport::default() };
    let compared: Vec<Name> = match (&ours, &theirs) {
        (Some(_), Some(_)) => {
            report.columns_only_here = only_in(&our_columns, &their_columns);
            report.columns_only_there = only_in(&their_columns, &our_columns);
            our_columns.intersection(&their_columns).cloned().collect()
        }
        (_, None) => {
            report.only = Some(Place::Here);
            our_columns.into_iter().collect()
        }
        (None, _) => {
            report.only = Some(Place::There);
            their_columns.into_iter().collect()
        }
    };
    let alone: Vec<Name> =
        report.columns_only_here.iter().map(|name| Name::from(&**name)).collect();
    let (ours, theirs) = (
        ours.map(|table| Projection::of(&here.map, &table, &there.map, &compared, &alone)),
        theirs.map(|table| Projection::of(&there.map, &table, &here.map, &compared, &[])),
    );
    let rows = here.rows_estimate(name).max(there.rows_estimate(name));
    let shares = rows / ROWS_HELD_MAX + 1;
    for share in 0..shares {
        let mut tally = Tally::new(share, shares, wish.subset);
        here.read(ours.as_ref(), |row| tally.here(row)).await?;
        there.read(theirs.as_ref(), |row| tally.there(row)).await?;
        tally.count(&mut report);
        if tally.is_even() || report.examples.len() >= wish.show {
            continue;
        }
        let mut passage = Passage::new(tally, wish.subset, wish.show);
        here.read(ours.as_ref(), |row| passage.here(row)).await?;
        there.read(theirs.as_ref(), |row| passage.there(row)).await?;
        if let Some(projection) = ours.as_ref().or(theirs.as_ref()) {
            report.examples.extend(passage.differences(projection));
        }
        report.examples.truncate(wish.show);
    }
    Ok(report)
}

/// The value columns of a table that travel.
fn travelling(table: Option<&BoundTable>) -> BTreeSet<Name> {
    let Some(table) = table else { return BTreeSet::new() };
    table
        .value_columns()
        .into_iter()
        .filter_map(|index| table.columns.get(index))
        .filter(|column| matches!(column.role, Role::Plain | Role::Reference(_)))
        .map(|column| Arc::clone(&column.name))
        .collect()
}
