//! Values arrive exactly, or not at all.

use std::borrow::Cow;

use headwater::apply::State;
use headwater::change::Kind;
use headwater::schema_map::MapFile;
use headwater::value::Value;

use super::on_both;
use super::stage::*;

on_both!(
    zero_dates_stay_zero,
    letters_of_many_scripts_and_emoji_survive,
    a_longtext_of_20_mb_arrives,
    every_type_arrives_exactly,
    what_a_column_cannot_hold_is_quarantined,
    text_that_looks_like_a_number_stays_text_after_numbers,
    a_name_whose_last_blanks_would_be_cut_is_quarantined,
    a_column_that_the_server_would_set_to_now_keeps_what_came,
    names_that_differ_in_case_alone_are_two_rows_where_the_server_says_so,
);

async fn zero_dates_stay_zero(stage: Stage) {
    let id = uuid();
    let row = with(
        &person(&id),
        vec![
            ("birthdate", time("0000-00-00")),
            ("death_date", time("0000-00-00 00:00:00")),
            ("date_changed", time("2020-00-00 00:00:00")),
            ("birthtime", time("-838:59:59")),
        ],
    );
    stage.send(&[vec![row]]).await;
    let query = format!(
        "SELECT CONCAT_WS('|', birthdate, death_date, date_changed, birthtime) FROM person \
         WHERE uuid = '{id}'"
    );
    assert_eq!(
        stage.ask(&query).await.as_deref(),
        Some("0000-00-00|0000-00-00 00:00:00|2020-00-00 00:00:00|-838:59:59")
    );
}

async fn letters_of_many_scripts_and_emoji_survive(stage: Stage) {
    let id = uuid();
    let row = with(&person(&id), vec![("cause_of_death_non_coded", text("fièvre 🤒 ɓɗ"))]);
    stage.send(&[vec![row]]).await;
    let query = format!("SELECT cause_of_death_non_coded FROM person WHERE uuid = '{id}'");
    assert_eq!(stage.ask(&query).await.as_deref(), Some("fièvre 🤒 ɓɗ"));
}

async fn a_longtext_of_20_mb_arrives(stage: Stage) {
    let id = uuid();
    let body = "clinic ".repeat(20 * 1024 * 1024 / 7);
    let row = insert("clob_datatype_storage", &id, vec![("value", text(body.clone()))]);
    let next = insert("clob_datatype_storage", &uuid(), vec![("value", text("short"))]);
    stage.send(&[vec![row, next]]).await;
    let query = format!(
        "SELECT SHA2(value, 256) = SHA2(REPEAT('clinic ', {}), 256) FROM clob_datatype_storage \
         WHERE uuid = '{id}'",
        body.len() / 7
    );
    assert_eq!(stage.ask(&query).await.as_deref(), Some("1"));
}

const TYPES: &str = "
CREATE TABLE sample (
  id INT AUTO_INCREMENT PRIMARY KEY, uuid CHAR(36) NOT NULL UNIQUE,
  tiny TINYINT, big BIGINT UNSIGNED, amount DECIMAL(65,30), half FLOAT, full DOUBLE,
  flags BIT(64), made YEAR, word VARCHAR(20) CHARACTER SET latin1, raw VARBINARY(20), fixed BINARY(8),
  blobs LONGBLOB, place GEOMETRY, doc JSON, kind ENUM('a','bé'), several SET('x','y','z'),
  at DATETIME(6), stamp TIMESTAMP(3) NULL, span TIME(6), short_at DATETIME, day DATE,
  seen TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP
) DEFAULT CHARACTER SET utf8mb4";

const TYPES_MAP: &str = "
version = 1
[defaults]
identity = \"uuid\"
[classes.all]
direction = \"up\"
[tables]
sample = { class = \"all\" }
";

/// A stage over a small schema of its own.
async fn sample(stage: &Stage) -> Stage {
    let database = format!("types_{}", uuid().replace('-', ""));
    let server = stage.server;
    server.sql(&format!("CREATE DATABASE {database}")).await.unwrap();
    server.sql_in(&database, TYPES).await.unwrap();
    let map = MapFile::parse(TYPES_MAP, "types.toml").unwrap();
    let stage = Stage::with_map(stage.flavor, server, &database, map).await;
    assert!(stage.map.tables.contains_key("sample"), "{:?}", stage.map.problems);
    stage
}

fn bytes(bytes: &[u8]) -> Value<'static> {
    Value::Bytes(Cow::Owned(bytes.to_vec()))
}

fn decimal(digits: &str) -> Value<'static> {
    Value::Decimal(Cow::Owned(digits.to_owned()))
}

