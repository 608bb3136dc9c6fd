//! From identities to local keys, by set. Every row found stays locked until the transaction
//! ends, so a row about to be referred to cannot go meanwhile, although foreign key checks are
//! off.

use std::collections::{BTreeMap, HashMap, HashSet};

use foldhash::fast::RandomState;
use mysql_async::{Row as Returned, Value as Param};

use super::cell;
use super::error::Failure;
use super::plan::{ByRow, RowName};
use super::session::Session;
use super::statement;
use crate::change::Identity;
use crate::schema_map::{BoundIdentity, BoundMap, BoundTable};
use crate::value::Value;

/// A table of which more rows are looked for has a statement of its own.
const TOGETHER_KEYS_MAX: usize = 64;
/// Tables in one statement.
const TOGETHER_TABLES_MAX: usize = 24;

/// Where a row is in the target.
#[derive(Debug, Clone)]
pub(super) struct Located {
    /// What other tables hold when they refer to it.
    pub(super) local: Param,
    /// The values of [`address_columns`].
    pub(super) address: Vec<Param>,
    /// It is called so only because the target's collation ignores case, or trailing blanks.
    pub(super) folded: bool,
}

/// What is known of a row.
#[derive(Debug, Clone)]
pub(super) enum Slot {
    Missing,
    /// Two rows bear the same identity.
    Ambiguous,
    At(Located),
}

/// The columns a row is updated and deleted by.
pub(super) fn address_columns(table: &BoundTable) -> Vec<usize> {
    if statement::by_key(table) { table.primary_key.clone() } else { table.identity_columns() }
}

/// The rows located in this transaction. Bounded by the chunk of changes that mention them.
#[derive(Debug, Default)]
pub(super) struct Known<'c, 's> {
    slots: ByRow<'c, 's, Slot>,
}

/// Rows still to be located, by table.
#[derive(Debug, Default)]
pub(super) struct Needs<'c, 's> {
    tables: BTreeMap<&'c str, TableNeeds<'c, 's>>,
}

#[derive(Debug)]
struct TableNeeds<'c, 's> {
    table: &'c BoundTable,
    write: bool,
    names: HashSet<&'c Identity<'s>, RandomState>,
}

impl<'c, 's> Known<'c, 's> {
    pub(super) fn get(&self, name: &RowName<'c, 's>) -> Option<&Slot> {
        self.slots.get(name)
    }

    pub(super) fn located(&self, name: &RowName<'c, 's>) -> Option<&Located> {
        match self.slots.get(name) {
            Some(Slot::At(located)) => Some(located),
            Some(Slot::Missing | Slot::Ambiguous) | None => None,
        }
    }

    pub(super) fn put(&mut self, name: RowName<'c, 's>, slot: Slot) {
        self.slots.insert(name, slot);
    }

    pub(super) fn forget(&mut self, name: &RowName<'c, 's>) {
        self.slots.remove(name);
    }

    /// The rows that were found only because the target's collation ignores case.
    pub(super) fn folded(&self) -> Vec<RowName<'c, 's>> {
        let folded = |slot: &Slot| matches!(slot, Slot::At(located) if located.folded);
        self.slots.iter().filter(|(_, slot)| folded(slot)).map(|(name, _)| *name).collect()
    }

    /// Takes rows for missing, and what rests on them.
    pub(super) fn miss(&mut self, map: &'c BoundMap, mut rows: Vec<RowName<'c, 's>>) {
        while let Some(row) = rows.pop() {
            self.slots.insert(row, Slot::Missing);
            let rests = |name: &RowName<'c, 's>| {
                map.tables
                    .get(name.table)
                    .is_some_and(|table| prerequisites(map, table, name.identity).contains(&row))
            };
            let found = self.slots.iter().filter(|(_, slot)| !matches!(slot, Slot::Missing));
            rows.extend(
                found.map(|(name, _)| *name).filter(|name| rests(name)).collect::<Vec<_>>(),
            );
        }
    }

