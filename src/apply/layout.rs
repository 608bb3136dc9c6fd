//! Whether the target's tables still are what the map was bound to: a column made narrower would
//! round or cut what it was found to hold.
//!
//! The first statement of a transaction about a table also keeps the table from being altered until
//! the transaction ends; so one look in each is enough, and it is a single round trip for all.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::sync::{Mutex, PoisonError};

use mysql_async::Column;
use xxhash_rust::xxh3::Xxh3Default;

use super::error::{Error, Failure};
use super::session::Session;
use crate::database::name::quoted;
use crate::schema_map::BoundTable;
use crate::value::Name;

/// Columns in one look, below what a server lets a result have.
const COLUMNS_MAX: usize = 2_000;
/// Tables in one look, below what a server joins.
const TABLES_MAX: usize = 40;

/// What the tables looked like to the server when they were found to be as they are bound.
#[derive(Debug, Default)]
pub(super) struct Layouts {
    known: Mutex<HashMap<Name, u64>>,
}

impl Layouts {
    /// Looks at tables of the open transaction.
    ///
    /// # Errors
    ///
    /// [`Error::Changed`] if one is not as it is bound.
    pub(super) async fn check(
        &self,
        session: &mut Session,
        database: &str,
        tables: &[&BoundTable],
    ) -> Result<(), Failure> {
        let mut new = BTreeMap::new();
        for some in pieces(tables) {
            let columns = session.columns(&look(some)).await?;
            for (table, layout) in some.iter().zip(layouts(some.len(), &columns)) {
                let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
                match known.get(&table.name) {
                    Some(known) if *known == layout => {}
                    Some(_) => return Err(changed(table)),
                    None => {
                        new.insert(&*table.name, (*table, layout));
                    }
                }
            }
        }
        if new.is_empty() {
            return Ok(());
        }
        let names: Vec<Name> = new.values().map(|(table, _)| Name::clone(&table.name)).collect();
        let live = session.tables(database, &names).await?;
        for (name, (table, layout)) in new {
            let is_bound = live.tables.get(name).is_some_and(|live| {
                live.columns.iter().eq(table.columns.iter().map(|column| &column.live))
            });
            if !is_bound {
                return Err(changed(table));
            }
            let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            known.insert(Name::clone(&table.name), layout);
        }
        Ok(())
    }
}

fn changed(table: &BoundTable) -> Failure {
    let words = format!("table {} is not as it was when the map was held against it", table.name);
    Failure::Whole(Error::Changed(words))
}

/// As many tables as one look may have, again and again.
fn pieces<'p, 't>(tables: &'p [&'t BoundTable]) -> impl Iterator<Item = &'p [&'t BoundTable]> {
    let mut rest = tables;
    std::iter::from_fn(move || {
        let mut columns = 0_usize;
        let fits = |table: &&&BoundTable| {
            columns = columns.saturating_add(table.columns.len());
            columns <= COLUMNS_MAX
        };
        let count = rest.iter().take(TABLES_MAX).take_while(fits).count().max(1).min(rest.len());
        let (some, others) = rest.split_at_checked(count)?;
        rest = others;
        (!some.is_empty()).then_some(some)
    })
}

/// No rows of several tables: what their columns are is all that is asked. For update, so that the
/// tables are held the way they will be written: an `ALTER` that waits would be between the two.
fn look(tables: &[&BoundTable]) -> String {
    let mut sql = "SELECT ".to_owned();
    // By name, because `*` passes over invisible ones.
    for (number, table) in tables.iter().enumerate() {
        for (place, column) in table.columns.iter().enumerate() {
            let comma = if number + place > 0 { ", " } else { "" };
            let _written = write!(sql, "{comma}t{number}.{}", quoted(&column.name));
        }
    }
    sql.push_str(" FROM ");
    for (number, table) in tables.iter().enumerate() {
        let comma = if number > 0 { ", " } else { "" };
        // Writing into a String cannot fail.
        let _written = write!(sql, "{comma}{} AS t{number}", quoted(&table.name));
    }
    sql.push_str(" LIMIT 0 FOR UPDATE");
    sql
}

/// One number for the columns of each table of a look.
fn layouts(count: usize, columns: &[Column]) -> Vec<u64> {
    let mut all = vec![Xxh3Default::new(); count];
    for column in columns {
        let alias = column.table_str();
        let number = alias.strip_prefix('t').and_then(|number| number.parse::<usize>().ok());
        let Some(layout) = number.and_then(|number| all.get_mut(number)) else { continue };
        layout.update(column.name_ref());
        layout.update(&[0, column.column_type() as u8, column.decimals()]);
        layout.update(&column.column_length().to_le_bytes());
        layout.update(&column.character_set().to_le_bytes());
        layout.update(&column.flags().bits().to_le_bytes());
    }
    all.into_iter().map(|layout| layout.digest()).collect()
}
