//! MySQL's binary JSON to JSON text, spaced as the server prints it.

use std::fmt::Write as _;

use base64::Engine as _;

use super::cursor::Cursor;
use super::error::{Damage, DecodeError};
use super::temporal::Packed;
use super::{decimal, temporal};

/// How many bytes servers print in base64 before they begin a new line.
const LINE_BYTES: usize = 57;
/// As deep as the server lets a document be.
const DEPTH_MAX: u8 = 100;
/// Text is never longer than this times the document: an array of one-byte control characters
/// grows by less. A document whose parts share bytes, which no server writes, would.
const GROWTH_MAX: usize = 16;

mod kind {
    pub(super) const SMALL_OBJECT: u8 = 0x00;
    pub(super) const LARGE_OBJECT: u8 = 0x01;
    pub(super) const SMALL_ARRAY: u8 = 0x02;
    pub(super) const LARGE_ARRAY: u8 = 0x03;
    pub(super) const LITERAL: u8 = 0x04;
    pub(super) const INT16: u8 = 0x05;
    pub(super) const UINT16: u8 = 0x06;
    pub(super) const INT32: u8 = 0x07;
    pub(super) const UINT32: u8 = 0x08;
    pub(super) const INT64: u8 = 0x09;
    pub(super) const UINT64: u8 = 0x0a;
    pub(super) const DOUBLE: u8 = 0x0b;
    pub(super) const STRING: u8 = 0x0c;
    pub(super) const OPAQUE: u8 = 0x0f;
}

/// The document as text.
pub(super) fn text(document: &[u8]) -> Result<String, DecodeError> {
    // An UPDATE IGNORE can leave an empty document behind, which the server reads as null.
    let Some((kind, content)) = document.split_first() else { return Ok("null".to_owned()) };
    let mut printer = Printer {
        out: String::with_capacity(document.len().saturating_add(16)),
        bytes_max: document.len().saturating_mul(GROWTH_MAX).saturating_add(64),
    };
    printer.value(*kind, content, 0)?;
    Ok(printer.out)
}

struct Printer {
    out: String,
    bytes_max: usize,
}

/// Offsets and counts take two bytes in small containers, four in large ones.
#[derive(Clone, Copy)]
struct Width(usize);

impl Width {
    fn read(self, cursor: &mut Cursor<'_>) -> Result<usize, DecodeError> {
        let number = cursor.little(self.0)?;
        usize::try_from(number).map_err(|_error| DecodeError::malformed("JSON larger than memory"))
    }

    fn holds(self, kind: u8) -> bool {
        match kind {
            kind::LITERAL | kind::INT16 | kind::UINT16 => true,
            kind::INT32 | kind::UINT32 => self.0 == 4,
            _ => false,
        }
    }
}

fn from(bytes: &[u8], offset: usize) -> Result<&[u8], DecodeError> {
    bytes.get(offset..).ok_or(DecodeError::Damaged(Damage::CutShort {
        what: "JSON",
        wanted: offset as u64,
        left: bytes.len() as u64,
    }))
}

impl Printer {
    fn value(&mut self, kind: u8, content: &[u8], depth: u8) -> Result<(), DecodeError> {
        if self.out.len() > self.bytes_max {
            return Err(DecodeError::malformed("JSON whose parts overlap"));
        }
        let mut cursor = Cursor::new(content, "JSON");
        match kind {
            kind::SMALL_OBJECT => self.container(content, Width(2), true, depth)?,
            kind::LARGE_OBJECT => self.container(content, Width(4), true, depth)?,
            kind::SMALL_ARRAY => self.container(content, Width(2), false, depth)?,
            kind::LARGE_ARRAY => self.container(content, Width(4), false, depth)?,
            kind::LITERAL => self.out.push_str(match cursor.u8()? {
                0 => "null",
                1 => "true",
                2 => "false",
                _ => return Err(DecodeError::malformed("an unknown literal in JSON")),
            }),
            kind::INT16 => self.number(cursor.u16()?.cast_signed()),
            kind::UINT16 => self.number(cursor.u16()?),
            kind::INT32 => self.number(cursor.u32()?.cast_signed()),
            kind::UINT32 => self.number(cursor.u32()?),
            kind::INT64 => self.number(cursor.u64()?.cast_signed()),
            kind::UINT64 => self.number(cursor.u64()?),
            kind::DOUBLE => self.double(f64::from_bits(cursor.u64()?))?,
            kind::STRING => {
                let length = length(&mut cursor)?;
                let bytes = cursor.take(length)?;
                self.string(bytes)?;
            }
            kind::OPAQUE => {
                let column = cursor.u8()?;
                let length = length(&mut cursor)?;
                let bytes = cursor.take(length)?;
                self.opaque(column, bytes)?;
            }
            _ => return Err(DecodeError::malformed("an unknown kind of value in JSON")),
        }
        Ok(())
    }