    /// Forgets everything: after a rollback, or after deletes that may have cascaded.
    pub(super) fn clear(&mut self) {
        self.slots.clear();
    }

    /// What was missing may have been written by the run that just ended.
    pub(super) fn forget_missing(&mut self) {
        self.slots.retain(|_, slot| matches!(slot, Slot::At(_)));
    }

    /// Adds a row, and every row that its identity rests on, to what has to be located.
    pub(super) fn want(
        &self,
        needs: &mut Needs<'c, 's>,
        map: &'c BoundMap,
        table: &'c BoundTable,
        identity: &'c Identity<'s>,
        write: bool,
    ) {
        let name = RowName { table: &table.name, identity };
        if self.slots.contains_key(&name) {
            return;
        }
        if !matches!(table.identity, BoundIdentity::WholeRow) {
            let entry = needs.tables.entry(&table.name).or_insert_with(|| TableNeeds {
                table,
                write: false,
                names: HashSet::default(),
            });
            entry.write |= write;
            if !entry.names.insert(identity) {
                return;
            }
        }
        for rest in prerequisites(map, table, identity) {
            if let Some(table) = map.tables.get(rest.table) {
                self.want(needs, map, table, rest.identity, false);
            }
        }
    }

    /// Locates what is needed, those first that others rest on.
    pub(super) async fn resolve(
        &mut self,
        session: &mut Session,
        map: &'c BoundMap,
        mut needs: Needs<'c, 's>,
    ) -> Result<(), Failure> {
        loop {
            let mut progress = false;
            let mut together = Vec::new();
            for need in needs.tables.values_mut() {
                let mut ready = Vec::new();
                need.names.retain(|identity| {
                    match self.key(map, need.table, identity) {
                        Key::Later => return true,
                        Key::Never => {
                            let name = RowName { table: &need.table.name, identity };
                            self.slots.insert(name, Slot::Missing);
                        }
                        Key::Params(params) => ready.push((*identity, params)),
                    }
                    progress = true;
                    false
                });
                // In the order of their keys, so that two sessions lock rows in the same order.
                ready.sort_by(|a, b| a.0.cmp(b.0));
                if ready.is_empty() {
                    continue;
                }
                if ready.len() <= TOGETHER_KEYS_MAX && statement::can_stand_together(need.table) {
                    together.push(Ready { table: need.table, write: need.write, keys: ready });
                } else {
                    self.look_up(session, need.table, need.write, &ready).await?;
                }
            }
            self.look_up_together(session, together).await?;
            if !progress {
                break;
            }
        }
        Ok(())
    }

    /// A few rows of each of several tables, in one statement: an encounter refers to a dozen
    /// tables, and on a far database each statement is a round trip.
    async fn look_up_together(
        &mut self,
        session: &mut Session,
        ready: Vec<Ready<'c, 's>>,
    ) -> Result<(), Failure> {
        for some in ready.chunks(TOGETHER_TABLES_MAX) {
            if let [only] = some {
                self.look_up(session, only.table, only.write, &only.keys).await?;
                continue;
            }
            let mut sql = String::new();
            let mut params = Vec::new();
            for (number, ready) in some.iter().enumerate() {
                let padded = statement::padded(ready.keys.len());
                sql.push_str(if number == 0 { "(" } else { " UNION ALL (" });
                sql.push_str(&statement::arm(number, ready.table, padded, ready.write));
                sql.push(')');
                pad(&mut params, &ready.keys, padded);
            }
            let mut returned: Vec<Vec<Vec<Param>>> = vec![Vec::new(); some.len()];
            for row in session.rows(&sql, params).await? {
                let mut values = row.unwrap().into_iter();
                let number = values.next().map(super::state::number);
                let number = number.and_then(|number| usize::try_from(number).ok());
                let rest: Vec<Param> = values.collect();
                // The local key stands once: it is the address too.
                let rest = rest.iter().chain(rest.last()).cloned().collect();
                if let Some(rows) = number.and_then(|number| returned.get_mut(number)) {
                    rows.push(rest);
                }
            }
            for (ready, rows) in some.iter().zip(returned) {
                self.match_up(ready.table, &ready.keys, rows);
            }
        }
        Ok(())
    }

