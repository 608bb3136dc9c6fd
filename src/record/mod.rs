//! Changes as bytes: the segments that the spool keeps, batches carry and apply reads.
//!
//! A segment is a run of records; `docs/formats.md` draws them byte by byte. Names and shapes are
//! written once per segment and referred to by number, and a lower-case RFC 4122 uuid takes 16
//! bytes, so a segment is small before it is compressed. Reading trusts nothing: every length is
//! checked against what is left before memory is taken.

use crate::change::{Change, NodeId, Sequence};
use crate::clock::Timestamp;

mod identity;
mod names;
mod put;
mod read;
mod tag;
mod write;

#[cfg(test)]
mod tests;

pub use self::identity::IdentityBytes;
pub use self::put::fingerprint;
pub use self::read::SegmentReader;
pub use self::write::{Mark, SegmentWriter};

/// One record of a segment. A transaction is a `Begin`, its changes and an `End`; a transaction
/// larger than a segment runs on through the segments that follow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record<'a> {
    /// A transaction starts.
    Begin(Sequence),
    /// One of its changes.
    Change(Change<'a>),
    /// It was committed.
    End(End),
}

/// How a transaction ended: always in a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct End {
    /// The transaction's number.
    pub sequence: Sequence,
    /// How many changes it has, over all its segments.
    pub changes: u64,
    /// When its database committed it.
    pub committed_at: Timestamp,
    /// The node it came from, if it arrived through a link rather than from this node's users.
    pub origin: Option<NodeId>,
}

/// A segment that does not follow the format: damaged, or made by something else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("malformed segment at byte {offset}: {what}")]
pub struct Malformed {
    /// Where in the raw segment.
    pub offset: usize,
    /// What was found there.
    pub what: &'static str,
}

/// The raw segments of a batch in order, readable more than once: the first try at applying a
/// batch may be rolled back and repeated change by change.
pub trait SegmentSource: Send + Sync {
    /// Reads from the first segment again. Each item is one whole uncompressed segment.
    fn segments(&self) -> Box<dyn Iterator<Item = Result<Vec<u8>, SegmentError>> + Send + '_>;
}

/// Why a batch's segments could not be read.
#[derive(Debug, thiserror::Error)]
pub enum SegmentError {
    /// The bytes are not what their format says.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// The compressed frame is damaged.
    #[error("batch frame {frame} cannot be decompressed: {reason}")]
    Compression {
        /// Which frame, from 0.
        frame: u64,
        /// What the decompressor said.
        reason: String,
    },
    /// The file that holds a large batch could not be read.
    #[error("the stored batch cannot be read: {0}")]
    Io(#[from] std::io::Error),
}
