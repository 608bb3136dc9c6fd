//! What a server changes without logging it, and what it logs otherwise than it is asked: cascades,
//! names in other letters, log files that are encrypted on the disk, and one larger than 4 GiB.

use std::fs::{self, File};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::sync::Arc;
use std::time::Duration;

use headwater::capture::Doing;
use headwater::schema_map::MapFile;
use headwater_rig::{Flavor, Server, ServerOptions};

use super::{DATABASE, MAP, SURPRISES, TABLES, WITHOUT_GTIDS, all_told, log_end};
use crate::support::ledger::{EXACT, NOT_THERE, NOT_TRIED, REFUSED};
use crate::support::shown as seen;
use crate::support::{Capturing, capture_options, on, on_all, skipped};
use crate::types::ends::{Ends, shown};

const WARD: &str = "CREATE TABLE ward (ward_id INT AUTO_INCREMENT PRIMARY KEY,
    uuid CHAR(36) NOT NULL UNIQUE, text VARCHAR(20)) ENGINE = InnoDB";

fn child_of_ward(table: &str, action: &str) -> String {
    format!(
        "CREATE TABLE {table} ({table}_id INT AUTO_INCREMENT PRIMARY KEY,
           uuid CHAR(36) NOT NULL UNIQUE, text VARCHAR(20), ward_id INT,
           FOREIGN KEY (ward_id) REFERENCES ward (ward_id) {action}) ENGINE = InnoDB"
    )
}

/// How many rows a table has, which are the same at both ends but for their numbers.
async fn rows_at_both(ends: &Ends, table: &str) -> usize {
    let mut what = vec!["text".to_owned()];
    if table != "ward" {
        what.push(format!("(SELECT ward.uuid FROM ward WHERE ward.ward_id = {table}.ward_id)"));
    }
    let here = shown(&ends.child, table, &what).await;
    assert_eq!(here, shown(&ends.parent, table, &what).await, "{table}");
    here.len()
}

async fn cascades_come_to_the_same_at_a_parent_with_the_same_keys(flavor: Flavor) {
    let mut ends = Ends::start(flavor, flavor).await;
    let note = child_of_ward("note", "ON DELETE CASCADE ON UPDATE CASCADE");
    let card = child_of_ward("card", "ON DELETE SET NULL ON UPDATE CASCADE");
    for (name, sql) in [("ward", WARD), ("note", &note), ("card", &card)] {
        ends.table_by(name, sql, sql).await;
    }
    // Local numbers differ.
    ends.parent.sql_in("kinds", "ALTER TABLE ward AUTO_INCREMENT = 5000").await.unwrap();
    ends.run().await;
    let work = [
        "INSERT INTO ward (uuid, text) VALUES ('w-1', 'goes'), ('w-2', 'stays')",
        "INSERT INTO note (uuid, text, ward_id) VALUES ('n-1', 'goes', 1), ('n-2', 'stays', 2)",
        "INSERT INTO card (uuid, text, ward_id) VALUES ('c-1', 'loses it', 1), ('c-2', 'keeps', 2)",
        "UPDATE ward SET ward_id = 77 WHERE uuid = 'w-2'",
        "UPDATE note SET text = 'moved along' WHERE uuid = 'n-2'",
        "DELETE FROM ward WHERE uuid = 'w-1'",
        "UPDATE card SET text = 'after' WHERE uuid IN ('c-1', 'c-2')",
    ];
    for sql in work {
        ends.child.sql_in("kinds", sql).await.unwrap();
    }
    // The change of a local number is none to anybody else, unless the server logs what follows it.
    let nothing = usize::from(!flavor.is_mysql_from(9, 6));
    for _ in 0..work.len() - nothing {
        ends.carry_all().await;
    }
    for (table, count) in [("ward", 1), ("note", 1), ("card", 2)] {
        assert_eq!(rows_at_both(&ends, table).await, count, "{table}");
    }
    ends.stop().await;
    SURPRISES.settle("ON DELETE CASCADE and SET NULL, the parent's keys alike", flavor, EXACT);
}

