//! Writes one planned run by set: rows located, inserts and updates by level with foreign key
//! checks off, references that close a cycle in a second step, deletes last with checks on.

mod cells;
mod delete;
mod insert;
mod update;

use std::collections::HashMap;

use mysql_async::Value as Param;

use super::cell::Cell;
use super::error::{Failure, Hold, State};
use super::held::{self, Chain};
use super::plan::{Net, Plan, Row, RowName, RowSet, row_hash};
use super::resolve::{Known, Needs, Slot};
use super::session::Session;
use super::state::Names;
use crate::change::{Identity, NodeId};
use crate::schema_map::{BoundIdentity, BoundMap, BoundTable};
use crate::value::{Reference, Value};
use cells::reference_param;

/// A statement of more bytes than this is split, whatever the server allows.
const STATEMENT_BYTES_MAX: usize = 8 << 20;

/// What became of a run.
#[derive(Debug, Default)]
pub(super) struct Outcome<'c, 's> {
    /// Changes set aside, by their number in the run.
    pub(super) holds: Vec<(usize, Hold)>,
    /// Rows that were written.
    pub(super) written: Vec<(RowName<'c, 's>, Net)>,
    /// Deleted rows whose earlier changes wait, and need not any more.
    pub(super) dissolved: Vec<u64>,
}

/// What of the same node waits already.
pub(super) struct Waiting<'w> {
    pub(super) names: &'w Names,
    pub(super) node: NodeId,
    /// Whether any change is set aside.
    pub(super) any: bool,
    /// The rows of this chunk that have changes waiting.
    pub(super) blocked: &'w HashMap<u64, Chain>,
}

/// Writes a run. On failure the caller rolls back what was written of it and forgets `known`.
pub(super) async fn execute<'c, 's>(
    session: &mut Session,
    map: &'c BoundMap,
    known: &mut Known<'c, 's>,
    plan: Plan<'c, 's>,
    waiting: Waiting<'_>,
) -> Result<Outcome<'c, 's>, Failure> {
    let mut writer = Writer {
        session,
        map,
        known,
        pending: RowSet::default(),
        referred_to: RowSet::default(),
        fixups: Vec::new(),
        stand_ins: HashMap::new(),
        moot: RowSet::default(),
        misspelt: RowSet::default(),
        reached: false,
        outcome: Outcome { holds: plan.aside, written: Vec::new(), dissolved: Vec::new() },
    };
    let rows = writer.without_blocked(plan.rows, waiting.blocked);
    writer.locate(&rows, &waiting).await?;
    let mut start = 0;
    while let Some(first) = rows.get(start) {
        let rest = rows.get(start..).unwrap_or_default();
        let count = rest.iter().take_while(|row| row.table.name == first.table.name).count();
        writer.write_table(rest.get(..count).unwrap_or_default()).await?;
        start += count;
    }
    writer.fix_up().await?;
    writer.delete(&rows).await?;
    if writer.reached {
        writer.known.clear();
    } else {
        writer.known.forget_missing();
    }
    Ok(writer.outcome)
}

/// A reference that is filled in once the row it points at is there.
struct Fixup<'c, 's> {
    row: RowName<'c, 's>,
    table: &'c BoundTable,
    column: usize,
    target: RowName<'c, 's>,
}

struct Writer<'r, 'c, 's> {
    session: &'r mut Session,
    map: &'c BoundMap,
    known: &'r mut Known<'c, 's>,
    /// Rows that this run inserts and has not inserted yet.
    pending: RowSet<'c, 's>,
    /// Rows that some row of this run refers to.
    referred_to: RowSet<'c, 's>,
    fixups: Vec<Fixup<'c, 's>>,
    /// For each table, some row that a NOT NULL reference may point at for a moment.
    stand_ins: HashMap<&'c str, Param>,
    /// Rows to be deleted whose earlier changes wait.
    moot: RowSet<'c, 's>,
    /// Rows of this run that are here under another spelling only.
    misspelt: RowSet<'c, 's>,
    /// The server may have written other rows than this run's.
    reached: bool,
    outcome: Outcome<'c, 's>,
}

