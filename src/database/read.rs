//! Reads a database's tables from `information_schema`: five queries, however many tables.
//!
//! Rows are read by place, not by name: MySQL 8 prints the names of these columns in upper case,
//! others as they are written in the query.

use std::collections::BTreeMap;
use std::sync::Arc;

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Row, Value};

use super::Error;
use super::schema::{ForeignKey, LiveColumn, LiveIndex, LiveSchema, LiveTable};
use super::server::Flavor;
use crate::value::Name;

/// How many table names one query lists.
const NAMES_MAX: usize = 200;

impl LiveSchema {
    /// The base tables of a database.
    pub async fn read(connection: &mut Conn, database: &str) -> Result<LiveSchema, Error> {
        let mut schema = LiveSchema { database: database.to_owned(), tables: BTreeMap::new() };
        schema.fill(connection, &[]).await?;
        Ok(schema)
    }

    /// Only the named tables, to learn anew what a DDL statement may have changed. Tables that
    /// are not there any more are not in the result.
    pub async fn read_tables(
        connection: &mut Conn,
        database: &str,
        names: &[Name],
    ) -> Result<LiveSchema, Error> {
        let mut schema = LiveSchema { database: database.to_owned(), tables: BTreeMap::new() };
        for names in names.chunks(NAMES_MAX) {
            schema.fill(connection, names).await?;
        }
        Ok(schema)
    }

    async fn fill(&mut self, connection: &mut Conn, names: &[Name]) -> Result<(), Error> {
        let row: Option<Row> =
            connection.query_first("SELECT VERSION(), @@lower_case_table_names").await?;
        let version = row.as_ref().and_then(|row| text(row, 0)).unwrap_or_default();
        // Such a server, as on Windows, is asked for a name in any letters and has it in small ones.
        if row.as_ref().and_then(|row| text(row, 1)).as_deref() == Some("1") {
            self.database = self.database.to_lowercase();
        }
        let flavor = if version.contains("MariaDB") { Flavor::Mariadb } else { Flavor::Mysql };
        let select = Select { database: &self.database, names };

        let mut tables = BTreeMap::new();
        for row in select.rows(connection, TABLES, "TABLE_SCHEMA", "TABLE_NAME").await? {
            let table = table(&row)?;
            tables.insert(Arc::clone(&table.name), table);
        }
        for row in select.rows(connection, COLUMNS, "TABLE_SCHEMA", "TABLE_NAME").await? {
            if let Some(table) = tables.get_mut(required(&row, 0)?.as_str()) {
                table.columns.push(column(&row, flavor)?);
            }
        }
        for row in select.rows(connection, INDEXES, "TABLE_SCHEMA", "TABLE_NAME").await? {
            if let Some(table) = tables.get_mut(required(&row, 0)?.as_str()) {
                add_index_column(table, &row, flavor)?;
            }
        }
        let rules = select.rows(connection, RULES, "CONSTRAINT_SCHEMA", "TABLE_NAME").await?;
        let rules = rules.iter().map(rule).collect::<Result<BTreeMap<_, _>, _>>()?;
        for row in select.rows(connection, KEYS, "TABLE_SCHEMA", "TABLE_NAME").await? {
            if let Some(table) = tables.get_mut(required(&row, 0)?.as_str()) {
                add_key_column(table, &row, &self.database, &rules)?;
            }
        }
        for row in select.rows(connection, TRIGGERS, "TRIGGER_SCHEMA", "EVENT_OBJECT_TABLE").await?
        {
            if let Some(table) = tables.get_mut(required(&row, 0)?.as_str()) {
                table.triggers.push(required(&row, 1)?);
            }
        }
        for table in tables.values_mut() {
            // A functional part has no column, so nothing can be found by the index's columns.
            table.indexes.retain(|index| index.columns.iter().all(|column| !column.is_empty()));
            table.indexes.sort_by_key(|index| index.name != "PRIMARY");
        }
        self.tables.append(&mut tables);
        Ok(())
    }
}

const TABLES: &str = "SELECT TABLE_NAME, ENGINE, TABLE_ROWS, TABLE_TYPE FROM \
    information_schema.TABLES WHERE TABLE_TYPE IN ('BASE TABLE', 'SYSTEM VERSIONED')";
const COLUMNS: &str = "SELECT TABLE_NAME, COLUMN_NAME, DATA_TYPE, COLUMN_TYPE, IS_NULLABLE, \
    COLUMN_DEFAULT, CHARACTER_SET_NAME, COLLATION_NAME, EXTRA, CHARACTER_MAXIMUM_LENGTH, \
    NUMERIC_PRECISION, NUMERIC_SCALE, DATETIME_PRECISION FROM information_schema.COLUMNS \
    WHERE 1 = 1";
const INDEXES: &str = "SELECT TABLE_NAME, INDEX_NAME, NON_UNIQUE, COLUMN_NAME, INDEX_TYPE FROM \
    information_schema.STATISTICS WHERE 1 = 1";
