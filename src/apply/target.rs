//! The database as the place where a link's batches go.

use super::applier::Applier;
use super::error::Error;
use crate::transport::{
    Applied, Peer, ReceivedBatch, SetAside, Target, TargetError, Wanted, Watermark,
};

impl From<Error> for TargetError {
    fn from(error: Error) -> TargetError {
        match error {
            Error::Gap { from, watermark } => TargetError::Gap { from, watermark },
            Error::AnotherBatch { through } => TargetError::AnotherBatch { through },
            // What a person mends may be mended while the link keeps trying.
            Error::Retry(words) | Error::Stop(words) | Error::Changed(words) => {
                TargetError::Retry(words)
            }
            Error::Refused(words) => TargetError::Refused(words),
        }
    }
}

impl Target for Applier {
    async fn watermark(&self, peer: &Peer) -> Result<Watermark, TargetError> {
        Ok(Applier::watermark(self, peer.node, peer.epoch).await?)
    }

    async fn apply(&self, peer: &Peer, batch: ReceivedBatch) -> Result<Applied, TargetError> {
        Ok(Applier::apply(self, peer, batch).await?)
    }

    async fn set_aside(&self, peer: &Peer) -> Result<SetAside, TargetError> {
        Ok(Applier::set_aside(self, peer.node).await?)
    }

    async fn wanted(&self, peer: &Peer, most: usize) -> Result<Vec<Wanted>, TargetError> {
        Ok(Applier::wanted(self, peer.node, most).await?)
    }
}
