//! The bytes that tell records, values and identities apart; `docs/formats.md` has them in a table.

/// References inside identities inside references: deeper than any real schema nests them.
pub(super) const DEPTH_MAX: u8 = 16;
/// More columns than any server allows in a table.
pub(super) const COLUMNS_MAX: usize = 4096;

/// More values than any real change has, the parts of its identities and references included. A
/// value takes far more memory than the byte that an empty one takes in a segment.
pub(super) const VALUES_MAX: u32 = 65_536;

pub(super) const BEGIN: u8 = 1;
pub(super) const NAME: u8 = 2;
pub(super) const SHAPE: u8 = 3;
pub(super) const INSERT: u8 = 4;
pub(super) const UPDATE: u8 = 5;
pub(super) const DELETE: u8 = 6;
pub(super) const END: u8 = 7;

pub(super) const NULL: u8 = 0;
pub(super) const INT: u8 = 1;
pub(super) const UINT: u8 = 2;
pub(super) const FLOAT: u8 = 3;
pub(super) const DOUBLE: u8 = 4;
pub(super) const DECIMAL: u8 = 5;
pub(super) const TEXT: u8 = 6;
pub(super) const UUID: u8 = 7;
pub(super) const ENCODED: u8 = 8;
pub(super) const BYTES: u8 = 9;
pub(super) const TEMPORAL: u8 = 10;
pub(super) const JSON: u8 = 11;
pub(super) const REFERENCE: u8 = 12;

pub(super) const ONE: u8 = 0;
pub(super) const MANY: u8 = 1;
/// Not 2: an identity kept by itself may start with [`NAME`] records.
pub(super) const LOST: u8 = 3;
