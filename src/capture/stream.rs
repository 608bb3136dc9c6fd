//! The binary log as the server sends it: a dump started at a position, read in a task of its own,
//! with a deadline on silence.

use std::sync::Arc;
use std::time::Duration;

use mysql_async::Sid;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::AbortHandle;

use super::gtid::GtidSet;
use super::{Error, Resume};
use crate::database::connect;
use crate::database::dump::{Dump, Start, is_silence};
use crate::position::{Position, ServerIdentity};

/// Events are handed on in groups, so that a fast log costs one wake-up for many of them.
const GROUP_BYTES: usize = 256 << 10;
const GROUP_EVENTS: usize = 1024;
/// Groups that may wait while the assembler is busy.
const GROUPS_MAX: usize = 4;
/// Bytes that may wait with them. One group of more waits alone, and nothing is read meanwhile.
const WAITING_BYTES_MAX: usize = 2 << 20;

/// Events as they stand in the log, headers and checksums included, one after the other.
#[derive(Debug, Default)]
pub(super) struct RawEvents {
    bytes: Vec<u8>,
    /// Where each event ends.
    ends: Vec<usize>,
}

impl RawEvents {
    /// Each event's bytes, in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).filter_map(|(start, end)| self.bytes.get(start..*end))
    }

    fn is_full(&self) -> bool {
        self.bytes.len() >= GROUP_BYTES || self.ends.len() >= GROUP_EVENTS
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
    }
}

/// Where groups wait, as long as there is room for their bytes.
#[derive(Debug, Clone)]
struct Room(Arc<Semaphore>);

/// A part of the room, given back when it is dropped.
struct Taken(Room, Option<OwnedSemaphorePermit>);

impl Room {
    fn new(bytes: usize) -> Room {
        Room(Arc::new(Semaphore::new(bytes)))
    }

    /// Waits for the least room that a group takes.
    async fn some(&self) -> Taken {
        // It fails only once it is closed, which nobody does.
        Taken(self.clone(), Arc::clone(&self.0).acquire_owned().await.ok())
    }
}

impl Taken {
    /// Waits for room for so many bytes, or for all there is.
    async fn grown_to(self, bytes: usize) -> Taken {
        let Taken(room, permit) = self;
        let more = bytes.min(WAITING_BYTES_MAX).saturating_sub(1);
        let more = u32::try_from(more).unwrap_or(u32::MAX);
        let more = Arc::clone(&room.0).acquire_many_owned(more).await.ok();
        let permit = match (permit, more) {
            (Some(mut permit), Some(more)) => {
                permit.merge(more);
                Some(permit)
            }
            (permit, more) => permit.or(more),
        };
        Taken(room, permit)
    }
}

/// What waits: a group, or why there are no more, and the room that it takes.
type Waiting = (Result<RawEvents, Error>, Taken);

/// A dump being read.
pub(super) struct Stream {
    groups: mpsc::Receiver<Waiting>,
    /// Groups that have been read go back, so that their memory is used again.
    used: mpsc::Sender<RawEvents>,
    reader: AbortHandle,
}

/// How to ask for a dump.
#[derive(Debug, Clone)]
pub(super) struct Request {
    /// The replica id to show; unique among all readers of the server.
    pub(super) server_id: u32,
    /// How often the server speaks when it has nothing to say.
    pub(super) heartbeat: Duration,
}

impl Stream {
    /// Asks the server for its log from `position` on.
    pub(super) async fn open(
        options: &connect::Options,
        request: &Request,
        position: &Position,
    ) -> Result<Stream, Error> {
        let silence_max = request.heartbeat.saturating_mul(3);
        let mut dump = Dump::connect(options, silence_max).await?;
        let begun = match prepare(&mut dump, request, position).await {
            Ok(()) => dump.begin(request.server_id, start(position)?).await,
            refused => refused,
        };
        begun.map_err(|error| sorted(&error, position, silence_max))?;
        let (sender, groups) = mpsc::channel(GROUPS_MAX);
        let (used, free) = mpsc::channel(GROUPS_MAX);
        let position = position.clone();
        let room = Room::new(WAITING_BYTES_MAX);
        let reading = Reading { dump, groups: sender, room, free, silence_max, position };
        let reader = tokio::spawn(reading.run());
        Ok(Stream { groups, used, reader: reader.abort_handle() })
    }