impl<'c, 's> Writer<'_, 'c, 's> {
    /// Sets aside the rows that have earlier changes waiting. A delete does not wait: whatever
    /// those would have made of the row, it ends the same way. Unless they change what the row is
    /// called, for then it may be here under another name; or the table has no key, for then they
    /// may be about another row that looks the same.
    fn without_blocked(
        &mut self,
        rows: Vec<Row<'c, 's>>,
        blocked: &HashMap<u64, Chain>,
    ) -> Vec<Row<'c, 's>> {
        if blocked.is_empty() {
            return rows;
        }
        let mut free = Vec::with_capacity(rows.len());
        for row in rows {
            let identities = [Some(row.identity), row.previous];
            let chain = identities
                .into_iter()
                .flatten()
                .find_map(|identity| blocked.get(&row_hash(&row.table.name, identity)));
            let Some(chain) = chain else {
                free.push(row);
                continue;
            };
            let keyed = !matches!(row.table.identity, BoundIdentity::WholeRow);
            if row.net == Net::Delete && keyed && !chain.renames {
                self.moot.insert(row.name());
                free.push(row);
                continue;
            }
            for item in &row.items {
                self.outcome.holds.push((*item, behind(chain.state, &row)));
            }
        }
        free
    }

    async fn locate(&mut self, rows: &[Row<'c, 's>], waiting: &Waiting<'_>) -> Result<(), Failure> {
        let mut needs = Needs::default();
        for row in rows {
            self.known.want(&mut needs, self.map, row.table, row.identity, true);
            if let Some(previous) = row.previous {
                self.known.want(&mut needs, self.map, row.table, previous, true);
            }
            self.refers(row.identity_references());
            let values = row.values.iter().filter_map(|(_, value)| reference_of(value));
            for reference in values {
                let name = RowName { table: &reference.table, identity: &reference.identity };
                self.referred_to.insert(name);
                if let Some(table) = self.map.tables.get(&reference.table) {
                    self.known.want(&mut needs, self.map, table, &reference.identity, false);
                }
            }
            if let Some(lender) = lender(self.map, row.table) {
                self.referred_to.insert(RowName { table: &lender.name, identity: row.identity });
            }
        }
        self.known.resolve(self.session, self.map, needs).await?;
        self.tell_apart(rows, waiting).await?;
        for row in rows {
            let missing = matches!(self.known.get(&row.name()), Some(Slot::Missing));
            if row.net == Net::Insert && missing && !self.is_misspelt(row) {
                self.pending.insert(row.name());
            }
        }
        Ok(())
    }

    /// A row found under another spelling is nobody's to write; and to what refers to it, it is
    /// another row if the one that is spelt so waits.
    async fn tell_apart(
        &mut self,
        rows: &[Row<'c, 's>],
        waiting: &Waiting<'_>,
    ) -> Result<(), Failure> {
        let mut folded = self.known.folded();
        if folded.is_empty() {
            return Ok(());
        }
        let own: RowSet<'_, '_> =
            rows.iter().flat_map(|row| [Some(row.name()), row.former()]).flatten().collect();
        self.misspelt = folded.extract_if(.., |name| own.contains(name)).collect();
        let mut missing: Vec<RowName<'c, 's>> = self.misspelt.iter().copied().collect();
        if waiting.any && !folded.is_empty() {
            let hash = |name: &RowName<'_, '_>| row_hash(name.table, name.identity);
            let hashes: Vec<u64> = folded.iter().map(hash).collect();
            let held = held::blocked(self.session, waiting.names, waiting.node, &hashes).await?;
            let waits = |name: &RowName<'_, '_>| {
                held.contains_key(&hash(name)) || waiting.blocked.contains_key(&hash(name))
            };
            missing.extend(folded.into_iter().filter(waits));
        }
        self.known.miss(self.map, missing);
        Ok(())
    }

    fn refers(&mut self, references: Vec<RowName<'c, 's>>) {
        self.referred_to.extend(references);
    }

    async fn write_table<'a>(&mut self, rows: &'a [Row<'c, 's>]) -> Result<(), Failure> {
        let mut inserts = Vec::new();
        let mut updates = Vec::new();
        for row in rows {
            if row.net == Net::Delete {
                continue;
            }
            if self.is_misspelt(row) {
                self.hold_all(row, spelt_otherwise(&row.name()));
            } else if row.previous.is_some() {
                self.rename(row).await?;
            } else if matches!(row.table.identity, BoundIdentity::WholeRow) {
                inserts.push(row);
            } else {
                match self.known.get(&row.name()) {
                    Some(Slot::At(_)) => updates.extend(self.update(row)?),
                    Some(Slot::Missing) if row.net == Net::Insert => inserts.push(row),
                    Some(Slot::Missing) | None => {
                        let hold = Hold::missing(&row.table.name, row.identity, "changes a row");
                        self.hold_all(row, hold);
                    }
                    Some(Slot::Ambiguous) => {
                        let hold = ambiguous(&row.name());
                        self.hold_all(row, hold);
                    }
                }
            }
        }
        if let Some(first) = rows.first() {
            self.write_updates(first.table, updates).await?;
        }
        self.insert(inserts).await
    }

    /// Whether a row, or what it was called, is here under another spelling only.
    fn is_misspelt(&self, row: &Row<'c, 's>) -> bool {
        self.misspelt.contains(&row.name())
            || row.former().is_some_and(|name| self.misspelt.contains(&name))
    }

    /// Sets a row aside for a reason that concerns all its changes.
    fn hold_all(&mut self, row: &Row<'c, 's>, hold: Hold) {
        self.pending.remove(&row.name());
        let state = hold.state;
        let mut first = Some(hold);
        for item in &row.items {
            let hold = first.take().unwrap_or_else(|| behind(state, row));
            self.outcome.holds.push((*item, hold));
        }
    }

    /// Sets a row aside if it stands for one change. Several are looked at one by one, because
    /// the first of them may well apply.
    fn hold(&mut self, row: &Row<'c, 's>, hold: Hold) -> Result<(), Failure> {
        if row.items.len() > 1 {
            return Err(Failure::Split);
        }
        self.hold_all(row, hold);
        Ok(())
    }

    async fn fix_up(&mut self) -> Result<(), Failure> {
        for fixup in std::mem::take(&mut self.fixups) {
            let row = self.known.located(&fixup.row);
            let target = self.known.located(&fixup.target);
            let (Some(row), Some(target)) = (row, target) else { return Err(Failure::Split) };
            let Some(bound) = fixup.table.columns.get(fixup.column) else { continue };
            let param = reference_param(&bound.role, bound, &target.local);
            let cells = vec![Cell::new(fixup.column, bound, param)];
            let address = row.address.clone();
            self.write_cells(fixup.table, cells, &address).await?;
        }
        Ok(())
    }
}

