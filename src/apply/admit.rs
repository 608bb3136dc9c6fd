//! What this node's map lets in: which tables, and which forms of identities and values.

use std::sync::Arc;

use super::error::Hold;
use crate::change::Identity;
use crate::schema_map::{BoundIdentity, BoundMap, BoundTable, Direction, ReferenceRule, Role};
use crate::value::{Name, Value};

/// What this node's map says of a table that a change is for.
pub(super) enum Admitted<'c> {
    Here(&'c Arc<BoundTable>),
    /// It has to be made or mended here.
    Undefined(Hold),
    /// Its rows do not travel this way, and why.
    Not(String),
}

/// Why the rows of a table do not come in by this node's map; `None` if they do, or would if the
/// table were as it should be.
pub(super) fn shut_out(map: &BoundMap, incoming: Direction, name: &Name) -> Option<String> {
    match admit(map, incoming, name) {
        Admitted::Here(_) | Admitted::Undefined(_) => None,
        Admitted::Not(reason) => Some(reason),
    }
}

pub(super) fn admit<'c>(map: &'c BoundMap, incoming: Direction, name: &Name) -> Admitted<'c> {
    if let Some(table) = map.tables.get(name) {
        if table.direction == incoming || table.direction == Direction::Both {
            return Admitted::Here(table);
        }
        return Admitted::Not(format!(
            "table {name} may not be written by this link: the schema map here sends class {} \
             another way",
            table.class
        ));
    }
    if let Some((_, reason)) = map.left_out.iter().find(|(table, _)| table == name) {
        return Admitted::Not(format!(
            "table {name} may not be written by this link: the schema map here leaves it out \
             ({reason})"
        ));
    }
    if map.unmapped.contains(name) {
        return Admitted::Not(format!(
            "table {name} may not be written by this link: the schema map here does not mention it"
        ));
    }
    let problem = map.problems.iter().find(|problem| problem.table == *name && problem.fatal);
    let reason = match problem {
        Some(problem) => format!("table {name} cannot be written here: {}", problem.message),
        None => format!("there is no table {name} here: create it"),
    };
    Admitted::Undefined(Hold::undefined(name, reason))
}

fn table_of<'c>(map: &'c BoundMap, name: &Name) -> Result<&'c Arc<BoundTable>, Hold> {
    map.tables.get(name).ok_or_else(|| {
        let reason = format!("it refers to a row of table {name}, which is not mapped here");
        Hold::undefined(name, reason)
    })
}

/// Whether the parts of a row that is called by all it holds belong to the columns here, which are
/// in the order of their names: its shape names them.
pub(super) fn check_parts(table: &BoundTable, named: &[Name]) -> Result<(), Hold> {
    let columns = table.identity_columns();
    let here: Vec<&Name> = columns
        .iter()
        .filter_map(|index| table.columns.get(*index))
        .map(|column| &column.name)
        .collect();
    if here.iter().copied().eq(named) {
        return Ok(());
    }
    if let Some(name) = named.iter().find(|name| table.column(name).is_none()) {
        let reason = format!("table {} has no column {name} here: add it", table.name);
        return Err(Hold::undefined(&table.name, reason));
    }
    let list = |names: &mut dyn Iterator<Item = &Name>| {
        names.map(AsRef::as_ref).collect::<Vec<_>>().join(", ")
    };
    Err(Hold::quarantine(format!(
        "a row of {} is called by all it holds, which is ({}) at its source and ({}) here: give both \
         ends the same columns, or leave out what only one has in the maps of both",
        table.name,
        list(&mut named.iter()),
        list(&mut here.into_iter())
    )))
}

/// Whether an identity has the form that this node's map gives the table's identities.
pub(super) fn check_identity(
    map: &BoundMap,
    table: &BoundTable,
    identity: &Identity<'_>,
) -> Result<(), Hold> {
    let wrong = || {
        Err(Hold::quarantine(format!(
            "{identity} does not have the form of an identity of {} in this node's map",
            table.name
        )))
    };
    match (&table.identity, identity) {
        (_, Identity::Lost(_)) => Ok(()),
        (BoundIdentity::Column(column), Identity::One(value)) => {
            if matches!(value, Value::Reference(_)) {
                check_value(map, table, *column, value)
            } else {
                Ok(())
            }
        }
        (BoundIdentity::Borrowed { table: lender, .. }, _) => {
            check_identity(map, table_of(map, lender)?, identity)
        }
        (BoundIdentity::Composite(columns), Identity::Many(parts))
            if columns.len() == parts.len() =>
        {
            columns
                .iter()
                .zip(parts)
                .try_for_each(|(column, part)| check_value(map, table, *column, part))
        }
        (BoundIdentity::WholeRow, Identity::Many(parts)) => {
            let columns = table.identity_columns();
            if columns.len() != parts.len() {
                return wrong();
            }
            columns
                .iter()
                .zip(parts)
                .try_for_each(|(column, part)| check_value(map, table, *column, part))
        }
        (
            BoundIdentity::Column(_) | BoundIdentity::Composite(_) | BoundIdentity::WholeRow,
            Identity::One(_) | Identity::Many(_),
        ) => wrong(),
    }
}

/// Whether a value may stand in a column: references exactly where the map has them.
pub(super) fn check_value(
    map: &BoundMap,
    table: &BoundTable,
    column: usize,
    value: &Value<'_>,
) -> Result<(), Hold> {
    let Some(bound) = table.columns.get(column) else { return Ok(()) };
    let reference = if let Value::Reference(reference) = value { Some(reference) } else { None };
    let allowed = match (&bound.role, reference) {
        (Role::Reference(ReferenceRule::Always { table, .. }), Some(reference)) => {
            reference.table == *table
        }
        // Some columns without a foreign key hold 0 for no row.
        (Role::Reference(ReferenceRule::Always { .. }), None) => {
            matches!(value, Value::Null | Value::Int(0) | Value::UInt(0))
        }
        (Role::Reference(ReferenceRule::Conditional(rule)), Some(reference)) => {
            rule.tables.iter().any(|(_, table)| *table == reference.table)
        }
        (Role::Reference(ReferenceRule::Polymorphic(rule)), Some(reference)) => {
            rule.tables.iter().any(|(_, table)| *table == reference.table)
        }
        (
            Role::Reference(ReferenceRule::Conditional(_) | ReferenceRule::Polymorphic(_))
            | Role::Plain
            | Role::LocalKey
            | Role::LeftOut(_)
            | Role::Generated,
            None,
        ) => true,
        (Role::Plain | Role::LocalKey | Role::LeftOut(_) | Role::Generated, Some(_)) => false,
    };
    if !allowed {
        return Err(Hold::quarantine(format!(
            "the value of {}.{} is not what this node's map says of that column: the two ends' \
             maps differ",
            table.name, bound.name
        )));
    }
    match reference {
        Some(reference) => {
            check_identity(map, table_of(map, &reference.table)?, &reference.identity)
        }
        None => Ok(()),
    }
}