    /// The next events, at least one. Ends only with an error: the log itself has no end.
    pub(super) async fn next(&mut self) -> Result<RawEvents, Error> {
        match self.groups.recv().await {
            Some((group, _room)) => group,
            None => Err(Error::Lost { reason: "the log's reader stopped".to_owned() }),
        }
    }

    /// Whether there are more events already: the next does not have to be waited for.
    pub(super) fn has_more(&self) -> bool {
        !self.groups.is_empty()
    }

    /// Gives back a group that is not needed any more.
    pub(super) fn give_back(&self, mut group: RawEvents) {
        group.clear();
        // One memory does not grow for ever because an event once was large.
        group.bytes.shrink_to(2 * GROUP_BYTES);
        // When there are enough of them already, or no reader, it is simply freed.
        drop(self.used.try_send(group));
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

/// Session settings that a dump needs; see `docs/decisions.md` for what each server makes of them.
async fn prepare(
    dump: &mut Dump,
    request: &Request,
    position: &Position,
) -> mysql_async::Result<()> {
    let nanoseconds = request.heartbeat.as_nanos();
    match &position.server {
        ServerIdentity::Mysql { .. } => {
            let both = format!(
                "SET @master_heartbeat_period = {nanoseconds}, \
                 @source_heartbeat_period = {nanoseconds}"
            );
            dump.run(&both).await
        }
        ServerIdentity::Mariadb { .. } => {
            let capable = format!(
                "SET @mariadb_slave_capability = 4, @master_heartbeat_period = {nanoseconds}"
            );
            dump.run(&capable).await?;
            let Some(gtids) = &position.gtids else { return Ok(()) };
            let quoted = gtids.replace('\\', r"\\").replace('\'', "''");
            let state = format!(
                "SET @slave_connect_state = '{quoted}', \
                 @slave_gtid_strict_mode = 0, @slave_gtid_ignore_duplicates = 0"
            );
            dump.run(&state).await
        }
    }
}

/// Where the dump begins.
fn start(position: &Position) -> Result<Start<'_>, Error> {
    let offset = u32::try_from(position.offset);
    match (&position.server, &position.gtids, offset) {
        (ServerIdentity::Mysql { .. }, Some(gtids), _) => {
            Ok(Start::After(sids(&GtidSet::parse(gtids)?)?))
        }
        (ServerIdentity::Mariadb { .. }, Some(_), _) => Ok(Start::AsSet),
        (_, None, Ok(offset)) => Ok(Start::At { file: &position.file, offset }),
        (_, None, Err(_)) => Err(Resume::BeyondReach { position: position.clone() }.into()),
    }
}

fn sids(gtids: &GtidSet) -> Result<Vec<Sid<'static>>, Error> {
    gtids
        .entries()
        .map(|entry| {
            entry.parse().map_err(|error: std::io::Error| Error::Lost { reason: error.to_string() })
        })
        .collect()
}

/// The task that reads the dump.
struct Reading {
    dump: Dump,
    groups: mpsc::Sender<Waiting>,
    room: Room,
    free: mpsc::Receiver<RawEvents>,
    silence_max: Duration,
    position: Position,
}

impl Reading {
    async fn run(mut self) {
        loop {
            let room = self.room.some().await;
            let mut group = self.free.try_recv().unwrap_or_default();
            let ended = self.fill(&mut group).await;
            let room = room.grown_to(group.bytes.len()).await;
            if !group.ends.is_empty() && self.groups.send((Ok(group), room)).await.is_err() {
                return;
            }
            if let Err(error) = ended {
                let error = sorted(&error, &self.position, self.silence_max);
                // Nobody left to tell means that nobody waits for it.
                let room = self.room.some().await;
                drop(self.groups.send((Err(error), room)).await);
                return;
            }
        }
    }

