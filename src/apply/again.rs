//! Another try for what was set aside, each in one transaction, and the giving up of it.

use std::time::Duration;

use super::applier::Applier;
use super::error::{Error, State};
use super::held;
use super::state;
use crate::change::NodeId;
use crate::clock::Timestamp;
use crate::transport::Watermark;

/// How often the map is held against the target's tables, whatever happens.
const BIND_EVERY: Duration = Duration::from_mins(10);

/// How long a try waits for another session's lock: it holds its link meanwhile, and comes again.
const LOCK_WAIT_SECONDS: u32 = 2;

/// A round of tries that takes longer is ended at the next failure.
const ROUND_MAX: Duration = Duration::from_mins(10);

/// What another try came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Retried {
    /// Changes applied.
    pub released: u64,
    /// Rows whose changes could not be tried.
    pub untried: u64,
}

impl Applier {
    /// Tries parked changes again that were not tried for a while. To be called now and then: rows
    /// also arrive by other ways than links. Changes of a node that is not in use any more are not
    /// among `nodes`: whoever took its place may have sent newer ones of the same rows.
    ///
    /// Tables and columns may have been made, too: the map is bound anew if that is waited for, and
    /// now and then. A row that cannot be tried at all keeps no other from being tried.
    pub async fn retry_parked(
        &self,
        not_tried_for: Duration,
        nodes: &[NodeId],
    ) -> Result<Retried, Error> {
        let begun = self.clock.monotonic();
        let now = self.clock.now();
        let micros = i64::try_from(not_tried_for.as_micros()).unwrap_or(i64::MAX);
        let since = Timestamp(now.0.saturating_sub(micros));
        let undefined = self
            .with_session(async |session| held::undefined(session, &self.names, since, nodes).await)
            .await?;
        let bound_for = begun.saturating_sub(self.bound.lock().await.at);
        if undefined || bound_for >= BIND_EVERY {
            self.bind_anew().await?;
        }
        let found = self
            .with_session(async |session| {
                held::nodes_parked(session, &self.names, since, nodes).await
            })
            .await?;
        let mut retried = Retried::default();
        let mut trouble = None;
        // One node's rows after another's; what fails together is tried in halves.
        let mut left: Vec<(NodeId, &[u64])> =
            found.iter().map(|(node, rows)| (*node, rows.as_slice())).collect();
        while let Some((node, rows)) = left.pop() {
            let short = LOCK_WAIT_SECONDS.min(self.lock_wait_seconds());
            let error = match self.retry_rows(node, rows, short).await {
                Ok(released) => {
                    retried.released += released;
                    continue;
                }
                Err(error) => error,
            };
            if self.clock.monotonic().saturating_sub(begun) > ROUND_MAX {
                return Err(error);
            }
            if let [row] = rows {
                self.put_off(node, *row, &error).await?;
                retried.untried += 1;
                trouble.get_or_insert(error);
            } else {
                let (some, others) = rows.split_at(rows.len() / 2);
                left.extend([(node, others), (node, some)]);
            }
        }
        if let Some(error) = trouble {
            let rows = retried.untried;
            tracing::warn!(rows, %error, "changes of some rows are parked and cannot be tried");
        }
        Ok(retried)
    }

    /// Tries a waiting change again, with the earlier and later ones of its row, however many they
    /// are. `None` if there is no such change.
    pub async fn retry(&self, id: u64) -> Result<Option<Retried>, Error> {
        let found =
            self.with_session(async |session| held::find(session, &self.names, id).await).await?;
        let Some((node, row)) = found else { return Ok(None) };
        // Of a long chain each try takes a part.
        let mut retried = Retried::default();
        loop {
            let released = self.retry_rows(node, &[row], self.lock_wait_seconds()).await?;
            retried.released += released;
            if released == 0 {
                return Ok(Some(retried));
            }
        }
    }

    /// Removes a waiting change for good. The later changes of its row stay; if it was the first
    /// of them, they are tried when parked ones are. `false` if there is no such change.
    pub async fn discard(&self, id: u64) -> Result<bool, Error> {
        self.with_session(async |session| {
            let now = self.clock.now();
            session.run("START TRANSACTION").await?;
            let found = held::find(session, &self.names, id).await?;
            let mut removed = false;
            if let Some((node, _)) = found {
                // A batch of the same link must not set more aside behind it meanwhile.
                state::advance(session, &self.names, node, Watermark::default(), now).await?;
                removed = held::discard(session, &self.names, now, id).await?;
            }
            session.run("COMMIT").await?;
            Ok(removed)
        })
        .await
    }

    /// Removes all changes of a node that wait in this way, in one transaction; tells how many.
    pub async fn discard_all(&self, state: State, node: NodeId) -> Result<u64, Error> {
        self.with_session(async |session| {
            let now = self.clock.now();
            session.run("START TRANSACTION").await?;
            // A batch of the same link must not set more aside behind them meanwhile.
            state::advance(session, &self.names, node, Watermark::default(), now).await?;
            let removed = held::discard_all(session, &self.names, now, state, node).await?;
            session.run("COMMIT").await?;
            Ok(removed)
        })
        .await
    }

    /// Tries the changes of some rows; tells how many were applied.
    async fn retry_rows(&self, node: NodeId, rows: &[u64], wait: u32) -> Result<u64, Error> {
        match self.retry_once(node, rows, wait).await {
            Err(Error::Changed(reason)) => {
                tracing::info!(reason, "the target changed");
                self.bind_anew().await?;
                self.retry_once(node, rows, wait).await
            }
            result => result,
        }
    }

    async fn retry_once(&self, node: NodeId, rows: &[u64], wait: u32) -> Result<u64, Error> {
        let bound = self.bound().await;
        self.with_session(async |session| {
            let now = self.clock.now();
            session.wait_for_locks(wait).await?;
            session.run("START TRANSACTION").await?;
            // Also the lock that keeps batches of the same link out meanwhile.
            state::advance(session, &self.names, node, Watermark::default(), now).await?;
            let mut work = self.work(session, &bound, node, now, true);
            work.retry(rows).await?;
            let released = work.report.released;
            session.run("COMMIT").await?;
            Ok(released)
        })
        .await
    }

    async fn put_off(&self, node: NodeId, row: u64, error: &Error) -> Result<(), Error> {
        let (now, reason) = (self.clock.now(), error.to_string());
        self.with_session(async |session| {
            held::put_off(session, &self.names, node, row, now, &reason).await
        })
        .await
    }
}
