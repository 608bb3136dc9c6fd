//! What is done with the rows of one table: made once for each table map of the log, checked
//! against the table's definition, used for every row.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::Error;
use super::decode::{ColumnFacts, DecodeError, MapColumn, RawColumn, RowsEvent, TableMapEvent};
use super::identities::{Identities, TableNumber};
use super::insert::Inserts;
use super::translate::RowValues;
use crate::change::Shape;
use crate::schema_map::{BoundMap, BoundTable, Direction, ReferenceRule, Role};
use crate::value::Value;

/// Sets of changed columns whose shapes are kept; a wide table has more than memory.
const UPDATE_SHAPES_MAX: usize = 1_000;

/// How to read and translate the rows of one table.
pub(super) struct TablePlan {
    pub(super) bound: Arc<BoundTable>,
    pub(super) number: TableNumber,
    /// The columns as the log describes them, in the table's order.
    pub(super) columns: Vec<MapColumn>,
    pub(super) identity_columns: Vec<usize>,
    pub(super) value_columns: Vec<usize>,
    pub(super) insert: Arc<Shape>,
    pub(super) delete: Arc<Shape>,
    /// How many columns stand in each shape only to name the identity's parts.
    naming: usize,
    /// How inserted rows are written, if they travel and are usual.
    pub(super) inserts: Option<Inserts>,
    /// Whether its rows go up; otherwise only their identities are kept, for what refers to them.
    pub(super) travels: bool,
    /// Which binding of the map it belongs to.
    pub(super) bindings: u32,
    facts: Vec<ColumnFacts>,
    /// Shapes of updates, by the columns that changed.
    updates: Mutex<HashMap<Vec<usize>, Arc<Shape>>>,
    /// The table map's bytes: the same bytes mean the same plan.
    described: Vec<u8>,
}

/// Why the log's rows do not fit the table as it is now.
#[derive(Debug, thiserror::Error)]
pub(super) enum Mismatch {
    #[error("{logged} columns, not {live}")]
    Count { logged: usize, live: usize },
    #[error("column {place} is called {logged}, not {live}")]
    Name { place: usize, logged: String, live: String },
    #[error("column {column}: {source}")]
    Column { column: String, source: DecodeError },
    #[error(transparent)]
    Decode(#[from] DecodeError),
}

impl TablePlan {
    /// A plan for the rows that `event` describes. A row is never read with a definition that is
    /// not its own: count, names (where the log has them), types and lengths have to agree.
    pub(super) fn new(
        event: &TableMapEvent<'_>,
        map: &BoundMap,
        bound: Arc<BoundTable>,
        identities: &mut Identities,
        bindings: u32,
    ) -> Result<TablePlan, Mismatch> {
        let columns = event.columns()?;
        // What a server adds at the end by itself is read, and nothing of it is carried.
        let more = columns.get(bound.columns.len()..);
        if !more.is_some_and(|more| more.iter().all(|column| column.may_be_hash)) {
            return Err(Mismatch::Count { logged: columns.len(), live: bound.columns.len() });
        }
        let mut facts = Vec::with_capacity(columns.len());
        for (place, (logged, live)) in columns.iter().zip(&bound.columns).enumerate() {
            if let Some(name) = &logged.name
                && **name != *live.name
            {
                return Err(Mismatch::Name {
                    place: place + 1,
                    logged: name.clone(),
                    live: live.name.to_string(),
                });
            }
            facts.push(
                ColumnFacts::new(logged, &live.live)
                    .map_err(|source| Mismatch::Column { column: live.name.to_string(), source })?,
            );
        }
        let travels = Self::is_sent(&bound);
        Ok(TablePlan {
            number: identities.number(&bound.name),
            inserts: travels.then(|| Inserts::new(map, &bound, identities)).flatten(),
            columns,
            identity_columns: bound.identity_columns(),
            value_columns: bound.value_columns(),
            insert: Self::insert_shape(&bound),
            delete: shape(&bound, &[]),
            naming: if bound.is_whole_row() { bound.identity_columns().len() } else { 0 },
            travels,
            bindings,
            facts,
            updates: Mutex::default(),
            described: event.body.to_vec(),
            bound,
        })
    }