async fn every_type_arrives_exactly(stage: Stage) {
    let stage = sample(&stage).await;
    let id = uuid();
    let digits = format!("-{}.{}", "9".repeat(35), "123456789012345678901234567890");
    let point: Vec<u8> = [0_u32.to_le_bytes().as_slice(), &[1], &1_u32.to_le_bytes()]
        .concat()
        .into_iter()
        .chain(1.5_f64.to_le_bytes())
        .chain((-2.25_f64).to_le_bytes())
        .collect();
    let values = vec![
        ("tiny", Value::Int(-128)),
        ("big", Value::UInt(u64::MAX)),
        ("amount", decimal(&digits)),
        ("half", Value::Float(0.1_f32.to_bits())),
        ("full", Value::Double((0.1_f64 + 0.2).to_bits())),
        ("flags", Value::UInt(0xFF00_0000_0000_0001)),
        ("made", Value::UInt(1901)),
        ("word", text("fièvre")),
        ("raw", bytes(&[0, 255, 0xF0, 0x9F, 39, 92, 0])),
        ("fixed", bytes(&[1, 2, 0, 0, 0xFF, 0, 0, 0])),
        ("blobs", bytes(&[0xC3, 0x28, 0, 0xFF])),
        ("place", bytes(&point)),
        ("doc", Value::Json(Cow::Borrowed("{\"é\": [1, 2.50, \"🤒\", null]}"))),
        ("kind", text("bé")),
        ("several", text("x,z")),
        ("at", time("2024-02-29 23:59:59.123456")),
        ("stamp", time("2024-03-31 02:30:00.125")),
        ("span", time("-100:00:00.000001")),
    ];
    let database = stage.database.clone();
    stage.send(&[vec![insert("sample", &id, values.clone())]]).await;
    check(&stage, &database, &id).await;
    // The same through an update of an emptied row.
    let clear = "UPDATE sample SET tiny=NULL, big=NULL, amount=NULL, half=NULL, full=NULL, \
                 flags=NULL, made=NULL, word=NULL, raw=NULL, fixed=NULL, blobs=NULL, place=NULL, \
                 doc=NULL, kind=NULL, several=NULL, at=NULL, stamp=NULL, span=NULL";
    stage.server.sql_in(&database, clear).await.unwrap();
    stage.send(&[vec![change(Kind::Update, "sample", one(&id), values)]]).await;
    check(&stage, &database, &id).await;
    stage
        .send(&[vec![update("sample", &id, vec![("full", Value::Double((-0.0_f64).to_bits()))])]])
        .await;
    let shown = stage.server.ask(&database, "SELECT CONCAT(full) FROM sample").await.unwrap();
    // MariaDB itself drops the sign of zero.
    let zero = if stage.flavor.is_mariadb() { "0" } else { "-0" };
    assert_eq!(shown.as_deref(), Some(zero));
}

async fn check(stage: &Stage, database: &str, id: &str) {
    let digits = format!("-{}.{}", "9".repeat(35), "123456789012345678901234567890");
    let tests = [
        ("tiny = -128", "tiny"),
        ("big = 18446744073709551615", "big"),
        (&*format!("CAST(amount AS CHAR) = '{digits}'"), "amount"),
        ("ABS(half - 0.1e0) < 1e-8", "half"),
        ("full = 0.1e0 + 0.2e0 AND full <> 0.3e0", "full"),
        ("HEX(flags) = 'FF00000000000001'", "flags"),
        ("made = 1901", "made"),
        ("HEX(CAST(word AS BINARY)) = '6669E8767265'", "word"),
        ("HEX(raw) = '00FFF09F275C00'", "raw"),
        ("HEX(fixed) = '01020000FF000000'", "fixed"),
        ("HEX(blobs) = 'C32800FF'", "blobs"),
        ("ST_AsText(place) = 'POINT(1.5 -2.25)'", "place"),
        ("JSON_UNQUOTE(JSON_EXTRACT(doc, '$.\"é\"[2]')) = '🤒'", "doc"),
        ("kind = 'bé' AND several = 'x,z'", "kind"),
        ("CAST(at AS CHAR) = '2024-02-29 23:59:59.123456'", "at"),
        ("UNIX_TIMESTAMP(stamp) = 1711852200.125", "stamp"),
        ("CAST(span AS CHAR) = '-100:00:00.000001'", "span"),
    ];
    for (test, column) in tests {
        let query = format!("SELECT {test} FROM sample WHERE uuid = '{id}'");
        let holds = stage.server.ask(database, &query).await.unwrap();
        assert_eq!(holds.as_deref(), Some("1"), "{}: {column}", stage.flavor);
    }
}

