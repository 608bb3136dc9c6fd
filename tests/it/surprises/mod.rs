//! What a log may hold beside plain inserts, updates and deletes: carried exactly, or refused by
//! place and name. `docs/surprises.md` has the outcome of each on each server.

use std::collections::BTreeMap;
use std::sync::Arc;

use headwater::capture::Doing;
use headwater::change::Kind;
use headwater::schema_map::MapFile;
use headwater_rig::{Flavor, Server, ServerOptions};
use mysql_async::prelude::Queryable as _;
use tempfile::TempDir;

use crate::definitions::Names;
use crate::support::ledger::{EXACT, LEFT_OUT, Ledger, NOT_THERE, REFUSED, column};
use crate::support::shown::{self, Columns, carried, named};
use crate::support::{Capturing, capture_options, on, on_all};

mod damage;
mod elsewhere;
mod gtids;
mod rowless;
mod tables;

pub(crate) const SURPRISES: Ledger = Ledger { file: "surprises.md", head: "surprise" };
/// What GTIDs do not allow, or what is otherwise without them.
pub(crate) const WITHOUT_GTIDS: Ledger =
    Ledger { file: "surprises.md", head: "surprise, without GTIDs" };

const DATABASE: &str = "clinic";
const MAP: &str = "version = 1\n[defaults]\nidentity = \"uuid\"\n[classes.all]\ndirection = \"up\"\n\
    [tables]\nnote = { class = \"all\" }\nward = { class = \"all\" }\n";
const TABLES: &str = "
    CREATE TABLE ward (ward_id INT AUTO_INCREMENT PRIMARY KEY, uuid CHAR(36) NOT NULL UNIQUE,
      text VARCHAR(200), body TEXT) ENGINE = InnoDB;
    CREATE TABLE note (note_id INT AUTO_INCREMENT PRIMARY KEY, uuid CHAR(36) NOT NULL UNIQUE,
      text VARCHAR(200), body TEXT, ward_id INT,
      FOREIGN KEY (ward_id) REFERENCES ward (ward_id)) ENGINE = InnoDB;
    CREATE TABLE loose (loose_id INT AUTO_INCREMENT PRIMARY KEY, text VARCHAR(200)) ENGINE = MyISAM;
    INSERT INTO ward (uuid, text) VALUES ('w-1', 'one'), ('w-2', 'two');
    INSERT INTO note (uuid, text, body, ward_id) VALUES ('n-1', 'a', 'long', 1), ('n-2', 'b', NULL, 2),
      ('n-3', 'c', 'long', 1);";

/// One surprise: the statements of one session, each `None` if this server lacks it.
struct Surprise {
    row: &'static str,
    sql: fn(Flavor) -> Option<&'static str>,
    /// What has to be put right for the next surprise.
    after: &'static str,
    /// Happens while capture is stopped.
    behind: bool,
    /// What a refusal speaks of.
    says: &'static str,
    /// Rows (`table uuid`) that are not carried because DDL brought or took them.
    left_out: &'static [&'static str],
}

const fn everywhere(row: &'static str, sql: fn(Flavor) -> Option<&'static str>) -> Surprise {
    Surprise { row, sql, after: "", behind: false, says: "table note", left_out: &[] }
}

impl Surprise {
    const fn after(self, after: &'static str) -> Surprise {
        Surprise { after, ..self }
    }

    const fn behind(self) -> Surprise {
        Surprise { behind: true, ..self }
    }

    const fn says(self, says: &'static str) -> Surprise {
        Surprise { says, ..self }
    }

    const fn left_out(self, left_out: &'static [&'static str]) -> Surprise {
        Surprise { left_out, ..self }
    }
}

fn is_mariadb(flavor: Flavor) -> bool {
    matches!(flavor, Flavor::Mariadb1011 | Flavor::Mariadb118)
}

