//! Reads the records of one segment, trusting nothing.

use std::borrow::Cow;
use std::sync::Arc;

use super::put::unzigzag;
use super::tag::{
    BEGIN, BYTES, COLUMNS_MAX, DECIMAL, DELETE, DEPTH_MAX, DOUBLE, ENCODED, END, FLOAT, INSERT,
    INT, JSON, LOST, MANY, NAME, NULL, ONE, REFERENCE, SHAPE, TEMPORAL, TEXT, UINT, UPDATE, UUID,
    VALUES_MAX,
};
use super::{End, Malformed, Record};
use crate::change::{Change, Fingerprint, Identity, Kind, NodeId, Sequence, Shape};
use crate::clock::Timestamp;
use crate::value::{Name, Reference, Value};

/// Reads the records of one raw segment.
#[derive(Debug)]
pub struct SegmentReader<'a> {
    bytes: &'a [u8],
    offset: usize,
    pub(super) names: Vec<Name>,
    shapes: Vec<Arc<Shape>>,
    /// How many more values the change being read may have.
    values_left: u32,
}

impl<'a> SegmentReader<'a> {
    /// Reads from the first record of `bytes`.
    pub fn new(bytes: &'a [u8]) -> SegmentReader<'a> {
        SegmentReader {
            bytes,
            offset: 0,
            names: Vec::new(),
            shapes: Vec::new(),
            values_left: VALUES_MAX,
        }
    }

    /// The next record; `None` after the last.
    pub fn read(&mut self) -> Result<Option<Record<'a>>, Malformed> {
        while self.offset < self.bytes.len() {
            match self.byte()? {
                BEGIN => return Ok(Some(Record::Begin(Sequence(self.varint()?)))),
                NAME => {
                    let name = self.text()?;
                    self.names.push(Arc::from(name));
                }
                SHAPE => self.shape()?,
                INSERT => return self.change(Kind::Insert).map(Some),
                UPDATE => return self.change(Kind::Update).map(Some),
                DELETE => return self.change(Kind::Delete).map(Some),
                END => return self.end().map(Some),
                _ => return Err(self.malformed("unknown record")),
            }
        }
        Ok(None)
    }

