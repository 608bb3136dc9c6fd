//! The link between a child and its parent. Knows segments and batches, nothing of `MySQL`.

mod acceptor;
pub mod authority;
pub mod backoff;
pub mod batch;
pub mod client;
pub mod codec;
pub mod content;
pub mod credentials;
pub mod cut;
pub mod dial;
pub mod enrol;
mod newcomers;
pub mod offers;
pub mod pace;
mod peers;
pub mod progress;
mod receive;
mod routes;
pub mod server;
pub mod session;
#[cfg(test)]
mod tests;
pub mod tls;
pub mod token;
pub mod wire;

use std::future::Future;

use crate::change::{Epoch, Identity, NodeId, Sequence};
use crate::record::SegmentSource;
use crate::value::Name;

/// Who is at the other end of a link, as its certificate proved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// The name it was invited under.
    pub name: String,
    /// Its node id.
    pub node: NodeId,
    /// The epoch of its store.
    pub epoch: Epoch,
}

/// A row that the other end lacks and asks to be sent whole.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Wanted {
    /// Its table.
    pub table: Name,
    /// The row.
    pub identity: Identity<'static>,
}

/// How far a link has been applied.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Watermark {
    /// The last transaction applied.
    pub sequence: Sequence,
    /// The first bytes of the checksum of the batch that brought it, if they are known.
    pub batch: Option<[u8; 8]>,
}

impl Watermark {
    /// Whether a batch through the same transaction as this watermark is known not to be the one
    /// that brought it: two machines use a copy of one `data_dir`.
    pub fn is_of_another(&self, through: Sequence, checksum: [u8; 8]) -> bool {
        self.sequence == through && self.batch.is_some_and(|batch| batch != checksum)
    }
}

/// How many changes of one node are set aside at the other end of its link.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct SetAside {
    /// Because a row they refer to is missing.
    pub parked: u64,
    /// Because they need a person.
    pub quarantined: u64,
}

impl SetAside {
    /// Whether there are none.
    pub fn is_none(&self) -> bool {
        *self == SetAside::default()
    }
}

/// What became of a batch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Applied {
    /// The link's watermark now: what may be acknowledged.
    pub through: Sequence,
    /// Changes set aside because a row they refer to is missing.
    pub parked: u64,
    /// Changes set aside because they need a person.
    pub quarantined: u64,
    /// What is set aside of the node's changes in all, if anything is or was.
    pub in_all: Option<SetAside>,
    /// Rows the target lacks, at most a few hundred at a time.
    pub wanted: Vec<Wanted>,
}

/// A whole, verified batch: transactions `(from, through]`.
pub struct ReceivedBatch {
    /// The last transaction before the batch.
    pub from: Sequence,
    /// The last transaction in the batch.
    pub through: Sequence,
    /// The first bytes of its checksum, which tell it from others of the same range.
    pub checksum: [u8; 8],
    /// Its content.
    pub segments: Box<dyn SegmentSource>,
}

/// Why a target did not take a batch; says what the link does next.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    /// The batch starts above the watermark: what lies between has to come first.
    #[error("batch starts after {from}, but only {watermark} is applied here")]
    Gap {
        /// Where the batch starts.
        from: Sequence,
        /// What has been applied.
        watermark: Sequence,
    },
    /// What the batch ends with came in another batch: the child learns by a hello which that was.
    #[error("transactions through {through} came in another batch")]
    AnotherBatch {
        /// What has been applied, and what the batch ends with.
        through: Sequence,
    },
    /// Nothing wrong with the batch: try the same again later.
    #[error("the target database cannot take the batch now: {0}")]
    Retry(String),
    /// The batch cannot be taken, ever, as it is; the link stops with these words.
    #[error("{0}")]
    Refused(String),
}

/// Where received batches go. Implemented over the database by the node; by tests over memory.
pub trait Target: Send + Sync + 'static {
    /// How far this peer has been applied; 0 for a peer never heard of.
    fn watermark(&self, peer: &Peer)
    -> impl Future<Output = Result<Watermark, TargetError>> + Send;

    /// Applies a batch in one transaction together with the watermark. What is at or below the
    /// watermark is left alone.
    fn apply(
        &self,
        peer: &Peer,
        batch: ReceivedBatch,
    ) -> impl Future<Output = Result<Applied, TargetError>> + Send;

    /// How many changes of this peer are set aside.
    fn set_aside(&self, peer: &Peer) -> impl Future<Output = Result<SetAside, TargetError>> + Send;

    /// Rows that changes of this peer still wait for, whether they were asked for before or not; at
    /// most so many, and others each time if there are more.
    fn wanted(
        &self,
        peer: &Peer,
        most: usize,
    ) -> impl Future<Output = Result<Vec<Wanted>, TargetError>> + Send;
}

/// Returns once the node is told to stop, or nobody is left to tell it.
async fn stopped(stop: &mut tokio::sync::watch::Receiver<bool>) {
    let _seen = stop.wait_for(|stop| *stop).await.is_ok();
}
