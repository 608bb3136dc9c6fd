//! One event: its header, its checksum, and what it is.

use std::borrow::Cow;

use super::cursor::Cursor;
use super::error::{Damage, DecodeError, Refusal};
use super::gtid::{Gtid, MariadbGtid, MariadbGtidList, PreviousGtid};
use super::payload::{self, TransactionPayload};
use super::rows::{RowKind, RowsEvent, RowsHeader};
use super::statement::{Query, XaPrepare, Xid};
use super::table_map::TableMapEvent;

const HEADER_BYTES: usize = 19;
const CHECKSUM_BYTES: usize = 4;
/// Where the flags stand in the header, and the flag that the server clears without touching the
/// checksum when it closes a file.
const FLAGS_AT: usize = 17;
const IN_USE: u8 = 0x01;
const ARTIFICIAL: u16 = 0x20;
const IGNORABLE: u16 = 0x80;
const WITHOUT_SCHEMA: u16 = 0x08;

/// Numbers of the event types that the decoder itself has to tell apart.
mod types {
    pub(super) const QUERY: u8 = 2;
    pub(super) const STOP: u8 = 3;
    pub(super) const ROTATE: u8 = 4;
    pub(super) const FORMAT_DESCRIPTION: u8 = 15;
    pub(super) const XID: u8 = 16;
    pub(super) const EXECUTE_LOAD_QUERY: u8 = 18;
    pub(super) const TABLE_MAP: u8 = 19;
    pub(super) const INCIDENT: u8 = 26;
    pub(super) const HEARTBEAT: u8 = 27;
    pub(super) const GTID: u8 = 33;
    pub(super) const ANONYMOUS_GTID: u8 = 34;
    pub(super) const PREVIOUS_GTIDS: u8 = 35;
    pub(super) const XA_PREPARE: u8 = 38;
    pub(super) const PARTIAL_UPDATE_ROWS: u8 = 39;
    pub(super) const TRANSACTION_PAYLOAD: u8 = 40;
    pub(super) const HEARTBEAT_V2: u8 = 41;
    pub(super) const GTID_TAGGED: u8 = 42;
    pub(super) const MARIADB_GTID: u8 = 162;
    pub(super) const MARIADB_GTID_LIST: u8 = 163;
    pub(super) const MARIADB_START_ENCRYPTION: u8 = 164;
    pub(super) const MARIADB_QUERY_COMPRESSED: u8 = 165;
}

/// How many bytes the fixed parts of events have that are read here. A server that does not write a type
/// of event says 0, or nothing.
const POST_HEADERS: [(u8, &[u8]); 10] = [
    (types::QUERY, &[13]),
    (types::ROTATE, &[8]),
    (types::TABLE_MAP, &[6, 8]),
    (23, &[0, 6, 8]),
    (24, &[0, 6, 8]),
    (25, &[0, 6, 8]),
    (30, &[0, 10]),
    (31, &[0, 10]),
    (32, &[0, 10]),
    (types::MARIADB_GTID, &[0, 19]),
];

/// The first 19 bytes of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// When the statement started, in seconds since 1970 UTC, by the server's clock.
    pub timestamp_seconds: u32,
    /// The number of the event's type.
    pub kind: u8,
    /// The server that wrote it.
    pub server_id: u32,
    /// Its size in bytes, header and checksum included.
    pub size: u32,
    /// Where it ends in the log file; wraps at 4 GiB, and is 0 in artificial events, inside of
    /// payloads, and inside of transactions from `MariaDB` 11.4 on.
    pub end: u32,
    /// Its flags.
    pub flags: u16,
}

impl Header {
    fn read(cursor: &mut Cursor<'_>) -> Result<Header, DecodeError> {
        Ok(Header {
            timestamp_seconds: cursor.u32()?,
            kind: cursor.u8()?,
            server_id: cursor.u32()?,
            size: cursor.u32()?,
            end: cursor.u32()?,
            flags: cursor.u16()?,
        })
    }