/// A server that cascades in its SQL layer does nothing to what refers to a row whose key comes
/// back; the others cascade at once, and so does the parent.
async fn what_refers_to_a_row_replaced_is_the_same_at_both_ends(flavor: Flavor) {
    let mut ends = Ends::start(flavor, flavor).await;
    let note = child_of_ward("note", "ON DELETE CASCADE");
    let card = child_of_ward("card", "ON DELETE SET NULL");
    let slip = child_of_ward("slip", "");
    for (name, sql) in [("ward", WARD), ("note", &note), ("card", &card), ("slip", &slip)] {
        ends.table_by(name, sql, sql).await;
    }
    ends.parent.sql_in("kinds", "ALTER TABLE ward AUTO_INCREMENT = 5000").await.unwrap();
    ends.run().await;
    let kept = flavor.is_mysql_from(9, 6);
    let mut work = vec![
        "INSERT INTO ward (uuid, text) VALUES ('w-1', ''), ('w-2', ''), ('w-3', ''), ('w-4', '')",
        "INSERT INTO note (uuid, ward_id) VALUES ('n-1', 1), ('n-2', 2), ('n-3', 3), ('n-4', 4)",
        "INSERT INTO card (uuid, ward_id) VALUES ('c-1', 1), ('c-2', 2), ('c-3', 3), ('c-4', 4)",
        "REPLACE INTO ward (ward_id, uuid, text) VALUES (1, 'w-1', 'as it was called')",
        "REPLACE INTO ward (ward_id, uuid, text) VALUES (2, 'w-2b', 'called otherwise')",
        "REPLACE INTO ward (uuid, text) VALUES ('w-3', 'in another place')",
        "INSERT INTO note (uuid, ward_id) VALUES ('n-5', 2)",
        "UPDATE note SET text = 'after' WHERE uuid IN ('n-2', 'n-5')",
        "REPLACE INTO ward (ward_id, uuid, text) VALUES (1, 'w-1', 'one'), (9, 'w-9', 'new'),
           (2, 'w-2c', 'two')",
        "REPLACE INTO ward (ward_id, uuid, text) VALUES (1, 'w-4', 'for two')",
    ];
    // Elsewhere the keys that forbid it are in the way of REPLACE too.
    work.extend(kept.then_some("INSERT INTO slip (uuid, ward_id) VALUES ('s-1', 9)"));
    work.extend(kept.then_some("REPLACE INTO ward (ward_id, uuid) VALUES (9, 'w-9')"));
    // And what is only deleted takes its own along.
    work.push("DELETE FROM ward WHERE uuid = 'w-2c'");
    let both = "DELETE note, ward FROM note JOIN ward USING (ward_id) WHERE ward.uuid = 'w-4'";
    work.extend(kept.then_some(both));
    let replaced = work.iter().position(|sql| sql.contains("'w-4', 'for two'")).unwrap();
    for (number, sql) in work.into_iter().enumerate() {
        ends.child.sql_in("kinds", sql).await.unwrap();
        ends.carry_all().await;
        if number == replaced {
            let notes = shown(&ends.parent, "note", &["uuid".to_owned()]).await;
            assert_eq!(notes.iter().any(|row| row.0 == "n-1"), kept, "{notes:?}");
        }
    }
    for table in ["ward", "note", "card", "slip"] {
        rows_at_both(&ends, table).await;
    }
    ends.stop().await;
    SURPRISES.settle("REPLACE of a row that others refer to", flavor, EXACT);
}

async fn a_database_is_found_under_its_name_in_other_letters(flavor: Flavor) {
    if flavor.is_new_mysql() {
        // Takes another data folder than tests start from; it logs such names as the others do.
        return;
    }
    let options = ServerOptions::default().with("--lower-case-table-names=1");
    let server = Server::start(flavor, options).await.unwrap();
    server.sql("CREATE DATABASE CLINIC CHARACTER SET utf8mb4").await.unwrap();
    server.sql_in("Clinic", TABLES).await.unwrap();
    let map = Arc::new(MapFile::parse(MAP, "letters.toml").unwrap());
    let folder = tempfile::tempdir().unwrap();
    let capturing = Capturing::start(capture_options(&server, "Clinic", map), &folder).await;
    server.sql("INSERT INTO CLINIC.NOTE (uuid, text) VALUES ('l-1', 'letters')").await.unwrap();
    let transactions = capturing.transactions(1).await;
    assert_eq!(transactions[0].changes[0].shape.table.to_string(), "note");
    server.sql("TRUNCATE TABLE cliniC.Note").await.unwrap();
    capturing.until(|state| matches!(state.doing, Doing::Stopped(_))).await;
    capturing.stop().await;
}

