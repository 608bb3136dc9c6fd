//! Changes to segments: whole transactions packed together, a large one in parts, numbered in
//! commit order. Nothing here waits or reads a clock.

use crate::change::{Change, NodeId, Sequence};
use crate::clock::Timestamp;
use crate::record::{End, Malformed, Record, SegmentReader, SegmentWriter};
use crate::spool::Segment;

/// Whole transactions are gathered in one segment up to this size, so that names and shapes are
/// written once for many of them.
const GATHER_BYTES: usize = 256 << 10;
/// A transaction that grows past this is cut into parts, so that memory stays bounded.
const PART_BYTES: usize = 1 << 20;

/// Segments in the making.
pub(super) struct Assembly {
    writer: SegmentWriter,
    gathered: Gathered,
    open: Option<Open>,
    ready: Vec<Cut>,
    ready_bytes: usize,
    last: Sequence,
}

/// A finished segment, not yet compressed: that is left to whoever writes it to the store, while
/// the log is read on.
#[derive(Debug)]
pub(super) struct Cut {
    raw: Vec<u8>,
    /// All else of the segment.
    frame: Segment,
}

impl Cut {
    fn new(raw: Vec<u8>, frame: Segment) -> Cut {
        Cut { frame: Segment { raw_bytes: raw.len() as u64, ..frame }, raw }
    }

    /// Whether the last transaction in it ends in it.
    pub(super) fn is_complete(&self) -> bool {
        self.frame.complete
    }

    /// The segment as the store takes it.
    pub(super) fn compress(self) -> Segment {
        Segment { compressed: lz4_flex::block::compress(&self.raw), ..self.frame }
    }
}

/// The whole transactions in the writer.
#[derive(Default)]
struct Gathered {
    first: Option<Sequence>,
    changes: u64,
    bytes: usize,
    committed_at: Timestamp,
}

/// The transaction whose commit has not been read yet.
struct Open {
    sequence: Sequence,
    changes: u64,
    /// Changes of it in the writer, rather than in parts already cut.
    changes_here: u64,
    part: u32,
}

impl Assembly {
    /// Numbers go on after `head`, the last transaction in the spool.
    pub(super) fn new(head: Sequence) -> Assembly {
        Assembly {
            writer: SegmentWriter::new(),
            gathered: Gathered::default(),
            open: None,
            ready: Vec::new(),
            ready_bytes: 0,
            last: head,
        }
    }

    /// Adds a change to the open transaction, opening one if need be: a transaction without
    /// mapped changes takes no number.
    pub(super) fn change(&mut self, change: &Change<'_>) -> Result<(), Malformed> {
        self.write(|writer| {
            writer.change(change);
            Ok(true)
        })
        .map(drop)
    }

    /// Adds a change that `write` writes, if it says that it did; otherwise another change has to
    /// follow before the commit.
    pub(super) fn write<E: From<Malformed>>(
        &mut self,
        write: impl FnOnce(&mut SegmentWriter) -> Result<bool, E>,
    ) -> Result<bool, E> {
        if self.open.is_none() {
            if self.writer.len() >= GATHER_BYTES {
                self.cut_whole();
            }
            let sequence = self.last.next();
            self.writer.begin(sequence);
            self.open = Some(Open { sequence, changes: 0, changes_here: 0, part: 0 });
        }
        if !write(&mut self.writer)? {
            return Ok(false);
        }
        if let Some(open) = &mut self.open {
            open.changes += 1;
            open.changes_here += 1;
        }
        if self.writer.len() > PART_BYTES {
            self.part_from_whole()?;
            if self.writer.len() > PART_BYTES {
                self.cut_part(Timestamp::default(), false);
            }
        }
        Ok(true)
    }

    /// Ends the open transaction, if it has changes; says its number.
    pub(super) fn commit(
        &mut self,
        committed_at: Timestamp,
        origin: Option<NodeId>,
    ) -> Option<Sequence> {
        let open = self.open.as_ref()?;
        let sequence = open.sequence;
        self.writer.end(End { sequence, changes: open.changes, committed_at, origin });
        self.last = sequence;
        if open.part > 0 {
            self.cut_part(committed_at, true);
            self.open = None;
            return Some(sequence);
        }
        self.gathered.first.get_or_insert(sequence);
        self.gathered.changes += open.changes_here;
        self.gathered.bytes = self.writer.len();
        self.gathered.committed_at = committed_at;
        self.open = None;
        Some(sequence)
    }