async fn what_a_column_cannot_hold_is_quarantined(stage: Stage) {
    let stage = sample(&stage).await;
    let bad = [
        ("word", text("🤒 is not latin1")),
        ("word", text("longer than twenty characters")),
        ("tiny", Value::Int(200)),
        ("amount", decimal("0.1234567890123456789012345678901")),
        ("short_at", time("2024-01-01 00:00:00.5")),
        ("kind", text("c")),
        ("doc", Value::Json(Cow::Borrowed("{not json"))),
        ("word", bytes(&[0xE8])),
        // What the server would cut or round, and say nothing.
        ("word", text("twenty characters...  ")),
        ("half", Value::Double(61.3_f64.to_bits())),
        ("tiny", decimal("1.5")),
        // What it would take for a date.
        ("day", time("10:11:12")),
        ("short_at", time("10:11:12")),
        ("stamp", time("-10:11:12")),
        ("day", text("10:11:12")),
        ("day", Value::Int(101)),
        // For another member, or another value.
        ("kind", text("2")),
        ("kind", text("0")),
        ("kind", text("BÉ")),
        ("kind", Value::Int(1)),
        ("several", text("3")),
        ("several", text("x,Y")),
        ("tiny", text("007")),
        ("tiny", text("1.5")),
        ("full", text("0.12345678901234567")),
        ("amount", Value::Float(0.1_f32.to_bits())),
        ("made", Value::Int(5)),
        ("flags", text("a")),
        // What it would fill up, or in.
        ("fixed", bytes(&[1, 2])),
        ("seen", Value::Null),
    ];
    let rows: Vec<Row> = bad
        .iter()
        .map(|(column, value)| insert("sample", &uuid(), vec![(column, value.clone())]))
        .collect();
    let good = insert("sample", &uuid(), vec![("short_at", time("2024-01-01 00:00:00.000"))]);
    // What arrives as it was, although it was of another type.
    let other = vec![
        ("tiny", text("7")),
        ("made", text("1987")),
        ("amount", text("1.5")),
        ("short_at", text("2024-01-01 00:00:00")),
        ("word", Value::Int(5)),
    ];
    let other = insert("sample", &uuid(), other);
    let report = stage.try_send(&[rows, vec![good, other]]).await.unwrap();
    for waiting in stage.waiting(State::Quarantined).await {
        eprintln!("{}: {}", stage.flavor, waiting.reason);
    }
    assert_eq!((report.parked, report.quarantined), (0, bad.len() as u64));
    let count = stage.server.ask(&stage.database, "SELECT COUNT(*) FROM sample").await.unwrap();
    assert_eq!(count.as_deref(), Some("2"));
}

const KEPT: &str = "
CREATE TABLE kept (
  id INT AUTO_INCREMENT PRIMARY KEY, name VARCHAR(40) COLLATE utf8mb4_bin NOT NULL UNIQUE,
  word VARCHAR(20), other INT,
  changed TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP
) DEFAULT CHARACTER SET utf8mb4";

async fn kept(stage: &Stage) -> Stage {
    let database = format!("kept_{}", uuid().replace('-', ""));
    let server = stage.server;
    server.sql(&format!("CREATE DATABASE {database}")).await.unwrap();
    server.sql_in(&database, KEPT).await.unwrap();
    let map = TYPES_MAP.replace("uuid", "name").replace("sample", "kept");
    let map = MapFile::parse(&map, "kept.toml").unwrap();
    Stage::with_map(stage.flavor, server, &database, map).await
}

