//! The text of every statement that touches a mapped table. Values never appear in it.

use std::fmt::Write as _;

use super::cell::{self, Form};
use crate::database::name::quoted;
use crate::schema_map::{BoundIdentity, BoundTable};

/// A server takes at most 65,535 parameters in one statement.
const PARAMS_MAX: usize = 65_535;
/// Rows in one statement at most: more gains little and makes each statement dear to keep.
const ROWS_MAX: usize = 256;
/// Up to this many rows a statement has exactly as many as are left.
const ROWS_EXACT: usize = 32;
/// Keys in one lookup at most.
pub(super) const KEYS_MAX: usize = 1024;

/// Whether a table's rows are addressed by its primary key. A row that is called by all it holds is
/// not, although there may be one.
pub(super) fn by_key(table: &BoundTable) -> bool {
    !table.primary_key.is_empty() && !table.is_whole_row()
}

fn column(table: &BoundTable, index: usize) -> String {
    table.columns.get(index).map(|column| quoted(&column.name)).unwrap_or_default()
}

fn mark(form: Form) -> &'static str {
    match form {
        Form::Plain => "?",
        Form::Binary => "CAST(? AS BINARY)",
        Form::Text => "/*text*/?",
        Form::Int => "/*int*/?",
        Form::UInt => "/*unsigned*/?",
        Form::Float => "/*float*/?",
        Form::Double => "/*double*/?",
    }
}

/// How many of `left` rows the next statement takes. Few different sizes, so that the prepared
/// statements of one batch serve the next.
pub(super) fn rows_per_statement(left: usize, columns: usize) -> usize {
    let most = (PARAMS_MAX / columns.max(1)).clamp(1, ROWS_MAX);
    let step = if left >= ROWS_MAX {
        ROWS_MAX
    } else if left >= 64 {
        64
    } else {
        left.min(ROWS_EXACT)
    };
    step.min(most).max(1)
}

/// How many keys a lookup of `wanted` keys is padded to.
pub(super) fn padded(wanted: usize) -> usize {
    wanted.next_power_of_two().min(KEYS_MAX)
}

/// `INSERT` of some rows with these columns each.
pub(super) fn insert(table: &BoundTable, columns: &[(usize, Form)], rows: usize) -> String {
    let names: Vec<String> = columns.iter().map(|(index, _)| column(table, *index)).collect();
    let marks: Vec<&str> = columns.iter().map(|(_, form)| mark(*form)).collect();
    let row = format!("({})", marks.join(","));
    let mut sql = format!("INSERT INTO {} ({}) VALUES ", quoted(&table.name), names.join(","));
    for number in 0..rows {
        if number > 0 {
            sql.push(',');
        }
        sql.push_str(&row);
    }
    sql
}

/// Several rows that are known to be there and locked, updated in one statement. The primary key
/// is the first the server compares, so no other row can be hit; `fillers` stand in for columns
/// that an insert would have to name, and are never stored.
pub(super) fn update_many(
    table: &BoundTable,
    key: usize,
    columns: &[(usize, Form)],
    fillers: &[(usize, &str)],
    rows: usize,
) -> String {
    let carried = |index: usize| columns.iter().any(|(known, _)| *known == index);
    let fillers: Vec<&(usize, &str)> =
        fillers.iter().filter(|(index, _)| !carried(*index)).collect();
    let mut names = vec![column(table, key)];
    names.extend(columns.iter().map(|(index, _)| column(table, *index)));
    names.extend(fillers.iter().map(|(index, _)| column(table, *index)));
    let mut marks = vec!["?"];
    marks.extend(columns.iter().map(|(_, form)| mark(*form)));
    marks.extend(fillers.iter().map(|(_, filler)| *filler));
    let row = format!("({})", marks.join(","));
    let written = columns.iter().map(|(index, _)| {
        let name = column(table, *index);
        format!("{name} = VALUES({name})")
    });
    let sets: Vec<String> = written.chain(kept(table, columns)).collect();
    format!(
        "INSERT INTO {} ({}) VALUES {} ON DUPLICATE KEY UPDATE {}",
        quoted(&table.name),
        names.join(","),
        vec![row; rows].join(","),
        sets.join(",")
    )
}