    /// Drops the open transaction: it was rolled back, or the log ended in its middle. Says
    /// whether parts of it have been handed over and must be discarded from the store.
    pub(super) fn abandon(&mut self) -> Result<bool, Malformed> {
        let Some(open) = self.open.take() else { return Ok(false) };
        if open.part == 0 {
            let bytes = self.writer.finish();
            copy(&bytes, &mut self.writer, |record| before(record, open.sequence))?;
            self.gathered.bytes = self.writer.len();
            return Ok(false);
        }
        self.writer.finish();
        let parts_here = self.ready.iter().filter(|cut| cut.frame.first == open.sequence).count();
        self.ready.retain(|cut| cut.frame.first != open.sequence);
        self.ready_bytes = self.ready.iter().map(|cut| cut.raw.len()).sum();
        Ok(u32::try_from(parts_here).unwrap_or(u32::MAX) < open.part)
    }

    /// How many changes the open transaction has.
    pub(super) fn changes(&self) -> u64 {
        self.open.as_ref().map_or(0, |open| open.changes)
    }

    /// Drops what the open transaction has beyond its first changes. Not if some of it has been cut:
    /// says whether it was.
    pub(super) fn back_to(&mut self, changes: u64) -> Result<bool, Malformed> {
        let Some(open) = &mut self.open else { return Ok(true) };
        if open.changes <= changes {
            return Ok(true);
        }
        if open.part > 0 {
            return Ok(false);
        }
        if changes == 0 {
            self.abandon()?;
            return Ok(true);
        }
        (open.changes, open.changes_here) = (changes, changes);
        let sequence = open.sequence;
        let bytes = self.writer.finish();
        let mut reader = SegmentReader::new(&bytes);
        let mut left = None;
        while let Some(record) = reader.read()? {
            match (&record, &mut left) {
                (Record::Begin(begun), _) if *begun == sequence => left = Some(changes),
                (Record::Change(_), Some(0)) => break,
                (Record::Change(_), Some(left)) => *left -= 1,
                (Record::Begin(_) | Record::Change(_) | Record::End(_), _) => {}
            }
            self.writer.record(&record);
        }
        Ok(true)
    }

    /// Whether a transaction is open.
    pub(super) fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Whether parts of the open transaction have been cut: they are in the store, or about to be.
    pub(super) fn is_cut(&self) -> bool {
        self.open.as_ref().is_some_and(|open| open.part > 0)
    }

    /// Whether the open transaction shares the writer with whole ones before it.
    pub(super) fn shares(&self) -> bool {
        self.open.is_some() && self.gathered.first.is_some()
    }

    /// Bytes that wait to be handed over.
    pub(super) fn waiting_bytes(&self) -> usize {
        self.ready_bytes + self.gathered.bytes
    }

    /// Hands over everything finished. A transaction still open stays, but for parts already cut.
    pub(super) fn take(&mut self) -> Result<Vec<Cut>, Malformed> {
        if self.open.is_none() {
            self.cut_whole();
        } else {
            self.part_from_whole()?;
        }
        self.ready_bytes = 0;
        Ok(std::mem::take(&mut self.ready))
    }

    /// Cuts what there is of the open transaction into a part of it.
    pub(super) fn cut_open(&mut self) -> Result<(), Malformed> {
        self.part_from_whole()?;
        if self.open.as_ref().is_some_and(|open| open.changes_here > 0) {
            self.cut_part(Timestamp::default(), false);
        }
        Ok(())
    }

    /// Separates the open transaction from the whole ones before it in the writer.
    fn part_from_whole(&mut self) -> Result<(), Malformed> {
        let Some(open) = &self.open else { return Ok(()) };
        if self.gathered.first.is_none() {
            return Ok(());
        }
        let (sequence, last) = (open.sequence, self.last);
        let bytes = self.writer.finish();
        copy(&bytes, &mut self.writer, |record| before(record, sequence))?;
        self.push_whole(last);
        let mut past = false;
        copy(&bytes, &mut self.writer, |record| {
            past = past || matches!(record, Record::Begin(begun) if *begun == sequence);
            past
        })
    }

