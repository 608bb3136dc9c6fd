//! Whether a position in the store still means the same to the server that answers now.
//!
//! Names, offsets and GTIDs all begin anew after a RESET, and a log that lost its end to a power cut
//! soon has other transactions under the same GTIDs: a dump would start without an error, behind
//! changes that nobody captured. So the log is looked at before it is asked for:
//!
//! ```text
//!  who answers      the position's file                what follows
//!  the same server  is there, long enough, as old      the dump starts
//!                   is shorter                         PastEnd
//!                   began at another time              NotAnEvent
//!                   is gone, the log ends before it    Restarted
//!                   is gone, the log begins after it   the dump, which tells whether GTIDs suffice
//!  another server   (names mean nothing)               by GTID, if it has executed what was captured
//! ```

use std::time::Duration;

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Row};

use super::ahead::SERVER_IDS;
use super::decode::{Body, Decoder};
use super::follow::refuse::{at, unreadable};
use super::gtid::{DomainState, GtidSet};
use super::place::Spot;
use super::stream::{Request, Stream};
use super::{Error, Resume};
use crate::clock::Timestamp;
use crate::database;
use crate::database::connect;
use crate::database::name::quoted;
use crate::database::server::Server;
use crate::position::{Position, ServerIdentity};
use crate::schema_map::{MapFile, TableRule};
use crate::spool::Spool;
use crate::value::Name;

/// The note of the store that says when log files began.
const BEGAN: &str = "capture.log_began";
/// Files of which that is remembered.
const FILES_MAX: usize = 4;
/// The most that the first event of a log file may inflate to; it is never compressed.
const FIRST_EVENT_BYTES_MAX: u64 = 1 << 20;
/// Groups of events read in search of it.
const GROUPS_READ_MAX: usize = 8;
/// More files than any server keeps.
const LISTED_MAX: usize = 1_000_000;

/// When log files began, by the server's clock: the newest last.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Began {
    files: Vec<(String, u32)>,
}

impl Began {
    /// What the store remembers.
    pub(super) async fn read(spool: &Spool) -> Result<Began, Error> {
        let noted = spool.note(BEGAN).await?.unwrap_or_default();
        Ok(Began { files: serde_json::from_slice(&noted).unwrap_or_default() })
    }

    /// Remembers another file. False if it is known already.
    pub(super) fn add(&mut self, file: &str, seconds: u32) -> bool {
        if self.of(file) == Some(seconds) {
            return false;
        }
        self.files.retain(|(known, _)| known != file);
        self.files.push((file.to_owned(), seconds));
        let surplus = self.files.len().saturating_sub(FILES_MAX);
        self.files.drain(..surplus);
        true
    }

    fn of(&self, file: &str) -> Option<u32> {
        self.files.iter().find(|(known, _)| known == file).map(|(_, seconds)| *seconds)
    }

    /// Another server's files have the same names.
    pub(super) async fn forget(&mut self, spool: &Spool) -> Result<(), Error> {
        self.files.clear();
        Ok(self.store(spool).await?)
    }

    /// Writes it down, so that it is known before a position in the file is.
    pub(super) async fn store(&self, spool: &Spool) -> Result<(), crate::spool::Error> {
        spool.set_note(BEGAN, serde_json::to_vec(&self.files).unwrap_or_default()).await
    }
}

/// A log file as the server lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Listed {
    file: String,
    bytes: u64,
}

/// Where to resume from a position in the store, at the server that answers now.
pub(super) async fn resumed(
    connection: &mut Conn,
    options: &connect::Options,
    server: &Server,
    position: Position,
    began: &Began,
) -> Result<Position, Error> {
    let listed = list(connection).await?;
    if position.server != server.identity {
        return moved(connection, server, position, &listed).await;
    }
    if stands(&position, &listed)?
        && let Some(expected) = began.of(&position.file)
    {
        let found = first_event_seconds(options, &position).await?;
        if found != Some(expected) {
            let at = |seconds: u32| Timestamp(i64::from(seconds).saturating_mul(1_000_000));
            let found = found.map_or("a time unknown".to_owned(), |found| at(found).to_string());
            let server = format!("the file began at {found}, the one read at {}", at(expected));
            return Err(Resume::NotAnEvent { position, server }.into());
        }
    }
    Ok(position)
}

