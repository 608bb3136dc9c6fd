//! What the target's own tables do to what arrives: columns altered while it runs, computed ones,
//! triggers, keys of bits, rows that only their values tell apart.

use std::borrow::Cow;

use headwater::apply::State;
use headwater::change::{Change, Identity, Kind};
use headwater::schema_map::MapFile;
use headwater::value::Value;

use super::on_both;
use super::stage::*;

on_both!(
    a_column_made_narrower_while_it_runs_rounds_nothing,
    a_value_for_a_column_that_is_computed_here_is_quarantined,
    triggers_for_inserts_are_not_told_of_updates,
    rows_are_found_by_bits_and_long_decimals,
    rows_without_a_key_are_found_by_their_json,
    rows_called_by_all_they_hold_are_not_found_by_a_key,
    rows_without_a_key_are_found_by_text_of_any_character_set,
    a_row_that_came_and_was_set_aside_is_not_asked_for_again,
    rows_that_follow_a_plain_column_follow_it_here_too,
    long_keys_that_maria_db_keeps_by_hashes_find_no_other_row,
    a_long_chain_is_retried_to_its_end,
);

/// A database of one table, mapped by `entry`.
async fn own(stage: &Stage, table: &str, entry: &str) -> Stage {
    let database = format!("own_{}", uuid().replace('-', ""));
    let server = stage.server;
    server.sql(&format!("CREATE DATABASE {database} CHARACTER SET utf8mb4")).await.unwrap();
    server.sql_in(&database, table).await.unwrap();
    let map = format!(
        "version = 1\n[defaults]\nidentity = \"uuid\"\n[classes.all]\ndirection = \"up\"\n[tables]\n\
         sample = {entry}\n"
    );
    let map = MapFile::parse(&map, "own.toml").unwrap();
    let stage = Stage::with_map_alone(stage.flavor, server, &database, map).await;
    assert!(stage.map.tables.contains_key("sample"), "{:?}", stage.map.problems);
    stage
}

async fn asked(stage: &Stage, query: &str) -> Option<String> {
    stage.server.ask(&stage.database, query).await.unwrap()
}

fn decimal(digits: &str) -> Value<'static> {
    Value::Decimal(Cow::Owned(digits.to_owned()))
}

async fn a_column_made_narrower_while_it_runs_rounds_nothing(stage: Stage) {
    let table = "CREATE TABLE sample (id INT AUTO_INCREMENT PRIMARY KEY,
        uuid CHAR(36) NOT NULL UNIQUE, amount DECIMAL(20, 6), at DATETIME(6), word VARCHAR(20))";
    let stage = own(&stage, table, "{ class = \"all\" }").await;
    let row = |id: &str| {
        let values = vec![
            ("amount", decimal("1.005000")),
            ("at", time("2020-01-01 00:00:00.500000")),
            ("word", text("long  ")),
        ];
        insert("sample", id, values)
    };
    stage.send(&[vec![row("before")]]).await;
    for (number, narrower) in
        ["amount DECIMAL(20, 2)", "at DATETIME", "word VARCHAR(4)"].iter().enumerate()
    {
        let column = narrower.split(' ').next().unwrap();
        stage
            .server
            .sql_in(&stage.database, "SET sql_mode = ''; UPDATE sample SET word = 'w'")
            .await
            .unwrap();
        let alter = format!("SET sql_mode = ''; ALTER TABLE sample MODIFY {narrower}");
        stage.server.sql_in(&stage.database, &alter).await.unwrap();
        let report = stage.try_send(&[vec![row(&format!("narrower {column}"))]]).await.unwrap();
        assert_eq!((report.parked, report.quarantined), (0, 1), "{narrower}: {report:?}");
        let waiting = stage.waiting(State::Quarantined).await;
        assert_eq!(waiting.len(), number + 1);
        assert!(waiting[number].reason.contains(column), "{narrower}: {waiting:?}");
        let wider = match column {
            "amount" => "amount DECIMAL(20, 6)",
            "at" => "at DATETIME(6)",
            _ => "word VARCHAR(20)",
        };
        let alter = format!("ALTER TABLE sample MODIFY {wider}");
        stage.server.sql_in(&stage.database, &alter).await.unwrap();
    }
    // As wide as before, it takes them.
    for waiting in stage.waiting(State::Quarantined).await {
        assert_eq!(stage.applier.retry(waiting.id).await.unwrap().unwrap().released, 1);
    }
    stage.send(&[vec![row("after")]]).await;
    let equal = "SELECT COUNT(*) FROM sample WHERE uuid <> 'before' AND amount = 1.005 AND \
                 at = '2020-01-01 00:00:00.5' AND LENGTH(word) = 6";
    assert_eq!(asked(&stage, equal).await.as_deref(), Some("4"));
}

