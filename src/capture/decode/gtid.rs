//! Names of transactions, in both vendors' notations.

use std::fmt;

use uuid::Uuid;

use super::cursor::Cursor;
use super::error::DecodeError;

/// Set in the first commit timestamp if a second one follows.
const SECOND_TIMESTAMP: u64 = 1 << 55;
/// Marks the logical clock that MySQL 5.7 and later add.
const LOGICAL_CLOCK: u8 = 2;
/// The format of serialized events.
const SERIALIZATION_VERSION: u64 = 1;

/// MySQL's transaction id, and when it was committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gtid<'a> {
    /// The server that gave the number.
    pub sid: Uuid,
    /// The tag; empty for most.
    pub tag: &'a str,
    /// The number; 0 if the transaction is anonymous.
    pub gno: u64,
    /// When this server committed it, in microseconds since 1970 UTC; `None` before MySQL 8.0.1.
    pub committed_micros: Option<u64>,
    /// When the first server committed it.
    pub first_committed_micros: Option<u64>,
    /// The flags; bit 0: the transaction may contain changes in statement format.
    pub flags: u8,
}

impl fmt::Display for Gtid<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}:", self.sid)?;
        if !self.tag.is_empty() {
            write!(out, "{}:", self.tag)?;
        }
        write!(out, "{}", self.gno)
    }
}

impl<'a> Gtid<'a> {
    /// Whether the transaction has no id, because the server's `gtid_mode` is off.
    pub fn is_anonymous(&self) -> bool {
        self.gno == 0
    }

    pub(super) fn read(body: &'a [u8]) -> Result<Gtid<'a>, DecodeError> {
        let mut cursor = Cursor::new(body, "transaction id");
        let flags = cursor.u8()?;
        let sid = Uuid::from_bytes(cursor.array()?);
        let gno = cursor.u64()?;
        let mut gtid =
            Gtid { sid, tag: "", gno, committed_micros: None, first_committed_micros: None, flags };
        // MySQL 5.6 ends here; 5.7 has the logical clock, 8.0 the timestamps.
        if cursor.is_empty() || cursor.u8()? != LOGICAL_CLOCK {
            return Ok(gtid);
        }
        cursor.take(16)?;
        if cursor.len() >= 7 {
            let stamp = cursor.little(7)?;
            let committed = stamp & !SECOND_TIMESTAMP;
            let first = if stamp & SECOND_TIMESTAMP == 0 { committed } else { cursor.little(7)? };
            gtid.committed_micros = Some(committed);
            gtid.first_committed_micros = Some(first);
        }
        Ok(gtid)
    }

    /// The form of MySQL 8.3 and later for tagged ids: numbered fields, each of variable length.
    pub(super) fn read_tagged(body: &'a [u8]) -> Result<Gtid<'a>, DecodeError> {
        let mut cursor = Cursor::new(body, "tagged transaction id");
        if cursor.serialized()? != SERIALIZATION_VERSION {
            return Err(DecodeError::malformed("an unknown format of a tagged transaction id"));
        }
        let declared = cursor.serialized()?;
        if declared > body.len() as u64 {
            return Err(DecodeError::malformed("a tagged transaction id longer than its event"));
        }
        let end = body.len().saturating_sub(usize::try_from(declared).unwrap_or(0));
        let last_needed = cursor.serialized()?;
        let mut gtid = Gtid {
            sid: Uuid::nil(),
            tag: "",
            gno: 0,
            committed_micros: None,
            first_committed_micros: None,
            flags: 0,
        };
        while cursor.len() > end {
            match cursor.serialized()? {
                0 => gtid.flags = (cursor.serialized()? & 0xff) as u8,
                1 => gtid.sid = serialized_uuid(&mut cursor)?,
                2 => gtid.gno = u64::try_from(cursor.serialized_signed()?).unwrap_or(0),
                3 => gtid.tag = tag(&mut cursor)?,
                4 | 5 => {
                    cursor.serialized_signed()?;
                }
                6 => gtid.committed_micros = Some(cursor.serialized()?),
                7 => gtid.first_committed_micros = Some(cursor.serialized()?),
                8..=11 => {
                    cursor.serialized()?;
                }
                // The type of a field that isn't known can't be skipped; all known ones precede it.
                unknown if unknown > last_needed => break,
                _ => return Err(DecodeError::malformed("an unknown field of a transaction id")),
            }
        }
        if gtid.gno == 0 {
            return Err(DecodeError::malformed("a tagged transaction id without its number"));
        }
        gtid.first_committed_micros = gtid.first_committed_micros.or(gtid.committed_micros);
        Ok(gtid)
    }
}

fn serialized_uuid(cursor: &mut Cursor<'_>) -> Result<Uuid, DecodeError> {
    let mut bytes = [0; 16];
    for byte in &mut bytes {
        *byte = u8::try_from(cursor.serialized()?)
            .map_err(|_error| DecodeError::malformed("a uuid with a number above 255"))?;
    }
    Ok(Uuid::from_bytes(bytes))
}

fn tag<'a>(cursor: &mut Cursor<'a>) -> Result<&'a str, DecodeError> {
    let count = cursor.serialized()?;
    let bytes = cursor.take_u64(count)?;
    let well_formed =
        bytes.len() <= 32 && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
    match std::str::from_utf8(bytes) {
        Ok(tag) if well_formed => Ok(tag),
        _ => Err(DecodeError::malformed("a transaction id's tag that is not an identifier")),
    }
}