    async fn look_up(
        &mut self,
        session: &mut Session,
        table: &'c BoundTable,
        write: bool,
        wanted: &[(&'c Identity<'s>, Vec<Param>)],
    ) -> Result<(), Failure> {
        let most = match table.identity {
            BoundIdentity::Composite(_) => 64,
            BoundIdentity::Column(_) | BoundIdentity::Borrowed { .. } | BoundIdentity::WholeRow => {
                statement::KEYS_MAX
            }
        };
        let mut more = address_columns(table);
        if let Some(key) = table.local_key {
            more.push(key);
        }
        for piece in wanted.chunks(most) {
            let padded = statement::padded(piece.len());
            let sql = statement::lookup(table, &more, padded, write);
            let mut params: Vec<Param> = Vec::with_capacity(padded);
            pad(&mut params, piece, padded);
            let returned = session.rows(&sql, params).await?;
            self.match_up(table, piece, returned.into_iter().map(Returned::unwrap).collect());
        }
        Ok(())
    }

    /// Exact matches first; then, since the target's collation may ignore case, the one row that
    /// differs in case alone, unless that row has another of these names exactly.
    fn match_up(
        &mut self,
        table: &'c BoundTable,
        piece: &[(&'c Identity<'s>, Vec<Param>)],
        returned: Vec<Vec<Param>>,
    ) {
        let parts = table.identity_columns().len();
        // A UUID or an address is the same in any letters.
        let spelt = table
            .identity_columns()
            .into_iter()
            .any(|column| table.columns.get(column).is_some_and(cell::is_text));
        let addresses = address_columns(table).len();
        let mut exact: HashMap<Vec<u8>, Option<usize>> = HashMap::new();
        let mut folded: HashMap<Vec<u8>, Option<usize>> = HashMap::new();
        let wanted: HashSet<Vec<u8>> = piece.iter().map(|(_, key)| joined(key, false)).collect();
        let mut found = Vec::with_capacity(returned.len());
        for values in returned {
            let number = found.len();
            let (key, rest) = values.split_at(parts.min(values.len()));
            let bytes = joined(key, false);
            let is_exact = wanted.contains(&bytes);
            let (map, bytes) =
                if is_exact { (&mut exact, bytes) } else { (&mut folded, joined(key, true)) };
            map.entry(bytes).and_modify(|slot| *slot = None).or_insert(Some(number));
            found.push(Located {
                folded: spelt && !is_exact,
                address: rest.iter().take(addresses).cloned().collect(),
                local: if table.local_key.is_some() {
                    rest.get(addresses).cloned().unwrap_or(Param::NULL)
                } else {
                    Param::NULL
                },
            });
        }
        for (identity, key) in piece {
            let hit = exact.get(&joined(key, false)).or_else(|| folded.get(&joined(key, true)));
            let slot = match hit {
                None => Slot::Missing,
                Some(None) => Slot::Ambiguous,
                Some(Some(number)) => match found.get(*number) {
                    Some(located) => Slot::At(located.clone()),
                    None => Slot::Missing,
                },
            };
            self.slots.insert(RowName { table: &table.name, identity }, slot);
        }
    }

    /// The parameters a row is looked up by.
    fn key(&self, map: &'c BoundMap, table: &'c BoundTable, identity: &'c Identity<'s>) -> Key {
        for rest in prerequisites(map, table, identity) {
            match self.slots.get(&rest) {
                None => return Key::Later,
                Some(Slot::Missing | Slot::Ambiguous) => return Key::Never,
                Some(Slot::At(_)) => {}
            }
        }
        match self.identity_params(map, table, identity) {
            Some(params) => Key::Params(params),
            None => Key::Never,
        }
    }

