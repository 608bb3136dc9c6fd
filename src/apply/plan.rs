//! From changes in commit order to a run: one net effect per row, in an order that can be written
//! by set. No I/O: what cannot be decided without the database is left to the run's execution.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use foldhash::fast::RandomState;

use super::admit::{Admitted, admit, check_identity, check_parts, check_value};
use super::error::Hold;
use crate::change::{Change, Identity, Kind, Sequence, Shape};
use crate::record;
use crate::schema_map::{BoundIdentity, BoundMap, BoundTable, Direction, Role};
use crate::value::{Name, Reference, Value};

/// A change and where it came from.
#[derive(Debug)]
pub(super) struct Item<'s> {
    pub(super) change: Change<'s>,
    pub(super) source: Source,
}

/// Where a change came from.
#[derive(Debug, Clone, Copy)]
pub(super) enum Source {
    /// A batch: the transaction, and the change's number in it.
    Fresh { sequence: Sequence, place: u64 },
    /// The changes set aside earlier.
    Held { id: u64 },
}

/// A row, named.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct RowName<'c, 's> {
    pub(super) table: &'c str,
    pub(super) identity: &'c Identity<'s>,
}

/// What is kept by row. Names are looked up dozens of times for each row.
pub(super) type ByRow<'c, 's, V> = HashMap<RowName<'c, 's>, V, RandomState>;
/// Some rows.
pub(super) type RowSet<'c, 's> = HashSet<RowName<'c, 's>, RandomState>;

/// What becomes of a row in a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Net {
    Insert,
    Update,
    Delete,
}

/// One row and everything a run does to it.
#[derive(Debug)]
pub(super) struct Row<'c, 's> {
    pub(super) table: &'c Arc<BoundTable>,
    pub(super) net: Net,
    pub(super) identity: &'c Identity<'s>,
    pub(super) previous: Option<&'c Identity<'s>>,
    /// Columns of the table and their values in the end.
    pub(super) values: Vec<(usize, &'c Value<'s>)>,
    /// The changes it is made of, as numbers in the run's items.
    pub(super) items: Vec<usize>,
}

impl<'c, 's> Row<'c, 's> {
    pub(super) fn name(&self) -> RowName<'c, 's> {
        RowName { table: &self.table.name, identity: self.identity }
    }

    /// What it was called before.
    pub(super) fn former(&self) -> Option<RowName<'c, 's>> {
        let identity = self.previous?;
        Some(RowName { table: &self.table.name, identity })
    }
}

/// The longest start of some changes whose rows can be written in any order that respects their
/// references.
#[derive(Debug)]
pub(super) struct Plan<'c, 's> {
    /// In order of tables' levels.
    pub(super) rows: Vec<Row<'c, 's>>,
    /// Changes that cannot be applied whatever the database holds.
    pub(super) aside: Vec<(usize, Hold)>,
    /// How many changes the run takes.
    pub(super) taken: usize,
}

/// A 64-bit name of a row, for indexes over rows that wait.
pub(super) fn row_hash(table: &str, identity: &Identity<'_>) -> u64 {
    let reference = Reference { table: Name::from(table), identity: identity.clone() };
    record::fingerprint([&Value::Reference(Box::new(reference))]).0
}

/// Rows that come and go again in one run, each of which takes a look at all others of the run.
const COME_AND_GO_MAX: u32 = 128;

/// What becomes of a carried column.
#[derive(Debug, Clone, Copy)]
enum Fate {
    Write(usize),
    /// This node's map leaves the column out: a peer has no say in it.
    Drop,
    Unknown,
    /// The column is computed by the server.
    Computed,
    Forbidden,
}

