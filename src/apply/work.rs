//! One transaction's work on the target: runs are tried by set, halved when they fail, and what
//! still fails alone is set aside.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap, HashSet};

use super::admit;
use super::applier::{Limits, Report};
use super::error::{Awaits, Crowded, Error, Failure, Hold, State};
use super::held::{self, Chain};
use super::layout::Layouts;
use super::plan::{self, Item, Net, Plan, RowName, Source, row_hash};
use super::resolve::{Known, Needs, Slot};
use super::run::{self, Outcome, Waiting};
use super::session::Session;
use super::state::Names;
use super::touched::touch;
use crate::change::{Kind, NodeId};
use crate::clock::Timestamp;
use crate::schema_map::{BoundMap, BoundTable, Direction};
use crate::transport::Wanted;

/// How often rows that arrive may release others that release others.
const ROUNDS_MAX: u32 = 64;
/// Rows tried together when they may be waiting for each other.
const TOGETHER_MAX: usize = 2_000;

/// What every part of the work needs to know.
pub(super) struct Work<'w> {
    pub(super) session: &'w mut Session,
    pub(super) names: &'w Names,
    pub(super) map: &'w BoundMap,
    pub(super) layouts: &'w Layouts,
    /// The target's.
    pub(super) database: &'w str,
    /// Tables that are known to be as they are bound, until the transaction ends.
    pub(super) looked_at: HashSet<&'w str>,
    pub(super) incoming: Direction,
    pub(super) limits: Limits,
    pub(super) node: NodeId,
    pub(super) now: Timestamp,
    /// Whether any change is set aside, from this batch or before.
    pub(super) any_held: bool,
    /// Rows that had a change set aside in this transaction.
    pub(super) blocked: HashMap<u64, State>,
    /// Rows written while something may wait for them.
    pub(super) arrived: Vec<u64>,
    pub(super) report: Report,
}

/// What became of the changes that were tried together.
#[derive(Default)]
struct Settled {
    aside: BTreeMap<usize, Hold>,
    /// Rows deleted although earlier changes of them wait, which is over now.
    dissolved: Vec<u64>,
    touched: BTreeMap<String, Vec<String>>,
    /// Tables of which changes of this node wait for something that is not here; once it was asked.
    waiting: Option<Vec<String>>,
}

enum Attempt {
    /// Changes set aside, and rows of which nothing waits any more.
    Done(Vec<(usize, Hold)>, Vec<u64>),
    Failed(Failure),
}