const SURPRISES_TOLD: &[Surprise] = &[
    everywhere("update of several tables", |_| {
        Some(
            "UPDATE note JOIN ward USING (ward_id) SET note.text = 'joined', ward.text = 'joined'
             WHERE ward.uuid = 'w-1'",
        )
    }),
    everywhere("delete from several tables", |_| {
        Some(
            "INSERT INTO ward (uuid, text) VALUES ('w-3', 'three');
             INSERT INTO note (uuid, text, ward_id) SELECT 'n-9', 'gone', ward_id FROM ward
               WHERE uuid = 'w-3';
             SET foreign_key_checks = 0;
             DELETE note, ward FROM note JOIN ward USING (ward_id) WHERE ward.uuid = 'w-3'",
        )
    }),
    everywhere("REPLACE, and INSERT ... ON DUPLICATE KEY UPDATE", |_| {
        Some(
            "REPLACE INTO note (uuid, text) VALUES ('n-2', 'replaced'), ('n-4', 'new');
             INSERT INTO note (uuid, text) VALUES ('n-2', 'x'), ('n-5', 'new')
               ON DUPLICATE KEY UPDATE text = 'updated'",
        )
    }),
    everywhere("uuids exchanged between two rows", |_| {
        Some(
            "BEGIN; UPDATE note SET uuid = 'n-0' WHERE uuid = 'n-1';
             UPDATE note SET uuid = 'n-1' WHERE uuid = 'n-2';
             UPDATE note SET uuid = 'n-2' WHERE uuid = 'n-0'; COMMIT",
        )
    }),
    everywhere("trigger that writes another table", |_| {
            Some(
                "CREATE TRIGGER noted AFTER INSERT ON note FOR EACH ROW
                   UPDATE ward SET text = CONCAT('last ', NEW.uuid) WHERE uuid = 'w-2';
                 INSERT INTO note (uuid, text) VALUES ('n-6', 'triggers')",
            )
        })
    .after("DROP TRIGGER IF EXISTS noted"),
    everywhere("rollback to a savepoint", |_| {
        Some(
            "BEGIN; INSERT INTO note (uuid, text) VALUES ('s-1', 'kept'); SAVEPOINT here;
             INSERT INTO note (uuid, text) VALUES ('s-2', 'undone'); ROLLBACK TO here;
             INSERT INTO note (uuid, text) VALUES ('s-3', 'kept'); COMMIT",
        )
    }),
    everywhere("rollback to a savepoint after a MyISAM table was written", |_| {
        Some(
            "BEGIN; INSERT INTO note (uuid, text) VALUES ('s-4', 'kept'); SAVEPOINT here;
             INSERT INTO loose (text) VALUES ('stays');
             INSERT INTO note (uuid, text) VALUES ('s-5', 'undone'); ROLLBACK TO here;
             INSERT INTO note (uuid, text) VALUES ('s-6', 'kept'); COMMIT",
        )
    }),
    everywhere("rollback of a transaction that wrote a MyISAM table", |_| {
        Some(
            "BEGIN; INSERT INTO note (uuid, text) VALUES ('s-7', 'undone');
             INSERT INTO loose (text) VALUES ('stays'); ROLLBACK",
        )
    }),
    everywhere("XA transaction in one phase", |_| {
        Some(
            "XA START 'one'; INSERT INTO note (uuid, text) VALUES ('x-1', 'one phase');
             XA END 'one'; XA COMMIT 'one' ONE PHASE",
        )
    }),
    everywhere("XA transaction prepared and committed", |_| {
        Some(
            "XA START 'two'; INSERT INTO note (uuid, text) VALUES ('x-2', 'prepared');
             XA END 'two'; XA PREPARE 'two'; XA COMMIT 'two'",
        )
    }),
    everywhere("XA transaction prepared and rolled back", |_| {
        Some(
            "XA START 'three'; INSERT INTO note (uuid, text) VALUES ('x-3', 'prepared');
             XA END 'three'; XA PREPARE 'three'; XA ROLLBACK 'three'",
        )
    }),
    everywhere("TRUNCATE", |_| Some("TRUNCATE TABLE note")),
    everywhere("session in statement format", |_| {
        Some("SET SESSION binlog_format = STATEMENT; UPDATE note SET text = 's' WHERE uuid = 'n-1'")
    }),
    everywhere("session in mixed format", |_| {
        Some("SET SESSION binlog_format = MIXED; UPDATE note SET text = 'm' WHERE uuid = 'n-1'")
    }),
    everywhere("row image MINIMAL", |_| {
        Some(
            "SET SESSION binlog_row_image = MINIMAL;
             UPDATE note SET text = 'minimal' WHERE uuid = 'n-1'",
        )
    }),
    everywhere("row image NOBLOB", |_| {
        Some(
            "SET SESSION binlog_row_image = NOBLOB;
             UPDATE note SET text = 'noblob' WHERE uuid = 'n-1'",
        )
    }),
    everywhere("row image FULL_NODUP", |flavor| {
        (flavor == Flavor::Mariadb118).then_some(
            "SET SESSION binlog_row_image = FULL_NODUP;
             UPDATE note SET text = 'nodup' WHERE uuid = 'n-1'",
        )
    }),
    everywhere("partial JSON", |flavor| {
        (flavor == Flavor::Mysql97).then_some(
            "ALTER TABLE note ADD COLUMN facts JSON NULL;
             UPDATE note SET facts = '{\"a\": \"a long text to leave alone\", \"b\": 1}';
             SET SESSION binlog_row_value_options = PARTIAL_JSON;
             UPDATE note SET facts = JSON_SET(facts, '$.b', 2)",
        )
    }),
    everywhere("checksums switched off and on", |_| {
            Some(
                "SET GLOBAL binlog_checksum = NONE;
                 INSERT INTO note (uuid, text) VALUES ('c-1', 'unchecked');
                 SET GLOBAL binlog_checksum = CRC32;
                 INSERT INTO note (uuid, text) VALUES ('c-2', 'checked')",
            )
        })
    .after("SET GLOBAL binlog_checksum = CRC32"),
    everywhere("files of 4 KiB", |_| {
            Some(
                "SET GLOBAL max_binlog_size = 4096;
                 INSERT INTO ward (uuid, text, body) SELECT CONCAT('f-', note_id), 'f', REPEAT('f', 3000)
                   FROM note;
                 INSERT INTO note (uuid, text, body) VALUES ('f-1', 'f', REPEAT('f', 9000));
                 INSERT INTO note (uuid, text, body) VALUES ('f-2', 'f', REPEAT('f', 9000))",
            )
        })
    .after("SET GLOBAL max_binlog_size = 1073741824"),
    everywhere("FLUSH LOGS, and a purge of what has been read", |flavor| {
        Some(if is_mariadb(flavor) {
            "FLUSH BINARY LOGS; INSERT INTO note (uuid, text) VALUES ('p-1', 'flushed');
             FLUSH BINARY LOGS; PURGE BINARY LOGS BEFORE NOW();
             INSERT INTO note (uuid, text) VALUES ('p-2', 'purged')"
        } else {
            "FLUSH LOGS; INSERT INTO note (uuid, text) VALUES ('p-1', 'flushed');
             FLUSH LOGS; PURGE BINARY LOGS BEFORE NOW();
             INSERT INTO note (uuid, text) VALUES ('p-2', 'purged')"
        })
    }),
    everywhere("compressed transaction", |flavor| {
        (flavor == Flavor::Mysql97).then_some(
            "SET SESSION binlog_transaction_compression = ON; BEGIN;
             INSERT INTO note (uuid, text, body) VALUES ('z-1', 'z', REPEAT('z', 20000));
             UPDATE note SET body = REPEAT('y', 20000) WHERE uuid = 'z-1'; COMMIT",
        )
    }),
    everywhere("compressed events", |flavor| {
            is_mariadb(flavor).then_some(
                "SET GLOBAL log_bin_compress = ON; BEGIN;
                 INSERT INTO note (uuid, text, body) VALUES ('z-1', 'z', REPEAT('z', 20000));
                 UPDATE note SET body = REPEAT('y', 20000) WHERE uuid = 'z-1';
                 DELETE FROM note WHERE uuid = 'n-3'; COMMIT",
            )
        })
    .after("SET GLOBAL log_bin_compress = OFF"),
    everywhere("transactions in another replication domain", |flavor| {
        is_mariadb(flavor).then_some(
            "SET SESSION gtid_domain_id = 7; INSERT INTO note (uuid, text) VALUES ('d-1', 'seven');
             SET SESSION gtid_domain_id = 0; INSERT INTO note (uuid, text) VALUES ('d-2', 'zero')",
        )
    }),
    everywhere("tagged GTID", |flavor| {
        (flavor == Flavor::Mysql97).then_some(
            "SET SESSION gtid_next = 'AUTOMATIC:clinic';
             INSERT INTO note (uuid, text) VALUES ('g-1', 'tagged');
             SET SESSION gtid_next = 'AUTOMATIC'",
        )
    }),
    everywhere("column added and dropped between rows, names in the log", |flavor| {
        (flavor != Flavor::Mysql56).then_some(
            "ALTER TABLE ward ADD COLUMN extra INT NULL AFTER uuid;
             UPDATE ward SET extra = 1, text = 'extra' WHERE uuid = 'w-1';
             ALTER TABLE ward DROP COLUMN extra;
             UPDATE ward SET text = 'no extra' WHERE uuid = 'w-1'",
        )
    }),
    everywhere("rows of a partitioned table, partitions added and reorganised", |_| {
        Some(
            "SET foreign_key_checks = 0;
             ALTER TABLE note DROP FOREIGN KEY note_ibfk_1;
             ALTER TABLE note DROP INDEX uuid, ADD UNIQUE KEY (uuid, note_id);
             ALTER TABLE note PARTITION BY RANGE (note_id)
               (PARTITION p0 VALUES LESS THAN (10), PARTITION p1 VALUES LESS THAN (100));
             INSERT INTO note (note_id, uuid, text, body) VALUES (9, 'q-1', 'parted', 'b'),
               (50, 'q-2', 'parted', 'b');
             ALTER TABLE note ADD PARTITION (PARTITION p2 VALUES LESS THAN (1000));
             INSERT INTO note (note_id, uuid, text, ward_id) VALUES (500, 'q-3', 'added', 1);
             ALTER TABLE note REORGANIZE PARTITION p1 INTO
               (PARTITION p1a VALUES LESS THAN (30), PARTITION p1b VALUES LESS THAN (100));
             UPDATE note SET text = 'reorganised', body = NULL WHERE uuid IN ('n-1', 'q-2');
             UPDATE note SET note_id = 600, text = 'moved' WHERE uuid = 'q-1';
             ALTER TABLE note REBUILD PARTITION p0;
             ALTER TABLE note OPTIMIZE PARTITION p2;
             DELETE FROM note WHERE uuid = 'q-2';
             ALTER TABLE note REMOVE PARTITIONING;
             INSERT INTO note (uuid, text) VALUES ('q-4', 'whole')",
        )
    }),
    everywhere("TRUNCATE PARTITION", |_| {
        Some(
            "SET foreign_key_checks = 0;
             ALTER TABLE note DROP FOREIGN KEY note_ibfk_1;
             ALTER TABLE note DROP INDEX uuid, ADD UNIQUE KEY (uuid, note_id);
             ALTER TABLE note PARTITION BY HASH (note_id) PARTITIONS 3;
             INSERT INTO note (uuid, text) VALUES ('q-1', 'parted');
             ALTER TABLE note TRUNCATE PARTITION p1;
             UPDATE note SET text = 'parted' WHERE uuid = 'n-3'",
        )
    }),
    everywhere("DROP PARTITION", |_| {
        Some(
            "SET foreign_key_checks = 0;
             ALTER TABLE note DROP FOREIGN KEY note_ibfk_1;
             ALTER TABLE note DROP INDEX uuid, ADD UNIQUE KEY (uuid, note_id);
             ALTER TABLE note PARTITION BY RANGE (note_id)
               (PARTITION p0 VALUES LESS THAN (3), PARTITION p1 VALUES LESS THAN (100));
             INSERT INTO note (uuid, text) VALUES ('q-1', 'parted');
             ALTER TABLE note DROP PARTITION p0",
        )
    }),
];

