//! Rows that a statement deletes and puts back, as `REPLACE` does.
//!
//! A server that cascades in its storage engine does so at the delete, and so does the target when
//! it applies it. `MySQL` from 9.6 cascades by itself, logs what it does, and does nothing where
//! the key comes back: the rows that refer to it stay. To the target that is an update.
//!
//! So from the first row that such a statement deletes on, its rows wait, in their order, until it
//! is known what comes back: to the statement's end, or as far back as may be kept.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::Follower;
use crate::capture::Error;
use crate::capture::decode::{RawColumn, Row, RowKind, RowsEvent};
use crate::capture::place::Spot;
use crate::capture::plan::TablePlan;
use crate::schema_map::BoundIdentity;

/// Events kept at most; the one that came last always is. One is some 8 KiB, or one row.
const EVENTS_MAX: usize = 64;
/// Bytes of rows kept at most.
const BYTES_MAX: usize = 1 << 20;

/// The rows of one event, while it is open what becomes of them.
pub(super) struct Kept {
    plan: Arc<TablePlan>,
    event: RowsEvent<'static>,
    start: Spot,
    /// Of deleted rows: those that came back, by their number.
    back: HashSet<usize>,
    /// Of inserted rows: what those were that are back, by their number.
    before: HashMap<usize, Vec<Column>>,
}

/// One column of a row that is kept.
enum Column {
    Absent,
    Null,
    Bytes(Vec<u8>),
}

impl Column {
    fn of(raw: &RawColumn<'_>) -> Column {
        match raw {
            RawColumn::Absent => Column::Absent,
            RawColumn::Null => Column::Null,
            RawColumn::Bytes(bytes) => Column::Bytes(bytes.to_vec()),
        }
    }

    fn raw(&self) -> RawColumn<'_> {
        match self {
            Column::Absent => RawColumn::Absent,
            Column::Null => RawColumn::Null,
            Column::Bytes(bytes) => RawColumn::Bytes(bytes),
        }
    }
}

impl Follower {
    /// Rows of a mapped table, at once or when it is known what comes back.
    pub(super) async fn mapped_rows(
        &mut self,
        plan: Arc<TablePlan>,
        event: &RowsEvent<'_>,
        start: &Spot,
    ) -> Result<(), Error> {
        let may_come_back = event.kind == RowKind::Delete
            && event.cascades_logged
            && !event.statement_end
            && !keys(&plan).is_empty();
        let waits = self.transaction.as_ref().is_some_and(|open| !open.kept.is_empty());
        if !waits && !may_come_back {
            let read = self.each_row(&plan, event, start).await;
            return read.map_err(|error| self.refuse_long(error, start));
        }
        let mut new = Kept {
            plan,
            event: event.owned(),
            start: start.clone(),
            back: HashSet::new(),
            before: HashMap::new(),
        };
        if event.kind == RowKind::Insert {
            self.find_back(&mut new)?;
        }
        if let Some(open) = &mut self.transaction {
            open.kept.push_back(new);
        }
        while self.keeps_too_much() {
            self.settle_first().await?;
        }
        Ok(())
    }

    /// The statement is over: nothing comes back any more.
    pub(super) async fn settle_kept(&mut self) -> Result<(), Error> {
        while self.transaction.as_ref().is_some_and(|open| !open.kept.is_empty()) {
            self.settle_first().await?;
        }
        Ok(())
    }

    fn keeps_too_much(&self) -> bool {
        let Some(open) = &self.transaction else { return false };
        let bytes = || open.kept.iter().map(|kept| kept.event.bytes()).sum::<usize>();
        open.kept.len() > EVENTS_MAX || (open.kept.len() > 1 && bytes() > BYTES_MAX)
    }

    /// Marks the rows of the kept deletes that some inserted rows are, by their primary key or by
    /// their identity: whatever the server did to rows that refer to them is in the log.
    fn find_back(&mut self, new: &mut Kept) -> Result<(), Error> {
        let Some(mut open) = self.transaction.take() else { return Ok(()) };
        let mut found = Ok(());
        for kept in open.kept.iter_mut().filter(|kept| kept.event.kind == RowKind::Delete) {
            if found.is_ok() && Arc::ptr_eq(&kept.plan, &new.plan) {
                found = self.pair(kept, new);
            }
        }
        self.transaction = Some(open);
        found
    }

    fn pair(&self, deleted: &mut Kept, inserted: &mut Kept) -> Result<(), Error> {
        let Kept { plan, event, start, before, .. } = inserted;
        let keys = keys(plan);
        let same = |new: &Row<'_>, old: &Row<'_>| {
            keys.iter().any(|key| {
                key.iter().all(|column| new.after.get(*column) == old.before.get(*column))
            })
        };
        let gone = self.all(plan, &deleted.event, &deleted.start)?;
        for (number, new) in self.all(plan, event, start)?.iter().enumerate() {
            if before.contains_key(&number) {
                continue;
            }
            let mut old = gone.iter().enumerate().filter(|(old, _)| !deleted.back.contains(old));
            if let Some((old, row)) = old.find(|(_, old)| same(new, old)) {
                before.insert(number, row.before.iter().map(Column::of).collect());
                deleted.back.insert(old);
            }
        }
        Ok(())
    }

    /// Writes the rows that have waited longest.
    async fn settle_first(&mut self) -> Result<(), Error> {
        let first = self.transaction.as_mut().and_then(|open| open.kept.pop_front());
        let Some(Kept { plan, event, start, back, before }) = first else { return Ok(()) };
        if back.is_empty() && before.is_empty() {
            let read = self.each_row(&plan, &event, &start).await;
            return read.map_err(|error| self.refuse_long(error, &start));
        }
        self.decisions.forget(&plan.bound.name);
        for (number, mut row) in self.all(&plan, &event, &start)?.into_iter().enumerate() {
            if back.contains(&number) {
                continue;
            }
            let mut kind = event.kind;
            if let Some(before) = before.get(&number) {
                row.before = before.iter().map(Column::raw).collect();
                kind = RowKind::Update;
            }
            let read = self.one_row(&plan, kind, &row, &start).await;
            read.map_err(|error| self.refuse_long(error, &start))?;
        }
        Ok(())
    }

    fn all<'e>(
        &self,
        plan: &'e TablePlan,
        event: &'e RowsEvent<'_>,
        start: &Spot,
    ) -> Result<Vec<Row<'e>>, Error> {
        let mut reader = event.rows(&plan.columns).map_err(|error| self.at(start, &error))?;
        let mut rows = Vec::new();
        let mut row = Row::default();
        while reader.read(&mut row).map_err(|error| self.at(start, &error))? {
            rows.push(std::mem::take(&mut row));
        }
        Ok(rows)
    }
}

/// What makes two rows of a table the same row; nothing where nothing does.
fn keys(plan: &TablePlan) -> Vec<&[usize]> {
    let mut keys: Vec<&[usize]> = Vec::new();
    if !plan.bound.primary_key.is_empty() {
        keys.push(&plan.bound.primary_key);
    }
    if !matches!(plan.bound.identity, BoundIdentity::WholeRow) && !plan.identity_columns.is_empty()
    {
        keys.push(&plan.identity_columns);
    }
    keys
}
