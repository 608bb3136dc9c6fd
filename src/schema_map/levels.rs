//! Orders tables so that what is referred to is written first, and breaks the cycles in which
//! that is impossible by deferring references.
//!
//! Every node must decide alike, so nothing here depends on the order of a hash.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::bind::Drafts;
use super::{BoundTable, Problem, ReferenceRule, Role};
use crate::value::Name;

/// Sets `deferred` on references and `level` on tables.
pub(super) fn arrange(drafts: &mut Drafts) -> Vec<Problem> {
    let mut problems = defer_self_references(drafts);
    loop {
        let graph = hard_references(drafts);
        let Some(cycle) = cycles(&graph).into_iter().find(|cycle| cycle.len() > 1) else { break };
        let Some(chosen) = cheapest(drafts, &cycle) else {
            let names = cycle.iter().map(AsRef::as_ref).collect::<Vec<_>>().join(", ");
            for table in &cycle {
                let message = format!(
                    "the identities of {names} depend on each other in a circle; give one of them \
                     an identity of its own"
                );
                problems.push(Problem::new(table, true, message));
                drafts.remove(table);
            }
            continue;
        };
        defer(drafts, &chosen, &cycle);
    }
    set_levels(drafts);
    problems
}

/// A row may refer to one of its own table that comes later.
fn defer_self_references(drafts: &mut Drafts) -> Vec<Problem> {
    let mut problems = Vec::new();
    for table in drafts.values_mut() {
        let name = Arc::clone(&table.name);
        let identity = table.identity_columns();
        for (index, column) in table.columns.iter_mut().enumerate() {
            let Role::Reference(ReferenceRule::Always { table: target, deferred }) =
                &mut column.role
            else {
                continue;
            };
            if *target != name {
                continue;
            }
            *deferred = true;
            if identity.contains(&index) {
                let message = format!(
                    "its identity includes {}, which refers to its own rows; give it another identity",
                    column.name
                );
                problems.push(Problem::new(&name, true, message));
            }
        }
    }
    problems
}

type Graph = BTreeMap<Name, BTreeSet<Name>>;

/// The references that must be resolved before a row can be inserted.
fn hard_references(drafts: &Drafts) -> Graph {
    let hard = |table: &BoundTable| {
        let targets = table.columns.iter().filter_map(|column| hard_target(&column.role));
        targets.cloned().collect::<BTreeSet<_>>()
    };
    drafts.iter().map(|(name, table)| (Arc::clone(name), hard(table))).collect()
}

fn hard_target(role: &Role) -> Option<&Name> {
    match role {
        Role::Reference(ReferenceRule::Always { table, deferred: false }) => Some(table),
        Role::Reference(_) | Role::Plain | Role::LocalKey | Role::LeftOut(_) | Role::Generated => {
            None
        }
    }
}

/// The table of a cycle whose references into it are deferred at the least cost: no part of an
/// identity among them, as few as possible that may not be NULL, as few as possible at all.
fn cheapest(drafts: &Drafts, cycle: &BTreeSet<Name>) -> Option<Name> {
    let candidates = cycle.iter().filter_map(|name| drafts.get(name)).filter_map(|table| {
        let identity = table.identity_columns();
        let inside: Vec<usize> = inside(table, cycle).collect();
        let free = inside.iter().filter(|index| !identity.contains(index)).count();
        let required = inside
            .iter()
            .filter_map(|index| table.columns.get(*index))
            .filter(|column| !column.live.nullable)
            .count();
        (free > 0).then_some((inside.len() - free, required, inside.len(), &table.name))
    });
    candidates.min().map(|(.., name)| Arc::clone(name))
}

/// The columns of a table that must be resolved first and lead into the cycle.
fn inside<'a>(
    table: &'a BoundTable,
    cycle: &'a BTreeSet<Name>,
) -> impl Iterator<Item = usize> + 'a {
    table.columns.iter().enumerate().filter_map(|(index, column)| {
        hard_target(&column.role).is_some_and(|target| cycle.contains(target)).then_some(index)
    })
}