    /// Whether the server made the event for this connection: it isn't in the log.
    pub fn is_artificial(&self) -> bool {
        self.flags & ARTIFICIAL != 0
    }

    /// Whether a statement's tables are written with their database, as in the statements that
    /// servers make up themselves.
    pub fn is_without_schema(&self) -> bool {
        self.flags & WITHOUT_SCHEMA != 0
    }

    /// Whether a reader that doesn't know the event's type may ignore it.
    pub fn is_ignorable(&self) -> bool {
        self.flags & IGNORABLE != 0
    }
}

/// One event of the binary log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event<'a> {
    /// Its header.
    pub header: Header,
    /// What it says.
    pub body: Body<'a>,
}

/// What an event says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body<'a> {
    /// A log file begins, or its reading.
    FormatDescription {
        /// The server that wrote the file, such as `9.7.4` or `10.11.19-MariaDB-log`.
        server_version: Cow<'a, str>,
        /// Whether the file's events carry CRC32 checksums.
        checksums: bool,
    },
    /// The log goes on in another file, or starts in this one.
    Rotate {
        /// The file's name.
        file: Cow<'a, str>,
        /// The offset in it.
        offset: u64,
    },
    /// The server has nothing to send and is alive.
    Heartbeat,
    /// The server was shut down in order.
    Stop,
    /// MySQL: a transaction begins. Anonymous ones have gno 0 and a zero sid.
    Gtid(Gtid<'a>),
    /// MySQL: the transactions in the files before this one.
    PreviousGtids(Vec<PreviousGtid<'a>>),
    /// `MariaDB`: a transaction begins.
    MariadbGtid(MariadbGtid<'a>),
    /// `MariaDB`: where each domain stood when the file was begun.
    MariadbGtidList(MariadbGtidList),
    /// A statement: BEGIN, COMMIT, DDL, or a change in statement format.
    Query(Query<'a>),
    /// A transaction was committed.
    Xid(Xid),
    /// An XA transaction was prepared, or committed in one phase.
    XaPrepare(XaPrepare<'a>),
    /// What the columns of the rows that follow are.
    TableMap(TableMapEvent<'a>),
    /// Rows inserted, updated or deleted.
    Rows(RowsEvent<'a>),
    /// Rows of the table with this number updated, JSON columns as differences, which are not read.
    PartialRows(u64),
    /// The events of a transaction, compressed.
    TransactionPayload(TransactionPayload<'a>),
    /// Something that has no part in what is committed: the text of a statement, a checkpoint, a
    /// view change, an event the server itself calls ignorable padding.
    Informational(&'static str),
    /// A change written in statement format, by name: its rows are not in the log.
    StatementFormat(&'static str),
    /// The server lost changes, or may have.
    Incident(Incident),
    /// `MariaDB`: the rest of the file is encrypted on the disk.
    StartEncryption,
    /// A type that is not known here. Only [`Header::is_ignorable`] events may be passed over.
    Unknown,
}

/// What a server says of changes it lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Incident {
    /// 1 is lost events.
    pub kind: u16,
    /// The server's own words.
    pub words: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Checksum {
    None,
    Crc32,
}

/// Turns bytes into events. Holds what the log's last format description said.
#[derive(Debug, Clone)]
pub struct Decoder {
    checksum: Option<Checksum>,
    post_headers: Vec<u8>,
    inflated_bytes_max: u64,
    mariadb: bool,
}

impl Decoder {
    /// A decoder that has seen no format description yet. Compressed events of `MariaDB` that
    /// would take more than `inflated_bytes_max` bytes are refused.
    pub fn new(inflated_bytes_max: u64) -> Decoder {
        Decoder { checksum: None, post_headers: Vec::new(), inflated_bytes_max, mariadb: false }
    }

    /// Whether the log that is read is a `MariaDB`'s.
    pub fn is_mariadb(&self) -> bool {
        self.mariadb
    }

    /// Reads one event from exactly its bytes: header, body, and checksum if the log has them.
    /// Events from inside a transaction payload have none.
    pub fn event<'a>(
        &mut self,
        raw: &'a [u8],
        inside_payload: bool,
    ) -> Result<Event<'a>, DecodeError> {
        let mut cursor = Cursor::new(raw, "event header");
        let header = Header::read(&mut cursor)?;
        if header.size as usize != raw.len() {
            let actual = raw.len() as u64;
            return Err(Damage::Size { stated: header.size, actual }.into());
        }
        if header.kind == types::FORMAT_DESCRIPTION {
            let body = self.format_description(raw, cursor.rest())?;
            return Ok(Event { header, body });
        }
        let checked = if inside_payload { raw } else { self.checked(raw, &header)? };
        let body = checked.get(HEADER_BYTES..).unwrap_or_default();
        Ok(Event { header, body: self.body(&header, body)? })
    }

    /// The event without its checksum, once that is found right.
    fn checked<'a>(&self, raw: &'a [u8], header: &Header) -> Result<&'a [u8], DecodeError> {
        // Servers give the one that they make up the time 0, so that it can be told from those of
        // the log, of which a flipped bit could otherwise make one.
        let made_up = header.is_artificial() && header.timestamp_seconds == 0;
        let unannounced = header.kind == types::ROTATE && made_up;
        if unannounced || (self.checksum.is_none() && header.kind == types::ROTATE) {
            // Sent before the format description that would say whether it has a checksum: the
            // servers differ, so the bytes themselves have to tell.
            return Ok(verified(raw).unwrap_or(raw));
        }
        match self.checksum {
            Some(Checksum::Crc32) => Ok(verified(raw)?),
            Some(Checksum::None) => Ok(raw),
            None if matches!(header.kind, types::HEARTBEAT | types::HEARTBEAT_V2) => Ok(raw),
            None => Err(DecodeError::malformed("an event before the format description")),
        }
    }

    fn format_description<'a>(
        &mut self,
        raw: &'a [u8],
        body: &'a [u8],
    ) -> Result<Body<'a>, DecodeError> {
        let mut cursor = Cursor::new(body, "format description");
        let log_version = cursor.u16()?;
        if log_version != 4 {
            return Err(Refusal::LogVersion(log_version).into());
        }
        let version = until_zero(cursor.take(50)?);
        cursor.take(4)?;
        if usize::from(cursor.u8()?) != HEADER_BYTES {
            return Err(DecodeError::malformed("an event header that is not 19 bytes long"));
        }
        let server_version = String::from_utf8_lossy(version);
        let rest = cursor.rest();
        let (lengths, checksum) = if knows_checksums(&server_version) {
            let (lengths, tail) = rest
                .len()
                .checked_sub(CHECKSUM_BYTES + 1)
                .and_then(|at| rest.split_at_checked(at))
                .ok_or(Damage::CutShort {
                    what: "format description",
                    wanted: CHECKSUM_BYTES as u64 + 1,
                    left: rest.len() as u64,
                })?;
            match tail.first() {
                Some(0) | None => {
                    not_meant_to_have_checksums(raw)?;
                    (lengths, Checksum::None)
                }
                Some(1) => {
                    verified(raw)?;
                    (lengths, Checksum::Crc32)
                }
                Some(other) => return Err(Refusal::ChecksumAlgorithm(*other).into()),
            }
        } else {
            (rest, Checksum::None)
        };
        for (kind, known) in POST_HEADERS {
            let at = usize::from(kind).saturating_sub(1);
            if let Some(length) = lengths.get(at).filter(|length| !known.contains(length)) {
                return Err(Refusal::PostHeader { kind, length: *length }.into());
            }
        }
        self.checksum = Some(checksum);
        self.post_headers = lengths.to_vec();
        self.mariadb = server_version.contains("MariaDB");
        Ok(Body::FormatDescription { server_version, checksums: checksum == Checksum::Crc32 })
    }

    /// How many bytes of table id the event type has.
    fn table_id_bytes(&self, kind: u8) -> usize {
        let length = usize::from(kind).checked_sub(1).and_then(|at| self.post_headers.get(at));
        if length == Some(&6) { 4 } else { 6 }
    }

    fn body<'a>(&self, header: &Header, body: &'a [u8]) -> Result<Body<'a>, DecodeError> {
        Ok(match header.kind {
            types::QUERY => Body::Query(Query::read(body)?),
            types::MARIADB_QUERY_COMPRESSED => {
                Body::Query(Query::read_compressed(body, self.inflated_bytes_max)?)
            }
            types::STOP => Body::Stop,
            types::ROTATE => rotate(body)?,
            types::XID => commit(body)?,
            types::TABLE_MAP => {
                let id_bytes = self.table_id_bytes(header.kind);
                Body::TableMap(TableMapEvent::read(body, id_bytes, self.mariadb)?)
            }
            20..=22 => return Err(Refusal::AncientRows(header.kind).into()),
            types::PARTIAL_UPDATE_ROWS => {
                let id_bytes = self.table_id_bytes(header.kind);
                Body::PartialRows(Cursor::new(body, "rows").little(id_bytes)?)
            }
            23..=25 | 30..=32 => self.rows(header.kind, false, body)?,
            // MariaDB's compressed forms of 23 to 25 and 30 to 32.
            166..=168 => self.rows(header.kind - 143, true, body)?,
            169..=171 => self.rows(header.kind - 139, true, body)?,
            types::INCIDENT => incident(body)?,
            types::HEARTBEAT | types::HEARTBEAT_V2 => Body::Heartbeat,
            types::GTID | types::ANONYMOUS_GTID => Body::Gtid(Gtid::read(body)?),
            types::GTID_TAGGED => Body::Gtid(Gtid::read_tagged(body)?),
            types::PREVIOUS_GTIDS => Body::PreviousGtids(PreviousGtid::read_all(body)?),
            types::XA_PREPARE => Body::XaPrepare(XaPrepare::read(body)?),
            types::TRANSACTION_PAYLOAD => Body::TransactionPayload(TransactionPayload::read(body)?),
            types::MARIADB_GTID => Body::MariadbGtid(MariadbGtid::read(body, header.server_id)?),
            types::MARIADB_GTID_LIST => Body::MariadbGtidList(MariadbGtidList::read(body)?),
            types::MARIADB_START_ENCRYPTION => Body::StartEncryption,
            28 => Body::Informational("IGNORABLE"),
            29 => Body::Informational("ROWS_QUERY"),
            36 => Body::Informational("TRANSACTION_CONTEXT"),
            37 => Body::Informational("VIEW_CHANGE"),
            160 => Body::Informational("ANNOTATE_ROWS"),
            161 => Body::Informational("BINLOG_CHECKPOINT"),
            5 => Body::StatementFormat("INTVAR"),
            13 => Body::StatementFormat("RAND"),
            14 => Body::StatementFormat("USER_VAR"),
            // The file's content; the statement is an event of its own.
            9 | 11 | 17 => Body::StatementFormat("LOAD DATA"),
            types::EXECUTE_LOAD_QUERY => Body::Query(Query::read_load(body)?),
            _ => Body::Unknown,
        })
    }

    fn rows<'a>(
        &self,
        kind: u8,
        compressed: bool,
        body: &'a [u8],
    ) -> Result<Body<'a>, DecodeError> {
        let row_kind = match kind {
            23 | 30 => RowKind::Insert,
            24 | 31 => RowKind::Update,
            _ => RowKind::Delete,
        };
        let update = row_kind == RowKind::Update;
        let (head, rest) = RowsHeader::read(body, self.table_id_bytes(kind), kind >= 30, update)?;
        let images = if compressed {
            Cow::Owned(payload::inflate_tail(rest, "rows", self.inflated_bytes_max)?)
        } else {
            Cow::Borrowed(rest)
        };
        Ok(Body::Rows(RowsEvent::new(row_kind, &head, images)))
    }
}

