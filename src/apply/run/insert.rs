//! New rows: those of one table together, parents before children, and where they came to lie.

use mysql_async::Value as Param;

use super::cells::{Columns, Ready, shape_of};
use super::{Fixup, STATEMENT_BYTES_MAX, Writer};
use crate::apply::cell::{self, Cell, Form};
use crate::apply::error::Failure;
use crate::apply::plan::{Net, Row, RowName};
use crate::apply::resolve::{self, Located, Needs, Slot};
use crate::apply::statement;
use crate::schema_map::{BoundTable, Role};

/// Rows that refer to rows of their own table are inserted in this many rounds, parents first,
/// before what is left takes the second step.
const WAVES: u32 = 4;

/// A row ready to be inserted.
struct Insert<'a, 'c, 's> {
    row: &'a Row<'c, 's>,
    cells: Vec<Cell>,
    /// Its place in the target is needed later in this run.
    needed: bool,
}

impl<'c, 's> Writer<'_, 'c, 's> {
    pub(super) async fn insert<'a>(&mut self, rows: Vec<&'a Row<'c, 's>>) -> Result<(), Failure> {
        let mut waiting = rows;
        let mut wave = 0;
        while !waiting.is_empty() {
            let last = wave >= WAVES;
            let mut ready = Vec::with_capacity(waiting.len());
            let mut later = Vec::new();
            for row in waiting {
                match self.cells(row, last, true) {
                    Ready::NextWave => later.push(row),
                    Ready::Hold(hold) => self.hold(row, hold)?,
                    Ready::Cells(cells, deferred) => {
                        let needed = !deferred.is_empty() || self.referred_to.contains(&row.name());
                        let cells = self.with_deferred(row, cells, deferred).await?;
                        ready.push(Insert { row, cells, needed });
                    }
                }
            }
            // Rows that wait for each other in a ring take the second step.
            wave = if ready.is_empty() { WAVES } else { wave + 1 };
            self.insert_ready(ready).await?;
            waiting = later;
        }
        Ok(())
    }

    async fn insert_ready<'a>(
        &mut self,
        mut ready: Vec<Insert<'a, 'c, 's>>,
    ) -> Result<(), Failure> {
        let Some(first) = ready.first() else { return Ok(()) };
        let table: &'c BoundTable = first.row.table;
        self.allocate_keys(table, &mut ready).await?;
        let mut groups: Vec<(Columns, Vec<Insert<'a, 'c, 's>>)> = Vec::new();
        for insert in ready {
            let shape = shape_of(&insert.cells);
            match groups.iter_mut().find(|(known, _)| *known == shape) {
                Some((_, rows)) => rows.push(insert),
                None => groups.push((shape, vec![insert])),
            }
        }
        let mut unplaced = Needs::default();
        for (shape, rows) in groups {
            self.insert_group(table, &shape, rows, &mut unplaced).await?;
        }
        self.known.resolve(self.session, self.map, unplaced).await
    }

    async fn insert_group<'a>(
        &mut self,
        table: &'c BoundTable,
        shape: &[(usize, Form)],
        rows: Vec<Insert<'a, 'c, 's>>,
        unplaced: &mut Needs<'c, 's>,
    ) -> Result<(), Failure> {
        let bytes_max = STATEMENT_BYTES_MAX.min(self.session.packet_bytes_max / 2);
        let mut rows = rows.into_iter().peekable();
        while rows.peek().is_some() {
            let step = statement::rows_per_statement(rows.len(), shape.len());
            let mut piece = Vec::with_capacity(step);
            let mut bytes = 0_usize;
            while piece.len() < step {
                let Some(next) = rows.peek() else { break };
                let size: usize =
                    next.cells.iter().map(|cell| cell::param_bytes(&cell.param)).sum();
                if !piece.is_empty() && bytes.saturating_add(size) > bytes_max {
                    break;
                }
                bytes = bytes.saturating_add(size);
                piece.extend(rows.next());
            }
            self.insert_piece(table, shape, piece, unplaced).await?;
        }
        Ok(())
    }

    async fn insert_piece<'a>(
        &mut self,
        table: &'c BoundTable,
        shape: &[(usize, Form)],
        piece: Vec<Insert<'a, 'c, 's>>,
        unplaced: &mut Needs<'c, 's>,
    ) -> Result<(), Failure> {
        let count = piece.len();
        let mut params = Vec::with_capacity(count * shape.len());
        let mut placed = Vec::with_capacity(count);
        for insert in piece {
            let at = insert.needed.then(|| place_of(table, &insert.cells));
            params.extend(insert.cells.into_iter().map(|cell| cell.param));
            placed.push((insert.row, at));
        }
        let sql = statement::insert(table, shape, count);
        let done = self.session.execute(&sql, params).await?;
        for (row, at) in placed {
            let name = row.name();
            self.pending.remove(&name);
            self.outcome.written.push((name, Net::Insert));
            self.known.forget(&name);
            let Some(mut parts) = at else { continue };
            // Only of a single row is the id sure to be the one the server reports.
            if let (1, Some(id)) = (count, done.last_insert_id) {
                parts.fill(table, id);
            }
            match parts.located() {
                Some(located) => self.known.put(name, Slot::At(located)),
                None => self.known.want(unplaced, self.map, row.table, row.identity, true),
            }
        }
        Ok(())
    }

    /// Keys that the server does not make itself: one above the highest.
    async fn allocate_keys<'a>(
        &mut self,
        table: &'c BoundTable,
        ready: &mut [Insert<'a, 'c, 's>],
    ) -> Result<(), Failure> {
        let identity = table.identity_columns();
        let key = table.columns.iter().enumerate().find(|(index, column)| {
            column.role == Role::LocalKey
                && table.auto_increment != Some(*index)
                && !identity.contains(index)
        });
        let Some((key, bound)) = key else { return Ok(()) };
        let highest = self.session.rows(&statement::highest(table, key), Vec::new()).await?;
        let highest = highest.into_iter().next().and_then(|row| row.unwrap().into_iter().next());
        let mut next = match highest {
            None | Some(Param::NULL) => 0,
            Some(Param::Int(number)) => u64::try_from(number).unwrap_or(0),
            Some(Param::UInt(number)) => number,
            Some(_) => {
                return Err(Failure::Row(format!(
                    "the key of {} is neither a number nor made by the server: it cannot be \
                     chosen here",
                    table.name
                )));
            }
        };
        for insert in ready {
            next = next.saturating_add(1);
            insert.cells.push(Cell::new(key, bound, Param::UInt(next)));
        }
        Ok(())
    }

    /// Adds the columns that get their reference in the second step.
    async fn with_deferred(
        &mut self,
        row: &Row<'c, 's>,
        mut cells: Vec<Cell>,
        deferred: Vec<(usize, RowName<'c, 's>)>,
    ) -> Result<Vec<Cell>, Failure> {
        for (column, target) in deferred {
            let Some(bound) = row.table.columns.get(column) else { continue };
            let param =
                if bound.live.nullable { Param::NULL } else { self.stand_in(target.table).await? };
            cells.push(Cell::new(column, bound, param));
            self.fixups.push(Fixup { row: row.name(), table: row.table, column, target });
        }
        cells.sort_by_key(|cell| cell.column);
        Ok(cells)
    }

    async fn stand_in(&mut self, table: &'c str) -> Result<Param, Failure> {
        if let Some(param) = self.stand_ins.get(table) {
            return Ok(param.clone());
        }
        let bound = self.map.tables.get(table);
        let key = bound.and_then(|table| Some((table, table.local_key?)));
        let mut param = Param::Int(0);
        if let Some((table, key)) = key {
            let rows = self.session.rows(&statement::any_row(table, key), Vec::new()).await?;
            if let Some(found) = rows.into_iter().next().and_then(|row| row.unwrap().pop()) {
                param = found;
            }
        }
        self.stand_ins.insert(table, param.clone());
        Ok(param)
    }
}

