//! A row's values as the target's columns take them, its references as local keys.

use mysql_async::Value as Param;

use super::{Writer, ambiguous, lender, reference_of};
use crate::apply::cell::{self, Cell, Form};
use crate::apply::error::Hold;
use crate::apply::exact;
use crate::apply::plan::{Row, RowName};
use crate::apply::resolve::Slot;
use crate::change::Identity;
use crate::schema_map::{BoundIdentity, BoundTable, Fill, ReferenceRule, Role};
use crate::value::Value;

/// A row's cells, or why it has none yet.
pub(super) enum Ready<'c, 's> {
    Cells(Vec<Cell>, Vec<(usize, RowName<'c, 's>)>),
    /// It refers to a row of its own table that is still to be inserted.
    NextWave,
    Hold(Hold),
}

/// The columns that a statement writes.
pub(super) type Columns = Vec<(usize, Form)>;

impl<'c, 's> Writer<'_, 'c, 's> {
    /// The cells of a row: its values, and for a new or renamed one also its identity and the
    /// columns that do not travel.
    pub(super) fn cells(&self, row: &Row<'c, 's>, now: bool, identity: bool) -> Ready<'c, 's> {
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
                match exact::kept(bound, value).and_then(|()| cell::cell(*column, bound, value)) {
                    Ok(cell) => cells.push(cell),
                    Err(hold) => return Ready::Hold(hold),
                }
                continue;
            };
            if matches!(reference.identity, Identity::Lost(0)) {
                // No row is called 0: some columns without a foreign key hold it for none.
                cells.push(Cell::new(*column, bound, Param::Int(0)));
                continue;
            }
            let name = RowName { table: &reference.table, identity: &reference.identity };
            match self.known.get(&name) {
                Some(Slot::At(located)) => {
                    let param = reference_param(&bound.role, bound, &located.local);
                    cells.push(Cell::new(*column, bound, param));
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
        // Of a borrowed identity the columns hold a local key.
        if !matches!(row.table.identity, BoundIdentity::Borrowed { .. }) {
            for (column, value) in columns.iter().zip(values_of(row.identity)) {
                if let Some(bound) = row.table.columns.get(*column) {
                    exact::kept(bound, value)?;
                }
            }
        }
        Ok(columns
            .into_iter()
            .zip(params)
            .map(|(column, param)| {
                let bound = row.table.columns.get(column);
                match bound.filter(|bound| !cell::is_binary(bound)) {
                    Some(bound) => Cell::new(column, bound, param),
                    None => Cell { column, form: Form::Binary, param },
                }
            })
            .collect())
    }
}

fn values_of<'v, 's>(identity: &'v Identity<'s>) -> &'v [Value<'s>] {
    match identity {
        Identity::One(value) => std::slice::from_ref(value),
        Identity::Many(values) => values,
        Identity::Lost(_) => &[],
    }
}

pub(super) fn shape_of(cells: &[Cell]) -> Columns {
    cells.iter().map(|cell| (cell.column, cell.form)).collect()
}

/// A local key as a column holds it: some columns keep it as text.
pub(super) fn reference_param(
    role: &Role,
    bound: &crate::schema_map::BoundColumn,
    local: &Param,
) -> Param {
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
            Some(Cell::new(column, bound, Param::Bytes(text.as_bytes().to_vec())))
        }
        Role::LeftOut(Fill::Default)
        | Role::Plain
        | Role::LocalKey
        | Role::Reference(_)
        | Role::Generated => None,
    })
}