    /// Whether an event's images carry every column that there is to carry. What the server computes
    /// it may leave out: `MariaDB` 11.8.9 does so with virtual columns and the hashes of keys.
    pub(super) fn is_carried_by(&self, event: &RowsEvent<'_>) -> bool {
        let mut absent = event.absent().map(|index| self.bound.columns.get(index));
        absent.all(|column| column.is_none_or(|column| column.role == Role::Generated))
    }

    /// Whether rows of this table go from this node to its parent.
    pub(super) fn is_sent(bound: &BoundTable) -> bool {
        matches!(bound.direction, Direction::Up | Direction::Both)
    }

    /// Values for the columns that are in a shape for their names alone.
    pub(super) fn naming<'a>(&self) -> Vec<Value<'a>> {
        vec![Value::Null; self.naming]
    }

    /// Whether the plan was made for a table map of the same content.
    pub(super) fn fits(&self, event: &TableMapEvent<'_>) -> bool {
        self.described == event.body
    }

    /// The columns that an insert carries.
    pub(super) fn insert_shape(bound: &BoundTable) -> Arc<Shape> {
        shape(bound, &bound.value_columns())
    }

    /// The columns that an update of `changed` columns carries.
    pub(super) fn update_shape(&self, changed: &[usize]) -> Arc<Shape> {
        let mut updates = self.updates.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(shape) = updates.get(changed) {
            return Arc::clone(shape);
        }
        let shape = shape(&self.bound, changed);
        if updates.len() >= UPDATE_SHAPES_MAX {
            updates.clear();
        }
        updates.insert(changed.to_vec(), Arc::clone(&shape));
        shape
    }

    #[cfg(test)]
    pub(super) fn update_shapes_kept(&self) -> usize {
        self.updates.lock().unwrap().len()
    }

    #[cold]
    fn unreadable(&self, column: usize, source: DecodeError) -> Error {
        let name = self.bound.columns.get(column).map(|column| column.name.clone());
        Error::Value {
            table: self.bound.name.clone(),
            column: name.unwrap_or_else(|| "?".into()),
            source,
        }
    }

    /// The travelling columns in which two images differ. A conditional reference also changes
    /// its meaning when the column that decides it changes.
    pub(super) fn changed(&self, before: &Image<'_, '_>, after: &Image<'_, '_>) -> Vec<usize> {
        let differs = |column: usize| before.differs(after, column);
        self.value_columns
            .iter()
            .copied()
            .filter(|column| {
                let decider = match self.bound.columns.get(*column).map(|column| &column.role) {
                    Some(Role::Reference(ReferenceRule::Conditional(rule))) => Some(rule.through),
                    Some(Role::Reference(ReferenceRule::Polymorphic(rule))) => Some(rule.kind),
                    Some(_) | None => None,
                };
                differs(*column) || decider.is_some_and(differs)
            })
            .collect()
    }
}

/// Columns whose values a change carries. A row that is called by all it holds carries none beside
/// its identity, and the other end could not tell which of its columns the parts belong to: their
/// names stand in the shape, with NULL for each.
fn shape(bound: &BoundTable, columns: &[usize]) -> Arc<Shape> {
    let naming = if bound.is_whole_row() { bound.identity_columns() } else { Vec::new() };
    let columns = naming
        .iter()
        .chain(columns)
        .filter_map(|column| bound.columns.get(*column))
        .map(|column| column.name.clone())
        .collect();
    Arc::new(Shape { table: bound.name.clone(), columns })
}

/// One image of a row of the log.
#[derive(Clone, Copy)]
pub(super) struct Image<'a, 'r> {
    pub(super) plan: &'r TablePlan,
    pub(super) columns: &'r [RawColumn<'a>],
}

impl Image<'_, '_> {
    /// Whether the other image has another value in a column.
    pub(super) fn differs(&self, other: &Image<'_, '_>, column: usize) -> bool {
        self.columns.get(column) != other.columns.get(column)
    }
}

impl<'a> RowValues<'a> for Image<'a, '_> {
    #[inline]
    fn value(&self, column: usize) -> Result<Value<'a>, Error> {
        let plan = self.plan;
        let (Some(raw), Some(described), Some(facts)) =
            (self.columns.get(column), plan.columns.get(column), plan.facts.get(column))
        else {
            return Err(Error::ColumnNotFetched { column });
        };
        raw.value(described.column, facts).map_err(|source| plan.unreadable(column, source))
    }
}
