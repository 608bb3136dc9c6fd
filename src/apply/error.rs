//! What can go wrong while a batch is written, sorted by what happens next.

use crate::change::{Identity, Sequence};
use crate::database::{BUSY, LOST};
use crate::record::{Malformed, SegmentError};
use crate::value::Name;

/// Why a batch was not applied. Nothing of it is in the target then.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The batch starts above the watermark: what lies between has to come first.
    #[error("batch starts after {from}, but only {watermark} is applied here")]
    Gap {
        /// Where the batch starts.
        from: Sequence,
        /// What has been applied.
        watermark: Sequence,
    },
    /// What the batch ends with came in another batch: two machines use a copy of one `data_dir`.
    #[error("transactions through {through} came in another batch")]
    AnotherBatch {
        /// What has been applied, and what the batch ends with.
        through: Sequence,
    },
    /// The batch can never be taken as it is.
    #[error("{0}")]
    Refused(String),
    /// Nothing is wrong with the batch: the same again later.
    #[error("{0}")]
    Retry(String),
    /// Every batch would fail the same way until a person mends the target; the words say how.
    #[error("{0}")]
    Stop(String),
    /// The target is not what it was: its tables when the map was bound to them, or the packets it takes
    /// when the connection began.
    #[error("{0}")]
    Changed(String),
}

impl From<SegmentError> for Error {
    fn from(error: SegmentError) -> Error {
        match error {
            SegmentError::Malformed(_) | SegmentError::Compression { .. } => {
                Error::Refused(format!("the batch is damaged: {error}"))
            }
            SegmentError::Io(_) => Error::Retry(error.to_string()),
        }
    }
}

impl From<Malformed> for Error {
    fn from(error: Malformed) -> Error {
        Error::Refused(format!("the batch is damaged: {error}"))
    }
}

/// Which of the two ways a change waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It waits for a row it refers to, and is retried by itself.
    Parked,
    /// It waits for a person.
    Quarantined,
}

impl State {
    /// The word used in the database and on the command line.
    pub fn word(self) -> &'static str {
        match self {
            State::Parked => "parked",
            State::Quarantined => "quarantined",
        }
    }
}

/// Why one change is set aside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Hold {
    pub(super) state: State,
    pub(super) reason: String,
    /// What releases it, if that is known.
    pub(super) awaits: Option<Awaits>,
}

/// What a parked change waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Awaits {
    /// The arrival of a row.
    Row(Name, Identity<'static>),
    /// A table, or a column of it, that has to be made here.
    Table(Name),
    /// A row in its way, which moves when something else that is parked is applied.
    Room,
}

impl Hold {
    pub(super) fn quarantine(reason: impl Into<String>) -> Hold {
        Hold { state: State::Quarantined, reason: reason.into(), awaits: None }
    }

    pub(super) fn park(reason: impl Into<String>) -> Hold {
        Hold { state: State::Parked, reason: reason.into(), awaits: None }
    }

    /// Parks a change until a table or a column is made.
    pub(super) fn undefined(table: &Name, reason: impl Into<String>) -> Hold {
        let awaits = Some(Awaits::Table(Name::clone(table)));
        Hold { state: State::Parked, reason: reason.into(), awaits }
    }

    /// Parks a change until others that are parked are applied: one of them may move what is in
    /// its way.
    pub(super) fn crowded(reason: &str) -> Hold {
        let reason = format!("{reason}; tried again when what is parked here is applied");
        Hold { state: State::Parked, reason, awaits: Some(Awaits::Room) }
    }

    pub(super) fn missing(table: &Name, identity: &Identity<'_>, what: &str) -> Hold {
        let reason = match identity {
            Identity::Lost(local) => format!(
                "{what} of {table} that had no identity at its source, or was gone before it was known \
                 (local key {local} there)"
            ),
            Identity::One(_) | Identity::Many(_) => {
                format!("{what} of {table} that is not here: {identity}")
            }
        };
        let awaits = match identity {
            Identity::Lost(_) => None,
            Identity::One(_) | Identity::Many(_) => {
                Some(Awaits::Row(Name::clone(table), identity.clone().into_owned()))
            }
        };
        Hold { state: State::Parked, reason, awaits }
    }
}

/// How a step inside the transaction failed.
#[derive(Debug)]
pub(super) enum Failure {
    /// The server refused a row; its own words. The rest of the batch is not concerned.
    Row(String),
    /// Another row is in a row's way, and may go.
    Crowded(Crowded),
    /// Changes that were planned together have to be looked at one by one.
    Split,
    /// The whole batch is concerned.
    Whole(Error),
}

/// A row that cannot be written because of another one.
#[derive(Debug)]
pub(super) struct Crowded {
    /// The other one is of the same table: it holds a unique key.
    pub(super) by_its_like: bool,
    /// The server's own words.
    pub(super) words: String,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure::Whole(error)
    }
}