/// The event without its checksum.
fn verified(raw: &[u8]) -> Result<&[u8], Damage> {
    let cut = Damage::CutShort {
        what: "event with a checksum",
        wanted: (HEADER_BYTES + CHECKSUM_BYTES) as u64,
        left: raw.len() as u64,
    };
    let (covered, stated) = raw.split_last_chunk::<CHECKSUM_BYTES>().ok_or(cut)?;
    let stated = u32::from_le_bytes(*stated);
    let computed = crc32fast::hash(covered);
    if computed == stated {
        return Ok(covered);
    }
    // A file that was not closed in order still has the flag set that its checksum leaves out.
    if let Some((before, [flags, after @ ..])) = covered.split_at_checked(FLAGS_AT)
        && before.get(4) == Some(&types::FORMAT_DESCRIPTION)
        && flags & IN_USE != 0
    {
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(before);
        hasher.update(&[flags & !IN_USE]);
        hasher.update(after);
        if hasher.finalize() == stated {
            return Ok(covered);
        }
    }
    Err(Damage::Checksum { stated, computed })
}

/// Fails if the format description of a log without checksums would be right as that of one with them:
/// the byte that says it was damaged, and the checksums would be read as part of the events.
fn not_meant_to_have_checksums(raw: &[u8]) -> Result<(), DecodeError> {
    let mut other = raw.to_vec();
    if let Some(algorithm) = other.iter_mut().rev().nth(CHECKSUM_BYTES) {
        *algorithm = 1;
    }
    match verified(&other) {
        Ok(_) => Err(DecodeError::malformed("a log said to be without checksums that has them")),
        Err(_) => Ok(()),
    }
}

