//! A row of the local database in terms that mean the same everywhere: local keys become
//! identities, what the map leaves out stays. Pure: what is not known yet comes back as a
//! [`Need`], which the caller fetches before it asks again.

use std::collections::HashMap;
use std::sync::Arc;

use super::Error;
use super::identities::{Identities, TableNumber};
use crate::change::Identity;
use crate::record::{IdentityBytes, Malformed};
use crate::schema_map::{
    BoundIdentity, BoundMap, BoundTable, ConditionalRule, ReferenceRule, Role,
};
use crate::value::{Name, Reference, Value};

/// One row image, from the binary log or from a query.
pub(super) trait RowValues<'a> {
    /// The value of a column of the live table, by its place in it.
    fn value(&self, column: usize) -> Result<Value<'a>, Error>;
}

/// Something that has to be asked of the database before a row can be translated.
#[derive(Debug, Clone)]
pub(super) enum Need {
    /// The identity of the row of this table that has this local key.
    Identity { table: Name, local: i64 },
    /// What a conditional reference's deciding row says.
    Decision { rule: Arc<ConditionalRule>, local: i64 },
}

/// Why a row could not be translated now.
#[derive(Debug)]
pub(super) enum Pause {
    /// Fetch this, then translate the row again.
    Need(Need),
    /// The row cannot be read at all.
    Failed(Error),
}

impl From<Error> for Pause {
    fn from(error: Error) -> Pause {
        Pause::Failed(error)
    }
}

impl From<Malformed> for Pause {
    fn from(malformed: Malformed) -> Pause {
        Pause::Failed(malformed.into())
    }
}

/// Deciding rows of one table kept in mind.
const DECISIONS_MAX: usize = 100_000;
/// References inside of identities inside of references: binding refuses a circle, but what the index
/// keeps may stem from another map.
const NESTED_MAX: u8 = 16;

/// What a column's value stands for.
enum Meaning<'a, 't> {
    /// For itself.
    Value(Value<'a>),
    /// For the row of this table that has this local key.
    Row(&'t Name, i64),
}

/// What a deciding row says of a value.
enum Decided<'r> {
    /// It is the local key of a row of this table.
    Refers(&'r Name),
    /// It is what it is.
    Plain,
}

/// What the deciding rows of conditional references say: the table meant, if any. By deciding table,
/// since each row of one makes all of it doubtful.
#[derive(Debug, Default)]
pub(super) struct Decisions {
    known: HashMap<Name, HashMap<(Name, i64), Option<String>>>,
}

impl Decisions {
    pub(super) fn put(&mut self, rule: &ConditionalRule, local: i64, text: Option<String>) {
        let of_table = self.known.entry(rule.decider.clone()).or_default();
        if of_table.len() >= DECISIONS_MAX {
            of_table.clear();
        }
        of_table.insert((rule.column.clone(), local), text);
    }

    /// A row of this table changed: what it decided may have changed too.
    pub(super) fn forget(&mut self, decider: &str) {
        self.known.remove(decider);
    }

    fn decided<'r>(&self, rule: &'r ConditionalRule, local: i64) -> Option<Decided<'r>> {
        let decided = self.known.get(&rule.decider)?.get(&(rule.column.clone(), local))?;
        let table = decided
            .as_ref()
            .and_then(|text| rule.tables.iter().find(|(value, _)| value == text))
            .map(|(_, table)| table);
        Some(table.map_or(Decided::Plain, Decided::Refers))
    }
}

/// Everything a translation consults.
pub(super) struct Translator<'t> {
    pub(super) map: &'t BoundMap,
    pub(super) identities: &'t mut Identities,
    pub(super) decisions: &'t Decisions,
}

