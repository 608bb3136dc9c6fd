//! Tables altered in every way, while capture is current and while it is behind, with and without
//! column names in the log: the row before and the rows after arrive exactly, column by column, or
//! capture stops by name. `docs/surprises.md` has the outcome of each on each server.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use headwater::capture::Doing;
use headwater::change::Kind;
use headwater::schema_map::MapFile;
use headwater_rig::{Flavor, Server, ServerOptions};
use mysql_async::Conn;
use mysql_async::prelude::Queryable as _;
use tempfile::TempDir;

use crate::support::ledger::{EXACT, Ledger, NOT_THERE, REFUSED, column};
use crate::support::shown::{Columns, carried, named, rows};
use crate::support::{Capturing, capture_options, on, on_all};

mod list;

use list::{ALTERATIONS, Alteration};

const ONCE: Ledger = Ledger { file: "surprises.md", head: "alteration" };
const AND_BACK: Ledger = Ledger { file: "surprises.md", head: "alteration, and back" };

const DATABASE: &str = "clinic";
const WARD: &str = "CREATE TABLE ward (ward_id INT AUTO_INCREMENT PRIMARY KEY,
    uuid CHAR(36) NOT NULL UNIQUE) ENGINE = InnoDB;
    INSERT INTO ward (uuid) VALUES ('w-1'), ('w-2'), ('w-3')";
const TABLE: &str = "CREATE TABLE {t} (id INT AUTO_INCREMENT PRIMARY KEY,
    uuid CHAR(36) NOT NULL UNIQUE, one VARCHAR(20), two VARCHAR(20), ward_id INT, number INT,
    price DECIMAL(5,2), at DATETIME, state ENUM('a','b','c'), flags SET('x','y'), body TEXT,
    short CHAR(10), ratio FLOAT, small TINYINT, FOREIGN KEY (ward_id) REFERENCES ward (ward_id))
    ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4";
/// What the row before an alteration gets.
const BEFORE: &[(&str, &str)] = &[
    ("one", "'first'"),
    ("two", "'second'"),
    ("ward_id", "1"),
    ("number", "2"),
    ("price", "1.25"),
    ("at", "'2026-01-02 03:04:05'"),
    ("state", "'a'"),
    ("flags", "'x'"),
    ("body", "'caf\u{e9}'"),
    ("short", "'short'"),
    ("ratio", "0.5"),
    ("small", "3"),
];

/// How far behind capture is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Lag {
    /// It reads each transaction before the next.
    None,
    /// It begins to read after everything.
    Behind,
    /// The alteration is undone before it begins to read.
    BehindAndBack,
}

/// One change of one table, as it should be captured.
type Told = (Kind, String, Columns);

/// A table with its alteration, and what its log should come to.
struct Story {
    alteration: &'static Alteration,
    table: String,
    expected: Vec<Told>,
    refused: Option<String>,
}

/// All of them on one server, with one setting.
struct Stage<'a> {
    server: &'a Server,
    conn: Conn,
    folder: TempDir,
    map: Arc<MapFile>,
    capturing: Option<Capturing>,
    accepted: Vec<String>,
    /// Transactions that capture has to find.
    transactions: u64,
}

