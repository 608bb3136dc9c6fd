//! The decoder held against the servers: what it reads out of their logs is what they print.

mod columns;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Write as _;

use headwater::capture::decode::{
    Body, ColumnFacts, DecodeError, Decoder, Event, MapColumn, RawColumn, Refusal, Row, RowKind,
    RowsEvent,
};
use headwater::database::schema::{LiveColumn, LiveSchema};
use headwater::value::Value;
use headwater_rig::{Flavor, Server, ServerOptions};
use mysql_async::Conn;
use mysql_async::prelude::Queryable as _;

use self::columns::{columns, statements, updates};
use crate::support::{is_there, on_all};

const LIMIT: u64 = 64 << 20;

/// A session as headwater's own, which may write zero dates.
async fn connect(server: &Server) -> Conn {
    let mut conn = server.conn("kinds").await.unwrap();
    conn.query_drop("SET NAMES utf8mb4, time_zone = '+00:00', sql_mode = 'NO_AUTO_VALUE_ON_ZERO'")
        .await
        .unwrap();
    conn
}

async fn create(server: &Server) {
    server.sql("CREATE DATABASE kinds CHARACTER SET utf8mb4").await.unwrap();
    let mut sql = "CREATE TABLE k (id INT PRIMARY KEY".to_owned();
    for (index, (kind, _)) in columns(server.flavor()).iter().enumerate() {
        write!(sql, ", c{index} {kind}").unwrap();
    }
    let mut conn = connect(server).await;
    conn.query_drop("SET SESSION innodb_strict_mode = OFF").await.unwrap();
    conn.query_drop(sql + ") ROW_FORMAT=DYNAMIC").await.unwrap();
}

/// A row as the server prints it: text for text, hexadecimal digits for bytes, bits for floats.
async fn printed(conn: &mut Conn, columns: &[LiveColumn]) -> BTreeMap<i64, Vec<String>> {
    let expressions: Vec<String> = columns.iter().map(expression).collect();
    let sql = format!("SELECT id, {} FROM k ORDER BY id", expressions.join(", "));
    let rows: Vec<mysql_async::Row> = conn.exec(sql, ()).await.unwrap();
    rows.into_iter()
        .map(|row| {
            let mut values = row.unwrap().into_iter();
            let Some(mysql_async::Value::Int(id)) = values.next() else { panic!("no id") };
            (id, values.map(server_text).collect())
        })
        .collect()
}

fn expression(column: &LiveColumn) -> String {
    let name = &column.name;
    match column.data_type.as_str() {
        "float" | "double" => name.to_string(),
        "bit" | "year" => format!("CAST({name} + 0 AS CHAR)"),
        "binary" | "varbinary" | "tinyblob" | "blob" | "mediumblob" | "longblob" | "geometry"
        | "point" | "vector" => format!("HEX({name})"),
        "char" | "varchar" | "tinytext" | "text" | "mediumtext" | "longtext" | "enum" | "set" => {
            format!("CONVERT({name} USING utf8mb4)")
        }
        _ => format!("CAST({name} AS CHAR)"),
    }
}

fn server_text(value: mysql_async::Value) -> String {
    match value {
        mysql_async::Value::NULL => "NULL".to_owned(),
        mysql_async::Value::Float(number) => format!("{:08x}", number.to_bits()),
        mysql_async::Value::Double(number) => format!("{:016x}", number.to_bits()),
        mysql_async::Value::Bytes(bytes) => String::from_utf8(bytes).unwrap(),
        other => panic!("{other:?}"),
    }
}

fn our_text(value: Value<'_>) -> String {
    match value {
        Value::Null => "NULL".to_owned(),
        Value::Int(number) => number.to_string(),
        Value::UInt(number) => number.to_string(),
        Value::Float(bits) => format!("{bits:08x}"),
        Value::Double(bits) => format!("{bits:016x}"),
        Value::Decimal(text) | Value::Text(text) | Value::Temporal(text) | Value::Json(text) => {
            text.into_owned()
        }
        Value::Bytes(bytes) => bytes.iter().fold(String::new(), |mut hex, byte| {
            write!(hex, "{byte:02X}").unwrap();
            hex
        }),
        other @ (Value::Encoded { .. } | Value::Reference(_)) => format!("{other:?}"),
    }
}

