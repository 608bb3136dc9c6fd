//! An inserted row straight from the log into a segment, without a change made of it first: the
//! usual case of nearly all rows, and the one whose cost shows. What is not usual goes the way of
//! [`super::row`], with the same outcome.

use super::Error;
use super::decode::RawColumn;
use super::identities::{Identities, TableNumber};
use super::plan::{Image, TablePlan};
use super::translate::{Need, Pause, RowValues, indexed_key, is_natural, lender, local_key};
use crate::change::{Identity, Kind};
use crate::record::{IdentityBytes, SegmentWriter};
use crate::schema_map::{BoundIdentity, BoundMap, BoundTable, ReferenceRule, Role};
use crate::value::{Name, Value};

/// How the inserted rows of one table are written.
pub(super) struct Inserts {
    named_by: usize,
    /// Where the identity comes from, if not from the column itself.
    lender: Option<Lender>,
    values: Vec<(usize, Carried)>,
    /// The tables that values may refer to.
    tables: Vec<Name>,
}

/// How one column's value travels.
enum Carried {
    /// As it is.
    Plain,
    /// As the identity of the row with this local key.
    Local { table: Name, lender: Lender },
    /// As a reference to the row that is called so.
    Natural { table: Name },
}

/// The table under whose name the index keeps an identity.
struct Lender {
    table: Name,
    number: TableNumber,
}

impl Lender {
    fn of(map: &BoundMap, table: &Name, identities: &mut Identities) -> Lender {
        let table = lender(map, table);
        Lender { number: identities.number(&table), table }
    }
}

impl Inserts {
    /// `None` if the table's rows are not usual: left out by a condition, named by several columns,
    /// or with references that depend on other values.
    pub(super) fn new(
        map: &BoundMap,
        bound: &BoundTable,
        identities: &mut Identities,
    ) -> Option<Inserts> {
        if !bound.rows_left_out.is_empty() {
            return None;
        }
        let (named_by, lender) = match &bound.identity {
            BoundIdentity::Column(column) => (*column, None),
            BoundIdentity::Borrowed { column, table } => {
                (*column, Some(Lender::of(map, table, identities)))
            }
            BoundIdentity::Composite(_) | BoundIdentity::WholeRow => return None,
        };
        let mut values = Vec::new();
        let mut tables = Vec::new();
        for column in bound.value_columns() {
            let carried = match bound.columns.get(column).map(|column| &column.role) {
                Some(Role::Reference(ReferenceRule::Always { table, .. })) => {
                    tables.push(table.clone());
                    let table = table.clone();
                    if is_natural(map, &table) {
                        Carried::Natural { table }
                    } else {
                        Carried::Local { lender: Lender::of(map, &table, identities), table }
                    }
                }
                Some(Role::Reference(
                    ReferenceRule::Conditional(_) | ReferenceRule::Polymorphic(_),
                )) => return None,
                Some(Role::Plain | Role::LocalKey | Role::LeftOut(_) | Role::Generated) | None => {
                    Carried::Plain
                }
            };
            values.push((column, carried));
        }
        Some(Inserts { named_by, lender, values, tables })
    }

    /// Whether the row has an identity, so that a change surely comes of it.
    pub(super) fn names(&self, row: &Image<'_, '_>) -> Result<bool, Error> {
        if self.lender.is_some() {
            return Ok(local_key(&row.value(self.named_by)?).is_some());
        }
        Ok(matches!(row.columns.get(self.named_by), Some(RawColumn::Bytes(_))))
    }

    /// Writes the row as a change, or says that it is not usual. Nothing is written but when it is
    /// all written.
    pub(super) fn write(
        &self,
        plan: &TablePlan,
        row: &Image<'_, '_>,
        identities: &mut Identities,
        writer: &mut SegmentWriter,
    ) -> Result<bool, Pause> {
        let mark = writer.start(Kind::Insert, &plan.insert, &self.tables);
        let result = self.parts(plan, row, identities, writer);
        if !matches!(result, Ok(true)) {
            writer.take_back(mark);
        }
        result
    }

    fn parts(
        &self,
        plan: &TablePlan,
        row: &Image<'_, '_>,
        identities: &mut Identities,
        writer: &mut SegmentWriter,
    ) -> Result<bool, Pause> {
        let name = row.value(self.named_by)?;
        match &self.lender {
            None => {
                let identity = writer.identity_value(&name)?;
                if let Some((number, local)) = indexed_key(&plan.bound, plan.number, row)? {
                    identities.put(number, local, IdentityBytes::from_slice(identity))?;
                }
            }
            Some(lender) => {
                let Some(local) = local_key(&name) else { return Ok(false) };
                let Some(identity) = known(identities, lender, local)?.nameless() else {
                    return Ok(false);
                };
                writer.identity_bytes(identity);
            }
        }
        for (column, carried) in &self.values {
            if !value(*column, carried, row, identities, writer)? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

fn value(
    column: usize,
    carried: &Carried,
    row: &Image<'_, '_>,
    identities: &mut Identities,
    writer: &mut SegmentWriter,
) -> Result<bool, Pause> {
    if matches!(row.columns.get(column), Some(RawColumn::Null)) {
        writer.value(&Value::Null)?;
        return Ok(true);
    }
    let value = row.value(column)?;
    if matches!(carried, Carried::Plain) || ReferenceRule::is_no_row(&value) {
        writer.value(&value)?;
        return Ok(true);
    }
    match carried {
        Carried::Plain => {}
        Carried::Natural { table } => {
            let identity = IdentityBytes::new(&Identity::One(value));
            let Some(identity) = identity.nameless() else { return Ok(false) };
            writer.reference(table, identity)?;
        }
        Carried::Local { table, lender } => match local_key(&value) {
            None => writer.value(&value)?,
            Some(local) => match known(identities, lender, local)?.nameless() {
                Some(identity) => writer.reference(table, identity)?,
                None => return Ok(false),
            },
        },
    }
    Ok(true)
}

fn known<'i>(
    identities: &'i mut Identities,
    lender: &Lender,
    local: i64,
) -> Result<&'i IdentityBytes, Pause> {
    match identities.get(lender.number, local)? {
        Some(identity) => Ok(identity),
        None => Err(Pause::Need(Need::Identity { table: lender.table.clone(), local })),
    }
}

#[cfg(test)]
#[path = "insert_tests.rs"]
mod tests;
