//! One transaction's work on the target: runs are tried by set, halved when they fail, and what
//! still fails alone is set aside.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap, HashSet};

use mysql_async::Value as Param;

use super::applier::{Limits, Report};
use super::error::{Awaits, Failure, Hold, State};
use super::held::{self, Chain};
use super::plan::{self, Item, Net, Plan, Source, row_hash};
use super::resolve::Known;
use super::run::{self, Outcome};
use super::session::Session;
use super::state::{Names, moment};
use crate::change::{Kind, NodeId};
use crate::clock::Timestamp;
use crate::schema_map::{BoundMap, Direction};
use crate::transport::Wanted;

/// How often rows that arrive may release others that release others.
const ROUNDS_MAX: u32 = 64;
/// Rows tried together when they may be waiting for each other.
const TOGETHER_MAX: usize = 2_000;
/// The list of touched rows is cut to its limit once in so many entries.
const PRUNE_EVERY: u64 = 64;

/// What every part of the work needs to know.
pub(super) struct Work<'w> {
    pub(super) session: &'w mut Session,
    pub(super) names: &'w Names,
    pub(super) map: &'w BoundMap,
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
    touched: BTreeMap<String, String>,
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

    /// A row that comes whole does not wait behind parked changes of it that wait for the row.
    async fn supersede(
        &mut self,
        items: &[Item<'_>],
        blocked: &mut HashMap<u64, Chain>,
    ) -> Result<(), Failure> {
        let whole: Vec<u64> = items
            .iter()
            .filter(|item| item.change.kind == Kind::Insert)
            .map(held::hash_of)
            .filter(|hash| blocked.get(hash).is_some_and(|chain| chain.state == State::Parked))
            .collect::<HashSet<_>>()
            .into_iter()
            .collect();
        for hash in held::supersede(self.session, self.names, self.node, &whole).await? {
            blocked.remove(&hash);
            self.blocked.remove(&hash);
            self.report.superseded += 1;
        }
        Ok(())
    }

    /// Tries changes that were set aside earlier.
    async fn try_again(&mut self, rows: &[u64]) -> Result<(), Failure> {
        let stored = held::chains(self.session, self.names, self.node, rows).await?;
        let items = held::decode(&stored);
        self.process(&items, HashMap::new()).await
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

    async fn process(
        &mut self,
        items: &[Item<'_>],
        mut blocked: HashMap<u64, Chain>,
    ) -> Result<(), Failure> {
        let mut known = Known::default();
        let mut settled = Settled::default();
        // Ranges of changes still to be applied, the next on top.
        let mut ranges = vec![(0, items.len())];
        while let Some((start, end)) = ranges.pop() {
            let some = items.get(start..end).unwrap_or_default();
            if some.is_empty() {
                continue;
            }
            let plan = plan::plan(self.map, self.incoming, some)?;
            let middle = start + plan.taken;
            if middle < end {
                ranges.push((middle, end));
            }
            let holds = match self.attempt(&mut known, plan, &blocked, &mut settled).await? {
                Attempt::Done(holds, dissolved) => {
                    self.dissolve(items, &mut settled, &mut blocked, dissolved);
                    holds
                }
                Attempt::Failed(failure) if middle - start == 1 => vec![(0, quarantined(failure))],
                Attempt::Failed(_) => {
                    let half = start + (middle - start) / 2;
                    ranges.push((half, middle));
                    ranges.push((start, half));
                    self.report.halved += 1;
                    continue;
                }
            };
            let mut holds = holds;
            holds.sort_by_key(|(number, _)| *number);
            for (number, hold) in holds {
                let Some(item) = items.get(start + number) else { continue };
                set_aside(&mut settled, &mut blocked, start + number, item, hold);
                self.any_held = true;
            }
        }
        self.settle(items, settled).await
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
        match run::execute(self.session, self.map, known, plan, blocked).await {
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
                let list = settled.touched.entry(name.table.to_owned()).or_default();
                list.push(match net {
                    Net::Insert => '+',
                    Net::Update => '*',
                    Net::Delete => '-',
                });
                list.push_str(&name.identity.to_string().replace(['\n', '\r'], " "));
                list.push('\n');
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
        held::insert(self.session, self.names, self.node, self.now, &fresh).await?;
        held::remove(self.session, self.names, &released).await?;
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

    async fn list_touched(&mut self, touched: BTreeMap<String, String>) -> Result<(), Failure> {
        if touched.is_empty() || self.limits.touched_entries_max == 0 {
            return Ok(());
        }
        let count = touched.len();
        let marks = vec!["(?,?,?,?)"; count].join(",");
        let table = &self.names.touched;
        let sql =
            format!("INSERT INTO {table} (node, row_table, identities, touched_at) VALUES {marks}");
        let mut params = Vec::with_capacity(count * 4);
        for (name, identities) in touched {
            params.push(Param::from(self.node.to_string()));
            params.push(Param::from(name));
            params.push(Param::from(identities));
            params.push(moment(self.now));
        }
        let done = self.session.execute(&sql, params).await?;
        let first = done.last_insert_id.unwrap_or(0);
        if first % PRUNE_EVERY < count as u64 {
            let oldest = first.saturating_sub(self.limits.touched_entries_max);
            let sql = format!("DELETE FROM {table} WHERE id < ?");
            self.session.execute(&sql, vec![Param::from(oldest)]).await?;
        }
        Ok(())
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
    match blocked.entry(held::hash_of(item)) {
        Entry::Occupied(mut first) => {
            hold.state = first.get().state;
            first.get_mut().renames |= renames;
        }
        Entry::Vacant(first) => {
            first.insert(Chain { state: hold.state, renames });
        }
    }
    settled.aside.insert(number, hold);
}

fn quarantined(failure: Failure) -> Hold {
    match failure {
        Failure::Row(words) => Hold::quarantine(words),
        Failure::Split => Hold::quarantine("its references cannot be filled in here"),
        Failure::Whole(error) => Hold::quarantine(error.to_string()),
    }
}
