//! Why bytes of the binary log could not be read: either they are damaged, or they are whole and
//! say something that headwater does not read.

/// What went wrong, sorted by what the caller does next. The caller knows the file, the offset and
/// the table, and adds them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The bytes are not what the server wrote: read them again, and stop if they stay so.
    #[error(transparent)]
    Damaged(#[from] Damage),
    /// The bytes are whole, but their meaning is not known here: set the table aside, or stop.
    #[error(transparent)]
    Refused(#[from] Refusal),
}

/// Bytes that are not what a server writes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// There are fewer bytes than their own lengths say.
    #[error("cut short: {what} needs {wanted} bytes and {left} are left")]
    CutShort {
        /// What was being read.
        what: &'static str,
        /// How many bytes it takes.
        wanted: u64,
        /// How many there are.
        left: u64,
    },
    /// The checksum at the end of the event is not that of its bytes.
    #[error("checksum mismatch: the event says {stated:08x}, its bytes give {computed:08x}")]
    Checksum {
        /// What the event carries.
        stated: u32,
        /// What its bytes give.
        computed: u32,
    },
    /// The header's size field differs from the number of bytes received.
    #[error("the event's header says {stated} bytes, {actual} were received")]
    Size {
        /// The header's size field.
        stated: u32,
        /// How many bytes there are.
        actual: u64,
    },
    /// Something a server never writes.
    #[error("{what}")]
    Malformed {
        /// What was found.
        what: &'static str,
    },
    /// A compressed part cannot be decompressed, or not to the size it declares.
    #[error("{what} cannot be decompressed: {reason}")]
    Compression {
        /// What was compressed.
        what: &'static str,
        /// What the decompressor said.
        reason: String,
    },
    /// The rows do not end where their event ends: the table map is not theirs.
    #[error("the rows of the event do not fit the table map: {what}")]
    Rows {
        /// What does not fit.
        what: &'static str,
    },
}

/// Whole bytes whose meaning is not known here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A checksum algorithm other than none and CRC32.
    #[error("the log uses checksum algorithm {0}; headwater knows NONE and CRC32")]
    ChecksumAlgorithm(u8),
    /// A binary log format older than version 4.
    #[error("binary log format version {0}; headwater reads version 4 (MySQL 5.0 and later)")]
    LogVersion(u16),
    /// Events with another fixed part than the one that is read.
    #[error(
        "the log's events of type {kind} begin with {length} bytes of a form that is not known"
    )]
    PostHeader {
        /// The event's type.
        kind: u8,
        /// What the server says the fixed part takes.
        length: u8,
    },
    /// More bytes than the configured limit allows.
    #[error("{what} takes {bytes} bytes, more than the limit of {limit}; raise the limit")]
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// How large it is.
        bytes: u64,
        /// What is allowed.
        limit: u64,
    },
    /// A compression method that is not known here.
    #[error("{what} is compressed by unknown method {method}")]
    CompressionMethod {
        /// What is compressed.
        what: &'static str,
        /// The method's number.
        method: u64,
    },
    /// `binlog_row_value_options=PARTIAL_JSON`.
    /// A row event of a MySQL 5.1 pre-release.
    #[error("row event type {0} of a server before MySQL 5.1.18")]
    AncientRows(u8),
    /// A column type whose values are not read here.
    #[error("column type {number} ({name}) is not supported")]
    ColumnType {
        /// The type's number in the log.
        number: u8,
        /// The server's name for it.
        name: &'static str,
    },
    /// A collation id that no known server uses.
    #[error("unknown collation id {0}")]
    Collation(u64),
    /// A character set name that no known server uses.
    #[error("unknown character set {0}")]
    Charset(String),
    /// A temporal column in `MariaDB`'s format from before MySQL 5.6, with fractional seconds: the
    /// log does not say how many bytes it takes.
    #[error(
        "temporal column with fractional seconds in the old format; SET GLOBAL \
         mysql56_temporal_format=ON and run ALTER TABLE ... FORCE"
    )]
    OldFraction,
    /// The column is not what the schema says it is.
    #[error("the column is {found} in the log and {expected} in the schema")]
    Mismatch {
        /// What the schema says.
        expected: String,
        /// What the log says.
        found: String,
    },
    /// The value of a column that the row image does not carry was asked for.
    #[error("the row image does not carry the column; SET GLOBAL binlog_row_image='FULL'")]
    Absent,
}

impl DecodeError {
    pub(super) fn malformed(what: &'static str) -> DecodeError {
        DecodeError::Damaged(Damage::Malformed { what })
    }
}
