//! Rows that are there: what changed is written, many rows to a statement, and a change of what a
//! row is called alone.

use mysql_async::Value as Param;

use super::cells::{Columns, Ready, shape_of};
use super::{Fixup, STATEMENT_BYTES_MAX, Writer};
use crate::apply::cell::{self, Cell, Form};
use crate::apply::error::{Awaits, Failure, Hold};
use crate::apply::plan::{Net, Row, RowName};
use crate::apply::resolve::{self, Located, Slot};
use crate::apply::statement;
use crate::schema_map::{BoundIdentity, BoundTable};
use crate::value::Name;

/// Fewer updates of the same columns are written one by one.
const TOGETHER_MIN: usize = 3;

/// What an update writes, and where.
pub(super) struct Update {
    address: Vec<Param>,
    cells: Vec<Cell>,
}

impl<'c, 's> Writer<'_, 'c, 's> {
    /// What an update writes, and where; `None` if it writes nothing.
    pub(super) fn update(&mut self, row: &Row<'c, 's>) -> Result<Option<Update>, Failure> {
        let (cells, deferred) = match self.cells(row, true, false) {
            Ready::Cells(cells, deferred) => (cells, deferred),
            Ready::Hold(hold) => return self.hold(row, hold).map(|()| None),
            Ready::NextWave => return Err(Failure::Split),
        };
        for (column, target) in deferred {
            self.fixups.push(Fixup { row: row.name(), table: row.table, column, target });
        }
        self.outcome.written.push((row.name(), Net::Update));
        let located = self.known.located(&row.name()).filter(|_| !cells.is_empty());
        let Some(located) = located.cloned() else { return Ok(None) };
        let address = located.address.clone();
        if let Some(moved) = moved(located, row.table, &cells) {
            self.known.put(row.name(), Slot::At(moved));
        }
        Ok(Some(Update { address, cells }))
    }

    /// Updates of a table's rows: those that change the same columns together.
    pub(super) async fn write_updates(
        &mut self,
        table: &'c BoundTable,
        updates: Vec<Update>,
    ) -> Result<(), Failure> {
        let follow =
            |update: &Update| update.cells.iter().any(|cell| table.followed.contains(&cell.column));
        let (followed, updates): (Vec<_>, Vec<_>) = updates.into_iter().partition(follow);
        for update in followed {
            self.write_followed(table, update).await?;
        }
        let mut groups: Vec<(Columns, Vec<Update>)> = Vec::new();
        for update in updates {
            let shape = shape_of(&update.cells);
            match groups.iter_mut().find(|(known, _)| *known == shape) {
                Some((_, rows)) => rows.push(update),
                None => groups.push((shape, vec![update])),
            }
        }
        let many = statement::can_update_many(table);
        for (shape, rows) in groups {
            match &many {
                Some((key, fillers)) if rows.len() >= TOGETHER_MIN => {
                    self.update_group(table, *key, fillers, &shape, rows).await?;
                }
                Some(_) | None => {
                    for row in rows {
                        self.write_cells(table, row.cells, &row.address).await?;
                    }
                }
            }
        }
        Ok(())
    }

    /// With checks on, so that the target's own ON UPDATE rules run.
    async fn write_followed(&mut self, table: &BoundTable, update: Update) -> Result<(), Failure> {
        self.session.check_foreign_keys(true).await?;
        let written = self.write_cells(table, update.cells, &update.address).await;
        self.session.check_foreign_keys(false).await?;
        self.reached = true;
        written.map(|_| ())
    }

    async fn update_group(
        &mut self,
        table: &'c BoundTable,
        key: usize,
        fillers: &[(usize, &'static str)],
        shape: &[(usize, Form)],
        rows: Vec<Update>,
    ) -> Result<(), Failure> {
        let bytes_max = STATEMENT_BYTES_MAX.min(self.session.packet_bytes_max / 2);
        let mut rows = rows.into_iter().peekable();
        while rows.peek().is_some() {
            let step = statement::rows_per_statement(rows.len(), shape.len() + 1);
            let mut params = Vec::with_capacity(step * (shape.len() + 1));
            let (mut count, mut bytes) = (0_usize, 0_usize);
            while count < step {
                let Some(next) = rows.peek() else { break };
                let size: usize =
                    next.cells.iter().map(|cell| cell::param_bytes(&cell.param)).sum();
                if count > 0 && bytes.saturating_add(size) > bytes_max {
                    break;
                }
                bytes = bytes.saturating_add(size);
                count += 1;
                if let Some(row) = rows.next() {
                    params.extend(row.address);
                    params.extend(row.cells.into_iter().map(|cell| cell.param));
                }
            }
            let sql = statement::update_many(table, key, shape, fillers, count);
            self.session.execute(&sql, params).await?;
        }
        Ok(())
    }

    pub(super) async fn write_cells(
        &mut self,
        table: &BoundTable,
        cells: Vec<Cell>,
        address: &[Param],
    ) -> Result<u64, Failure> {
        let shape = shape_of(&cells);
        let at = resolve::address_columns(table);
        let sql = statement::update(table, &shape, &at);
        let mut params: Vec<Param> = cells.into_iter().map(|cell| cell.param).collect();
        let place = statement::place_params(table, &at, address);
        params.extend(place.iter().cloned());
        let affected = self.session.execute(&sql, params).await?.affected;
        // Where no key finds it. A row that held all this before is not counted, and is there.
        if affected == 0 && !statement::by_key(table) && !table.is_whole_row() {
            let there = self.session.rows(&statement::is_there(table, &at), place).await?;
            if there.is_empty() {
                return Err(Failure::Row(statement::not_hit(table)));
            }
        }
        Ok(affected)
    }

    /// An update that changes what the row is called. It is alone in its run.
    pub(super) async fn rename(&mut self, row: &Row<'c, 's>) -> Result<(), Failure> {
        let Some(previous) = row.previous else { return Ok(()) };
        let old = RowName { table: &row.table.name, identity: previous };
        let whole = matches!(row.table.identity, BoundIdentity::WholeRow);
        let address = if whole {
            self.known.identity_params(self.map, row.table, previous)
        } else {
            self.known.located(&old).map(|located| located.address.clone())
        };
        let Some(address) = address else {
            if self.known.located(&row.name()).is_some() {
                let update = self.update(row)?;
                return self.write_updates(row.table, update.into_iter().collect()).await;
            }
            // The other end knows it by its new name only.
            let mut hold = Hold::missing(&row.table.name, previous, "renames a row");
            let now = row.identity.clone().into_owned();
            hold.awaits = Some(Awaits::Row(Name::clone(&row.table.name), now));
            return self.hold(row, hold);
        };
        let cells = match self.cells(row, true, true) {
            Ready::Cells(cells, deferred) if deferred.is_empty() => cells,
            Ready::Hold(hold) => return self.hold(row, hold),
            Ready::Cells(..) | Ready::NextWave => return Err(Failure::Split),
        };
        // With checks on, so that the target's own ON UPDATE rules run.
        self.session.check_foreign_keys(true).await?;
        let affected = self.write_cells(row.table, cells, &address).await;
        self.session.check_foreign_keys(false).await?;
        if affected? == 0 && whole {
            return self.hold(row, Hold::missing(&row.table.name, previous, "changes a row"));
        }
        self.outcome.written.push((row.name(), Net::Update));
        self.known.clear();
        Ok(())
    }
}

/// Where a row is after an update of columns by which it is found; `None` if it stays.
fn moved(mut located: Located, table: &BoundTable, cells: &[Cell]) -> Option<Located> {
    let mut any = false;
    for (column, part) in resolve::address_columns(table).into_iter().zip(&mut located.address) {
        if let Some(cell) = cells.iter().find(|cell| cell.column == column) {
            *part = cell.param.clone();
            any = true;
        }
    }
    any.then_some(located)
}