/// A prepared statement is asked for with one type and then with another: one child's column holds
/// numbers and the other's text, or the column was altered.
async fn text_that_looks_like_a_number_stays_text_after_numbers(stage: Stage) {
    let row = |id: &str, called: Value<'static>, cost: Value<'static>| {
        let values = vec![
            ("name", called.clone()),
            ("description", called),
            ("latitude", cost),
            ("creator", refer("users", DAEMON)),
            ("date_created", time("2024-01-01 00:00:00")),
        ];
        insert("location", id, values)
    };
    let double = || Value::Double(0.5_f64.to_bits());
    for number in [98, 99, 100] {
        stage.send(&[vec![row(&uuid(), Value::Int(number), double())]]).await;
        stage.send(&[vec![row(&uuid(), double(), Value::Int(number))]]).await;
    }
    for called in ["09", "010", "1e5", " 5", "00", "-0", "+7", "0009223372036854775807", "1.50"] {
        let id = uuid();
        stage.send(&[vec![row(&id, text(called), text(called))]]).await;
        let renamed = vec![("name", Value::Int(4)), ("description", text(called))];
        stage.send(&[vec![update("location", &id, renamed)]]).await;
        let renamed = vec![("name", text(called)), ("description", Value::Int(4))];
        stage.send(&[vec![update("location", &id, renamed)]]).await;
        let found = format!(
            "SELECT CONCAT_WS('|', name, description, latitude) FROM location WHERE uuid = '{id}'"
        );
        let expected = format!("{called}|4|{called}");
        assert_eq!(stage.ask(&found).await, Some(expected), "{called}");
    }
    // Names, and rows without a key, are looked for by the same statements.
    for name in [Value::Int(5), Value::Int(6), text("07")] {
        let identity = headwater::change::Identity::One(name.clone());
        let made = change(
            Kind::Insert,
            "location",
            identity.clone(),
            vec![
                ("name", text("by its name")),
                ("creator", refer("users", DAEMON)),
                ("date_created", time("2024-01-01 00:00:00")),
            ],
        );
        stage.send(&[vec![made]]).await;
        let changed = vec![("description", text("found"))];
        stage.send(&[vec![change(Kind::Update, "location", identity, changed)]]).await;
    }
    let found = "SELECT GROUP_CONCAT(uuid ORDER BY uuid) FROM location WHERE description = 'found' \
                 AND name = 'by its name'";
    assert_eq!(stage.ask(found).await.as_deref(), Some("07,5,6"));
}

async fn a_column_that_the_server_would_set_to_now_keeps_what_came(stage: Stage) {
    let stage = kept(&stage).await;
    let names: Vec<String> = (0..8).map(|_| uuid()).collect();
    let old = |name| {
        let values = vec![("word", text("a")), ("changed", time("2020-01-01 00:00:00"))];
        insert("kept", name, values)
    };
    stage.send(&[names.iter().map(|name| old(name)).collect()]).await;
    // One alone, and several that change the same columns, which are written together.
    let word = |name: &String| update("kept", name, vec![("word", text("b"))]);
    stage.send(&[vec![update("kept", &names[0], vec![("other", Value::Int(1))])]]).await;
    stage.send(&[names[1..].iter().map(word).collect()]).await;
    let count = "SELECT CONCAT_WS(' ', COUNT(*), SUM(UNIX_TIMESTAMP(changed) = 1577836800), \
                 SUM(word = 'b'), SUM(other = 1)) FROM kept";
    let found = stage.server.ask(&stage.database, count).await.unwrap();
    assert_eq!(found.as_deref(), Some("8 8 7 1"));
}

async fn names_that_differ_in_case_alone_are_two_rows_where_the_server_says_so(stage: Stage) {
    let stage = kept(&stage).await;
    stage.send(&[vec![insert("kept", "Ann", vec![("word", text("first"))])]]).await;
    let both = vec![
        update("kept", "Ann", vec![("word", text("changed"))]),
        insert("kept", "ann", vec![("word", text("second"))]),
    ];
    stage.send(&[both]).await;
    let all = "SELECT GROUP_CONCAT(CONCAT(name, '=', word) ORDER BY id) FROM kept";
    let found = stage.server.ask(&stage.database, all).await.unwrap();
    assert_eq!(found.as_deref(), Some("Ann=changed,ann=second"));
}

/// Of an identity nothing is cut, either: it would be another row's.
async fn a_name_whose_last_blanks_would_be_cut_is_quarantined(stage: Stage) {
    let database = format!("labels_{}", uuid().replace('-', ""));
    let made = format!(
        "CREATE DATABASE {database}; CREATE TABLE {database}.label (label_id INT PRIMARY KEY \
         AUTO_INCREMENT, name VARCHAR(4) NOT NULL UNIQUE, size INT)"
    );
    stage.sql(&made).await;
    let map = "version = 1\n[defaults]\nclass = \"all\"\n[classes.all]\ndirection = \"up\"\n\
               [tables]\nlabel = { identity = \"name\" }\n";
    let map = MapFile::parse(map, "labels.toml").unwrap();
    let stage = Stage::with_map_alone(stage.flavor, stage.server, &database, map).await;
    let label =
        |name: &str| change(Kind::Insert, "label", one(name), vec![("size", Value::Int(1))]);
    let report = stage.try_send(&[vec![label("ab"), label("abcd ")]]).await.unwrap();
    assert_eq!((report.rows, report.quarantined), (1, 1), "{report:?}");
    let waiting = stage.waiting(State::Quarantined).await;
    assert!(waiting[0].reason.contains("cut the blanks"), "{}", waiting[0].reason);
    let names = format!("SELECT GROUP_CONCAT(name) FROM {database}.label");
    assert_eq!(stage.ask(&names).await.as_deref(), Some("ab"));
}