async fn an_encrypted_log_is_sent_in_clear(flavor: Flavor) {
    const ROW: &str = "log encrypted on the disk";
    if matches!(flavor, Flavor::Mysql56 | Flavor::Mysql57) {
        SURPRISES.settle(ROW, flavor, NOT_THERE);
        return;
    }
    let server = match Server::start_with_encrypted_log(flavor, ServerOptions::default()).await {
        Ok(Some(server)) => server,
        Ok(None) => {
            skipped("plugin", &format!("{ROW} on {flavor}"));
            if SURPRISES.cell(ROW, flavor) != EXACT {
                SURPRISES.settle(ROW, flavor, NOT_TRIED);
            }
            return;
        }
        Err(error) => panic!("{error:#}"),
    };
    server.sql(&format!("CREATE DATABASE {DATABASE} CHARACTER SET utf8mb4")).await.unwrap();
    server.sql_in(DATABASE, TABLES).await.unwrap();
    let map = Arc::new(MapFile::parse(MAP, "encrypted.toml").unwrap());
    let folder = tempfile::tempdir().unwrap();
    let options = || capture_options(&server, DATABASE, map.clone());
    Capturing::start(options(), &folder).await.stop().await;
    let work = "INSERT INTO note (uuid, text) VALUES ('e-1', 'a secret of the clinic')";
    server.sql_in(DATABASE, work).await.unwrap();
    server.sql("FLUSH LOGS").await.unwrap();
    for entry in fs::read_dir(server.data()).unwrap() {
        let path = entry.unwrap().path();
        if path.file_name().unwrap().to_string_lossy().starts_with("binlog.0") {
            let bytes = fs::read(&path).unwrap();
            let clear = bytes.windows(22).any(|part| part == b"a secret of the clinic");
            assert!(!clear, "{} is not encrypted", path.display());
        }
    }
    let capturing = Capturing::start_only(options(), &folder);
    let transactions = capturing.transactions(1).await;
    let value = crate::capture::value(&transactions[0].changes[0], "text");
    assert_eq!(value, crate::capture::text("a secret of the clinic"));
    server.sql_in(DATABASE, "UPDATE note SET text = 'after' WHERE uuid = 'e-1'").await.unwrap();
    assert_eq!(capturing.transactions(2).await.len(), 2);
    capturing.stop().await;
    SURPRISES.settle(ROW, flavor, EXACT);
}

/// Bytes of one event that may be ignored, and how many make more than 4 GiB.
const FILLER_BYTES: u32 = 60 << 20;
const FILLERS: u64 = 72;

/// Puts more than 4 GiB that every reader may ignore before the last transaction of a closed log
/// file: holes of the disk, so that it costs no writing.
fn stretch(path: &std::path::Path, at: u64) {
    let mut file = File::options().read(true).write(true).open(path).unwrap();
    let mut tail = Vec::new();
    file.seek(SeekFrom::Start(at)).unwrap();
    file.read_to_end(&mut tail).unwrap();
    let mut header = [0; 19];
    header.copy_from_slice(&tail[..19]);
    header[4] = 120;
    header[9..13].copy_from_slice(&FILLER_BYTES.to_le_bytes());
    header[17..19].copy_from_slice(&0x80_u16.to_le_bytes());
    for filler in 0..FILLERS {
        let start = at + filler * u64::from(FILLER_BYTES);
        let end = (start + u64::from(FILLER_BYTES)) as u32;
        header[13..17].copy_from_slice(&end.to_le_bytes());
        file.seek(SeekFrom::Start(start)).unwrap();
        file.write_all(&header).unwrap();
    }
    let mut offset = at + FILLERS * u64::from(FILLER_BYTES);
    file.seek(SeekFrom::Start(offset)).unwrap();
    let mut rest = tail.as_mut_slice();
    while rest.len() > 19 {
        let size = u32::from_le_bytes(rest[9..13].try_into().unwrap());
        offset += u64::from(size);
        if rest[13..17] != [0; 4] {
            rest[13..17].copy_from_slice(&(offset as u32).to_le_bytes());
        }
        rest = &mut rest[size as usize..];
    }
    file.write_all(&tail).unwrap();
}

