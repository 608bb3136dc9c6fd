//! Holds a map file against a live database: the one place where a [`BoundMap`] comes from.
//!
//! Each table is bound by itself ([`super::roles`]); then what cannot travel takes along what
//! refers to it, since a reference to a row that never goes can never be resolved.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::file::{MapFile, TableRule};
use super::roles::Binder;
use super::{BoundMap, BoundTable, Direction, Problem, ReferenceRule, Role, levels};
use crate::database::schema::LiveSchema;
use crate::value::{Name, Value};

/// Tables while they are being bound, in the order of their names so that every node decides alike.
pub(super) type Drafts = BTreeMap<Name, BoundTable>;

impl BoundMap {
    /// Holds a map against the tables of a database.
    ///
    /// A table whose class goes no way is in [`BoundMap::tables`] only if a table that travels
    /// refers to it: its rows stay, but must be known by identity.
    pub fn bind(map: &MapFile, schema: &LiveSchema) -> BoundMap {
        let binder = Binder::new(map, schema);
        let mut drafts = Drafts::new();
        let mut problems = Vec::new();
        let mut left_out = Vec::new();
        for (name, rule) in &map.tables {
            let Some(live) = schema.tables.get(name) else { continue };
            match rule {
                TableRule::Excluded(reason) => left_out.push((Arc::clone(name), reason.clone())),
                TableRule::Mapped(rule) => {
                    let (table, found) = binder.table(rule, live);
                    drafts.insert(Arc::clone(name), table);
                    problems.extend(found);
                }
            }
        }
        drop_idle(&mut drafts, &mut left_out, map);
        problems.retain(|problem| drafts.contains_key(&problem.table));
        drop_fatal(&mut drafts, &mut problems);
        problems.extend(levels::arrange(&mut drafts));
        drop_fatal(&mut drafts, &mut problems);
        mark_referenced(&mut drafts);
        mark_reaching(&mut drafts, schema);
        mark_followed(&mut drafts, schema);

        let unmapped =
            schema.tables.keys().filter(|name| !map.tables.contains_key(*name)).cloned().collect();
        let tables: HashMap<_, _> =
            drafts.into_iter().map(|(name, table)| (name, Arc::new(table))).collect();
        BoundMap { tables, digest: map.digest(), unmapped, left_out, problems }
    }
}

impl BoundTable {
    /// The tables that a column may refer to.
    pub fn targets(&self, column: usize) -> Vec<&Name> {
        match self.columns.get(column).map(|column| &column.role) {
            Some(Role::Reference(rule)) => rule.targets(),
            Some(Role::Plain | Role::LocalKey | Role::LeftOut(_) | Role::Generated) | None => {
                Vec::new()
            }
        }
    }

    /// Every table that one of its columns may refer to, its own included.
    pub fn all_targets(&self) -> impl Iterator<Item = &Name> {
        (0..self.columns.len()).flat_map(|column| self.targets(column))
    }
}

impl ReferenceRule {
    /// Whether a local key stands for no row at all, although it is not NULL: 0, which no key that
    /// the server counts ever is. Applications write it where a column without a foreign key may
    /// not be NULL. It travels as the number it is.
    pub fn is_no_row(local: &Value<'_>) -> bool {
        matches!(local, Value::Int(0) | Value::UInt(0))
    }

    /// The tables it may lead to.
    pub fn targets(&self) -> Vec<&Name> {
        match self {
            ReferenceRule::Always { table, .. } => vec![table],
            ReferenceRule::Conditional(rule) => {
                rule.tables.iter().map(|(_, table)| table).collect()
            }
            ReferenceRule::Polymorphic(rule) => {
                rule.tables.iter().map(|(_, table)| table).collect()
            }
        }
    }
}

/// Leaves out the tables whose class goes no way and which nothing that travels refers to.
fn drop_idle(drafts: &mut Drafts, left_out: &mut Vec<(Name, String)>, map: &MapFile) {
    let mut needed: BTreeSet<Name> = BTreeSet::new();
    let mut open: Vec<Name> = drafts
        .values()
        .filter(|table| table.direction != Direction::None)
        .map(|table| Arc::clone(&table.name))
        .collect();
    while let Some(name) = open.pop() {
        if needed.insert(Arc::clone(&name))
            && let Some(table) = drafts.get(&name)
        {
            open.extend(identity_or_all(table));
        }
    }
    drafts.retain(|name, table| {
        let keep = needed.contains(name);
        if !keep {
            debug_assert_eq!(map.direction(&table.class), Direction::None, "only idle tables go");
            let reason = format!("class {} goes no way", table.class);
            left_out.push((Arc::clone(name), reason));
        }
        keep
    });
}

/// What a table needs of others: all it refers to if it travels, else what its identity needs.
fn identity_or_all(table: &BoundTable) -> Vec<Name> {
    if table.direction != Direction::None {
        return table.all_targets().cloned().collect();
    }
    table.identity_columns().into_iter().flat_map(|column| table.targets(column)).cloned().collect()
}

/// Removes the tables with a fatal problem, and those that refer to them.
fn drop_fatal(drafts: &mut Drafts, problems: &mut Vec<Problem>) {
    for problem in problems.iter().filter(|problem| problem.fatal) {
        drafts.remove(&problem.table);
    }
    loop {
        let stuck: Vec<Problem> = drafts
            .values()
            .filter_map(|table| {
                let needs = identity_or_all(table);
                let missing = needs.iter().find(|target| !drafts.contains_key(*target))?;
                let message =
                    format!("it refers to {missing}, which cannot travel; mend {missing} first");
                Some(Problem::new(&table.name, true, message))
            })
            .collect();
        if stuck.is_empty() {
            return;
        }
        for problem in stuck {
            drafts.remove(&problem.table);
            problems.push(problem);
        }
    }
}

fn mark_referenced(drafts: &mut Drafts) {
    let referenced: BTreeSet<Name> =
        drafts.values().flat_map(BoundTable::all_targets).cloned().collect();
    for (name, table) in drafts {
        table.referenced = referenced.contains(name);
    }
}

/// Foreign keys of tables that are not mapped count as well: what they take along may take others.
fn mark_reaching(drafts: &mut Drafts, schema: &LiveSchema) {
    let keys = schema.tables.values().flat_map(|live| &live.foreign_keys);
    for key in keys.filter(|key| !key.only_refuses_deletes()) {
        for (name, table) in &mut *drafts {
            table.delete_reaches |= name.eq_ignore_ascii_case(&key.table);
        }
    }
}

/// So do those whose column is what a plain column refers to. What is part of an identity is
/// written as a row's new name is.
fn mark_followed(drafts: &mut Drafts, schema: &LiveSchema) {
    let keys = schema.tables.values().flat_map(|live| &live.foreign_keys);
    for key in keys.filter(|key| key.follows_updates()) {
        let Some(table) = drafts.get_mut(&key.table) else { continue };
        let identity = table.identity_columns();
        let columns = key.referenced.iter().filter_map(|name| table.column(name));
        let columns: Vec<usize> = columns.filter(|column| !identity.contains(column)).collect();
        table.followed.extend(columns);
    }
    for table in drafts.values_mut() {
        table.followed.sort_unstable();
        table.followed.dedup();
    }
}