/// The log file that was closed last, whole.
pub(crate) async fn last_log(server: &Server) -> Vec<u8> {
    server.sql("FLUSH BINARY LOGS").await.unwrap();
    let mut conn = server.conn("").await.unwrap();
    let logs: Vec<mysql_async::Row> = conn.query("SHOW BINARY LOGS").await.unwrap();
    let names: Vec<String> = logs.into_iter().map(|row| row.get(0).unwrap()).collect();
    let name = &names[names.len() - 2];
    std::fs::read(server.data().join(name)).unwrap()
}

/// Cuts a log file into its events.
pub(crate) fn raw_events(log: &[u8]) -> Vec<&[u8]> {
    let mut rest = log.strip_prefix(b"\xfebin").unwrap();
    let mut events = Vec::new();
    while rest.len() >= 19 {
        let size = u32::from_le_bytes(rest[9..13].try_into().unwrap()) as usize;
        let (event, after) = rest.split_at(size);
        events.push(event);
        rest = after;
    }
    events
}

/// What a log says of table `k`, each change as text.
#[derive(Default)]
struct Told {
    columns: BTreeMap<u64, Vec<MapColumn>>,
    changes: Vec<(RowKind, Vec<String>, Vec<String>)>,
    payloads: usize,
    inflated: usize,
}

impl Told {
    fn read(log: &[u8], live: &[LiveColumn]) -> Told {
        let mut told = Told::default();
        let mut decoder = Decoder::new(LIMIT);
        for raw in raw_events(log) {
            told.inflated += usize::from((165..=171).contains(&raw[4]));
            let event = decoder.event(raw, false).unwrap();
            told.take(&mut decoder, event, live);
        }
        told
    }

    fn take(&mut self, decoder: &mut Decoder, event: Event<'_>, live: &[LiveColumn]) {
        match event.body {
            Body::TableMap(map) if map.table == "k" => {
                let columns = map.columns().unwrap();
                for (column, live) in columns.iter().zip(live) {
                    assert!(column.name.as_deref().is_none_or(|name| name == &*live.name));
                }
                self.columns.insert(map.table_id, columns);
            }
            Body::Rows(rows) => self.rows(&rows, live),
            Body::TransactionPayload(payload) => {
                self.payloads += 1;
                assert!(payload.reader(payload.declared_bytes - 1).is_err());
                let mut reader = payload.reader(LIMIT).unwrap();
                let mut inner = Vec::new();
                while reader.read(&mut inner).unwrap() {
                    let event = decoder.event(&inner, true).unwrap();
                    self.take(&mut decoder.clone(), event, live);
                }
            }
            Body::Unknown | Body::StatementFormat(_) | Body::Incident(_) => {
                panic!("{:?}", event.header)
            }
            _ => {}
        }
    }

    fn rows(&mut self, event: &RowsEvent<'_>, live: &[LiveColumn]) {
        let Some(columns) = self.columns.get(&event.table_id) else { return };
        assert!(event.is_full());
        let facts: Vec<ColumnFacts> = columns
            .iter()
            .zip(live)
            .map(|(column, live)| ColumnFacts::new(column, live).unwrap())
            .collect();
        let text = |image: &[RawColumn<'_>]| {
            let values = image.iter().zip(columns).zip(&facts);
            values
                .map(|((raw, column), facts)| our_text(raw.value(column.column, facts).unwrap()))
                .collect::<Vec<_>>()
        };
        let mut reader = event.rows(columns).unwrap();
        let mut row = Row::default();
        while reader.read(&mut row).unwrap() {
            self.changes.push((event.kind, text(&row.before), text(&row.after)));
        }
    }

    /// Every insert must be a row of `first`, every update lead from there to `second`, and every
    /// delete be a row of `second`.
    fn check(&self, first: &BTreeMap<i64, Vec<String>>, second: &BTreeMap<i64, Vec<String>>) {
        let mut counts = [0; 3];
        for (kind, before, after) in &self.changes {
            match kind {
                RowKind::Insert => {
                    same(after, first);
                    counts[0] += 1;
                }
                RowKind::Update => {
                    same(before, first);
                    same(after, second);
                    counts[1] += 1;
                }
                RowKind::Delete => {
                    same(before, second);
                    counts[2] += 1;
                }
            }
        }
        assert_eq!(counts, [10, 10, 10]);
    }
}

fn same(ours: &[String], theirs: &BTreeMap<i64, Vec<String>>) {
    let id: i64 = ours[0].parse().unwrap();
    for (place, (ours, theirs)) in ours[1..].iter().zip(&theirs[&id]).enumerate() {
        assert_eq!(ours, theirs, "row {id}, c{place}");
    }
    assert_eq!(ours.len() - 1, theirs[&id].len());
}

