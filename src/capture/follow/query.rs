//! Statements in the log: what begins and ends transactions, what defines tables, and what changed
//! rows that are not in the log.

use std::sync::Arc;

use super::refuse::{given_up, refused};
use super::unlogged::Unchecked;
use super::{Beginning, Follower, Transaction};
use crate::capture::Error;
use crate::capture::alter::renumbers;
use crate::capture::decode::{Header, Query};
use crate::capture::place::Spot;
use crate::capture::plan::TablePlan;
use crate::capture::statement::{Statement, moves_rows, starts_transaction};
use crate::capture::words::Mentions;
use crate::schema_map::BoundTable;
use crate::value::Name;

impl Follower {
    pub(super) fn query(
        &mut self,
        query: &Query<'_>,
        header: &Header,
        start: &Spot,
    ) -> Result<(), Error> {
        let sql = query.text();
        let statement = Statement::read(&sql);
        match statement {
            Statement::Begin => {
                if self
                    .transaction
                    .as_ref()
                    .is_some_and(|open| open.beginning == Beginning::Statement)
                {
                    self.cut_off()?;
                }
                if self.transaction.is_none() {
                    self.begin(None, Transaction::default())?;
                }
                if let Some(transaction) = &mut self.transaction {
                    transaction.beginning = Beginning::Statement;
                }
            }
            Statement::Commit => self.commit(header),
            Statement::Rollback => self.abandon()?,
            Statement::Savepoint => self.savepoint(&sql),
            Statement::RollbackToSavepoint => self.back_to_savepoint(&sql, start)?,
            Statement::Xa => self.xa(&sql, header, start)?,
            Statement::InPlaceOfRows => {
                for sql in query.texts() {
                    self.in_place_of_rows(query, &sql, header, start)?;
                }
                self.doubt(query);
                self.end_of_statement(header);
            }
            kind @ (Statement::Rowless | Statement::Definition) => {
                if kind == Statement::Rowless {
                    for sql in query.texts() {
                        self.rowless(query, &sql, start)?;
                    }
                }
                self.doubt(query);
                if starts_transaction(&sql) {
                    // CREATE TABLE ... SELECT: its rows follow.
                    self.transaction.get_or_insert_default().beginning = Beginning::Read;
                    return Ok(());
                }
                self.end_of_statement(header);
            }
        }
        Ok(())
    }

    /// Notes what a statement may have defined anew.
    fn doubt(&mut self, query: &Query<'_>) {
        for sql in query.texts() {
            if !self.definitions.doubt(&sql, &query.schema) {
                continue;
            }
            // What the tables are like now is to be asked for again.
            self.live = None;
            if matches!(self.unchecked, Some(Unchecked::Against(_))) {
                self.unchecked = Some(Unchecked::All);
            }
            for table in self.renumbered(&sql, &query.schema) {
                tracing::warn!(
                    %table,
                    "its rows may have other numbers from here on, and what they are called is asked \
                     anew; rows that referred to it by their former numbers may be wrong"
                );
                self.forget(&table);
            }
        }
    }

    /// The tables whose rows may have other values in their key columns after a statement.
    fn renumbered(&self, sql: &str, schema: &str) -> Vec<Name> {
        let mentions = Mentions::defined(sql, schema, &self.settings.database);
        let renumbers = |table: &&Arc<BoundTable>| {
            let key = table.local_key.and_then(|key| table.columns.get(key));
            mentions.table(&table.name) && key.is_some_and(|key| renumbers(sql, &key.name))
        };
        self.map.tables.values().filter(renumbers).map(|table| table.name.clone()).collect()
    }

    /// A statement outside of BEGIN and COMMIT commits itself.
    pub(super) fn end_of_statement(&mut self, header: &Header) {
        let commits =
            self.transaction.as_ref().is_none_or(|open| open.standalone || !open.has_begun());
        if commits {
            self.commit(header);
        }
    }

    /// Forgets what rows of the tables are called that the open transaction changed.
    pub(super) fn forget_changed(&mut self) {
        let tables = self.transaction.as_ref().map(|open| open.tables.clone());
        tables.unwrap_or_default().iter().for_each(|table| self.forget(table));
    }

    fn rowless(&mut self, query: &Query<'_>, sql: &str, start: &Spot) -> Result<(), Error> {
        let map = Arc::clone(&self.map);
        let database = self.settings.database.clone();
        let moves =
            |table: &&Arc<BoundTable>| moves_rows(sql, &query.schema, &database, &table.name);
        let accepted = self.is_accepted(start);
        let (sent, others): (Vec<_>, Vec<_>) = map
            .tables
            .values()
            .filter(moves)
            .partition(|table| TablePlan::is_sent(table) && !accepted);
        // Rows that do not travel are only referred to.
        for table in others {
            self.forget(&table.name);
        }
        match sent.iter().map(|table| &table.name).min() {
            Some(table) => Err(refused(
                start,
                &format!(
                    "a statement changed table {table} without its rows being in the log \
                     (TRUNCATE, DROP, RENAME, CREATE OR REPLACE, or an ALTER TABLE that puts rows in \
                     or takes them out)"
                ),
                &given_up(start),
            )),
            None => Ok(()),
        }
    }

    fn is_harmless(&self, database: &str) -> bool {
        self.settings.harmless_databases.iter().any(|harmless| harmless == database)
    }

    /// A statement that was logged in the place of the rows it changed. Triggers and functions make
    /// it change tables that it does not name, so no such statement of the database can be passed over.
    fn in_place_of_rows(
        &mut self,
        query: &Query<'_>,
        sql: &str,
        header: &Header,
        start: &Spot,
    ) -> Result<(), Error> {
        // What servers make up themselves: an in-memory table is empty after a restart.
        if header.is_without_schema() {
            return Ok(());
        }
        let database = self.settings.database.clone();
        let mentions = Mentions::read(sql, &query.schema, &database);
        let named = self.map.tables.keys().find(|table| mentions.table(table)).cloned();
        if named.is_none() && !self.decoder.is_mariadb() && query.empties_memory() {
            return Ok(());
        }
        if self.is_accepted(start) {
            self.forget_all();
            return Ok(());
        }
        let changes = query.may_change(&database);
        let mut remedy = "Set binlog_format = ROW for every session.".to_owned();
        let what = match named {
            Some(table) => format!("changed table {table}"),
            None if changes.unwrap_or(mentions.database) => {
                format!("changed some table of {database}, perhaps a mapped one,")
            }
            // This server logs what such a statement changes, triggers and functions included.
            None if changes.is_some() => return Ok(()),
            None if self.is_harmless(&query.schema) => return Ok(()),
            None if query.schema.is_empty() => {
                format!("ran outside of any database, and may have changed a table of {database},")
            }
            None => {
                let other = &query.schema;
                remedy.push_str(&format!(
                    " Or, if no trigger, function, procedure or view of {other} writes into \
                     {database}, name it: [capture] harmless_databases = [\"{other}\"]."
                ));
                format!("ran in database {other}, and may have changed a table of {database},")
            }
        };
        let what = format!("a session in statement format {what} without rows being in the log");
        Err(refused(start, &what, &format!("{remedy} {}", given_up(start))))
    }
}
