//! What the log alone does not tell, asked of the database: identities of rows written before
//! capture began, what deciding rows say, and whole rows that the other end lacks.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Params, Row};

use super::decode::Charset;
use super::translate::{RowValues, lender};
use super::{Error, start};
use crate::change::Identity;
use crate::database::connect;
use crate::database::name::quoted;
use crate::database::schema::{LiveColumn, LiveSchema, LiveTable};
use crate::database::server::Server;
use crate::position::Position;
use crate::schema_map::{BoundIdentity, BoundMap, BoundTable, ConditionalRule};
use crate::value::{Name, Value};

/// A server sends a transaction's rows before its own readers see them. What comes after them in the
/// spool must not be older than they are, so it is read behind the locks of who commits.
const SETTLED: &str = " LOCK IN SHARE MODE";
/// How many local keys on either side of a missing one are asked for with it: neighbours in a
/// table are usually needed together.
const NEIGHBOURS: i64 = 128;

/// What is not committed is never looked at, whatever the server's own settings are.
const SESSION: [&str; 2] = [
    "SET time_zone = '+00:00', NAMES utf8mb4",
    "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ",
];

type Boxed<'f, T> = Pin<Box<dyn Future<Output = Result<T, Error>> + Send + 'f>>;

/// A connection for questions, made when first needed and again after it broke.
pub(super) struct Fetcher {
    options: connect::Options,
    connection: Option<Conn>,
}

/// One row of a query, readable like a row of the log.
pub(super) struct FetchedRow {
    /// By place in the live table.
    values: HashMap<usize, Value<'static>>,
}

impl RowValues<'static> for FetchedRow {
    fn value(&self, column: usize) -> Result<Value<'static>, Error> {
        self.values.get(&column).cloned().ok_or(Error::ColumnNotFetched { column })
    }
}

impl Fetcher {
    pub(super) fn new(options: connect::Options) -> Fetcher {
        Fetcher { options, connection: None }
    }

    /// The database asked.
    pub(super) fn options(&self) -> &connect::Options {
        &self.options
    }

    /// Where the log ends now.
    pub(super) async fn log_end(&mut self, server: &Server) -> Result<Position, Error> {
        let connection = self.connection().await?;
        let end = start::log_end(connection, server).await;
        if end.is_err() {
            self.connection = None;
        }
        end
    }

    /// How all tables are defined now.
    pub(super) async fn schema(&mut self) -> Result<LiveSchema, Error> {
        let database = self.options.database.clone();
        let schema = LiveSchema::read(self.connection().await?, &database).await;
        self.answered(schema)
    }

    /// How tables are defined now; without those that do not exist.
    pub(super) async fn definitions(&mut self, names: &[Name]) -> Result<Vec<LiveTable>, Error> {
        let database = self.options.database.clone();
        let schema = LiveSchema::read_tables(self.connection().await?, &database, names).await;
        Ok(self.answered(schema)?.tables.into_values().collect())
    }

    /// After an error the connection is not used again.
    fn answered<T>(&mut self, answer: Result<T, crate::database::Error>) -> Result<T, Error> {
        if answer.is_err() {
            self.connection = None;
        }
        Ok(answer?)
    }

    /// The rows whose local keys are near the one asked for, with what their identity needs.
    pub(super) async fn near(
        &mut self,
        table: &Arc<BoundTable>,
        local: i64,
    ) -> Result<Vec<FetchedRow>, Error> {
        let columns = identity_and_key(table);
        let key = column_quoted(table, key_column(table)?)?;
        let from = local.saturating_sub(NEIGHBOURS);
        let through = local.saturating_add(NEIGHBOURS);
        let condition = format!("{key} BETWEEN ? AND ?");
        self.rows(table, &columns, &condition, vec![from.into(), through.into()]).await
    }