    fn number(&mut self, number: impl std::fmt::Display) {
        // Writing to a string does not fail.
        write!(self.out, "{number}").unwrap_or_default();
    }

    fn double(&mut self, number: f64) -> Result<(), DecodeError> {
        if !number.is_finite() {
            return Err(DecodeError::malformed("a number in JSON that is not finite"));
        }
        // `Debug` writes the fewest digits that read back as the same bits, and always a point or
        // an exponent, so that a double stays one.
        write!(self.out, "{number:?}").unwrap_or_default();
        Ok(())
    }

    fn string(&mut self, bytes: &[u8]) -> Result<(), DecodeError> {
        let text = std::str::from_utf8(bytes)
            .map_err(|_error| DecodeError::malformed("text in JSON that is not UTF-8"))?;
        self.out.push('"');
        for letter in text.chars() {
            match letter {
                '"' => self.out.push_str("\\\""),
                '\\' => self.out.push_str("\\\\"),
                '\n' => self.out.push_str("\\n"),
                '\r' => self.out.push_str("\\r"),
                '\t' => self.out.push_str("\\t"),
                '\u{8}' => self.out.push_str("\\b"),
                '\u{c}' => self.out.push_str("\\f"),
                control if control < ' ' => {
                    write!(self.out, "\\u{:04x}", u32::from(control)).unwrap_or_default();
                }
                other => self.out.push(other),
            }
        }
        self.out.push('"');
        Ok(())
    }

    /// A value of a column type that JSON itself has not.
    fn opaque(&mut self, column: u8, bytes: &[u8]) -> Result<(), DecodeError> {
        let printed = match column {
            246 => {
                let [precision, scale, digits @ ..] = bytes else {
                    return Err(DecodeError::malformed("a decimal in JSON without its precision"));
                };
                if *precision > 65 || scale > precision {
                    return Err(DecodeError::malformed(
                        "a decimal in JSON of impossible precision",
                    ));
                }
                self.out.push_str(&decimal::text(digits, *precision, *scale)?);
                return Ok(());
            }
            10 => temporal::packed(bytes, Packed::Date)?,
            7 | 12 => temporal::packed(bytes, Packed::DateTime)?,
            11 => temporal::packed(bytes, Packed::Time)?,
            // The new lines are part of the string to servers; those from MySQL 8.0 on print them as
            // JSON has them, and 5.7 as they are, which nobody reads back.
            other => {
                let lines: Vec<String> = bytes
                    .chunks(LINE_BYTES)
                    .map(|line| base64::engine::general_purpose::STANDARD.encode(line))
                    .collect();
                format!("base64:type{other}:{}", lines.join("\\n"))
            }
        };
        self.out.push('"');
        self.out.push_str(&printed);
        self.out.push('"');
        Ok(())
    }

    fn container(
        &mut self,
        content: &[u8],
        width: Width,
        object: bool,
        depth: u8,
    ) -> Result<(), DecodeError> {
        if depth >= DEPTH_MAX {
            return Err(DecodeError::malformed("JSON nested deeper than 100"));
        }
        let mut cursor = Cursor::new(content, "JSON");
        let count = width.read(&mut cursor)?;
        let size = width.read(&mut cursor)?;
        let content = content
            .get(..size)
            .ok_or_else(|| DecodeError::malformed("a part of JSON larger than the whole"))?;
        // The entries of the keys stand before those of the values.
        let key_entries = if object { count.saturating_mul(width.0 + 2) } else { 0 };
        let mut keys = cursor;
        cursor.take(key_entries)?;
        self.out.push(if object { '{' } else { '[' });
        for place in 0..count {
            if place > 0 {
                self.out.push_str(", ");
            }
            if object {
                let offset = width.read(&mut keys)?;
                let length = usize::from(keys.u16()?);
                self.string(Cursor::new(from(content, offset)?, "JSON").take(length)?)?;
                self.out.push_str(": ");
            }
            let kind = cursor.u8()?;
            let entry = cursor.take(width.0)?;
            if width.holds(kind) {
                self.value(kind, entry, depth + 1)?;
            } else {
                let offset = width.read(&mut Cursor::new(entry, "JSON"))?;
                self.value(kind, from(content, offset)?, depth + 1)?;
            }
        }
        self.out.push(if object { '}' } else { ']' });
        Ok(())
    }
}

/// A length in groups of seven bits, the lowest first.
fn length(cursor: &mut Cursor<'_>) -> Result<usize, DecodeError> {
    let mut number = 0_u64;
    for shift in (0..35).step_by(7) {
        let byte = cursor.u8()?;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return usize::try_from(number)
                .map_err(|_error| DecodeError::malformed("JSON larger than memory"));
        }
    }
    Err(DecodeError::malformed("a length in JSON that does not end"))
}