const KEYS: &str = "SELECT TABLE_NAME, CONSTRAINT_NAME, COLUMN_NAME, REFERENCED_TABLE_SCHEMA, \
    REFERENCED_TABLE_NAME, REFERENCED_COLUMN_NAME FROM information_schema.KEY_COLUMN_USAGE \
    WHERE REFERENCED_TABLE_NAME IS NOT NULL";
const RULES: &str = "SELECT TABLE_NAME, CONSTRAINT_NAME, DELETE_RULE, UPDATE_RULE FROM \
    information_schema.REFERENTIAL_CONSTRAINTS WHERE 1 = 1";
const TRIGGERS: &str = "SELECT EVENT_OBJECT_TABLE, TRIGGER_NAME FROM \
    information_schema.TRIGGERS WHERE 1 = 1";

/// Which tables a query is about.
struct Select<'a> {
    database: &'a str,
    /// Empty for all.
    names: &'a [Name],
}

impl Select<'_> {
    async fn rows(
        &self,
        connection: &mut Conn,
        query: &str,
        database_column: &str,
        table_column: &str,
    ) -> Result<Vec<Row>, Error> {
        let mut query = format!("{query} AND {database_column} = ?");
        let mut parameters = vec![Value::from(self.database)];
        if !self.names.is_empty() {
            let marks = vec!["?"; self.names.len()].join(",");
            query = format!("{query} AND {table_column} IN ({marks})");
            parameters.extend(self.names.iter().map(|name| Value::from(name.as_ref())));
        }
        query.push_str(match table_column {
            "EVENT_OBJECT_TABLE" => " ORDER BY EVENT_OBJECT_TABLE, TRIGGER_NAME",
            _ if query.contains("STATISTICS") => " ORDER BY TABLE_NAME, INDEX_NAME, SEQ_IN_INDEX",
            _ if query.contains("KEY_COLUMN_USAGE") => {
                " ORDER BY TABLE_NAME, CONSTRAINT_NAME, ORDINAL_POSITION"
            }
            _ if query.contains(".COLUMNS") => " ORDER BY TABLE_NAME, ORDINAL_POSITION",
            _ => "",
        });
        Ok(connection.exec(query, parameters).await?)
    }
}

fn table(row: &Row) -> Result<LiveTable, Error> {
    Ok(LiveTable {
        name: Arc::from(required(row, 0)?),
        engine: text(row, 1).unwrap_or_default(),
        columns: Vec::new(),
        indexes: Vec::new(),
        foreign_keys: Vec::new(),
        rows_estimate: number(row, 2).unwrap_or(0),
        triggers: Vec::new(),
        system_versioned: text(row, 3).is_some_and(|kind| kind == "SYSTEM VERSIONED"),
        hashed_keys: 0,
    })
}

fn column(row: &Row, flavor: Flavor) -> Result<LiveColumn, Error> {
    let data_type = required(row, 2)?.to_ascii_lowercase();
    let column_type = required(row, 3)?;
    let extra = text(row, 8).unwrap_or_default().to_ascii_lowercase();
    let small = |place| number(row, place).and_then(|number| u32::try_from(number).ok());
    let members = match data_type.as_str() {
        "enum" | "set" => members(&column_type),
        _ => Vec::new(),
    };
    Ok(LiveColumn {
        name: Arc::from(required(row, 1)?),
        nullable: required(row, 4)?.eq_ignore_ascii_case("yes"),
        default: text(row, 5).and_then(|default| match flavor {
            Flavor::Mariadb => mariadb_default(default),
            Flavor::Mysql => Some(default),
        }),
        charset: text(row, 6),
        collation: text(row, 7),
        // MySQL says `DEFAULT_GENERATED` of a default that is an expression: not the same.
        generated: ["virtual", "persistent", "stored generated"]
            .iter()
            .any(|word| extra.contains(word)),
        unsigned: column_type.to_ascii_lowercase().contains("unsigned"),
        characters_max: number(row, 9),
        precision: small(10),
        scale: small(11).or_else(|| small(12)),
        data_type,
        column_type,
        extra,
        members,
    })
}

fn add_index_column(table: &mut LiveTable, row: &Row, flavor: Flavor) -> Result<(), Error> {
    let name = required(row, 1)?;
    let column: Name = Arc::from(text(row, 3).unwrap_or_default());
    if let Some(index) = table.indexes.iter_mut().find(|index| index.name == name) {
        index.columns.push(column);
    } else {
        let unique = number(row, 2) == Some(0);
        // Elsewhere than in memory, `MariaDB` says so of unique keys only that are too long to be
        // kept as they are.
        let hashed = flavor == Flavor::Mariadb
            && unique
            && !table.engine.eq_ignore_ascii_case("memory")
            && text(row, 4).is_some_and(|kind| kind.eq_ignore_ascii_case("hash"));
        table.hashed_keys += usize::from(hashed);
        table.indexes.push(LiveIndex { name, unique, columns: vec![column] });
    }
    Ok(())
}