    /// What has not been read yet.
    pub(super) fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.offset..).unwrap_or_default()
    }

    pub(super) fn malformed(&self, what: &'static str) -> Malformed {
        Malformed { offset: self.offset, what }
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let end = self.offset.checked_add(count);
        let taken = end.and_then(|end| self.bytes.get(self.offset..end));
        let taken = taken.ok_or_else(|| self.malformed("cut short"))?;
        self.offset += count;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let taken = self.take(N)?;
        taken.try_into().map_err(|_short| self.malformed("cut short"))
    }

    pub(super) fn byte(&mut self) -> Result<u8, Malformed> {
        self.array::<1>().map(|[byte]| byte)
    }

    fn varint(&mut self) -> Result<u64, Malformed> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            if shift == 63 && byte > 1 {
                return Err(self.malformed("number too large"));
            }
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(self.malformed("number too long"))
    }

    fn length(&mut self) -> Result<usize, Malformed> {
        let length = self.varint()?;
        usize::try_from(length).map_err(|_large| self.malformed("length too large"))
    }

    fn content(&mut self) -> Result<&'a [u8], Malformed> {
        let length = self.length()?;
        self.take(length)
    }

    pub(super) fn text(&mut self) -> Result<&'a str, Malformed> {
        let content = self.content()?;
        std::str::from_utf8(content).map_err(|_invalid| self.malformed("text is not UTF-8"))
    }

    fn name(&mut self) -> Result<Name, Malformed> {
        let number = self.length()?;
        self.names.get(number).cloned().ok_or_else(|| self.malformed("unknown name"))
    }

    fn shape(&mut self) -> Result<(), Malformed> {
        let table = self.name()?;
        let count = self.length()?;
        if count > COLUMNS_MAX {
            return Err(self.malformed("too many columns"));
        }
        let columns = (0..count).map(|_| self.name()).collect::<Result<Vec<_>, _>>()?;
        self.shapes.push(Arc::new(Shape { table, columns }));
        Ok(())
    }

    fn change(&mut self, kind: Kind) -> Result<Record<'a>, Malformed> {
        self.values_left = VALUES_MAX;
        let flags = self.byte()?;
        if flags > 3 {
            return Err(self.malformed("unknown flags of a change"));
        }
        let number = self.length()?;
        let shape =
            self.shapes.get(number).cloned().ok_or_else(|| self.malformed("unknown shape"))?;
        let identity = self.identity(0)?;
        let previous = if flags & 1 == 1 { Some(self.identity(0)?) } else { None };
        let values = shape.columns.iter().map(|_| self.value(0)).collect::<Result<Vec<_>, _>>()?;
        let base = if flags & 2 == 2 {
            Some(Fingerprint(u64::from_le_bytes(self.array()?)))
        } else {
            None
        };
        Ok(Record::Change(Change { shape, kind, identity, previous, values, base }))
    }

    fn end(&mut self) -> Result<Record<'a>, Malformed> {
        let sequence = Sequence(self.varint()?);
        let changes = self.varint()?;
        let committed_at = Timestamp(unzigzag(self.varint()?));
        let origin = match self.byte()? {
            0 => None,
            1 => Some(NodeId(uuid::Uuid::from_bytes(self.array()?))),
            _ => return Err(self.malformed("unknown origin")),
        };
        Ok(Record::End(End { sequence, changes, committed_at, origin }))
    }

    pub(super) fn identity(&mut self, depth: u8) -> Result<Identity<'a>, Malformed> {
        match self.byte()? {
            ONE => self.value(depth).map(Identity::One),
            MANY => {
                let count = self.length()?;
                if count > COLUMNS_MAX {
                    return Err(self.malformed("too many parts of an identity"));
                }
                let parts = (0..count).map(|_| self.value(depth)).collect::<Result<Vec<_>, _>>()?;
                Ok(Identity::Many(parts))
            }
            LOST => Ok(Identity::Lost(unzigzag(self.varint()?))),
            _ => Err(self.malformed("unknown identity")),
        }
    }

    fn value(&mut self, depth: u8) -> Result<Value<'a>, Malformed> {
        if depth > DEPTH_MAX {
            return Err(self.malformed("references nested too deep"));
        }
        self.values_left =
            self.values_left.checked_sub(1).ok_or_else(|| self.malformed("too many values"))?;
        Ok(match self.byte()? {
            NULL => Value::Null,
            INT => Value::Int(unzigzag(self.varint()?)),
            UINT => Value::UInt(self.varint()?),
            FLOAT => Value::Float(u32::from_le_bytes(self.array()?)),
            DOUBLE => Value::Double(u64::from_le_bytes(self.array()?)),
            DECIMAL => Value::Decimal(Cow::Borrowed(self.text()?)),
            TEXT => Value::Text(Cow::Borrowed(self.text()?)),
            UUID => {
                let uuid = uuid::Uuid::from_bytes(self.array()?);
                Value::Text(Cow::Owned(uuid.hyphenated().to_string()))
            }
            ENCODED => Value::Encoded {
                charset: Cow::Borrowed(self.text()?),
                bytes: Cow::Borrowed(self.content()?),
            },
            BYTES => Value::Bytes(Cow::Borrowed(self.content()?)),
            TEMPORAL => Value::Temporal(Cow::Borrowed(self.text()?)),
            JSON => Value::Json(Cow::Borrowed(self.text()?)),
            REFERENCE => {
                let table = self.name()?;
                let identity = self.identity(depth.saturating_add(1))?;
                Value::Reference(Box::new(Reference { table, identity }))
            }
            _ => return Err(self.malformed("unknown value")),
        })
    }
}