async fn a_value_for_a_column_that_is_computed_here_is_quarantined(stage: Stage) {
    let table = "CREATE TABLE sample (id INT AUTO_INCREMENT PRIMARY KEY,
        uuid CHAR(36) NOT NULL UNIQUE, a INT, twice INT AS (a * 2) STORED)";
    let stage = own(&stage, table, "{ class = \"all\" }").await;
    stage.send(&[vec![insert("sample", "plain", vec![("a", Value::Int(1))])]]).await;
    let values = vec![("a", Value::Int(1)), ("twice", Value::Int(7))];
    let report = stage.try_send(&[vec![insert("sample", "own", values)]]).await.unwrap();
    assert_eq!((report.parked, report.quarantined), (0, 1), "{report:?}");
    let waiting = stage.waiting(State::Quarantined).await;
    assert!(waiting[0].reason.contains("column twice of sample is computed here"), "{waiting:?}");
}

async fn triggers_for_inserts_are_not_told_of_updates(stage: Stage) {
    let table = "CREATE TABLE sample (id INT AUTO_INCREMENT PRIMARY KEY,
          uuid CHAR(36) NOT NULL UNIQUE, a INT NOT NULL, b INT);
        CREATE TABLE told (a INT);
        CREATE TRIGGER made BEFORE INSERT ON sample FOR EACH ROW INSERT INTO told VALUES (NEW.a)";
    let stage = own(&stage, table, "{ class = \"all\" }").await;
    let rows: Vec<Row> = (1..=9)
        .map(|number| insert("sample", &format!("s{number}"), vec![("a", Value::Int(number))]))
        .collect();
    stage.send(&[rows]).await;
    let changed: Vec<Row> = (1..=9)
        .map(|number| update("sample", &format!("s{number}"), vec![("b", Value::Int(number))]))
        .collect();
    stage.send(&[changed]).await;
    assert_eq!(asked(&stage, "SELECT SUM(b) FROM sample").await.as_deref(), Some("45"));
    let told = "SELECT CONCAT(COUNT(*), ' ', SUM(a)) FROM told";
    assert_eq!(asked(&stage, told).await.as_deref(), Some("9 45"));
}

async fn rows_are_found_by_bits_and_long_decimals(stage: Stage) {
    let table = "CREATE TABLE sample (flag BIT(9), code DECIMAL(30, 2), a INT,
        PRIMARY KEY (flag, code))";
    let stage = own(&stage, table, "{ class = \"all\", identity = [\"flag\", \"code\"] }").await;
    let named = |kind: Kind, flag: u64, code: &str, a: i64| {
        let identity = Identity::Many(vec![Value::UInt(flag), decimal(code)]);
        let values = if kind == Kind::Delete { Vec::new() } else { vec![("a", Value::Int(a))] };
        change(kind, "sample", identity, values)
    };
    // Alike in all the digits that a double has.
    let (one, other) = ("12345678901234567890.01", "12345678901234567890.02");
    for (flag, code) in [(1, one), (1, other), (258, one), (258, other)] {
        stage.send(&[vec![named(Kind::Insert, flag, code, 1)]]).await;
    }
    stage.send(&[vec![named(Kind::Update, 1, one, 5), named(Kind::Update, 258, other, 6)]]).await;
    stage.send(&[vec![named(Kind::Delete, 258, one, 0)]]).await;
    let all =
        "SELECT GROUP_CONCAT(CONCAT_WS(' ', flag + 0, code, a) ORDER BY flag, code) FROM sample";
    let expected = format!("1 {one} 5,1 {other} 1,258 {other} 6");
    assert_eq!(asked(&stage, all).await, Some(expected));
}