/// Inserts, updates and deletes the rows after `settings`, and compares the log's story.
async fn told_right(server: &Server, settings: &[&str]) -> Told {
    for setting in settings {
        server.sql(setting).await.unwrap();
    }
    server.sql("FLUSH BINARY LOGS").await.unwrap();
    let mut conn = connect(server).await;
    let schema = LiveSchema::read(&mut conn, "kinds").await.unwrap();
    let live = schema.tables["k"].columns.clone();
    conn.query_drop("BEGIN").await.unwrap();
    for sql in statements(server.flavor(), 0) {
        conn.query_drop(sql).await.unwrap();
    }
    conn.query_drop("COMMIT").await.unwrap();
    let first = printed(&mut conn, &live[1..]).await;
    for sql in updates(server.flavor()) {
        conn.query_drop(sql).await.unwrap();
    }
    let second = printed(&mut conn, &live[1..]).await;
    conn.query_drop("DELETE FROM k").await.unwrap();
    let told = Told::read(&last_log(server).await, &live);
    told.check(&first, &second);
    told
}

#[tokio::test]
async fn mysql_prints_what_is_decoded() {
    if !is_there(Flavor::Mysql97, concat!(module_path!(), "::mysql_prints_what_is_decoded")) {
        return;
    }
    let server = Server::start(Flavor::Mysql97, ServerOptions::default()).await.unwrap();
    create(&server).await;
    let told = told_right(&server, &["SET GLOBAL binlog_row_metadata = FULL"]).await;
    let columns = told.columns.values().next().unwrap();
    assert_eq!(columns[0].key_place, Some(0));
    assert_eq!(columns[1].name.as_deref(), Some("c0"));
    assert!(columns.iter().any(|column| column.members.is_some()));
    assert!(columns.iter().any(|column| column.dimension == Some(3)));
    assert!(columns.iter().any(|column| column.geometry == Some(1)));
    let told = told_right(
        &server,
        &["SET GLOBAL binlog_row_metadata = MINIMAL", "SET GLOBAL binlog_checksum = NONE"],
    )
    .await;
    assert!(told.columns.values().flatten().all(|column| column.name.is_none()));
    let told = told_right(
        &server,
        &["SET GLOBAL binlog_transaction_compression = ON", "SET GLOBAL binlog_checksum = CRC32"],
    )
    .await;
    assert!(told.payloads > 10);
}

#[tokio::test]
async fn mariadb_prints_what_is_decoded() {
    if !is_there(Flavor::Mariadb1011, concat!(module_path!(), "::mariadb_prints_what_is_decoded")) {
        return;
    }
    let server = Server::start(Flavor::Mariadb1011, ServerOptions::default()).await.unwrap();
    create(&server).await;
    let told = told_right(&server, &["SET GLOBAL binlog_row_metadata = NO_LOG"]).await;
    assert!(told.columns.values().flatten().all(|column| column.charset.is_none()));
    told_right(
        &server,
        &["SET GLOBAL binlog_row_metadata = MINIMAL", "SET GLOBAL binlog_checksum = NONE"],
    )
    .await;
    let told = told_right(
        &server,
        &[
            "SET GLOBAL binlog_row_metadata = FULL",
            "SET GLOBAL binlog_checksum = CRC32",
            "SET GLOBAL column_compression_zlib_wrap = ON",
        ],
    )
    .await;
    assert_eq!(told.columns.values().next().unwrap()[0].key_place, Some(0));
    let told = told_right(
        &server,
        &["SET GLOBAL log_bin_compress = ON", "SET GLOBAL log_bin_compress_min_len = 10"],
    )
    .await;
    assert!(told.inflated > 20, "{}", told.inflated);
}

/// A log with a transaction id, rows and a commit, to be damaged.
async fn small_log(server: &Server) -> Vec<u8> {
    server.sql("CREATE DATABASE d; CREATE TABLE d.k (id INT PRIMARY KEY, t TEXT)").await.unwrap();
    server.sql("FLUSH BINARY LOGS").await.unwrap();
    server.sql("INSERT INTO d.k VALUES (1, 'one'), (2, 'two')").await.unwrap();
    last_log(server).await
}

