//! Rows as a server shows them, and as captured changes carry them, in the same words.

use std::collections::BTreeMap;

use headwater::change::{Change, Identity};
use headwater::value::Value;
use mysql_async::prelude::Queryable as _;
use mysql_async::{Conn, Row};

/// A row's columns, or some of them, by name. What is not text is shown by its escaped bytes.
pub(crate) type Columns = BTreeMap<String, Option<String>>;

/// The rows of a table by uuid, without its own key, and with the uuid in the place of each
/// reference: `(column, table, key)`.
pub(crate) async fn rows(
    conn: &mut Conn,
    table: &str,
    key: &str,
    references: &[(&str, &str, &str)],
) -> mysql_async::Result<BTreeMap<String, Columns>> {
    let mut found = BTreeMap::new();
    for row in conn.query::<Row, _>(format!("SELECT * FROM {table}")).await? {
        let mut columns: Columns = row
            .columns_ref()
            .iter()
            .map(|column| column.name_str().into_owned())
            .zip(row.clone().unwrap())
            .map(|(name, value)| (name, shown(&value)))
            .collect();
        columns.remove(key);
        for (column, table, key) in references {
            if let Some(Some(local)) = columns.get_mut(*column) {
                let sql = format!("SELECT uuid FROM {table} WHERE {key} = {local}");
                *local = conn.query_first(sql).await?.unwrap_or_else(|| format!("lost {local}"));
            }
        }
        let uuid = columns.remove("uuid").flatten().unwrap_or_default();
        found.insert(uuid, columns);
    }
    Ok(found)
}

/// As the text protocol has it.
fn shown(value: &mysql_async::Value) -> Option<String> {
    match value {
        mysql_async::Value::NULL => None,
        mysql_async::Value::Bytes(bytes) => Some(bytes.escape_ascii().to_string()),
        other => panic!("{other:?}"),
    }
}

/// What a change carries.
pub(crate) fn carried(change: &Change<'_>) -> Columns {
    let names = change.shape.columns.iter().map(ToString::to_string);
    names.zip(change.values.iter().map(told)).collect()
}

/// The one text that names a row.
pub(crate) fn named(identity: &Identity<'_>) -> String {
    match identity {
        Identity::One(Value::Text(uuid)) => uuid.to_string(),
        other => panic!("{other:?}"),
    }
}

/// As a server prints it.
fn told(value: &Value<'_>) -> Option<String> {
    let escaped = |bytes: &[u8]| bytes.escape_ascii().to_string();
    Some(match value {
        Value::Null => return None,
        Value::Int(number) => number.to_string(),
        Value::UInt(number) => number.to_string(),
        Value::Float(bits) => f32::from_bits(*bits).to_string(),
        Value::Double(bits) => f64::from_bits(*bits).to_string(),
        Value::Decimal(text) | Value::Text(text) | Value::Temporal(text) | Value::Json(text) => {
            escaped(text.as_bytes())
        }
        Value::Bytes(bytes) => escaped(bytes),
        Value::Encoded { charset, bytes } => format!("{charset} {}", escaped(bytes)),
        Value::Reference(reference) => named(&reference.identity),
    })
}
