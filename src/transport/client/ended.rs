//! Why a connection ended, and why a link ended for good.

use crate::spool;
use crate::transport::cut::CutError;
use crate::transport::dial::LinkError;
use crate::transport::session::Stop;

/// Why a child's link ended for good; everything else is tried again.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// This node has not joined a parent.
    #[error(
        "this node has not joined a parent yet: ask for a token (`headwater invite NAME` at the parent) and run `headwater join TOKEN`"
    )]
    NotJoined,
    /// The store failed, and the node has to end.
    #[error(transparent)]
    Store(spool::Error),
    /// What the spool holds cannot be sent.
    #[error(transparent)]
    Cut(CutError),
}

/// Why one connection ended.
#[derive(Debug)]
pub(super) enum Ended {
    /// The node stops.
    Stopped,
    /// The connection was closed in peace while nothing was under way.
    Closed,
    /// Something passing went wrong.
    Failed(String),
    /// Something that a person has to mend.
    Refused(String),
    /// The node cannot go on.
    Fatal(ClientError),
}

impl From<LinkError> for Ended {
    fn from(error: LinkError) -> Ended {
        let words = error.to_string();
        if error.needs_a_person() { Ended::Refused(words) } else { Ended::Failed(words) }
    }
}

impl From<spool::Error> for Ended {
    fn from(error: spool::Error) -> Ended {
        match error.next() {
            spool::Next::Wait => Ended::Failed(error.to_string()),
            spool::Next::Refuse => Ended::Refused(error.to_string()),
            spool::Next::Stop => Ended::Fatal(ClientError::Store(error)),
        }
    }
}

impl From<CutError> for Ended {
    fn from(error: CutError) -> Ended {
        match error {
            CutError::Io(_) => Ended::Failed(error.to_string()),
            CutError::Damaged { .. } => Ended::Fatal(ClientError::Cut(error)),
        }
    }
}

impl From<Stop> for Ended {
    fn from(stop: Stop) -> Ended {
        Ended::Refused(stop.to_string())
    }
}
