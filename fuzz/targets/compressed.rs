//! What servers compress. The first byte chooses: compressed bytes as they come, where damage is
//! told from content, or the rest of the input compressed first, which has to come out the same and
//! then is what is read.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::{DeflateEncoder, ZlibEncoder};
use headwater::capture::decode::{Body, Charset, ColumnFacts, ColumnType, Decoder, RawColumn};
use headwater::value::Value;

use super::raw::{self, INFLATED_BYTES_MAX, Tables};

const PAYLOAD: u8 = 40;
const QUERY: u8 = 165;
const ROWS: u8 = 166;

pub fn run(bytes: &[u8]) {
    let Some((choice, rest)) = bytes.split_first() else { return };
    match choice % 8 {
        0 => payload(PAYLOAD, 0, rest, rest),
        1 => payload(PAYLOAD, 255, rest, rest),
        2 => whole_payload(rest),
        3 => read(&raw::event(QUERY, rest, false)),
        4 => query(rest),
        5 => read(&raw::event(ROWS, rest, false)),
        6 => column(rest, None),
        _ => made_columns(rest),
    }
}

fn read(raw: &[u8]) {
    let mut decoder = raw::decoder(true, false);
    Tables::default().exhaust(&mut decoder, raw, false);
}

/// A compressed transaction. Its first two bytes declare how large it is, so that wrong and huge
/// sizes are met too.
fn payload(kind: u8, algorithm: u8, declared: &[u8], content: &[u8]) {
    let declared = declared.first_chunk::<4>().copied().map_or(0, u32::from_le_bytes);
    let content = content.get(4..).unwrap_or_default();
    read(&raw::event(kind, &payload_body(algorithm, u64::from(declared), content), false));
}

fn payload_body(algorithm: u8, declared: u64, content: &[u8]) -> Vec<u8> {
    let mut body = vec![2, 3, 0xfc, algorithm, 0, 3, 9, 0xfe];
    body.extend_from_slice(&declared.to_le_bytes());
    body.extend_from_slice(&[1, 9, 0xfe]);
    body.extend_from_slice(&(content.len() as u64).to_le_bytes());
    body.push(0);
    body.extend_from_slice(content);
    body
}

/// Events, cut by the sizes in their headers where those fit.
fn whole_payload(plain: &[u8]) {
    let packed = zstd::encode_all(plain, 1).expect("compressing in memory");
    let raw = raw::event(PAYLOAD, &payload_body(0, plain.len() as u64, &packed), false);
    let mut decoder = raw::decoder(false, false);
    let event = decoder.event(&raw, false).expect("a whole payload");
    let Body::TransactionPayload(payload) = event.body else { panic!("a payload") };
    let mut reader = payload.reader(INFLATED_BYTES_MAX).expect("within the limit");
    let (mut all, mut inner) = (Vec::new(), Vec::new());
    let end = loop {
        match reader.read(&mut inner) {
            Ok(true) => all.extend_from_slice(&inner),
            end => break end,
        }
    };
    assert!(plain.starts_with(&all));
    assert!(end.is_err() || all.len() == plain.len(), "only the whole ends well");
    Tables::default().exhaust(&mut decoder, &raw, false);
}

/// A size and a zlib stream, as `MariaDB` writes them.
fn tail(plain: &[u8]) -> Vec<u8> {
    let size = u32::try_from(plain.len()).expect("a small input");
    let mut tail = vec![0x84];
    tail.extend_from_slice(&size.to_be_bytes());
    let mut encoder = ZlibEncoder::new(tail, Compression::fast());
    encoder.write_all(plain).expect("compressing in memory");
    encoder.finish().expect("compressing in memory")
}

fn query(plain: &[u8]) {
    let mut body = vec![0; 14];
    body.extend_from_slice(&tail(plain));
    let raw = raw::event(QUERY, &body, false);
    let event = raw::decoder(true, false).event(&raw, false).expect("a whole statement");
    let Body::Query(query) = event.body else { panic!("a statement") };
    assert_eq!(query.sql, plain);
    let mut strict = Decoder::new(0);
    assert!(strict.event(&raw, true).is_err() || plain.is_empty(), "the limit holds");
}

fn column(content: &[u8], expected: Option<&[u8]>) {
    let facts = ColumnFacts {
        unsigned: false,
        charset: Charset::Binary,
        members: Vec::new(),
        special: None,
    };
    let column = ColumnType::CompressedBlob { length_bytes: 4 };
    let value = RawColumn::Bytes(content).value(column, &facts);
    if let Some(expected) = expected {
        assert_eq!(value, Ok(Value::Bytes(expected.into())));
    }
}

fn made_columns(plain: &[u8]) {
    let mut wrapped = tail(plain);
    column(&wrapped, Some(plain));
    if let Some(head) = wrapped.first_mut() {
        *head |= 0x08;
    }
    wrapped.truncate(5);
    let mut encoder = DeflateEncoder::new(wrapped, Compression::fast());
    encoder.write_all(plain).expect("compressing in memory");
    column(&encoder.finish().expect("compressing in memory"), Some(plain));
}