/// Some of the transactions before a file of MySQL's log: those of one server and tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PreviousGtid<'a> {
    /// The server.
    pub sid: Uuid,
    /// The tag; empty for most.
    pub tag: &'a str,
    /// The numbers.
    pub intervals: Vec<GtidInterval>,
}

/// A run of transaction numbers, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GtidInterval {
    /// The first.
    pub first: u64,
    /// The last.
    pub last: u64,
}

impl<'a> PreviousGtid<'a> {
    pub(super) fn read_all(body: &'a [u8]) -> Result<Vec<PreviousGtid<'a>>, DecodeError> {
        let mut cursor = Cursor::new(body, "previous transaction ids");
        let head = cursor.u64()?;
        let format = head >> 56;
        let count = match format {
            0 => head,
            1 => (head >> 8) & 0xffff_ffff_ffff,
            _ => return Err(DecodeError::malformed("an unknown format of transaction ids")),
        };
        let mut all = Vec::new();
        for _ in 0..count {
            let sid = Uuid::from_bytes(cursor.array()?);
            let tag = if format == 1 { tag(&mut cursor)? } else { "" };
            let mut intervals = Vec::new();
            for _ in 0..cursor.u64()? {
                let first = cursor.u64()?;
                let end = cursor.u64()?;
                if first == 0 || end <= first {
                    return Err(DecodeError::malformed("an empty run of transaction ids"));
                }
                intervals.push(GtidInterval { first, last: end - 1 });
            }
            all.push(PreviousGtid { sid, tag, intervals });
        }
        if !cursor.is_empty() {
            return Err(DecodeError::malformed("previous transaction ids that do not end"));
        }
        Ok(all)
    }
}

impl fmt::Display for PreviousGtid<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}", self.sid)?;
        if !self.tag.is_empty() {
            write!(out, ":{}", self.tag)?;
        }
        for GtidInterval { first, last } in &self.intervals {
            write!(out, ":{first}")?;
            if last > first {
                write!(out, "-{last}")?;
            }
        }
        Ok(())
    }
}

/// `MariaDB`'s transaction id; stands in the place of BEGIN.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MariadbGtid<'a> {
    /// The replication domain.
    pub domain: u32,
    /// The server that first committed it.
    pub server_id: u32,
    /// The number.
    pub sequence: u64,
    /// The flags, for those that have no method here.
    pub flags: u8,
    /// The id of the XA transaction prepared or completed here: format, global part, branch.
    pub xid: Option<(u32, &'a [u8], &'a [u8])>,
}

impl<'a> MariadbGtid<'a> {
    pub(super) fn read(body: &'a [u8], server_id: u32) -> Result<MariadbGtid<'a>, DecodeError> {
        let mut cursor = Cursor::new(body, "transaction id");
        let sequence = cursor.u64()?;
        let domain = cursor.u32()?;
        let flags = cursor.u8()?;
        if flags & 0x02 != 0 {
            cursor.take(8)?;
        }
        let xid = if flags & 0xc0 == 0 {
            None
        } else {
            let format = cursor.u32()?;
            let global = usize::from(cursor.u8()?);
            let branch = usize::from(cursor.u8()?);
            Some((format, cursor.take(global)?, cursor.take(branch)?))
        };
        Ok(MariadbGtid { domain, server_id, sequence, flags, xid })
    }

    /// One statement without a COMMIT of its own: DDL, or a change of a table without transactions.
    pub fn is_standalone(&self) -> bool {
        self.flags & 0x01 != 0
    }

    /// All changes are of transactional tables.
    pub fn is_transactional(&self) -> bool {
        self.flags & 0x04 != 0
    }

    /// DDL.
    pub fn is_ddl(&self) -> bool {
        self.flags & 0x20 != 0
    }

    /// The rows that follow belong to an XA transaction that is only prepared.
    pub fn is_prepared_xa(&self) -> bool {
        self.flags & 0x40 != 0
    }

    /// An XA transaction prepared earlier is committed or rolled back.
    pub fn is_completed_xa(&self) -> bool {
        self.flags & 0x80 != 0
    }
}

/// Where each domain stood when a file of `MariaDB`'s log was begun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MariadbGtidList {
    /// Domain, server id and sequence.
    pub gtids: Vec<(u32, u32, u64)>,
}

impl MariadbGtidList {
    pub(super) fn read(body: &[u8]) -> Result<MariadbGtidList, DecodeError> {
        let mut cursor = Cursor::new(body, "list of transaction ids");
        let count = cursor.u32()? & 0x0fff_ffff;
        let mut gtids = Vec::new();
        for _ in 0..count {
            gtids.push((cursor.u32()?, cursor.u32()?, cursor.u64()?));
        }
        // An empty list is filled up to what the first versions took for the least.
        let filled = gtids.is_empty() && cursor.len() == 2;
        if !cursor.is_empty() && !filled {
            return Err(DecodeError::malformed("a list of transaction ids that does not end"));
        }
        Ok(MariadbGtidList { gtids })
    }
}