    /// The rows from a local key on, in its order, with what their identity needs: to fill the
    /// identity index page by page.
    pub(super) async fn page(
        &mut self,
        table: &Arc<BoundTable>,
        after: i64,
        rows_max: usize,
    ) -> Result<Vec<FetchedRow>, Error> {
        let columns = identity_and_key(table);
        let key = column_quoted(table, key_column(table)?)?;
        let condition = format!("{key} > ? ORDER BY {key} LIMIT {rows_max}");
        self.rows(table, &columns, &condition, vec![after.into()]).await
    }

    /// What a conditional reference's deciding row says.
    pub(super) async fn decision(
        &mut self,
        map: &BoundMap,
        rule: &ConditionalRule,
        local: i64,
    ) -> Result<Option<String>, Error> {
        let Some(decider) = map.tables.get(&rule.decider) else { return Ok(None) };
        let Some(column) = decider.column(&rule.column) else { return Ok(None) };
        let condition = format!("{} = ?{SETTLED}", column_quoted(decider, key_column(decider)?)?);
        let rows = self.rows(decider, &[column], &condition, vec![local.into()]).await?;
        Ok(rows.into_iter().next().and_then(|row| match row.values.get(&column) {
            Some(Value::Text(text)) => Some(text.to_string()),
            Some(_) | None => None,
        }))
    }

    /// A whole row by its identity, as it is now; `None` if there is none (any more).
    pub(super) async fn whole_row(
        &mut self,
        map: &BoundMap,
        table: &Arc<BoundTable>,
        identity: &Identity<'static>,
    ) -> Result<Option<FetchedRow>, Error> {
        let Some((condition, parameters)) = self.condition(map, table, identity).await? else {
            return Ok(None);
        };
        let columns: Vec<usize> = (0..table.columns.len()).collect();
        let condition = condition + SETTLED;
        let rows = self.rows(table, &columns, &condition, parameters).await?;
        Ok(rows.into_iter().next())
    }

    /// The WHERE clause that finds a row by its identity; `None` if something it is made of does
    /// not exist here.
    fn condition<'f>(
        &'f mut self,
        map: &'f BoundMap,
        table: &'f Arc<BoundTable>,
        identity: &'f Identity<'static>,
    ) -> Boxed<'f, Option<(String, Vec<mysql_async::Value>)>> {
        Box::pin(async move {
            let columns = table.identity_columns();
            let mut parameters = Vec::with_capacity(columns.len());
            if let BoundIdentity::Borrowed { table: owner, .. } = &table.identity {
                let Some(owner) = map.tables.get(&lender(map, owner)) else { return Ok(None) };
                let Some(local) = self.local(map, owner, identity).await? else { return Ok(None) };
                parameters.push(local);
            } else {
                let parts = match identity {
                    Identity::One(value) => std::slice::from_ref(value),
                    Identity::Many(parts) => parts.as_slice(),
                    Identity::Lost(_) => return Ok(None),
                };
                if parts.len() != columns.len() {
                    return Ok(None);
                }
                for part in parts {
                    let Some(parameter) = self.parameter(map, part).await? else {
                        return Ok(None);
                    };
                    parameters.push(parameter);
                }
            }
            let mut terms = Vec::with_capacity(columns.len());
            for column in columns {
                terms.push(format!("{} <=> ?", column_quoted(table, column)?));
            }
            Ok(Some((format!("{} LIMIT 1", terms.join(" AND ")), parameters)))
        })
    }

    fn parameter<'f>(
        &'f mut self,
        map: &'f BoundMap,
        part: &'f Value<'static>,
    ) -> Boxed<'f, Option<mysql_async::Value>> {
        Box::pin(async move {
            let Value::Reference(reference) = part else { return Ok(Some(plain(part))) };
            match map.tables.get(&reference.table) {
                Some(target) => self.local(map, target, &reference.identity).await,
                None => Ok(None),
            }
        })
    }

    /// The value that references to this row hold.
    fn local<'f>(
        &'f mut self,
        map: &'f BoundMap,
        table: &'f Arc<BoundTable>,
        identity: &'f Identity<'static>,
    ) -> Boxed<'f, Option<mysql_async::Value>> {
        Box::pin(async move {
            let Some((condition, parameters)) = self.condition(map, table, identity).await? else {
                return Ok(None);
            };
            let key = key_column(table)?;
            let rows = self.rows(table, &[key], &condition, parameters).await?;
            Ok(rows.into_iter().next().and_then(|row| row.values.get(&key).map(plain)))
        })
    }

    async fn rows(
        &mut self,
        table: &BoundTable,
        columns: &[usize],
        condition: &str,
        parameters: Vec<mysql_async::Value>,
    ) -> Result<Vec<FetchedRow>, Error> {
        let list = columns
            .iter()
            .map(|column| selected(table, *column))
            .collect::<Result<Vec<_>, _>>()?
            .join(", ");
        let name = quoted(&table.name);
        let statement = format!("SELECT {list} FROM {name} WHERE {condition}");
        let connection = self.connection().await?;
        let result: Result<Vec<Row>, _> =
            connection.exec(statement, Params::Positional(parameters)).await;
        let rows = match result {
            Ok(rows) => rows,
            Err(error) => {
                self.connection = None;
                return Err(Error::Question { table: table.name.clone(), source: error.into() });
            }
        };
        Ok(rows.into_iter().map(|row| fetched(table, columns, row)).collect())
    }

    async fn connection(&mut self) -> Result<&mut Conn, Error> {
        let connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.options.connect(&SESSION).await?,
        };
        Ok(self.connection.insert(connection))
    }
}

