//! A batch as it came over the link, and a segment of the spool that a batch is cut from. The first
//! byte chooses what is mended, so that what lies behind a checksum is reached too.

use headwater::change::{NodeId, Sequence};
use headwater::clock::Timestamp;
use headwater::record::SegmentReader;
use headwater::spool::Segment;
use headwater::transport::batch::{self, Batch, BatchKey, BatchWriter};
use headwater::transport::codec::Codec;
use headwater::transport::content::{Content, Room};
use headwater::transport::cut::{Cut, Cutter};
use headwater::transport::token::sha256;

/// What stands before the frames: magic, version, encoding, codec and the first number.
const HEADER_BYTES: usize = 14;

pub fn run(bytes: &[u8]) {
    let Some((choice, rest)) = bytes.split_first() else { return };
    match choice % 4 {
        0 => as_it_is(rest),
        1 => with_checksum(rest),
        2 => frames(rest),
        _ => cut(rest, choice & 4 != 0),
    }
}

fn room() -> Content {
    Room { directory: "/nonexistent".into(), memory_bytes_max: 64 << 20 }.empty()
}

fn number(bytes: &[u8], at: usize) -> Option<Sequence> {
    let number = bytes.get(at..)?.first_chunk::<8>()?;
    Some(Sequence(u64::from_le_bytes(*number)))
}

fn key(bytes: &[u8]) -> Option<BatchKey> {
    let sum = bytes.len().checked_sub(32)?;
    Some(BatchKey {
        from: number(bytes, 6)?,
        through: number(bytes, sum.checked_sub(8)?)?,
        bytes: bytes.len() as u64,
        checksum: *bytes.get(sum..)?.first_chunk::<8>()?,
    })
}

fn as_it_is(bytes: &[u8]) {
    let Some(key) = key(bytes) else { return };
    open(bytes, &key);
}

fn with_checksum(bytes: &[u8]) {
    let mut bytes = bytes.to_vec();
    let sum = sha256(&bytes);
    bytes.extend_from_slice(&sum);
    as_it_is(&bytes);
}

/// Frames whose checksums are right: each a codec's byte, a length in two bytes, how much larger
/// the frame claims to be, and as many bytes.
fn frames(bytes: &[u8]) {
    let Some((codec, mut rest)) = bytes.split_first() else { return };
    let mut made = [b'H', b'W', b'B', 1, 1, codec % 3].to_vec();
    made.extend_from_slice(&7_u64.to_le_bytes());
    assert_eq!(made.len(), HEADER_BYTES);
    while let Some((&[low, high, claim], after)) = rest.split_first_chunk::<3>() {
        let length = usize::from(u16::from_le_bytes([low, high])).min(after.len());
        let (stored, after) = after.split_at(length);
        rest = after;
        let raw = u32::try_from(length).expect("16 bits").wrapping_mul(u32::from(claim));
        made.extend_from_slice(&raw.to_le_bytes());
        made.extend_from_slice(&u32::try_from(length).expect("16 bits").to_le_bytes());
        made.extend_from_slice(&crc32fast::hash(stored).to_le_bytes());
        made.extend_from_slice(stored);
    }
    made.extend_from_slice(&9_u64.to_le_bytes());
    with_checksum(&made);
}

/// Opens, reads every frame, and writes a batch of those that could be read, which reads the same.
fn open(bytes: &[u8], key: &BatchKey) {
    let mut content = room();
    content.append(bytes).expect("in memory");
    let Ok(received) = batch::open(content, key) else { return };
    assert!(received.from < received.through);
    let frames: Vec<Vec<u8>> = received.segments.segments().map_while(Result::ok).collect();
    for frame in &frames {
        read(frame);
    }
    let again: Vec<Vec<u8>> = received.segments.segments().map_while(Result::ok).collect();
    assert_eq!(frames, again, "a batch can be read twice");
    for codec in [Codec::Plain, Codec::Lz4] {
        let mut writer = BatchWriter::new(key.from, codec, room()).expect("in memory");
        for frame in &frames {
            writer.frame(frame.clone()).expect("in memory");
        }
        assert_eq!(whole(writer.finish(key.through).expect("in memory")), frames);
    }
}

/// The frames of a batch made here, in which nothing may be wrong.
fn whole(batch: Batch) -> Vec<Vec<u8>> {
    let received = batch::open(batch.content, &batch.key).expect("a batch made here");
    received.segments.segments().collect::<Result<_, _>>().expect("frames made here")
}

fn read(frame: &[u8]) {
    let mut reader = SegmentReader::new(frame);
    while let Ok(Some(record)) = reader.read() {
        drop(record);
    }
}

/// What a damaged spool would give: an error, or a batch whose every record can be read.
fn cut(bytes: &[u8], compressed: bool) {
    let to = Some(NodeId(uuid::Uuid::nil()));
    let cut =
        Cut { from: Sequence(1), through: None, raw_bytes_max: 1 << 16, codec: Codec::Plain, to };
    let mut cutter = Cutter::new(cut, room()).expect("in memory");
    let (raw_bytes, compressed) = if compressed {
        (bytes.len() as u64 * 64, bytes.to_vec())
    } else {
        let codec = Codec::Lz4;
        (bytes.len() as u64, codec.compress(bytes.to_vec()))
    };
    let segment = Segment {
        first: Sequence(2),
        last: Sequence(3),
        part: 0,
        complete: true,
        changes: 1,
        raw_bytes,
        committed_at: Timestamp(0),
        compressed,
    };
    if cutter.take(&segment).is_err() {
        return;
    }
    let through = cutter.through();
    let Some(batch) = cutter.finish().expect("in memory") else { return };
    assert_eq!(batch.key.through, through);
    if batch.key.through <= batch.key.from {
        return;
    }
    for frame in whole(batch) {
        let mut reader = SegmentReader::new(&frame);
        while reader.read().expect("records written here").is_some() {}
    }
}