/// All rows by table and uuid.
type Rows = BTreeMap<(String, String), Columns>;

async fn rows(server: &Server) -> mysql_async::Result<Rows> {
    let mut conn = server.conn(DATABASE).await.unwrap();
    let mut all = Rows::new();
    for (table, key) in [("note", "note_id"), ("ward", "ward_id")] {
        let references: &[_] =
            if table == "note" { &[("ward_id", "ward", "ward_id")] } else { &[] };
        let found = shown::rows(&mut conn, table, key, references).await?;
        all.extend(found.into_iter().map(|(uuid, row)| ((table.to_owned(), uuid), row)));
    }
    conn.disconnect().await.unwrap();
    Ok(all)
}

/// What the rows are after everything captured.
async fn replayed(mut rows: Rows, capturing: &Capturing) -> Rows {
    let head = capturing.spool.head().0;
    for transaction in capturing.transactions(head).await {
        for change in transaction.changes {
            let table = change.shape.table.to_string();
            let key = (table.clone(), named(&change.identity));
            match change.kind {
                Kind::Insert => drop(rows.insert(key, carried(&change))),
                Kind::Delete => drop(rows.remove(&key)),
                Kind::Update => {
                    let before = change.previous.as_ref().unwrap_or(&change.identity);
                    let old = rows.remove(&(table, named(before)));
                    let mut row = old.unwrap_or_else(|| panic!("no row {before} to update"));
                    row.extend(carried(&change));
                    rows.insert(key, row);
                }
            }
        }
    }
    rows
}

