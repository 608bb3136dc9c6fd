//! The log of captured transactions: appended in order, read by links, released when every link
//! has had them for long enough.

use rusqlite::{Connection, Transaction, params};

use super::Segment;
use super::error::Error;
use super::sql::{sequence, short, signed, unsigned};
use crate::change::{Epoch, NodeId, Sequence};
use crate::clock::Timestamp;
use crate::position::Position;

/// Segments deleted in one store transaction, so that capture waits only briefly.
const RELEASE_SEGMENTS: i64 = 64;

/// Where the log ends: what the next segment has to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tail {
    /// The last whole transaction.
    pub(super) head: Sequence,
    /// The parts already there of the transaction after it.
    pub(super) parts: u32,
}

impl Tail {
    /// The log's end once `segment` is appended.
    pub(super) fn then(self, segment: &Segment) -> Result<Tail, Error> {
        let expected = self.head.next();
        if segment.first != expected || segment.part != self.parts {
            return Err(Error::Gap {
                expected,
                expected_part: self.parts,
                found: segment.first,
                found_part: segment.part,
            });
        }
        let whole = segment.complete && segment.part == 0;
        if segment.last < segment.first || (!whole && segment.last != segment.first) {
            // It would end elsewhere than where the next has to begin.
            return Err(Error::Gap {
                expected,
                expected_part: self.parts,
                found: segment.last,
                found_part: segment.part,
            });
        }
        Ok(if segment.complete {
            Tail { head: segment.last, parts: 0 }
        } else {
            Tail { head: self.head, parts: self.parts.saturating_add(1) }
        })
    }

    /// The transaction of which only parts are there.
    pub(super) fn unfinished(self) -> Option<Sequence> {
        (self.parts > 0).then(|| self.head.next())
    }
}

/// Who the node is, from the store's one row about it.
pub(super) fn node(connection: &Connection) -> Result<(NodeId, Epoch), Error> {
    let ids = connection.query_row("SELECT node, epoch FROM node", [], |row| {
        Ok((row.get::<_, [u8; 16]>(0)?, row.get::<_, [u8; 16]>(1)?))
    })?;
    let id = uuid::Uuid::from_bytes;
    Ok((NodeId(id(ids.0)), Epoch(id(ids.1))))
}

/// The last whole transaction and the last one released.
pub(super) fn ends(connection: &Connection) -> Result<(Sequence, Sequence), Error> {
    let mut statement = connection.prepare_cached("SELECT head, released FROM node")?;
    Ok(statement.query_row([], |row| Ok((sequence(row, 0)?, sequence(row, 1)?)))?)
}

/// How many compressed bytes the log holds, unfinished parts included.
pub(super) fn bytes(connection: &Connection) -> Result<u64, Error> {
    let sum = "SELECT coalesce(sum(length(compressed)), 0) FROM segment";
    Ok(connection.query_row(sum, [], |row| unsigned(row, 0))?)
}

/// Where capture resumes.
pub(super) fn position(connection: &Connection) -> Result<Option<Position>, Error> {
    let text: Option<String> =
        connection.query_row("SELECT position FROM node", [], |row| row.get(0))?;
    text.map(|text| {
        serde_json::from_str(&text)
            .map_err(|error| Error::damaged(format!("its position is unreadable: {error}")))
    })
    .transpose()
}

/// How the tables were defined at the position.
pub(super) fn tables(connection: &Connection) -> Result<Option<String>, Error> {
    Ok(connection.query_row("SELECT tables FROM node", [], |row| row.get(0))?)
}

pub(super) fn set_tables(transaction: &Transaction<'_>, tables: &str) -> Result<(), Error> {
    transaction.prepare_cached("UPDATE node SET tables = ?1")?.execute(params![tables])?;
    Ok(())
}

/// Moves the position to the end of what was committed at `read_to`.
pub(super) fn set_position(
    transaction: &Transaction<'_>,
    position: Option<&Position>,
    read_to: Option<Timestamp>,
    now: Timestamp,
) -> Result<(), Error> {
    let text = position
        .map(serde_json::to_string)
        .transpose()
        .map_err(|error| Error::Failed(format!("a position cannot be written: {error}").into()))?;
    transaction
        .prepare_cached(
            "UPDATE node SET position = ?1, position_at = coalesce(?2, position_at, ?3)",
        )?
        .execute(params![text, read_to.map(|at| at.0), now.0])?;
    Ok(())
}

/// Writes segments already found to follow the log's end.
pub(super) fn insert(transaction: &Transaction<'_>, segments: &[Segment]) -> Result<(), Error> {
    let mut statement = transaction.prepare_cached(
        "INSERT INTO segment (first, last, part, complete, changes, raw_bytes, committed_at,
             checksum, compressed)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
    )?;
    for segment in segments {
        statement.execute(params![
            signed(segment.first.0),
            signed(segment.last.0),
            segment.part,
            segment.complete,
            signed(segment.changes),
            signed(segment.raw_bytes),
            segment.committed_at.0,
            checksum(&segment.compressed),
            segment.compressed,
        ])?;
    }
    Ok(())
}

