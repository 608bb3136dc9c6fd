//! Rows of mapped tables: recognised by their table map, read with the plan that fits it, written
//! as changes.

use std::sync::Arc;

use super::refuse::{READ_AGAIN, at, given_up, placed, refused, remedy};
use super::{Follower, Table, WATERMARK_TABLE};
use crate::capture::Error;
use crate::capture::decode::{
    DecodeError, MapColumn, RawColumn, Row, RowKind, RowsEvent, TableMapEvent,
};
use crate::capture::place::Spot;
use crate::capture::plan::{Image, Mismatch, TablePlan};
use crate::capture::row::Step;
use crate::capture::tables::Doubt;
use crate::capture::translate::{Pause, Translator};
use crate::change::NodeId;
use crate::record::SegmentWriter;
use crate::schema_map::BoundTable;
use crate::value::Name;

impl Follower {
    pub(super) async fn table_map(
        &mut self,
        event: &TableMapEvent<'_>,
        start: &Spot,
    ) -> Result<(), Error> {
        if let Some(Table::Mapped(plan)) = self.tables.get(&event.table_id)
            && plan.bindings == self.bindings
            && *plan.bound.name == *event.table
            && plan.fits(event)
            && self.definitions.doubt_of(event.table) == Doubt::None
        {
            if let Some(open) = &mut self.transaction {
                open.touches(&plan.bound.name);
            }
            return Ok(());
        }
        let (database, schema) = (&self.settings.database, event.schema);
        let ours = *schema == **database
            || (self.settings.ignores_case && schema.to_lowercase() == database.to_lowercase());
        let found = if ours {
            // Whose definition is in doubt may be bound anew, and others with it.
            if self.definitions.doubt_of(event.table) != Doubt::None {
                self.settle_kept().await?;
            }
            let concerns = self.definitions.concern(event.table);
            let readable = concerns && self.define(event, start).await?;
            if concerns && !readable {
                self.given_up(&event.table.into());
            }
            match self.map.tables.get(event.table).filter(|_| readable) {
                Some(bound) => match self.plan(event, bound.clone(), start) {
                    Ok(plan) => {
                        if let Some(open) = &mut self.transaction {
                            open.touches(&plan.bound.name);
                        }
                        Table::Mapped(plan)
                    }
                    Err(why) if self.is_accepted(start) => {
                        tracing::warn!(table = event.table, place = %start, "rows given up: {why}");
                        self.definitions.give_up(event.table);
                        self.given_up(&event.table.into());
                        Table::Other
                    }
                    Err(why) => return Err(why),
                },
                None => Table::Other,
            }
        } else if *event.schema == *self.settings.state_schema && event.table == WATERMARK_TABLE {
            Table::Watermark(event.columns().map_err(|error| at(start, &error))?)
        } else {
            Table::Other
        };
        self.tables.insert(event.table_id, found);
        Ok(())
    }

    fn plan(
        &mut self,
        event: &TableMapEvent<'_>,
        bound: Arc<BoundTable>,
        start: &Spot,
    ) -> Result<Arc<TablePlan>, Error> {
        if let Some(plan) = self.plans.get(&bound.name)
            && plan.fits(event)
        {
            return Ok(plan.clone());
        }
        let name = bound.name.clone();
        let plan = TablePlan::new(event, &self.map, bound, &mut self.identities, self.bindings);
        let plan = plan.map_err(|mismatch| {
            let (what, remedy) = match &mismatch {
                Mismatch::Decode(error) | Mismatch::Column { source: error, .. } => {
                    ("cannot be read", remedy(error, start))
                }
                Mismatch::Count { .. } | Mismatch::Name { .. } => {
                    ("was written with other columns than it has now", given_up(start))
                }
            };
            refused(start, &format!("table {name} {what}: {mismatch}"), &remedy)
        })?;
        let plan = Arc::new(plan);
        self.plans.insert(name, plan.clone());
        Ok(plan)
    }

    pub(super) async fn rows(&mut self, event: &RowsEvent<'_>, start: &Spot) -> Result<(), Error> {
        self.rows_of_any(event, start).await?;
        if event.statement_end { self.settle_kept().await } else { Ok(()) }
    }

