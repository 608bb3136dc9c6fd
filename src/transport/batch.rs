//! A batch as bytes: a header, frames of whole records, a trailer with a checksum over all of it.
//! `docs/wire.md` draws it. Written by [`BatchWriter`], read back by [`open`].

use std::fmt;
use std::io;
use std::sync::Arc;

use ring::digest;
use serde::{Deserialize, Serialize};

use super::ReceivedBatch;
use super::codec::Codec;
use super::content::Content;
use crate::change::Sequence;
use crate::record::{SegmentError, SegmentSource};

/// The version of the batch format, the last byte of its magic.
pub const FORMAT_VERSION: u8 = 1;
/// Rows one after the other; 2 is reserved for columns.
const ENCODING_ROWS: u8 = 1;
const MAGIC: [u8; 3] = *b"HWB";
const HEADER_BYTES: u64 = 14;
const FRAME_HEADER_BYTES: u64 = 12;
const TRAILER_BYTES: u64 = 40;
const SHA_BYTES: u64 = 32;
/// The largest frame: the largest value a server takes in one packet (1 GiB) and what is around it.
const FRAME_RAW_BYTES_MAX: u64 = 1_181_116_006;
/// How much is read at a time to verify a checksum.
const VERIFY_CHUNK_BYTES: usize = 256 * 1024;

/// What names a batch while it is on its way: two batches with the same key have the same bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct BatchKey {
    /// The last transaction before the batch.
    pub from: Sequence,
    /// The last transaction in it.
    pub through: Sequence,
    /// Its length.
    pub bytes: u64,
    /// The first 8 bytes of its checksum.
    pub checksum: [u8; 8],
}

impl fmt::Display for BatchKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "({}, {}] of {} bytes", self.from, self.through, self.bytes)
    }
}

/// A batch that will not change any more.
#[derive(Debug)]
pub struct Batch {
    /// Its name.
    pub key: BatchKey,
    /// Its bytes.
    pub content: Content,
    /// The length of its records before compression.
    pub raw_bytes: u64,
}

/// Why received bytes are not a batch.
#[derive(Debug, thiserror::Error)]
pub enum BatchError {
    /// The bytes were damaged on their way or at rest: they have to come again.
    #[error("the batch's checksum is wrong: it was damaged on its way and has to be sent again")]
    Checksum,
    /// The bytes do not follow the format, although their checksum is right.
    #[error("this is not a batch: {0}")]
    Malformed(&'static str),
    /// Made by a version of headwater that this one cannot read.
    #[error(
        "the batch has {what} {found}, which this version of headwater does not know: update it"
    )]
    Unknown {
        /// The part that is not known.
        what: &'static str,
        /// Its number.
        found: u8,
    },
    /// The bytes could not be read back.
    #[error("the received batch cannot be read: {0}")]
    Io(#[from] io::Error),
}

/// Writes a batch frame by frame.
pub struct BatchWriter {
    from: Sequence,
    codec: Codec,
    content: Content,
    hash: digest::Context,
    raw_bytes: u64,
}

/// A place in a batch being written, to go back to.
#[derive(Clone)]
pub struct Mark {
    length: u64,
    hash: digest::Context,
    raw_bytes: u64,
}

impl BatchWriter {
    /// A batch of what follows `from`, written into `content`, which is empty.
    pub fn new(from: Sequence, codec: Codec, content: Content) -> io::Result<BatchWriter> {
        let hash = digest::Context::new(&digest::SHA256);
        let mut writer = BatchWriter { from, codec, content, hash, raw_bytes: 0 };
        let [m0, m1, m2] = MAGIC;
        writer.put(&[m0, m1, m2, FORMAT_VERSION, ENCODING_ROWS, codec.byte()])?;
        writer.put(&from.0.to_le_bytes())?;
        Ok(writer)
    }

