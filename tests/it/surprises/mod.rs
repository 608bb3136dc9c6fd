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
use crate::support::ledger::{EXACT, Ledger, NOT_THERE, REFUSED, column};
use crate::support::shown::{self, Columns, carried, named};
use crate::support::{Capturing, capture_options, on, on_all};

mod damage;
mod elsewhere;
mod gtids;
mod heads;
mod list;
mod rowless;
mod tables;

use list::{SURPRISES_TOLD, Surprise, everywhere, is_mariadb};

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

/// What the rows are after everything captured. Nothing is there twice, and nothing goes that is not there.
async fn replayed(mut rows: Rows, capturing: &Capturing) -> Rows {
    let head = capturing.spool.head().0;
    for transaction in capturing.transactions(head).await {
        for change in transaction.changes {
            let table = change.shape.table.to_string();
            let key = (table.clone(), named(&change.identity));
            match change.kind {
                Kind::Insert => {
                    let there = rows.insert(key, carried(&change));
                    assert!(there.is_none(), "{} was there already: {there:?}", change.identity);
                }
                Kind::Delete => {
                    let gone = rows.remove(&key);
                    assert!(gone.is_some(), "there was no {} to delete", change.identity);
                }
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
    let new = server.flavor().is_mysql_from(8, 4);
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
    let options = || headwater::capture::Options {
        harmless_databases: vec!["harmless".to_owned()],
        ..capture_options(server, DATABASE, map.clone())
    };
    let mut following = Some(Capturing::start(options(), &folder).await);
    if surprise.behind {
        following.take().unwrap().stop().await;
    }
    server.sql_in(DATABASE, BEFORE).await.unwrap();
    let begins = log_end(server).await;
    let happened = server.sql_in(DATABASE, sql).await;
    let mut capturing = following.unwrap_or_else(|| Capturing::start_only(options(), &folder));
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
        if let Doing::Stopped(words) = doing {
            if !surprise.past.is_empty() && words.contains(surprise.past) {
                capturing.stop().await;
                let (file, offset) = place(&words);
                let accepted = vec![format!("{file}:{offset}")];
                let options = headwater::capture::Options { accepted, ..options() };
                capturing = Capturing::start_only(options, &folder);
                continue;
            }
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
        if expected.as_ref().is_ok_and(|expected| differing(&found, expected).is_empty()) {
            break EXACT;
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
    let names = ServerOptions {
        row_metadata: flavor.names_columns().then_some("FULL"),
        ..ServerOptions::default()
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
        "another table given a column and a key that are called like a mapped table",
        "another table given a column and a key called like a mapped table while capture was behind, no names in the log",
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
        include_str!("heads.rs"),
    ];
    for ledger in [SURPRISES, WITHOUT_GTIDS] {
        let untold = ledger.untold(told, &sources);
        assert!(untold.is_empty(), "docs/surprises.md has rows that no test tells: {untold:?}");
        let empty = ledger.empty();
        assert!(empty.is_empty(), "docs/surprises.md does not say what became of {empty:?}");
    }
}