async fn a_log_file_of_more_than_4_gib_is_read_to_its_end(flavor: Flavor) {
    more_than_4_gib(flavor, true).await;
    SURPRISES.settle("log file of more than 4 GiB", flavor, EXACT);
}

/// Read to its end in one go; no offset beyond 4 GiB can be asked for again.
async fn without_gtids_a_log_file_of_more_than_4_gib_is_refused_by_place(flavor: Flavor) {
    more_than_4_gib(flavor, false).await;
    WITHOUT_GTIDS.settle("log file of more than 4 GiB", flavor, REFUSED);
}

async fn more_than_4_gib(flavor: Flavor, gtid: bool) {
    let options = ServerOptions { gtid, ..ServerOptions::default() };
    let options = options.with("--binlog-checksum=NONE");
    let server = Server::start(flavor, options).await.unwrap();
    server.sql(&format!("CREATE DATABASE {DATABASE} CHARACTER SET utf8mb4")).await.unwrap();
    server.sql_in(DATABASE, TABLES).await.unwrap();
    let map = Arc::new(MapFile::parse(MAP, "large.toml").unwrap());
    let folder = tempfile::tempdir().unwrap();
    let options = || capture_options(&server, DATABASE, map.clone());
    Capturing::start(options(), &folder).await.stop().await;
    let insert = |uuid: &str| format!("INSERT INTO note (uuid, text) VALUES ('{uuid}', 'x')");
    server.sql_in(DATABASE, &insert("v-1")).await.unwrap();
    let (file, at) = log_end(&server).await;
    server.sql_in(DATABASE, &insert("v-2")).await.unwrap();
    server.sql_in(DATABASE, "TRUNCATE TABLE note; FLUSH LOGS").await.unwrap();
    stretch(&server.data().join(&file), at);
    // Read to its end, and read on from there by another connection.
    for again in [false, true] {
        let capturing = Capturing::start_only(options(), &folder);
        let mut state = capturing.state.clone();
        let stopped = state.wait_for(|state| matches!(state.doing, Doing::Stopped(_)));
        let stopped = tokio::time::timeout(Duration::from_mins(10), stopped).await.unwrap();
        let Doing::Stopped(words) = stopped.unwrap().doing.clone() else { unreachable!() };
        if again && !gtid {
            for part in [&file, "beyond 4 GiB", "switch GTIDs on"] {
                assert!(words.contains(part), "{words}");
            }
            assert_eq!(capturing.spool.head().0, 2);
            capturing.stop().await;
            continue;
        }
        let offset = words.strip_prefix(&format!("{file}:")).and_then(|it| it.split(':').next());
        let offset: u64 = offset.unwrap_or_else(|| panic!("{words}")).parse().unwrap();
        assert!(offset > at + FILLERS * u64::from(FILLER_BYTES), "{words}");
        assert!(words.contains("TRUNCATE"), "{words}");
        assert_eq!(capturing.spool.head().0, 2);
        let position = capturing.spool.position().await.unwrap().unwrap();
        assert!(position.offset > 1 << 32, "{position}");
        capturing.stop().await;
    }
}