async fn any_flipped_bit_is_noticed(flavor: Flavor) {
    let server = Server::start(flavor, ServerOptions::default()).await.unwrap();
    let log = small_log(&server).await;
    let events = raw_events(&log);
    let (format, rest) = events.split_first().unwrap();
    let mut decoder = Decoder::new(LIMIT);
    decoder.event(format, false).unwrap();
    let bodies: Vec<String> =
        rest.iter().map(|raw| format!("{:?}", decoder.event(raw, false).unwrap().body)).collect();
    for wanted in ["TableMap", "Rows", "Xid", "Gtid", "Rotate"] {
        assert!(bodies.iter().any(|body| body.contains(wanted)), "{wanted} in {bodies:?}");
    }
    for raw in rest {
        for bit in 0..raw.len() * 8 {
            let mut flipped = raw.to_vec();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(decoder.event(&flipped, false).is_err(), "bit {bit} of {raw:?}");
        }
        for length in 0..raw.len() {
            assert!(decoder.event(&raw[..length], false).is_err());
        }
    }
}

async fn logs_print_what_is_decoded(flavor: Flavor) {
    let server = Server::start(flavor, ServerOptions::default()).await.unwrap();
    create(&server).await;
    let settings: &[&[&str]] = match flavor {
        Flavor::Mysql56 | Flavor::Mysql57 => &[&[], &["SET GLOBAL binlog_checksum = NONE"]],
        Flavor::Mysql80 | Flavor::Mysql84 => &[
            &[],
            &["SET GLOBAL binlog_row_metadata = FULL", "SET GLOBAL binlog_checksum = NONE"],
            &["SET GLOBAL binlog_transaction_compression = ON"],
        ],
        Flavor::Mariadb118 => &[
            &[],
            &["SET GLOBAL binlog_row_metadata = FULL", "SET GLOBAL binlog_checksum = NONE"],
            &["SET GLOBAL log_bin_compress = ON", "SET GLOBAL log_bin_compress_min_len = 10"],
        ],
        Flavor::Mysql97 | Flavor::Mariadb1011 => panic!("they have tests of their own"),
    };
    for settings in settings {
        told_right(&server, settings).await;
    }
}

crate::support::on!(old_mysql, Mysql56, logs_print_what_is_decoded);
crate::support::on!(new_mariadb, Mariadb118, logs_print_what_is_decoded);
crate::support::on!(log_of_mysql_57, Mysql57, logs_print_what_is_decoded);
crate::support::on!(log_of_mysql_80, Mysql80, logs_print_what_is_decoded);
crate::support::on!(log_of_mysql_84, Mysql84, logs_print_what_is_decoded);

async fn minimal_images_have_absent_columns_not_nulls(flavor: Flavor) {
    let server = Server::start(flavor, ServerOptions::default()).await.unwrap();
    let sql = "CREATE DATABASE d; CREATE TABLE d.k (id INT PRIMARY KEY, a INT, b INT);
         INSERT INTO d.k VALUES (1, 2, 3);";
    server.sql(sql).await.unwrap();
    server.sql("FLUSH BINARY LOGS").await.unwrap();
    server.sql("SET binlog_row_image = MINIMAL; UPDATE d.k SET b = NULL").await.unwrap();
    let log = last_log(&server).await;
    let mut decoder = Decoder::new(LIMIT);
    let mut columns = Vec::new();
    for raw in raw_events(&log) {
        match decoder.event(raw, false).unwrap().body {
            Body::TableMap(map) => columns = map.columns().unwrap(),
            Body::Rows(rows) => {
                assert!(!rows.is_full());
                assert!(rows.has_before(0) && !rows.has_after(0) && rows.has_after(2));
                let mut row = Row::default();
                assert!(rows.rows(&columns).unwrap().read(&mut row).unwrap());
                let one: Cow<'_, [u8]> = Cow::Borrowed(&[1, 0, 0, 0]);
                assert_eq!(
                    row.before,
                    [RawColumn::Bytes(&one), RawColumn::Absent, RawColumn::Absent]
                );
                assert_eq!(row.after, [RawColumn::Absent, RawColumn::Absent, RawColumn::Null]);
                return;
            }
            _ => {}
        }
    }
    panic!("no rows in the log");
}

on_all!(any_flipped_bit_is_noticed, minimal_images_have_absent_columns_not_nulls);

