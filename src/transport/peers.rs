//! Which child is asking: found by the key its certificate proved, looked up so often that a
//! revoked child is refused within a second.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::Peer;
use super::wire::{Code, Refusal};
use crate::clock::SharedClock;
use crate::spool::{self, Direction, Link, Spool, State};

/// How old a look at the links may be.
const FRESH: Duration = Duration::from_secs(1);

/// The children of this node.
pub(super) struct Peers {
    spool: Spool,
    clock: SharedClock,
    seen: Mutex<Option<(Duration, Vec<Link>)>>,
}

/// Why no child was found.
#[derive(Debug)]
pub(super) enum PeerError {
    /// The child is not let in.
    Refused(Refusal),
    /// The store cannot tell.
    Store(spool::Error),
}

impl Peers {
    pub(super) fn new(spool: Spool, clock: SharedClock) -> Peers {
        Peers { spool, clock, seen: Mutex::new(None) }
    }

    /// Looks anew next time.
    pub(super) fn forget(&self) {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// The child with this key.
    pub(super) async fn find(&self, key: Option<[u8; 32]>) -> Result<Peer, PeerError> {
        let Some(key) = key else {
            return Err(refused(
                Code::UnknownChild,
                "no certificate was shown: this node has not joined this parent; ask for a token \
                 (`headwater invite NAME` at the parent) and run `headwater join TOKEN`",
            ));
        };
        let links = self.links().await.map_err(PeerError::Store)?;
        let found = links
            .iter()
            .find(|link| link.direction == Direction::Down && link.certificate == Some(key));
        admit(found).map_err(PeerError::Refused)
    }

    async fn links(&self) -> Result<Vec<Link>, spool::Error> {
        let now = self.clock.monotonic();
        if let Some((at, links)) = &*self.seen.lock().unwrap_or_else(PoisonError::into_inner)
            && now.saturating_sub(*at) < FRESH
        {
            return Ok(links.clone());
        }
        let links = self.spool.links().await?;
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        *seen = Some((now, links.clone()));
        Ok(links)
    }
}

fn refused(code: Code, message: &str) -> PeerError {
    PeerError::Refused(Refusal { code, message: message.to_owned(), expected: None })
}

/// Whether a link lets its child in.
fn admit(link: Option<&Link>) -> Result<Peer, Refusal> {
    let refuse = |code, message: String| Err(Refusal { code, message, expected: None });
    let Some(link) = link else {
        return refuse(
            Code::UnknownChild,
            "this parent knows no child with this certificate: it was removed, or invited anew \
             and joined from another machine; ask for a new token, stop headwater here and run \
             `headwater join TOKEN`"
                .to_owned(),
        );
    };
    match (link.state, link.node, link.epoch) {
        (State::Active, Some(node), Some(epoch)) => {
            Ok(Peer { name: link.name.clone(), node, epoch })
        }
        (State::Active | State::Invited, _, _) => refuse(
            Code::UnknownChild,
            format!(
                "`{}` is invited but has not joined: stop headwater here and run `headwater join TOKEN`",
                link.name
            ),
        ),
        (State::Revoked, _, _) => refuse(
            Code::Revoked,
            format!(
                "the link of `{}` was revoked at the parent; to use it again, ask for a new token, stop \
                 headwater here and run `headwater join TOKEN`",
                link.name
            ),
        ),
    }
}