/// Plans the start of `items`.
pub(super) fn plan<'c, 's>(
    map: &'c BoundMap,
    incoming: Direction,
    items: &'c [Item<'s>],
) -> Plan<'c, 's> {
    let mut planner = Planner {
        map,
        incoming,
        rows: Vec::new(),
        by_name: ByRow::default(),
        shapes: HashMap::new(),
        aside: Vec::new(),
        cascades: false,
        some_go: false,
        came_and_went: 0,
    };
    let mut taken = 0;
    for (number, item) in items.iter().enumerate() {
        if !planner.take(number, &item.change) {
            break;
        }
        taken = number + 1;
        if is_alone(map.tables.get(&item.change.shape.table), &item.change) {
            break;
        }
    }
    let mut rows = planner.rows;
    rows.sort_by(|a, b| (a.table.level, &a.table.name).cmp(&(b.table.level, &b.table.name)));
    Plan { rows, aside: planner.aside, taken }
}

/// Whether a change shares its run with no other: it changes what the row is called, or what foreign
/// keys of other rows follow.
fn is_alone(table: Option<&Arc<BoundTable>>, change: &Change<'_>) -> bool {
    change.previous.is_some()
        || change.kind == Kind::Update
            && table.is_some_and(|table| {
                let carried = |column| change.shape.columns.contains(column);
                let mut followed =
                    table.followed.iter().filter_map(|index| table.columns.get(*index));
                followed.any(|column| carried(&column.name))
            })
}

struct Planner<'c, 's> {
    map: &'c BoundMap,
    incoming: Direction,
    rows: Vec<Row<'c, 's>>,
    by_name: ByRow<'c, 's, Taken>,
    shapes: HashMap<*const Shape, Arc<[Fate]>>,
    aside: Vec<(usize, Hold)>,
    /// A row goes in this run whose delete makes the server write others. It runs last, so nothing
    /// that was written after it may share the run.
    cascades: bool,
    /// A row that others may refer to goes in this run.
    some_go: bool,
    /// How often it was asked who refers to a row that came in this run and goes.
    came_and_went: u32,
}

#[derive(Debug, Clone, Copy)]
enum Taken {
    Row(usize),
    Aside,
}

impl<'c, 's> Planner<'c, 's> {
    /// Takes one more change; `false` if it has to wait for the next run.
    fn take(&mut self, number: usize, change: &'c Change<'s>) -> bool {
        let table = match admit(self.map, self.incoming, &change.shape.table) {
            Admitted::Here(table) => table,
            Admitted::Undefined(hold) => {
                self.aside.push((number, hold));
                return true;
            }
            // What is new and not let in has been left out before. This was set aside when the map
            // still let it in, and must not stop what is tried together with it.
            Admitted::Not(reason) => {
                let remedy = "let the map take it in again and retry, or discard it";
                self.aside.push((number, Hold::quarantine(format!("{reason}: {remedy}"))));
                return true;
            }
        };
        let name = RowName { table: &table.name, identity: &change.identity };
        // Of rows without a key that are equal, each delete takes one.
        let whole = matches!(table.identity, BoundIdentity::WholeRow);
        let known =
            self.by_name.get(&name).copied().filter(|_| !whole || change.kind != Kind::Delete);
        let begun = !self.rows.is_empty() || !self.aside.is_empty();
        if begun && self.must_wait(table, change, known) {
            return false;
        }
        if matches!(known, Some(Taken::Aside)) {
            self.aside.push((number, Hold::park("waits behind an earlier change of the same row")));
            return true;
        }
        match self.bind(table, change) {
            Err(hold) => {
                self.aside.push((number, hold));
                self.by_name.insert(name, Taken::Aside);
            }
            Ok(values) => self.fold(number, table, change, values, known),
        }
        true
    }

    fn must_wait(
        &mut self,
        table: &'c Arc<BoundTable>,
        change: &'c Change<'s>,
        known: Option<Taken>,
    ) -> bool {
        if is_alone(Some(table), change) {
            return true;
        }
        if change.kind != Kind::Delete
            && (self.cascades || (self.some_go && self.refers_to_what_goes(table, change)))
        {
            return true;
        }
        let row = match known {
            Some(Taken::Row(row)) => row,
            // A delete makes moot what is set aside before it, once that is noted.
            Some(Taken::Aside) => return change.kind == Kind::Delete,
            None => return false,
        };
        let net = self.rows.get(row).map(|row| row.net);
        match change.kind {
            Kind::Insert | Kind::Update => net == Some(Net::Delete),
            // A row that came and goes again may have been referred to in between: the insert has
            // to be real, for those rows to go with it, or to stay with what they hold.
            Kind::Delete => {
                net == Some(Net::Insert)
                    && table.referenced
                    && (table.delete_reaches || self.is_referred_to(row))
            }
        }
    }

