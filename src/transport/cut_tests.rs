use super::*;
use crate::change::{Identity, Kind};
use crate::clock::Timestamp;
use crate::record::End;
use crate::transport::batch::open;
use crate::transport::content::Room;
use crate::value::Value;

const HERE: Option<NodeId> = None;

const PARENT: Option<NodeId> = Some(NodeId(uuid::Uuid::from_u128(7)));

fn change(id: u64) -> Change<'static> {
    Change {
        shape: Arc::new(Shape {
            table: "obs".into(),
            columns: vec!["concept_id".into(), "comments".into()],
        }),
        kind: Kind::Insert,
        identity: Identity::One(Value::UInt(id)),
        previous: None,
        values: vec![Value::UInt(id * 31), Value::Text(format!("text of row {id}").into())],
        base: None,
    }
}

fn end(sequence: u64, changes: u64, origin: Option<NodeId>) -> Record<'static> {
    let (sequence, committed_at) = (Sequence(sequence), Timestamp(9));
    Record::End(End { sequence, changes, committed_at, origin })
}

fn transaction(sequence: u64, rows: u64, origin: Option<NodeId>) -> Vec<Record<'static>> {
    let mut records = vec![Record::Begin(Sequence(sequence))];
    records.extend((0..rows).map(|row| Record::Change(change(sequence * 1000 + row))));
    records.push(end(sequence, rows, origin));
    records
}

