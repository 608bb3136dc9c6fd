//! One database to compare: a snapshot of it, its rows one at a time, and the second reading that
//! describes rows that differ.

use std::collections::BTreeMap;
use std::sync::Arc;

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Row, Value};

use super::canon::{Canonical, canonical, is_null, shown};
use super::project::{Field, Projection};
use super::tally::Tally;
use super::{ColumnDifference, Difference, Error, Place, What};
use crate::config::Config;
use crate::database::Error as DatabaseError;
use crate::database::schema::LiveSchema;
use crate::schema_map::{BoundMap, Direction, MapFile, TableRule};
use crate::value::Name;

/// One of the two databases, read in one snapshot.
pub(super) struct Side {
    at: Place,
    pub(super) place: String,
    connection: Conn,
    schema: LiveSchema,
    pub(super) map: BoundMap,
    file: MapFile,
}

/// What a server said instead of a table's rows.
pub(super) struct Stopped {
    pub(super) at: Place,
    pub(super) place: String,
    pub(super) source: DatabaseError,
}

impl Side {
    /// Connects, reads the schema and takes the snapshot.
    pub(super) async fn open(config: &Config, at: Place) -> Result<Side, Error> {
        let options = &config.database.options;
        let place = format!("{} at {}", options.database, options.address());
        let file = MapFile::load(&config.database.maps)?;
        let opened = async {
            let mut connection =
                options.connect(&["SET SESSION time_zone = '+00:00'", "SET NAMES utf8mb4"]).await?;
            let schema = LiveSchema::read(&mut connection, &options.database).await?;
            connection
                .query_drop("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ")
                .await?;
            connection.query_drop("START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY").await?;
            Ok((connection, schema))
        };
        match opened.await {
            Ok((connection, schema)) => {
                let map = BoundMap::bind(&file, &schema);
                Ok(Side { at, place, connection, schema, map, file })
            }
            Err(source) => Err(Error::Database { place, source }),
        }
    }

    /// The server's guess of a table's rows.
    pub(super) fn rows_estimate(&self, table: &Name) -> u64 {
        self.schema.tables.get(table).map_or(0, |table| table.rows_estimate)
    }

    /// The tables that are there and should travel, but cannot; and why.
    pub(super) fn stuck(&self) -> Vec<(Name, String)> {
        let stuck = self.file.tables.iter().filter_map(|(name, rule)| {
            let TableRule::Mapped(rule) = rule else { return None };
            let there =
                self.schema.tables.contains_key(name) && !self.map.tables.contains_key(name);
            if !there || self.file.direction(&rule.class) == Direction::None {
                return None;
            }
            let problem =
                self.map.problems.iter().find(|problem| problem.fatal && problem.table == *name);
            let why = problem.map_or("it cannot travel", |problem| problem.message.as_str());
            Some((Arc::clone(name), why.to_owned()))
        });
        stuck.collect()
    }

    /// Reads every row that travels, one at a time; none without a projection, of a table that is not
    /// there.
    pub(super) async fn read(
        &mut self,
        projection: Option<&Projection>,
        mut row: impl FnMut(&Canonical),
    ) -> Result<(), Stopped> {
        let Some(projection) = projection else { return Ok(()) };
        let read = async {
            // Prepared, so that floats come as their bits and not as rounded text.
            let mut rows = self.connection.exec_iter(&projection.statement, ()).await?;
            while let Some(next) = rows.next().await? {
                if let Some(next) = canonical(projection, Row::unwrap(next)) {
                    row(&next);
                }
            }
            Ok::<_, mysql_async::Error>(())
        };
        read.await.map_err(|error| Stopped {
            at: self.at,
            place: self.place.clone(),
            source: DatabaseError::from(error),
        })
    }

    /// Ends the snapshot and the connection.
    pub(super) async fn close(self) {
        // The work is done; a server that does not hear the farewell notices by itself.
        self.connection.disconnect().await.ok();
    }
}

/// The second reading: picks up to some rows that differ.
pub(super) struct Passage {
    tally: Tally,
    subset: bool,
    show: usize,
    found: BTreeMap<u128, Found>,
}

#[derive(Default)]
struct Found {
    here: Option<Vec<Value>>,
    there: Option<Vec<Value>>,
}

impl Passage {
    /// Looks for rows that the tally found uneven.
    pub(super) fn new(tally: Tally, subset: bool, show: usize) -> Passage {
        Passage { tally, subset, show, found: BTreeMap::new() }
    }

    /// A row of the first database.
    pub(super) fn here(&mut self, row: &Canonical) {
        match self.tally.what(row.identity) {
            Some(What::Differs | What::MissingThere) if self.has_room(row.identity) => {
                self.found.entry(row.identity).or_default().here = Some(row.row.clone());
            }
            Some(What::Differs | What::MissingThere | What::MissingHere) | None => {}
        }
    }

    /// A row of the second.
    pub(super) fn there(&mut self, row: &Canonical) {
        let wanted = match self.tally.what(row.identity) {
            Some(What::Differs) => self.found.contains_key(&row.identity),
            Some(What::MissingHere) => !self.subset && self.has_room(row.identity),
            Some(What::MissingThere) | None => false,
        };
        if wanted {
            self.found.entry(row.identity).or_default().there = Some(row.row.clone());
        }
    }

    fn has_room(&self, identity: u128) -> bool {
        self.found.len() < self.show || self.found.contains_key(&identity)
    }

    /// What was found, described.
    pub(super) fn differences(self, projection: &Projection) -> Vec<Difference> {
        let Passage { tally, found, .. } = self;
        found
            .into_iter()
            .filter_map(|(identity, found)| {
                let what = tally.what(identity)?;
                let row = found.here.as_ref().or(found.there.as_ref())?;
                let identity = shown(&projection.identity, 0, row);
                let columns = match (&found.here, &found.there) {
                    (Some(here), Some(there)) => columns(projection, here, there),
                    (_, _) => Vec::new(),
                };
                let parts: Vec<String> = identity.into_iter().map(|(_, text)| text).collect();
                Some(Difference { identity: parts.join(" + "), what, columns })
            })
            .collect()
    }
}

/// The columns in which two rows differ. Both sides' statements have the same shape but for the
/// number of columns a reference takes, which the map decides alike on both.
fn columns(projection: &Projection, here: &[Value], there: &[Value]) -> Vec<ColumnDifference> {
    let width = |fields: &[Field]| fields.iter().map(Field::width).sum::<usize>();
    let before = width(&projection.identity);
    let mut columns: Vec<ColumnDifference> = shown(&projection.values, before, here)
        .into_iter()
        .zip(shown(&projection.values, before, there))
        .filter(|(here, there)| here.1 != there.1)
        .map(|((column, here), (_, there))| ColumnDifference { column, here, there })
        .collect();
    let mut before = before.saturating_add(width(&projection.values));
    for field in &projection.alone {
        let parts: Vec<&Value> = here.iter().skip(before).take(field.width()).collect();
        if !is_null(&parts) {
            let told = shown(std::slice::from_ref(field), before, here);
            columns.extend(told.into_iter().map(|(column, here)| ColumnDifference {
                column,
                here,
                there: "no such column".to_owned(),
            }));
        }
        before = before.saturating_add(field.width());
    }
    columns
}
