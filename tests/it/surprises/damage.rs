//! Bytes of a log file that are not what the server wrote, and events that no server of today writes:
//! noticed by place, or passed over because the server says that they may be.

mod log_file;

use std::sync::Arc;

use headwater::capture::decode::{Body, Decoder};
use headwater::capture::{Doing, State};
use headwater::schema_map::MapFile;
use headwater_rig::{Flavor, Server, ServerOptions};
use tempfile::TempDir;

pub(super) use log_file::{At, HEADER, LogFile};

use super::{DATABASE, MAP, SURPRISES, TABLES, differing, is_mariadb, replayed, rows};
use crate::support::ledger::{EXACT, NOT_NOTICED, NOT_THERE, REFUSED};
use crate::support::{Capturing, capture_options, on, on_all};

const INSERTS: &[u8] = &[23, 30, 166, 169];
/// The text of a statement beside its rows: `ROWS_QUERY`, `ANNOTATE_ROWS`.
const TEXTS: &[u8] = &[29, 160];
pub(super) const WORK: &str = "INSERT INTO note (uuid, text) VALUES ('a-1', 'before');
    INSERT INTO note (uuid, text, body) VALUES ('a-2', 'damaged', REPEAT('long ', 50))";

/// A server, and a store whose position is before what it does next.
pub(super) struct Stage {
    pub(super) server: Server,
    pub(super) folder: TempDir,
    map: Arc<MapFile>,
}

impl Stage {
    pub(super) async fn start(flavor: Flavor) -> Stage {
        Stage::start_with(flavor, ServerOptions::default()).await
    }

    async fn start_with(flavor: Flavor, options: ServerOptions) -> Stage {
        // Where it dies of what it reads, it may hang while it writes down where it was.
        let options =
            if flavor == Flavor::Mysql56 { options.with("--skip-stack-trace") } else { options };
        let server = Server::start(flavor, options).await.unwrap();
        server.sql(&format!("CREATE DATABASE {DATABASE} CHARACTER SET utf8mb4")).await.unwrap();
        let map = Arc::new(MapFile::parse(MAP, "damage.toml").unwrap());
        Stage { server, folder: tempfile::tempdir().unwrap(), map }
    }

    pub(super) fn options(&self) -> headwater::capture::Options {
        capture_options(&self.server, DATABASE, self.map.clone())
    }

    /// The tables as at first, a store that knows where the log ends, then `sql`, in a log file
    /// that is closed.
    pub(super) async fn closed(&mut self, sql: &str) -> LogFile {
        let fresh =
            format!("SET foreign_key_checks = 0; DROP TABLE IF EXISTS note, ward, loose; {TABLES}");
        self.server.sql_in(DATABASE, &fresh).await.unwrap();
        self.server.sql("FLUSH LOGS").await.unwrap();
        self.folder = tempfile::tempdir().unwrap();
        Capturing::start(self.options(), &self.folder).await.stop().await;
        self.server.sql_in(DATABASE, sql).await.unwrap();
        self.server.sql("FLUSH LOGS").await.unwrap();
        LogFile::last_closed(&self.server).await
    }

    /// What capture stops with, having read a number of transactions.
    async fn refusal(&self, before: u64) -> String {
        self.refusal_or_gone(before).await.expect("the server answers")
    }

    /// The same of a damage of which MySQL 5.6 may die when it reads it: `None` if it did.
    async fn refusal_or_gone(&self, before: u64) -> Option<String> {
        let may_die = self.server.flavor() == Flavor::Mysql56;
        let capturing = Capturing::start_only(self.options(), &self.folder);
        let ended = |state: &State| match &state.doing {
            Doing::Stopped(_) => true,
            Doing::Retrying(words) => may_die && words.contains("Is the server running"),
            Doing::Starting | Doing::Following => false,
        };
        let state = capturing.until(ended).await;
        let head = capturing.spool.head().0;
        capturing.stop().await;
        let Doing::Stopped(words) = state.doing else { return None };
        assert_eq!(head, before, "what came before is in the spool: {words}");
        Some(words)
    }

