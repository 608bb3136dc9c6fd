//! What can go wrong with the store, sorted by what the caller does next.

use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::Arc;

use rusqlite::ErrorCode;

use crate::change::Sequence;

/// SQLite could not grow its shared index of the write-ahead log: no space, nothing was written.
const IOERR_SHMSIZE: i32 = 4874;

/// An error of the store. [`Error::next`] says what to do about it.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// The disk is full. Nothing was written, nothing is lost.
    #[error(
        "the disk that holds the store is full; free some space: nothing is lost and work goes on \
         by itself"
    )]
    Full,
    /// The spool has reached its configured size.
    #[error(
        "the spool holds {held} of at most {limit} bytes and {wanted} more are wanted: capture \
         waits until links acknowledge and the grace period passes; if that is not to be awaited, \
         raise `bytes_max` in [spool]"
    )]
    SpoolFull {
        /// Compressed bytes in the spool.
        held: u64,
        /// Compressed bytes that were to be added.
        wanted: u64,
        /// The limit.
        limit: u64,
    },
    /// The store's disk has less left than is to stay free. Nothing was written, nothing is lost.
    #[error(
        "the disk of {} has {} MiB free, and {} MiB are to stay free: what is captured or received \
         waits until there is room, and goes on by itself; make room there, or lower `disk_free_bytes_min` in [spool]",
        folder.display(), free >> 20, limit >> 20
    )]
    DiskLow {
        /// The data folder.
        folder: PathBuf,
        /// Free bytes on its disk.
        free: u64,
        /// The limit.
        limit: u64,
    },
    /// Somebody removed the store while it was open: what is written to it is lost when the process
    /// ends.
    #[error(
        "the store in {} was removed while headwater ran: put it back, or, if it is gone, \
         join again with an empty data_dir",
        folder.display()
    )]
    Removed {
        /// The data folder.
        folder: PathBuf,
    },
    /// Another program has the store's file open for writing.
    #[error(
        "another program keeps the store's file locked: close whatever has it open, such as the \
         sqlite3 shell"
    )]
    Busy,

    /// A segment does not follow the one before it.
    #[error(
        "the spool expects transaction {expected} part {expected_part}, not transaction {found} \
         part {found_part}"
    )]
    Gap {
        /// The transaction that has to come next.
        expected: Sequence,
        /// Its part.
        expected_part: u32,
        /// The transaction that came.
        found: Sequence,
        /// Its part.
        found_part: u32,
    },
    /// An append that ends inside a transaction holds more than parts of it.
    #[error(
        "transaction {0} is unfinished: until its last part is appended, an append may hold only \
         parts of it, and no position"
    )]
    Unfinished(Sequence),
    /// The transactions asked for are no longer in the spool.
    #[error(
        "transactions after {after} are wanted, but the spool has released everything through \
         {released}: the other end has lost more than the grace period covers and needs a repair"
    )]
    Released {
        /// The last transaction the asker has.
        after: Sequence,
        /// The last transaction that was released.
        released: Sequence,
    },
    /// Something beyond the end of the log was named.
    #[error("transaction {named} is not in the log yet, which ends with {head}")]
    BeyondHead {
        /// The transaction named.
        named: Sequence,
        /// The last transaction of the log.
        head: Sequence,
    },
    /// There is no link of that name.
    #[error("there is no link named `{0}`; `headwater status` lists the links")]
    UnknownLink(String),
    /// A piece does not start where the stored part of its batch ends.
    #[error("a piece starts at byte {offset} of its batch, but {held} bytes are held")]
    Offset {
        /// Where the piece starts.
        offset: u64,
        /// How many bytes are held, so where it has to start.
        held: u64,
    },
    /// A piece, a batch or an identity is larger than its limit.
    #[error("{what} of {bytes} bytes is more than the {limit} that `{name}` allows")]
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// Its size.
        bytes: u64,
        /// The limit.
        limit: u64,
        /// The limit's name.
        name: &'static str,
    },

    /// Another process uses the folder.
    #[error(
        "the folder {} is in use by another headwater process{}; stop that one, or give this node \
         its own `data_dir`", folder.display(), holder(*pid)
    )]
    Locked {
        /// The data folder.
        folder: PathBuf,
        /// The process that holds it.
        pid: Option<u32>,
    },
    /// The store was written by a later version of headwater.
    #[error(
        "the store {} has schema version {found}, but this headwater knows versions up to {known}: \
         use the newer headwater that wrote it, or a backup from before the upgrade", file.display()
    )]
    Newer {
        /// The store's file.
        file: PathBuf,
        /// Its schema version.
        found: u32,
        /// The latest version known.
        known: u32,
    },
    /// The store was written by an earlier version and has not been migrated.
    #[error(
        "the store {} has schema version {found} and this headwater reads {known}: \
         `headwater run` migrates it", file.display()
    )]
    Older {
        /// The store's file.
        file: PathBuf,
        /// Its schema version.
        found: u32,
        /// The version wanted.
        known: u32,
    },
    /// The file is not a store of headwater's.
    #[error("{} is not a headwater store: move it out of the way", file.display())]
    Foreign {
        /// The file.
        file: PathBuf,
    },
    /// There is no store yet.
    #[error("there is no store in {} yet: `headwater run` makes it", folder.display())]
    Missing {
        /// The data folder.
        folder: PathBuf,
    },
    /// The data folder cannot be used.
    #[error("{} cannot be used: {reason}; {}", path.display(), folder_remedy(reason))]
    Folder {
        /// The folder or file.
        path: PathBuf,
        /// What the system said.
        reason: Arc<std::io::Error>,
    },

    /// Reading or writing the store failed. It is not used again by this process: what a failed
    /// fsync left on the disk is only known after opening it anew.
    #[error(
        "the store failed ({0}) and is not used again by this process: check the disk (`dmesg`), \
         then start headwater again"
    )]
    Failed(Arc<str>),
    /// The store's content is not what was written.
    #[error(
        "the store is damaged ({0}): check the disk, keep a copy of the data folder, and restore it \
         from a backup or start with an empty one and repair"
    )]
    Damaged(Arc<str>),
    /// The store has been closed.
    #[error("the store has been closed")]
    Closed,
}

