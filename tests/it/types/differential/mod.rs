//! The same logs through three decoders: ours, `mysql_common`'s and `mysql_cdc`. Where another
//! says something else it is a fault of its own that is listed here, or a bug of ours.

mod faults;

use std::collections::{BTreeMap, BTreeSet};
use std::panic::AssertUnwindSafe;

use headwater::capture::decode::{
    Body, ColumnFacts, Decoder, MapColumn, RawColumn, Row, RowsEvent,
};
use headwater::database::schema::LiveSchema;
use headwater::value::Value;
use headwater_rig::{Flavor, Server, ServerOptions};
use mysql_async::prelude::Queryable as _;
use mysql_cdc::events::binlog_event::BinlogEvent;
use mysql_cdc::events::event_header::EventHeader;
use mysql_cdc::events::event_parser::EventParser;
use mysql_cdc::events::row_events::mysql_value::MySqlValue;
use mysql_cdc::events::row_events::row_data::RowData;
use mysql_common::Value as Common;
use mysql_common::binlog::EventStreamReader;
use mysql_common::binlog::consts::BinlogVersion;
use mysql_common::binlog::events::EventData;
use mysql_common::binlog::row::BinlogRow;
use mysql_common::binlog::value::BinlogValue;

use self::faults::{Theirs, cdc_says, common_says, event_fault};
use super::exact::{compression, metadata};
use super::generated::{self, Column, ROWS};
use crate::decode::{last_log, raw_events};
use crate::support::on_all;

const TABLES: usize = 40;

/// The images of a rows event, one after the other: before and after of an update are two.
type Images<T> = Result<Vec<Vec<Option<T>>>, String>;
/// By the number of the event in the log.
type Events<T> = BTreeMap<usize, (String, Images<T>)>;

/// What our decoder reads, inside of compressed transactions too, and how many events were compressed.
fn ours(log: &[u8], schema: &LiveSchema) -> (Events<Value<'static>>, usize) {
    let mut reading = Ours { schema, maps: BTreeMap::new(), events: Events::new() };
    let mut decoder = Decoder::new(64 << 20);
    let (mut number, mut compressed) = (0, 0);
    for raw in raw_events(log) {
        let event = decoder.event(raw, false).unwrap();
        compressed += usize::from(matches!(event.header.kind, 40 | 165..=171));
        if let Body::TransactionPayload(payload) = &event.body {
            let mut inner = payload.reader(64 << 20).unwrap();
            let mut raw = Vec::new();
            while inner.read(&mut raw).unwrap() {
                reading.event(number, &decoder.clone().event(&raw, true).unwrap().body);
                number += 1;
            }
            continue;
        }
        reading.event(number, &event.body);
        number += 1;
    }
    (reading.events, compressed)
}

struct Ours<'s> {
    schema: &'s LiveSchema,
    maps: BTreeMap<u64, (String, Vec<MapColumn>)>,
    events: Events<Value<'static>>,
}

impl Ours<'_> {
    fn event(&mut self, number: usize, body: &Body<'_>) {
        match body {
            Body::TableMap(map) if map.schema == "kinds" => {
                self.maps.insert(map.table_id, (map.table.to_owned(), map.columns().unwrap()));
            }
            Body::Rows(rows) => {
                if let Some((table, columns)) = self.maps.get(&rows.table_id) {
                    let images = images(rows, columns, self.schema, table);
                    self.events.insert(number, (table.clone(), Ok(images)));
                }
            }
            _ => {}
        }
    }
}

fn images(
    event: &RowsEvent<'_>,
    columns: &[MapColumn],
    schema: &LiveSchema,
    table: &str,
) -> Vec<Vec<Option<Value<'static>>>> {
    let live = &schema.tables[table].columns;
    let facts: Vec<ColumnFacts> =
        columns.iter().zip(live).map(|(map, live)| ColumnFacts::new(map, live).unwrap()).collect();
    let read = |image: &[RawColumn<'_>]| {
        let values = image.iter().zip(columns).zip(&facts);
        values
            .map(|((raw, column), facts)| match raw.value(column.column, facts).unwrap() {
                Value::Null => None,
                value => Some(value.into_owned()),
            })
            .collect::<Vec<_>>()
    };
    let mut reader = event.rows(columns).unwrap();
    let mut row = Row::default();
    let mut images = Vec::new();
    while reader.read(&mut row).unwrap() {
        images.extend(
            [&row.before, &row.after].into_iter().filter(|i| !i.is_empty()).map(|i| read(i)),
        );
    }
    images
}