#[tokio::test]
async fn mysqls_transaction_ids_are_read_with_and_without_tags() {
    if !is_there(
        Flavor::Mysql97,
        concat!(module_path!(), "::mysqls_transaction_ids_are_read_with_and_without_tags"),
    ) {
        return;
    }
    let server = Server::start(Flavor::Mysql97, ServerOptions::default()).await.unwrap();
    let sql = "CREATE DATABASE d; CREATE TABLE d.k (id INT PRIMARY KEY);
         SET gtid_next = 'AUTOMATIC:clinic'; INSERT INTO d.k VALUES (1);
         SET gtid_next = 'AUTOMATIC'; INSERT INTO d.k VALUES (2);";
    server.sql("FLUSH BINARY LOGS").await.unwrap();
    server.sql(sql).await.unwrap();
    let log = last_log(&server).await;
    let executed = server.ask("", "SELECT @@gtid_executed").await.unwrap().unwrap();
    let mut decoder = Decoder::new(LIMIT);
    let mut names = Vec::new();
    for raw in raw_events(&log) {
        let Body::Gtid(gtid) = decoder.event(raw, false).unwrap().body else { continue };
        assert!(gtid.committed_micros.unwrap() > 1_700_000_000_000_000);
        assert_eq!(gtid.committed_micros, gtid.first_committed_micros);
        names.push(gtid.to_string());
    }
    let uuid = executed.split(':').next().unwrap();
    let of = |rest: &str| format!("{uuid}:{rest}");
    assert!(names.contains(&of("clinic:1")), "{names:?}");
    assert!(names.iter().all(|name| name.starts_with(uuid)));
    // What the next file says came before it.
    server.sql("INSERT INTO d.k VALUES (3)").await.unwrap();
    let next = last_log(&server).await;
    let mut decoder = Decoder::new(LIMIT);
    let previous: Vec<String> = raw_events(&next)
        .into_iter()
        .filter_map(|raw| match decoder.event(raw, false).unwrap().body {
            Body::PreviousGtids(all) => Some(all),
            _ => None,
        })
        .flat_map(|all| all.iter().map(ToString::to_string).collect::<Vec<_>>())
        .collect();
    let last = names.last().unwrap().rsplit(':').next().unwrap();
    assert_eq!(previous, [of(&format!("1-{last}")), of("clinic:1")]);
}

#[tokio::test]
async fn mariadbs_old_temporal_format_is_read_without_fractions_and_refused_with() {
    if !is_there(
        Flavor::Mariadb1011,
        concat!(
            module_path!(),
            "::mariadbs_old_temporal_format_is_read_without_fractions_and_refused_with"
        ),
    ) {
        return;
    }
    let options = ServerOptions::default().with("--mysql56-temporal-format=OFF");
    let server = Server::start(Flavor::Mariadb1011, options).await.unwrap();
    server.sql("CREATE DATABASE kinds").await.unwrap();
    let mut conn = connect(&server).await;
    let sql = "CREATE TABLE k (id INT PRIMARY KEY, a TIME, b DATETIME, c TIMESTAMP NULL, d DATE);
         CREATE TABLE fractions (id INT PRIMARY KEY, a TIME(3), b INT)";
    conn.query_drop(sql).await.unwrap();
    server.sql("FLUSH BINARY LOGS").await.unwrap();
    let sql = "INSERT INTO k VALUES
         (1, '-838:59:59', '2026-11-22 01:02:03', '2038-01-19 03:14:07', '2026-11-22'),
         (2, '00:00:01', '0000-00-00 00:00:00', '0000-00-00 00:00:00', '0000-00-00'),
         (3, NULL, '9999-12-31 23:59:59', NULL, NULL)";
    conn.query_drop(sql).await.unwrap();
    conn.query_drop("INSERT INTO fractions VALUES (1, '-00:00:00.001', 7)").await.unwrap();
    let schema = LiveSchema::read(&mut conn, "kinds").await.unwrap();
    let live = schema.tables["k"].columns.clone();
    let theirs = printed(&mut conn, &live[1..]).await;
    let log = last_log(&server).await;
    let told = Told::read(&log, &live);
    assert_eq!(told.changes.len(), 3);
    for (_, _, after) in &told.changes {
        same(after, &theirs);
    }
    let mut decoder = Decoder::new(LIMIT);
    let mut refused = 0;
    for raw in raw_events(&log) {
        let Body::TableMap(map) = decoder.event(raw, false).unwrap().body else { continue };
        if map.table == "fractions" {
            let columns = map.columns().unwrap();
            let error = ColumnFacts::new(&columns[1], &schema.tables["fractions"].columns[1]);
            assert_eq!(error, Err(DecodeError::Refused(Refusal::OldFraction)));
            refused += 1;
        }
    }
    assert_eq!(refused, 1);
}