async fn rows_without_a_key_are_found_by_their_json(stage: Stage) {
    let table = "CREATE TABLE sample (a INT, doc JSON, price DECIMAL(30, 2))";
    let stage = own(&stage, table, "{ class = \"all\", identity = { whole_row = true } }").await;
    let row = |doc: &str, a: i64| {
        let doc = Value::Json(Cow::Owned(doc.to_owned()));
        Identity::Many(vec![Value::Int(a), doc, decimal("12345678901234567890.01")])
    };
    let first = r#"{"a": 2, "b": [1.5, "é", null]}"#;
    let parts = ["a", "doc", "price"];
    let of = |kind, doc: &str, a| change(kind, "sample", row(doc, a), naming(&parts));
    stage
        .send(&[vec![
            of(Kind::Insert, first, 1),
            of(Kind::Insert, first, 1),
            of(Kind::Insert, "[1]", 1),
        ]])
        .await;
    stage.send(&[vec![of(Kind::Delete, first, 1)]]).await;
    let renamed = Change { previous: Some(row("[1]", 1)), ..of(Kind::Update, "[1]", 2) };
    stage.send(&[vec![renamed]]).await;
    let all = "SELECT CONCAT(COUNT(*), ' ', SUM(a)) FROM sample";
    assert_eq!(asked(&stage, all).await.as_deref(), Some("2 3"));
    // Made again after its delete it is there once, whether it was there before or not.
    for a in [1, 9] {
        let again = [of(Kind::Delete, first, a), of(Kind::Insert, first, a)];
        stage.send(&[again.to_vec()]).await;
    }
    assert_eq!(asked(&stage, all).await.as_deref(), Some("3 12"));
    // One that is not here waits, and is not asked for: it would come as one more.
    let renamed = Change { previous: Some(row("[7]", 7)), ..of(Kind::Update, "[7]", 8) };
    let report = stage.try_send(&[vec![renamed]]).await.unwrap();
    assert_eq!((report.parked, report.wanted.len()), (1, 0), "{report:?}");
    assert!(stage.applier.wanted(stage.peer.node, 10).await.unwrap().is_empty());
}

/// A key that the server counts is this database's own, whether the source has one or not.
async fn rows_called_by_all_they_hold_are_not_found_by_a_key(stage: Stage) {
    let table = "CREATE TABLE sample (b INT, id INT AUTO_INCREMENT PRIMARY KEY, a INT)";
    let stage = own(&stage, table, "{ class = \"all\", identity = { whole_row = true } }").await;
    let row = |a: i64, b: i64| Identity::Many(vec![Value::Int(a), Value::Int(b)]);
    let of = |kind, a, b| change(kind, "sample", row(a, b), naming(&["a", "b"]));
    let rows = [(1, 2), (2, 3), (3, 4), (4, 1), (4, 1)];
    stage.send(&[rows.iter().map(|(a, b)| of(Kind::Insert, *a, *b)).collect()]).await;
    let all = "SELECT GROUP_CONCAT(CONCAT_WS(' ', id, a, b) ORDER BY id) FROM sample";
    assert_eq!(asked(&stage, all).await.as_deref(), Some("1 1 2,2 2 3,3 3 4,4 4 1,5 4 1"));
    stage.send(&[vec![of(Kind::Delete, 2, 3), of(Kind::Delete, 4, 1)]]).await;
    let moved = Change { previous: Some(row(3, 4)), ..of(Kind::Update, 3, 9) };
    stage.send(&[vec![moved]]).await;
    let left = asked(&stage, all).await.unwrap();
    assert!(left == "1 1 2,3 3 9,5 4 1" || left == "1 1 2,3 3 9,4 4 1", "{left}");
    // Of other columns nothing is taken for these.
    let named = |a: i64, names: &[&str]| change(Kind::Insert, "sample", row(a, 0), naming(names));
    let others =
        [named(21, &["a", "c"]), named(22, &["b", "a"]), named(23, &["a"]), named(24, &[])];
    let report = stage.try_send(&[others.to_vec()]).await.unwrap();
    assert_eq!((report.parked, report.quarantined), (1, 3), "{report:?}");
    let waiting = stage.waiting(State::Quarantined).await;
    let expected = "which is (b, a) at its source and (a, b) here";
    assert!(waiting.iter().any(|held| held.reason.contains(expected)), "{waiting:?}");
    let waiting = stage.waiting(State::Parked).await;
    assert!(waiting[0].reason.contains("no column c here"), "{waiting:?}");
}

