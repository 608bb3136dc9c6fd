//! What is written comes back exactly, and what was not written by us harms nothing.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use std::borrow::Cow;
use std::sync::Arc;

use super::tag::*;
use super::*;
use crate::change::{Fingerprint, Identity, Kind, Shape};
use crate::value::{Name, Reference, Value};

const UUID_TEXT: &str = "b0e5d9c4-3f5e-4b7a-9f0d-0123456789ab";

fn name(text: &str) -> Name {
    Name::from(text)
}

fn text(text: &str) -> Value<'_> {
    Value::Text(Cow::Borrowed(text))
}

fn reference<'a>(table: &str, identity: Identity<'a>) -> Value<'a> {
    Value::Reference(Box::new(Reference { table: name(table), identity }))
}

fn shape(table: &str, columns: &[&str]) -> Arc<Shape> {
    Arc::new(Shape { table: name(table), columns: columns.iter().map(|it| name(it)).collect() })
}

fn written(records: &[Record<'_>]) -> Vec<u8> {
    let mut writer = SegmentWriter::new();
    for record in records {
        writer.record(record);
    }
    writer.finish()
}

fn read(bytes: &[u8]) -> Result<Vec<Record<'_>>, Malformed> {
    let mut reader = SegmentReader::new(bytes);
    let mut records = Vec::new();
    while let Some(record) = reader.read()? {
        records.push(record);
    }
    Ok(records)
}

/// Registration of one patient, as `docs/formats.md` draws it.
fn example() -> Vec<Record<'static>> {
    let patient = Change {
        shape: shape("patient", &["creator", "voided"]),
        kind: Kind::Insert,
        identity: Identity::One(text(UUID_TEXT)),
        previous: None,
        values: vec![
            reference("users", Identity::One(text("1c3db49d-440a-11e6-a65c-00e04c680037"))),
            Value::Int(-1),
        ],
        base: None,
    };
    let end = End {
        sequence: Sequence(300),
        changes: 1,
        committed_at: Timestamp(1_760_000_000_000_000),
        origin: None,
    };
    vec![Record::Begin(Sequence(300)), Record::Change(patient), Record::End(end)]
}

#[test]
fn the_format_is_the_one_in_the_documentation() {
    let mut expected = vec![1, 0xac, 2]; // begin 300
    expected.extend(b"\x02\x05users\x02\x07patient\x02\x07creator\x02\x06voided"); // names 0 to 3
    expected.extend([3, 1, 2, 2, 3]); // shape 0: table 1, two columns, 2 and 3
    expected.extend([4, 0, 0]); // insert, no flags, shape 0
    expected.extend([0, 7]); // one, uuid
    expected.extend(*uuid::Uuid::parse_str(UUID_TEXT).unwrap().as_bytes());
    expected.extend([12, 0, 0, 7]); // reference to table 0: one, uuid
    expected.extend(*b"\x1c\x3d\xb4\x9d\x44\x0a\x11\xe6\xa6\x5c\x00\xe0\x4c\x68\x00\x37");
    expected.extend([1, 1]); // -1
    expected.extend([7, 0xac, 2, 1]); // end 300, one change
    expected.extend([0x80, 0x80, 0xf0, 0xec, 0xbd, 0xad, 0xa0, 0x06, 0]); // when; from here
    assert_eq!(written(&example()), expected);
    assert_eq!(read(&expected).unwrap(), example());
}

#[test]
fn only_the_plain_spelling_of_a_uuid_is_shortened_and_every_other_comes_back_letter_for_letter() {
    let plain = IdentityBytes::new(&Identity::One(text(UUID_TEXT)));
    assert_eq!(plain.as_slice().len(), 18);
    for spelling in [
        UUID_TEXT,
        &UUID_TEXT.to_uppercase(),
        "162552AAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        "A4F30A1B-5EB9-11DF-A648-37A07F9C90FB",
        &UUID_TEXT.replace('-', ""),
        &UUID_TEXT.replace('-', "_"),
        &format!("{UUID_TEXT}  "),
        &format!("{{{UUID_TEXT}}}"),
        &UUID_TEXT.replace('b', "B"),
        "b0e5d9c43f5e-4b7a-9f0d-0123456789ab-",
        "b0e5d9c4-3f5e-4b7a-9f0d-0123456789ä",
        "",
    ] {
        let identity = Identity::One(text(spelling));
        assert_eq!(IdentityBytes::new(&identity).identity().unwrap(), identity);
    }
}