    /// Whether a change names a row that is deleted in this run: only where no foreign key guards
    /// the reference.
    fn refers_to_what_goes(&self, table: &'c BoundTable, change: &'c Change<'s>) -> bool {
        let goes = |name: RowName<'c, 's>| match self.by_name.get(&name) {
            Some(Taken::Row(row)) => self.rows.get(*row).is_some_and(|row| row.net == Net::Delete),
            Some(Taken::Aside) | None => false,
        };
        let lent = match &table.identity {
            BoundIdentity::Borrowed { table: lender, .. } => {
                goes(RowName { table: lender, identity: &change.identity })
            }
            BoundIdentity::Column(_) | BoundIdentity::Composite(_) | BoundIdentity::WholeRow => {
                false
            }
        };
        let values = change.values.iter().filter_map(named);
        lent || values.chain(parts(&change.identity).iter().filter_map(named)).any(goes)
    }

    /// Whether a row that stays refers to a row of this run; also if it was asked too often.
    fn is_referred_to(&mut self, row: usize) -> bool {
        self.came_and_went = self.came_and_went.saturating_add(1);
        let Some(wanted) = self.rows.get(row).map(Row::name) else { return true };
        self.came_and_went > COME_AND_GO_MAX
            || self.rows.iter().filter(|row| row.net != Net::Delete).any(|row| {
                let values = row.values.iter().filter_map(|(_, value)| named(value));
                let borrowed = matches!(&row.table.identity, BoundIdentity::Borrowed { .. });
                (borrowed && row.identity == wanted.identity)
                    || values
                        .chain(parts(row.identity).iter().filter_map(named))
                        .any(|name| name == wanted)
            })
    }

    fn fold(
        &mut self,
        number: usize,
        table: &'c Arc<BoundTable>,
        change: &'c Change<'s>,
        values: Vec<(usize, &'c Value<'s>)>,
        known: Option<Taken>,
    ) {
        let net = match change.kind {
            Kind::Insert => Net::Insert,
            Kind::Update => Net::Update,
            Kind::Delete => Net::Delete,
        };
        if net == Net::Delete {
            self.cascades |= table.delete_reaches;
            self.some_go |= table.referenced;
        }
        if let Some(Taken::Row(at)) = known
            && let Some(row) = self.rows.get_mut(at)
        {
            row.items.push(number);
            if net != Net::Update {
                row.net = net;
            }
            for (column, value) in values {
                match row.values.iter_mut().find(|(known, _)| *known == column) {
                    Some(slot) => slot.1 = value,
                    None => row.values.push((column, value)),
                }
            }
            return;
        }
        // Rows without a key can be equal: each is a row of its own. But one made after such a row was
        // deleted must not be the one that the delete finds.
        if net == Net::Delete || !matches!(table.identity, BoundIdentity::WholeRow) {
            let name = RowName { table: &table.name, identity: &change.identity };
            self.by_name.insert(name, Taken::Row(self.rows.len()));
        }
        self.rows.push(Row {
            table,
            net,
            identity: &change.identity,
            previous: change.previous.as_ref(),
            values,
            items: vec![number],
        });
    }

