//! Writes the records of one segment.

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::RandomState;

use super::names::Names;
use super::put::{
    Unnamed, put_bytes, put_identity, put_reference, put_value, put_varint, unnamed, zigzag,
};
use super::tag::{BEGIN, DELETE, END, INSERT, NAME, ONE, SHAPE, UPDATE};
use super::{End, Malformed, Record};
use crate::change::{Change, Fingerprint, Identity, Kind, Sequence, Shape};
use crate::value::{Name, Value};

/// Builds one raw segment.
#[derive(Debug, Default)]
pub struct SegmentWriter {
    bytes: Vec<u8>,
    /// By address.
    shapes: HashMap<usize, Written, RandomState>,
    names: Names,
}

/// A shape written to the segment.
#[derive(Debug)]
struct Written {
    number: u32,
    /// Whether all tables that its values may refer to have been named too. A change that came
    /// whole names only those that it does refer to.
    started: bool,
    /// Kept, so that its address cannot come to mean another.
    shape: Arc<Shape>,
}

/// Where a change begun with [`SegmentWriter::start`] can be taken back to.
#[derive(Debug, Clone, Copy)]
pub struct Mark(usize);

impl SegmentWriter {
    /// An empty segment.
    pub fn new() -> SegmentWriter {
        SegmentWriter::default()
    }

    /// The bytes written so far.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether nothing has been written.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Takes the finished segment and starts another.
    pub fn finish(&mut self) -> Vec<u8> {
        self.shapes.clear();
        self.names.clear();
        std::mem::take(&mut self.bytes)
    }

    /// Starts a transaction.
    pub fn begin(&mut self, sequence: Sequence) {
        self.bytes.push(BEGIN);
        put_varint(&mut self.bytes, sequence.0);
    }

    /// Adds a change to the transaction begun last.
    pub fn change(&mut self, change: &Change<'_>) {
        debug_assert_eq!(
            change.shape.columns.len(),
            change.values.len(),
            "a change has one value for each column of its shape"
        );
        self.intern_identity(&change.identity);
        if let Some(previous) = &change.previous {
            self.intern_identity(previous);
        }
        for value in &change.values {
            self.intern(value);
        }
        let shape = self.shape(&change.shape);
        let flags = u8::from(change.previous.is_some()) | (u8::from(change.base.is_some()) << 1);
        self.head(change.kind, flags, shape);
        let written = self.parts(change);
        debug_assert!(written.is_ok(), "every name was written before the change");
    }

    fn parts(&mut self, change: &Change<'_>) -> Result<(), Malformed> {
        self.put_identity(&change.identity)?;
        if let Some(previous) = &change.previous {
            self.put_identity(previous)?;
        }
        for value in &change.values {
            self.value(value)?;
        }
        if let Some(Fingerprint(hash)) = change.base {
            self.bytes.extend_from_slice(&hash.to_le_bytes());
        }
        Ok(())
    }

    /// Starts a change without an identity before and without a fingerprint, for a caller that has
    /// its parts but no [`Change`] made of them: one [`SegmentWriter::identity_bytes`] or
    /// [`SegmentWriter::identity_value`] has to follow, then one value for each column of the
    /// shape. `tables` are those that its values may refer to.
    pub fn start(&mut self, kind: Kind, shape: &Arc<Shape>, tables: &[Name]) -> Mark {
        let known = self.shapes.get(&address(shape)).filter(|written| written.started);
        let number = if let Some(written) = known {
            written.number
        } else {
            for table in tables {
                self.name(table);
            }
            let number = self.shape(shape);
            if let Some(written) = self.shapes.get_mut(&address(shape)) {
                written.started = true;
            }
            number
        };
        let mark = Mark(self.bytes.len());
        self.head(kind, 0, number);
        mark
    }

    /// Takes back the change started last.
    pub fn take_back(&mut self, mark: Mark) {
        self.bytes.truncate(mark.0);
    }

