//! An identity by itself, as the index keeps it.

use std::sync::Arc;

use smallvec::SmallVec;

use super::tag::NAME;
use super::{Malformed, SegmentReader, SegmentWriter};
use crate::change::Identity;

/// An identity as bytes, kept outside a segment: the names it mentions, then the identity. A uuid
/// takes 18 bytes and no memory of its own.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct IdentityBytes(SmallVec<[u8; 24]>);

impl IdentityBytes {
    /// Writes an identity.
    pub fn new(identity: &Identity<'_>) -> IdentityBytes {
        let mut writer = SegmentWriter::new();
        writer.intern_identity(identity);
        let written = writer.put_identity(identity);
        debug_assert!(written.is_ok(), "every name was written before the identity");
        IdentityBytes(writer.finish().into())
    }

    /// Bytes written before, checked when they are read.
    pub fn from_slice(bytes: &[u8]) -> IdentityBytes {
        IdentityBytes(SmallVec::from_slice(bytes))
    }

    /// The bytes.
    pub fn as_slice(&self) -> &[u8] {
        &self.0
    }

    /// The bytes as they stand in any segment; `None` if the identity mentions tables, whose
    /// numbers differ from segment to segment.
    pub fn nameless(&self) -> Option<&[u8]> {
        (self.0.first() != Some(&NAME)).then_some(&self.0)
    }

    /// Reads the identity back.
    pub fn identity(&self) -> Result<Identity<'_>, Malformed> {
        let mut reader = SegmentReader::new(&self.0);
        while reader.rest().first() == Some(&NAME) {
            reader.byte()?;
            let name = reader.text()?;
            reader.names.push(Arc::from(name));
        }
        let identity = reader.identity(0)?;
        if reader.rest().is_empty() {
            Ok(identity)
        } else {
            Err(reader.malformed("bytes after an identity"))
        }
    }
}