fn commons(log: &[u8]) -> Events<BinlogValue<'static>> {
    let mut reader = EventStreamReader::new(BinlogVersion::Version4);
    let mut events = Events::new();
    for (number, raw) in raw_events(log).into_iter().enumerate() {
        let event = reader.read(raw).unwrap().unwrap();
        if event.header().event_type().is_err() {
            continue;
        }
        let Ok(Some(EventData::RowsEvent(rows))) = event.read_data() else { continue };
        let map = reader.get_tme(rows.table_id()).unwrap();
        let read = |row: BinlogRow| {
            let not_null = |value| match value {
                BinlogValue::Value(Common::NULL) => None,
                value => Some(value),
            };
            let row: Vec<BinlogValue<'static>> = row.unwrap();
            row.into_iter().map(not_null).collect::<Vec<_>>()
        };
        let images = std::panic::catch_unwind(AssertUnwindSafe(|| {
            let images: Result<Vec<_>, _> = rows.rows(map).collect();
            let images = images.map_err(|error| error.to_string())?;
            let both = images.into_iter().flat_map(|(one, two)| [one, two]).flatten();
            Ok(both.map(read).collect())
        }));
        let images = images.unwrap_or_else(|_| Err("it panics".to_owned()));
        events.insert(number, (map.table_name().into_owned(), images));
    }
    events
}

fn cdcs(log: &[u8]) -> Events<MySqlValue> {
    let mut parser = EventParser::new();
    let mut events = Events::new();
    let mut table = String::new();
    for (number, raw) in raw_events(log).into_iter().enumerate() {
        let (head, body) = raw.split_at(19);
        let header = EventHeader::parse(head).unwrap();
        let is_rows = matches!(header.event_type, 23..=25 | 30..=32);
        let images = |rows: Vec<RowData>| rows.into_iter().map(|row| row.cells).collect();
        let found: Images<MySqlValue> = match parser.parse_event(&header, body) {
            Ok(BinlogEvent::TableMapEvent(map)) => {
                table = map.table_name;
                continue;
            }
            Ok(BinlogEvent::WriteRowsEvent(event)) => Ok(images(event.rows)),
            Ok(BinlogEvent::DeleteRowsEvent(event)) => Ok(images(event.rows)),
            Ok(BinlogEvent::UpdateRowsEvent(event)) => {
                let both =
                    event.rows.into_iter().flat_map(|row| [row.before_update, row.after_update]);
                Ok(both.map(|row| row.cells).collect())
            }
            Err(error) if is_rows => Err(format!("{error:?}")),
            Ok(_) | Err(_) => continue,
        };
        events.insert(number, (table.clone(), found));
    }
    events
}

// ----------------------------------------------------------------------------------- comparing

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |hex, byte| format!("{hex}{byte:02X}"))
}

/// Our value as text to compare.
fn printed(value: &Value<'_>) -> String {
    match value {
        Value::Int(number) => number.to_string(),
        Value::UInt(number) => number.to_string(),
        Value::Float(bits) => format!("{bits:08x}"),
        Value::Double(bits) => format!("{bits:016x}"),
        Value::Decimal(text) | Value::Text(text) | Value::Temporal(text) => text.to_string(),
        Value::Json(text) => {
            serde_json::from_str::<serde_json::Value>(&floats_as_bits(text)).unwrap().to_string()
        }
        Value::Bytes(bytes) => hex(bytes),
        other => panic!("{other:?}"),
    }
}

/// JSON text with each double in it as a string of its bits: `serde_json` reads some of them as
/// their neighbours.
fn floats_as_bits(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '"' => {
                let mut escaped = false;
                let end = rest[1..].find(|c| {
                    let ends = c == '"' && !escaped;
                    escaped = c == '\\' && !escaped;
                    ends
                });
                end.unwrap() + 2
            }
            '-' | '0'..='9' => {
                rest.find(|c: char| !"+-.eE0123456789".contains(c)).unwrap_or(rest.len())
            }
            other => other.len_utf8(),
        };
        let (token, after) = rest.split_at(length);
        if first != '"' && token.contains(['.', 'e']) && token.parse::<f64>().is_ok() {
            out.push_str(&format!("\"{:016x}\"", token.parse::<f64>().unwrap().to_bits()));
        } else {
            out.push_str(token);
        }
        rest = after;
    }
    out
}

/// The same of JSON that is read already.
fn bits_of(json: serde_json::Value) -> serde_json::Value {
    use serde_json::Value as Json;
    match json {
        Json::Number(number) if number.is_f64() => {
            Json::String(format!("{:016x}", number.as_f64().unwrap().to_bits()))
        }
        Json::Array(all) => all.into_iter().map(bits_of).collect(),
        Json::Object(all) => all.into_iter().map(|(key, value)| (key, bits_of(value))).collect(),
        other => other,
    }
}