/// The file and the offset where a server's log ends.
async fn log_end(server: &Server) -> (String, u64) {
    let mut conn = server.conn("").await.unwrap();
    let new = server.flavor() == Flavor::Mysql97;
    let show = if new { "SHOW BINARY LOG STATUS" } else { "SHOW MASTER STATUS" };
    let row: mysql_async::Row = conn.query_first(show).await.unwrap().unwrap();
    conn.disconnect().await.unwrap();
    (row.get(0).unwrap(), row.get(1).unwrap())
}

/// The place that a refusal begins with.
fn place(words: &str) -> (String, u64) {
    let (file, rest) = words.split_once(':').unwrap_or_else(|| panic!("{words}"));
    let offset = rest.split(':').next().and_then(|offset| offset.parse().ok());
    (file.to_owned(), offset.unwrap_or_else(|| panic!("{words}")))
}

/// What comes before every surprise.
const BEFORE: &str = "INSERT INTO ward (uuid, text, body) VALUES ('w-before', 'before', 'all')";

/// Lets one surprise happen to a server that capture follows; what came of it.
async fn outcome(server: &Server, map: &Arc<MapFile>, surprise: &Surprise, sql: &str) -> String {
    let folder = TempDir::new().unwrap();
    let before = rows(server).await.unwrap();
    let options = || capture_options(server, DATABASE, map.clone());
    let mut following = Some(Capturing::start(options(), &folder).await);
    if surprise.behind {
        following.take().unwrap().stop().await;
    }
    server.sql_in(DATABASE, BEFORE).await.unwrap();
    let begins = log_end(server).await;
    let happened = server.sql_in(DATABASE, sql).await;
    let capturing = following.unwrap_or_else(|| Capturing::start_only(options(), &folder));
    if let Err(error) = happened {
        capturing.stop().await;
        assert!(!surprise.behind, "{}: {error:#}", surprise.row);
        // What this server does not know, or what GTIDs or the engine do not allow.
        let words = format!("{error:#}");
        let lacks = ["variable", "GTID", "DELAYED"].iter().any(|word| words.contains(word));
        assert!(lacks, "{}: {words}", surprise.row);
        return NOT_THERE.to_owned();
    }
    let ends = log_end(server).await;
    let marker = "INSERT INTO ward (uuid, text) VALUES (UUID(), 'the end')";
    server.sql_in(DATABASE, marker).await.unwrap();
    let expected = rows(server).await.map_err(|error| error.to_string());
    let mut tries = 0;
    let found = loop {
        let doing = capturing.state.borrow().doing.clone();
        // A database that is just being made again is asked for once more.
        let again = |words: &str| !surprise.left_out.is_empty() && words.contains("no database");
        if let Doing::Stopped(words) = doing
            && !again(&words)
        {
            for part in [surprise.says, "accept = [\""] {
                assert!(words.contains(part), "{}: {words}", surprise.row);
            }
            let place = place(&words);
            // MariaDB 11.8 does not count the texts of statements, which it does not send.
            let counts = server.flavor() != Flavor::Mariadb118 || place.0 > begins.0;
            let after = place >= begins || !counts && place.0 == begins.0;
            assert!(after && place < ends, "{}: {begins:?} to {ends:?}: {words}", surprise.row);
            let found = replayed(before, &capturing).await;
            let kept = found.contains_key(&("ward".to_owned(), "w-before".to_owned()));
            assert!(kept, "{}: what came before is not there: {found:?}", surprise.row);
            break REFUSED;
        }
        let found = replayed(before.clone(), &capturing).await;
        if expected.as_ref().is_ok_and(|expected| differing(&found, expected) == surprise.left_out)
        {
            break if surprise.left_out.is_empty() { EXACT } else { LEFT_OUT };
        }
        tries += 1;
        assert!(tries < 600, "{}: {found:?}\ninstead of {expected:?}", surprise.row);
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    };
    capturing.stop().await;
    found.to_owned()
}

