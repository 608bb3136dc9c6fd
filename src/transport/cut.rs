//! Cuts batches from the spool's segments. The same range and codec always give the same bytes,
//! so a batch begun before a crash can be cut again and go on from the byte the other end holds.

use std::collections::{HashMap, HashSet};
use std::io;
use std::sync::Arc;

use super::batch::{Batch, BatchWriter, Mark};
use super::codec::Codec;
use super::content::Content;
use crate::change::{Change, NodeId, Sequence, Shape};
use crate::record::{Malformed, Record, SegmentReader, SegmentWriter};
use crate::spool::Segment;

/// How large a frame grows before it is compressed and written: small enough to be held in
/// memory at both ends, large enough that names and shapes are written few times.
const FRAME_RAW_BYTES: usize = 256 * 1024;
/// The largest raw segment the spool makes: one value as large as a server takes, and its row.
const SEGMENT_RAW_BYTES_MAX: u64 = 2_200_000_000;

/// What a batch is to hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cut {
    /// The last transaction before it.
    pub from: Sequence,
    /// The last transaction in it; `None`: as many as `raw_bytes_max` allows, but one at least.
    pub through: Option<Sequence>,
    /// It ends with the transaction that reaches this many bytes of records.
    pub raw_bytes_max: u64,
    /// What compresses it.
    pub codec: Codec,
    /// The node it goes to, whose own transactions are not sent back to it.
    pub to: Option<NodeId>,
}

/// Whether a batch takes more segments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// It does.
    More,
    /// It is full, or has reached its last transaction.
    Full,
}

/// Why a batch could not be cut.
#[derive(Debug, thiserror::Error)]
pub enum CutError {
    /// The spool gave back something else than was put in.
    #[error(
        "the spool's segment that starts with transaction {first} is damaged: {reason}; stop this node and keep its data_dir for a look"
    )]
    Damaged {
        /// The segment's first transaction.
        first: Sequence,
        /// What is wrong.
        reason: String,
    },
    /// The batch could not be written to `data_dir`.
    #[error("a batch cannot be written to data_dir: {0}")]
    Io(#[from] io::Error),
}

/// A batch being cut.
pub struct Cutter {
    cut: Cut,
    out: BatchWriter,
    frame: SegmentWriter,
    shapes: HashSet<Arc<Shape>>,
    through: Sequence,
    /// Of a transaction that runs over several segments: where it began, to go back to if it
    /// turns out to have come from the other end.
    long: Option<Mark>,
    full: bool,
}

impl Cutter {
    /// Starts a batch in `content`, which is empty.
    pub fn new(cut: Cut, content: Content) -> io::Result<Cutter> {
        Ok(Cutter {
            out: BatchWriter::new(cut.from, cut.codec, content)?,
            cut,
            frame: SegmentWriter::new(),
            shapes: HashSet::new(),
            through: cut.from,
            long: None,
            full: false,
        })
    }

    /// Takes the spool's next segments, as far as there is room.
    pub fn take_all(&mut self, segments: &[Segment]) -> Result<Taken, CutError> {
        for segment in segments {
            if self.take(segment)? == Taken::Full {
                return Ok(Taken::Full);
            }
        }
        Ok(Taken::More)
    }

    /// Takes the spool's next segment. Transactions at or before the batch's start are left out.
    pub fn take(&mut self, segment: &Segment) -> Result<Taken, CutError> {
        if self.full {
            return Ok(Taken::Full);
        }
        let damaged = |reason: String| CutError::Damaged { first: segment.first, reason };
        if segment.raw_bytes > SEGMENT_RAW_BYTES_MAX {
            return Err(damaged("it claims to be larger than a segment can be".to_owned()));
        }
        let raw = lz4_flex::block::decompress(
            &segment.compressed,
            usize::try_from(segment.raw_bytes).unwrap_or(usize::MAX),
        )
        .map_err(|error| damaged(error.to_string()))?;
        let of_many = segment.part > 0 || !segment.complete;
        let result = if of_many { self.part(&raw) } else { self.whole(&raw) };
        result.map_err(|error| match error {
            RecordError::Malformed(malformed) => damaged(malformed.to_string()),
            RecordError::Io(error) => CutError::Io(error),
        })?;
        Ok(if self.full { Taken::Full } else { Taken::More })
    }

