//! The binary log as the server sends it: a dump started at a position, read in a task of its own,
//! with a deadline on silence.

use std::time::Duration;

use futures_util::{FutureExt, StreamExt};
use mysql_async::binlog::events::Event;
use mysql_async::prelude::Queryable;
use mysql_async::{BinlogStream, BinlogStreamRequest, Conn, Sid};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use super::gtid::GtidSet;
use super::{Error, Resume};
use crate::database::connect;
use crate::position::{Position, ServerIdentity};

/// Events are handed on in groups, so that a fast log costs one wake-up for many of them.
const GROUP_BYTES: usize = 256 << 10;
const GROUP_EVENTS: usize = 1024;
/// Groups that may wait while the assembler is busy.
const GROUPS_MAX: usize = 4;

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

/// A dump being read.
pub(super) struct Stream {
    groups: mpsc::Receiver<Result<RawEvents, Error>>,
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
        let mut connection = options.connect(&[]).await?;
        prepare(&mut connection, request, position)
            .await
            .map_err(|error| sorted(&error, position))?;
        let gtids = mysql_gtids(position)?;
        let mut dump = BinlogStreamRequest::new(request.server_id);
        let offset = u32::try_from(position.offset);
        dump = match (&gtids, &position.gtids) {
            (Some(gtids), _) => dump.with_gtid().with_gtid_set(sids(gtids)?).with_pos(4),
            (None, Some(_)) => dump.with_pos(4),
            (None, None) => match offset {
                Ok(offset) => {
                    dump.with_filename(position.file.as_bytes()).with_pos(u64::from(offset))
                }
                Err(_) => return Err(Resume::BeyondReach { position: position.clone() }.into()),
            },
        };
        let stream =
            connection.get_binlog_stream(dump).await.map_err(|error| sorted(&error, position))?;
        let (sender, groups) = mpsc::channel(GROUPS_MAX);
        let deadline = request.heartbeat.saturating_mul(3);
        let (used, free) = mpsc::channel(GROUPS_MAX);
        let reading =
            Reading { stream, groups: sender, free, deadline, position: position.clone() };
        let reader = tokio::spawn(reading.run());
        Ok(Stream { groups, used, reader: reader.abort_handle() })
    }

    /// The next events, at least one. Ends only with an error: the log itself has no end.
    pub(super) async fn next(&mut self) -> Result<RawEvents, Error> {
        match self.groups.recv().await {
            Some(group) => group,
            // The client library panics on events cut short; the task is gone, the link is not.
            None => Err(Error::Lost { reason: "the log's reader stopped".to_owned() }),
        }
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
    connection: &mut Conn,
    request: &Request,
    position: &Position,
) -> mysql_async::Result<()> {
    let nanoseconds = request.heartbeat.as_nanos();
    match &position.server {
        ServerIdentity::Mysql { .. } => {
            connection
                .query_drop(format!(
                    "SET @master_heartbeat_period = {nanoseconds}, \
                     @source_heartbeat_period = {nanoseconds}"
                ))
                .await
        }
        ServerIdentity::Mariadb { .. } => {
            connection
                .query_drop(format!(
                    "SET @mariadb_slave_capability = 4, @master_heartbeat_period = {nanoseconds}"
                ))
                .await?;
            match &position.gtids {
                Some(gtids) => {
                    connection
                        .exec_drop(
                            "SET @slave_connect_state = ?, @slave_gtid_strict_mode = 0, \
                             @slave_gtid_ignore_duplicates = 0",
                            (gtids,),
                        )
                        .await
                }
                None => Ok(()),
            }
        }
    }
}

