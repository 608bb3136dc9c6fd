//! A parent's database, in memory.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use crate::change::{Epoch, NodeId, Sequence};
use crate::record::{Record, SegmentReader};
use crate::transport::{
    Applied, Peer, ReceivedBatch, SetAside, Target, TargetError, Wanted, Watermark,
};

/// What a test sees of a parent's database.
#[derive(Default)]
pub(super) struct Memory {
    pub(super) watermarks: HashMap<(NodeId, Epoch), Watermark>,
    pub(super) transactions: Vec<(Sequence, u64)>,
    pub(super) applies: u64,
    pub(super) fail_next: Option<TargetError>,
    /// Why it refuses every batch.
    pub(super) refuses: Option<String>,
    pub(super) wanted_next: Vec<Wanted>,
    /// What is still missing, and how often that was asked.
    pub(super) missing: Vec<Wanted>,
    pub(super) asked: u64,
    pub(super) delay: Duration,
    pub(super) set_aside: SetAside,
    pub(super) in_all: Option<SetAside>,
}

#[derive(Default)]
pub(super) struct MemoryTarget(pub(super) Mutex<Memory>);

impl MemoryTarget {
    pub(super) fn transactions(&self) -> Vec<u64> {
        self.0.lock().unwrap().transactions.iter().map(|(sequence, _)| sequence.0).collect()
    }
    pub(super) fn changes(&self) -> u64 {
        self.0.lock().unwrap().transactions.iter().map(|(_, changes)| changes).sum()
    }
    pub(super) fn applies(&self) -> u64 {
        self.0.lock().unwrap().applies
    }
    /// As a restored backup has it.
    pub(super) fn rewind(&self, to: u64) {
        self.with(|memory| {
            for watermark in memory.watermarks.values_mut() {
                *watermark = Watermark { sequence: Sequence(to), batch: None };
            }
            memory.transactions.retain(|(sequence, _)| sequence.0 <= to);
        });
    }
    pub(super) fn with<R>(&self, work: impl FnOnce(&mut Memory) -> R) -> R {
        work(&mut self.0.lock().unwrap())
    }
}

impl Target for MemoryTarget {
    async fn watermark(&self, peer: &Peer) -> Result<Watermark, TargetError> {
        let watermarks = &self.0.lock().unwrap().watermarks;
        Ok(watermarks.get(&(peer.node, peer.epoch)).copied().unwrap_or_default())
    }

    async fn apply(&self, peer: &Peer, batch: ReceivedBatch) -> Result<Applied, TargetError> {
        let delay = self.with(|memory| memory.delay);
        crate::clock::sleep(delay).await;
        let watermark = self.watermark(peer).await?.sequence;
        let mut memory = self.0.lock().unwrap();
        memory.applies += 1;
        if let Some(error) = memory.fail_next.take() {
            return Err(error);
        }
        if let Some(words) = &memory.refuses {
            return Err(TargetError::Refused(words.clone()));
        }
        if batch.from > watermark {
            return Err(TargetError::Gap { from: batch.from, watermark });
        }
        for segment in batch.segments.segments() {
            let segment = segment.map_err(|error| TargetError::Refused(error.to_string()))?;
            let mut reader = SegmentReader::new(&segment);
            while let Some(record) = reader.read().unwrap() {
                if let Record::End(end) = record
                    && end.sequence > watermark
                {
                    memory.transactions.push((end.sequence, end.changes));
                }
            }
        }
        let through = batch.through.max(watermark);
        let mark = Watermark { sequence: through, batch: Some(batch.checksum) };
        memory.watermarks.insert((peer.node, peer.epoch), mark);
        let wanted = std::mem::take(&mut memory.wanted_next);
        let SetAside { parked, quarantined } = memory.set_aside;
        Ok(Applied { through, parked, quarantined, in_all: memory.in_all, wanted })
    }

    async fn set_aside(&self, _peer: &Peer) -> Result<SetAside, TargetError> {
        Ok(self.with(|memory| memory.set_aside))
    }

    async fn wanted(&self, _peer: &Peer, most: usize) -> Result<Vec<Wanted>, TargetError> {
        self.with(|memory| {
            memory.asked += 1;
            Ok(memory.missing.iter().take(most).cloned().collect())
        })
    }
}