/// The columns that the tables have from the beginning.
const COLUMNS: &[&str] = &["text", "body", "ward_id"];

/// The rows that are not the same in every column that there is. A new column's default in rows
/// from before it is NULL here, and a dropped one's values are nobody's concern.
fn differing(found: &Rows, expected: &Rows) -> Vec<String> {
    let keys: std::collections::BTreeSet<_> = found.keys().chain(expected.keys()).collect();
    let differing = keys.into_iter().filter(|key| match (found.get(*key), expected.get(*key)) {
        (Some(found), Some(expected)) => {
            expected.iter().any(|(column, value)| match found.get(column) {
                Some(found) => found != value,
                None => value.is_some() || COLUMNS.contains(&column.as_str()),
            })
        }
        (None, _) | (_, None) => true,
    });
    differing.map(|(table, uuid)| format!("{table} {uuid}")).collect()
}

/// All stories that are told one after the other on one server.
fn all_told() -> impl Iterator<Item = &'static Surprise> {
    SURPRISES_TOLD.iter().chain(rowless::TOLD).chain(tables::TOLD)
}

async fn told_on(server: &Server, wanted: fn(&Surprise, Flavor) -> bool) -> Vec<(String, String)> {
    let flavor = server.flavor();
    server.sql(&format!("CREATE DATABASE {DATABASE} CHARACTER SET utf8mb4")).await.unwrap();
    let map = Arc::new(MapFile::parse(MAP, "surprises.toml").unwrap());
    let mut cells = Vec::new();
    for surprise in all_told().filter(|surprise| wanted(surprise, flavor)) {
        cells.push((surprise.row.to_owned(), told_once(server, &map, surprise).await));
    }
    cells
}