fn mysql_gtids(position: &Position) -> Result<Option<GtidSet>, Error> {
    match (&position.server, &position.gtids) {
        (ServerIdentity::Mysql { .. }, Some(gtids)) => Ok(Some(GtidSet::parse(gtids)?)),
        (ServerIdentity::Mysql { .. } | ServerIdentity::Mariadb { .. }, _) => Ok(None),
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
    stream: BinlogStream,
    groups: mpsc::Sender<Result<RawEvents, Error>>,
    free: mpsc::Receiver<RawEvents>,
    deadline: Duration,
    position: Position,
}

impl Reading {
    async fn run(mut self) {
        loop {
            let mut group = self.free.try_recv().unwrap_or_default();
            let ended = self.fill(&mut group).await;
            if !group.ends.is_empty() && self.groups.send(Ok(group)).await.is_err() {
                return;
            }
            if let Err(error) = ended {
                // Nobody left to tell means that nobody waits for it.
                drop(self.groups.send(Err(error)).await);
                return;
            }
        }
    }

    /// Waits for an event, then takes what else is there already.
    async fn fill(&mut self, group: &mut RawEvents) -> Result<(), Error> {
        let next = tokio::time::timeout(self.deadline, self.stream.next());
        let first =
            next.await.map_err(|_elapsed| Error::Silent { seconds: self.deadline.as_secs() })?;
        self.gather(group, first)?;
        while !group.is_full()
            && let Some(next) = self.stream.next().now_or_never()
        {
            self.gather(group, next)?;
        }
        Ok(())
    }

    fn gather(
        &self,
        group: &mut RawEvents,
        next: Option<mysql_async::Result<Event>>,
    ) -> Result<(), Error> {
        match next {
            Some(Ok(event)) => {
                push(group, &event);
                Ok(())
            }
            Some(Err(error)) => Err(sorted(&error, &self.position)),
            None => Err(Error::Lost { reason: "the server closed the log".to_owned() }),
        }
    }
}

/// The event's bytes as the server sent them. The library takes the checksum off; events that it
/// replays from inside a compressed transaction have none and are left out: the payload is read by
/// our own decoder.
fn push(group: &mut RawEvents, event: &Event) {
    use mysql_async::binlog::{BinlogChecksumAlg, EventType};
    let header = event.header();
    let described = header.event_type_raw() == EventType::FORMAT_DESCRIPTION_EVENT as u8;
    let footer = event.footer();
    if !footer.get_checksum_enabled() {
        return;
    }
    let bytes = &mut group.bytes;
    bytes.extend_from_slice(&header.timestamp().to_le_bytes());
    bytes.push(header.event_type_raw());
    bytes.extend_from_slice(&header.server_id().to_le_bytes());
    bytes.extend_from_slice(&header.event_size().to_le_bytes());
    bytes.extend_from_slice(&header.log_pos().to_le_bytes());
    bytes.extend_from_slice(&header.flags_raw().to_le_bytes());
    bytes.extend_from_slice(event.data());
    let algorithm = footer.get_checksum_alg().ok().flatten();
    if described && let Some(algorithm) = algorithm {
        bytes.push(algorithm as u8);
    }
    let checked = algorithm == Some(BinlogChecksumAlg::BINLOG_CHECKSUM_ALG_CRC32);
    if (checked || (described && algorithm.is_some()))
        && let Some(checksum) = event.checksum()
    {
        bytes.extend_from_slice(&checksum);
    }
    group.ends.push(bytes.len());
}

/// Tells what went wrong by the server's words: the dump's errors all have one number.
fn sorted(error: &mysql_async::Error, position: &Position) -> Error {
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
        1236 if has("binlog truncated in the middle") || has("exceeded max_allowed_packet") => {
            Error::Unreadable { server: text.to_owned() }
        }
        1236 if has("Cannot replicate anonymous") || has("Cannot replicate GTID-transaction") => {
            Resume::GtidMode { position, server: text.to_owned() }.into()
        }
        1236 | 4052 if has("same server_uuid/server_id") || has("same server id") => {
            Error::SameServerId { server: text.to_owned() }
        }
        4052 => Error::SameServerId { server: text.to_owned() },
        1044 | 1045 | 1142 | 1227 => Error::Privilege { server: text.to_owned() },
        _ => Error::Lost { reason: error.to_string() },
    }
}
