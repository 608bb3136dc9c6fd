//! Values between the server's client protocol and [`Value`]: the results of questions, and the
//! parameters of statements.

use std::borrow::Cow;

use super::schema::LiveColumn;
use crate::value::Value;

/// A column of a result as it travels. The session's character set is utf8mb4 and its zone UTC;
/// temporal columns were asked for as text.
pub fn from_server(column: &LiveColumn, value: mysql_async::Value) -> Value<'static> {
    use mysql_async::Value as Sql;
    match value {
        Sql::NULL => Value::Null,
        Sql::Int(number) if column.unsigned || column.data_type == "year" => {
            Value::UInt(number.cast_unsigned())
        }
        Sql::Int(number) => Value::Int(number),
        Sql::UInt(number) if column.unsigned || column.data_type == "year" => Value::UInt(number),
        Sql::UInt(number) => Value::Int(number.cast_signed()),
        Sql::Float(number) => Value::Float(number.to_bits()),
        Sql::Double(number) => Value::Double(number.to_bits()),
        Sql::Bytes(bytes) => from_bytes(column, bytes),
        Sql::Date(..) | Sql::Time(..) => {
            Value::Temporal(Cow::Owned(value.as_sql(true).trim_matches('\'').to_owned()))
        }
    }
}

fn from_bytes(column: &LiveColumn, bytes: Vec<u8>) -> Value<'static> {
    let kind = column.data_type.as_str();
    if kind == "bit" {
        let number = bytes.iter().fold(0_u64, |number, byte| (number << 8) | u64::from(*byte));
        return Value::UInt(number);
    }
    if is_binary(kind) {
        return Value::Bytes(Cow::Owned(bytes));
    }
    match String::from_utf8(bytes) {
        Ok(text) => match kind {
            "decimal" | "numeric" => Value::Decimal(Cow::Owned(text)),
            "date" | "time" | "datetime" | "timestamp" => Value::Temporal(Cow::Owned(text)),
            "json" => Value::Json(Cow::Owned(with_signed_zeros(with_escaped_lines(text)))),
            "year" => text.parse().map_or(Value::Text(Cow::Owned(text)), Value::UInt),
            _ => Value::Text(Cow::Owned(text)),
        },
        Err(error) => Value::Bytes(Cow::Owned(error.into_bytes())),
    }
}

/// `MySQL` 5.7 prints the new lines of long bytes in base64 as they are, which nobody reads back; it has
/// none elsewhere.
fn with_escaped_lines(json: String) -> String {
    if json.contains('\n') { json.replace('\n', "\\n") } else { json }
}

/// `MySQL` 5.7 prints doubles without a fraction like integers, of which none is `-0`: read back, that
/// would lose its sign.
fn with_signed_zeros(json: String) -> String {
    if !json.contains("-0") {
        return json;
    }
    let (mut text, mut rest, mut quoted) = (String::with_capacity(json.len() + 2), &*json, false);
    while let Some(first) = rest.chars().next() {
        let is_zero = |rest: &str| {
            rest.strip_prefix("-0").is_some_and(|after| {
                !after.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '.' | 'e' | 'E'))
            })
        };
        let (taken, written) = match first {
            '-' if !quoted && is_zero(rest) => (2, "-0.0"),
            '\\' => {
                let bytes = 1 + rest.chars().nth(1).map_or(0, char::len_utf8);
                (bytes, rest.get(..bytes).unwrap_or(rest))
            }
            _ => (first.len_utf8(), rest.get(..first.len_utf8()).unwrap_or(rest)),
        };
        quoted ^= first == '"';
        text.push_str(written);
        rest = rest.get(taken..).unwrap_or("");
    }
    text
}

/// Whether a type (`DATA_TYPE`) holds bytes rather than text or numbers.
pub fn is_binary(data_type: &str) -> bool {
    matches!(
        data_type,
        "binary" | "varbinary" | "tinyblob" | "blob" | "mediumblob" | "longblob" | "vector"
    ) || is_spatial(data_type)
}

/// Whether a type holds a geometry.
pub fn is_spatial(data_type: &str) -> bool {
    matches!(
        data_type,
        "geometry"
            | "point"
            | "linestring"
            | "polygon"
            | "multipoint"
            | "multilinestring"
            | "multipolygon"
            | "geometrycollection"
            | "geomcollection"
    )
}

/// A plain value as a statement's parameter. A reference has none: it has to be resolved first.
pub fn parameter(value: &Value<'_>) -> mysql_async::Value {
    use mysql_async::Value as Sql;
    match value {
        Value::Null | Value::Reference(_) => Sql::NULL,
        Value::Int(number) => Sql::Int(*number),
        Value::UInt(number) => Sql::UInt(*number),
        Value::Float(bits) => Sql::Float(f32::from_bits(*bits)),
        Value::Double(bits) => Sql::Double(f64::from_bits(*bits)),
        Value::Decimal(text) | Value::Text(text) | Value::Temporal(text) | Value::Json(text) => {
            Sql::Bytes(text.as_bytes().to_vec())
        }
        Value::Encoded { bytes, .. } | Value::Bytes(bytes) => Sql::Bytes(bytes.to_vec()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_lines_of_base64_are_printed_as_json_has_them() {
        let printed = "[\"base64:type253:YWFh\nYQ==\", \"a\\nb\"]".to_owned();
        assert_eq!(with_escaped_lines(printed), r#"["base64:type253:YWFh\nYQ==", "a\nb"]"#);
    }

    #[test]
    fn zeros_of_json_keep_their_sign() {
        for (printed, kept) in [
            ("-0", "-0.0"),
            ("[-0, 0, -0.5, -0e1, -01]", "[-0.0, 0, -0.5, -0e1, -01]"),
            (r#"{"-0": "a-0", "b\"-0": [-0]}"#, r#"{"-0": "a-0", "b\"-0": [-0.0]}"#),
            (r#"["\\", -0, "\u00e9 \u{e9}-0"]"#, r#"["\\", -0.0, "\u00e9 \u{e9}-0"]"#),
            ("-", "-"),
            ("\"-0", "\"-0"),
            ("-0\\", "-0.0\\"),
        ] {
            assert_eq!(with_signed_zeros(printed.to_owned()), kept);
        }
    }
}