    /// Waits for an event, then takes what else is there already.
    async fn fill(&mut self, group: &mut RawEvents) -> mysql_async::Result<()> {
        loop {
            self.dump.read(&mut group.bytes).await?;
            group.ends.push(group.bytes.len());
            if group.is_full() || !self.dump.is_next_here() {
                return Ok(());
            }
        }
    }
}

/// What servers say that is not of the log's bytes, and may be otherwise a moment later.
const PASSING: [&str; 5] = [
    "memory allocation failed",
    "Could not open log file",
    "Binary log is not open",
    "Misconfigured master",
    "can not handle replication events with the checksum",
];

/// What servers say of GTIDs that are on at one end only.
const GTID_MODE: [&str; 4] = [
    "Cannot replicate anonymous",
    "Cannot replicate GTID-transaction",
    "GTID_MODE",
    "Found old binary log without GTIDs",
];

/// Tells what went wrong by the server's words: the dump's errors all have one number.
fn sorted(error: &mysql_async::Error, position: &Position, silence_max: Duration) -> Error {
    if is_silence(error) {
        return Error::Silent { seconds: silence_max.as_secs() };
    }
    let mysql_async::Error::Server(server) = error else {
        return Error::Lost { reason: error.to_string() };
    };
    let text = server.message.as_str();
    let has = |part: &str| text.contains(part);
    let position = position.clone();
    match server.code {
        1236 if has("Could not find first log file name") || has("purged") => {
            Resume::Purged { position, server: text.to_owned() }.into()
        }
        1236 if has("Could not find GTID state requested") => {
            Resume::Purged { position, server: text.to_owned() }.into()
        }
        1236 if has("has more GTIDs than") || has("which is not in the master's binlog") => {
            Resume::Ahead { position, server: text.to_owned() }.into()
        }
        1236 if has("position > file size") || has("impossible position") => {
            Resume::PastEnd { position, server: text.to_owned() }.into()
        }
        1236 if has("bogus data in log event") || has("event read from binlog did not pass") => {
            Resume::NotAnEvent { position, server: text.to_owned() }.into()
        }
        1236 if PASSING.iter().any(|words| has(words)) => Error::Lost { reason: error.to_string() },
        1236 if GTID_MODE.iter().any(|words| has(words)) => {
            Resume::GtidMode { position, server: text.to_owned() }.into()
        }
        1236 | 4052 if has("same server_uuid/server_id") || has("same server id") => {
            Error::SameServerId { server: text.to_owned() }
        }
        4052 => Error::SameServerId { server: text.to_owned() },
        // Whatever else the server says of its log stays so until somebody looks at it.
        1236 => Error::Unreadable { server: text.to_owned() },
        1044 | 1045 | 1142 | 1227 => Error::Privilege { server: text.to_owned() },
        _ => Error::Lost { reason: error.to_string() },
    }
}

#[cfg(test)]
mod tests {
    use mysql_async::ServerError;

    use super::*;

    #[tokio::test]
    async fn one_large_group_waits_alone_and_small_ones_together() {
        let room = Room::new(WAITING_BYTES_MAX);
        let of = async |bytes| room.some().await.grown_to(bytes).await;
        let soon = Duration::from_millis(20);
        let small = [of(GROUP_BYTES).await, of(GROUP_BYTES).await];
        assert!(tokio::time::timeout(soon, of(100 << 20)).await.is_err());
        drop(small);
        let large = of(100 << 20).await;
        assert!(tokio::time::timeout(soon, room.some()).await.is_err());
        drop(large);
        drop(room.some().await);
    }