fn segment(first: u64, last: u64, part: u32, complete: bool, records: &[Record<'_>]) -> Segment {
    let mut writer = SegmentWriter::new();
    for record in records {
        writer.record(record);
    }
    let raw = writer.finish();
    Segment {
        first: Sequence(first),
        last: Sequence(last),
        part,
        complete,
        changes: 0,
        raw_bytes: raw.len() as u64,
        committed_at: Timestamp(9),
        compressed: lz4_flex::block::compress(&raw),
    }
}

/// One segment for each transaction, as a quiet clinic makes them.
fn small(sequences: std::ops::RangeInclusive<u64>) -> Vec<Segment> {
    sequences.map(|s| segment(s, s, 0, true, &transaction(s, 3, HERE))).collect()
}

fn cut(from: u64, through: Option<u64>) -> Cut {
    Cut {
        from: Sequence(from),
        through: through.map(Sequence),
        raw_bytes_max: u64::MAX,
        codec: Codec::Lz4,
        to: PARENT,
    }
}

fn perform(cut: Cut, segments: &[Segment]) -> Option<Batch> {
    let directory = std::env::temp_dir();
    let mut cutter =
        Cutter::new(cut, Room { directory, memory_bytes_max: 1 << 30 }.empty()).unwrap();
    for segment in segments {
        if cutter.take(segment).unwrap() == Taken::Full {
            break;
        }
    }
    cutter.finish().unwrap()
}

/// The transactions of a batch, each with how many changes really came, and the frames' count.
fn read(batch: Batch) -> (Vec<(u64, u64)>, usize) {
    let key = batch.key;
    let received = open(batch.content, &key).unwrap();
    let mut transactions = Vec::new();
    let (mut changes, mut frames) = (0, 0);
    for raw in received.segments.segments() {
        let raw = raw.unwrap();
        frames += 1;
        let mut reader = SegmentReader::new(&raw);
        while let Some(record) = reader.read().unwrap() {
            match record {
                Record::Begin(_) => changes = 0,
                Record::Change(_) => changes += 1,
                Record::End(end) => {
                    assert_eq!(end.changes, changes);
                    transactions.push((end.sequence.0, changes));
                }
            }
        }
    }
    (transactions, frames)
}

#[test]
fn small_segments_become_one_frame_that_names_each_thing_once() {
    let segments = small(1..=100);
    let batch = perform(cut(0, None), &segments).unwrap();
    let alone: u64 = segments.iter().map(|segment| segment.raw_bytes).sum();
    assert!(batch.raw_bytes * 4 < alone * 3, "{} of {alone}", batch.raw_bytes);
    let (transactions, frames) = read(batch);
    assert_eq!(transactions, (1..=100).map(|s| (s, 3)).collect::<Vec<_>>());
    assert_eq!(frames, 1);
}

#[test]
fn the_same_range_gives_the_same_bytes_however_the_spool_is_divided() {
    let one_by_one = small(1..=50);
    let records: Vec<_> = (1..=50).flat_map(|s| transaction(s, 3, HERE)).collect();
    let all_in_one = [segment(1, 50, 0, true, &records)];
    for (from, through) in [(0, 50), (10, 40), (49, 50)] {
        let first = perform(cut(from, Some(through)), &one_by_one).unwrap();
        assert_eq!(first.key, perform(cut(from, Some(through)), &one_by_one).unwrap().key);
        assert_eq!(first.key, perform(cut(from, Some(through)), &all_in_one).unwrap().key);
        assert_eq!((first.key.from, first.key.through), (Sequence(from), Sequence(through)));
        let sequences: Vec<u64> = read(first).0.iter().map(|(sequence, _)| *sequence).collect();
        assert_eq!(sequences, (from + 1..=through).collect::<Vec<_>>());
    }
    let other = Cut { codec: Codec::Plain, ..cut(0, Some(50)) };
    let other = perform(other, &one_by_one).unwrap();
    assert_ne!(other.key, perform(cut(0, Some(50)), &one_by_one).unwrap().key);
}

#[test]
fn a_batch_ends_with_the_transaction_that_fills_it_and_holds_one_at_least() {
    let segments = small(1..=50);
    let sized = |raw_bytes_max| {
        perform(Cut { raw_bytes_max, ..cut(0, None) }, &segments).unwrap().key.through.0
    };
    assert_eq!(sized(0), 1);
    let middle = sized(2000);
    assert!(middle > 1 && middle < 50, "{middle}");
    assert_eq!(sized(u64::MAX), 50);
    assert!(perform(cut(50, None), &segments).is_none());
    assert!(perform(cut(0, None), &[]).is_none());
}

/// A transaction in three parts between two small ones.
fn long(origin: Option<NodeId>) -> Vec<Segment> {
    let rows = |from: u64| (from..from + 5000).map(|row| Record::Change(change(row)));
    let mut first = vec![Record::Begin(Sequence(2))];
    first.extend(rows(0));
    let second: Vec<_> = rows(5000).collect();
    let mut third: Vec<_> = rows(10_000).collect();
    third.push(end(2, 15_000, origin));
    vec![
        segment(1, 1, 0, true, &transaction(1, 3, HERE)),
        segment(2, 2, 0, false, &first),
        segment(2, 2, 1, false, &second),
        segment(2, 2, 2, true, &third),
        segment(3, 3, 0, true, &transaction(3, 3, HERE)),
    ]
}

#[test]
fn a_long_transaction_is_carried_whole_in_many_frames() {
    let (transactions, frames) = read(perform(cut(0, None), &long(HERE)).unwrap());
    assert_eq!(transactions, [(1, 3), (2, 15_000), (3, 3)]);
    assert!(frames > 2, "{frames}");
    // Without its end it is not there yet.
    let unfinished = perform(cut(0, None), &long(HERE)[..3]).unwrap();
    assert_eq!(unfinished.key.through, Sequence(1));
    assert_eq!(read(unfinished).0, [(1, 3)]);
}

#[test]
fn what_came_from_the_other_end_is_left_out_and_still_counts_as_sent() {
    let batch = perform(cut(0, None), &long(PARENT)).unwrap();
    assert_eq!(batch.key.through, Sequence(3));
    assert_eq!(read(batch).0, [(1, 3), (3, 3)]);
    let other = Some(NodeId(uuid::Uuid::from_u128(8)));
    assert_eq!(read(perform(cut(0, None), &long(other)).unwrap()).0.len(), 3);
    let only_echo = [segment(1, 1, 0, true, &transaction(1, 3, PARENT))];
    let batch = perform(cut(0, None), &only_echo).unwrap();
    assert_eq!(batch.key.through, Sequence(1));
    assert_eq!(read(batch), (Vec::new(), 0));
}

#[test]
fn a_damaged_segment_is_named_and_not_sent() {
    let mut damaged = segment(5, 5, 0, true, &transaction(5, 3, HERE));
    damaged.compressed = lz4_flex::block::compress(&[0xEE; 20]);
    damaged.raw_bytes = 20;
    let directory = std::env::temp_dir();
    let room = Room { directory, memory_bytes_max: 1 << 20 };
    let mut cutter = Cutter::new(cut(4, None), room.empty()).unwrap();
    let words = cutter.take(&damaged).unwrap_err().to_string();
    assert!(words.contains("transaction 5"), "{words}");
}