/// A row's place as far as its own cells tell it.
struct Parts {
    local: Option<Param>,
    address: Vec<(usize, Option<Param>)>,
    key: Option<usize>,
}

fn place_of(table: &BoundTable, cells: &[Cell]) -> Parts {
    let value = |column: usize| {
        cells.iter().find(|cell| cell.column == column).map(|cell| cell.param.clone())
    };
    let columns = resolve::address_columns(table);
    let address = columns.into_iter().map(|column| (column, value(column))).collect();
    let local = match table.local_key {
        None => Some(Param::NULL),
        Some(column) => value(column),
    };
    Parts { local, address, key: table.local_key }
}

impl Parts {
    /// Takes the id that the server gave to the row.
    fn fill(&mut self, table: &BoundTable, id: u64) {
        let Some(column) = table.auto_increment else { return };
        if self.local.is_none() && self.key == Some(column) {
            self.local = Some(Param::UInt(id));
        }
        for (address, value) in &mut self.address {
            if value.is_none() && *address == column {
                *value = Some(Param::UInt(id));
            }
        }
    }

    fn located(self) -> Option<Located> {
        let address = self.address.into_iter().map(|(_, value)| value).collect::<Option<_>>()?;
        Some(Located { local: self.local?, address, folded: false })
    }
}