    async fn rows_of_any(&mut self, event: &RowsEvent<'_>, start: &Spot) -> Result<(), Error> {
        let plan = match self.tables.get(&event.table_id) {
            Some(Table::Other) => return Ok(()),
            Some(Table::Mapped(plan)) => plan.clone(),
            Some(Table::Watermark(columns)) => {
                if let (Some(node), Some(open)) = (
                    origin(columns, event).map_err(|error| at(start, &error))?,
                    &mut self.transaction,
                ) {
                    open.origin = Some(node);
                }
                return Ok(());
            }
            None if event.is_dummy() => return Ok(()),
            None => return Err(refused(start, "rows without a table map before them", READ_AGAIN)),
        };
        if self.is_accepted(start) {
            tracing::warn!(table = %plan.bound.name, place = %start, "rows given up");
            self.given_up(&plan.bound.name);
            return Ok(());
        }
        if !plan.is_carried_by(event) {
            return Err(refused(
                start,
                &format!(
                    "rows of table {} are logged without all their columns (binlog_row_image of \
                     the session was not FULL)",
                    plan.bound.name
                ),
                &format!("Set binlog_row_image = FULL for every session. {}", given_up(start)),
            ));
        }
        self.mapped_rows(plan, event, start).await
    }

    /// Each row of an event as a change.
    pub(super) async fn each_row(
        &mut self,
        plan: &TablePlan,
        event: &RowsEvent<'_>,
        start: &Spot,
    ) -> Result<(), Error> {
        self.decisions.forget(&plan.bound.name);
        let mut reader = event.rows(&plan.columns).map_err(|error| self.at(start, &error))?;
        let mut row = std::mem::take(&mut self.row).emptied();
        while reader.read(&mut row).map_err(|error| self.at(start, &error))? {
            self.one_row(plan, event.kind, &row, start).await?;
        }
        self.row = row.emptied();
        Ok(())
    }

    pub(super) async fn one_row(
        &mut self,
        plan: &TablePlan,
        kind: RowKind,
        row: &Row<'_>,
        start: &Spot,
    ) -> Result<(), Error> {
        self.told.rows += 1;
        loop {
            match self.row(plan, kind, row) {
                Ok(()) => return Ok(()),
                Err(Pause::Need(need)) => self.fetch(&need).await?,
                Err(Pause::Failed(error)) => return Err(placed(start, error)),
            }
        }
    }

    /// Rows of a table in the open transaction are not looked at.
    fn given_up(&mut self, table: &Name) {
        if let Some(open) = &mut self.transaction {
            open.touches(table);
        }
        self.forget(table);
    }

    pub(super) fn partial_rows(&mut self, table_id: u64, start: &Spot) -> Result<(), Error> {
        match self.tables.get(&table_id) {
            Some(Table::Mapped(plan)) if self.is_accepted(start) => {
                let table = plan.bound.name.clone();
                self.given_up(&table);
                Ok(())
            }
            Some(Table::Mapped(plan)) => Err(refused(
                start,
                &format!(
                    "rows of table {} are logged with only what changed in their JSON \
                     (binlog_row_value_options of the session was PARTIAL_JSON)",
                    plan.bound.name
                ),
                &format!("SET GLOBAL binlog_row_value_options = ''. {}", given_up(start)),
            )),
            Some(Table::Other | Table::Watermark(_)) => Ok(()),
            None => Err(refused(start, "rows without a table map before them", READ_AGAIN)),
        }
    }

    fn row(&mut self, plan: &TablePlan, kind: RowKind, row: &Row<'_>) -> Result<(), Pause> {
        let before = Image { plan, columns: &row.before };
        let after = Image { plan, columns: &row.after };
        if kind == RowKind::Insert
            && let Some(inserts) = &plan.inserts
            && inserts.names(&after)?
        {
            let identities = &mut self.identities;
            let write =
                |writer: &mut SegmentWriter| inserts.write(plan, &after, identities, writer);
            if self.assembly.write(write)? {
                return Ok(());
            }
        }
        let mut step = Step {
            plan,
            translator: Translator {
                map: &self.map,
                identities: &mut self.identities,
                decisions: &self.decisions,
            },
            nameless: 0,
        };
        let change = match kind {
            RowKind::Insert => step.insert(&after),
            RowKind::Update => step.update(&before, &after),
            RowKind::Delete => step.delete(&before),
        }?;
        let nameless = step.nameless;
        if nameless > 0 && plan.travels {
            self.told.nameless += nameless;
            tracing::warn!(table = %plan.bound.name, "a row without a uuid cannot travel yet");
        }
        if let Some(change) = change
            && plan.travels
        {
            self.assembly.change(&change).map_err(Error::from)?;
        }
        Ok(())
    }
}

/// The node that a transaction of headwater's own came from: the first column of its watermark.
fn origin(columns: &[MapColumn], event: &RowsEvent<'_>) -> Result<Option<NodeId>, DecodeError> {
    let mut reader = event.rows(columns)?;
    let mut row = Row::default();
    let mut node = None;
    while reader.read(&mut row)? {
        if let Some(RawColumn::Bytes(bytes)) = row.after.first() {
            node = std::str::from_utf8(bytes).ok().and_then(|text| text.parse().ok()).map(NodeId);
        }
    }
    Ok(node)
}
