//! Rows that a statement deletes and puts back in their place, as `REPLACE` does.
//!
//! A server that cascades in its storage engine does so at the delete, and so does the target when
//! it applies it. `MySQL` from 9.6 cascades by itself, logs what it does, and does nothing where
//! the key comes back: the rows that refer to it stay. To the target that is an update.

use std::sync::Arc;

use super::Follower;
use crate::capture::Error;
use crate::capture::decode::{Row, RowKind, RowsEvent};
use crate::capture::place::Spot;
use crate::capture::plan::TablePlan;

/// Events of deleted rows that are kept while it is open what becomes of them. `REPLACE` deletes as
/// many rows for a new one as the table has unique keys, one after the other; an event is some
/// 8 KiB, or one row.
const GONE_MAX: usize = 8;

/// One event's deleted rows.
pub(super) struct Gone {
    plan: Arc<TablePlan>,
    event: RowsEvent<'static>,
    start: Spot,
}

impl Follower {
    /// Rows of a mapped table; those deleted wait for what the statement does next.
    pub(super) async fn mapped_rows(
        &mut self,
        plan: Arc<TablePlan>,
        event: &RowsEvent<'_>,
        start: &Spot,
    ) -> Result<(), Error> {
        let of_table = |gone: &Gone| gone.plan.bound.name == plan.bound.name;
        let is_awaited =
            self.transaction.as_ref().is_some_and(|open| open.gone.iter().any(of_table));
        if is_awaited && event.kind == RowKind::Insert {
            return self.put_back(&plan, event, start).await;
        }
        let may_come_back = event.kind == RowKind::Delete
            && event.cascades_logged
            && !event.statement_end
            && !plan.bound.primary_key.is_empty();
        let Some(open) = self.transaction.as_mut().filter(|_| may_come_back) else {
            if is_awaited {
                self.settle_gone().await?;
            }
            return self.each_row(&plan, event, start).await;
        };
        open.gone.push(Gone { plan, event: event.owned(), start: start.clone() });
        if open.gone.len() > GONE_MAX {
            let oldest = open.gone.remove(0);
            self.each_row(&oldest.plan, &oldest.event, &oldest.start).await?;
        }
        Ok(())
    }

    /// The statement is over: what it deleted has gone.
    pub(super) async fn settle_gone(&mut self) -> Result<(), Error> {
        for gone in self.take_gone() {
            self.each_row(&gone.plan, &gone.event, &gone.start).await?;
        }
        Ok(())
    }

    fn take_gone(&mut self) -> Vec<Gone> {
        self.transaction.as_mut().map(|open| std::mem::take(&mut open.gone)).unwrap_or_default()
    }

    /// Rows inserted after others of the same table were deleted: those with the key of one of them
    /// are updates of it.
    async fn put_back(
        &mut self,
        plan: &Arc<TablePlan>,
        event: &RowsEvent<'_>,
        start: &Spot,
    ) -> Result<(), Error> {
        let gone = self.take_gone();
        let key = &plan.bound.primary_key;
        let mut inserted = self.all(plan, event, start)?;
        for gone in &gone {
            self.decisions.forget(&gone.plan.bound.name);
            for row in self.all(&gone.plan, &gone.event, &gone.start)? {
                let same = |new: &&mut Row<'_>| {
                    new.before.is_empty()
                        && key
                            .iter()
                            .all(|column| new.after.get(*column) == row.before.get(*column))
                };
                let back = Arc::ptr_eq(&gone.plan, plan).then(|| inserted.iter_mut().find(same));
                match back.flatten() {
                    Some(new) => new.before = row.before,
                    // What else was in the way of the new rows goes before they come.
                    None => self.one_row(&gone.plan, RowKind::Delete, &row, &gone.start).await?,
                }
            }
        }
        self.decisions.forget(&plan.bound.name);
        for row in inserted {
            let kind = if row.before.is_empty() { RowKind::Insert } else { RowKind::Update };
            self.one_row(plan, kind, &row, start).await?;
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
