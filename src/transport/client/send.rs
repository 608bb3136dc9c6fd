//! Sends batch after batch, piece by piece, for as long as a connection lives.

use std::time::Duration;

use bytes::Bytes;

use super::{Client, Ended, Schedule};
use crate::change::Sequence;
use crate::clock::sleep;
use crate::transport::SetAside;
use crate::transport::batch::Batch;
use crate::transport::cut::{Cut, CutError};
use crate::transport::dial::{Connection, LinkError};
use crate::transport::pace::pace;
use crate::transport::session::{self, Next, Start};
use crate::transport::wire::{
    PIECE_BYTES_MAX, PieceAnswer, PieceHeader, RowList, Unfinished, path,
};

/// An answer of "being applied" that came sooner than this is waited out, not asked again at once.
const POLL_AT_MOST_EVERY: Duration = Duration::from_millis(250);

impl Client {
    /// Sends what there is, then waits for more, for as long as the connection lives. Returns when
    /// the two ends have to meet again, with whether that is as it should be: something got through,
    /// or it is time.
    pub(super) async fn send_all(
        &mut self,
        connection: &mut Connection,
        start: Start,
    ) -> Result<bool, Ended> {
        let (mut cursor, mut resume) = (start.cursor, start.resume);
        let mut moved = false;
        loop {
            if self.clock.monotonic() >= self.hello_due {
                return Ok(true);
            }
            let Some((batch, held)) = self.next_batch(cursor, resume.take()).await? else {
                self.wait_for_work(connection, cursor).await?;
                if connection.is_closed() {
                    return Err(Ended::Closed);
                }
                continue;
            };
            self.offer(&batch).await?;
            match self.send_batch(connection, &batch, held).await? {
                Sent::Acknowledged { through, set_aside, in_all, wanted } => {
                    self.hand_over(&wanted)?;
                    self.spool.acknowledge(&self.link, through).await?;
                    self.add_set_aside(set_aside, in_all).await?;
                    self.backoff.succeeded();
                    (cursor, moved) = (through, true);
                }
                Sent::HelloAgain { progress } => return Ok(moved || progress),
            }
        }
    }

    /// The batch to send now, and how much of it the parent holds; `None` if there is nothing.
    async fn next_batch(
        &self,
        cursor: Sequence,
        resume: Option<Unfinished>,
    ) -> Result<Option<(Batch, u64)>, Ended> {
        let sizes = pace(self.meter.bytes_per_second(), &self.options.pace);
        let cut = |through| Cut {
            from: cursor,
            through,
            raw_bytes_max: sizes.batch_bytes,
            codec: self.options.compression.codec(),
            to: self.parent,
        };
        if let Some(unfinished) = resume
            && let Some(batch) = self.cut(cut(Some(unfinished.key.through))).await?
            && batch.key == unfinished.key
        {
            return Ok(Some((batch, unfinished.held)));
        }
        if self.spool.head() <= cursor {
            return Ok(None);
        }
        Ok(self.cut(cut(None)).await?.map(|batch| (batch, 0)))
    }

    async fn send_batch(
        &mut self,
        connection: &mut Connection,
        batch: &Batch,
        held: u64,
    ) -> Result<Sent, Ended> {
        let mut offset = held;
        let mut progress = false;
        loop {
            let sizes = self.meter.pace(&self.options.pace);
            let count = usize::try_from(sizes.piece_bytes).unwrap_or(usize::MAX);
            let piece = piece(batch, offset, count.min(PIECE_BYTES_MAX))?;
            let bytes = piece.len() as u64;
            let begun = self.clock.monotonic();
            let answer = connection.post(path::PIECE, piece, "sending").await;
            let took = self.clock.monotonic().saturating_sub(begun);
            let answer: PieceAnswer = match answer {
                Ok(answer) => answer,
                Err(LinkError::Refused(refusal)) if session::hello_mends(&refusal) => {
                    tracing::info!(link = %self.link, batch = %batch.key, "{}", refusal.message);
                    return Ok(Sent::HelloAgain { progress });
                }
                Err(error) => {
                    match error {
                        LinkError::Stalled { .. } => self.meter.stalled(),
                        // A question whether the batch is applied yet is as small as can be.
                        LinkError::Broken { .. } if offset < batch.key.bytes => {
                            self.meter.cut(bytes, &self.options.pace);
                        }
                        LinkError::Unreachable { .. }
                        | LinkError::Broken { .. }
                        | LinkError::Refused(_)
                        | LinkError::Nonsense(_)
                        | LinkError::Distrust(_) => {}
                    }
                    return Err(error.into());
                }
            };
            let last = !matches!(answer, PieceAnswer::Held { .. });
            self.meter.piece(bytes, took, last);
            let applying = matches!(answer, PieceAnswer::Applying);
            match session::next(&batch.key, answer) {
                Next::Send { offset: next } => {
                    progress |= next > offset;
                    if next > offset {
                        self.backoff.succeeded();
                    } else if !applying {
                        return Ok(Sent::HelloAgain { progress });
                    }
                    offset = next;
                    if applying && took < POLL_AT_MOST_EVERY {
                        sleep(POLL_AT_MOST_EVERY).await;
                    }
                }
                Next::Done { through, set_aside, in_all, wanted } => {
                    if !set_aside.is_none() {
                        let SetAside { parked, quarantined } = set_aside;
                        tracing::warn!(link = %self.link, parked, quarantined, batch = %batch.key, "the parent has set changes aside; see `headwater parked` and `quarantine` there");
                    }
                    return Ok(Sent::Acknowledged { through, set_aside, in_all, wanted });
                }
                Next::HelloAgain => return Ok(Sent::HelloAgain { progress }),
            }
        }
    }

    /// Returns when there may be something to send, or hello is to be said, or the connection may
    /// have ended.
    async fn wait_for_work(
        &mut self,
        connection: &Connection,
        cursor: Sequence,
    ) -> Result<(), Ended> {
        match self.options.schedule {
            Schedule::Continuous => {
                let due = self.hello_due.saturating_sub(self.clock.monotonic());
                tokio::select! {
                    grown = self.heads.wait_for(|head| *head > cursor) => {
                        if grown.is_ok() {
                            return Ok(());
                        }
                    }
                    () = connection.closed() => return Ok(()),
                    () = sleep(due) => return Ok(()),
                }
                // The store is closed, and the next call to it says so.
                self.spool.usage().await?;
            }
            Schedule::Every(interval) => sleep(interval).await,
        }
        Ok(())
    }
}

/// What became of a batch.
enum Sent {
    Acknowledged {
        through: Sequence,
        set_aside: SetAside,
        in_all: Option<SetAside>,
        wanted: RowList,
    },
    HelloAgain {
        progress: bool,
    },
}

/// A piece as it is sent: header, then bytes.
fn piece(batch: &Batch, offset: u64, count: usize) -> Result<Bytes, Ended> {
    let header = PieceHeader { key: batch.key, offset };
    let mut piece = postcard::to_stdvec(&header)
        .map_err(|error| Ended::Failed(format!("a piece cannot be written: {error}")))?;
    let bytes = batch.content.read_at(offset, count).map_err(CutError::from)?;
    piece.extend_from_slice(&bytes);
    Ok(piece.into())
}
