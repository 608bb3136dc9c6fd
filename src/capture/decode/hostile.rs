//! What the decoder does with bytes that no server wrote: an error, never a panic, never more
//! memory than the bytes themselves justify.

use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use super::*;

const LIMIT: u64 = 1 << 20;
const VERSION: &[u8] = b"9.7.4";

/// An event of the given type with the right size, and a right checksum if wanted.
fn event(kind: u8, body: &[u8], checksum: bool) -> Vec<u8> {
    let size = 19 + body.len() + if checksum { 4 } else { 0 };
    let mut raw = vec![0; 4];
    raw.push(kind);
    raw.extend_from_slice(&7_u32.to_le_bytes());
    raw.extend_from_slice(&u32::try_from(size).unwrap().to_le_bytes());
    raw.extend_from_slice(&[0; 6]);
    raw.extend_from_slice(body);
    if checksum {
        let sum = crc32fast::hash(&raw);
        raw.extend_from_slice(&sum.to_le_bytes());
    }
    raw
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

fn format_description(version: &[u8], algorithm: u8) -> Vec<u8> {
    let mut body = 4_u16.to_le_bytes().to_vec();
    body.extend_from_slice(version);
    body.resize(52, 0);
    body.extend_from_slice(&[0; 4]);
    body.push(19);
    body.extend_from_slice(&post_headers());
    body.push(algorithm);
    event(15, &body, true)
}

#[test]
fn another_form_of_an_event_is_refused_by_its_number() {
    for (kind, length) in [(2, 14), (4, 0), (19, 7), (23, 10), (30, 12), (32, 8)] {
        let mut raw = format_description(VERSION, 0);
        raw[19 + 2 + 50 + 4 + 1 + kind - 1] = length;
        let error = Decoder::new(LIMIT).event(&raw, false).unwrap_err();
        let kind = u8::try_from(kind).unwrap();
        assert_eq!(error, Refusal::PostHeader { kind, length }.into());
    }
}

#[test]
fn a_log_that_only_seems_to_be_without_checksums_is_damaged() {
    assert!(Decoder::new(LIMIT).event(&format_description(VERSION, 0), false).is_ok());
    let mut raw = format_description(VERSION, 1);
    let at = raw.len() - 5;
    raw[at] = 0;
    let error = Decoder::new(LIMIT).event(&raw, false).unwrap_err();
    assert!(matches!(error, DecodeError::Damaged(_)), "{error}");
}

#[test]
fn what_goes_on_behind_its_end_is_damaged() {
    let read = |kind, body: &[u8]| {
        started(VERSION, 0)
            .event(&event(kind, body, false), false)
            .map(|event| format!("{event:?}"))
    };
    let whole: [(u8, &[u8]); 3] = [(16, &[7; 8]), (35, &[0; 8]), (163, &[0; 6])];
    for (kind, body) in whole {
        assert!(read(kind, body).is_ok(), "{kind}");
        assert!(read(kind, &[body, &[0]].concat()).is_err(), "{kind}");
    }
}

fn started(version: &[u8], algorithm: u8) -> Decoder {
    let mut decoder = Decoder::new(LIMIT);
    decoder.event(&format_description(version, algorithm), false).unwrap();
    decoder
}

/// Reads everything there is to read in an event.
fn exhaust(decoder: &mut Decoder, raw: &[u8], inside: bool, columns: &[MapColumn]) {
    let Ok(event) = decoder.event(raw, inside) else { return };
    match event.body {
        Body::TableMap(map) => drop(map.columns()),
        Body::Rows(rows) => {
            let Ok(mut reader) = rows.rows(columns) else { return };
            let mut row = Row::default();
            while let Ok(true) = reader.read(&mut row) {
                values(&row, columns);
            }
        }
        Body::TransactionPayload(payload) => {
            let Ok(mut reader) = payload.reader(LIMIT) else { return };
            let mut inner = Vec::new();
            while let Ok(true) = reader.read(&mut inner) {
                if !inside {
                    exhaust(decoder, &inner, true, columns);
                }
            }
        }
        other => drop(format!("{other:?}")),
    }
}

fn values(row: &Row<'_>, columns: &[MapColumn]) {
    let charsets = [Charset::Binary, Charset::Latin1, Charset::Utf8mb4, Charset::Utf16];
    for (index, raw) in row.before.iter().chain(&row.after).enumerate() {
        let facts = ColumnFacts {
            unsigned: index % 2 == 0,
            charset: charsets[index % 4],
            members: vec!["a".to_owned(), "b".to_owned()],
            special: [None, Some(Special::Uuid), Some(Special::Inet6)][index % 3],
        };
        drop(raw.value(columns[index % columns.len()].column, &facts));
    }
}

fn all_types() -> Vec<MapColumn> {
    use ColumnType as T;
    let types = [
        T::Integer { bytes: 1 },
        T::Integer { bytes: 3 },
        T::Integer { bytes: 8 },
        T::Float,
        T::Double,
        T::Decimal { precision: 65, scale: 30 },
        T::Decimal { precision: 3, scale: 3 },
        T::Bit { bits: 64 },
        T::Year,
        T::Date,
        T::Time { fraction: 0 },
        T::Time { fraction: 5 },
        T::DateTime { fraction: 2 },
        T::Timestamp { fraction: 6 },
        T::OldTime,
        T::OldDateTime,
        T::OldTimestamp,
        T::VarChar { bytes_max: 300 },
        T::Char { bytes_max: 16 },
        T::Enum { bytes: 2 },
        T::Set { bytes: 8 },
        T::Blob { length_bytes: 4 },
        T::Json { length_bytes: 4 },
        T::Geometry { length_bytes: 4 },
        T::Vector { length_bytes: 1 },
        T::CompressedVarChar { bytes_max: 100 },
        T::CompressedBlob { length_bytes: 1 },
    ];
    let plain = |column| MapColumn {
        column,
        nullable: true,
        unsigned: None,
        charset: None,
        strange_collation: None,
        name: None,
        members: None,
        key_place: None,
        geometry: None,
        visible: None,
        dimension: None,
        may_be_hash: false,
    };
    types.into_iter().map(plain).collect()
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 4000,
        rng_seed: RngSeed::Fixed(headwater_rig::edge::seed().unwrap()),
        ..ProptestConfig::default()
    })]

    #[test]
    fn no_bytes_at_all_panic(raw in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut decoder = Decoder::new(LIMIT);
        drop(decoder.event(&raw, false));
        drop(decoder.event(&raw, true));
        drop(json::text(&raw));
    }

    #[test]
    fn no_body_of_any_event_panics(
        kind in any::<u8>(),
        body in prop::collection::vec(any::<u8>(), 0..200),
        mariadb in any::<bool>(),
    ) {
        let version = if mariadb { b"10.11.19-MariaDB".as_slice() } else { VERSION };
        let columns = all_types();
        exhaust(&mut started(version, 1), &event(kind, &body, true), false, &columns);
        exhaust(&mut started(version, 0), &event(kind, &body, false), false, &columns);
    }

    #[test]
    fn no_rows_panic(kind in 30_u8..33, rows in prop::collection::vec(any::<u8>(), 0..600)) {
        let columns = all_types();
        let mut body = vec![1, 0, 0, 0, 0, 0, 1, 0, 2, 0];
        body.push(u8::try_from(columns.len()).unwrap());
        body.extend(vec![0xff; columns.len().div_ceil(8) * if kind == 31 { 2 } else { 1 }]);
        body.extend(rows);
        exhaust(&mut started(VERSION, 1), &event(kind, &body, true), false, &columns);
    }

    #[test]
    fn no_content_of_any_column_panics(
        index in 0..27_usize,
        special in 0..4_usize,
        content in prop::collection::vec(any::<u8>(), 0..80),
    ) {
        let columns = all_types();
        let special =
            [None, Some(Special::Uuid), Some(Special::Inet4), Some(Special::Inet6)][special];
        for charset in [Charset::Binary, Charset::Koi8r, Charset::Utf32, Charset::Gbk] {
            let facts = ColumnFacts { unsigned: false, charset, members: Vec::new(), special };
            drop(RawColumn::Bytes(&content).value(columns[index].column, &facts));
        }
    }

    #[test]
    fn no_table_map_panics(rest in prop::collection::vec(any::<u8>(), 0..120)) {
        let mut body = vec![1, 0, 0, 0, 0, 0, 1, 0, 1, b'd', 0, 1, b't', 0];
        body.extend(rest);
        for version in [VERSION, b"10.11.19-MariaDB"] {
            exhaust(&mut started(version, 1), &event(19, &body, true), false, &all_types());
        }
    }

    #[test]
    fn json_that_is_cut_or_flipped_does_not_panic(at in 0..57_usize, bit in 0..8_u8) {
        let mut document = JSON.to_vec();
        drop(json::text(&document[..at.min(document.len())]));
        let at = at % document.len();
        document[at] ^= 1 << bit;
        drop(json::text(&document));
    }
}