async fn rows_without_a_key_are_found_by_text_of_any_character_set(stage: Stage) {
    let table = "CREATE TABLE sample (name VARCHAR(20) CHARACTER SET latin1,
        other VARCHAR(20) CHARACTER SET utf16, a INT)";
    let entries = [
        "{ class = \"all\", identity = { whole_row = true } }",
        "{ class = \"all\", identity = [\"name\", \"other\"] }",
    ];
    for entry in entries {
        let stage = own(&stage, table, entry).await;
        let whole = entry.contains("whole_row");
        let row = |name: &str, a: i64| {
            let mut parts = vec![text(name), text(format!("{name}ж"))];
            if whole {
                parts.insert(0, Value::Int(a));
            }
            Identity::Many(parts)
        };
        let of = |kind, name: &str, a: i64| {
            let values = match kind {
                _ if whole => naming(&["a", "name", "other"]),
                Kind::Delete => Vec::new(),
                Kind::Insert | Kind::Update => vec![("a", Value::Int(a))],
            };
            change(kind, "sample", row(name, a), values)
        };
        let names = ["José", "jose", "JOSÉ", "Ana"];
        stage.send(&[names.iter().map(|name| of(Kind::Insert, name, 1)).collect()]).await;
        let changed = of(Kind::Update, "José", 5);
        let changed = Change { previous: whole.then(|| row("José", 1)), ..changed };
        stage.send(&[vec![changed]]).await;
        stage.send(&[vec![of(Kind::Delete, "JOSÉ", 1), of(Kind::Delete, "Ana", 1)]]).await;
        let all = "SELECT GROUP_CONCAT(CONCAT(name, a) ORDER BY a) FROM sample";
        assert_eq!(asked(&stage, all).await.as_deref(), Some("jose1,José5"), "{entry}");
    }
}

async fn a_row_that_came_and_was_set_aside_is_not_asked_for_again(stage: Stage) {
    let stage = stage.with_limits(headwater::apply::Limits::default()).await;
    let place = uuid();
    let within = insert(
        "location",
        &uuid(),
        vec![
            ("name", text("Bed")),
            ("parent_location", refer("location", &place)),
            ("creator", refer("users", DAEMON)),
            ("date_created", time("2024-01-01 00:00:00")),
        ],
    );
    let report = stage.try_send(&[vec![within.clone()]]).await.unwrap();
    assert_eq!((report.parked, report.wanted.len()), (1, 1), "{report:?}");
    // It comes whole, and cannot stay: it refers to what nobody knows any more.
    let lost = refer_to("location", Identity::Lost(4711));
    let whole = with(&within, vec![("name", text("Ward")), ("parent_location", lost)]);
    let whole = Change { identity: one(&place), ..whole };
    for round in 0..3 {
        let report = stage.try_send(&[vec![whole.clone()]]).await.unwrap();
        assert_eq!((report.parked, report.wanted.len()), (1, 0), "round {round}: {report:?}");
        let in_all = report.in_all.unwrap();
        assert_eq!((in_all.parked, in_all.quarantined), (2, 0));
    }
    // Nor by what refers to it later; only at a hello, for it may refer to something by then.
    let later = Change { identity: one(&uuid()), ..within };
    let report = stage.try_send(&[vec![later]]).await.unwrap();
    assert_eq!((report.parked, report.wanted.len()), (1, 0), "{report:?}");
    let wanted = stage.applier.wanted(stage.peer.node, 10).await.unwrap();
    assert_eq!(wanted.iter().map(|row| &row.identity).collect::<Vec<_>>(), [&one(&place)]);
    // Until it can stay.
    let change = update("location", &place, vec![("parent_location", Value::Null)]);
    let report = stage.try_send(&[vec![change]]).await.unwrap();
    stage.retry_parked().await;
    assert!(stage.waiting(State::Parked).await.is_empty(), "{report:?}");
}