#[test]
fn a_name_is_written_once_and_a_segment_stands_alone() {
    let mut writer = SegmentWriter::new();
    let (mut lengths, mut segments) = (Vec::new(), Vec::new());
    for _ in 0..2 {
        for _ in 0..3 {
            for record in &example() {
                writer.record(record);
            }
            lengths.push(writer.len());
        }
        segments.push(writer.finish());
        assert!(writer.is_empty());
    }
    let both = [example(), example(), example()].concat();
    for segment in &segments {
        assert_eq!(read(segment).unwrap(), both);
        assert_eq!(segment.windows(7).filter(|bytes| *bytes == b"patient").count(), 1);
    }
    assert!(lengths[1] - lengths[0] < lengths[0]);
}

/// A row in parts after a row of the same shape that came whole and referred to nothing.
#[test]
fn the_tables_of_a_row_written_in_parts_are_named_whatever_came_before_it() {
    let (note, ward) = (shape("note", &["ward_id"]), name("ward"));
    let known = IdentityBytes::new(&Identity::One(text(UUID_TEXT)));
    let whole = |values| Change {
        shape: Arc::clone(&note),
        kind: Kind::Insert,
        identity: Identity::One(text("a")),
        previous: None,
        values,
        base: None,
    };
    let mut writer = SegmentWriter::new();
    writer.begin(Sequence(1));
    writer.change(&whole(vec![Value::Null]));
    for _ in 0..2 {
        writer.start(Kind::Insert, &note, std::slice::from_ref(&ward));
        writer.identity_value(&text("a")).unwrap();
        writer.reference(&ward, known.as_slice()).unwrap();
    }
    let bytes = writer.finish();
    let referring = whole(vec![reference("ward", Identity::One(text(UUID_TEXT)))]);
    let expected = [whole(vec![Value::Null]), referring.clone(), referring].map(Record::Change);
    assert_eq!(read(&bytes).unwrap()[1..], expected);
    assert_eq!(bytes.windows(5).filter(|bytes| *bytes == b"\x04ward").count(), 1);
}

#[test]
fn a_reference_to_a_table_that_was_not_named_is_refused_before_it_is_written() {
    let mut writer = SegmentWriter::new();
    let mark = writer.start(Kind::Insert, &shape("note", &["ward_id"]), &[]);
    writer.identity_value(&text("a")).unwrap();
    let so_far = writer.len();
    let error = writer.reference(&name("ward"), &[0, 0]).unwrap_err();
    assert_eq!((error.offset, writer.len()), (so_far, so_far));
    let nested = Identity::Many(vec![Value::Null, reference("ward", Identity::Lost(1))]);
    writer.value(&reference("note", nested)).unwrap_err();
    writer.identity_value(&reference("ward", Identity::Lost(1))).unwrap_err();
    writer.take_back(mark);
    assert_eq!(read(&writer.finish()), Ok(vec![]));
}

#[test]
fn lengths_that_promise_more_than_is_there_are_refused() {
    let huge = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1];
    for start in [
        vec![NAME],
        vec![INSERT, 0],
        vec![NAME, 1, b't', SHAPE, 0],
        vec![NAME, 1, b't', SHAPE, 0, 0, INSERT, 0, 0, MANY],
        vec![NAME, 1, b't', SHAPE, 0, 0, INSERT, 0, 0, ONE, BYTES],
        vec![NAME, 1, b't', SHAPE, 0, 0, INSERT, 0, 0, ONE, ENCODED],
        vec![NAME, 1, b't', SHAPE, 0, 0, INSERT, 0, 0, ONE, REFERENCE],
    ] {
        let bytes = [start.as_slice(), &huge].concat();
        assert!(read(&bytes).is_err(), "{bytes:?}");
        let too_long = [start.as_slice(), &[0xff; 9], &[2]].concat();
        assert!(read(&too_long).is_err(), "{too_long:?}");
    }
}