impl Stage<'_> {
    fn capture(&mut self) -> &Capturing {
        let mut options = capture_options(self.server, DATABASE, self.map.clone());
        options.accepted.clone_from(&self.accepted);
        self.capturing.insert(Capturing::start_only(options, &self.folder))
    }

    async fn rows(&mut self, table: &str) -> BTreeMap<String, Columns> {
        rows(&mut self.conn, table, "id", &[("ward_id", "ward", "ward_id")]).await.unwrap()
    }

    /// Runs one statement, and notes what it does to the story's rows.
    async fn run(&mut self, story: &mut Story, sql: &str, lag: Lag) {
        let sql = sql.replace("{t}", &story.table);
        let writes = ["INSERT INTO ", "UPDATE ", "DELETE FROM "]
            .iter()
            .any(|verb| sql.starts_with(&format!("{verb}{} ", story.table)));
        let before = if writes { self.rows(&story.table).await } else { BTreeMap::default() };
        let outcome = self.conn.query_drop(&sql).await;
        assert!(outcome.is_ok(), "{}: {:?}: {sql}", story.alteration.row, outcome.unwrap_err());
        if !writes {
            return;
        }
        let after = self.rows(&story.table).await;
        let uuids: BTreeSet<_> = before.keys().chain(after.keys()).cloned().collect();
        for uuid in uuids {
            match (before.get(&uuid), after.get(&uuid)) {
                (None, Some(row)) => story.expected.push((Kind::Insert, uuid, row.clone())),
                (Some(_), None) => story.expected.push((Kind::Delete, uuid, Columns::new())),
                (Some(old), Some(new)) if old != new => {
                    let changed = new.iter().filter(|(name, value)| old.get(*name) != Some(value));
                    let changed = changed.map(|(name, value)| (name.clone(), value.clone()));
                    story.expected.push((Kind::Update, uuid, changed.collect()));
                }
                (_, _) => {}
            }
        }
        assert_ne!(before, after, "{sql}");
        self.transactions += 1;
        if lag == Lag::None {
            self.capturing.as_ref().unwrap().until_head(self.transactions).await;
        }
    }

    async fn set(&mut self, story: &mut Story, set: &str, lag: Lag) {
        if !set.is_empty() {
            self.run(story, &format!("UPDATE {{t}} SET {set}"), lag).await;
        }
    }

    async fn tell(&mut self, story: &mut Story, lag: Lag) {
        let told = story.alteration;
        let usual = BEFORE.iter().filter(|(name, _)| told.before.is_none_or(|it| it.0 != *name));
        let set = usual.chain(&told.before).map(|(name, value)| format!("{name} = {value}"));
        let set = set.collect::<Vec<_>>().join(", ");
        let insert = format!("INSERT INTO {{t}} SET uuid = 'r-1', {set}");
        self.run(story, &insert, lag).await;
        self.set(story, told.ready, lag).await;
        if told.alter.contains(';') {
            for sql in told.alter.split(';') {
                self.run(story, sql.trim(), lag).await;
            }
        } else {
            self.run(story, &format!("ALTER TABLE {{t}} {}", told.alter), lag).await;
        }
        self.run(story, &format!("INSERT INTO {{t}} SET uuid = 'r-2', {}", told.after), lag).await;
        self.run(story, &format!("UPDATE {{t}} SET {} WHERE uuid = 'r-1'", told.after), lag).await;
        if lag != Lag::Behind {
            self.set(story, told.fit, lag).await;
            self.run(story, &format!("ALTER TABLE {{t}} {}", told.back), lag).await;
            self.set(story, told.last, lag).await;
        }
        self.run(story, "DELETE FROM {t} WHERE uuid = 'r-1'", lag).await;
    }

    /// Waits until capture has read everything, or stops for good: then for what.
    async fn read(&self) -> Option<String> {
        let capturing = self.capturing.as_ref().unwrap();
        for _ in 0..1200 {
            if let Doing::Stopped(words) = &capturing.state.borrow().doing {
                return Some(words.clone());
            }
            let found = all(capturing).await;
            if found.get("ward").is_some_and(|told| told.last().unwrap().1 == "the end") {
                return None;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        panic!("capture stays {:?}", capturing.state.borrow());
    }

    async fn stop(&mut self) {
        self.capturing.take().unwrap().stop().await;
    }
}

/// All changes captured, by table.
async fn all(capturing: &Capturing) -> BTreeMap<String, Vec<Told>> {
    let mut found: BTreeMap<String, Vec<Told>> = BTreeMap::new();
    for mut transaction in capturing.transactions(capturing.spool.head().0).await {
        // Rows of one statement, which are expected in the order of their uuids.
        transaction.changes.sort_by_key(|change| named(&change.identity));
        for change in transaction.changes {
            let table = change.shape.table.to_string();
            let told = (change.kind, named(&change.identity), carried(&change));
            found.entry(table).or_default().push(told);
        }
    }
    found
}

/// Tells all alterations with one setting of server and capture; what came of each.
async fn told_with(server: &Server, lag: Lag) -> Vec<(&'static str, &'static str)> {
    let flavor = server.flavor();
    let fresh = format!(
        "DROP DATABASE IF EXISTS {DATABASE}; CREATE DATABASE {DATABASE} CHARACTER SET utf8mb4;
         USE {DATABASE}; {WARD}"
    );
    server.sql(&fresh).await.unwrap();
    let mut map =
        "version = 1\n[defaults]\nidentity = \"uuid\"\n[classes.all]\ndirection = \"up\"\n\
        [tables]\nward = { class = \"all\" }\n"
            .to_owned();
    let mut stories = Vec::new();
    for (place, alteration) in ALTERATIONS.iter().enumerate().filter(|(_, it)| (it.on)(flavor)) {
        let table = format!("t{place:02}");
        let mut sql = TABLE.replace("{t}", &table);
        if !alteration.first.is_empty() {
            sql.push_str(&format!("; ALTER TABLE {table} {}", alteration.first));
        }
        server.sql_in(DATABASE, &sql).await.unwrap();
        map.push_str(&format!("{table} = {{ class = \"all\" }}\n"));
        stories.push(Story { alteration, table, expected: Vec::new(), refused: None });
    }
    let mut conn = server.conn(DATABASE).await.unwrap();
    conn.query_drop("SET time_zone = '+00:00'").await.unwrap();
    let mut stage = Stage {
        server,
        conn,
        folder: tempfile::tempdir().unwrap(),
        map: Arc::new(MapFile::parse(&map, "altered.toml").unwrap()),
        capturing: None,
        accepted: Vec::new(),
        transactions: 0,
    };
    stage.capture().until(|state| state.doing == Doing::Following).await;
    if lag != Lag::None {
        stage.stop().await;
    }
    for story in &mut stories {
        stage.tell(story, lag).await;
    }
    stage.conn.query_drop("INSERT INTO ward (uuid) VALUES ('the end')").await.unwrap();
    if lag != Lag::None {
        stage.capture();
    }
    while let Some(words) = stage.read().await {
        let story = stories.iter_mut().find(|it| words.contains(&format!("table {}:", it.table)));
        let story = story.unwrap_or_else(|| panic!("{words}"));
        assert_eq!(story.refused, None, "{words}");
        let place = words.split("accept = [\"").nth(1).unwrap().split('"').next().unwrap();
        assert!(place.starts_with("binlog.") && words.starts_with(place), "{words}");
        stage.accepted.push(place.to_owned());
        story.refused = Some(words);
        stage.stop().await;
        stage.capture();
    }
    let mut found = all(stage.capturing.as_ref().unwrap()).await;
    stage.stop().await;
    let outcome = |story: Story| {
        let found = found.remove(&story.table).unwrap_or_default();
        let row = story.alteration.row;
        let Some(words) = story.refused else {
            assert_eq!(found, story.expected, "{row} on {flavor}, {lag:?}");
            return (row, EXACT);
        };
        // What came before it is there, and nothing that is not so.
        assert_eq!(found.first(), story.expected.first(), "{row} on {flavor}, {lag:?}: {words}");
        let mut rest = story.expected.iter();
        for told in &found {
            let known = rest.any(|expected| expected == told);
            assert!(known, "{row} on {flavor}, {lag:?}: {told:?} of {:?}", story.expected);
        }
        // Given up until its next definition, it is read again from there on.
        assert_eq!(found.last(), story.expected.last(), "{row} on {flavor}, {lag:?}: {words}");
        (row, REFUSED)
    };
    stories.into_iter().map(outcome).collect()
}

/// What the log may be told to say about its columns.
fn metadata(flavor: Flavor) -> &'static [&'static str] {
    match flavor {
        _ if flavor.is_new_mysql() => &["FULL", "MINIMAL"],
        Flavor::Mysql56 | Flavor::Mysql57 => &[""],
        _ => &["FULL", "MINIMAL", "NO_LOG"],
    }
}

