//! Values as statement parameters: exact, or not at all.

use std::fmt::Write as _;

use mysql_async::Value as Param;

use super::error::Hold;
use super::json_number::{self, Spelling};
use crate::schema_map::BoundColumn;
use crate::value::Value;

/// How a parameter stands in a statement.
///
/// `MySQL` from 8.0.22 keeps the type that a prepared statement's parameter had first, and makes a
/// later one of another type that: a text of `007` the number 7. So each type but the column's usual
/// one makes another statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Form {
    /// The type usual for the column: numbers for a number, UTF-8 text for all else; or NULL.
    Plain,
    /// Bytes that no character set applies to.
    Binary,
    /// Text, where a number is usual.
    Text,
    /// A number where another type is usual.
    Int,
    /// The same, without a sign.
    UInt,
    /// The same, as a single-precision float.
    Float,
    /// The same, as a double.
    Double,
}

impl Form {
    fn of(bound: &BoundColumn, param: &Param) -> Form {
        let usual = usual(bound);
        let form = match param {
            Param::NULL => return Form::Plain,
            Param::Bytes(_) | Param::Date(..) | Param::Time(..) => Form::Text,
            Param::Int(_) => Form::Int,
            Param::UInt(_) => Form::UInt,
            Param::Float(_) => Form::Float,
            Param::Double(_) => Form::Double,
        };
        if form == usual { Form::Plain } else { form }
    }
}

/// The type of parameter that most values of a column have.
fn usual(column: &BoundColumn) -> Form {
    match column.live.data_type.as_str() {
        "tinyint" | "smallint" | "mediumint" | "int" | "bigint" if !column.live.unsigned => {
            Form::Int
        }
        "tinyint" | "smallint" | "mediumint" | "int" | "bigint" | "bit" | "year" => Form::UInt,
        "float" => Form::Float,
        "double" => Form::Double,
        _ => Form::Text,
    }
}

/// One column's new value.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Cell {
    /// An index into the table's columns.
    pub(super) column: usize,
    pub(super) form: Form,
    pub(super) param: Param,
}

impl Cell {
    /// A value as its column takes it.
    pub(super) fn new(column: usize, bound: &BoundColumn, param: Param) -> Cell {
        // A number that can be either is the one that is usual.
        let param = match (usual(bound), param) {
            (Form::Int, Param::UInt(number)) => {
                i64::try_from(number).map_or(Param::UInt(number), Param::Int)
            }
            (Form::UInt, Param::Int(number)) => {
                u64::try_from(number).map_or(Param::Int(number), Param::UInt)
            }
            (_, param) => param,
        };
        Cell { column, form: Form::of(bound, &param), param }
    }

    fn binary(column: usize, bytes: &[u8]) -> Cell {
        Cell { column, form: Form::Binary, param: Param::Bytes(bytes.to_vec()) }
    }
}

/// What a parameter takes on its way to the server, near enough.
pub(super) fn param_bytes(param: &Param) -> usize {
    match param {
        Param::Bytes(bytes) => bytes.len().saturating_add(9),
        Param::NULL
        | Param::Int(_)
        | Param::UInt(_)
        | Param::Float(_)
        | Param::Double(_)
        | Param::Date(..)
        | Param::Time(..) => 9,
    }
}

/// What kinds of values a column of this type takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Family {
    Text,
    Binary,
    Other,
}

fn family(column: &BoundColumn) -> Family {
    match column.live.data_type.as_str() {
        "char" | "varchar" | "tinytext" | "text" | "mediumtext" | "longtext" | "enum" | "set" => {
            Family::Text
        }
        "binary" | "varbinary" | "tinyblob" | "blob" | "mediumblob" | "longblob" | "geometry"
        | "point" | "linestring" | "polygon" | "multipoint" | "multilinestring"
        | "multipolygon" | "geomcollection" | "geometrycollection" | "vector" => Family::Binary,
        _ => Family::Other,
    }
}

/// Whether a column holds bytes rather than text.
pub(super) fn is_binary(column: &BoundColumn) -> bool {
    family(column) == Family::Binary
}