    /// Adds one raw segment as a frame.
    pub fn frame(&mut self, raw: Vec<u8>) -> io::Result<()> {
        let raw_length = frame_length(raw.len())?;
        let stored = self.codec.compress(raw);
        let stored_length = frame_length(stored.len())?;
        self.put(&raw_length.to_le_bytes())?;
        self.put(&stored_length.to_le_bytes())?;
        self.put(&crc32fast::hash(&stored).to_le_bytes())?;
        self.raw_bytes += u64::from(raw_length);
        self.put(&stored)
    }

    /// The length of all frames before compression.
    pub fn raw_bytes(&self) -> u64 {
        self.raw_bytes
    }

    /// The present end.
    pub fn mark(&self) -> Mark {
        Mark { length: self.content.len(), hash: self.hash.clone(), raw_bytes: self.raw_bytes }
    }

    /// Forgets every frame after `mark`.
    pub fn back_to(&mut self, mark: Mark) -> io::Result<()> {
        self.content.truncate(mark.length)?;
        self.hash = mark.hash;
        self.raw_bytes = mark.raw_bytes;
        Ok(())
    }

    /// Ends the batch with its last transaction's number.
    pub fn finish(mut self, through: Sequence) -> io::Result<Batch> {
        self.put(&through.0.to_le_bytes())?;
        let digest = self.hash.clone().finish();
        self.content.append(digest.as_ref())?;
        let key = BatchKey {
            from: self.from,
            through,
            bytes: self.content.len(),
            checksum: first_eight(digest.as_ref()),
        };
        Ok(Batch { key, content: self.content, raw_bytes: self.raw_bytes })
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.hash.update(bytes);
        self.content.append(bytes)
    }
}

fn frame_length(length: usize) -> io::Result<u32> {
    u32::try_from(length)
        .ok()
        .filter(|length| u64::from(*length) <= FRAME_RAW_BYTES_MAX)
        .ok_or_else(|| io::Error::other("a single change is larger than a batch frame may be"))
}

fn first_eight(bytes: &[u8]) -> [u8; 8] {
    bytes.first_chunk::<8>().copied().unwrap_or_default()
}

/// Verifies the whole of a received batch, then hands it out to be read.
pub fn open(content: Content, key: &BatchKey) -> Result<ReceivedBatch, BatchError> {
    if content.len() != key.bytes || key.bytes < HEADER_BYTES + TRAILER_BYTES {
        return Err(BatchError::Malformed("its length is wrong"));
    }
    let hash_at = key.bytes - SHA_BYTES;
    let mut hash = digest::Context::new(&digest::SHA256);
    let mut offset = 0;
    while offset < hash_at {
        let left = usize::try_from(hash_at - offset).unwrap_or(usize::MAX);
        let chunk = content.read_at(offset, left.min(VERIFY_CHUNK_BYTES))?;
        hash.update(&chunk);
        offset += chunk.len() as u64;
    }
    let digest = hash.finish();
    let stated = content.read_at(hash_at, VERIFY_CHUNK_BYTES)?;
    if digest.as_ref() != stated.as_slice() || first_eight(digest.as_ref()) != key.checksum {
        return Err(BatchError::Checksum);
    }
    let codec = read_header(&content, key)?;
    let frames_end = key.bytes - TRAILER_BYTES;
    if Sequence(u64_at(&content, frames_end)?) != key.through || key.through <= key.from {
        return Err(BatchError::Malformed("its range is not the one announced"));
    }
    check_frames(&content, frames_end)?;
    let segments = Box::new(Frames { content: Arc::new(content), codec, end: frames_end });
    let BatchKey { from, through, checksum, .. } = *key;
    Ok(ReceivedBatch { from, through, checksum, segments })
}

