//! Writes one planned run by set: rows located, inserts and updates by level with foreign key
//! checks off, references that close a cycle in a second step, deletes last with checks on.

use std::collections::{HashMap, HashSet};

use mysql_async::Value as Param;

use super::cell::{self, Cell, Form};
use super::error::{Failure, Hold, State};
use super::plan::{Net, Plan, Row, RowName, row_hash};
use super::resolve::{self, Known, Located, Needs, Slot};
use super::session::Session;
use super::statement;
use crate::change::Identity;
use crate::schema_map::{BoundIdentity, BoundMap, BoundTable, Fill, ReferenceRule, Role};
use crate::value::{Reference, Value};

/// Rows that refer to rows of their own table are inserted in this many rounds, parents first,
/// before what is left takes the second step.
const WAVES: u32 = 4;
/// A statement of more bytes than this is split, whatever the server allows.
const STATEMENT_BYTES_MAX: usize = 8 << 20;

/// Fewer updates of the same columns are written one by one.
const TOGETHER_MIN: usize = 3;

/// What became of a run.
#[derive(Debug, Default)]
pub(super) struct Outcome<'c, 's> {
    /// Changes set aside, by their number in the run.
    pub(super) holds: Vec<(usize, Hold)>,
    /// Rows that were written.
    pub(super) written: Vec<(RowName<'c, 's>, Net)>,
}

/// Writes a run. On failure the caller rolls back what was written of it and forgets `known`.
pub(super) async fn execute<'c, 's>(
    session: &mut Session,
    map: &'c BoundMap,
    known: &mut Known<'c, 's>,
    plan: Plan<'c, 's>,
    blocked: &HashMap<u64, State>,
) -> Result<Outcome<'c, 's>, Failure> {
    let mut writer = Writer {
        session,
        map,
        known,
        pending: HashSet::new(),
        referred_to: HashSet::new(),
        fixups: Vec::new(),
        stand_ins: HashMap::new(),
        outcome: Outcome { holds: plan.aside, written: Vec::new() },
    };
    let rows = writer.without_blocked(plan.rows, blocked);
    writer.locate(&rows).await?;
    let mut start = 0;
    while let Some(first) = rows.get(start) {
        let rest = rows.get(start..).unwrap_or_default();
        let count = rest.iter().take_while(|row| row.table.name == first.table.name).count();
        writer.write_table(rest.get(..count).unwrap_or_default()).await?;
        start += count;
    }
    writer.fix_up().await?;
    writer.delete(&rows).await?;
    writer.known.forget_missing();
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
    pending: HashSet<RowName<'c, 's>>,
    /// Rows that some row of this run refers to.
    referred_to: HashSet<RowName<'c, 's>>,
    fixups: Vec<Fixup<'c, 's>>,
    /// For each table, some row that a NOT NULL reference may point at for a moment.
    stand_ins: HashMap<&'c str, Param>,
    outcome: Outcome<'c, 's>,
}

/// A row's cells, or why it has none yet.
enum Ready<'c, 's> {
    Cells(Vec<Cell>, Vec<(usize, RowName<'c, 's>)>),
    /// It refers to a row of its own table that is still to be inserted.
    NextWave,
    Hold(Hold),
}

/// The columns that a statement writes.
type Columns = Vec<(usize, Form)>;

/// What an update writes, and where.
struct Update {
    address: Vec<Param>,
    cells: Vec<Cell>,
}

/// A row ready to be inserted.
struct Insert<'a, 'c, 's> {
    row: &'a Row<'c, 's>,
    cells: Vec<Cell>,
    /// Its place in the target is needed later in this run.
    needed: bool,
}

