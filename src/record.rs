//! Changes as bytes: the segments that the spool keeps, batches carry and apply reads.
//!
//! A segment is a run of records; `docs/formats.md` draws them byte by byte. Names and shapes are
//! written once per segment and referred to by number, and a lower-case RFC 4122 uuid takes 16
//! bytes, so a segment is small before it is compressed. Reading trusts nothing: every length is
//! checked against what is left before memory is taken.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use crate::change::{Change, Fingerprint, Identity, Kind, NodeId, Sequence, Shape};
use crate::clock::Timestamp;
use crate::value::{Name, Reference, Value};

#[cfg(test)]
mod tests;

/// References inside identities inside references: deeper than any real schema nests them.
const DEPTH_MAX: u8 = 16;
/// More columns than any server allows in a table.
const COLUMNS_MAX: usize = 4096;

const BEGIN: u8 = 1;
const NAME: u8 = 2;
const SHAPE: u8 = 3;
const INSERT: u8 = 4;
const UPDATE: u8 = 5;
const DELETE: u8 = 6;
const END: u8 = 7;

const NULL: u8 = 0;
const INT: u8 = 1;
const UINT: u8 = 2;
const FLOAT: u8 = 3;
const DOUBLE: u8 = 4;
const DECIMAL: u8 = 5;
const TEXT: u8 = 6;
const UUID: u8 = 7;
const ENCODED: u8 = 8;
const BYTES: u8 = 9;
const TEMPORAL: u8 = 10;
const JSON: u8 = 11;
const REFERENCE: u8 = 12;

const ONE: u8 = 0;
const MANY: u8 = 1;
/// Not 2: an identity kept by itself may start with [`NAME`] records.
const LOST: u8 = 3;

/// One record of a segment. A transaction is a `Begin`, its changes and an `End`; a transaction
/// larger than a segment runs on through the segments that follow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record<'a> {
    /// A transaction starts.
    Begin(Sequence),
    /// One of its changes.
    Change(Change<'a>),
    /// It was committed.
    End(End),
}

/// How a transaction ended: always in a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct End {
    /// The transaction's number.
    pub sequence: Sequence,
    /// How many changes it has, over all its segments.
    pub changes: u64,
    /// When its database committed it.
    pub committed_at: Timestamp,
    /// The node it came from, if it arrived through a link rather than from this node's users.
    pub origin: Option<NodeId>,
}

/// A segment that does not follow the format: damaged, or made by something else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("malformed segment at byte {offset}: {what}")]
pub struct Malformed {
    /// Where in the raw segment.
    pub offset: usize,
    /// What was found there.
    pub what: &'static str,
}

/// The raw segments of a batch in order, readable more than once: the first try at applying a
/// batch may be rolled back and repeated change by change.
pub trait SegmentSource: Send + Sync {
    /// Reads from the first segment again. Each item is one whole uncompressed segment.
    fn segments(&self) -> Box<dyn Iterator<Item = Result<Vec<u8>, SegmentError>> + Send + '_>;
}

/// Why a batch's segments could not be read.
#[derive(Debug, thiserror::Error)]
pub enum SegmentError {
    /// The bytes are not what their format says.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// The compressed frame is damaged.
    #[error("batch frame {frame} cannot be decompressed: {reason}")]
    Compression {
        /// Which frame, from 0.
        frame: u64,
        /// What the decompressor said.
        reason: String,
    },
    /// The file that holds a large batch could not be read.
    #[error("the stored batch cannot be read: {0}")]
    Io(#[from] std::io::Error),
}

/// Builds one raw segment.
#[derive(Debug, Default)]
pub struct SegmentWriter {
    bytes: Vec<u8>,
    shapes: HashMap<usize, (u32, Arc<Shape>)>,
    names: HashMap<Name, u32>,
}

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
        self.bytes.push(match change.kind {
            Kind::Insert => INSERT,
            Kind::Update => UPDATE,
            Kind::Delete => DELETE,
        });
        self.bytes.push(flags);
        put_varint(&mut self.bytes, u64::from(shape));
        put_identity(&mut self.bytes, &self.names, &change.identity);
        if let Some(previous) = &change.previous {
            put_identity(&mut self.bytes, &self.names, previous);
        }
        for value in &change.values {
            put_value(&mut self.bytes, &self.names, value);
        }
        if let Some(Fingerprint(hash)) = change.base {
            self.bytes.extend_from_slice(&hash.to_le_bytes());
        }
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

