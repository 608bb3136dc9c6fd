//! Why capture cannot go on, sorted by what happens next: try again, wait for a person, or end the
//! process.

use crate::position::{Position, ServerIdentity};
use crate::spool::Next;
use crate::value::Name;

/// What the node does after an error of capture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disposition {
    /// The link to the database failed, or the store is full: soon, by itself.
    Retry,
    /// Somebody has to mend something; tried again slowly, so that mending is noticed.
    Stopped,
    /// The store can no longer be trusted: the process ends.
    Exit,
}

/// Why capture cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The database cannot be connected to.
    #[error(transparent)]
    Database(#[from] crate::database::Error),
    /// The log's connection broke.
    #[error("the connection to the binary log was lost: {reason}")]
    Lost {
        /// What the client library or the server said.
        reason: String,
    },
    /// Not even a heartbeat came.
    #[error("the database server has been silent for {seconds} s; reconnecting")]
    Silent {
        /// Three heartbeat periods.
        seconds: u64,
    },
    /// The server cannot read its own log.
    #[error("the server cannot read its own log: {server}")]
    Unreadable {
        /// The server's words.
        server: String,
    },
    /// Another reader uses the same replica id, and the two end each other.
    #[error(
        "another reader of this server's log uses the same server id ({server}); give this node \
         one of its own: [capture] server_id"
    )]
    SameServerId {
        /// The server's words.
        server: String,
    },
    /// The account may not read the log.
    #[error(
        "the database account lacks a privilege: {server}; `headwater grants` prints what it needs"
    )]
    Privilege {
        /// The server's words.
        server: String,
    },
    /// A question that capture has to ask failed.
    #[error("the database did not answer a question about table {table}: {source}")]
    Question {
        /// The table asked about.
        table: Name,
        /// What went wrong.
        source: crate::database::Error,
    },
    /// The stored position cannot be resumed from.
    #[error(transparent)]
    Resume(#[from] Resume),
    /// Something in the log cannot be carried exactly.
    #[error("{place}: {what}. {remedy}")]
    Refused {
        /// File and offset.
        place: String,
        /// What is there, and in which table.
        what: String,
        /// What to do.
        remedy: String,
    },
    /// The server is not set up for capture.
    #[error("{0}")]
    Unsuitable(String),
    /// The store failed.
    #[error(transparent)]
    Spool(#[from] crate::spool::Error),
    /// Our own encoding came back damaged.
    #[error("the identity index or a segment is damaged: {0}")]
    Malformed(#[from] crate::record::Malformed),
    /// A set of GTIDs could not be read.
    #[error(transparent)]
    Gtids(#[from] super::gtid::NotGtids),
    /// A column that a question did not ask for was wanted of its answer.
    #[error("column {column} was not asked for")]
    ColumnNotFetched {
        /// Its place in the table.
        column: usize,
    },
    /// A table that nothing can refer to was referred to.
    #[error("table {table} is referred to but has no single key column; see `headwater map check`")]
    NoLocalKey {
        /// The table.
        table: Name,
    },
    /// What a row is called does not go into the identity index.
    #[error(
        "the identity of row {local} of table {table} takes {bytes} bytes, more than the {} that are \
         kept of one",
        crate::spool::IDENTITY_BYTES_MAX
    )]
    LongIdentity {
        /// Its table.
        table: Name,
        /// Its local key.
        local: i64,
        /// How long it is.
        bytes: usize,
    },
    /// A value of a row cannot be read exactly.
    #[error("table {table}, column {column}: {source}")]
    Value {
        /// The table.
        table: Name,
        /// The column.
        column: Name,
        /// Why.
        source: super::decode::DecodeError,
    },
    /// An event cannot be read exactly.
    #[error(transparent)]
    Decode(#[from] super::decode::DecodeError),
}

/// Why a position cannot be resumed from. None of these is a failure of the link, and none goes
/// away by trying again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Resume {
    /// The server has deleted what comes next.
    #[error(
        "the server has purged its binary log after {position} ({server}): changes since then are \
         no longer in it. Copy the tables again (see 'A purged log' in docs/operator.md)"
    )]
    Purged {
        /// Where capture stood.
        position: Position,
        /// The server's words.
        server: String,
    },
    /// The server has executed less than capture has read: restored from a backup, or it lost the
    /// end of its log.
    #[error(
        "the server's log is behind {position}, which was captured from it ({server}): it was \
         restored, or lost the end of its log in a power cut (see 'A log that shrank' in \
         docs/operator.md)"
    )]
    Ahead {
        /// Where capture stood.
        position: Position,
        /// The server's words.
        server: String,
    },
    /// The server began its log anew: RESET, a new name for it, or a lost index.
    #[error(
        "the server's log begins anew, before {position} ({server}): what it holds now was written \
         after a RESET or under a new name, and its numbers mean something else (see 'A log that \
         begins anew' in docs/operator.md)"
    )]
    Restarted {
        /// Where capture stood.
        position: Position,
        /// What the server has now.
        server: String,
    },
    /// The log file is shorter than the position.
    #[error(
        "the log file ends before {position} ({server}): the server lost the end of its log in a \
         power cut (see 'A log that shrank' in docs/operator.md)"
    )]
    PastEnd {
        /// Where capture stood.
        position: Position,
        /// The server's words.
        server: String,
    },
    /// The position is in the middle of something: another log under the same name.
    #[error(
        "no event begins at {position} ({server}): the log file has been replaced by another of \
         the same name (see 'A log that shrank' in docs/operator.md)"
    )]
    NotAnEvent {
        /// Where capture stood.
        position: Position,
        /// The server's words.
        server: String,
    },
    /// GTIDs were switched on or off, and the server does not send what it wrote before that.
    #[error(
        "the server does not send its log on from {position} ({server}): set gtid_mode one step \
         back (ON_PERMISSIVE when going on, OFF_PERMISSIVE when going off) until headwater has read \
         what was written before"
    )]
    GtidMode {
        /// Where capture stood.
        position: Position,
        /// The server's words.
        server: String,
    },
    /// The position is beyond what the protocol can ask for by offset.
    #[error(
        "{position} is beyond 4 GiB in its file, which only a server with GTIDs can be asked for; \
         switch GTIDs on, or copy the tables again"
    )]
    BeyondReach {
        /// Where capture stood.
        position: Position,
    },
    /// Another server answers at the address.
    #[error(
        "the position {position} was taken from {expected}, but {found} answers now, and {lacks} \
         (see 'Another server' in docs/operator.md)"
    )]
    OtherServer {
        /// Where capture stood.
        position: Position,
        /// Whose log that was.
        expected: ServerIdentity,
        /// Who answers.
        found: ServerIdentity,
        /// Why capture cannot go on there.
        lacks: String,
    },
}