/// What ON DELETE and ON UPDATE say, by table and name of the foreign key.
type Rules = BTreeMap<(String, String), (String, String)>;
type Rule = ((String, String), (String, String));

fn rule(row: &Row) -> Result<Rule, Error> {
    Ok(((required(row, 0)?, required(row, 1)?), (required(row, 2)?, required(row, 3)?)))
}

fn add_key_column(
    table: &mut LiveTable,
    row: &Row,
    database: &str,
    rules: &Rules,
) -> Result<(), Error> {
    let name = required(row, 1)?;
    let (column, referenced) = (Arc::from(required(row, 2)?), Arc::from(required(row, 5)?));
    if let Some(key) = table.foreign_keys.iter_mut().find(|key| key.name == name) {
        key.columns.push(column);
        key.referenced.push(referenced);
        return Ok(());
    }
    let (schema, target) = (required(row, 3)?, required(row, 4)?);
    // A key into another database can never be one of ours: its name says where it points.
    let target = if schema == database { target } else { format!("{schema}.{target}") };
    // Which may do anything.
    let unknown = ("unknown".to_owned(), "unknown".to_owned());
    let (on_delete, on_update) =
        rules.get(&(table.name.to_string(), name.clone())).cloned().unwrap_or(unknown);
    table.foreign_keys.push(ForeignKey {
        name,
        columns: vec![column],
        table: Arc::from(target),
        referenced: vec![referenced],
        on_delete,
        on_update,
    });
    Ok(())
}

/// `MariaDB` prints a default as an SQL expression: text in quotes, `NULL` for no value.
fn mariadb_default(printed: String) -> Option<String> {
    if printed.eq_ignore_ascii_case("null") {
        return None;
    }
    match printed.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\'')) {
        Some(quoted) => Some(unquoted(quoted)),
        None => Some(printed),
    }
}

/// The members in `enum('a','b''c')`.
fn members(column_type: &str) -> Vec<String> {
    let Some((_, list)) = column_type.split_once('(') else { return Vec::new() };
    let mut members = Vec::new();
    let mut rest = list;
    while let Some(start) = rest.strip_prefix('\'') {
        let end = quoted_length(start);
        let (quoted, after) = start.split_at_checked(end).unwrap_or((start, ""));
        members.push(unquoted(quoted));
        rest = after.trim_start_matches('\'').trim_start_matches(',');
    }
    members
}

/// How many bytes of `text` come before the quote that closes it.
fn quoted_length(text: &str) -> usize {
    let mut characters = text.char_indices().peekable();
    while let Some((at, character)) = characters.next() {
        match character {
            '\'' if characters.peek().is_none_or(|(_, next)| *next != '\'') => return at,
            '\\' | '\'' => {
                characters.next();
            }
            _ => {}
        }
    }
    text.len()
}

fn unquoted(quoted: &str) -> String {
    let mut text = String::with_capacity(quoted.len());
    let mut characters = quoted.chars();
    while let Some(character) = characters.next() {
        match character {
            '\'' => text.extend(characters.next()),
            '\\' => text.extend(characters.next().map(|escaped| match escaped {
                'n' => '\n',
                'r' => '\r',
                '0' => '\0',
                other => other,
            })),
            other => text.push(other),
        }
    }
    text
}

fn required(row: &Row, place: usize) -> Result<String, Error> {
    text(row, place).ok_or_else(|| Error::Answer {
        reason: format!("information_schema gave no value in column {place}"),
    })
}

/// A column of an answer as text; some servers send these as bytes, some as numbers.
pub(super) fn text(row: &Row, place: usize) -> Option<String> {
    match row.as_ref(place)? {
        Value::Bytes(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
        Value::Int(number) => Some(number.to_string()),
        Value::UInt(number) => Some(number.to_string()),
        Value::NULL | Value::Float(_) | Value::Double(_) | Value::Date(..) | Value::Time(..) => {
            None
        }
    }
}

/// A column of an answer as a number.
pub(super) fn number(row: &Row, place: usize) -> Option<u64> {
    text(row, place)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_of_an_enum_keep_quotes_commas_and_backslashes() {
        assert_eq!(members("enum('a','b')"), ["a", "b"]);
        assert_eq!(members("set('it''s','a,b',')','')"), ["it's", "a,b", ")", ""]);
        assert_eq!(members(r"enum('back\\slash','new\nline')"), [r"back\slash", "new\nline"]);
        assert_eq!(members("enum('ééé','x')"), ["ééé", "x"]);
        assert!(members("int(11)").is_empty());
    }

    #[test]
    fn defaults_that_mariadb_prints_as_expressions_read_as_on_mysql() {
        let read = |printed: &str| mariadb_default(printed.to_owned());
        assert_eq!(read("NULL"), None);
        assert_eq!(read("'it''s'").as_deref(), Some("it's"));
        assert_eq!(read("''").as_deref(), Some(""));
        assert_eq!(read("0").as_deref(), Some("0"));
        assert_eq!(read("current_timestamp()").as_deref(), Some("current_timestamp()"));
    }
}