    fn shape(&mut self, shape: &Arc<Shape>) -> u32 {
        let key = Arc::as_ptr(shape) as usize;
        if let Some((number, _)) = self.shapes.get(&key) {
            return *number;
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
        // The shape is kept so that its address cannot be reused while this segment is built.
        self.shapes.insert(key, (number, Arc::clone(shape)));
        number
    }

    fn name(&mut self, name: &Name) -> u32 {
        if let Some(number) = self.names.get(name) {
            return *number;
        }
        self.bytes.push(NAME);
        put_bytes(&mut self.bytes, name.as_bytes());
        let number = u32::try_from(self.names.len()).unwrap_or(u32::MAX);
        self.names.insert(Arc::clone(name), number);
        number
    }

    fn intern(&mut self, value: &Value<'_>) {
        if let Value::Reference(reference) = value {
            self.name(&reference.table);
            self.intern_identity(&reference.identity);
        }
    }

    fn intern_identity(&mut self, identity: &Identity<'_>) {
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
}

/// An identity kept by itself, outside a segment: the names it mentions, then the identity.
pub fn identity_to_bytes(identity: &Identity<'_>) -> Vec<u8> {
    let mut writer = SegmentWriter::new();
    writer.intern_identity(identity);
    let SegmentWriter { mut bytes, names, .. } = writer;
    put_identity(&mut bytes, &names, identity);
    bytes
}

/// Reads what [`identity_to_bytes`] wrote.
pub fn identity_from_bytes(bytes: &[u8]) -> Result<Identity<'_>, Malformed> {
    let mut reader = SegmentReader::new(bytes);
    while bytes.get(reader.offset) == Some(&NAME) {
        reader.byte()?;
        let name = reader.text()?;
        reader.names.push(Arc::from(name));
    }
    let identity = reader.identity(0)?;
    if reader.offset == bytes.len() {
        Ok(identity)
    } else {
        Err(reader.malformed("bytes after an identity"))
    }
}

/// The fingerprint of some values, in the order given.
pub fn fingerprint<'v, 'a: 'v>(values: impl IntoIterator<Item = &'v Value<'a>>) -> Fingerprint {
    let mut bytes = Vec::with_capacity(256);
    for value in values {
        // Hashed by name, not by number: a segment's numbering must not show in the result.
        put_hashed(&mut bytes, value);
    }
    Fingerprint(xxhash_rust::xxh3::xxh3_64(&bytes))
}

fn put_hashed(bytes: &mut Vec<u8>, value: &Value<'_>) {
    match value {
        Value::Reference(reference) => {
            bytes.push(REFERENCE);
            put_bytes(bytes, reference.table.as_bytes());
            match &reference.identity {
                Identity::One(value) => {
                    bytes.push(ONE);
                    put_hashed(bytes, value);
                }
                Identity::Many(parts) => {
                    bytes.push(MANY);
                    put_varint(bytes, parts.len() as u64);
                    for part in parts {
                        put_hashed(bytes, part);
                    }
                }
                Identity::Lost(local) => {
                    bytes.push(LOST);
                    put_varint(bytes, zigzag(*local));
                }
            }
        }
        plain @ (Value::Null
        | Value::Int(_)
        | Value::UInt(_)
        | Value::Float(_)
        | Value::Double(_)
        | Value::Decimal(_)
        | Value::Text(_)
        | Value::Encoded { .. }
        | Value::Bytes(_)
        | Value::Temporal(_)
        | Value::Json(_)) => put_value(bytes, &HashMap::new(), plain),
    }
}

fn put_identity(bytes: &mut Vec<u8>, names: &HashMap<Name, u32>, identity: &Identity<'_>) {
    match identity {
        Identity::One(value) => {
            bytes.push(ONE);
            put_value(bytes, names, value);
        }
        Identity::Many(parts) => {
            bytes.push(MANY);
            put_varint(bytes, parts.len() as u64);
            for part in parts {
                put_value(bytes, names, part);
            }
        }
        Identity::Lost(local) => {
            bytes.push(LOST);
            put_varint(bytes, zigzag(*local));
        }
    }
}