/// Whether the position's file is there, as far as its name and length tell.
fn stands(position: &Position, listed: &[Listed]) -> Result<bool, Resume> {
    if let Some(there) = listed.iter().find(|listed| listed.file == position.file) {
        if there.bytes < position.offset {
            let server = format!("the file has {} bytes", there.bytes);
            return Err(Resume::PastEnd { position: position.clone(), server });
        }
        return Ok(true);
    }
    let (Some(first), Some(last)) = (listed.first(), listed.last()) else { return Ok(false) };
    if is_before(&position.file, &last.file) {
        if position.gtids.is_none() {
            let server = format!("the first file left is {}", first.file);
            return Err(Resume::Purged { position: position.clone(), server });
        }
        return Ok(false);
    }
    let server = format!("its log now goes from {} to {}", first.file, last.file);
    Err(Resume::Restarted { position: position.clone(), server })
}

/// Whether one file comes before another of the same log. Files are numbered with leading zeros,
/// and with one more digit after the last of them.
fn is_before(one: &str, other: &str) -> bool {
    let (Some((name, number)), Some((same, later))) =
        (one.rsplit_once('.'), other.rsplit_once('.'))
    else {
        return false;
    };
    name == same && (number.len(), number) < (later.len(), later)
}

/// At another server: a replica that was made the source, or the same database under a new id. It
/// may go on there by GTID if that server has executed all that was captured, and has not purged
/// what comes next.
async fn moved(
    connection: &mut Conn,
    server: &Server,
    position: Position,
    listed: &[Listed],
) -> Result<Position, Error> {
    let lacks = match (&position.server, &server.identity, &position.gtids) {
        (ServerIdentity::Mysql { .. }, ServerIdentity::Mysql { .. }, Some(read)) => {
            let read = GtidSet::parse(read)?;
            let executed = ask(connection, "SELECT @@GLOBAL.gtid_executed").await?;
            let purged = ask(connection, "SELECT @@GLOBAL.gtid_purged").await?;
            if !server.is_on("gtid_mode") {
                Some("it has no GTIDs (gtid_mode is not ON)".to_owned())
            } else if read.is_empty() || !GtidSet::parse(&executed)?.contains_all(&read) {
                Some(format!("it has not executed all that was captured: it has '{executed}'"))
            } else if !read.contains_all(&GtidSet::parse(&purged)?) {
                Some(format!("what comes next is not in its log any more: it purged '{purged}'"))
            } else {
                None
            }
        }
        (ServerIdentity::Mariadb { .. }, ServerIdentity::Mariadb { .. }, Some(read)) => {
            let state = ask(connection, "SELECT @@GLOBAL.gtid_binlog_state").await?;
            let has = DomainState::parse(read)?.is_in(&state);
            (!has)
                .then(|| format!("its log does not hold what was captured last: it has '{state}'"))
        }
        (_, _, None) => Some("the position has no GTIDs to find its place there".to_owned()),
        (_, _, Some(_)) => Some("one kind of server knows nothing of the other's GTIDs".to_owned()),
    };
    let (expected, found) = (position.server.clone(), server.identity.clone());
    if let Some(lacks) = lacks {
        return Err(Resume::OtherServer { position, expected, found, lacks }.into());
    }
    tracing::warn!(%position, %expected, %found, "another server answers; it has executed all that was captured, and capture goes on there by GTID");
    let file = listed.first().map(|first| first.file.clone()).unwrap_or_default();
    Ok(Position { server: found, file, offset: 4, gtids: position.gtids })
}

async fn ask(connection: &mut Conn, question: &str) -> Result<String, database::Error> {
    let answer: Option<Option<String>> = connection.query_first(question).await?;
    Ok(answer.flatten().unwrap_or_default().replace('\n', ""))
}

async fn list(connection: &mut Conn) -> Result<Vec<Listed>, Error> {
    let rows: Vec<Row> = connection
        .query("SHOW BINARY LOGS")
        .await
        .map_err(|error| Error::Database(database::Error::from(error)))?;
    let listed = rows.into_iter().take(LISTED_MAX).filter_map(|mut row| {
        let file: Vec<u8> = row.take_opt(0)?.ok()?;
        let bytes: u64 = row.take_opt(1)?.ok()?;
        Some(Listed { file: String::from_utf8_lossy(&file).into_owned(), bytes })
    });
    Ok(listed.collect())
}