    /// The change's values by the target's columns, each allowed to stand there.
    fn bind(
        &mut self,
        table: &'c Arc<BoundTable>,
        change: &'c Change<'s>,
    ) -> Result<Vec<(usize, &'c Value<'s>)>, Hold> {
        if matches!(change.identity, Identity::Lost(_)) {
            return Err(Hold::missing(&table.name, &change.identity, "is a row"));
        }
        if table.is_whole_row() {
            check_parts(table, &change.shape.columns)?;
        }
        check_identity(self.map, table, &change.identity)?;
        if let Some(previous) = &change.previous {
            check_identity(self.map, table, previous)?;
        }
        let fates = self.fates(table, &change.shape);
        if is_left_out(table, change, &fates) {
            return Err(Hold::quarantine(format!(
                "the schema map here leaves out rows of {} such as this one",
                table.name
            )));
        }
        if table.is_whole_row() {
            return Ok(Vec::new());
        }
        let mut values = Vec::with_capacity(fates.len());
        for ((fate, value), name) in fates.iter().zip(&change.values).zip(&change.shape.columns) {
            match *fate {
                Fate::Write(column) => {
                    check_value(self.map, table, column, value)?;
                    values.push((column, value));
                }
                Fate::Drop => {}
                // NULL in a column that is not here is what not having it means.
                Fate::Unknown | Fate::Computed if value.is_null() => {}
                Fate::Unknown => {
                    let reason = format!("table {} has no column {name} here: add it", table.name);
                    return Err(Hold::undefined(&table.name, reason));
                }
                Fate::Computed => {
                    return Err(Hold::quarantine(format!(
                        "column {name} of {} is computed here, and holds a value of its own at its \
                         source: leave it out in the map of both ends, or make it a plain column here",
                        table.name
                    )));
                }
                Fate::Forbidden => {
                    return Err(Hold::quarantine(format!(
                        "column {name} of {} is this node's own and cannot be sent",
                        table.name
                    )));
                }
            }
        }
        Ok(values)
    }

    fn fates(&mut self, table: &BoundTable, shape: &Arc<Shape>) -> Arc<[Fate]> {
        if let Some(fates) = self.shapes.get(&Arc::as_ptr(shape)) {
            return Arc::clone(fates);
        }
        let identity = table.identity_columns();
        let fates: Arc<[Fate]> = shape
            .columns
            .iter()
            .map(|name| {
                let Some(index) = table.column(name) else { return Fate::Unknown };
                if identity.contains(&index) {
                    return Fate::Forbidden;
                }
                match table.columns.get(index).map(|column| &column.role) {
                    Some(Role::Plain | Role::Reference(_)) => Fate::Write(index),
                    Some(Role::LeftOut(_)) => Fate::Drop,
                    Some(Role::Generated) => Fate::Computed,
                    Some(Role::LocalKey) | None => Fate::Forbidden,
                }
            })
            .collect();
        self.shapes.insert(Arc::as_ptr(shape), Arc::clone(&fates));
        fates
    }
}

/// The row that a value refers to.
fn named<'v, 's>(value: &'v Value<'s>) -> Option<RowName<'v, 's>> {
    let Value::Reference(reference) = value else { return None };
    Some(RowName { table: &reference.table, identity: &reference.identity })
}

/// The values that an identity is made of.
fn parts<'v, 's>(identity: &'v Identity<'s>) -> &'v [Value<'s>] {
    match identity {
        Identity::One(value) => std::slice::from_ref(value),
        Identity::Many(values) => values,
        Identity::Lost(_) => &[],
    }
}

/// Whether this node's map keeps such rows from travelling. A peer with the same map does not
/// send them; what does not carry the column in question cannot change its row that way.
fn is_left_out(table: &BoundTable, change: &Change<'_>, fates: &[Fate]) -> bool {
    table.rows_left_out.iter().any(|condition| {
        let part = table.identity_columns().iter().position(|index| *index == condition.column);
        let carried = match (part, &change.identity) {
            (Some(_), Identity::One(value)) => Some(value),
            (Some(part), Identity::Many(values)) => values.get(part),
            (Some(_), Identity::Lost(_)) => None,
            (None, _) => {
                let place = fates.iter().position(
                    |fate| matches!(fate, Fate::Write(index) if *index == condition.column),
                );
                place.and_then(|place| change.values.get(place))
            }
        };
        carried.is_some_and(|value| condition.matches(value))
    })
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