fn defer(drafts: &mut Drafts, name: &Name, cycle: &BTreeSet<Name>) {
    let Some(table) = drafts.get_mut(name) else { return };
    let identity = table.identity_columns();
    let chosen: Vec<usize> =
        inside(table, cycle).filter(|index| !identity.contains(index)).collect();
    for index in chosen {
        if let Some(column) = table.columns.get_mut(index)
            && let Role::Reference(ReferenceRule::Always { deferred, .. }) = &mut column.role
        {
            *deferred = true;
        }
    }
}

/// One more than the highest level referred to. What is only sometimes a reference counts too,
/// except where it would close a cycle.
fn set_levels(drafts: &mut Drafts) {
    let hard = hard_references(drafts);
    let mut all = hard.clone();
    for (name, targets) in &mut all {
        targets.extend(drafts.get(name).into_iter().flat_map(soft_targets));
    }
    for cycle in cycles(&all) {
        for name in &cycle {
            if let (Some(targets), Some(hard)) = (all.get_mut(name), hard.get(name)) {
                targets.retain(|target| !cycle.contains(target) || hard.contains(target));
            }
        }
    }
    let mut levels = BTreeMap::new();
    for name in all.keys() {
        level(name, &all, &mut levels);
    }
    for (name, table) in drafts {
        table.level = levels.get(name).copied().unwrap_or(0);
    }
}

fn soft_targets(table: &BoundTable) -> impl Iterator<Item = Name> + '_ {
    table.columns.iter().flat_map(|column| match &column.role {
        Role::Reference(rule @ (ReferenceRule::Conditional(_) | ReferenceRule::Polymorphic(_))) => {
            rule.targets().into_iter().cloned().collect()
        }
        Role::Reference(ReferenceRule::Always { .. })
        | Role::Plain
        | Role::LocalKey
        | Role::LeftOut(_)
        | Role::Generated => Vec::new(),
    })
}

/// The longest way down from a table. The graph has no cycles any more; a table on the way to
/// itself would count as 0.
fn level(name: &Name, graph: &Graph, levels: &mut BTreeMap<Name, u32>) -> u32 {
    if let Some(known) = levels.get(name) {
        return *known;
    }
    levels.insert(Arc::clone(name), 0);
    let targets = graph.get(name).into_iter().flatten().filter(|target| *target != name);
    let found = targets.map(|target| level(target, graph, levels) + 1).max().unwrap_or(0);
    levels.insert(Arc::clone(name), found);
    found
}

/// Groups of tables each of which leads to every other of its group. What can be reached is only
/// compared for tables that have something before and behind them: few, even among thousands.
fn cycles(graph: &Graph) -> Vec<BTreeSet<Name>> {
    let graph = &between(graph);
    let reach: BTreeMap<&Name, BTreeSet<&Name>> =
        graph.keys().map(|name| (name, reachable(name, graph))).collect();
    let mut seen: BTreeSet<&Name> = BTreeSet::new();
    let mut groups = Vec::new();
    for (name, ahead) in &reach {
        if seen.contains(*name) || !ahead.contains(*name) {
            continue;
        }
        let back = |other: &&&Name| reach.get(**other).is_some_and(|from| from.contains(*name));
        let group: BTreeSet<&Name> = ahead.iter().filter(back).copied().collect();
        seen.extend(&group);
        groups.push(group.into_iter().cloned().collect());
    }
    groups
}

/// The part of a graph in which every table refers to another and is referred to: the cycles, and
/// what lies between them.
fn between(graph: &Graph) -> Graph {
    let mut part = graph.clone();
    loop {
        let before = part.len();
        let names: BTreeSet<Name> = part.keys().cloned().collect();
        let referred: BTreeSet<Name> = part.values().flatten().cloned().collect();
        part.retain(|name, targets| {
            targets.retain(|target| names.contains(target));
            !targets.is_empty() && referred.contains(name)
        });
        if part.len() == before {
            return part;
        }
    }
}

fn reachable<'a>(start: &'a Name, graph: &'a Graph) -> BTreeSet<&'a Name> {
    let mut found = BTreeSet::new();
    let mut open: Vec<&Name> = graph.get(start).into_iter().flatten().collect();
    while let Some(name) = open.pop() {
        if found.insert(name) {
            open.extend(graph.get(name).into_iter().flatten());
        }
    }
    found
}