/// `{"a": [1, "x"], "b": 1.5}`
const JSON: &[u8] = &[
    0x00, 2, 0, 43, 0, 18, 0, 1, 0, 19, 0, 1, 0, 0x02, 20, 0, 0x0b, 35, 0, b'a', b'b', 2, 0, 15, 0,
    0x05, 1, 0, 0x0c, 10, 0, 1, b'x', 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xf8, 0x3f,
];

#[test]
fn json_reads_as_text() {
    assert_eq!(json::text(JSON).unwrap(), r#"{"a": [1, "x"], "b": 1.5}"#);
}

#[test]
fn json_whose_parts_share_bytes_does_not_explode() {
    // Each array holds the next one twice, at the offset right behind its own head: 2^90 empty
    // arrays, were it printed.
    let depth = 90_u16;
    let mut document = vec![0x02];
    for level in 0..depth {
        let [low, high] = ((depth - level) * 10 + 4).to_le_bytes();
        document.extend_from_slice(&[2, 0, low, high, 0x02, 10, 0, 0x02, 10, 0]);
    }
    document.extend_from_slice(&[0, 0, 4, 0]);
    let error = json::text(&document).unwrap_err();
    assert_eq!(error.to_string(), "JSON whose parts overlap");
}

#[test]
fn json_nested_too_deep_is_damage() {
    let mut document = vec![0x02];
    for level in 0..101_u16 {
        let [low, high] = ((101 - level) * 7 + 4).to_le_bytes();
        document.extend_from_slice(&[1, 0, low, high, 0x02, 7, 0]);
    }
    document.extend_from_slice(&[0, 0, 4, 0]);
    let error = json::text(&document).unwrap_err();
    assert_eq!(error.to_string(), "JSON nested deeper than 100");
}

#[test]
fn a_wrong_checksum_is_named() {
    let mut decoder = started(VERSION, 1);
    let mut raw = event(16, &[1; 8], true);
    *raw.last_mut().unwrap() ^= 1;
    let error = decoder.event(&raw, false).unwrap_err();
    assert!(matches!(error, DecodeError::Damaged(Damage::Checksum { .. })), "{error}");
}

#[test]
fn events_inside_a_payload_have_no_checksum() {
    let mut decoder = started(VERSION, 1);
    let raw = event(16, &5_u64.to_le_bytes(), false);
    assert_eq!(decoder.event(&raw, true).unwrap().body, Body::Xid(Xid(5)));
    assert!(decoder.event(&raw, false).is_err());
}

#[test]
fn nothing_but_a_rotation_or_a_heartbeat_comes_before_the_format() {
    let mut decoder = Decoder::new(LIMIT);
    assert!(decoder.event(&event(16, &[0; 8], true), false).is_err());
    assert_eq!(decoder.event(&event(27, b"log.1", false), false).unwrap().body, Body::Heartbeat);
}

#[test]
fn the_first_rotation_may_have_a_checksum_or_not() {
    let mut body = 4_u64.to_le_bytes().to_vec();
    body.extend_from_slice(b"binlog.000007");
    for checksum in [false, true] {
        let mut decoder = Decoder::new(LIMIT);
        let raw = event(4, &body, checksum);
        let Body::Rotate { file, offset } = decoder.event(&raw, false).unwrap().body else {
            panic!("not a rotation")
        };
        assert_eq!((file.as_ref(), offset), ("binlog.000007", 4));
    }
}

#[test]
fn a_format_description_of_an_open_file_still_has_its_checksum() {
    let mut raw = format_description(VERSION, 1);
    raw[17] |= 0x01;
    assert!(Decoder::new(LIMIT).event(&raw, false).is_ok());
    raw[17] |= 0x02;
    assert!(Decoder::new(LIMIT).event(&raw, false).is_err());
}

#[test]
fn a_format_description_changes_what_follows() {
    let mut decoder = started(VERSION, 0);
    let plain = event(16, &[0; 8], false);
    assert!(decoder.event(&plain, false).is_ok());
    decoder.event(&format_description(VERSION, 1), false).unwrap();
    assert!(decoder.event(&plain, false).is_err());
    let error = decoder.event(&format_description(VERSION, 9), false).unwrap_err();
    assert_eq!(error, DecodeError::Refused(Refusal::ChecksumAlgorithm(9)));
}

#[test]
fn a_size_that_is_not_the_events_is_damage() {
    let mut decoder = started(VERSION, 0);
    let mut raw = event(16, &[0; 8], false);
    raw[9] += 1;
    let error = decoder.event(&raw, false).unwrap_err();
    assert!(matches!(error, DecodeError::Damaged(Damage::Size { .. })), "{error}");
}

#[test]
fn what_is_not_read_is_refused_by_name() {
    let mut decoder = started(VERSION, 0);
    let named = [
        (39, Body::PartialRows(0)),
        (5, Body::StatementFormat("INTVAR")),
        (17, Body::StatementFormat("LOAD DATA")),
        (12, Body::Unknown),
        (164, Body::StartEncryption),
        (200, Body::Unknown),
    ];
    for (kind, body) in named {
        let raw = event(kind, &[0; 30], false);
        assert_eq!(decoder.event(&raw, false).unwrap().body, body);
    }
    // A column of a type from the future, in a table that may be nobody's: only its columns are
    // refused.
    let body = [1, 0, 0, 0, 0, 0, 1, 0, 1, b'd', 0, 1, b't', 0, 1, 200, 0, 0];
    let raw = event(19, &body, false);
    let Body::TableMap(map) = decoder.event(&raw, false).unwrap().body else { panic!("not a map") };
    assert_eq!((map.schema, map.table), ("d", "t"));
    let error = map.columns().unwrap_err();
    assert_eq!(error, DecodeError::Refused(Refusal::ColumnType { number: 200, name: "unknown" }));
}

/// A transaction payload's header fields and content.
fn payload_event(size: u64, algorithm: u8, declared: u64, content: &[u8]) -> Vec<u8> {
    let mut body = vec![2, 3, 0xfc, algorithm, 0, 3, 9, 0xfe];
    body.extend_from_slice(&declared.to_le_bytes());
    body.extend_from_slice(&[1, 9, 0xfe]);
    body.extend_from_slice(&size.to_le_bytes());
    body.push(0);
    body.extend_from_slice(content);
    event(40, &body, false)
}

fn read_payload(raw: &[u8]) -> Result<Vec<Vec<u8>>, DecodeError> {
    let event = started(VERSION, 0).event(raw, false)?;
    let Body::TransactionPayload(payload) = event.body else { panic!("not a payload") };
    let mut reader = payload.reader(LIMIT)?;
    let (mut events, mut inner) = (Vec::new(), Vec::new());
    while reader.read(&mut inner)? {
        events.push(inner.clone());
    }
    Ok(events)
}

#[test]
fn a_compressed_transaction_is_whole_or_an_error() {
    let events = [event(16, &[1; 8], false), event(16, &[2; 8], false)];
    let plain = events.concat();
    let declared = plain.len() as u64;
    let packed = zstd::encode_all(plain.as_slice(), 3).unwrap();
    let size = packed.len() as u64;
    assert_eq!(read_payload(&payload_event(size, 0, declared, &packed)).unwrap(), events);
    assert_eq!(read_payload(&payload_event(declared, 255, declared, &plain)).unwrap(), events);
    assert!(read_payload(&payload_event(size, 0, declared + 1, &packed)).is_err());
    assert!(read_payload(&payload_event(size, 0, declared - 1, &packed)).is_err());
    assert!(read_payload(&payload_event(size, 0, declared - 27, &packed)).is_err());
    assert!(read_payload(&payload_event(size, 7, declared, &packed)).is_err());
    assert!(read_payload(&payload_event(size + 1, 0, declared, &packed)).is_err());
    assert!(read_payload(&payload_event(size, 0, LIMIT + 1, &packed)).is_err());
    for length in 0..packed.len() {
        let cut = &packed[..length];
        assert!(read_payload(&payload_event(length as u64, 0, declared, cut)).is_err());
    }
}

#[test]
fn a_compressed_statement_that_claims_too_much_is_refused_before_memory_is_taken() {
    let mut body = vec![0; 13];
    body.push(0);
    body.extend_from_slice(&[0x84, 0xff, 0xff, 0xff, 0xff, 1, 2, 3]);
    let error = started(VERSION, 0).event(&event(165, &body, false), false).unwrap_err();
    assert!(matches!(error, DecodeError::Refused(Refusal::TooLarge { .. })), "{error}");
}

#[test]
fn mariadbs_transaction_ids_say_what_kind_they_are() {
    let mut decoder = started(b"10.11.19-MariaDB", 0);
    let mut body = 41_u64.to_le_bytes().to_vec();
    body.extend_from_slice(&3_u32.to_le_bytes());
    body.push(0x44);
    body.extend_from_slice(&[1, 0, 0, 0, 2, 1, b'g', b'g', b'b']);
    let raw = event(162, &body, false);
    let Body::MariadbGtid(gtid) = decoder.event(&raw, false).unwrap().body else { panic!("none") };
    assert_eq!((gtid.domain, gtid.server_id, gtid.sequence), (3, 7, 41));
    assert!(gtid.is_prepared_xa() && gtid.is_transactional());
    assert!(!gtid.is_standalone() && !gtid.is_ddl() && !gtid.is_completed_xa());
    assert_eq!(gtid.xid, Some((1, &b"gg"[..], &b"b"[..])));
}

/// What a table map of some `VARCHAR` columns says of their collations.
fn collations(count: u8, optional: &[u8]) -> Result<Vec<Option<Charset>>, DecodeError> {
    let mut body = vec![1, 0, 0, 0, 0, 0, 1, 0, 1, b'd', 0, 1, b't', 0, count];
    body.extend(vec![15; usize::from(count)]);
    body.push(count * 2);
    body.extend([9, 0].repeat(usize::from(count)));
    body.push(0);
    body.extend_from_slice(optional);
    let raw = event(19, &body, false);
    let event = started(VERSION, 0).event(&raw, false)?;
    let Body::TableMap(map) = event.body else { panic!("not a map") };
    Ok(map.columns()?.into_iter().map(|column| column.charset).collect())
}

#[test]
fn collations_that_differ_are_listed_in_the_order_of_their_columns() {
    let found = collations(4, &[2, 5, 8, 1, 45, 3, 63]).unwrap();
    let charsets = [Charset::Latin1, Charset::Utf8mb4, Charset::Latin1, Charset::Binary];
    assert_eq!(found, charsets.map(Some));
    for wrong in [[2, 5, 8, 3, 45, 1, 63], [2, 5, 8, 1, 45, 1, 63], [2, 5, 8, 1, 45, 4, 63]] {
        assert!(collations(4, &wrong).is_err(), "{wrong:?}");
    }
}

#[test]
fn metadata_that_comes_twice_is_refused_before_it_costs_time() {
    assert_eq!(collations(1, &[2, 1, 8]).unwrap(), [Some(Charset::Latin1)]);
    let error = collations(1, &[2, 1, 8, 2, 1, 8]).unwrap_err();
    assert_eq!(error.to_string(), "a table map with the same metadata twice");
    // What is not known costs nothing.
    assert!(collations(1, &[99, 0, 99, 0]).is_ok());
}

#[test]
fn an_enum_of_many_members_is_described_by_the_log_alone() {
    let members: Vec<Vec<u8>> = (0..300).map(|member| format!("m{member}").into_bytes()).collect();
    let column = MapColumn {
        column: ColumnType::Enum { bytes: 2 },
        charset: Some(Charset::Latin1),
        name: Some("c".to_owned()),
        members: Some(members),
        ..all_types().remove(0)
    };
    let definition = column.definition([]).unwrap();
    assert_eq!(definition.members[299], "m299");
    assert_eq!(ColumnFacts::new(&column, &definition).unwrap().members[299], "m299");
}