fn put_value(bytes: &mut Vec<u8>, names: &HashMap<Name, u32>, value: &Value<'_>) {
    match value {
        Value::Null => bytes.push(NULL),
        Value::Int(number) => {
            bytes.push(INT);
            put_varint(bytes, zigzag(*number));
        }
        Value::UInt(number) => {
            bytes.push(UINT);
            put_varint(bytes, *number);
        }
        Value::Float(bits) => {
            bytes.push(FLOAT);
            bytes.extend_from_slice(&bits.to_le_bytes());
        }
        Value::Double(bits) => {
            bytes.push(DOUBLE);
            bytes.extend_from_slice(&bits.to_le_bytes());
        }
        Value::Decimal(digits) => put_tagged(bytes, DECIMAL, digits.as_bytes()),
        Value::Text(text) => match uuid_bytes(text) {
            Some(uuid) => {
                bytes.push(UUID);
                bytes.extend_from_slice(&uuid);
            }
            None => put_tagged(bytes, TEXT, text.as_bytes()),
        },
        Value::Encoded { charset, bytes: content } => {
            put_tagged(bytes, ENCODED, charset.as_bytes());
            put_bytes(bytes, content);
        }
        Value::Bytes(content) => put_tagged(bytes, BYTES, content),
        Value::Temporal(text) => put_tagged(bytes, TEMPORAL, text.as_bytes()),
        Value::Json(text) => put_tagged(bytes, JSON, text.as_bytes()),
        Value::Reference(reference) => {
            bytes.push(REFERENCE);
            let table = names.get(&reference.table).copied().unwrap_or(u32::MAX);
            put_varint(bytes, u64::from(table));
            put_identity(bytes, names, &reference.identity);
        }
    }
}

fn put_tagged(bytes: &mut Vec<u8>, tag: u8, content: &[u8]) {
    bytes.push(tag);
    put_bytes(bytes, content);
}

fn put_bytes(bytes: &mut Vec<u8>, content: &[u8]) {
    put_varint(bytes, content.len() as u64);
    bytes.extend_from_slice(content);
}

fn put_varint(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(low_seven_bits(number) | 0x80);
        number >>= 7;
    }
    bytes.push(low_seven_bits(number));
}

fn low_seven_bits(number: u64) -> u8 {
    (number & 0x7f) as u8
}

fn zigzag(number: i64) -> u64 {
    ((number << 1) ^ (number >> 63)).cast_unsigned()
}

fn unzigzag(number: u64) -> i64 {
    (number >> 1).cast_signed() ^ -((number & 1).cast_signed())
}

/// The 16 bytes of a uuid written in lower case with its four hyphens, and of nothing else: any
/// other spelling has to come back letter for letter.
fn uuid_bytes(text: &str) -> Option<[u8; 16]> {
    let text: &[u8; 36] = text.as_bytes().try_into().ok()?;
    let mut uuid = [0_u8; 16];
    let mut filled = 0_usize;
    let mut high = None;
    for (index, byte) in text.iter().enumerate() {
        if matches!(index, 8 | 13 | 18 | 23) {
            if *byte != b'-' {
                return None;
            }
            continue;
        }
        let digit = match byte {
            b'0'..=b'9' => byte - b'0',
            b'a'..=b'f' => byte - b'a' + 10,
            _ => return None,
        };
        match high.take() {
            None => high = Some(digit),
            Some(high) => {
                *uuid.get_mut(filled)? = (high << 4) | digit;
                filled += 1;
            }
        }
    }
    Some(uuid)
}

/// Reads the records of one raw segment.
#[derive(Debug)]
pub struct SegmentReader<'a> {
    bytes: &'a [u8],
    offset: usize,
    names: Vec<Name>,
    shapes: Vec<Arc<Shape>>,
}

impl<'a> SegmentReader<'a> {
    /// Reads from the first record of `bytes`.
    pub fn new(bytes: &'a [u8]) -> SegmentReader<'a> {
        SegmentReader { bytes, offset: 0, names: Vec::new(), shapes: Vec::new() }
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

    fn malformed(&self, what: &'static str) -> Malformed {
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

    fn byte(&mut self) -> Result<u8, Malformed> {
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

    fn text(&mut self) -> Result<&'a str, Malformed> {
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

    fn identity(&mut self, depth: u8) -> Result<Identity<'a>, Malformed> {
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