impl Translator<'_> {
    /// What the row is called everywhere; `None` if its identity is NULL, so that it has none yet.
    pub(super) fn identity<'a>(
        &mut self,
        table: &BoundTable,
        row: &impl RowValues<'a>,
    ) -> Result<Option<Identity<'a>>, Pause> {
        match &table.identity {
            BoundIdentity::Column(column) => {
                let value = row.value(*column)?;
                Ok((!value.is_null()).then_some(Identity::One(value)))
            }
            BoundIdentity::Borrowed { column, table: lender } => {
                match local_key(&row.value(*column)?) {
                    Some(local) => self.of_local(lender, local).map(Some),
                    None => Ok(None),
                }
            }
            BoundIdentity::Composite(columns) => {
                self.parts(table, columns, row).map(|parts| Some(Identity::Many(parts)))
            }
            BoundIdentity::WholeRow => self
                .parts(table, &table.identity_columns(), row)
                .map(|parts| Some(Identity::Many(parts))),
        }
    }

    fn parts<'a>(
        &mut self,
        table: &BoundTable,
        columns: &[usize],
        row: &impl RowValues<'a>,
    ) -> Result<Vec<Value<'a>>, Pause> {
        columns.iter().map(|column| self.value(table, *column, row)).collect()
    }

    /// What the row is called, as the index keeps it: a part that is another row by the local key of
    /// that, since the row may be renamed before this one is referred to.
    pub(super) fn kept<'a>(
        &mut self,
        table: &BoundTable,
        row: &impl RowValues<'a>,
    ) -> Result<Option<IdentityBytes>, Pause> {
        let columns = match &table.identity {
            BoundIdentity::Column(_) | BoundIdentity::Borrowed { .. } => {
                return Ok(self
                    .identity(table, row)?
                    .map(|identity| IdentityBytes::new(&identity)));
            }
            BoundIdentity::Composite(_) | BoundIdentity::WholeRow => table.identity_columns(),
        };
        let part = |column: &usize| {
            Ok(match self.meaning(table, *column, row)? {
                Meaning::Value(value) => value,
                Meaning::Row(target, local) => referring(target, Identity::Lost(local)),
            })
        };
        let parts = columns.iter().map(part).collect::<Result<_, Pause>>()?;
        Ok(Some(IdentityBytes::new(&Identity::Many(parts))))
    }

    /// The value of a column as it travels.
    pub(super) fn value<'a>(
        &mut self,
        table: &BoundTable,
        column: usize,
        row: &impl RowValues<'a>,
    ) -> Result<Value<'a>, Pause> {
        Ok(match self.meaning(table, column, row)? {
            Meaning::Value(value) => value,
            Meaning::Row(target, local) => referring(target, self.of_local(target, local)?),
        })
    }

    fn meaning<'a, 't>(
        &self,
        table: &'t BoundTable,
        column: usize,
        row: &impl RowValues<'a>,
    ) -> Result<Meaning<'a, 't>, Pause> {
        let value = row.value(column)?;
        let role = table.columns.get(column).map(|column| &column.role);
        let Some(Role::Reference(rule)) = role else { return Ok(Meaning::Value(value)) };
        if value.is_null() || ReferenceRule::is_no_row(&value) {
            return Ok(Meaning::Value(value));
        }
        let target = match rule {
            ReferenceRule::Always { table: target, .. } if is_natural(self.map, target) => {
                return Ok(Meaning::Value(referring(target, Identity::One(value))));
            }
            ReferenceRule::Always { table: target, .. } => Some(target),
            ReferenceRule::Conditional(rule) => {
                let (Some(_), Some(decider)) =
                    (local_key(&value), local_key(&row.value(rule.through)?))
                else {
                    return Ok(Meaning::Value(value));
                };
                match self.decisions.decided(rule, decider) {
                    Some(Decided::Refers(target)) => Some(target),
                    Some(Decided::Plain) => None,
                    None => {
                        let rule = Arc::clone(rule);
                        return Err(Pause::Need(Need::Decision { rule, local: decider }));
                    }
                }
            }
            ReferenceRule::Polymorphic(rule) => {
                let Value::Text(kind) = row.value(rule.kind)? else {
                    return Ok(Meaning::Value(value));
                };
                let named = rule.tables.iter().find(|(name, _)| **name == *kind);
                named.map(|(_, target)| target)
            }
        };
        Ok(match (target, local_key(&value)) {
            (Some(target), Some(local)) => Meaning::Row(target, local),
            (_, None) | (None, _) => Meaning::Value(value),
        })
    }

    fn of_local(&mut self, table: &Name, local: i64) -> Result<Identity<'static>, Pause> {
        self.within(table, local, NESTED_MAX)
    }

    fn within(
        &mut self,
        table: &Name,
        local: i64,
        depth_max: u8,
    ) -> Result<Identity<'static>, Pause> {
        let lender = lender(self.map, table);
        let number = self.identities.number(&lender);
        let Some(kept) = self.identities.get(number, local)? else {
            return Err(Pause::Need(Need::Identity { table: lender, local }));
        };
        let parts = match kept.identity()?.into_owned() {
            Identity::Many(parts) => parts,
            known @ (Identity::One(_) | Identity::Lost(_)) => return Ok(known),
        };
        let Some(depth_max) = depth_max.checked_sub(1) else { return Ok(Identity::Lost(local)) };
        let part = |part: Value<'static>| match part {
            Value::Reference(row) if matches!(row.identity, Identity::Lost(_)) => {
                let Reference { table, identity } = *row;
                let identity = match identity {
                    Identity::Lost(local) => self.within(&table, local, depth_max)?,
                    known @ (Identity::One(_) | Identity::Many(_)) => known,
                };
                Ok(Value::Reference(Box::new(Reference { table, identity })))
            }
            known => Ok(known),
        };
        parts.into_iter().map(part).collect::<Result<_, Pause>>().map(Identity::Many)
    }

    /// Whether the map leaves this row out.
    pub(super) fn left_out<'a>(
        table: &BoundTable,
        row: &impl RowValues<'a>,
    ) -> Result<bool, Error> {
        for condition in &table.rows_left_out {
            if condition.matches(&row.value(condition.column)?) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

fn referring<'a>(table: &Name, identity: Identity<'a>) -> Value<'a> {
    Value::Reference(Box::new(Reference { table: table.clone(), identity }))
}