/// What [`update_many`] needs of a table: its key, and the fillers; `None` where rows have to be
/// updated one by one.
pub(super) fn can_update_many(table: &BoundTable) -> Option<(usize, Vec<(usize, &'static str)>)> {
    // Triggers would be told of inserts that never are, with the fillers; and by a key that is kept
    // by hashes the fillers would find another row first.
    if table.has_triggers || table.has_hashes {
        return None;
    }
    let &[key] = table.primary_key.as_slice() else { return None };
    let mut fillers = Vec::new();
    for (index, column) in table.columns.iter().enumerate() {
        let live = &column.live;
        if index == key || live.nullable || live.default.is_some() || live.generated {
            continue;
        }
        let filler = match live.data_type.as_str() {
            "tinyint" | "smallint" | "mediumint" | "int" | "bigint" | "decimal" | "float"
            | "double" | "bit" => "0",
            "char" | "varchar" | "tinytext" | "text" | "mediumtext" | "longtext" | "binary"
            | "varbinary" | "tinyblob" | "blob" | "mediumblob" | "longblob" => "''",
            "date" => "'2000-01-01'",
            "datetime" | "timestamp" => "'2000-01-01 00:00:00'",
            "time" => "'00:00:00'",
            _ => return None,
        };
        fillers.push((index, filler));
    }
    Some((key, fillers))
}

/// Assignments that keep the server from writing the time into columns with `ON UPDATE
/// CURRENT_TIMESTAMP`: what travels has the child's value, and changes when that changes.
fn kept(table: &BoundTable, written: &[(usize, Form)]) -> Vec<String> {
    let mut travelling = table.value_columns();
    travelling.retain(|index| {
        let changes = |extra: &str| extra.to_ascii_lowercase().contains("on update");
        table.columns.get(*index).is_some_and(|column| changes(&column.live.extra))
            && !written.iter().any(|(known, _)| known == index)
    });
    travelling
        .into_iter()
        .map(|index| {
            let name = column(table, index);
            format!("{name} = {name}")
        })
        .collect()
}

/// `UPDATE` of the row at an address.
pub(super) fn update(table: &BoundTable, columns: &[(usize, Form)], at: &[usize]) -> String {
    let written =
        columns.iter().map(|(index, form)| format!("{} = {}", column(table, *index), mark(*form)));
    let sets: Vec<String> = written.chain(kept(table, columns)).collect();
    let mut sql = format!("UPDATE {} SET {} WHERE ", quoted(&table.name), sets.join(", "));
    sql.push_str(&place(table, at));
    limit_without_key(table, &mut sql);
    sql
}

/// `DELETE` of the rows at some values of a single column, youngest first: a row that refers to
/// an older one of its own table has to go before it.
pub(super) fn delete_many(table: &BoundTable, key: usize, rows: usize) -> String {
    let marks = vec![compared(table, key); rows].join(",");
    let key = column(table, key);
    format!("DELETE FROM {} WHERE {key} IN ({marks}) ORDER BY {key} DESC", quoted(&table.name))
}

/// `DELETE` of the row at an address.
pub(super) fn delete_one(table: &BoundTable, at: &[usize]) -> String {
    let mut sql = format!("DELETE FROM {} WHERE {}", quoted(&table.name), place(table, at));
    limit_without_key(table, &mut sql);
    sql
}

/// Whether a row is at an address.
pub(super) fn is_there(table: &BoundTable, at: &[usize]) -> String {
    format!("SELECT 1 FROM {} WHERE {} LIMIT 1", quoted(&table.name), place(table, at))
}

/// Why a row that was found by its identity could not be written.
pub(super) fn not_hit(table: &BoundTable) -> String {
    format!(
        "a row of {0} was found and could not be addressed: give {0} a primary key here",
        table.name
    )
}

/// Of several equal rows without a key, one is meant.
fn limit_without_key(table: &BoundTable, sql: &mut String) {
    if !by_key(table) {
        sql.push_str(" LIMIT 1");
    }
}

fn place(table: &BoundTable, at: &[usize]) -> String {
    let tests: Vec<String> = at
        .iter()
        .map(|index| {
            let bound = table.columns.get(*index);
            let name = column(table, *index);
            // Text without a key is compared byte for byte: its collation may ignore case.
            if !by_key(table) && bound.is_some_and(cell::is_text) {
                format!(
                    "{name} <=> ? AND CAST(CONVERT({name} USING utf8mb4) AS BINARY) <=> \
                     CAST(? AS BINARY)"
                )
            } else {
                format!("{name} <=> {}", compared(table, *index))
            }
        })
        .collect();
    tests.join(" AND ")
}

/// The parameters that [`update`] and [`delete_one`] take for an address.
pub(super) fn place_params(
    table: &BoundTable,
    at: &[usize],
    values: &[mysql_async::Value],
) -> Vec<mysql_async::Value> {
    let mut params = Vec::with_capacity(values.len());
    for (index, value) in at.iter().zip(values) {
        let text = table.columns.get(*index).is_some_and(cell::is_text);
        if !by_key(table) && text {
            params.push(value.clone());
        }
        params.push(value.clone());
    }
    params
}

/// `SELECT` of the rows of some identities: the identity's columns first, then those asked for.
/// The rows found are locked until the transaction ends: shared, as a foreign key check would, or
/// for writing.
pub(super) fn lookup(table: &BoundTable, more: &[usize], keys: usize, write: bool) -> String {
    let identity = table.identity_columns();
    let mut sql = String::from("SELECT ");
    for index in &identity {
        let _ = write!(sql, "{},", shown(table, *index));
    }
    for index in more {
        let _ = write!(sql, "{},", fetched(table, *index));
    }
    sql.pop();
    let _ = write!(sql, " FROM {} WHERE ", quoted(&table.name));
    match &table.identity {
        BoundIdentity::Column(key) | BoundIdentity::Borrowed { column: key, .. } => {
            let marks = vec![compared(table, *key); keys].join(",");
            let _ = write!(sql, "{} IN ({marks})", column(table, *key));
        }
        BoundIdentity::Composite(parts) => {
            let one = parts
                .iter()
                .map(|part| format!("{} <=> {}", column(table, *part), compared(table, *part)));
            let one: Vec<String> = one.collect();
            let one = format!("({})", one.join(" AND "));
            sql.push_str(&vec![one; keys].join(" OR "));
        }
        BoundIdentity::WholeRow => sql.push_str("FALSE"),
    }
    sql.push_str(if write { " FOR UPDATE" } else { " LOCK IN SHARE MODE" });
    sql
}

/// Whether a table's rows can be looked up in one statement with those of others: one column is
/// enough to find them by, and a whole number to address them by.
pub(super) fn can_stand_together(table: &BoundTable) -> bool {
    let key = match table.primary_key.as_slice() {
        [key] if table.local_key == Some(*key) => table.columns.get(*key),
        _ => None,
    };
    let whole = key.is_some_and(|key| {
        matches!(
            key.live.data_type.as_str(),
            "tinyint" | "smallint" | "mediumint" | "int" | "bigint"
        )
    });
    whole
        && match &table.identity {
            BoundIdentity::Column(column) => table.columns.get(*column).is_some_and(cell::is_text),
            BoundIdentity::Borrowed { .. } => true,
            BoundIdentity::Composite(_) | BoundIdentity::WholeRow => false,
        }
}

/// One table's part of such a statement: its number, the identity's column, the local key.
pub(super) fn arm(number: usize, table: &BoundTable, keys: usize, write: bool) -> String {
    let sql = lookup(table, &table.primary_key, keys, write);
    sql.replacen("SELECT ", &format!("SELECT {number}, "), 1)
}

/// A parameter that a column is compared with, in the column's own type: as text a long decimal would
/// be compared by its first digits, and JSON not at all.
fn compared(table: &BoundTable, index: usize) -> String {
    let Some(bound) = table.columns.get(index) else { return "?".to_owned() };
    match (bound.live.data_type.as_str(), bound.live.precision, bound.live.scale) {
        ("decimal", Some(precision), Some(scale)) => {
            // With all the digits after the point that may be: one that is cut finds another row.
            let fraction = 65_u32.saturating_sub(precision.saturating_sub(scale)).min(30);
            format!("CAST(? AS DECIMAL(65,{fraction}))")
        }
        ("json", ..) => "CAST(? AS JSON)".to_owned(),
        _ if cell::is_binary(bound) => "CAST(? AS BINARY)".to_owned(),
        _ => "?".to_owned(),
    }
}

/// A column as it is given back as a parameter: bits as the number they are.
fn fetched(table: &BoundTable, index: usize) -> String {
    let name = column(table, index);
    let is_bits = table.columns.get(index).is_some_and(|column| column.live.data_type == "bit");
    if is_bits { format!("{name}+0") } else { name }
}

/// A column as it is compared with what was sent: text, bytes or digits. Text in one character set
/// and collation: those of two tables may not stand in one UNION otherwise.
fn shown(table: &BoundTable, index: usize) -> String {
    let name = column(table, index);
    if table.columns.get(index).is_some_and(cell::is_text) {
        return format!("CONVERT({name} USING utf8mb4)");
    }
    match table.columns.get(index).map(|column| column.live.data_type.as_str()) {
        Some("date" | "datetime" | "timestamp" | "time" | "decimal" | "uuid") => {
            format!("CAST({name} AS CHAR)")
        }
        _ => fetched(table, index),
    }
}

/// Any row a NOT NULL reference may point at for a moment.
pub(super) fn any_row(table: &BoundTable, key: usize) -> String {
    format!("SELECT {} FROM {} LIMIT 1 LOCK IN SHARE MODE", column(table, key), quoted(&table.name))
}

/// The highest local key.
pub(super) fn highest(table: &BoundTable, key: usize) -> String {
    let key = column(table, key);
    format!("SELECT {key} FROM {} ORDER BY {key} DESC LIMIT 1 FOR UPDATE", quoted(&table.name))
}
