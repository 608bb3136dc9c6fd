//! Reads a batch's segments as changes, past what is already applied, and holds the batch to what
//! it says of itself.

use super::error::Error;
use super::plan::{Item, Source};
use crate::change::Sequence;
use crate::record::{Record, SegmentError};

/// What to do with a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// All of it is already applied.
    Duplicate,
    /// Apply what lies above the watermark.
    Apply,
    /// Something before it is missing.
    Gap,
}

/// Compares a batch `(from, through]` with the watermark.
pub(super) fn standing(watermark: Sequence, from: Sequence, through: Sequence) -> Standing {
    if through <= watermark {
        Standing::Duplicate
    } else if from > watermark {
        Standing::Gap
    } else {
        Standing::Apply
    }
}

/// Follows the records of a batch from one transaction to the next.
#[derive(Debug)]
pub(super) struct Progress {
    watermark: Sequence,
    through: Sequence,
    last: Sequence,
    open: Option<Sequence>,
    place: u64,
}

impl Progress {
    pub(super) fn new(watermark: Sequence, from: Sequence, through: Sequence) -> Progress {
        Progress { watermark, through, last: from, open: None, place: 0 }
    }

    /// Takes the next record; a change to be applied comes back.
    pub(super) fn take<'s>(&mut self, record: Record<'s>) -> Result<Option<Item<'s>>, Error> {
        match record {
            Record::Begin(sequence) => {
                // Rising, but not without gaps: what came from this node is not sent back to it.
                if self.open.is_some() || sequence <= self.last || sequence > self.through {
                    return Err(self.broken(&format!("transaction {sequence} begins")));
                }
                self.open = Some(sequence);
                self.place = 0;
                Ok(None)
            }
            Record::Change(change) => {
                let Some(sequence) = self.open else {
                    return Err(self.broken("a change stands outside any transaction"));
                };
                self.place += 1;
                let source = Source::Fresh { sequence, place: self.place };
                Ok((sequence > self.watermark).then_some(Item { change, source }))
            }
            Record::End(end) => {
                if self.open != Some(end.sequence) || end.changes != self.place {
                    return Err(self.broken(&format!(
                        "transaction {} ends after {} of {} changes",
                        end.sequence, self.place, end.changes
                    )));
                }
                self.open = None;
                self.last = end.sequence;
                Ok(None)
            }
        }
    }

    /// Checks that the batch ended where it says.
    pub(super) fn finish(&self) -> Result<(), Error> {
        if self.open.is_none() {
            return Ok(());
        }
        Err(self.broken("the batch ends"))
    }

    fn broken(&self, what: &str) -> Error {
        Error::Refused(format!(
            "the batch is not whole: {what} after transaction {}, and it should go through {}",
            self.last, self.through
        ))
    }
}

/// The next segments of a batch that are worked on together.
pub(super) fn next_group(
    segments: &mut (dyn Iterator<Item = Result<Vec<u8>, SegmentError>> + Send),
    bytes_max: usize,
) -> Result<Vec<Vec<u8>>, Error> {
    let mut group = Vec::new();
    let mut bytes = 0_usize;
    while bytes < bytes_max {
        let Some(segment) = segments.next() else { break };
        let segment = segment?;
        bytes = bytes.saturating_add(segment.len());
        group.push(segment);
    }
    Ok(group)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_compared_with_the_watermark() {
        let at = |watermark, from, through| {
            standing(Sequence(watermark), Sequence(from), Sequence(through))
        };
        assert_eq!(at(0, 0, 3), Standing::Apply);
        assert_eq!(at(3, 0, 3), Standing::Duplicate);
        assert_eq!(at(2, 0, 3), Standing::Apply);
        assert_eq!(at(2, 3, 5), Standing::Gap);
        assert_eq!(at(9, 3, 5), Standing::Duplicate);
    }

    #[test]
    fn a_batch_that_goes_beyond_its_end_or_back_is_refused() {
        let mut progress = Progress::new(Sequence(0), Sequence(0), Sequence(2));
        assert!(progress.take(Record::Begin(Sequence(3))).is_err());
        let mut progress = Progress::new(Sequence(0), Sequence(4), Sequence(6));
        assert!(progress.take(Record::Begin(Sequence(4))).is_err());
    }

    #[test]
    fn a_batch_cut_inside_a_transaction_is_refused() {
        let mut progress = Progress::new(Sequence(0), Sequence(0), Sequence(2));
        assert!(progress.take(Record::Begin(Sequence(1))).unwrap().is_none());
        assert!(progress.finish().is_err());
    }
}