    fn cut_whole(&mut self) {
        if self.gathered.first.is_some() {
            self.push_whole(self.last);
        }
    }

    fn push_whole(&mut self, last: Sequence) {
        let gathered = std::mem::take(&mut self.gathered);
        let Some(first) = gathered.first else { return };
        let raw = self.writer.finish();
        self.push(Cut::new(
            raw,
            Segment {
                first,
                last,
                part: 0,
                complete: true,
                changes: gathered.changes,
                committed_at: gathered.committed_at,
                raw_bytes: 0,
                compressed: Vec::new(),
            },
        ));
    }

    fn cut_part(&mut self, committed_at: Timestamp, complete: bool) {
        let raw = self.writer.finish();
        let Some(open) = &mut self.open else { return };
        let frame = Segment {
            first: open.sequence,
            last: open.sequence,
            part: open.part,
            complete,
            changes: std::mem::take(&mut open.changes_here),
            committed_at,
            raw_bytes: 0,
            compressed: Vec::new(),
        };
        open.part = open.part.saturating_add(1);
        self.push(Cut::new(raw, frame));
    }

    fn push(&mut self, cut: Cut) {
        self.ready_bytes += cut.raw.len();
        self.ready.push(cut);
    }
}

/// Whether a record belongs to a transaction before `sequence`, when records are read in order
/// from the start. Changes do not say whose they are, but everything before the `Begin` of
/// `sequence` qualifies, and nothing after it: the open transaction is always the last.
fn before(record: &Record<'_>, sequence: Sequence) -> bool {
    !matches!(record, Record::Begin(begun) if *begun == sequence)
}