impl Resume {
    /// Whether the log was asked for by GTIDs, and the server has transactions without.
    pub(super) fn is_of_gtids(&self) -> bool {
        matches!(self, Resume::GtidMode { position, .. } if position.gtids.is_some())
    }
}

impl Error {
    /// What happens next.
    pub fn disposition(&self) -> Disposition {
        match self {
            Error::Database(error) | Error::Question { source: error, .. }
                if error.is_transient() =>
            {
                Disposition::Retry
            }
            Error::Lost { .. } | Error::Silent { .. } => Disposition::Retry,
            // Asked for by file and offset next, which the server may well send.
            Error::Resume(resume) if resume.is_of_gtids() => Disposition::Retry,
            Error::Spool(error) => match error.next() {
                Next::Wait => Disposition::Retry,
                Next::Refuse | Next::Stop => Disposition::Exit,
            },
            Error::Malformed(_) => Disposition::Exit,
            // Bytes damaged on their way are read again; the same damage in the log itself
            // repeats, which the backoff and the status show.
            Error::Decode(_)
            | Error::Value { .. }
            | Error::Database(_)
            | Error::Unreadable { .. }
            | Error::Question { .. }
            | Error::SameServerId { .. }
            | Error::Privilege { .. }
            | Error::Resume(_)
            | Error::Refused { .. }
            | Error::Unsuitable(_)
            | Error::Gtids(_)
            | Error::ColumnNotFetched { .. }
            | Error::NoLocalKey { .. }
            | Error::LongIdentity { .. } => Disposition::Stopped,
        }
    }
}
