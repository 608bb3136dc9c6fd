//! One row inserted, updated or deleted, in the terms that mean the same at every node.

use std::fmt;
use std::sync::Arc;

use crate::value::{Name, Value};

/// What a row is called everywhere, whatever its local ids are.
///
/// Two identities are the same row exactly if they are equal; a target whose collation ignores
/// case must still compare first for equality.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Identity<'a> {
    /// A uuid, a natural key, or the identity of the row a shared primary key borrows from.
    One(Value<'a>),
    /// The parts of a composite identity, or all columns of a row without a key, in map order.
    Many(Vec<Value<'a>>),
    /// A row of the source known only by its local key: it was deleted before anyone asked its
    /// identity. Nothing can be found by it; a change that carries one waits until it is mended.
    Lost(i64),
}

impl Identity<'_> {
    /// The same identity, owning its bytes.
    pub fn into_owned(self) -> Identity<'static> {
        match self {
            Identity::One(value) => Identity::One(value.into_owned()),
            Identity::Many(parts) => {
                Identity::Many(parts.into_iter().map(Value::into_owned).collect())
            }
            Identity::Lost(local) => Identity::Lost(local),
        }
    }
}

impl fmt::Display for Identity<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Identity::One(value) => show(value, out),
            Identity::Many(parts) => {
                for (index, part) in parts.iter().enumerate() {
                    if index > 0 {
                        out.write_str(" + ")?;
                    }
                    show(part, out)?;
                }
                Ok(())
            }
            Identity::Lost(local) => write!(out, "local key {local} (identity unknown)"),
        }
    }
}

fn show(value: &Value<'_>, out: &mut fmt::Formatter<'_>) -> fmt::Result {
    match value {
        Value::Null => out.write_str("NULL"),
        Value::Int(number) => write!(out, "{number}"),
        Value::UInt(number) => write!(out, "{number}"),
        Value::Float(bits) => write!(out, "{}", f32::from_bits(*bits)),
        Value::Double(bits) => write!(out, "{}", f64::from_bits(*bits)),
        Value::Decimal(text) | Value::Text(text) | Value::Temporal(text) | Value::Json(text) => {
            out.write_str(text)
        }
        Value::Encoded { bytes, .. } | Value::Bytes(bytes) => {
            out.write_str("0x")?;
            bytes.iter().try_for_each(|byte| write!(out, "{byte:02X}"))
        }
        Value::Reference(reference) => write!(out, "{}", reference.identity),
    }
}

/// What happened to the row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The row came to be; carries every mapped column.
    Insert,
    /// The row changed; carries the columns that changed.
    Update,
    /// The row went; carries no columns.
    Delete,
}

/// A table and an ordered choice of its columns: what the values of a change belong to.
/// Columns that make up the identity are not repeated here, unless rows are called by all they hold:
/// then they are named here, each with NULL for a value, to tell what the identity's parts belong to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Shape {
    /// The table's name in the schema map.
    pub table: Name,
    /// The names of the columns whose values the change carries.
    pub columns: Vec<Name>,
}

/// A 64-bit hash (XXH3) of the encoded old values of a change's columns, to tell a conflict by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint(pub u64);

/// One row inserted, updated or deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change<'a> {
    /// The table and the columns that [`Change::values`] belong to, in the same order.
    pub shape: Arc<Shape>,
    /// What happened.
    pub kind: Kind,
    /// The row's identity after the change.
    pub identity: Identity<'a>,
    /// The row's identity before an update that changed it.
    pub previous: Option<Identity<'a>>,
    /// One value for each column of the shape.
    pub values: Vec<Value<'a>>,
    /// What an update's columns, or a deleted row, were before.
    pub base: Option<Fingerprint>,
}

impl Change<'_> {
    /// The same change, owning its bytes.
    pub fn into_owned(self) -> Change<'static> {
        Change {
            shape: self.shape,
            kind: self.kind,
            identity: self.identity.into_owned(),
            previous: self.previous.map(Identity::into_owned),
            values: self.values.into_iter().map(Value::into_owned).collect(),
            base: self.base,
        }
    }
}

/// A transaction's number in its node's log, from 1, rising; 0 is before the first. It means
/// something only within one [`Epoch`].
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    Default,
    serde::Serialize,
    serde::Deserialize,
)]
pub struct Sequence(pub u64);

impl Sequence {
    /// The sequence after this one.
    #[must_use]
    pub fn next(self) -> Sequence {
        Sequence(self.0.saturating_add(1))
    }
}

impl fmt::Display for Sequence {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}", self.0)
    }
}

/// The random id made when a node's store is created.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct Epoch(pub uuid::Uuid);

/// A node's id, for as long as its certificate lives.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
pub struct NodeId(pub uuid::Uuid);

impl fmt::Display for Epoch {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}
