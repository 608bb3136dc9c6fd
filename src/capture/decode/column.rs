//! The type of a column as the table map gives it: what is needed to find where a value ends.

use super::cursor::{Cursor, little};
use super::error::{DecodeError, Refusal};

/// How a column's values lie in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ColumnType {
    /// An integer of 1, 2, 3, 4 or 8 bytes.
    Integer {
        /// How many.
        bytes: u8,
    },
    /// `FLOAT`.
    Float,
    /// `DOUBLE`.
    Double,
    /// `DECIMAL(precision, scale)`.
    Decimal {
        /// Digits in all.
        precision: u8,
        /// Digits after the point.
        scale: u8,
    },
    /// `BIT(bits)`.
    Bit {
        /// From 1 to 64.
        bits: u8,
    },
    /// `YEAR`.
    Year,
    /// `DATE`.
    Date,
    /// `TIME(fraction)`.
    Time {
        /// Fractional digits.
        fraction: u8,
    },
    /// `DATETIME(fraction)`.
    DateTime {
        /// Fractional digits.
        fraction: u8,
    },
    /// `TIMESTAMP(fraction)`.
    Timestamp {
        /// Fractional digits.
        fraction: u8,
    },
    /// `TIME` in the format from before MySQL 5.6; without fraction if it is readable at all.
    OldTime,
    /// `DATETIME` in that format.
    OldDateTime,
    /// `TIMESTAMP` in that format.
    OldTimestamp,
    /// `VARCHAR`, `VARBINARY`.
    VarChar {
        /// The most bytes a value takes.
        bytes_max: u16,
    },
    /// `CHAR`, `BINARY`, and `MariaDB`'s `UUID`, `INET4`, `INET6`.
    Char {
        /// The most bytes a value takes.
        bytes_max: u16,
    },
    /// `ENUM`.
    Enum {
        /// 1 or 2.
        bytes: u8,
    },
    /// `SET`.
    Set {
        /// 1, 2, 3, 4 or 8.
        bytes: u8,
    },
    /// `TEXT` and `BLOB` of all sizes.
    Blob {
        /// Bytes of the length before the value.
        length_bytes: u8,
    },
    /// `JSON` of MySQL; `MariaDB`'s is a `LONGTEXT`.
    Json {
        /// Bytes of the length before the value.
        length_bytes: u8,
    },
    /// Any geometry.
    Geometry {
        /// Bytes of the length before the value.
        length_bytes: u8,
    },
    /// `VECTOR` of MySQL.
    Vector {
        /// Bytes of the length before the value.
        length_bytes: u8,
    },
    /// `VARCHAR COMPRESSED` of `MariaDB`.
    CompressedVarChar {
        /// The most bytes a value takes.
        bytes_max: u16,
    },
    /// `TEXT COMPRESSED` and `BLOB COMPRESSED` of `MariaDB`.
    CompressedBlob {
        /// Bytes of the length before the value.
        length_bytes: u8,
    },
}

const ENUM: u8 = 247;
const SET: u8 = 248;
const STRING: u8 = 254;

impl ColumnType {
    /// Reads a type's part of the metadata block.
    pub(super) fn read(number: u8, metadata: &mut Cursor<'_>) -> Result<ColumnType, DecodeError> {
        Ok(match number {
            1 => ColumnType::Integer { bytes: 1 },
            2 => ColumnType::Integer { bytes: 2 },
            9 => ColumnType::Integer { bytes: 3 },
            3 => ColumnType::Integer { bytes: 4 },
            8 => ColumnType::Integer { bytes: 8 },
            4 => exactly(metadata.u8()?, 4, ColumnType::Float)?,
            5 => exactly(metadata.u8()?, 8, ColumnType::Double)?,
            7 => ColumnType::OldTimestamp,
            10 | 14 => ColumnType::Date,
            11 => ColumnType::OldTime,
            12 => ColumnType::OldDateTime,
            13 => ColumnType::Year,
            15 => ColumnType::VarChar { bytes_max: metadata.u16()? },
            16 => bit(metadata.array()?)?,
            17 => ColumnType::Timestamp { fraction: fraction(metadata)? },
            18 => ColumnType::DateTime { fraction: fraction(metadata)? },
            19 => ColumnType::Time { fraction: fraction(metadata)? },
            140 => ColumnType::CompressedBlob { length_bytes: length_bytes(metadata)? },
            141 => ColumnType::CompressedVarChar { bytes_max: metadata.u16()? },
            242 => ColumnType::Vector { length_bytes: length_bytes(metadata)? },
            245 => ColumnType::Json { length_bytes: length_bytes(metadata)? },
            246 => decimal(metadata.array()?)?,
            249..=252 => ColumnType::Blob { length_bytes: length_bytes(metadata)? },
            255 => ColumnType::Geometry { length_bytes: length_bytes(metadata)? },
            ENUM | SET | STRING => string(metadata.array()?)?,
            other => {
                return Err(Refusal::ColumnType { number: other, name: name(other) }.into());
            }
        })
    }