impl From<mysql_async::Error> for Failure {
    fn from(error: mysql_async::Error) -> Failure {
        match error {
            mysql_async::Error::Server(server) => sort(server.code, &server.message),
            mysql_async::Error::Driver(_)
            | mysql_async::Error::Io(_)
            | mysql_async::Error::Other(_)
            | mysql_async::Error::Url(_) => Failure::Whole(Error::Retry(format!(
                "the connection to the target database failed: {error}"
            ))),
        }
    }
}

/// Sorts a server's refusal. Whatever would hit every row must not set every row aside.
fn sort(code: u16, message: &str) -> Failure {
    let retry =
        |remedy: &str| Failure::Whole(Error::Retry(format!("error {code}: {message}{remedy}")));
    let stop =
        |remedy: &str| Failure::Whole(Error::Stop(format!("error {code}: {message}; {remedy}")));
    let crowded = |by_its_like| {
        Failure::Crowded(Crowded { by_its_like, words: format!("error {code}: {message}") })
    };
    match code {
        // Cluster not ready, table redefined meanwhile, row changed meanwhile (Galera, snapshot
        // isolation), statement has to be prepared again or is not known any more, time limit; and
        // a server that closes the connection, or lost what was sent.
        1047 | 1412 | 1020 | 1689 | 1615 | 1243 | 3024 | 1969 | 3058 | 1160 | 1161 | 1184
        | 3169 | 4031 => retry(""),
        1040 | 1203 | 1226 => retry("; raise max_connections, or lower what else connects"),
        1461 => retry("; raise max_prepared_stmt_count"),
        1016 | 1017 | 23 | 24 => retry("; raise open_files_limit, and look at the table's files"),
        3032 => retry("; SET GLOBAL offline_mode = OFF"),
        1036 | 1290 | 1836 | 1792 | 1207 | 3100 | 3101 => {
            retry("; the target is read-only: make it writable (read_only, super_read_only)")
        }
        1114 | 1021 | 1030 | 3 | 28 | 1026 | 1598 | 1878 => {
            retry("; make room on the target's disk")
        }
        // Out of memory, of sort memory, of threads, of locks, of undo slots.
        5 | 1037 | 1038 | 1041 | 1135 | 1206 | 1637 => retry("; the target is out of memory"),
        1044 | 1045 | 1142 | 1143 | 1227 | 1370 | 1410 => {
            stop("`headwater grants` prints the privileges that apply needs")
        }
        1129 | 1130 | 1251 | 1524 | 1698 | 1820 | 1862 | 3118 | 4151 => {
            stop("the target does not let the account in: mend it there, or database.url here")
        }
        1197 | 1705 => stop("raise max_binlog_cache_size and max_binlog_stmt_cache_size"),
        1034 | 1035 | 1194 | 1195 | 1712 | 1812 | 1814 | 1932 => {
            stop("the target's table is damaged: repair it, or restore the target from a backup")
        }
        1153 => stop("raise max_allowed_packet on the target"),
        1665 => stop("set binlog_format=ROW on the target"),
        3098 => stop("the target replicates in a group: give the table a primary key"),
        // A definer, a function or a view that is gone.
        1449 | 1305 | 1356 => stop(
            "a trigger of the table needs it (SHOW TRIGGERS): make it again, or drop the trigger",
        ),
        1049 => stop("the target database does not exist"),
        1146 | 1054 | 1051 => Failure::Whole(Error::Changed(format!(
            "error {code}: {message}; `headwater map check` says how the map and the target's \
             tables disagree"
        ))),
        code if BUSY.contains(&code) || LOST.contains(&code) => retry(""),
        1062 | 1169 | 1586 => crowded(true),
        1216 | 1217 | 1451 | 1452 | 1761 | 1762 => crowded(false),
        _ => Failure::Row(format!("error {code}: {message}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_hit_every_row_sets_none_aside() {
        let whole = [
            23, 24, 1016, 1017, 1020, 1021, 1026, 1030, 1034, 1036, 1037, 1040, 1041, 1045, 1114,
            1135, 1142, 1153, 1161, 1194, 1197, 1203, 1205, 1206, 1213, 1227, 1243, 1290, 1305,
            1317, 1356, 1449, 1461, 1598, 1637, 1665, 1689, 1705, 1792, 1812, 1820, 1836, 1862,
            1878, 1932, 3032, 3098, 3118, 4031, 4151,
        ];
        for code in whole {
            let failure = sort(code, "words");
            assert!(matches!(failure, Failure::Whole(_)), "{code}: {failure:?}");
        }
        for code in [1048, 1264, 1366, 1406, 1644, 3819, 4025] {
            let failure = sort(code, "words");
            assert!(matches!(failure, Failure::Row(_)), "{code}: {failure:?}");
        }
        for code in [1062, 1451, 1452] {
            let failure = sort(code, "words");
            assert!(matches!(failure, Failure::Crowded(_)), "{code}: {failure:?}");
        }
    }
}