fn read_header(content: &Content, key: &BatchKey) -> Result<Codec, BatchError> {
    let header = content.read_at(0, 6)?;
    let Some([m0, m1, m2, version, encoding, codec]) = header.first_chunk::<6>().copied() else {
        return Err(BatchError::Malformed("it is cut short"));
    };
    if [m0, m1, m2] != MAGIC {
        return Err(BatchError::Malformed("it does not begin like one"));
    }
    if version != FORMAT_VERSION {
        return Err(BatchError::Unknown { what: "format version", found: version });
    }
    if encoding != ENCODING_ROWS {
        return Err(BatchError::Unknown { what: "encoding", found: encoding });
    }
    if Sequence(u64_at(content, 6)?) != key.from {
        return Err(BatchError::Malformed("its range is not the one announced"));
    }
    Codec::from_byte(codec).ok_or(BatchError::Unknown { what: "codec", found: codec })
}

/// That the frames lie end to end and end where the trailer begins.
fn check_frames(content: &Content, frames_end: u64) -> Result<(), BatchError> {
    let mut offset = HEADER_BYTES;
    while offset < frames_end {
        let frame = FrameHeader::read(content, offset)?;
        if frame.raw_bytes > FRAME_RAW_BYTES_MAX {
            return Err(BatchError::Malformed("a frame is larger than any may be"));
        }
        offset += FRAME_HEADER_BYTES + frame.stored_bytes;
    }
    if offset == frames_end { Ok(()) } else { Err(BatchError::Malformed("a frame is cut short")) }
}

struct FrameHeader {
    raw_bytes: u64,
    stored_bytes: u64,
    crc: u32,
}

impl FrameHeader {
    fn read(content: &Content, offset: u64) -> io::Result<FrameHeader> {
        let bytes = content.read_at(offset, 12)?;
        let number = |at: usize| {
            let part = bytes.get(at..).and_then(|rest| rest.first_chunk::<4>());
            part.map(|part| u32::from_le_bytes(*part))
                .ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))
        };
        Ok(FrameHeader {
            raw_bytes: u64::from(number(0)?),
            stored_bytes: u64::from(number(4)?),
            crc: number(8)?,
        })
    }
}

fn u64_at(content: &Content, offset: u64) -> io::Result<u64> {
    let bytes = content.read_at(offset, 8)?;
    let number = bytes.first_chunk::<8>().copied();
    number.map(u64::from_le_bytes).ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
}

/// The frames of a verified batch.
struct Frames {
    content: Arc<Content>,
    codec: Codec,
    end: u64,
}

impl SegmentSource for Frames {
    fn segments(&self) -> Box<dyn Iterator<Item = Result<Vec<u8>, SegmentError>> + Send + '_> {
        Box::new(FrameIter {
            content: Arc::clone(&self.content),
            codec: self.codec,
            offset: HEADER_BYTES,
            end: self.end,
            number: 0,
        })
    }
}

struct FrameIter {
    content: Arc<Content>,
    codec: Codec,
    offset: u64,
    end: u64,
    number: u64,
}

impl FrameIter {
    fn frame(&self, header: &FrameHeader) -> Result<Vec<u8>, SegmentError> {
        let damaged = |reason: String| SegmentError::Compression { frame: self.number, reason };
        let length = usize::try_from(header.stored_bytes).unwrap_or(usize::MAX);
        let stored = self.content.read_at(self.offset + FRAME_HEADER_BYTES, length)?;
        if crc32fast::hash(&stored) != header.crc {
            return Err(damaged("its checksum is wrong".to_owned()));
        }
        self.codec.restore(stored, header.raw_bytes).map_err(damaged)
    }
}