    /// The last transaction taken so far.
    pub fn through(&self) -> Sequence {
        self.through
    }

    /// Ends the batch; `None` if it holds no transaction.
    pub fn finish(mut self) -> io::Result<Option<Batch>> {
        if self.through == self.cut.from {
            return Ok(None);
        }
        if let Some(mark) = self.long.take() {
            self.frame = SegmentWriter::new();
            self.out.back_to(mark)?;
        }
        self.flush()?;
        self.out.finish(self.through).map(Some)
    }

    /// A segment of whole transactions: each is written once its end has told where it came from.
    fn whole(&mut self, raw: &[u8]) -> Result<(), RecordError> {
        let mut reader = SegmentReader::new(raw);
        let mut known = HashMap::new();
        let mut transaction = Vec::new();
        while let Some(record) = reader.read()? {
            let end = match &record {
                Record::End(end) => Some(*end),
                Record::Begin(_) | Record::Change(_) => None,
            };
            transaction.push(record);
            let Some(end) = end else { continue };
            if end.sequence > self.cut.from {
                if !self.is_echo(end.origin) {
                    for record in &mut transaction {
                        self.write(record, &mut known)?;
                    }
                }
                self.ended(end.sequence);
                if self.full {
                    return Ok(());
                }
            }
            transaction.clear();
        }
        Ok(())
    }

    /// A part of a transaction too large to be held: written at once, and taken back if its end
    /// says that it came from the other end.
    fn part(&mut self, raw: &[u8]) -> Result<(), RecordError> {
        let mut reader = SegmentReader::new(raw);
        let mut known = HashMap::new();
        while let Some(mut record) = reader.read()? {
            match &record {
                Record::Begin(sequence) if *sequence > self.cut.from => {
                    self.flush()?;
                    self.long = Some(self.out.mark());
                }
                Record::Begin(_) | Record::Change(_) | Record::End(_) => {}
            }
            if self.long.is_none() {
                continue;
            }
            self.write(&mut record, &mut known)?;
            if let Record::End(end) = record {
                let mark = self.long.take();
                if let Some(mark) = mark.filter(|_| self.is_echo(end.origin)) {
                    self.frame = SegmentWriter::new();
                    self.out.back_to(mark)?;
                }
                self.ended(end.sequence);
            }
        }
        Ok(())
    }

    fn is_echo(&self, origin: Option<NodeId>) -> bool {
        origin.is_some() && origin == self.cut.to
    }

    fn ended(&mut self, sequence: Sequence) {
        self.through = sequence;
        self.full = match self.cut.through {
            Some(through) => sequence >= through,
            None => self.out.raw_bytes() + self.frame.len() as u64 >= self.cut.raw_bytes_max,
        };
    }

    fn write(
        &mut self,
        record: &mut Record<'_>,
        known: &mut HashMap<*const Shape, Arc<Shape>>,
    ) -> io::Result<()> {
        if let Record::Change(change) = record {
            self.share_shape(change, known);
        }
        self.frame.record(record);
        if self.frame.len() >= FRAME_RAW_BYTES {
            self.flush()?;
        }
        Ok(())
    }

    /// Segments write their shapes anew; equal ones become the same one here, so that a frame made
    /// of many segments holds each once. `known` saves comparing them for every change.
    fn share_shape(
        &mut self,
        change: &mut Change<'_>,
        known: &mut HashMap<*const Shape, Arc<Shape>>,
    ) {
        let address = Arc::as_ptr(&change.shape);
        let shared = known.entry(address).or_insert_with(|| {
            if let Some(shared) = self.shapes.get(&change.shape) {
                return Arc::clone(shared);
            }
            self.shapes.insert(Arc::clone(&change.shape));
            Arc::clone(&change.shape)
        });
        change.shape = Arc::clone(shared);
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.frame.is_empty() { Ok(()) } else { self.out.frame(self.frame.finish()) }
    }
}

enum RecordError {
    Malformed(Malformed),
    Io(io::Error),
}

impl From<Malformed> for RecordError {
    fn from(malformed: Malformed) -> RecordError {
        RecordError::Malformed(malformed)
    }
}

impl From<io::Error> for RecordError {
    fn from(error: io::Error) -> RecordError {
        RecordError::Io(error)
    }
}

#[cfg(test)]
#[path = "cut_tests.rs"]
mod tests;