/// Tells one story on fresh tables, and gives its cell.
async fn told_once(server: &Server, map: &Arc<MapFile>, surprise: &Surprise) -> String {
    let flavor = server.flavor();
    let cell = match (surprise.sql)(flavor) {
        None => NOT_THERE.to_owned(),
        Some(sql) => {
            let fresh = format!(
                "SET foreign_key_checks = 0; DROP TABLE IF EXISTS note, ward, loose; {TABLES}"
            );
            server.sql_in(DATABASE, &fresh).await.unwrap();
            let cell = outcome(server, map, surprise, sql).await;
            if !surprise.after.is_empty() {
                server.sql_in(DATABASE, surprise.after).await.unwrap();
            }
            cell
        }
    };
    println!("{} on {flavor}: {cell}", surprise.row);
    cell
}

async fn surprises_are_carried_exactly_or_refused_by_place(flavor: Flavor) {
    let names = match flavor {
        Flavor::Mysql56 => ServerOptions::default(),
        _ => ServerOptions::default().with("--binlog-row-metadata=FULL"),
    };
    let server = Server::start(flavor, names).await.unwrap();
    let cells = told_on(&server, |_, _| true).await;
    SURPRISES.settle_all(column(flavor), &cells);
}

/// Whether GTIDs do not allow it, or the server does not have it.
fn is_not_there(surprise: &Surprise, flavor: Flavor) -> bool {
    SURPRISES.cell(surprise.row, flavor) == NOT_THERE
}