/// What is done in an order that matters arrives so at the parent: every column of every row.
async fn the_order_within_a_transaction_is_kept_at_the_parent(flavor: Flavor) {
    let mut ends = Ends::start(flavor, flavor).await;
    let tables: Vec<&str> = TABLES.split(';').collect();
    let made = |name: &str| {
        let sql = tables.iter().find(|sql| sql.contains(&format!("CREATE TABLE {name} ")));
        (*sql.unwrap()).to_owned()
    };
    for name in ["ward", "note"] {
        ends.table_by(name, &made(name), &made(name)).await;
    }
    for name in ["ward", "note"] {
        // Local numbers differ.
        let sql = format!("ALTER TABLE {name} AUTO_INCREMENT = 5000");
        ends.parent.sql_in("kinds", &sql).await.unwrap();
    }
    ends.run().await;
    let rows = TABLES.split(';').filter(|sql| sql.contains("INSERT INTO"));
    let mut work: Vec<String> = rows.map(ToOwned::to_owned).collect();
    for row in [
        "update of several tables",
        "uuids exchanged between two rows",
        "REPLACE, and INSERT ... ON DUPLICATE KEY UPDATE",
        "delete from several tables",
        "rollback to a savepoint",
        "XA transaction in one phase",
        "LOW_PRIORITY, HIGH_PRIORITY, QUICK and IGNORE",
    ] {
        let surprise = all_told().find(|surprise| surprise.row == row).unwrap();
        work.push((surprise.sql)(flavor).unwrap().to_owned());
    }
    work.extend(
        [
            // Three in a circle, by a name that is free for a moment.
            "BEGIN; UPDATE note SET uuid = 'x' WHERE uuid = 'n-1';
             UPDATE note SET uuid = 'n-1' WHERE uuid = 'n-2';
             UPDATE note SET uuid = 'n-2' WHERE uuid = 'n-4';
             UPDATE note SET uuid = 'n-4', text = 'round' WHERE uuid = 'x'; COMMIT",
            // A name given up and taken again, and one taken from a row that goes.
            "BEGIN; DELETE FROM note WHERE uuid = 'n-5';
             INSERT INTO note (uuid, text, body, ward_id) VALUES ('n-5', 'again', NULL, 2);
             DELETE FROM note WHERE uuid = 'n-4'; UPDATE note SET uuid = 'n-4' WHERE uuid = 'n-2';
             INSERT INTO note (uuid, text) VALUES ('n-2', 'other'); COMMIT",
            // A row that is referred to is made, used, and used no more before it goes.
            "BEGIN; INSERT INTO ward (uuid, text) VALUES ('w-9', 'for a moment');
             INSERT INTO note (uuid, text, ward_id) SELECT 'm-1', 'moved', ward_id FROM ward
               WHERE uuid = 'w-9';
             UPDATE note SET ward_id = 2 WHERE uuid = 'm-1';
             UPDATE ward SET text = 'goes' WHERE uuid = 'w-9'; DELETE FROM ward WHERE uuid = 'w-9';
             COMMIT",
        ]
        .map(ToOwned::to_owned),
    );
    for (step, sql) in work.iter().enumerate() {
        ends.child.sql_in("kinds", sql).await.unwrap();
        let marker = format!("INSERT INTO ward (uuid, text) VALUES ('step-{step}', 'done')");
        ends.child.sql_in("kinds", &marker).await.unwrap();
        let arrived = format!("SELECT text FROM ward WHERE uuid = 'step-{step}'");
        while ends.parent.ask("kinds", &arrived).await.unwrap().is_none() {
            ends.carry_all().await;
        }
        for (table, key) in [("note", "note_id"), ("ward", "ward_id")] {
            let references: &[_] =
                if table == "note" { &[("ward_id", "ward", "ward_id")] } else { &[] };
            let mut both = Vec::new();
            for server in [&ends.child, &ends.parent] {
                let mut conn = server.conn("kinds").await.unwrap();
                both.push(seen::rows(&mut conn, table, key, references).await.unwrap());
            }
            assert_eq!(both[0], both[1], "{table} after {sql}");
        }
    }
    ends.stop().await;
}

on!(mysql_without_gtids, Mysql97, without_gtids_a_log_file_of_more_than_4_gib_is_refused_by_place);
on!(
    mysql_56_without_gtids,
    Mysql56,
    without_gtids_a_log_file_of_more_than_4_gib_is_refused_by_place
);
on_all!(
    the_order_within_a_transaction_is_kept_at_the_parent,
    cascades_come_to_the_same_at_a_parent_with_the_same_keys,
    what_refers_to_a_row_replaced_is_the_same_at_both_ends,
    a_database_is_found_under_its_name_in_other_letters,
    an_encrypted_log_is_sent_in_clear,
    a_log_file_of_more_than_4_gib_is_read_to_its_end,
);