/// What the caller does about an [`Error`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Wait and try the same again: nothing was changed.
    Wait,
    /// Do something else: what was asked for cannot be had, and nothing was changed.
    Refuse,
    /// End the process with these words.
    Stop,
}

impl Error {
    /// What the caller does next.
    pub fn next(&self) -> Next {
        match self {
            Error::Full | Error::SpoolFull { .. } | Error::DiskLow { .. } | Error::Busy => {
                Next::Wait
            }
            Error::Gap { .. }
            | Error::Unfinished(_)
            | Error::Released { .. }
            | Error::BeyondHead { .. }
            | Error::UnknownLink(_)
            | Error::Offset { .. }
            | Error::TooLarge { .. } => Next::Refuse,
            Error::Locked { .. }
            | Error::Newer { .. }
            | Error::Older { .. }
            | Error::Foreign { .. }
            | Error::Missing { .. }
            | Error::Folder { .. }
            | Error::Removed { .. }
            | Error::Failed(_)
            | Error::Damaged(_)
            | Error::Closed => Next::Stop,
        }
    }

    /// Whether the store must not be used again by this process.
    pub(super) fn poisons(&self) -> bool {
        matches!(self, Error::Removed { .. } | Error::Failed(_) | Error::Damaged(_))
    }

    pub(super) fn folder(path: &std::path::Path, reason: std::io::Error) -> Error {
        Error::Folder { path: path.to_path_buf(), reason: Arc::new(reason) }
    }

    pub(super) fn damaged(what: impl Into<Arc<str>>) -> Error {
        Error::Damaged(what.into())
    }
}

impl From<rusqlite::Error> for Error {
    #[expect(clippy::wildcard_enum_match_arm, reason = "whatever else goes wrong ends the use")]
    fn from(error: rusqlite::Error) -> Error {
        let words: Arc<str> = Arc::from(error.to_string());
        match &error {
            rusqlite::Error::SqliteFailure(failure, _) => classify(*failure, words),
            rusqlite::Error::FromSqlConversionFailure(..)
            | rusqlite::Error::IntegralValueOutOfRange(..)
            | rusqlite::Error::InvalidColumnType(..)
            | rusqlite::Error::QueryReturnedNoRows
            | rusqlite::Error::Utf8Error(..) => Error::Damaged(words),
            _ => Error::Failed(words),
        }
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "whatever else goes wrong ends the use")]
fn classify(failure: rusqlite::ffi::Error, words: Arc<str>) -> Error {
    match failure.code {
        ErrorCode::DiskFull => Error::Full,
        _ if failure.extended_code == IOERR_SHMSIZE => Error::Full,
        ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => Error::Busy,
        ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase => Error::Damaged(words),
        _ => Error::Failed(format!("{words}, code {}", failure.extended_code).into()),
    }
}

fn folder_remedy(reason: &std::io::Error) -> &'static str {
    match reason.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
            "make room on its disk, or move `data_dir` to another"
        }
        ErrorKind::ReadOnlyFilesystem => "choose a `data_dir` on a disk that can be written to",
        _ => "check `data_dir` and who owns it",
    }
}

fn holder(pid: Option<u32>) -> String {
    pid.map(|pid| format!(" (process {pid})")).unwrap_or_default()
}
