//! Values as bytes.

use super::Malformed;
use super::names::Names;
use super::tag::{
    BYTES, DECIMAL, DOUBLE, ENCODED, FLOAT, INT, JSON, LOST, MANY, NULL, ONE, REFERENCE, TEMPORAL,
    TEXT, UINT, UUID,
};
use crate::change::{Fingerprint, Identity};
use crate::value::{Name, Value};

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
        | Value::Json(_)) => {
            let written = put_value(bytes, &Names::default(), plain);
            debug_assert!(written.is_ok(), "only references mention names");
        }
    }
}

/// A reference to a table that has not been named in the segment: no reader would know which.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unnamed;

/// The error of what was being written at `offset`.
pub(super) fn unnamed(offset: usize) -> Malformed {
    Malformed { offset, what: "a reference to a table that was not named before it" }
}

pub(super) fn put_identity(
    bytes: &mut Vec<u8>,
    names: &Names,
    identity: &Identity<'_>,
) -> Result<(), Unnamed> {
    match identity {
        Identity::One(value) => {
            bytes.push(ONE);
            put_value(bytes, names, value)?;
        }
        Identity::Many(parts) => {
            bytes.push(MANY);
            put_varint(bytes, parts.len() as u64);
            for part in parts {
                put_value(bytes, names, part)?;
            }
        }
        Identity::Lost(local) => {
            bytes.push(LOST);
            put_varint(bytes, zigzag(*local));
        }
    }
    Ok(())
}

pub(super) fn put_value(
    bytes: &mut Vec<u8>,
    names: &Names,
    value: &Value<'_>,
) -> Result<(), Unnamed> {
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
            put_reference(bytes, names, &reference.table)?;
            put_identity(bytes, names, &reference.identity)?;
        }
    }
    Ok(())
}

/// What stands before the identity of the row referred to.
pub(super) fn put_reference(
    bytes: &mut Vec<u8>,
    names: &Names,
    table: &Name,
) -> Result<(), Unnamed> {
    let number = names.number(table).ok_or(Unnamed)?;
    bytes.push(REFERENCE);
    put_varint(bytes, u64::from(number));
    Ok(())
}

fn put_tagged(bytes: &mut Vec<u8>, tag: u8, content: &[u8]) {
    bytes.push(tag);
    put_bytes(bytes, content);
}

pub(super) fn put_bytes(bytes: &mut Vec<u8>, content: &[u8]) {
    put_varint(bytes, content.len() as u64);
    bytes.extend_from_slice(content);
}

pub(super) fn put_varint(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(low_seven_bits(number) | 0x80);
        number >>= 7;
    }
    bytes.push(low_seven_bits(number));
}

fn low_seven_bits(number: u64) -> u8 {
    (number & 0x7f) as u8
}

pub(super) fn zigzag(number: i64) -> u64 {
    ((number << 1) ^ (number >> 63)).cast_unsigned()
}

pub(super) fn unzigzag(number: u64) -> i64 {
    (number >> 1).cast_signed() ^ -((number & 1).cast_signed())
}

/// The 16 bytes of a uuid written in lower case with its four hyphens, and of nothing else: any
/// other spelling has to come back letter for letter.
fn uuid_bytes(text: &str) -> Option<[u8; 16]> {
    let text: &[u8; 36] = text.as_bytes().try_into().ok()?;
    let hyphens = [text[8], text[13], text[18], text[23]];
    if hyphens != *b"----" {
        return None;
    }
    let mut uuid = [0_u8; 16];
    let mut strange = 0_u8;
    for (byte, at) in uuid.iter_mut().zip(UUID_DIGITS) {
        let high = digit(*text.get(at)?);
        let low = digit(*text.get(at + 1)?);
        strange |= high | low;
        *byte = (high << 4) | (low & 0x0f);
    }
    (strange < 0x10).then_some(uuid)
}

/// Where each byte's two digits stand.
const UUID_DIGITS: [usize; 16] = [0, 2, 4, 6, 9, 11, 14, 16, 19, 21, 24, 26, 28, 30, 32, 34];

/// A lower-case hexadecimal digit; 0xff for what is none.
fn digit(byte: u8) -> u8 {
    match byte {
        b'0'..=b'9' => byte - b'0',
        b'a'..=b'f' => byte - b'a' + 10,
        _ => 0xff,
    }
}