/// When the position's file began: the time of its first event.
async fn first_event_seconds(
    options: &connect::Options,
    position: &Position,
) -> Result<Option<u32>, Error> {
    let request =
        Request { server_id: rand::random_range(SERVER_IDS), heartbeat: Duration::from_secs(2) };
    let head = Spot::new(&position.file, 4);
    let from = Position { offset: 4, gtids: None, ..position.clone() };
    let mut stream = Stream::open(options, &request, &from).await?;
    let mut decoder = Decoder::new(FIRST_EVENT_BYTES_MAX);
    // It comes after a rotation that is not in the file, maybe in another group.
    for _ in 0..GROUPS_READ_MAX {
        let group = stream.next().await.map_err(|error| unreadable(&head, error))?;
        for raw in group.iter() {
            let event = decoder.event(raw, false).map_err(|error| at(&head, &error))?;
            if matches!(event.body, Body::FormatDescription { .. }) {
                return Ok(Some(event.header.timestamp_seconds));
            }
        }
    }
    Ok(None)
}

/// Whether the account may still look at the mapped ones of these tables. One that may not would be
/// told that they are not there, and rows that others refer to would be taken for gone.
pub(super) async fn may_see<'t>(
    connection: &mut Conn,
    map: &MapFile,
    tables: impl Iterator<Item = &'t Name>,
) -> Result<(), Error> {
    let seen: Vec<String> = connection.query("SHOW TABLES").await.map_err(database::Error::from)?;
    for table in tables {
        let is_mapped = matches!(map.tables.get(table), Some(TableRule::Mapped(_)));
        if !is_mapped || seen.iter().any(|name| **name == **table) {
            continue;
        }
        let asked = format!("SELECT 1 FROM {} LIMIT 0", quoted(table));
        let asked = connection.query_drop(asked).await;
        match asked.map_err(database::Error::from) {
            // There is no such table, which the log explains.
            Ok(()) | Err(database::Error::Refused { .. }) => {}
            Err(source) => return Err(Error::Question { table: table.clone(), source }),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(file: &str, offset: u64, gtids: Option<&str>) -> Position {
        Position {
            server: ServerIdentity::Mariadb { server_id: 1, domain_id: 0 },
            file: file.to_owned(),
            offset,
            gtids: gtids.map(str::to_owned),
        }
    }

    fn log(files: &[(&str, u64)]) -> Vec<Listed> {
        files
            .iter()
            .map(|(file, bytes)| Listed { file: (*file).to_owned(), bytes: *bytes })
            .collect()
    }

    #[test]
    fn a_position_inside_of_its_file_stands() {
        let listed = log(&[("b.000001", 500), ("b.000002", 100)]);
        assert_eq!(stands(&at("b.000001", 500, None), &listed), Ok(true));
        assert!(matches!(
            stands(&at("b.000001", 501, Some("0-1-1")), &listed),
            Err(Resume::PastEnd { .. })
        ));
    }

    #[test]
    fn a_log_that_ends_before_the_position_s_file_began_anew() {
        let listed = log(&[("b.000001", 500), ("b.000002", 100)]);
        for file in ["b.000003", "b.1000000", "other.000001", "nonsense"] {
            let found = stands(&at(file, 4, Some("0-1-1")), &listed);
            assert!(matches!(found, Err(Resume::Restarted { .. })), "{file}: {found:?}");
        }
    }

    #[test]
    fn of_a_purged_file_only_gtids_may_know_more() {
        let listed = log(&[("b.000007", 500)]);
        assert_eq!(stands(&at("b.000006", 9, Some("0-1-1")), &listed), Ok(false));
        let without = stands(&at("b.000006", 9, None), &listed);
        assert!(matches!(without, Err(Resume::Purged { .. })), "{without:?}");
    }

    #[test]
    fn the_newest_files_are_remembered() {
        let mut began = Began::default();
        for number in 0..9 {
            assert!(began.add(&format!("b.{number}"), number));
        }
        assert!(!began.add("b.8", 8));
        assert_eq!((began.of("b.8"), began.of("b.1")), (Some(8), None));
        assert!(began.add("b.8", 80));
        assert_eq!((began.of("b.8"), began.files.len()), (Some(80), FILES_MAX));
    }
}