    /// The next part of a change started: an identity that is a value by itself. Gives back the
    /// identity as it was written.
    pub fn identity_value(&mut self, value: &Value<'_>) -> Result<&[u8], Malformed> {
        let start = self.bytes.len();
        self.bytes.push(ONE);
        self.value(value)?;
        Ok(self.bytes.get(start..).unwrap_or_default())
    }

    /// The next part of a change started: an identity written before, which mentions no tables.
    pub fn identity_bytes(&mut self, identity: &[u8]) {
        self.bytes.extend_from_slice(identity);
    }

    /// The next part of a change started: a value. A reference may only be to one of the tables
    /// that the change was started with, and mention no others.
    pub fn value(&mut self, value: &Value<'_>) -> Result<(), Malformed> {
        put_value(&mut self.bytes, &self.names, value).map_err(|Unnamed| unnamed(self.bytes.len()))
    }

    /// The next part of a change started: a reference to a row of one of its tables, whose
    /// identity, written before, mentions no tables.
    pub fn reference(&mut self, table: &Name, identity: &[u8]) -> Result<(), Malformed> {
        put_reference(&mut self.bytes, &self.names, table)
            .map_err(|Unnamed| unnamed(self.bytes.len()))?;
        self.bytes.extend_from_slice(identity);
        Ok(())
    }

    /// Ends the transaction.
    pub fn end(&mut self, end: End) {
        self.bytes.push(END);
        put_varint(&mut self.bytes, end.sequence.0);
        put_varint(&mut self.bytes, end.changes);
        put_varint(&mut self.bytes, zigzag(end.committed_at.0));
        match end.origin {
            None => self.bytes.push(0),
            Some(node) => {
                self.bytes.push(1);
                self.bytes.extend_from_slice(node.0.as_bytes());
            }
        }
    }

    /// Adds a record read from another segment.
    pub fn record(&mut self, record: &Record<'_>) {
        match record {
            Record::Begin(sequence) => self.begin(*sequence),
            Record::Change(change) => self.change(change),
            Record::End(end) => self.end(*end),
        }
    }

    fn head(&mut self, kind: Kind, flags: u8, shape: u32) {
        self.bytes.push(match kind {
            Kind::Insert => INSERT,
            Kind::Update => UPDATE,
            Kind::Delete => DELETE,
        });
        self.bytes.push(flags);
        put_varint(&mut self.bytes, u64::from(shape));
    }

    fn shape(&mut self, shape: &Arc<Shape>) -> u32 {
        if let Some(written) = self.shapes.get(&address(shape)) {
            return written.number;
        }
        let table = self.name(&shape.table);
        let columns: Vec<u32> = shape.columns.iter().map(|column| self.name(column)).collect();
        self.bytes.push(SHAPE);
        put_varint(&mut self.bytes, u64::from(table));
        put_varint(&mut self.bytes, columns.len() as u64);
        for column in columns {
            put_varint(&mut self.bytes, u64::from(column));
        }
        let number = u32::try_from(self.shapes.len()).unwrap_or(u32::MAX);
        let written = Written { number, started: false, shape: Arc::clone(shape) };
        self.shapes.insert(address(&written.shape), written);
        number
    }

    fn name(&mut self, name: &Name) -> u32 {
        let (number, first) = self.names.intern(name);
        if first {
            self.bytes.push(NAME);
            put_bytes(&mut self.bytes, name.as_bytes());
        }
        number
    }

    fn intern(&mut self, value: &Value<'_>) {
        if let Value::Reference(reference) = value {
            self.name(&reference.table);
            self.intern_identity(&reference.identity);
        }
    }

    pub(super) fn intern_identity(&mut self, identity: &Identity<'_>) {
        match identity {
            Identity::One(value) => self.intern(value),
            Identity::Many(parts) => {
                for part in parts {
                    self.intern(part);
                }
            }
            Identity::Lost(_) => {}
        }
    }

    pub(super) fn put_identity(&mut self, identity: &Identity<'_>) -> Result<(), Malformed> {
        put_identity(&mut self.bytes, &self.names, identity)
            .map_err(|Unnamed| unnamed(self.bytes.len()))
    }
}

fn address(shape: &Arc<Shape>) -> usize {
    Arc::as_ptr(shape) as usize
}