async fn rows_that_follow_a_plain_column_follow_it_here_too(stage: Stage) {
    let table = "CREATE TABLE sample (id INT AUTO_INCREMENT PRIMARY KEY,
          uuid CHAR(36) NOT NULL UNIQUE, code VARCHAR(10) NOT NULL UNIQUE, a INT);
        CREATE TABLE follower (code VARCHAR(10), FOREIGN KEY (code) REFERENCES sample (code)
          ON UPDATE CASCADE)";
    let stage = own(&stage, table, "{ class = \"all\" }").await;
    let row = |id: &str| insert("sample", id, vec![("code", text(id)), ("a", Value::Int(1))]);
    stage.send(&[["p", "q", "r"].iter().map(|id| row(id)).collect()]).await;
    let sql = "INSERT INTO follower VALUES ('p'), ('q'), ('q'), ('r')";
    stage.server.sql_in(&stage.database, sql).await.unwrap();
    let changes = vec![
        update("sample", "p", vec![("code", text("p2"))]),
        update("sample", "r", vec![("a", Value::Int(2))]),
        update("sample", "q", vec![("code", text("q2")), ("a", Value::Int(3))]),
        update("sample", "p", vec![("a", Value::Int(4))]),
        insert("sample", "s", vec![("code", text("s"))]),
        update("sample", "s", vec![("code", text("s2"))]),
    ];
    stage.send(&[changes]).await;
    let all = "SELECT GROUP_CONCAT(CONCAT_WS(' ', uuid, code, a) ORDER BY uuid) FROM sample";
    assert_eq!(asked(&stage, all).await.as_deref(), Some("p p2 4,q q2 3,r r 2,s s2"));
    let all = "SELECT GROUP_CONCAT(code ORDER BY code) FROM follower";
    assert_eq!(asked(&stage, all).await.as_deref(), Some("p2,q2,q2,r"));
}

async fn long_keys_that_maria_db_keeps_by_hashes_find_no_other_row(stage: Stage) {
    if !stage.flavor.is_mariadb() {
        return;
    }
    let table = "CREATE TABLE sample (id INT AUTO_INCREMENT PRIMARY KEY,
        uuid CHAR(36) NOT NULL UNIQUE, body TEXT NOT NULL UNIQUE, a INT)";
    let stage = own(&stage, table, "{ class = \"all\" }").await;
    let row = |id: &str, body: &str| insert("sample", id, vec![("body", text(body))]);
    // The last is called as the body is that stands in for what is not changed.
    let rows = [("p", "1"), ("q", "2"), ("r", "3"), ("s", "")];
    stage.send(&[rows.iter().map(|(id, body)| row(id, body)).collect()]).await;
    let changes = ["p", "q", "r"].map(|id| update("sample", id, vec![("a", Value::Int(7))]));
    stage.send(&[changes.to_vec()]).await;
    let all = "SELECT GROUP_CONCAT(CONCAT_WS(' ', uuid, body, a) ORDER BY uuid) FROM sample";
    assert_eq!(asked(&stage, all).await.as_deref(), Some("p 1 7,q 2 7,r 3 7,s "));
}

async fn a_long_chain_is_retried_to_its_end(stage: Stage) {
    const CHANGES: i64 = 2_100;
    let table = "CREATE TABLE sample (id INT AUTO_INCREMENT PRIMARY KEY,
        uuid CHAR(36) NOT NULL UNIQUE, word VARCHAR(4), a INT)";
    let stage = own(&stage, table, "{ class = \"all\" }").await;
    let mut changes = vec![insert("sample", "s", vec![("word", text("too long"))])];
    changes
        .extend((1..=CHANGES).map(|number| update("sample", "s", vec![("a", Value::Int(number))])));
    let report = stage.try_send(&[changes]).await.unwrap();
    assert_eq!(report.held, CHANGES as u64 + 1, "{report:?}");
    stage.server.sql_in(&stage.database, "ALTER TABLE sample MODIFY word TEXT").await.unwrap();
    let first = stage.waiting(State::Quarantined).await.iter().map(|held| held.id).min().unwrap();
    let retried = stage.applier.retry(first).await.unwrap().unwrap();
    assert_eq!(retried.released, CHANGES as u64 + 1);
    let all = "SELECT CONCAT(word, ' ', a) FROM sample";
    assert_eq!(asked(&stage, all).await, Some(format!("too long {CHANGES}")));
}