pub(super) fn set_head(transaction: &Transaction<'_>, head: Sequence) -> Result<(), Error> {
    transaction.prepare_cached("UPDATE node SET head = ?1")?.execute(params![signed(head.0)])?;
    Ok(())
}

/// Deletes the parts of a transaction whose end never came; how many compressed bytes they were.
pub(super) fn delete_unfinished(
    transaction: &Transaction<'_>,
    head: Sequence,
) -> Result<u64, Error> {
    let head = signed(head.0);
    let sum = "SELECT coalesce(sum(length(compressed)), 0) FROM segment WHERE last > ?1";
    let bytes = transaction.query_row(sum, params![head], |row| unsigned(row, 0))?;
    transaction.execute("DELETE FROM segment WHERE last > ?1", params![head])?;
    Ok(bytes)
}

/// Whole transactions after `after`, or the parts from `part` on of the one that follows it, in
/// order: at least one segment if there is any, then as many as fit into `bytes_max` compressed
/// bytes.
pub(super) fn read(
    connection: &Connection,
    after: Sequence,
    part: u32,
    bytes_max: u64,
) -> Result<Vec<Segment>, Error> {
    // One read transaction, so that a release between the two statements cannot make a hole.
    let snapshot = connection.unchecked_transaction()?;
    let (head, released) = ends(&snapshot)?;
    if after < released {
        return Err(Error::Released { after, released });
    }
    if after > head {
        return Err(Error::BeyondHead { named: after, head });
    }
    let mut statement = snapshot.prepare_cached(
        "SELECT first, last, part, complete, changes, raw_bytes, committed_at, checksum,
             length(compressed), compressed
         FROM segment WHERE (last, part) >= (?1, ?2) AND last <= ?3 ORDER BY last, part",
    )?;
    let mut rows = statement.query(params![signed(after.next().0), part, signed(head.0)])?;
    let mut segments = Vec::new();
    let mut bytes = 0_u64;
    while let Some(row) = rows.next()? {
        bytes = bytes.saturating_add(unsigned(row, 8)?);
        if bytes > bytes_max && !segments.is_empty() {
            break;
        }
        segments.push(segment(row)?);
    }
    Ok(segments)
}

fn segment(row: &rusqlite::Row<'_>) -> Result<Segment, Error> {
    let segment = Segment {
        first: sequence(row, 0)?,
        last: sequence(row, 1)?,
        part: short(row, 2)?,
        complete: row.get(3)?,
        changes: unsigned(row, 4)?,
        raw_bytes: unsigned(row, 5)?,
        committed_at: Timestamp(row.get(6)?),
        compressed: row.get(9)?,
    };
    if checksum(&segment.compressed) == row.get::<_, i64>(7)? {
        Ok(segment)
    } else {
        Err(Error::damaged(format!(
            "the checksum of transactions {} to {} part {} is wrong",
            segment.first, segment.last, segment.part
        )))
    }
}

/// XXH3 of the compressed bytes: SQLite itself does not notice a flipped bit inside a blob.
fn checksum(compressed: &[u8]) -> i64 {
    xxhash_rust::xxh3::xxh3_64(compressed).cast_signed()
}

/// What one call of `release` deleted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Released {
    /// Segments deleted.
    pub segments: u64,
    /// Their compressed bytes.
    pub bytes: u64,
    /// Everything through this transaction has been released, now or earlier.
    pub through: Sequence,
    /// There is more to release: call again.
    pub more: bool,
}

/// Deletes some of the segments that end at or before `through`.
pub(super) fn delete_through(
    transaction: &Transaction<'_>,
    through: Sequence,
    released: Sequence,
) -> Result<Released, Error> {
    let mut found = transaction.prepare_cached(
        "SELECT id, last, length(compressed) FROM segment WHERE last <= ?1
         ORDER BY last, part LIMIT ?2",
    )?;
    let doomed = found
        .query_map(params![signed(through.0), RELEASE_SEGMENTS], |row| {
            Ok((row.get::<_, i64>(0)?, sequence(row, 1)?, unsigned(row, 2)?))
        })?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    let mut result = Released { through: released, ..Released::default() };
    let mut delete = transaction.prepare_cached("DELETE FROM segment WHERE id = ?1")?;
    for (id, last, bytes) in doomed {
        delete.execute(params![id])?;
        result.segments = result.segments.saturating_add(1);
        result.bytes = result.bytes.saturating_add(bytes);
        result.through = result.through.max(last);
    }
    result.more = signed(result.segments) == RELEASE_SEGMENTS;
    if result.segments > 0 {
        transaction
            .prepare_cached("UPDATE node SET released = ?1")?
            .execute(params![signed(result.through.0)])?;
    }
    Ok(result)
}