/// One cell: what came of it, by what the log says about its columns where that matters.
fn cell(outcomes: &[(&str, &str)]) -> String {
    let mut words: Vec<&str> = outcomes.iter().map(|(_, outcome)| *outcome).collect();
    words.dedup();
    if words.is_empty() {
        return NOT_THERE.to_owned();
    }
    if let [one] = words.as_slice() {
        return (*one).to_owned();
    }
    let with = |wanted: &str| {
        let found = outcomes.iter().filter(|(_, outcome)| *outcome == wanted);
        found.map(|(metadata, _)| *metadata).collect::<Vec<_>>().join(" and ")
    };
    format!("{EXACT} with {}, {REFUSED} with {}", with(EXACT), with(REFUSED))
}

async fn rows_are_read_with_the_definition_they_were_written_with(flavor: Flavor) {
    all_told(flavor, ServerOptions::default()).await;
}

/// The place where a table was defined anew is a file and an offset then, and nothing else.
async fn without_gtids_rows_are_read_with_the_definition_they_were_written_with(flavor: Flavor) {
    all_told(flavor, ServerOptions { gtid: false, ..ServerOptions::default() }).await;
}

async fn all_told(flavor: Flavor, options: ServerOptions) {
    let server = Server::start(flavor, options).await.unwrap();
    let mut once: BTreeMap<&str, Vec<(&str, &str)>> = BTreeMap::new();
    let mut and_back = once.clone();
    for metadata in metadata(flavor) {
        if !metadata.is_empty() {
            let sql = format!("SET GLOBAL binlog_row_metadata = {metadata}");
            server.sql(&sql).await.unwrap();
        }
        let (current, behind) =
            (told_with(&server, Lag::None).await, told_with(&server, Lag::Behind).await);
        // The rows before and after one alteration are told apart, whether or not capture is behind.
        assert_eq!(current, behind, "{flavor} with {metadata}");
        for (row, outcome) in current {
            once.entry(row).or_default().push((metadata, outcome));
        }
        for (row, outcome) in told_with(&server, Lag::BehindAndBack).await {
            and_back.entry(row).or_default().push((metadata, outcome));
        }
    }
    for (ledger, found) in [(ONCE, once), (AND_BACK, and_back)] {
        let known = |row| found.get(row).map_or(&[][..], Vec::as_slice);
        let cells = ALTERATIONS.iter().map(|it| (it.row.to_owned(), cell(known(it.row))));
        ledger.settle_all(column(flavor), &cells.collect::<Vec<_>>());
    }
}

on_all!(rows_are_read_with_the_definition_they_were_written_with);
on!(
    mysql_56_without_gtids,
    Mysql56,
    without_gtids_rows_are_read_with_the_definition_they_were_written_with
);

#[test]
fn every_alteration_of_the_docs_is_told() {
    for ledger in [ONCE, AND_BACK] {
        let told = |row: &str| ALTERATIONS.iter().any(|alteration| alteration.row == row);
        let untold = ledger.untold(told, &[]);
        assert!(untold.is_empty(), "docs/surprises.md has rows that no test tells: {untold:?}");
    }
}