/// Whether a column holds text.
pub(super) fn is_text(column: &BoundColumn) -> bool {
    family(column) == Family::Text
}

/// The parameter for a plain value in a column, or why the column cannot hold it. The server refuses
/// most of what does not fit by itself; what it would cut or round in silence is caught in `exact.rs`.
pub(super) fn cell(column: usize, bound: &BoundColumn, value: &Value<'_>) -> Result<Cell, Hold> {
    let plain = |param| Ok(Cell::new(column, bound, param));
    let family = family(bound);
    match value {
        Value::Null => plain(Param::NULL),
        Value::Int(number) => plain(Param::Int(*number)),
        Value::UInt(number) => plain(Param::UInt(*number)),
        Value::Float(bits) => plain(Param::Float(f32::from_bits(*bits))),
        Value::Double(bits) => plain(Param::Double(f64::from_bits(*bits))),
        Value::Decimal(digits) => plain(text(digits)),
        Value::Temporal(content) => plain(text(content)),
        Value::Text(content) => {
            fits_json(bound, content, Spelling::Written)?;
            plain(text(content))
        }
        Value::Json(content) => {
            fits_json(bound, content, Spelling::Printed)?;
            plain(text(content))
        }
        Value::Bytes(bytes) => {
            if family == Family::Text {
                return Err(Hold::quarantine(format!(
                    "column {} holds text here and bytes at its source",
                    bound.name
                )));
            }
            Ok(Cell::binary(column, bytes))
        }
        Value::Encoded { charset, bytes } => {
            if !is_in(bound, charset) {
                return Err(Hold::quarantine(format!(
                    "column {} holds bytes that are not valid {charset} and so cannot be \
                     converted to the column's character set here",
                    bound.name
                )));
            }
            Ok(Cell::binary(column, bytes))
        }
        Value::Reference(_) => Err(Hold::quarantine(format!(
            "column {} is a reference at its source and is not one in this node's map",
            bound.name
        ))),
    }
}

/// Where JSON is a type of its own, its numbers are integers of 64 bits or doubles.
fn fits_json(bound: &BoundColumn, content: &str, spelling: Spelling) -> Result<(), Hold> {
    if bound.live.data_type != "json" {
        return Ok(());
    }
    match json_number::rounded(content, spelling) {
        None => Ok(()),
        Some(number) => Err(Hold::quarantine(format!(
            "column {} would get JSON with the number {number}, which this server would round; \
             write it with fewer digits at its source, or as text",
            bound.name
        ))),
    }
}

/// Whether a column is in this character set; older servers call `utf8mb3` by its former name.
fn is_in(bound: &BoundColumn, charset: &str) -> bool {
    match bound.live.charset.as_deref() {
        Some("utf8") => charset == "utf8mb3",
        live => live == Some(charset),
    }
}

fn text(content: &str) -> Param {
    Param::Bytes(content.as_bytes().to_vec())
}

/// A parameter or a returned column as the bytes it is compared by.
pub(super) fn comparable(param: &Param) -> Vec<u8> {
    match param {
        Param::NULL => Vec::new(),
        Param::Bytes(bytes) => bytes.clone(),
        Param::Int(number) => number.to_string().into_bytes(),
        Param::UInt(number) => number.to_string().into_bytes(),
        Param::Float(number) => number.to_string().into_bytes(),
        Param::Double(number) => number.to_string().into_bytes(),
        Param::Date(year, month, day, hour, minute, second, micros) => {
            let mut shown = format!("{year:04}-{month:02}-{day:02}");
            if (*hour, *minute, *second, *micros) != (0, 0, 0, 0) {
                let _ = write!(shown, " {hour:02}:{minute:02}:{second:02}.{micros:06}");
            }
            shown.into_bytes()
        }
        Param::Time(negative, days, hours, minutes, seconds, micros) => {
            let sign = if *negative { "-" } else { "" };
            let hours = u64::from(*days) * 24 + u64::from(*hours);
            format!("{sign}{hours:02}:{minutes:02}:{seconds:02}.{micros:06}").into_bytes()
        }
    }
}
