//! Tells how capture fares: to the rest of this process at once, and through the store to
//! `headwater status`, which is another process.

use tokio::sync::watch;

use super::state::{Doing, State};
use crate::clock::Timestamp;
use crate::spool::Spool;

/// The note of the store that says what capture waits for; empty while it waits for nothing.
pub(crate) const WAITS: &str = "capture.waits";

/// The note of the store that says when the log was last captured to its end, as eight bytes,
/// little-endian, of a [`Timestamp`].
pub(crate) const READ_ALL: &str = "capture.read_all";

/// Where capture tells how it fares.
#[derive(Clone)]
pub(super) struct Teller {
    pub(super) state: watch::Sender<State>,
    pub(super) spool: Spool,
}

impl Teller {
    /// Tells that all of the log is captured, now.
    pub(super) async fn read_all(&self, now: Timestamp) {
        self.state.send_modify(|state| {
            state.read_to = Some(now);
            state.read_all = true;
        });
        if let Err(error) = self.spool.set_note_soon(READ_ALL, now.0.to_le_bytes()).await {
            // A store that failed says so at its next use.
            tracing::debug!(%error, "that all of the log is captured could not be noted");
        }
    }

    /// Tells what capture is doing now.
    pub(super) async fn doing(&self, doing: Doing) {
        let words = match &doing {
            Doing::Retrying(words) | Doing::Stopped(words) => words.clone(),
            Doing::Starting | Doing::Following => String::new(),
        };
        self.state.send_modify(|state| state.doing = doing);
        let noted = self.spool.note(WAITS).await;
        if noted.is_ok_and(|noted| noted.unwrap_or_default() == words.as_bytes()) {
            return;
        }
        if let Err(error) = self.spool.set_note(WAITS, words).await {
            // It is in the log, and a store that failed says so at its next use.
            tracing::debug!(%error, "what capture waits for could not be noted");
        }
    }
}