/// What GTIDs do not allow is there without them; all else is as it is with them.
async fn surprises_without_gtids_come_to_the_same(flavor: Flavor) {
    let options = ServerOptions { gtid: false, ..ServerOptions::default() };
    let server = Server::start(flavor, options).await.unwrap();
    // Where each step of this is known for a server with GTIDs, the same code reads the log.
    let wanted = if flavor == Flavor::Mysql56 { |_: &Surprise, _| true } else { is_not_there };
    let mut cells = told_on(&server, wanted).await;
    for (row, cell) in &cells {
        let known = SURPRISES.cell(row, flavor);
        assert!(*cell == known || known == NOT_THERE, "{row}: {cell}, with GTIDs {known}");
    }
    cells.retain(|(row, cell)| *cell != SURPRISES.cell(row, flavor));
    WITHOUT_GTIDS.settle_all(column(flavor), &cells);
}

/// Those of the definitions that are told once more while capture is behind, with no names in the log:
/// by which row, and as which.
const BEHIND_WITHOUT_NAMES: &[(&str, &str)] = &[
    (
        "rows of a partitioned table, partitions added and reorganised",
        "rows of a partitioned table while capture was behind, no names in the log",
    ),
    (
        "table renamed away, another renamed to its name",
        "table renamed away, another renamed to its name while capture was behind, no names in the log",
    ),
    (
        "CREATE OR REPLACE TABLE",
        "CREATE OR REPLACE TABLE while capture was behind, no names in the log",
    ),
];

async fn definitions_behind_and_without_names_come_to_the_same(flavor: Flavor) {
    let server = Server::start(flavor, Names::Missing.options(flavor)).await.unwrap();
    server.sql(&format!("CREATE DATABASE {DATABASE} CHARACTER SET utf8mb4")).await.unwrap();
    let map = Arc::new(MapFile::parse(MAP, "surprises.toml").unwrap());
    for (row, behind) in BEHIND_WITHOUT_NAMES {
        let told = all_told().find(|surprise| surprise.row == *row).unwrap();
        let again = Surprise { row: behind, behind: true, ..*told };
        let cell = told_once(&server, &map, &again).await;
        SURPRISES.settle(behind, flavor, &cell);
    }
}

on!(mysql_without_gtids, Mysql97, surprises_without_gtids_come_to_the_same);
on!(mysql_56_without_gtids, Mysql56, surprises_without_gtids_come_to_the_same);
on_all!(
    surprises_are_carried_exactly_or_refused_by_place,
    definitions_behind_and_without_names_come_to_the_same,
);

#[test]
fn every_row_of_the_docs_is_told_by_a_test() {
    let told = |row: &str| {
        all_told().any(|surprise| surprise.row == row)
            || BEHIND_WITHOUT_NAMES.iter().any(|(_, behind)| *behind == row)
    };
    let sources = [
        include_str!("../definitions.rs"),
        include_str!("../redefined.rs"),
        include_str!("../identities.rs"),
        include_str!("damage.rs"),
        include_str!("gtids.rs"),
        include_str!("elsewhere.rs"),
    ];
    for ledger in [SURPRISES, WITHOUT_GTIDS] {
        let untold = ledger.untold(told, &sources);
        assert!(untold.is_empty(), "docs/surprises.md has rows that no test tells: {untold:?}");
        let empty = ledger.empty();
        assert!(empty.is_empty(), "docs/surprises.md does not say what became of {empty:?}");
    }
}
