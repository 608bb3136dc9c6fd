//! Rows that go: last, and with foreign key checks on, so that the target's own rules hold.

use mysql_async::Value as Param;

use super::{Writer, ambiguous, spelt_otherwise};
use crate::apply::error::Failure;
use crate::apply::plan::{Net, Row, row_hash};
use crate::apply::resolve::{self, Slot};
use crate::apply::statement;
use crate::schema_map::{BoundIdentity, BoundTable};

impl<'c, 's> Writer<'_, 'c, 's> {
    pub(super) async fn delete(&mut self, rows: &[Row<'c, 's>]) -> Result<(), Failure> {
        let mut doomed: Vec<(&'c BoundTable, Vec<Vec<Param>>)> = Vec::new();
        for row in rows.iter().rev().filter(|row| row.net == Net::Delete) {
            let table: &'c BoundTable = row.table;
            // What is here is another row. Of the one that waits nothing is left to be done.
            if self.is_misspelt(row) && !self.moot.contains(&row.name()) {
                self.hold_all(row, spelt_otherwise(&row.name()));
                continue;
            }
            let ambiguous_here = matches!(self.known.get(&row.name()), Some(Slot::Ambiguous));
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
            if self.moot.remove(&row.name()) && !ambiguous_here {
                self.outcome.dissolved.push(row_hash(&table.name, row.identity));
            }
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
        for (table, addresses) in doomed {
            result = self.delete_from(table, addresses).await;
            if result.is_err() {
                break;
            }
        }
        self.session.check_foreign_keys(false).await?;
        // The target's own foreign keys, which the map need not know, may have taken others along.
        self.known.clear();
        result
    }

    async fn delete_from(
        &mut self,
        table: &BoundTable,
        addresses: Vec<Vec<Param>>,
    ) -> Result<(), Failure> {
        let at = resolve::address_columns(table);
        if let ([key], true) = (at.as_slice(), statement::by_key(table)) {
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
            let done = self.session.execute(&statement::delete_one(table, &at), params).await?;
            // A row that was found and locked, unless it went with another one.
            let was_there = !statement::by_key(table) && !table.is_whole_row();
            if done.affected == 0 && was_there && !table.delete_reaches {
                return Err(Failure::Row(statement::not_hit(table)));
            }
        }
        Ok(())
    }
}