    /// The target's values of a table's identity columns for an identity whose references are all
    /// located; `None` if they are not, or cannot be values of these columns.
    pub(super) fn identity_params(
        &self,
        map: &'c BoundMap,
        table: &'c BoundTable,
        identity: &'c Identity<'s>,
    ) -> Option<Vec<Param>> {
        if let BoundIdentity::Borrowed { table: lender, .. } = &table.identity {
            let lender = map.tables.get(lender)?;
            let located = self.located(&RowName { table: &lender.name, identity })?;
            return Some(vec![located.local.clone()]);
        }
        let values: &'c [Value<'s>] = match identity {
            Identity::One(value) => std::slice::from_ref(value),
            Identity::Many(values) => values,
            Identity::Lost(_) => return None,
        };
        let columns = table.identity_columns();
        let mut params = Vec::with_capacity(values.len());
        for (column, value) in columns.into_iter().zip(values) {
            let bound = table.columns.get(column)?;
            params.push(if let Value::Reference(reference) = value {
                let name = RowName { table: &reference.table, identity: &reference.identity };
                self.located(&name)?.local.clone()
            } else {
                let param = cell::cell(column, bound, value).ok()?.param;
                // Always of one type, as the prepared statement takes it; see `Form`.
                if cell::is_text(bound) && param != Param::NULL {
                    Param::Bytes(cell::comparable(&param))
                } else {
                    param
                }
            });
        }
        Some(params)
    }
}

/// Rows of one table that can be looked up now, with their keys.
struct Ready<'c, 's> {
    table: &'c BoundTable,
    write: bool,
    keys: Vec<(&'c Identity<'s>, Vec<Param>)>,
}

/// The keys' parameters, the last one repeated up to `padded` keys.
fn pad(params: &mut Vec<Param>, keys: &[(&Identity<'_>, Vec<Param>)], padded: usize) {
    let last = keys.len().saturating_sub(1);
    for number in 0..padded {
        if let Some((_, key)) = keys.get(number.min(last)) {
            params.extend(key.iter().cloned());
        }
    }
}

enum Key {
    /// Rows it rests on are not located yet.
    Later,
    /// A row it rests on is not here, so it is not either.
    Never,
    Params(Vec<Param>),
}

/// The rows that have to be located before a row can be.
fn prerequisites<'c, 's>(
    map: &'c BoundMap,
    table: &'c BoundTable,
    identity: &'c Identity<'s>,
) -> Vec<RowName<'c, 's>> {
    if let BoundIdentity::Borrowed { table: lender, .. } = &table.identity {
        return map
            .tables
            .get(lender)
            .map(|lender| RowName { table: &lender.name, identity })
            .into_iter()
            .collect();
    }
    let values: &'c [Value<'s>] = match identity {
        Identity::One(value) => std::slice::from_ref(value),
        Identity::Many(values) => values,
        Identity::Lost(_) => &[],
    };
    values
        .iter()
        .filter_map(|value| {
            let Value::Reference(reference) = value else { return None };
            Some(RowName { table: &reference.table, identity: &reference.identity })
        })
        .collect()
}

/// Key values as one run of bytes, each with its length in front.
fn joined(key: &[Param], fold_case: bool) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(48);
    for param in key {
        if matches!(param, Param::NULL) {
            bytes.extend_from_slice(&u64::MAX.to_le_bytes());
            continue;
        }
        let mut part = cell::comparable(param);
        if fold_case && let Ok(text) = std::str::from_utf8(&part) {
            part = text.trim_end_matches(' ').to_lowercase().into_bytes();
        }
        bytes.extend_from_slice(&(part.len() as u64).to_le_bytes());
        bytes.extend_from_slice(&part);
    }
    bytes
}