fn identity_and_key(table: &BoundTable) -> Vec<usize> {
    let mut columns = table.identity_columns();
    columns.extend(table.local_key.filter(|key| !columns.contains(key)));
    columns
}

fn key_column(table: &BoundTable) -> Result<usize, Error> {
    table.local_key.ok_or_else(|| Error::NoLocalKey { table: table.name.clone() })
}

fn column_quoted(table: &BoundTable, column: usize) -> Result<String, Error> {
    let column = table.columns.get(column).ok_or(Error::ColumnNotFetched { column })?;
    Ok(quoted(&column.name))
}

/// Whether a column's values are text, which is fetched as the bytes it is stored as: the server
/// would put a question mark in the place of what it cannot convert.
fn is_text(live: &LiveColumn) -> bool {
    live.charset.is_some()
        && matches!(
            live.data_type.as_str(),
            "char" | "varchar" | "tinytext" | "text" | "mediumtext" | "longtext"
        )
}

/// A column in a select list: temporal values as text, so that zero dates and fractions survive.
fn selected(table: &BoundTable, column: usize) -> Result<String, Error> {
    let name = column_quoted(table, column)?;
    let Some(live) = table.columns.get(column).map(|column| &column.live) else { return Ok(name) };
    Ok(match live.data_type.as_str() {
        "date" | "time" | "datetime" | "timestamp" => format!("CAST({name} AS CHAR)"),
        _ if is_text(live) => format!("CAST({name} AS BINARY)"),
        _ => name,
    })
}

fn fetched(table: &BoundTable, columns: &[usize], row: Row) -> FetchedRow {
    let values = columns
        .iter()
        .zip(row.unwrap())
        .filter_map(|(column, value)| {
            let live = &table.columns.get(*column)?.live;
            Some((*column, value_of(live, value)))
        })
        .collect();
    FetchedRow { values }
}

fn value_of(live: &LiveColumn, value: mysql_async::Value) -> Value<'static> {
    let charset = live.charset.as_deref().and_then(|name| Charset::of_name(name).ok());
    match (value, charset) {
        (mysql_async::Value::Bytes(bytes), Some(charset)) if is_text(live) => {
            charset.text(&bytes).into_owned()
        }
        (value, _) => crate::database::value::from_server(live, value),
    }
}

fn plain(value: &Value<'static>) -> mysql_async::Value {
    crate::database::value::parameter(value)
}