/// The table whose rows lend this one their identities: itself unless its identity is borrowed.
pub(super) fn lender(map: &BoundMap, table: &Name) -> Name {
    let mut name = table.clone();
    // A chain of borrowers is no longer than the map, and binding refuses a circle.
    for _ in 0..map.tables.len() {
        match map.tables.get(&name).map(|table| &table.identity) {
            Some(BoundIdentity::Borrowed { table, .. }) => name = table.clone(),
            Some(
                BoundIdentity::Column(_) | BoundIdentity::Composite(_) | BoundIdentity::WholeRow,
            )
            | None => break,
        }
    }
    name
}

/// Whether what refers to this table holds its identity itself (`role.role`), not a local id.
pub(super) fn is_natural(map: &BoundMap, table: &Name) -> bool {
    map.tables.get(table).is_some_and(|table| match table.identity {
        BoundIdentity::Column(column) => table.local_key == Some(column),
        BoundIdentity::Borrowed { .. } | BoundIdentity::Composite(_) | BoundIdentity::WholeRow => {
            false
        }
    })
}

/// The table's number and the row's key, if the identity index keeps this table.
pub(super) fn indexed_key<'a>(
    table: &BoundTable,
    number: TableNumber,
    row: &impl RowValues<'a>,
) -> Result<Option<(TableNumber, i64)>, Error> {
    let borrowed = matches!(table.identity, BoundIdentity::Borrowed { .. });
    let natural =
        matches!(table.identity, BoundIdentity::Column(column) if table.local_key == Some(column));
    match table.local_key {
        Some(column) if table.referenced && !borrowed && !natural => {
            Ok(local_key(&row.value(column)?).map(|local| (number, local)))
        }
        Some(_) | None => Ok(None),
    }
}

/// A local key as a number; some columns hold it as text.
pub(super) fn local_key(value: &Value<'_>) -> Option<i64> {
    match value {
        Value::Int(number) => Some(*number),
        Value::UInt(number) => i64::try_from(*number).ok(),
        Value::Text(text) if text.bytes().all(|byte| byte.is_ascii_digit()) => text.parse().ok(),
        Value::Null
        | Value::Text(_)
        | Value::Float(_)
        | Value::Double(_)
        | Value::Decimal(_)
        | Value::Encoded { .. }
        | Value::Bytes(_)
        | Value::Temporal(_)
        | Value::Json(_)
        | Value::Reference(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_deciding_rows_say_is_not_kept_without_end() {
        let rule = ConditionalRule {
            through: 0,
            decider: "kind".into(),
            column: "format".into(),
            tables: Vec::new(),
        };
        let mut decisions = Decisions::default();
        for local in 0..i64::try_from(3 * DECISIONS_MAX).unwrap() {
            decisions.put(&rule, local, None);
            assert!(decisions.decided(&rule, local).is_some());
        }
        assert!(decisions.known.values().all(|known| known.len() <= DECISIONS_MAX));
        decisions.forget("kind");
        assert!(decisions.decided(&rule, 3 * 100_000 - 1).is_none());
    }

    #[test]
    fn only_digits_are_a_local_key() {
        assert_eq!(local_key(&Value::Text("12".into())), Some(12));
        assert_eq!(local_key(&Value::Text("12a".into())), None);
        assert_eq!(local_key(&Value::Text("".into())), None);
        assert_eq!(local_key(&Value::UInt(u64::MAX)), None);
    }
}
