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
use crate::support::{Capturing, capture_options, on_all};

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

/// One way of altering a table, called `{t}`.
struct Alteration {
    row: &'static str,
    on: fn(Flavor) -> bool,
    /// Specifications that come before capture begins.
    first: &'static str,
    /// What the row before it gets beside the usual, or instead of it.
    before: Option<(&'static str, &'static str)>,
    /// What makes that row fit the new definition.
    ready: &'static str,
    /// The statements, separated by semicolons; or specifications of an `ALTER TABLE`.
    alter: &'static str,
    /// What rows get after it.
    after: &'static str,
    /// What makes them fit the former definition.
    fit: &'static str,
    /// Specifications that undo it.
    back: &'static str,
    /// What they get after that.
    last: &'static str,
}

const fn altered(
    row: &'static str,
    alter: &'static str,
    after: &'static str,
    back: &'static str,
) -> Alteration {
    Alteration {
        row,
        on: |_| true,
        first: "",
        before: None,
        ready: "",
        alter,
        after,
        fit: "",
        back,
        last: "one = 'last', two = 'of all', number = 9",
    }
}

impl Alteration {
    const fn first(self, first: &'static str) -> Alteration {
        Alteration { first, ..self }
    }

    const fn before(self, column: &'static str, value: &'static str) -> Alteration {
        Alteration { before: Some((column, value)), ..self }
    }

    const fn ready(self, ready: &'static str) -> Alteration {
        Alteration { ready, ..self }
    }

    const fn fit(self, fit: &'static str) -> Alteration {
        Alteration { fit, ..self }
    }

    const fn last(self, last: &'static str) -> Alteration {
        Alteration { last, ..self }
    }

    const fn on(self, on: fn(Flavor) -> bool) -> Alteration {
        Alteration { on, ..self }
    }
}