    /// What becomes of a server's words, in one.
    fn outcome(code: u16, words: &str) -> &'static str {
        let position = Position {
            server: ServerIdentity::Mysql { server_uuid: "7".to_owned() },
            file: "binlog.000007".to_owned(),
            offset: 4,
            gtids: None,
        };
        let error = mysql_async::Error::Server(ServerError {
            code,
            state: "HY000".to_owned(),
            message: words.to_owned(),
        });
        match sorted(&error, &position, Duration::from_secs(30)) {
            Error::Resume(Resume::Purged { .. }) => "purged",
            Error::Resume(Resume::Ahead { .. }) => "ahead",
            Error::Resume(Resume::PastEnd { .. }) => "past the end",
            Error::Resume(Resume::NotAnEvent { .. }) => "not an event",
            Error::Resume(Resume::GtidMode { .. }) => "GTID mode",
            Error::SameServerId { .. } => "same id",
            Error::Unreadable { .. } => "unreadable",
            Error::Privilege { .. } => "privilege",
            Error::Lost { .. } => "lost",
            other => panic!("{other}"),
        }
    }

    /// In the words of MySQL 5.6 to 9.7 and of `MariaDB` 10.11 and 11.8, from their sources.
    const SAID: &[(&str, &str)] = &[
        ("Could not find first log file name in binary log index file", "purged"),
        (
            "The slave is connecting using CHANGE MASTER TO MASTER_AUTO_POSITION = 1, but the \
                 master has purged binary logs containing GTIDs that the slave requires.",
            "purged",
        ),
        (
            "Cannot replicate because the source purged required binary logs. Replicate the \
                 missing transactions from elsewhere, or provision a new replica from backup.",
            "purged",
        ),
        (
            "Could not find GTID state requested by slave in any binlog files. Probably the \
                 slave state is too old and required binlog files have been purged.",
            "purged",
        ),
        (
            "Slave has more GTIDs than the master has, using the master's SERVER_UUID. This \
                 may indicate that the end of the binary log was truncated",
            "ahead",
        ),
        ("Replica has more GTIDs than the source has, using the source's SERVER_UUID.", "ahead"),
        (
            "Error: connecting slave requested to start from GTID 0-1-10, which is not in the \
                 master's binlog",
            "ahead",
        ),
        ("Client requested master to start replication from position > file size", "past the end"),
        ("Client requested master to start replication from impossible position", "past the end"),
        (
            "bogus data in log event; the first event 'binlog.000001' at 500, the last event \
                 read from 'binlog.000001' at 123, the last byte read from 'binlog.000001' at 519.",
            "not an event",
        ),
        ("event read from binlog did not pass crc check; the first event 'b' at 4", "not an event"),
        (
            "The replication sender thread cannot start in AUTO_POSITION mode: this server has \
                 GTID_MODE = OFF instead of ON.",
            "GTID mode",
        ),
        ("Cannot replicate anonymous transaction when AUTO_POSITION = 1, at file b", "GTID mode"),
        (
            "A slave with the same server_uuid/server_id as this slave has connected to the \
                 master; the first event 'b' at 4",
            "same id",
        ),
        (
            "A replica with the same server_uuid/server_id as this replica has connected to \
                 the source; the first event 'b' at 4",
            "same id",
        ),
        ("memory allocation failed reading log event", "lost"),
        ("Could not open log file", "lost"),
        ("binlog truncated in the middle of event; consider out of disk space", "unreadable"),
        (
            "log event entry exceeded max_allowed_packet; Increase max_allowed_packet on master",
            "unreadable",
        ),
        ("what no server has said yet", "unreadable"),
    ];

    #[test]
    fn the_servers_words_are_told_apart_though_their_number_is_one() {
        for (words, expected) in SAID {
            assert_eq!(outcome(1236, words), *expected, "{words}");
        }
    }

    #[test]
    fn other_numbers_are_told_by_themselves() {
        assert_eq!(outcome(4052, "whatever"), "same id");
        assert_eq!(outcome(1227, "Access denied; you need REPLICATION SLAVE"), "privilege");
        assert_eq!(outcome(1040, "Too many connections"), "lost");
        assert_eq!(outcome(1053, "Server shutdown in progress"), "lost");
    }
}
