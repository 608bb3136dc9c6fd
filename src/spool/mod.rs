//! The node's durable store: captured transactions until every link has acknowledged them, the
//! position capture resumes from, the identity index, the links and their cursors, and the pieces
//! of batches not yet whole. One SQLite file, written by one thread.

use crate::change::Sequence;
use crate::clock::Timestamp;

/// A run of whole transactions, or one part of a transaction too large for a single segment, as
/// the spool keeps it: encoded by [`crate::record::SegmentWriter`], then LZ4-compressed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// The first transaction in it.
    pub first: Sequence,
    /// The last transaction in it; equal to `first` for a part.
    pub last: Sequence,
    /// 0, 1, ... for the parts of one transaction; 0 for a segment of whole transactions.
    pub part: u32,
    /// Whether the last transaction ends in this segment.
    pub complete: bool,
    /// How many changes it holds.
    pub changes: u64,
    /// The length of the raw segment.
    pub raw_bytes: u64,
    /// When the last transaction in it was committed at its source.
    pub committed_at: Timestamp,
    /// The raw segment, LZ4-compressed (`lz4_flex::block::compress`).
    pub compressed: Vec<u8>,
}