const ALTERATIONS: &[Alteration] = &[
    altered(
        "two columns of one type change places",
        "MODIFY one VARCHAR(20) AFTER two",
        "one = 'eins', two = 'zwei'",
        "MODIFY one VARCHAR(20) AFTER uuid",
    ),
    altered(
        "two columns of one type change names",
        "CHANGE one two VARCHAR(20), CHANGE two one VARCHAR(20)",
        "one = 'eins', two = 'zwei'",
        "CHANGE one two VARCHAR(20), CHANGE two one VARCHAR(20)",
    ),
    altered(
        "a reference and a number change places",
        "MODIFY ward_id INT AFTER number",
        "ward_id = 2, number = 1",
        "MODIFY ward_id INT AFTER two",
    )
    .last("ward_id = 3, number = 2"),
    altered(
        "identity and another column of its type change places",
        "MODIFY uuid CHAR(36) NOT NULL AFTER other",
        "other = 'o-2'",
        "MODIFY uuid CHAR(36) NOT NULL AFTER id",
    )
    .first("ADD COLUMN other CHAR(36) NOT NULL AFTER uuid")
    .before("other", "'o-1'")
    .last("other = 'o-3'"),
    altered(
        "local key and a number change places",
        "MODIFY id INT AUTO_INCREMENT AFTER number, MODIFY number INT FIRST",
        "number = 77",
        "MODIFY id INT AUTO_INCREMENT FIRST, MODIFY number INT AFTER ward_id",
    ),
    altered(
        "column moved to the front",
        "MODIFY number INT FIRST",
        "number = 77, one = 'eins'",
        "MODIFY number INT AFTER ward_id",
    ),
    altered(
        "column added before one of its type",
        "ADD COLUMN more VARCHAR(20) AFTER uuid",
        "more = 'mehr', one = 'eins'",
        "DROP COLUMN more",
    ),
    altered(
        "column added, another of its type dropped",
        "DROP COLUMN two, ADD COLUMN more VARCHAR(20) AFTER uuid",
        "more = 'mehr', one = 'eins'",
        "DROP COLUMN more, ADD COLUMN two VARCHAR(20) AFTER one",
    ),
    altered(
        "column dropped",
        "DROP COLUMN one",
        "two = 'zwei'",
        "ADD COLUMN one VARCHAR(20) AFTER uuid",
    ),
    altered(
        "column renamed",
        "CHANGE one uno VARCHAR(20)",
        "uno = 'eins'",
        "CHANGE uno one VARCHAR(20)",
    ),
    altered("INT made BIGINT", "MODIFY number BIGINT", "number = -9000000000", "MODIFY number INT")
        .fit("number = 1"),
    altered(
        "INT made INT UNSIGNED",
        "MODIFY number INT UNSIGNED",
        "number = 4000000000",
        "MODIFY number INT",
    )
    .fit("number = 1")
    .last("number = -9"),
    altered(
        "INT UNSIGNED made INT",
        "MODIFY number INT",
        "number = -5",
        "MODIFY number INT UNSIGNED",
    )
    .first("MODIFY number INT UNSIGNED")
    .before("number", "4000000000")
    .ready("number = 5")
    .fit("number = 1")
    .last("number = 4000000001"),
    altered("TINYINT made SMALLINT", "MODIFY small SMALLINT", "small = -300", "MODIFY small TINYINT")
        .fit("small = 1"),
    altered("FLOAT made DOUBLE", "MODIFY ratio DOUBLE", "ratio = 0.1", "MODIFY ratio FLOAT"),
    altered(
        "DECIMAL(5,2) made DECIMAL(9,4)",
        "MODIFY price DECIMAL(9,4)",
        "price = 12345.6789",
        "MODIFY price DECIMAL(5,2)",
    )
    .fit("price = 1"),
    altered(
        "DATETIME made DATETIME(6)",
        "MODIFY at DATETIME(6)",
        "at = '2026-01-02 03:04:05.123456'",
        "MODIFY at DATETIME",
    )
    .fit("at = '2026-01-02 03:04:05'"),
    altered(
        "DATETIME made TIMESTAMP",
        "MODIFY at TIMESTAMP NULL",
        "at = '2026-02-03 04:05:06'",
        "MODIFY at DATETIME",
    ),
    altered(
        "VARCHAR(20) made VARCHAR(300)",
        "MODIFY one VARCHAR(300)",
        "one = REPEAT('\u{fc}', 300), two = 'zwei'",
        "MODIFY one VARCHAR(20)",
    )
    .fit("one = '1'"),
    altered("INT made VARCHAR", "MODIFY number VARCHAR(20)", "number = 'seven'", "MODIFY number INT")
        .fit("number = '1'"),
    altered("VARCHAR made INT", "MODIFY one INT", "one = -13", "MODIFY one VARCHAR(20)")
        .ready("one = '12'"),
    altered(
        "VARCHAR made VARBINARY",
        "MODIFY one VARBINARY(20)",
        "one = x'00FF', two = 'zwei'",
        "MODIFY one VARCHAR(20)",
    )
    .fit("one = 'fits'"),
    altered("CHAR made CHAR(200)", "MODIFY short CHAR(200)", "short = REPEAT('\u{fc}', 200)", "MODIFY short CHAR(10)")
        .fit("short = 's'"),
    altered("TEXT made BLOB", "MODIFY body BLOB", "body = x'00FF'", "MODIFY body TEXT")
        .fit("body = 'fits'")
        .last("body = '\u{fc}'"),
    altered("BLOB made TEXT", "MODIFY body TEXT", "body = '\u{fc}'", "MODIFY body BLOB")
        .first("MODIFY body BLOB")
        .before("body", "x'00FF'")
        .ready("body = 'text'")
        .last("body = x'00FF'"),
    altered(
        "VARCHAR of another character set",
        "MODIFY one VARCHAR(20) CHARACTER SET latin1",
        "one = '\u{fc}'",
        "MODIFY one VARCHAR(20) CHARACTER SET utf8mb4",
    )
    .last("one = '\u{20ac}'"),
    altered(
        "TEXT of another character set",
        "MODIFY body TEXT CHARACTER SET latin1",
        "body = '\u{fc}'",
        "MODIFY body TEXT CHARACTER SET utf8mb4",
    )
    .last("body = '\u{20ac}'"),
    altered(
        "table converted to another character set",
        "CONVERT TO CHARACTER SET latin1",
        "one = '\u{fc}', body = '\u{fc}', short = '\u{fc}'",
        "CONVERT TO CHARACTER SET utf8mb4",
    )
    .last("one = '\u{20ac}', body = '\u{20ac}', short = '\u{20ac}'"),
    altered(
        "members of an ENUM reordered",
        "MODIFY state ENUM('c','b','a')",
        "state = 'c'",
        "MODIFY state ENUM('a','b','c')",
    )
    .last("state = 'b'"),
    altered(
        "member put before those of an ENUM",
        "MODIFY state ENUM('new','a','b','c')",
        "state = 'b'",
        "MODIFY state ENUM('a','b','c')",
    )
    .last("state = 'c'"),
    altered(
        "members of a SET reordered",
        "MODIFY flags SET('y','x')",
        "flags = 'y'",
        "MODIFY flags SET('x','y')",
    )
    .last("flags = 'x,y'"),
    altered(
        "VARCHAR made VARCHAR COMPRESSED",
        "MODIFY one VARCHAR(200) COMPRESSED",
        "one = REPEAT('\u{fc}', 150), two = 'zwei'",
        "MODIFY one VARCHAR(20)",
    )
    .on(Flavor::is_mariadb)
    .fit("one = 'fits'"),
    altered(
        "UUID made BINARY(16)",
        "MODIFY ident BINARY(16)",
        "ident = x'00112233445566778899AABBCCDDEEFF'",
        "MODIFY ident UUID",
    )
    .on(Flavor::is_mariadb)
    .first("ADD COLUMN ident UUID")
    .before("ident", "'6ccd780c-baba-1026-9564-5b8c656024db'")
    .fit("ident = NULL")
    .last("ident = '6ccd780c-baba-1026-9564-5b8c656024dc'"),
    altered(
        "BINARY(16) made INET6",
        "MODIFY ident INET6",
        "ident = '2001:db8::ff00:42:8329'",
        "MODIFY ident BINARY(16)",
    )
    .on(Flavor::is_mariadb)
    .first("ADD COLUMN ident BINARY(16)")
    .before("ident", "x'00112233445566778899AABBCCDDEEFF'")
    .last("ident = x'00112233445566778899AABBCCDDEE00'"),
    altered(
        "swapped for its copy, as gh-ost does it",
        "CREATE TABLE _{t}_gho LIKE {t};
         ALTER TABLE _{t}_gho MODIFY one VARCHAR(20) AFTER two, ADD COLUMN more INT AFTER id;
         CREATE TABLE _{t}_ghc (id BIGINT AUTO_INCREMENT PRIMARY KEY, hint VARCHAR(64)) ENGINE = InnoDB;
         INSERT INTO _{t}_ghc (hint) VALUES ('copying');
         INSERT IGNORE INTO _{t}_gho (id, uuid, one, two, ward_id, number, price, at, state, flags,
           body, short, ratio, small)
           SELECT id, uuid, one, two, ward_id, number, price, at, state, flags, body, short, ratio,
             small FROM {t} FORCE INDEX (PRIMARY) LOCK IN SHARE MODE;
         UPDATE {t} SET two = 'while it is copied';
         REPLACE INTO _{t}_gho (id, uuid, one, two, ward_id, number, price, at, state, flags, body,
           short, ratio, small)
           SELECT id, uuid, one, two, ward_id, number, price, at, state, flags, body, short, ratio,
             small FROM {t};
         CREATE TABLE _{t}_del (id INT AUTO_INCREMENT PRIMARY KEY) ENGINE = InnoDB
           COMMENT = 'ghost-cut-over-sentry';
         DROP TABLE IF EXISTS _{t}_del;
         RENAME TABLE {t} TO _{t}_del, _{t}_gho TO {t};
         DROP TABLE _{t}_ghc;
         DROP TABLE _{t}_del",
        "one = 'eins', two = 'zwei', more = 4, number = 1, ward_id = 2",
        "MODIFY one VARCHAR(20) AFTER uuid, DROP COLUMN more",
    ),
    altered(
        "swapped for its copy, as pt-online-schema-change does it",
        "CREATE TABLE _{t}_new LIKE {t};
         ALTER TABLE _{t}_new ADD CONSTRAINT _{t}_ward FOREIGN KEY (ward_id) REFERENCES ward (ward_id),
           MODIFY one VARCHAR(20) AFTER two, ADD COLUMN more INT AFTER id;
         CREATE TRIGGER pt_osc_{t}_del AFTER DELETE ON {t} FOR EACH ROW
           DELETE IGNORE FROM _{t}_new WHERE _{t}_new.id <=> OLD.id;
         CREATE TRIGGER pt_osc_{t}_upd AFTER UPDATE ON {t} FOR EACH ROW
           REPLACE INTO _{t}_new (id, uuid, one, two, ward_id, number)
             VALUES (NEW.id, NEW.uuid, NEW.one, NEW.two, NEW.ward_id, NEW.number);
         CREATE TRIGGER pt_osc_{t}_ins AFTER INSERT ON {t} FOR EACH ROW
           REPLACE INTO _{t}_new (id, uuid, one, two, ward_id, number)
             VALUES (NEW.id, NEW.uuid, NEW.one, NEW.two, NEW.ward_id, NEW.number);
         INSERT INTO {t} SET uuid = 'r-t', one = 'trigger', two = 'before the copy', number = 5;
         INSERT LOW_PRIORITY IGNORE INTO _{t}_new (id, uuid, one, two, ward_id, number)
           SELECT id, uuid, one, two, ward_id, number FROM {t} LOCK IN SHARE MODE;
         UPDATE {t} SET two = 'while it is copied';
         DELETE FROM {t} WHERE uuid = 'r-t';
         RENAME TABLE {t} TO _{t}_old, _{t}_new TO {t};
         DROP TABLE IF EXISTS _{t}_old;
         DROP TRIGGER IF EXISTS pt_osc_{t}_del;
         DROP TRIGGER IF EXISTS pt_osc_{t}_upd;
         DROP TRIGGER IF EXISTS pt_osc_{t}_ins",
        "one = 'eins', two = 'zwei', more = 4, number = 1, ward_id = 2",
        "MODIFY one VARCHAR(20) AFTER uuid, DROP COLUMN more",
    ),
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
        Flavor::Mysql97 => &["FULL", "MINIMAL"],
        Flavor::Mysql56 => &[""],
        Flavor::Mariadb1011 | Flavor::Mariadb118 => &["FULL", "MINIMAL", "NO_LOG"],
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
    let server = Server::start(flavor, ServerOptions::default()).await.unwrap();
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

#[test]
fn every_alteration_of_the_docs_is_told() {
    for ledger in [ONCE, AND_BACK] {
        let told = |row: &str| ALTERATIONS.iter().any(|alteration| alteration.row == row);
        let untold = ledger.untold(told, &[]);
        assert!(untold.is_empty(), "docs/surprises.md has rows that no test tells: {untold:?}");
    }
}