impl<'c, 's> Row<'c, 's> {
    /// The rows that this row's identity refers to.
    fn identity_references(&self) -> Vec<RowName<'c, 's>> {
        let values: &'c [Value<'s>] = match self.identity {
            Identity::Many(values) => values,
            Identity::One(value) => std::slice::from_ref(value),
            Identity::Lost(_) => &[],
        };
        values
            .iter()
            .filter_map(reference_of)
            .map(|reference| RowName { table: &reference.table, identity: &reference.identity })
            .collect()
    }
}

fn lender<'c>(map: &'c BoundMap, table: &BoundTable) -> Option<&'c BoundTable> {
    match &table.identity {
        BoundIdentity::Borrowed { table, .. } => map.tables.get(table).map(|table| &**table),
        BoundIdentity::Column(_) | BoundIdentity::Composite(_) | BoundIdentity::WholeRow => None,
    }
}

fn reference_of<'v, 's>(value: &'v Value<'s>) -> Option<&'v Reference<'s>> {
    if let Value::Reference(reference) = value { Some(reference) } else { None }
}

fn behind(state: State, row: &Row<'_, '_>) -> Hold {
    Hold {
        state,
        reason: format!("waits behind an earlier change of the same row of {}", row.table.name),
        awaits: None,
    }
}

fn spelt_otherwise(name: &RowName<'_, '_>) -> Hold {
    Hold::quarantine(format!(
        "a row of {} is here whose name differs from {} in case or blanks alone, and the column's \
         collation takes the two for one: spell it here as at its source, or give the column a \
         collation that tells them apart (such as utf8mb4_bin), then retry",
        name.table, name.identity
    ))
}

fn ambiguous(name: &RowName<'_, '_>) -> Hold {
    Hold::quarantine(format!(
        "more than one row of {} is called {}: make them differ, then retry",
        name.table, name.identity
    ))
}
