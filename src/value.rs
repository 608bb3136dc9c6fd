//! The value of one column of one row, as it travels: free of local ids, character sets and zones.

use std::borrow::Cow;
use std::sync::Arc;

use crate::change::Identity;

/// A table or column name; cheap to clone, shared by everything that mentions it.
pub type Name = Arc<str>;

/// One column's value. Text is UTF-8 whatever its column's character set was; temporal values are
/// the text the server itself would print, `TIMESTAMP` in UTC; floats are their IEEE 754 bits, so
/// that equality and hashing are exact.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Value<'a> {
    /// SQL NULL.
    Null,
    /// A signed integer of any width.
    Int(i64),
    /// An unsigned integer of any width; also `BIT` and `YEAR`.
    UInt(u64),
    /// The bits of a `FLOAT`.
    Float(u32),
    /// The bits of a `DOUBLE`.
    Double(u64),
    /// A `DECIMAL`, digit for digit.
    Decimal(Cow<'a, str>),
    /// Character data; an `ENUM`'s member; a `SET`'s members joined by commas.
    Text(Cow<'a, str>),
    /// Character data that is not valid in its own character set, so it cannot become UTF-8.
    Encoded {
        /// The server's name of the character set, such as `latin1`.
        charset: Cow<'a, str>,
        /// The bytes as the server stores them.
        bytes: Cow<'a, [u8]>,
    },
    /// `BINARY`, `VARBINARY`, `BLOB`; `GEOMETRY` as SRID and WKB; `VECTOR` as little-endian floats.
    Bytes(Cow<'a, [u8]>),
    /// `DATE`, `TIME`, `DATETIME`, and `TIMESTAMP` in UTC, as the server prints them.
    Temporal(Cow<'a, str>),
    /// JSON text.
    Json(Cow<'a, str>),
    /// A reference to a row of a mapped table.
    Reference(Box<Reference<'a>>),
}

/// What a foreign key becomes on its way: the table and the identity of the row it points at.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Reference<'a> {
    /// The table referred to.
    pub table: Name,
    /// The row of that table.
    pub identity: Identity<'a>,
}

impl Value<'_> {
    /// The same value, owning its bytes.
    pub fn into_owned(self) -> Value<'static> {
        fn text(text: Cow<'_, str>) -> Cow<'static, str> {
            Cow::Owned(text.into_owned())
        }
        match self {
            Value::Null => Value::Null,
            Value::Int(number) => Value::Int(number),
            Value::UInt(number) => Value::UInt(number),
            Value::Float(bits) => Value::Float(bits),
            Value::Double(bits) => Value::Double(bits),
            Value::Decimal(digits) => Value::Decimal(text(digits)),
            Value::Text(content) => Value::Text(text(content)),
            Value::Encoded { charset, bytes } => {
                Value::Encoded { charset: text(charset), bytes: Cow::Owned(bytes.into_owned()) }
            }
            Value::Bytes(bytes) => Value::Bytes(Cow::Owned(bytes.into_owned())),
            Value::Temporal(content) => Value::Temporal(text(content)),
            Value::Json(content) => Value::Json(text(content)),
            Value::Reference(reference) => Value::Reference(Box::new(reference.into_owned())),
        }
    }

    /// Whether this is SQL NULL.
    pub fn is_null(&self) -> bool {
        matches!(self, Value::Null)
    }
}

impl Reference<'_> {
    /// The same reference, owning its bytes.
    pub fn into_owned(self) -> Reference<'static> {
        Reference { table: self.table, identity: self.identity.into_owned() }
    }
}
