//! Events as bytes, and everything there is to read in them.

use std::collections::HashMap;

use headwater::capture::decode::{
    Body, Charset, ColumnFacts, ColumnType, Decoder, MapColumn, RawColumn, Row, RowsEvent, Special,
};
use headwater::database::schema::LiveColumn;
use headwater::value::Value;

/// What the decoder may inflate at most.
pub const INFLATED_BYTES_MAX: u64 = 256 << 10;

const FORMAT_DESCRIPTION: u8 = 15;

/// An event with the right size, and with a right checksum if wanted.
pub fn event(kind: u8, body: &[u8], checksum: bool) -> Vec<u8> {
    let mut raw = vec![1, 2, 3, 4, kind, 7, 0, 0, 0];
    raw.extend_from_slice(&[0; 10]);
    raw.extend_from_slice(body);
    if checksum {
        raw.extend_from_slice(&[0; 4]);
    }
    mend(&mut raw, checksum);
    raw
}

/// Gives an event its right size and checksum.
pub fn mend(raw: &mut [u8], checksum: bool) {
    let size = u32::try_from(raw.len()).expect("a small input").to_le_bytes();
    if let Some(field) = raw.get_mut(9..13) {
        field.copy_from_slice(&size);
    }
    if checksum && let Some((covered, sum)) = raw.split_last_chunk_mut::<4>() {
        *sum = crc32fast::hash(covered).to_le_bytes();
    }
}

/// The lengths of the events' fixed parts, as MySQL 8.0 says them.
fn post_headers() -> [u8; 41] {
    let mut lengths = [0; 41];
    for (kind, length) in
        [(2, 13), (4, 8), (19, 8), (23, 8), (24, 8), (25, 8), (30, 10), (31, 10), (32, 10)]
    {
        lengths[kind - 1] = length;
    }
    lengths
}

/// A decoder that has seen the format description of such a server.
pub fn decoder(mariadb: bool, checksums: bool) -> Decoder {
    let mut body = 4_u16.to_le_bytes().to_vec();
    body.extend_from_slice(if mariadb { b"10.11.19-MariaDB-log" } else { b"9.7.4" });
    body.resize(52, 0);
    body.extend_from_slice(&[0, 0, 0, 0, 19]);
    body.extend_from_slice(&post_headers());
    body.push(u8::from(checksums));
    let mut decoder = Decoder::new(INFLATED_BYTES_MAX);
    let raw = event(FORMAT_DESCRIPTION, &body, true);
    decoder.event(&raw, false).expect("a good format description");
    decoder
}

/// The tables that table maps described so far.
#[derive(Default)]
pub struct Tables(HashMap<u64, Vec<MapColumn>>);

impl Tables {
    /// Reads everything there is to read in an event.
    pub fn exhaust(&mut self, decoder: &mut Decoder, raw: &[u8], inside_payload: bool) {
        let Ok(event) = decoder.event(raw, inside_payload) else { return };
        assert_eq!(event.header.size as usize, raw.len());
        match event.body {
            Body::TableMap(map) => {
                if let Ok(columns) = map.columns() {
                    // As capture does, so that a log of nothing but table maps takes no memory.
                    if self.0.len() >= 8 {
                        self.0.clear();
                    }
                    self.0.insert(map.table_id, columns);
                }
            }
            Body::Rows(event) => {
                if let Some(columns) = self.0.get(&event.table_id) {
                    rows(&event, columns);
                }
            }
            Body::TransactionPayload(payload) => {
                let Ok(mut reader) = payload.reader(INFLATED_BYTES_MAX) else { return };
                let mut inner = Vec::new();
                let mut left = payload.declared_bytes;
                while let Ok(true) = reader.read(&mut inner) {
                    left = left.checked_sub(inner.len() as u64).expect("no more than declared");
                    // A payload inside a payload is as capture finds it: an event it refuses.
                    if !inside_payload {
                        self.exhaust(decoder, &inner, true);
                    }
                }
            }
            other => drop(format!("{other:?}")),
        }
    }
}

fn rows(event: &RowsEvent<'_>, columns: &[MapColumn]) {
    let facts: Vec<ColumnFacts> = columns.iter().map(facts).collect();
    let Ok(mut reader) = event.rows(columns) else { return };
    let mut row = Row::default();
    while let Ok(true) = reader.read(&mut row) {
        for image in [&row.before, &row.after] {
            assert!(image.is_empty() || image.len() == columns.len());
            for ((raw, column), facts) in image.iter().zip(columns).zip(&facts) {
                value(*raw, column.column, facts);
            }
        }
    }
}

/// What a schema would say of the column, joined with what the log says; where they can't be
/// joined, something.
fn facts(column: &MapColumn) -> ColumnFacts {
    if let Some(definition) = column.definition([])
        && !matches!(column.column, ColumnType::Enum { .. } | ColumnType::Set { .. })
    {
        let facts = ColumnFacts::new(column, &definition);
        assert!(facts.is_ok(), "{definition:?} is not {column:?}");
    }
    ColumnFacts::new(column, &live(column)).unwrap_or_else(|_error| ColumnFacts {
        unsigned: false,
        charset: column.charset.unwrap_or(Charset::Binary),
        members: Vec::new(),
        special: None,
    })
}