impl<'w> Work<'w> {
    /// Applies changes in commit order. Changes of rows that have earlier ones waiting join them.
    pub(super) async fn apply(&mut self, items: &[Item<'_>]) -> Result<(), Failure> {
        let mut blocked = HashMap::new();
        if self.any_held {
            let mut hashes = HashSet::new();
            for Item { change, .. } in items {
                for identity in std::iter::once(&change.identity).chain(&change.previous) {
                    hashes.insert(row_hash(&change.shape.table, identity));
                }
            }
            let hashes: Vec<u64> = hashes.into_iter().collect();
            blocked = held::blocked(self.session, self.names, self.node, &hashes).await?;
            self.supersede(items, &mut blocked).await?;
        }
        self.process(items, blocked).await
    }

    /// Refuses a change of a batch for a table that the map does not let in.
    pub(super) fn let_in(&self, item: &Item<'_>) -> Result<(), Error> {
        match admit::shut_out(self.map, self.incoming, &item.change.shape.table) {
            None => Ok(()),
            Some(reason) => Err(Error::Refused(format!(
                "{reason}; nothing of the batch was written. If both ends' maps let it in when it \
                 was captured, let it in again until the child is in step"
            ))),
        }
    }

    /// A row that comes whole does not wait behind parked changes of it that wait for the row.
    async fn supersede(
        &mut self,
        items: &[Item<'_>],
        blocked: &mut HashMap<u64, Chain>,
    ) -> Result<(), Failure> {
        let mut whole: Vec<u64> = items
            .iter()
            .filter(|item| item.change.kind == Kind::Insert)
            // One that is called by all it holds is one more of its like.
            .filter(|item| {
                let table = self.map.tables.get(&item.change.shape.table);
                table.is_none_or(|table| !table.is_whole_row())
            })
            .map(held::hash_of)
            .filter(|hash| blocked.get(hash).is_some_and(|chain| chain.state == State::Parked))
            .collect::<HashSet<_>>()
            .into_iter()
            .collect();
        let mut renamed = whole.clone();
        renamed.retain(|hash| blocked.get(hash).is_some_and(|chain| chain.renames));
        let still = self.still_called_otherwise(&renamed).await?;
        whole.retain(|hash| !still.contains(hash));
        for hash in held::supersede(self.session, self.names, self.node, &whole).await? {
            blocked.remove(&hash);
            self.blocked.remove(&hash);
            self.report.superseded += 1;
            self.arrived.push(held::room());
        }
        Ok(())
    }

    /// Which of some rows are here, or wait, under the name from which a parked change renames them. To write
    /// such a row as a new one would make two of it.
    async fn still_called_otherwise(&mut self, rows: &[u64]) -> Result<HashSet<u64>, Failure> {
        let stored = held::chains(self.session, self.names, self.node, rows).await?;
        let items = held::decode(&stored);
        let mut known = Known::default();
        let mut needs = Needs::default();
        let mut former = Vec::new();
        for item in &items {
            let table = self.map.tables.get(&item.change.shape.table);
            if let (Some(previous), Some(table)) = (&item.change.previous, table) {
                known.want(&mut needs, self.map, table, previous, false);
                let name = RowName { table: &table.name, identity: previous };
                former.push((held::hash_of(item), name));
            }
        }
        known.resolve(self.session, self.map, needs).await?;
        // Or will be: what makes it under that name waits itself.
        let hash = |name: &RowName<'_, '_>| row_hash(name.table, name.identity);
        let hashes: Vec<u64> = former.iter().map(|(_, name)| hash(name)).collect();
        let waits = held::blocked(self.session, self.names, self.node, &hashes).await?;
        let here = |name: &RowName<'_, '_>| {
            matches!(known.get(name), Some(Slot::At(_) | Slot::Ambiguous))
                || waits.contains_key(&hash(name))
        };
        Ok(former.iter().filter(|(_, name)| here(name)).map(|(hash, _)| *hash).collect())
    }

    /// Tries changes that were set aside earlier.
    async fn try_again(&mut self, rows: &[u64]) -> Result<(), Failure> {
        let stored = held::chains(self.session, self.names, self.node, rows).await?;
        let items = held::decode(&stored);
        self.process(&items, HashMap::new()).await?;
        // What an older headwater wrote and this one cannot read waits without being tried.
        let read: HashSet<u64> = items.iter().map(held::hash_of).collect();
        let unread: Vec<u64> =
            stored.iter().map(|stored| stored.row).filter(|row| !read.contains(row)).collect();
        held::had_their_turn(self.session, self.names, self.node, self.now, &unread).await
    }

    /// Tries the changes of some rows again, and whatever their success releases.
    pub(super) async fn retry(&mut self, rows: &[u64]) -> Result<(), Failure> {
        self.any_held = true;
        self.try_again(rows).await?;
        self.release().await
    }

    /// Tries the parked changes that wait for what has arrived; then those that may wait for
    /// each other.
    pub(super) async fn release(&mut self) -> Result<(), Failure> {
        if !self.any_held {
            return Ok(());
        }
        self.release_arrived().await?;
        let together: Vec<u64> = self
            .blocked
            .iter()
            .filter(|(_, state)| **state == State::Parked)
            .map(|(hash, _)| *hash)
            .take(TOGETHER_MAX)
            .collect();
        if together.len() > 1 && !self.report.tried_together {
            self.report.tried_together = true;
            self.try_again(&together).await?;
            self.release_arrived().await?;
        }
        Ok(())
    }

    async fn release_arrived(&mut self) -> Result<(), Failure> {
        for _ in 0..ROUNDS_MAX {
            let arrived = std::mem::take(&mut self.arrived);
            if arrived.is_empty() {
                break;
            }
            let rows = held::awaiting(self.session, self.names, self.node, &arrived).await?;
            if rows.is_empty() {
                break;
            }
            self.try_again(&rows).await?;
        }
        Ok(())
    }

    /// Makes sure that the tables of some changes are as they are bound.
    async fn look_at(&mut self, items: &[Item<'_>]) -> Result<(), Failure> {
        let map: &'w BoundMap = self.map;
        let mut tables: Vec<&'w BoundTable> = Vec::new();
        for item in items {
            let Some(table) = map.tables.get(&item.change.shape.table) else { continue };
            if self.looked_at.insert(&table.name) {
                tables.push(table);
            }
        }
        self.layouts.check(self.session, self.database, &tables).await
    }

    async fn process(
        &mut self,
        items: &[Item<'_>],
        mut blocked: HashMap<u64, Chain>,
    ) -> Result<(), Failure> {
        self.look_at(items).await?;
        let mut known = Known::default();
        let mut settled = Settled::default();
        let mut once_more = None;
        // Ranges of changes still to be applied, the next on top.
        let mut ranges = vec![(0, items.len())];
        while let Some((start, end)) = ranges.pop() {
            let some = items.get(start..end).unwrap_or_default();
            if some.is_empty() {
                continue;
            }
            let plan = plan::plan(self.map, self.incoming, some);
            let middle = start + plan.taken;
            if middle < end {
                ranges.push((middle, end));
            }
            let mut holds = match self.attempt(&mut known, plan, &blocked, &mut settled).await? {
                Attempt::Done(holds, dissolved) => {
                    self.dissolve(items, &mut settled, &mut blocked, dissolved);
                    holds
                }
                // What is in the way may be the row itself, which another link brought just now.
                Attempt::Failed(Failure::Crowded(_))
                    if middle - start == 1 && once_more != Some(start) =>
                {
                    once_more = Some(start);
                    ranges.push((start, middle));
                    continue;
                }
                Attempt::Failed(failure) if middle - start == 1 => {
                    vec![(0, self.alone(failure, items, start, &mut settled).await?)]
                }
                Attempt::Failed(_) => {
                    let half = start + (middle - start) / 2;
                    ranges.push((half, middle));
                    ranges.push((start, half));
                    self.report.halved += 1;
                    continue;
                }
            };
            holds.sort_by_key(|(number, _)| *number);
            for (number, hold) in holds {
                let Some(item) = items.get(start + number) else { continue };
                set_aside(&mut settled, &mut blocked, start + number, item, hold);
                self.any_held = true;
            }
        }
        self.settle(items, settled).await
    }

    /// What becomes of a change that failed alone. If another row is in its way, and changes that
    /// are parked may move that one, it waits for them: at its source there was room for it.
    async fn alone(
        &mut self,
        failure: Failure,
        items: &[Item<'_>],
        number: usize,
        settled: &mut Settled,
    ) -> Result<Hold, Failure> {
        let Crowded { by_its_like, words } = match failure {
            Failure::Crowded(crowded) => crowded,
            Failure::Row(words) => return Ok(Hold::quarantine(words)),
            Failure::Split => {
                return Ok(Hold::quarantine("its references cannot be filled in here"));
            }
            Failure::Whole(error) => return Ok(Hold::quarantine(error.to_string())),
        };
        let Some(item) = items.get(number) else { return Ok(Hold::quarantine(words)) };
        let table = &item.change.shape.table;
        let may_move = |other: &str| !by_its_like || *other == **table;
        let of_late = settled.aside.iter().any(|(number, hold)| {
            matches!(hold.awaits, Some(Awaits::Row(..) | Awaits::Table(_)))
                && items.get(*number).is_some_and(|item| may_move(&item.change.shape.table))
        });
        if settled.waiting.is_none() && self.any_held && !of_late {
            settled.waiting = Some(held::waiting(self.session, self.names, self.node).await?);
        }
        let before = settled.waiting.iter().flatten().any(|other| may_move(other));
        Ok(if of_late || before { Hold::crowded(&words) } else { Hold::quarantine(words) })
    }

    /// One run under a savepoint. A run that fails leaves nothing behind.
    async fn attempt<'c, 's>(
        &mut self,
        known: &mut Known<'c, 's>,
        plan: Plan<'c, 's>,
        blocked: &HashMap<u64, Chain>,
        settled: &mut Settled,
    ) -> Result<Attempt, Failure>
    where
        'w: 'c,
    {
        self.session.run("SAVEPOINT run").await?;
        let waiting = Waiting { names: self.names, node: self.node, any: self.any_held, blocked };
        match run::execute(self.session, self.map, known, plan, waiting).await {
            Ok(outcome) => {
                self.note(&outcome, settled);
                Ok(Attempt::Done(outcome.holds, outcome.dissolved))
            }
            Err(Failure::Whole(error)) => Err(Failure::Whole(error)),
            Err(failure) => {
                tracing::debug!(?failure, "a run failed and is tried in halves");
                self.session.run("ROLLBACK TO SAVEPOINT run").await?;
                self.session.check_foreign_keys(false).await?;
                known.clear();
                Ok(Attempt::Failed(failure))
            }
        }
    }

    /// Takes back what was set aside of rows that a later change deleted.
    fn dissolve(
        &mut self,
        items: &[Item<'_>],
        settled: &mut Settled,
        blocked: &mut HashMap<u64, Chain>,
        dissolved: Vec<u64>,
    ) {
        if dissolved.is_empty() {
            return;
        }
        for hash in &dissolved {
            blocked.remove(hash);
            self.blocked.remove(hash);
        }
        let over: HashSet<u64> = dissolved.iter().copied().collect();
        let before = settled.aside.len();
        let is_over = |number: &usize| {
            items.get(*number).is_some_and(|item| over.contains(&held::hash_of(item)))
        };
        settled.aside.retain(|number, _| !is_over(number));
        self.report.dissolved += (before - settled.aside.len()) as u64;
        // Of a chain that is tried again every change is at hand, and goes with the others.
        if items.first().is_some_and(|item| matches!(item.source, Source::Fresh { .. })) {
            settled.dissolved.extend(dissolved);
        }
    }

    fn note(&mut self, outcome: &Outcome<'_, '_>, settled: &mut Settled) {
        self.report.rows += outcome.written.len() as u64;
        for (name, net) in &outcome.written {
            if self.any_held && *net != Net::Delete {
                self.arrived.push(row_hash(name.table, name.identity));
            }
            if self.limits.touched_entries_max > 0 {
                touch(&mut settled.touched, name, *net);
            }
        }
    }

    /// Stores what was set aside, removes what was released, and lists what was touched.
    async fn settle(&mut self, items: &[Item<'_>], settled: Settled) -> Result<(), Failure> {
        let deleted = &settled.dissolved;
        self.report.dissolved +=
            held::dissolve(self.session, self.names, self.node, deleted).await?;
        let mut fresh = Vec::new();
        let mut released = Vec::new();
        let mut waiting = HashSet::new();
        for (number, item) in items.iter().enumerate() {
            match (item.source, settled.aside.get(&number)) {
                (Source::Fresh { .. }, Some(hold)) => {
                    self.blocked.insert(held::hash_of(item), hold.state);
                    fresh.push((item, hold));
                }
                (Source::Held { id }, None) => {
                    self.blocked.remove(&held::hash_of(item));
                    released.push(id);
                }
                (Source::Held { id }, Some(hold)) => {
                    waiting.insert(held::hash_of(item));
                    held::tried(self.session, self.names, self.now, id, hold).await?;
                }
                (Source::Fresh { .. }, None) => {}
            }
            if let Some(hold) = settled.aside.get(&number) {
                self.want(hold);
            }
        }
        self.report.held += fresh.len() as u64;
        self.report.released += released.len() as u64;
        if !released.is_empty() || !settled.dissolved.is_empty() {
            self.arrived.push(held::room());
        }
        held::insert(self.session, self.names, self.node, self.now, &fresh).await?;
        held::remove(self.session, self.names, &released).await?;
        // Also what was not read with the others of its row, so that the next turn is another's.
        let waiting: Vec<u64> = waiting.into_iter().collect();
        held::had_their_turn(self.session, self.names, self.node, self.now, &waiting).await?;
        self.list_touched(settled.touched).await
    }

    fn want(&mut self, hold: &Hold) {
        let Some(Awaits::Row(table, identity)) = &hold.awaits else { return };
        let wanted = Wanted { table: crate::value::Name::clone(table), identity: identity.clone() };
        if self.report.wanted.len() < self.limits.wanted_max
            && !self.report.wanted.contains(&wanted)
        {
            self.report.wanted.push(wanted);
        }
    }
}

/// Notes that a change is set aside. One that waits behind another waits the same way.
fn set_aside(
    settled: &mut Settled,
    blocked: &mut HashMap<u64, Chain>,
    number: usize,
    item: &Item<'_>,
    mut hold: Hold,
) {
    let renames = item.change.previous.is_some();
    let whole = item.change.kind == Kind::Insert;
    match blocked.entry(held::hash_of(item)) {
        Entry::Occupied(mut first) => {
            hold.state = first.get().state;
            first.get_mut().renames |= renames;
            first.get_mut().whole |= whole;
        }
        Entry::Vacant(first) => {
            first.insert(Chain { state: hold.state, renames, whole });
        }
    }
    settled.aside.insert(number, hold);
}