/// Copies records while `keep` says so at a transaction's beginning; changes follow their `Begin`.
fn copy(
    bytes: &[u8],
    writer: &mut SegmentWriter,
    mut keep: impl FnMut(&Record<'_>) -> bool,
) -> Result<(), Malformed> {
    let mut reader = SegmentReader::new(bytes);
    let mut keeping = false;
    while let Some(record) = reader.read()? {
        if matches!(record, Record::Begin(_)) {
            keeping = keep(&record);
        }
        if keeping {
            writer.record(&record);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::change::{Identity, Kind, Shape};
    use crate::value::Value;

    fn change(text: &str) -> Change<'_> {
        Change {
            shape: Arc::new(Shape { table: "note".into(), columns: vec!["text".into()] }),
            kind: Kind::Insert,
            identity: Identity::One(Value::Int(1)),
            previous: None,
            values: vec![Value::Text(text.into())],
            base: None,
        }
    }

    fn taken(assembly: &mut Assembly) -> Vec<Segment> {
        assembly.take().unwrap().into_iter().map(Cut::compress).collect()
    }

    fn records(segments: &[Segment]) -> Vec<String> {
        let mut told = Vec::new();
        for segment in segments {
            let raw = usize::try_from(segment.raw_bytes).unwrap();
            let raw = lz4_flex::block::decompress(&segment.compressed, raw).unwrap();
            let mut reader = SegmentReader::new(&raw);
            while let Some(record) = reader.read().unwrap() {
                told.push(match record {
                    Record::Begin(sequence) => format!("begin {sequence}"),
                    Record::Change(_) => "change".to_owned(),
                    Record::End(end) => format!("end {} of {}", end.sequence, end.changes),
                });
            }
        }
        told
    }

    #[test]
    fn small_transactions_share_a_segment() {
        let mut assembly = Assembly::new(Sequence(4));
        for _ in 0..2 {
            assembly.change(&change("a")).unwrap();
            assembly.commit(Timestamp(1), None);
        }
        let segments = taken(&mut assembly);
        assert_eq!(segments.len(), 1);
        assert_eq!((segments[0].first, segments[0].last), (Sequence(5), Sequence(6)));
        let expected = ["begin 5", "change", "end 5 of 1", "begin 6", "change", "end 6 of 1"];
        assert_eq!(records(&segments), expected);
    }

    #[test]
    fn an_empty_transaction_takes_no_number() {
        let mut assembly = Assembly::new(Sequence(0));
        assert_eq!(assembly.commit(Timestamp(1), None), None);
        assert!(taken(&mut assembly).is_empty());
    }

    #[test]
    fn a_transaction_still_open_is_not_handed_over() {
        let mut assembly = Assembly::new(Sequence(0));
        assembly.change(&change("a")).unwrap();
        assembly.commit(Timestamp(1), None);
        assembly.change(&change("b")).unwrap();
        let first = taken(&mut assembly);
        assert_eq!(records(&first), ["begin 1", "change", "end 1 of 1"]);
        assert_eq!(assembly.commit(Timestamp(2), None), Some(Sequence(2)));
        assert_eq!(records(&taken(&mut assembly)), ["begin 2", "change", "end 2 of 1"]);
    }

    #[test]
    fn an_abandoned_transaction_leaves_those_before_it() {
        let mut assembly = Assembly::new(Sequence(0));
        assembly.change(&change("a")).unwrap();
        assembly.commit(Timestamp(1), None);
        assembly.change(&change("b")).unwrap();
        assert!(!assembly.abandon().unwrap());
        assembly.change(&change("c")).unwrap();
        assembly.commit(Timestamp(1), None);
        let expected = ["begin 1", "change", "end 1 of 1", "begin 2", "change", "end 2 of 1"];
        assert_eq!(records(&taken(&mut assembly)), expected);
    }

    #[test]
    fn a_transaction_goes_back_to_its_first_changes_and_on_from_there() {
        let mut assembly = Assembly::new(Sequence(0));
        assembly.change(&change("before")).unwrap();
        assembly.commit(Timestamp(1), None);
        for changes in 0..3 {
            for text in ["a", "b", "c"] {
                assembly.change(&change(text)).unwrap();
            }
            assert!(assembly.back_to(changes).unwrap());
            assert_eq!(assembly.changes(), changes);
            assembly.change(&change("d")).unwrap();
            assembly.commit(Timestamp(2), None);
        }
        let told = records(&taken(&mut assembly));
        let ends: Vec<&str> =
            told.iter().filter(|told| told.starts_with("end")).map(String::as_str).collect();
        assert_eq!(ends, ["end 1 of 1", "end 2 of 1", "end 3 of 2", "end 4 of 3"]);
        assert_eq!(told.iter().filter(|told| **told == "change").count(), 1 + 1 + 2 + 3);
        // Nothing to drop, and too late to.
        assert!(assembly.back_to(0).unwrap());
        let large = "x".repeat(PART_BYTES / 2);
        for _ in 0..4 {
            assembly.change(&change(&large)).unwrap();
        }
        assert!(!assembly.back_to(1).unwrap());
        assert!(assembly.back_to(4).unwrap());
    }

    #[test]
    fn a_large_transaction_is_cut_into_parts_after_those_before_it() {
        let large = "x".repeat(PART_BYTES / 3);
        let mut assembly = Assembly::new(Sequence(0));
        assembly.change(&change("a")).unwrap();
        assembly.commit(Timestamp(1), None);
        for _ in 0..10 {
            assembly.change(&change(&large)).unwrap();
        }
        assembly.commit(Timestamp(2), None);
        let segments = taken(&mut assembly);
        let told: Vec<_> = segments
            .iter()
            .map(|segment| (segment.first.0, segment.part, segment.complete))
            .collect();
        // Three changes of a third of a part, and what describes them, are just over a part.
        let parts = [(2, 0, false), (2, 1, false), (2, 2, false), (2, 3, true)];
        assert_eq!(told, [&[(1, 0, true)], &parts[..]].concat());
        assert_eq!(segments.iter().map(|segment| segment.changes).sum::<u64>(), 11);
        assert_eq!(records(&segments).last().unwrap(), "end 2 of 10");
    }

    #[test]
    fn abandoning_a_large_transaction_says_whether_the_store_has_parts_of_it() {
        let large = "x".repeat(PART_BYTES / 2);
        let mut assembly = Assembly::new(Sequence(0));
        for _ in 0..4 {
            assembly.change(&change(&large)).unwrap();
        }
        assert!(!assembly.abandon().unwrap(), "all parts were still here");
        assert!(taken(&mut assembly).is_empty());
        for _ in 0..4 {
            assembly.change(&change(&large)).unwrap();
        }
        assert!(!taken(&mut assembly).is_empty());
        assert!(assembly.abandon().unwrap());
    }
}