#[test]
fn references_nested_without_end_are_refused() {
    let nested = |depth| {
        (0..depth).fold(Identity::One(Value::Null), |inner, _| Identity::One(reference("t", inner)))
    };
    let deepest = nested(u32::from(DEPTH_MAX));
    assert_eq!(IdentityBytes::new(&deepest).identity().unwrap(), deepest);
    let error = IdentityBytes::new(&nested(50)).identity().map(drop).unwrap_err();
    assert_eq!(error.what, "references nested too deep");
    let bytes = [[NAME, 1, b't'].as_slice(), &[ONE, REFERENCE, 0].repeat(100_000)].concat();
    assert!(IdentityBytes::from_slice(&bytes).identity().is_err());
}

#[test]
fn a_change_of_too_many_values_is_refused_before_they_take_memory() {
    // An identity of 4,096 references, each to a row of 4,096 empty parts.
    let many = [MANY, 0x80, 0x20];
    let nulls = [many.as_slice(), &[NULL; 4096]].concat();
    let part = [[REFERENCE, 0].as_slice(), &nulls].concat();
    let segment = |parts: usize| {
        let head = [NAME, 1, b't', SHAPE, 0, 0, DELETE, 0, 0].to_vec();
        let rest = [NULL].repeat(4096 - parts);
        [head, many.to_vec(), part.repeat(parts), rest].concat()
    };
    assert_eq!(read(&segment(14)).unwrap().len(), 1);
    assert_eq!(read(&segment(4096)).unwrap_err().what, "too many values");
    // Each change has the whole number to itself.
    let two = [segment(14), segment(14)[6..].to_vec()].concat();
    assert_eq!(read(&two).unwrap().len(), 2);
}

#[test]
fn an_identity_with_bytes_after_it_is_refused() {
    let bytes = IdentityBytes::new(&Identity::Lost(7));
    assert_eq!(bytes.identity().unwrap(), Identity::Lost(7));
    let longer = [bytes.as_slice(), &[0]].concat();
    assert!(IdentityBytes::from_slice(&longer).identity().is_err());
}

/// Both ends compute fingerprints, perhaps with different versions: the hash may never change.
#[test]
fn a_fingerprint_is_the_same_everywhere_and_for_ever() {
    let values = [
        Value::Null,
        Value::Int(-7),
        Value::UInt(7),
        Value::Float(1.5_f32.to_bits()),
        Value::Double(1.5_f64.to_bits()),
        Value::Decimal(Cow::Borrowed("1.50")),
        text("añb"),
        text(UUID_TEXT),
        Value::Encoded { charset: Cow::Borrowed("latin1"), bytes: Cow::Borrowed(b"\xff") },
        Value::Bytes(Cow::Borrowed(b"\0\x01")),
        Value::Temporal(Cow::Borrowed("2026-01-01 00:00:00")),
        Value::Json(Cow::Borrowed("{}")),
        reference("role", Identity::Many(vec![text("a"), Value::Int(1)])),
        reference("role", Identity::Lost(5)),
    ];
    assert_eq!(fingerprint(&values), Fingerprint(1_355_275_006_975_801_291));
}

#[test]
fn different_values_have_different_fingerprints() {
    let one = |table, identity| fingerprint(&[reference(table, identity)]);
    let different = [
        fingerprint(&[]),
        fingerprint(&[Value::Null]),
        fingerprint(&[Value::Int(1)]),
        fingerprint(&[Value::UInt(1)]),
        fingerprint(&[text("1")]),
        fingerprint(&[text("")]),
        fingerprint(&[text("a"), text("b")]),
        fingerprint(&[text("ab"), text("")]),
        one("a", Identity::One(Value::Int(1))),
        one("b", Identity::One(Value::Int(1))),
        one("a", Identity::Many(vec![Value::Int(1)])),
        one("a", Identity::Lost(1)),
    ];
    let distinct: std::collections::HashSet<_> = different.iter().collect();
    assert_eq!(distinct.len(), different.len());
}

fn any_text() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => ".{0,40}",
        2 => "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}",
        1 => "[0-9A-Fa-f-]{36}",
    ]
}