/// Servers before MySQL 5.6.1 and `MariaDB` 5.3 write no checksum algorithm.
fn knows_checksums(server_version: &str) -> bool {
    let mut numbers = server_version
        .split(|letter: char| !letter.is_ascii_digit())
        .map(|number| number.parse::<u32>().unwrap_or(0));
    let version =
        (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    let first = if server_version.contains("MariaDB") { (5, 3, 0) } else { (5, 6, 1) };
    version >= first
}

pub(super) fn until_zero(bytes: &[u8]) -> &[u8] {
    bytes.split(|byte| *byte == 0).next().unwrap_or_default()
}

fn commit(body: &[u8]) -> Result<Body<'_>, DecodeError> {
    let mut cursor = Cursor::new(body, "commit");
    let number = cursor.u64()?;
    if !cursor.is_empty() {
        return Err(DecodeError::malformed("a commit of more than 8 bytes"));
    }
    Ok(Body::Xid(Xid(number)))
}

fn rotate(body: &[u8]) -> Result<Body<'_>, DecodeError> {
    let mut cursor = Cursor::new(body, "rotate");
    let offset = cursor.u64()?;
    let file = std::str::from_utf8(cursor.rest())
        .map_err(|_error| DecodeError::malformed("a log file name that is not UTF-8"))?;
    if file.is_empty() || file.contains(char::is_control) {
        return Err(DecodeError::malformed("a log file name that is empty or unprintable"));
    }
    Ok(Body::Rotate { file: Cow::Borrowed(file), offset })
}

fn incident(body: &[u8]) -> Result<Body<'_>, DecodeError> {
    let mut cursor = Cursor::new(body, "incident");
    let kind = cursor.u16()?;
    let words = if cursor.is_empty() {
        String::new()
    } else {
        let length = usize::from(cursor.u8()?);
        String::from_utf8_lossy(cursor.take(length)?).into_owned()
    };
    Ok(Body::Incident(Incident { kind, words }))
}
