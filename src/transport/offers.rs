//! What a child remembers of the batches it has offered: which of them the parent may have applied
//! although no answer came back. What the parent has applied from this node and is not among them
//! was sent by another machine with a copy of this node's data folder.

use super::Watermark;
use super::batch::BatchKey;
use crate::change::Sequence;

/// The note under which the store remembers them.
pub const OFFERED: &str = "link.offered";
/// Offers remembered: after each whose answer is lost comes a hello, which tells its fate.
const OFFERS_MAX: usize = 64;
const OFFER_BYTES: usize = 16;

/// A batch as it is recognised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Offer {
    through: Sequence,
    checksum: [u8; 8],
}

/// The batches offered, the latest last.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Offers {
    furthest: Sequence,
    latest: Vec<Offer>,
}

impl Offers {
    /// Reads what [`Offers::bytes`] wrote; an earlier version wrote the first number alone.
    pub fn read(bytes: &[u8]) -> Offers {
        let (furthest, mut rest) = bytes.split_at_checked(8).unwrap_or_default();
        let mut latest = Vec::new();
        while let Some((offer, more)) = rest.split_first_chunk::<OFFER_BYTES>() {
            rest = more;
            let (through, checksum) = offer.split_at(8);
            if let Ok(checksum) = checksum.try_into() {
                latest.push(Offer { through: number(through), checksum });
            }
        }
        Offers { furthest: number(furthest), latest }
    }

    /// As the store keeps it.
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.furthest.0.to_le_bytes().to_vec();
        for offer in &self.latest {
            bytes.extend_from_slice(&offer.through.0.to_le_bytes());
            bytes.extend_from_slice(&offer.checksum);
        }
        bytes
    }

    /// Adds a batch about to be offered, and forgets those before `acknowledged`, of which nothing
    /// is asked any more. Returns whether that has to be written down.
    pub fn add(&mut self, key: &BatchKey, acknowledged: Sequence) -> bool {
        let offer = Offer { through: key.through, checksum: key.checksum };
        if self.latest.contains(&offer) {
            return false;
        }
        self.latest.retain(|known| known.through > acknowledged);
        if self.latest.len() >= OFFERS_MAX {
            self.latest.remove(0);
        }
        self.latest.push(offer);
        self.furthest = self.furthest.max(offer.through);
        true
    }

    /// The last transaction that was ever offered. Never moves back.
    pub fn furthest(&self) -> Sequence {
        self.furthest
    }

    /// Whether the parent's watermark can be this node's doing.
    pub fn explain(&self, watermark: &Watermark) -> bool {
        match watermark.batch {
            // A parent or a note of an earlier version says less.
            Some(checksum) if !self.latest.is_empty() => {
                self.latest.contains(&Offer { through: watermark.sequence, checksum })
            }
            Some(_) | None => watermark.sequence <= self.furthest,
        }
    }
}

fn number(bytes: &[u8]) -> Sequence {
    Sequence(bytes.first_chunk::<8>().copied().map_or(0, u64::from_le_bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(through: u64, checksum: u8) -> BatchKey {
        BatchKey {
            from: Sequence(0),
            through: Sequence(through),
            bytes: 100,
            checksum: [checksum; 8],
        }
    }

    fn mark(sequence: u64, batch: Option<u8>) -> Watermark {
        Watermark { sequence: Sequence(sequence), batch: batch.map(|byte| [byte; 8]) }
    }

    #[test]
    fn only_what_was_offered_explains_a_watermark() {
        let mut offers = Offers::default();
        assert!(!offers.explain(&mark(5, Some(1))));
        assert!(offers.add(&key(9, 1), Sequence(0)));
        assert!(offers.add(&key(7, 2), Sequence(0)), "the same again, with another codec");
        assert!(!offers.add(&key(9, 1), Sequence(0)));
        let offers = Offers::read(&offers.bytes());
        assert_eq!(offers.furthest(), Sequence(9), "never back");
        for (through, batch, explained) in
            [(9, 1, true), (7, 2, true), (7, 1, false), (9, 3, false), (8, 1, false)]
        {
            assert_eq!(offers.explain(&mark(through, Some(batch))), explained, "{through} {batch}");
        }
        assert!(offers.explain(&mark(8, None)), "an earlier parent tells no checksum");
        assert!(!offers.explain(&mark(10, None)));
    }

    #[test]
    fn what_is_acknowledged_is_forgotten_and_the_rest_has_a_limit() {
        let mut offers = Offers::default();
        for through in 1..=200 {
            offers.add(&key(through, 1), Sequence(through.min(100)));
        }
        assert_eq!(offers.latest.len(), OFFERS_MAX);
        assert!(offers.explain(&mark(200, Some(1))) && !offers.explain(&mark(99, Some(1))));
        offers.add(&key(300, 2), Sequence(200));
        assert_eq!(offers.latest.len(), 1);
    }

    #[test]
    fn the_note_of_an_earlier_version_is_read() {
        let offers = Offers::read(&7_u64.to_le_bytes());
        assert_eq!(offers.furthest(), Sequence(7));
        assert!(offers.explain(&mark(7, Some(4))) && !offers.explain(&mark(8, Some(4))));
        assert_eq!(Offers::read(&[]), Offers::default());
        assert_eq!(Offers::read(&[1, 2, 3]), Offers::default());
    }
}