fn any_value() -> impl Strategy<Value = Value<'static>> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<i64>().prop_map(Value::Int),
        any::<u64>().prop_map(Value::UInt),
        any::<u32>().prop_map(Value::Float),
        any::<u64>().prop_map(Value::Double),
        any_text().prop_map(|it| Value::Decimal(it.into())),
        any_text().prop_map(|it| Value::Text(it.into())),
        ("[a-z0-9]{1,8}", vec(any::<u8>(), 0..20)).prop_map(|(charset, bytes)| Value::Encoded {
            charset: charset.into(),
            bytes: bytes.into()
        }),
        vec(any::<u8>(), 0..300).prop_map(|it| Value::Bytes(it.into())),
        any_text().prop_map(|it| Value::Temporal(it.into())),
        any_text().prop_map(|it| Value::Json(it.into())),
    ];
    leaf.prop_recursive(4, 16, 3, |inner| {
        ("[a-e]{1,2}", any_identity(inner))
            .prop_map(|(table, identity)| reference(&table, identity))
    })
}

fn any_identity(
    value: impl Strategy<Value = Value<'static>> + Clone + 'static,
) -> impl Strategy<Value = Identity<'static>> {
    prop_oneof![
        value.clone().prop_map(Identity::One),
        vec(value, 0..4).prop_map(Identity::Many),
        any::<i64>().prop_map(Identity::Lost),
    ]
}

fn any_change() -> impl Strategy<Value = Change<'static>> {
    (
        "[a-e]{1,2}",
        vec(("[a-h]{1,3}", any_value()), 0..8),
        prop_oneof![Just(Kind::Insert), Just(Kind::Update), Just(Kind::Delete)],
        any_identity(any_value().boxed()),
        proptest::option::of(any_identity(any_value().boxed())),
        proptest::option::of(any::<u64>().prop_map(Fingerprint)),
    )
        .prop_map(|(table, columns, kind, identity, previous, base)| {
            let (names, values): (Vec<_>, Vec<_>) = columns.into_iter().unzip();
            let columns = names.iter().map(|it| name(it)).collect();
            let shape = Arc::new(Shape { table: name(&table), columns });
            Change { shape, kind, identity, previous, values, base }
        })
}

fn any_record() -> impl Strategy<Value = Record<'static>> {
    prop_oneof![
        1 => any::<u64>().prop_map(|it| Record::Begin(Sequence(it))),
        4 => any_change().prop_map(Record::Change),
        1 => (any::<u64>(), any::<u64>(), any::<i64>(), proptest::option::of(any::<u128>()))
            .prop_map(|(sequence, changes, at, origin)| Record::End(End {
                sequence: Sequence(sequence),
                changes,
                committed_at: Timestamp(at),
                origin: origin.map(|it| NodeId(uuid::Uuid::from_u128(it))),
            })),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 128,
        rng_seed: RngSeed::Fixed(headwater_rig::edge::seed().unwrap()),
        ..ProptestConfig::default()
    })]

    #[test]
    fn every_segment_comes_back_as_it_was_written(records in vec(any_record(), 0..12)) {
        let bytes = written(&records);
        let back = read(&bytes).unwrap();
        prop_assert_eq!(&back, &records);
        // And once more through the records that were read, as a batch is cut from segments.
        prop_assert_eq!(written(&back), bytes);
    }

    #[test]
    fn every_identity_comes_back_as_it_was_written(identity in any_identity(any_value().boxed())) {
        let bytes = IdentityBytes::new(&identity);
        prop_assert_eq!(bytes.identity().unwrap(), identity);
    }

    #[test]
    fn a_segment_cut_short_is_an_error_or_ends_between_two_records(
        records in vec(any_record(), 1..5)
    ) {
        let bytes = written(&records);
        for length in 0..bytes.len() {
            if let Ok(start) = read(&bytes[..length]) {
                prop_assert_eq!(&start[..], &records[..start.len()]);
            }
        }
    }

    #[test]
    fn flipped_bits_never_panic(
        records in vec(any_record(), 1..6),
        flips in vec((any::<prop::sample::Index>(), 0..8_u32), 1..4),
    ) {
        let mut bytes = written(&records);
        for (at, bit) in flips {
            let length = bytes.len();
            bytes[at.index(length)] ^= 1 << bit;
        }
        let _whatever = read(&bytes);
        let _whatever = IdentityBytes::from_slice(&bytes).identity();
    }

    #[test]
    fn hostile_bytes_never_panic(bytes in vec(prop_oneof![3 => 0_u8..14, 1 => any::<u8>()], 0..400)) {
        let _whatever = read(&bytes);
        let _whatever = IdentityBytes::from_slice(&bytes).identity();
    }
}