/// The name of a member, by its number.
fn member(number: u64) -> String {
    if number == 0 { String::new() } else { format!("m{number}") }
}

fn set(bits: u64) -> String {
    let chosen = (0..64).filter(|place| bits >> place & 1 == 1);
    chosen.map(|place| member(place + 1)).collect::<Vec<_>>().join(",")
}

/// Seconds since 1970 as the date and time they are, without fraction.
fn moment(seconds: i64) -> String {
    if seconds == 0 {
        return "0000-00-00 00:00:00".to_owned();
    }
    let moment = time::UtcDateTime::from_unix_timestamp(seconds).unwrap();
    let (date, clock) = (moment.date(), moment.time());
    format!("{date} {:02}:{:02}:{:02}", clock.hour(), clock.minute(), clock.second())
}

/// What the comparison came to: cells that were the same, and faults of the other with their count.
#[derive(Default)]
struct Outcome {
    same: usize,
    faults: BTreeMap<&'static str, usize>,
    /// Texts in other character sets: the set, the bytes, and our text.
    texts: BTreeSet<(String, Vec<u8>, String)>,
    wrong: Vec<String>,
}

impl Outcome {
    /// Asks the server what the texts in other character sets are.
    async fn ask(&mut self, conn: &mut mysql_async::Conn) {
        let texts: Vec<_> = std::mem::take(&mut self.texts).into_iter().collect();
        for some in texts.chunks(200) {
            let shown: Vec<String> = some
                .iter()
                .map(|(set, bytes, _)| {
                    format!("HEX(CONVERT(_{set} X'{}' USING utf8mb4))", hex(bytes))
                })
                .collect();
            let row: mysql_async::Row =
                conn.query_first(format!("SELECT {}", shown.join(", "))).await.unwrap().unwrap();
            for ((set, bytes, ours), value) in some.iter().zip(row.unwrap()) {
                let found: String = mysql_async::from_value(value);
                if found == hex(ours.as_bytes()) {
                    self.same += 1;
                } else {
                    let bytes = hex(bytes);
                    self.wrong.push(format!("{bytes} in {set}: ours {ours:?}, the server {found}"));
                }
            }
        }
    }
}