    /// Takes one value off the front of a row: its content, without the length before it.
    #[inline]
    pub(super) fn take<'a>(self, row: &mut Cursor<'a>) -> Result<&'a [u8], DecodeError> {
        let fixed = match self {
            ColumnType::Integer { bytes }
            | ColumnType::Enum { bytes }
            | ColumnType::Set { bytes } => usize::from(bytes),
            ColumnType::Float | ColumnType::OldTimestamp => 4,
            ColumnType::Double | ColumnType::OldDateTime => 8,
            ColumnType::Year => 1,
            ColumnType::Date | ColumnType::OldTime => 3,
            ColumnType::Time { fraction } => 3 + usize::from(fraction.div_ceil(2)),
            ColumnType::DateTime { fraction } => 5 + usize::from(fraction.div_ceil(2)),
            ColumnType::Timestamp { fraction } => 4 + usize::from(fraction.div_ceil(2)),
            ColumnType::Bit { bits } => usize::from(bits.div_ceil(8)),
            ColumnType::Decimal { precision, scale } => super::decimal::bytes(precision, scale),
            ColumnType::VarChar { bytes_max }
            | ColumnType::Char { bytes_max }
            | ColumnType::CompressedVarChar { bytes_max } => {
                if bytes_max < 256 {
                    usize::from(row.u8()?)
                } else {
                    usize::from(row.u16()?)
                }
            }
            ColumnType::Blob { length_bytes }
            | ColumnType::Json { length_bytes }
            | ColumnType::Geometry { length_bytes }
            | ColumnType::Vector { length_bytes }
            | ColumnType::CompressedBlob { length_bytes } => {
                let length = little(row.take(usize::from(length_bytes))?);
                return row.take_u64(length);
            }
        };
        row.take(fixed)
    }

    /// Whether it is a temporal type from before MySQL 5.6, whose fraction the log does not show.
    pub fn is_old_temporal(self) -> bool {
        matches!(self, ColumnType::OldTime | ColumnType::OldDateTime | ColumnType::OldTimestamp)
    }

    /// Whether signedness means anything for the type: those columns have a bit in the metadata.
    pub(super) fn is_numeric(self) -> bool {
        matches!(
            self,
            ColumnType::Integer { .. }
                | ColumnType::Float
                | ColumnType::Double
                | ColumnType::Decimal { .. }
                | ColumnType::Year
        )
    }

    /// Whether the server lists a collation for the column: of vectors too, not of MySQL's JSON.
    /// `MariaDB` lists one for geometries besides.
    pub(super) fn has_collation(self) -> bool {
        matches!(
            self,
            ColumnType::VarChar { .. }
                | ColumnType::Char { .. }
                | ColumnType::Blob { .. }
                | ColumnType::Vector { .. }
                | ColumnType::CompressedVarChar { .. }
                | ColumnType::CompressedBlob { .. }
        )
    }
}

fn exactly(found: u8, expected: u8, column: ColumnType) -> Result<ColumnType, DecodeError> {
    if found == expected {
        Ok(column)
    } else {
        Err(DecodeError::malformed("a floating point column of unknown width"))
    }
}

fn fraction(metadata: &mut Cursor<'_>) -> Result<u8, DecodeError> {
    match metadata.u8()? {
        digits @ 0..=6 => Ok(digits),
        _ => Err(DecodeError::malformed("a temporal column with more than 6 fractional digits")),
    }
}

fn length_bytes(metadata: &mut Cursor<'_>) -> Result<u8, DecodeError> {
    match metadata.u8()? {
        bytes @ 1..=4 => Ok(bytes),
        _ => Err(DecodeError::malformed("a column whose length takes no bytes or more than 4")),
    }
}

fn bit([odd, whole]: [u8; 2]) -> Result<ColumnType, DecodeError> {
    let bits = u16::from(whole) * 8 + u16::from(odd);
    match u8::try_from(bits) {
        Ok(bits @ 1..=64) if odd < 8 => Ok(ColumnType::Bit { bits }),
        _ => Err(DecodeError::malformed("a BIT column of no or more than 64 bits")),
    }
}

fn decimal([precision, scale]: [u8; 2]) -> Result<ColumnType, DecodeError> {
    // MariaDB allows 38 digits after the point, MySQL 30.
    if (1..=65).contains(&precision) && scale <= precision && scale <= 38 {
        Ok(ColumnType::Decimal { precision, scale })
    } else {
        Err(DecodeError::malformed("a DECIMAL column of impossible precision"))
    }
}

/// `CHAR`, `ENUM` and `SET` share a number. The high bits of a length above 255 are hidden,
/// inverted, in the byte that tells them apart.
fn string([kind, length]: [u8; 2]) -> Result<ColumnType, DecodeError> {
    let high = u16::from((kind & 0x30) ^ 0x30) << 4;
    match (kind | 0x30, length) {
        (STRING, _) => Ok(ColumnType::Char { bytes_max: high | u16::from(length) }),
        (ENUM, bytes @ 1..=2) => Ok(ColumnType::Enum { bytes }),
        (SET, bytes @ (1..=4 | 8)) => Ok(ColumnType::Set { bytes }),
        _ => Err(DecodeError::malformed("a CHAR, ENUM or SET column of impossible length")),
    }
}

/// The server's names for the types that are refused.
fn name(number: u8) -> &'static str {
    match number {
        0 => "DECIMAL of MySQL 4",
        6 => "NULL",
        20 | 244 => "TYPED_ARRAY",
        243 => "INVALID",
        253 => "VARCHAR of MySQL 4",
        _ => "unknown",
    }
}