fn live(column: &MapColumn) -> LiveColumn {
    let (data_type, precision, scale) = match column.column {
        ColumnType::Integer { bytes: 1 } => ("tinyint", None, None),
        ColumnType::Integer { bytes: 2 } => ("smallint", None, None),
        ColumnType::Integer { bytes: 3 } => ("mediumint", None, None),
        ColumnType::Integer { bytes: 4 } => ("int", None, None),
        ColumnType::Integer { .. } => ("bigint", None, None),
        ColumnType::Float => ("float", None, None),
        ColumnType::Double => ("double", None, None),
        ColumnType::Decimal { precision, scale } => {
            ("decimal", Some(u32::from(precision)), Some(u32::from(scale)))
        }
        ColumnType::Bit { bits } => ("bit", Some(u32::from(bits)), None),
        ColumnType::Year => ("year", None, None),
        ColumnType::Date => ("date", None, None),
        ColumnType::Time { fraction } => ("time", None, Some(u32::from(fraction))),
        ColumnType::DateTime { fraction } => ("datetime", None, Some(u32::from(fraction))),
        ColumnType::Timestamp { fraction } => ("timestamp", None, Some(u32::from(fraction))),
        ColumnType::OldTime => ("time", None, None),
        ColumnType::OldDateTime => ("datetime", None, None),
        ColumnType::OldTimestamp => ("timestamp", None, None),
        ColumnType::Char { bytes_max: 16 } => ("uuid", None, None),
        ColumnType::Char { bytes_max: 4 } => ("inet4", None, None),
        ColumnType::Char { .. } => ("char", None, None),
        ColumnType::VarChar { .. } | ColumnType::CompressedVarChar { .. } => {
            ("varchar", None, None)
        }
        ColumnType::Enum { .. } => ("enum", None, None),
        ColumnType::Set { .. } => ("set", None, None),
        ColumnType::Json { .. } => ("json", None, None),
        ColumnType::Geometry { .. } => ("point", None, None),
        ColumnType::Vector { .. } => ("vector", None, None),
        _ => ("blob", None, None),
    };
    LiveColumn {
        name: "c".into(),
        data_type: data_type.to_owned(),
        column_type: data_type.to_owned(),
        nullable: true,
        default: None,
        charset: None,
        collation: None,
        extra: String::new(),
        unsigned: false,
        generated: false,
        members: vec!["a".to_owned(), "b".to_owned(), "c".to_owned()],
        characters_max: None,
        precision,
        scale,
    }
}

/// Reads a value and holds it to its form.
pub fn value(raw: RawColumn<'_>, column: ColumnType, facts: &ColumnFacts) {
    let Ok(value) = raw.value(column, facts) else { return };
    match (&value, raw) {
        (Value::Null, raw) => assert_eq!(raw, RawColumn::Null),
        (Value::Temporal(text), _) => {
            let allowed = |letter: u8| letter.is_ascii_digit() || b"-: .".contains(&letter);
            assert!(text.len() <= 26 && text.bytes().all(allowed), "{text:?}");
        }
        (Value::Decimal(text), _) => decimal(text, column),
        (Value::Json(text), _) => {
            serde_json::from_str::<serde::de::IgnoredAny>(text).expect("JSON that can be read");
        }
        (Value::Bytes(content), RawColumn::Bytes(stored)) if facts.special.is_none() => {
            assert!(
                matches!(
                    column,
                    ColumnType::CompressedBlob { .. } | ColumnType::CompressedVarChar { .. }
                ) || content.starts_with(stored)
            );
        }
        (Value::Encoded { charset, .. }, _) => assert_eq!(charset, facts.charset.name()),
        (Value::Text(text), _) if facts.special == Some(Special::Uuid) => {
            assert!(!matches!(column, ColumnType::Char { .. }) || text.len() == 36);
        }
        (Value::Reference(_), _) => panic!("a reference without a map"),
        _ => {}
    }
}

fn decimal(text: &str, column: ColumnType) {
    let ColumnType::Decimal { precision, scale } = column else { panic!("{text} of {column:?}") };
    let digits = text.strip_prefix('-').unwrap_or(text);
    let (whole, part) = digits.split_once('.').unwrap_or((digits, ""));
    assert!((whole.len() + part.len()) <= usize::from(precision) + 1, "{text}");
    assert_eq!(part.len(), usize::from(scale), "{text}");
    assert!(!whole.is_empty() && (whole.len() == 1 || !whole.starts_with('0')), "{text}");
    assert!(whole.bytes().chain(part.bytes()).all(|digit| digit.is_ascii_digit()), "{text}");
}