impl<'c, 's> Writer<'_, 'c, 's> {
    /// Sets aside the rows that have earlier changes waiting.
    fn without_blocked(
        &mut self,
        rows: Vec<Row<'c, 's>>,
        blocked: &HashMap<u64, State>,
    ) -> Vec<Row<'c, 's>> {
        if blocked.is_empty() {
            return rows;
        }
        let mut free = Vec::with_capacity(rows.len());
        for row in rows {
            let identities = [Some(row.identity), row.previous];
            let state = identities
                .into_iter()
                .flatten()
                .find_map(|identity| blocked.get(&row_hash(&row.table.name, identity)));
            let Some(state) = state else {
                free.push(row);
                continue;
            };
            for item in &row.items {
                self.outcome.holds.push((*item, behind(*state, &row)));
            }
        }
        free
    }

    async fn locate(&mut self, rows: &[Row<'c, 's>]) -> Result<(), Failure> {
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
        for row in rows {
            let missing = matches!(self.known.get(&row.name()), Some(Slot::Missing));
            if row.net == Net::Insert && missing {
                self.pending.insert(row.name());
            }
        }
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
            if row.previous.is_some() {
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

    async fn insert<'a>(&mut self, rows: Vec<&'a Row<'c, 's>>) -> Result<(), Failure> {
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
        let Some((key, _)) = key else { return Ok(()) };
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
            insert.cells.push(Cell { column: key, form: Form::Plain, param: Param::UInt(next) });
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
            let nullable = row.table.columns.get(column).is_some_and(|it| it.live.nullable);
            let param = if nullable { Param::NULL } else { self.stand_in(target.table).await? };
            cells.push(Cell { column, form: Form::Plain, param });
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

    /// What an update writes, and where; `None` if it writes nothing.
    fn update(&mut self, row: &Row<'c, 's>) -> Result<Option<Update>, Failure> {
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
    async fn write_updates(
        &mut self,
        table: &'c BoundTable,
        updates: Vec<Update>,
    ) -> Result<(), Failure> {
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

    async fn write_cells(
        &mut self,
        table: &BoundTable,
        cells: Vec<Cell>,
        address: &[Param],
    ) -> Result<u64, Failure> {
        let shape = shape_of(&cells);
        let at = resolve::address_columns(table);
        let sql = statement::update(table, &shape, &at);
        let mut params: Vec<Param> = cells.into_iter().map(|cell| cell.param).collect();
        params.extend(statement::place_params(table, &at, address));
        Ok(self.session.execute(&sql, params).await?.affected)
    }

    /// An update that changes what the row is called. It is alone in its run.
    async fn rename(&mut self, row: &Row<'c, 's>) -> Result<(), Failure> {
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
            return self.hold(row, Hold::missing(&row.table.name, previous, "renames a row"));
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

    /// The cells of a row: its values, and for a new or renamed one also its identity and the
    /// columns that do not travel.
    fn cells(&self, row: &Row<'c, 's>, now: bool, identity: bool) -> Ready<'c, 's> {
        let mut cells = Vec::with_capacity(row.table.columns.len());
        let mut deferred = Vec::new();
        if identity {
            match self.identity_cells(row) {
                Ok(more) => cells.extend(more),
                Err(hold) => return Ready::Hold(hold),
            }
        }
        for (column, value) in &row.values {
            let Some(bound) = row.table.columns.get(*column) else { continue };
            let Some(reference) = reference_of(value) else {
                match cell::cell(*column, bound, value) {
                    Ok(cell) => cells.push(cell),
                    Err(hold) => return Ready::Hold(hold),
                }
                continue;
            };
            if matches!(reference.identity, Identity::Lost(0)) {
                // No row is called 0: some columns without a foreign key hold it for none.
                cells.push(Cell { column: *column, form: Form::Plain, param: Param::Int(0) });
                continue;
            }
            let name = RowName { table: &reference.table, identity: &reference.identity };
            match self.known.get(&name) {
                Some(Slot::At(located)) => {
                    let param = reference_param(&bound.role, bound, &located.local);
                    cells.push(Cell { column: *column, form: Form::Plain, param });
                }
                Some(Slot::Ambiguous) => return Ready::Hold(ambiguous(&name)),
                Some(Slot::Missing) | None if self.pending.contains(&name) => {
                    let own = name.table == &*row.table.name && name != row.name();
                    if own && !now {
                        return Ready::NextWave;
                    }
                    deferred.push((*column, name));
                }
                Some(Slot::Missing) | None => {
                    return Ready::Hold(Hold::missing(
                        &reference.table,
                        &reference.identity,
                        &format!("{} refers to a row", bound.name),
                    ));
                }
            }
        }
        if identity && row.previous.is_none() {
            cells.extend(fills(row.table));
        }
        cells.sort_by_key(|cell| cell.column);
        Ready::Cells(cells, deferred)
    }

    fn identity_cells(&self, row: &Row<'c, 's>) -> Result<Vec<Cell>, Hold> {
        let Some(params) = self.known.identity_params(self.map, row.table, row.identity) else {
            let mut references = row.identity_references();
            references.extend(
                lender(self.map, row.table)
                    .map(|lender| RowName { table: &lender.name, identity: row.identity }),
            );
            for name in references {
                if self.known.located(&name).is_none() {
                    let table = crate::value::Name::from(name.table);
                    return Err(Hold::missing(&table, name.identity, "belongs to a row"));
                }
            }
            return Err(Hold::quarantine(format!(
                "{} cannot be an identity of {} here",
                row.identity, row.table.name
            )));
        };
        let columns = row.table.identity_columns();
        Ok(columns
            .into_iter()
            .zip(params)
            .map(|(column, param)| {
                let binary = row.table.columns.get(column).is_some_and(cell::is_binary);
                let form = if binary { Form::Binary } else { Form::Plain };
                Cell { column, form, param }
            })
            .collect())
    }

    async fn fix_up(&mut self) -> Result<(), Failure> {
        for fixup in std::mem::take(&mut self.fixups) {
            let row = self.known.located(&fixup.row);
            let target = self.known.located(&fixup.target);
            let (Some(row), Some(target)) = (row, target) else { return Err(Failure::Split) };
            let Some(bound) = fixup.table.columns.get(fixup.column) else { continue };
            let param = reference_param(&bound.role, bound, &target.local);
            let cells = vec![Cell { column: fixup.column, form: Form::Plain, param }];
            let address = row.address.clone();
            self.write_cells(fixup.table, cells, &address).await?;
        }
        Ok(())
    }

    async fn delete(&mut self, rows: &[Row<'c, 's>]) -> Result<(), Failure> {
        let mut doomed: Vec<(&'c BoundTable, Vec<Vec<Param>>)> = Vec::new();
        for row in rows.iter().rev().filter(|row| row.net == Net::Delete) {
            let table: &'c BoundTable = row.table;
            let address = match table.identity {
                BoundIdentity::WholeRow => {
                    self.known.identity_params(self.map, table, row.identity)
                }
                BoundIdentity::Column(_)
                | BoundIdentity::Borrowed { .. }
                | BoundIdentity::Composite(_) => match self.known.get(&row.name()) {
                    Some(Slot::Ambiguous) => {
                        let hold = ambiguous(&row.name());
                        self.hold_all(row, hold);
                        None
                    }
                    Some(Slot::At(located)) => Some(located.address.clone()),
                    Some(Slot::Missing) | None => None,
                },
            };
            // A row that is not here is already as deleted as it was to be.
            let Some(address) = address else { continue };
            self.outcome.written.push((row.name(), Net::Delete));
            // A later run of the same batch may make the row again, and must not update it where
            // it was.
            self.known.forget(&row.name());
            match doomed.last_mut() {
                Some((last, addresses)) if last.name == table.name => addresses.push(address),
                Some(_) | None => doomed.push((table, vec![address])),
            }
        }
        if doomed.is_empty() {
            return Ok(());
        }
        self.session.check_foreign_keys(true).await?;
        let mut result = Ok(());
        let mut cascades = false;
        for (table, addresses) in doomed {
            cascades |= table.referenced;
            result = self.delete_from(table, addresses).await;
            if result.is_err() {
                break;
            }
        }
        self.session.check_foreign_keys(false).await?;
        if cascades {
            self.known.clear();
        }
        result
    }

    async fn delete_from(
        &mut self,
        table: &BoundTable,
        addresses: Vec<Vec<Param>>,
    ) -> Result<(), Failure> {
        let at = resolve::address_columns(table);
        if let ([key], false) = (at.as_slice(), table.primary_key.is_empty()) {
            let mut keys: Vec<Param> = addresses.into_iter().flatten().collect();
            while !keys.is_empty() {
                let step = statement::rows_per_statement(keys.len(), 1);
                let piece = keys.split_off(keys.len().saturating_sub(step));
                let sql = statement::delete_many(table, *key, piece.len());
                self.session.execute(&sql, piece).await?;
            }
            return Ok(());
        }
        for address in addresses {
            let params = statement::place_params(table, &at, &address);
            self.session.execute(&statement::delete_one(table, &at), params).await?;
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

fn shape_of(cells: &[Cell]) -> Columns {
    cells.iter().map(|cell| (cell.column, cell.form)).collect()
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
        Some(Located { local: self.local?, address })
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

fn lender<'c>(map: &'c BoundMap, table: &BoundTable) -> Option<&'c BoundTable> {
    match &table.identity {
        BoundIdentity::Borrowed { table, .. } => map.tables.get(table).map(|table| &**table),
        BoundIdentity::Column(_) | BoundIdentity::Composite(_) | BoundIdentity::WholeRow => None,
    }
}

fn reference_of<'v, 's>(value: &'v Value<'s>) -> Option<&'v Reference<'s>> {
    if let Value::Reference(reference) = value { Some(reference) } else { None }
}

/// A local key as a column holds it: some columns keep it as text.
fn reference_param(role: &Role, bound: &crate::schema_map::BoundColumn, local: &Param) -> Param {
    match role {
        Role::Reference(ReferenceRule::Conditional(_) | ReferenceRule::Polymorphic(_))
            if cell::is_text(bound) =>
        {
            Param::Bytes(cell::comparable(local))
        }
        Role::Reference(_) | Role::Plain | Role::LocalKey | Role::LeftOut(_) | Role::Generated => {
            local.clone()
        }
    }
}

/// What left-out columns get in a new row. Where that is the default, naming no value gives it.
fn fills(table: &BoundTable) -> impl Iterator<Item = Cell> + '_ {
    table.columns.iter().enumerate().filter_map(|(column, bound)| match &bound.role {
        Role::LeftOut(Fill::Text(text)) => {
            Some(Cell { column, form: Form::Plain, param: Param::Bytes(text.as_bytes().to_vec()) })
        }
        Role::LeftOut(Fill::Default)
        | Role::Plain
        | Role::LocalKey
        | Role::Reference(_)
        | Role::Generated => None,
    })
}

fn behind(state: State, row: &Row<'_, '_>) -> Hold {
    Hold {
        state,
        reason: format!("waits behind an earlier change of the same row of {}", row.table.name),
        awaits: None,
    }
}

fn ambiguous(name: &RowName<'_, '_>) -> Hold {
    Hold::quarantine(format!(
        "more than one row of {} is called {}: make them differ, then retry",
        name.table, name.identity
    ))
}