fn compare<T>(
    tables: &BTreeMap<String, Vec<Column>>,
    ours: &Events<Value<'static>>,
    theirs: &Events<T>,
    says: impl Fn(&str, &Value<'_>, &T) -> Theirs,
) -> Outcome {
    let mut outcome = Outcome::default();
    for (number, (table, images)) in ours {
        let columns = &tables[table];
        let images = images.as_ref().unwrap();
        let found = match theirs.get(number) {
            Some((_, Ok(found))) => found,
            Some((_, Err(error))) => {
                match event_fault(columns, images, error) {
                    Some(fault) => *outcome.faults.entry(fault).or_default() += 1,
                    None => {
                        outcome.wrong.push(format!("{table}, event {number}: it fails: {error}"));
                    }
                }
                continue;
            }
            None => panic!("{table}, event {number} is nothing to the other"),
        };
        assert_eq!(images.len(), found.len(), "{table}, event {number}");
        for (one, other) in images.iter().zip(found) {
            assert_eq!(one.len(), other.len());
            // The first column is the key.
            for ((column, one), other) in columns.iter().zip(&one[1..]).zip(&other[1..]) {
                let definition = column.definition.as_str();
                match (one, other) {
                    (None, None) => outcome.same += 1,
                    (Some(one), Some(other)) => match says(definition, one, other) {
                        Theirs::Same(text) if text == printed(one) => outcome.same += 1,
                        Theirs::Fault(fault) => *outcome.faults.entry(fault).or_default() += 1,
                        Theirs::InSet(set, bytes) => {
                            outcome.texts.insert((set, bytes, printed(one)));
                        }
                        Theirs::Same(text) => outcome.wrong.push(format!(
                            "{table}, event {number}, {definition}: ours {one:?}, theirs {text}"
                        )),
                    },
                    _ => outcome.wrong.push(format!("{table}, event {number}, {definition}: NULL")),
                }
            }
        }
    }
    outcome
}

// --------------------------------------------------------------------------------------- story

async fn connection(server: &Server) -> mysql_async::Conn {
    let mut conn = server.conn("kinds").await.unwrap();
    conn.query_drop(
        "SET NAMES utf8mb4, time_zone = '+00:00', sql_mode = 'STRICT_ALL_TABLES,ALLOW_INVALID_DATES'",
    )
    .await
    .unwrap();
    conn
}

async fn make(server: &Server, tables: &BTreeMap<String, Vec<Column>>) {
    let format = if server.flavor() == Flavor::Mysql56 { " ROW_FORMAT=DYNAMIC" } else { "" };
    let mut conn = connection(server).await;
    for (table, columns) in tables {
        let columns: Vec<String> = columns
            .iter()
            .enumerate()
            .map(|(place, column)| format!("c{place} {}", column.definition))
            .collect();
        let sql =
            format!("CREATE TABLE {table} (id INT PRIMARY KEY, {}){format}", columns.join(", "));
        conn.query_drop(&sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }
    conn.disconnect().await.unwrap();
}

/// Works on the tables, which are empty before and after; gives the log of the work.
async fn worked(server: &Server, tables: &BTreeMap<String, Vec<Column>>) -> Vec<u8> {
    let mut conn = connection(server).await;
    conn.query_drop("FLUSH LOGS").await.unwrap();
    for (table, columns) in tables {
        let set = |row: usize| {
            let one =
                |(place, column): (usize, &Column)| format!("c{place} = {}", column.values[row]);
            columns.iter().enumerate().map(one).collect::<Vec<_>>().join(", ")
        };
        for row in 0..ROWS {
            let sql = format!("INSERT INTO {table} SET id = {row}, {}", set(row));
            conn.query_drop(&sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
        }
        let sql = format!("UPDATE {table} SET {} WHERE id < 2", set(2));
        conn.query_drop(&sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
        conn.query_drop(format!("DELETE FROM {table}")).await.unwrap();
    }
    conn.disconnect().await.unwrap();
    last_log(server).await
}

/// Compares what is read of one log.
async fn compared(
    server: &Server,
    tables: &BTreeMap<String, Vec<Column>>,
    ours: &Events<Value<'static>>,
    log: &[u8],
    signs: bool,
) {
    let common = compare(tables, ours, &commons(log), |definition, ours, theirs| {
        common_says(definition, ours, signs, theirs)
    });
    let cdc = compare(tables, ours, &cdcs(log), cdc_says);
    let mut conn = connection(server).await;
    for (name, mut outcome) in [("mysql_common", common), ("mysql_cdc", cdc)] {
        outcome.ask(&mut conn).await;
        eprintln!("{name}: {} cells alike; its faults: {:?}", outcome.same, outcome.faults);
        assert!(outcome.same > 100, "{name} was hardly compared");
        let wrong = &outcome.wrong;
        assert!(
            wrong.is_empty(),
            "{} differences to {name}: {:#?}",
            wrong.len(),
            &wrong[..wrong.len().min(15)]
        );
    }
    conn.disconnect().await.unwrap();
}

async fn three_decoders_say_the_same(flavor: Flavor) {
    let seed = headwater_rig::edge::seed().unwrap();
    let made = generated::tables(seed, TABLES, flavor);
    let names = (0..).map(|number| format!("t{number:02}"));
    let tables: BTreeMap<String, Vec<Column>> = names.zip(made).collect();
    let server = Server::start(flavor, ServerOptions::default()).await.unwrap();
    server.sql("CREATE DATABASE kinds CHARACTER SET utf8mb4").await.unwrap();
    make(&server, &tables).await;
    let mut conn = server.conn("kinds").await.unwrap();
    let schema = LiveSchema::read(&mut conn, "kinds").await.unwrap();
    conn.disconnect().await.unwrap();
    let mut plain = Vec::new();
    for setting in metadata(flavor) {
        if !setting.is_empty() {
            let sql = format!("SET GLOBAL binlog_row_metadata = {setting}");
            server.sql(&sql).await.unwrap();
        }
        eprintln!("{flavor}, metadata {setting}");
        let log = worked(&server, &tables).await;
        let (ours, compressed) = ours(&log, &schema);
        // An update that changes nothing is not logged.
        assert!(ours.len() >= TABLES * (ROWS + 1) && compressed == 0);
        let signs = flavor.is_new_mysql();
        compared(&server, &tables, &ours, &log, signs).await;
        plain = ours.into_values().collect();
    }
    // The others read no compressed events: what we read of them is what was just compared.
    if let Some(compress) = compression(flavor) {
        server.sql(compress).await.unwrap();
        let log = worked(&server, &tables).await;
        let (ours, compressed) = ours(&log, &schema);
        eprintln!("{flavor}, compressed: {compressed} events of {}", ours.len());
        assert!(compressed >= TABLES * ROWS, "{compressed} compressed events");
        let ours: Vec<_> = ours.into_values().collect();
        assert_eq!(ours.len(), plain.len());
        for (one, other) in ours.iter().zip(&plain) {
            assert_eq!(one, other);
        }
    }
}

on_all!(three_decoders_say_the_same);