impl Iterator for FrameIter {
    type Item = Result<Vec<u8>, SegmentError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.offset >= self.end {
            return None;
        }
        let frame = FrameHeader::read(&self.content, self.offset)
            .map_err(SegmentError::from)
            .and_then(|header| Ok((self.frame(&header)?, header.stored_bytes)));
        match frame {
            Ok((raw, stored_bytes)) => {
                self.offset += FRAME_HEADER_BYTES + stored_bytes;
                self.number += 1;
                Some(Ok(raw))
            }
            Err(error) => {
                self.offset = self.end;
                Some(Err(error))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::content::Room;

    fn room() -> (tempfile::TempDir, Room) {
        let directory = tempfile::tempdir().unwrap();
        let room = Room { directory: directory.path().to_owned(), memory_bytes_max: 1 << 20 };
        (directory, room)
    }

    fn batch(room: &Room, codec: Codec) -> Batch {
        let mut writer = BatchWriter::new(Sequence(4), codec, room.empty()).unwrap();
        writer.frame(b"first frame first frame first frame".to_vec()).unwrap();
        writer.frame(b"second frame".to_vec()).unwrap();
        writer.finish(Sequence(9)).unwrap()
    }

    fn copy(room: &Room, bytes: &[u8]) -> Content {
        let mut content = room.empty();
        content.append(bytes).unwrap();
        content
    }

    #[test]
    fn a_batch_reads_back_frame_by_frame_more_than_once() {
        let (_directory, room) = room();
        for codec in [Codec::Plain, Codec::Lz4] {
            let batch = batch(&room, codec);
            let received = open(batch.content, &batch.key).unwrap();
            assert_eq!((received.from, received.through), (Sequence(4), Sequence(9)));
            for _ in 0..2 {
                let frames: Vec<_> = received.segments.segments().map(Result::unwrap).collect();
                assert_eq!(frames[0], b"first frame first frame first frame");
                assert_eq!(frames[1], b"second frame");
                assert_eq!(frames.len(), 2);
            }
        }
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let (_directory, room) = room();
        let batch = batch(&room, Codec::Lz4);
        let bytes = batch.content.read_at(0, usize::MAX).unwrap();
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let result = open(copy(&room, &flipped), &batch.key);
            assert!(matches!(result, Err(BatchError::Checksum)), "bit {bit}");
        }
    }

    #[test]
    fn a_batch_cut_short_or_under_another_name_is_no_batch() {
        let (_directory, room) = room();
        let batch = batch(&room, Codec::Plain);
        let bytes = batch.content.read_at(0, usize::MAX).unwrap();
        for length in 0..bytes.len() {
            let key = BatchKey { bytes: length as u64, ..batch.key };
            assert!(open(copy(&room, &bytes[..length]), &key).is_err(), "length {length}");
        }
        for key in [
            BatchKey { from: Sequence(3), ..batch.key },
            BatchKey { through: Sequence(8), ..batch.key },
            BatchKey { checksum: [0; 8], ..batch.key },
        ] {
            assert!(open(copy(&room, &bytes), &key).is_err());
        }
    }

    #[test]
    fn a_codec_of_the_future_is_refused_by_name() {
        let (_directory, room) = room();
        let batch = batch(&room, Codec::Plain);
        let mut bytes = batch.content.read_at(0, usize::MAX).unwrap();
        bytes[5] = 7;
        let hash_at = bytes.len() - 32;
        let digest = digest::digest(&digest::SHA256, &bytes[..hash_at]);
        bytes[hash_at..].copy_from_slice(digest.as_ref());
        let key = BatchKey { checksum: first_eight(digest.as_ref()), ..batch.key };
        let error = open(copy(&room, &bytes), &key).err().unwrap().to_string();
        assert!(error.contains("codec 7"), "{error}");
    }

    #[test]
    fn going_back_to_a_mark_leaves_no_trace() {
        let (_directory, room) = room();
        let mut writer = BatchWriter::new(Sequence(4), Codec::Lz4, room.empty()).unwrap();
        writer.frame(b"first frame first frame first frame".to_vec()).unwrap();
        let mark = writer.mark();
        writer.frame(b"not wanted".to_vec()).unwrap();
        writer.back_to(mark).unwrap();
        writer.frame(b"second frame".to_vec()).unwrap();
        assert_eq!(writer.finish(Sequence(9)).unwrap().key, batch(&room, Codec::Lz4).key);
    }
}