    /// Waits until what was captured is what the tables hold.
    async fn exact(&self, before: super::Rows) {
        let capturing = Capturing::start_only(self.options(), &self.folder);
        let expected = rows(&self.server).await.unwrap();
        for _ in 0..600 {
            if differing(&replayed(before.clone(), &capturing).await, &expected).is_empty() {
                capturing.stop().await;
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        panic!("{:?}: {:?}", capturing.state.borrow(), replayed(before, &capturing).await);
    }
}

async fn a_flipped_bit_is_noticed_by_place(flavor: Flavor) {
    flipped_bits_are_noticed(Stage::start(flavor).await).await;
    SURPRISES.settle("flipped bit in a row", flavor, REFUSED);
    SURPRISES.settle("flipped bit in an event's length", flavor, REFUSED);
}

async fn without_gtids_a_flipped_bit_is_noticed_by_place(flavor: Flavor) {
    let options = ServerOptions { gtid: false, ..ServerOptions::default() };
    flipped_bits_are_noticed(Stage::start_with(flavor, options).await).await;
}

async fn flipped_bits_are_noticed(mut stage: Stage) {
    let flavor = stage.server.flavor();
    let mut log = stage.closed(WORK).await;
    assert!(log.checksums);
    let at = log.last(INSERTS);
    log.bytes[at.offset + at.size / 2] ^= 0x04;
    log.write();
    let words = stage.refusal(1).await;
    assert!(words.starts_with(&log.place(at)) || flavor == Flavor::Mariadb118, "{words}");
    for part in [&log.transaction(at), "checksum mismatch", "table note", "A damaged log"] {
        assert!(words.contains(part), "{part}: {words}");
    }
    let mut told = 0;
    for bit in [0x01, 0x10, 0x80] {
        let mut log = stage.closed(WORK).await;
        let at = log.last(INSERTS);
        let begins = log.transaction(at);
        log.bytes[at.offset + 9] ^= bit;
        log.write();
        let Some(words) = stage.refusal_or_gone(1).await else {
            log.bytes[at.offset + 9] ^= bit;
            log.write();
            stage.server.kill9();
            stage.server.restart().await.unwrap();
            continue;
        };
        told += 1;
        for part in [&begins, "table note", "A damaged log"] {
            assert!(words.contains(part), "{part}: {words}");
        }
    }
    assert!(told > 0, "{flavor} died of each");
}

/// What begins and ends a transaction, its statements and the descriptions of its tables.
const OTHERS: &[&[u8]] = &[&[33, 34, 42, 162], &[2], &[19], &[16]];

async fn a_flipped_bit_in_another_event_is_noticed_by_place(flavor: Flavor) {
    let mut stage = Stage::start(flavor).await;
    let log = stage.closed(WORK).await;
    assert!(log.checksums);
    let at_last = |kinds: &&[u8]| log.events().into_iter().rfind(|at| kinds.contains(&at.kind));
    for at in OTHERS.iter().filter_map(at_last) {
        let table_map = at.kind == 19;
        // Its type, its flags, the first byte of its body, its middle, its checksum; of a table map
        // also the lengths of its names, the number of columns and what follows it.
        let mut places = vec![4, 17, HEADER, at.size / 2, at.size - 1];
        places.extend(
            (HEADER + 8..HEADER + 40).step_by(3).filter(|place| table_map && *place < at.size - 4),
        );
        for place in places {
            let mut damaged = log.clone();
            damaged.bytes[at.offset + place] ^= 0x40;
            damaged.write();
            let words = stage.refusal(1).await;
            // What is not sent before a table map counts, so its transaction tells where it is.
            let begins = [33, 34, 42, 162].contains(&at.kind);
            let exact =
                words.contains(&log.place(at)) || (!begins && words.contains(&log.transaction(at)));
            let tells = words.contains("A damaged log");
            assert!(exact && tells, "type {}, byte {place}: {words}", at.kind);
        }
    }
    log.write();
    let mut before = rows(&stage.server).await.unwrap();
    before.retain(|(_, uuid), _| !uuid.starts_with("a-"));
    stage.exact(before).await;
    SURPRISES.settle(
        "flipped bit in a table map, a GTID, a statement or a commit",
        flavor,
        REFUSED,
    );
}

/// What stands before the compressed bytes: lengths, the method.
async fn a_flipped_bit_before_what_is_compressed_is_noticed(flavor: Flavor) {
    const ROW: &str = "flipped bit in a compressed transaction's own fields";
    if !flavor.is_new_mysql() {
        SURPRISES.settle(ROW, flavor, NOT_THERE);
        return;
    }
    let mut stage = Stage::start(flavor).await;
    stage.server.sql("SET GLOBAL binlog_transaction_compression = ON").await.unwrap();
    let log = stage.closed(WORK).await;
    let at = log.last(&[40]);
    let whole = &log.bytes[at.offset..at.offset + at.size];
    let begins = whole.windows(4).position(|part| part == [0x28, 0xb5, 0x2f, 0xfd]).unwrap();
    for place in HEADER..begins {
        for bit in [0x01, 0x80] {
            let mut damaged = log.clone();
            damaged.bytes[at.offset + place] ^= bit;
            damaged.write();
            let words = stage.refusal(1).await;
            for part in [&log.transaction(at), "A damaged log"] {
                assert!(words.contains(part), "byte {place}, bit {bit}: {part}: {words}");
            }
        }
    }
    SURPRISES.settle(ROW, flavor, REFUSED);
}

/// A log that lost the end of a transaction which the server had committed: the next has the next
/// number.
async fn a_lost_end_of_a_committed_transaction_is_noticed(flavor: Flavor) {
    let mut stage = Stage::start(flavor).await;
    let mut log = stage.closed(WORK).await;
    stage
        .server
        .sql_in(DATABASE, "INSERT INTO note (uuid, text) VALUES ('a-3', 'next'), ('a-4', 'next')")
        .await
        .unwrap();
    let at = log.last(INSERTS);
    log.bytes.truncate(at.offset + at.size);
    log.write();
    let words = stage.refusal(1).await;
    for part in ["whose number is not given again", "accept = [\""] {
        assert!(words.contains(part), "{part}: {words}");
    }
    // It stays so.
    assert_eq!(stage.refusal(1).await, words);
    let place = words.split("accept = [\"").nth(1).and_then(|rest| rest.split('"').next());
    let mut options = stage.options();
    options.accepted = vec![place.unwrap().to_owned()];
    let capturing = Capturing::start_only(options, &stage.folder);
    let transactions = capturing.transactions(2).await;
    assert_eq!(transactions[1].changes.len(), 2);
    capturing.stop().await;
    SURPRISES.settle("end of a committed transaction lost from the log", flavor, REFUSED);
}

async fn without_checksums_only_what_cannot_be_is_noticed(flavor: Flavor) {
    let mut stage = Stage::start(flavor).await;
    stage.server.sql("SET GLOBAL binlog_checksum = NONE").await.unwrap();
    let mut log = stage.closed(WORK).await;
    assert!(!log.checksums);
    let at = log.last(INSERTS);
    let text = at.offset
        + log.bytes[at.offset..at.offset + at.size]
            .windows(7)
            .position(|it| it == b"damaged")
            .unwrap();
    log.bytes[text] ^= 0x01;
    log.write();
    let capturing = Capturing::start_only(stage.options(), &stage.folder);
    let transactions = capturing.transactions(2).await;
    let value = crate::capture::value(&transactions[1].changes[0], "text");
    assert_eq!(value, crate::capture::text("eamaged"));
    capturing.stop().await;
    SURPRISES.settle("flipped bit in a row, checksums off", flavor, NOT_NOTICED);
    // The highest bit of the length that the text's first byte is: more than the event holds.
    let mut log = stage.closed(WORK).await;
    let at = log.last(INSERTS);
    let body = at.offset
        + log.bytes[at.offset..at.offset + at.size]
            .windows(5)
            .position(|it| it == b"long ")
            .unwrap();
    log.bytes[body - 1] ^= 0x80;
    log.write();
    let words = stage.refusal(1).await;
    for part in [&log.transaction(at), "table note", "A damaged log"] {
        assert!(words.contains(part), "{part}: {words}");
    }
    SURPRISES.settle("flipped bit in a value's length, checksums off", flavor, REFUSED);
    stage.server.sql("SET GLOBAL binlog_checksum = CRC32").await.unwrap();
}

async fn a_flipped_bit_in_what_is_compressed_is_noticed(flavor: Flavor) {
    const ROW: &str = "flipped bit inside a compressed transaction or event";
    const UNCHECKED: &str = "flipped bit inside a compressed transaction or event, checksums off";
    let (on, kinds): (_, &[u8]) = match flavor {
        _ if flavor.is_new_mysql() => ("SET GLOBAL binlog_transaction_compression = ON", &[40]),
        _ if flavor.is_mariadb() => ("SET GLOBAL log_bin_compress = ON", INSERTS),
        _ => {
            SURPRISES.settle(ROW, flavor, NOT_THERE);
            SURPRISES.settle(UNCHECKED, flavor, NOT_THERE);
            return;
        }
    };
    let mut stage = Stage::start(flavor).await;
    stage.server.sql(on).await.unwrap();
    let mut log = stage.closed(WORK).await;
    let at = log.last(kinds);
    log.bytes[at.offset + at.size - 30] ^= 0x10;
    log.write();
    let words = stage.refusal(1).await;
    for part in [&log.transaction(at), "checksum mismatch", "A damaged log"] {
        assert!(words.contains(part), "{part}: {words}");
    }
    SURPRISES.settle(ROW, flavor, REFUSED);
    stage.server.sql("SET GLOBAL binlog_checksum = NONE").await.unwrap();
    let log = stage.closed(WORK).await;
    let (noticed, unnoticed) = flipped(&log, log.last(kinds));
    println!("{flavor}: of all bits of the compressed bytes, {noticed} noticed, {unnoticed} not");
    // How many depends on what is compressed: between a third and three quarters were seen.
    assert!(noticed * 10 > unnoticed, "much of it does not decompress");
    // zlib ends with a checksum of its own; MySQL's zstd frames have none.
    let cell = if unnoticed == 0 { REFUSED } else { NOT_NOTICED };
    assert_eq!(unnoticed == 0, is_mariadb(flavor));
    SURPRISES.settle(UNCHECKED, flavor, cell);
}

/// Flips every bit of the compressed part of an event, one at a time, and reads it: how many flips
/// are noticed, and how many change what is read without being noticed.
fn flipped(log: &LogFile, at: At) -> (usize, usize) {
    let start = log.events()[0];
    let mut decoder = Decoder::new(1 << 20);
    decoder.event(&log.bytes[start.offset..start.offset + start.size], false).unwrap();
    let whole = log.bytes[at.offset..at.offset + at.size].to_vec();
    let right = contents(&mut decoder, &whole).unwrap();
    // Before the compressed bytes stand lengths and the like: a zstd frame and a zlib stream begin so.
    let begins =
        |part: &[u8]| part.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) || part.starts_with(&[0x78]);
    let first = (HEADER..at.size).find(|at| begins(&whole[*at..])).unwrap();
    let (mut noticed, mut unnoticed) = (0, 0);
    for bit in first * 8..at.size * 8 {
        let mut bytes = whole.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        match contents(&mut decoder, &bytes) {
            Err(_) => noticed += 1,
            Ok(same) if same == right => {}
            Ok(_) => unnoticed += 1,
        }
    }
    (noticed, unnoticed)
}

/// What a compressed event holds, as far as it can be read.
fn contents(decoder: &mut Decoder, raw: &[u8]) -> Result<Vec<u8>, String> {
    let event = decoder.event(raw, false).map_err(|error| error.to_string())?;
    let mut all = Vec::new();
    match event.body {
        Body::TransactionPayload(payload) => {
            let mut reader = payload.reader(1 << 20).map_err(|error| error.to_string())?;
            let mut inner = Vec::new();
            while reader.read(&mut inner).map_err(|error| error.to_string())? {
                decoder.clone().event(&inner, true).map_err(|error| error.to_string())?;
                all.extend_from_slice(&inner);
            }
        }
        other => all.extend_from_slice(format!("{other:?}").as_bytes()),
    }
    Ok(all)
}

async fn an_event_of_a_type_from_the_future_is_refused_unless_it_may_be_ignored(flavor: Flavor) {
    let mut stage = Stage::start(flavor).await;
    if !is_mariadb(flavor) {
        stage.server.sql("SET GLOBAL binlog_rows_query_log_events = ON").await.unwrap();
    }
    let mut log = stage.closed(WORK).await;
    let at = log.last(INSERTS);
    let begins = log.transaction(at);
    log.bytes[at.offset + 4] = 120;
    log.sign(at);
    log.write();
    let words = stage.refusal(1).await;
    for part in [&begins, "type 120", "table note", "newer headwater"] {
        assert!(words.contains(part), "{part}: {words}");
    }
    SURPRISES.settle("event of a type from the future", flavor, REFUSED);
    let mut log = stage.closed(WORK).await;
    let at = log.last(TEXTS);
    log.bytes[at.offset + 4] = 120;
    log.bytes[at.offset + 17] |= 0x80;
    log.sign(at);
    log.write();
    let mut before = rows(&stage.server).await.unwrap();
    before.retain(|(_, uuid), _| !uuid.starts_with("a-"));
    stage.exact(before).await;
    let row = "event of a type from the future that may be ignored";
    SURPRISES.settle(row, flavor, EXACT);
}

async fn an_incident_is_refused_until_it_is_given_up(flavor: Flavor) {
    let mut stage = Stage::start(flavor).await;
    if !is_mariadb(flavor) {
        stage.server.sql("SET GLOBAL binlog_rows_query_log_events = ON").await.unwrap();
    }
    let mut log = stage.closed(WORK).await;
    let at = log.last(TEXTS);
    log.bytes[at.offset + 4] = 26;
    log.bytes[at.offset + 17] &= !0x80;
    let words = b"disk full";
    let body = at.offset + HEADER;
    log.bytes[body..body + 3].copy_from_slice(&[1, 0, words.len() as u8]);
    log.bytes[body + 3..body + 3 + words.len()].copy_from_slice(words);
    log.sign(at);
    log.write();
    let words = stage.refusal(1).await;
    let place = log.place(at);
    for part in [&place, "lost changes", "disk full", &format!("accept = [\"{place}\"]")] {
        assert!(words.contains(part), "{part}: {words}");
    }
    let mut options = stage.options();
    options.accepted = vec![place];
    let capturing = Capturing::start_only(options, &stage.folder);
    assert_eq!(capturing.transactions(2).await.len(), 2);
    capturing.stop().await;
    SURPRISES.settle("INCIDENT event", flavor, REFUSED);
}

on!(mysql_56_without_gtids, Mysql56, without_gtids_a_flipped_bit_is_noticed_by_place);
on_all!(
    a_flipped_bit_is_noticed_by_place,
    a_flipped_bit_in_another_event_is_noticed_by_place,
    a_flipped_bit_before_what_is_compressed_is_noticed,
    a_lost_end_of_a_committed_transaction_is_noticed,
    without_checksums_only_what_cannot_be_is_noticed,
    a_flipped_bit_in_what_is_compressed_is_noticed,
    an_event_of_a_type_from_the_future_is_refused_unless_it_may_be_ignored,
    an_incident_is_refused_until_it_is_given_up,
);
