//! Numbers, ids and sequences as SQLite keeps them: its integers are signed and 64 bits wide.

use rusqlite::Row;

use crate::change::Sequence;

/// What is written for an unsigned number. What does not fit is none of ours: sequences and sizes
/// stay far below.
pub(super) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A number that cannot be negative.
pub(super) fn unsigned(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    let number: i64 = row.get(column)?;
    u64::try_from(number)
        .map_err(|_negative| rusqlite::Error::IntegralValueOutOfRange(column, number))
}

/// A number of 32 bits.
pub(super) fn short(row: &Row<'_>, column: usize) -> rusqlite::Result<u32> {
    let number: i64 = row.get(column)?;
    u32::try_from(number).map_err(|_wide| rusqlite::Error::IntegralValueOutOfRange(column, number))
}

/// A transaction's number.
pub(super) fn sequence(row: &Row<'_>, column: usize) -> rusqlite::Result<Sequence> {
    unsigned(row, column).map(Sequence)
}
