//! The parent's side of a batch: pieces are kept until it is whole, then it is verified and
//! applied by a task of its own, which goes on when the child's connection does not. The child
//! asks again until it hears how that went; hearing it twice does no harm.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Mutex, mpsc, watch};

use super::batch::{self, BatchError, BatchKey};
use super::content::{Content, Room};
use super::wire::{Code, PieceAnswer, PieceHeader, Refusal, RowList, Unfinished};
use super::{Applied, Peer, ReceivedBatch, SetAside, Target, TargetError, Watermark};
use crate::clock::{SharedClock, sleep};
use crate::spool::{self, Contact, IncomingKey, Next, Spool};

/// How much is copied at a time from the store to where a batch is read from.
const COPY_BYTES: usize = 256 * 1024;
/// `status` is told of batches at most once in this time.
const CONTACT_EVERY: Duration = Duration::from_secs(1);
/// How often a child that says hello is asked for rows again that were asked for before: it may have
/// lost power before it sent them, and this parent what it had asked. Not at every hello, because
/// some rows never come, and a thin link is cut often.
const ASK_AGAIN_AFTER: Duration = Duration::from_hours(1);
/// Rows asked for at a hello.
const ASKED_AT_HELLO_MAX: usize = 64;

/// What receiving needs of its surroundings.
pub(super) struct Receiver<T> {
    pub(super) spool: Spool,
    pub(super) target: Arc<T>,
    pub(super) clock: SharedClock,
    pub(super) room: Room,
    /// The largest batch taken.
    pub(super) batch_bytes_max: u64,
    /// How long a request waits for a batch to be applied before it is told to ask again.
    pub(super) answer_after: Duration,
    /// Held by every task that applies, so that a stop can wait for them.
    pub(super) applying: mpsc::Sender<()>,
}

/// What is under way from one child. One request at a time works on it.
#[derive(Default)]
pub(super) struct Inbox {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    watermark: Option<Watermark>,
    work: Work,
    told: Option<Duration>,
    /// When the child was last asked for all that is still missing.
    asked: Option<Duration>,
}

#[derive(Default)]
enum Work {
    #[default]
    Idle,
    Applying {
        key: BatchKey,
        done: watch::Receiver<Option<Outcome>>,
    },
    Applied {
        key: BatchKey,
        applied: Applied,
    },
}

type Outcome = Result<Applied, Refusal>;

/// What the parent tells a child in its welcome.
pub(super) struct Standing {
    pub(super) watermark: Watermark,
    pub(super) set_aside: SetAside,
    pub(super) unfinished: Option<Unfinished>,
    pub(super) wanted: RowList,
}

fn refusal(code: Code, message: impl Into<String>) -> Refusal {
    Refusal { code, message: message.into(), expected: None }
}

/// A failure of the store, as it is told to a child.
pub(super) fn store_refusal(error: &spool::Error) -> Refusal {
    let code = match error.next() {
        Next::Wait => Code::Busy,
        Next::Refuse | Next::Stop => Code::Internal,
    };
    refusal(code, format!("the parent's store: {error}"))
}

fn target_refusal(error: &TargetError) -> Refusal {
    let words = error.to_string();
    match error {
        TargetError::Gap { watermark: applied, .. }
        | TargetError::AnotherBatch { through: applied } => {
            Refusal { expected: Some(applied.0), ..refusal(Code::Gap, words) }
        }
        TargetError::Retry(_) => refusal(Code::Busy, words),
        TargetError::Refused(_) => refusal(Code::Batch, words),
    }
}

fn batch_refusal(error: &BatchError) -> Refusal {
    let code = match error {
        BatchError::Checksum => Code::Checksum,
        BatchError::Malformed(_) | BatchError::Unknown { .. } => Code::Batch,
        BatchError::Io(_) => Code::Internal,
    };
    refusal(code, error.to_string())
}

impl<T: Target> Receiver<T> {
    /// Where things stand with a child.
    pub(super) async fn standing(&self, inbox: &Inbox, peer: &Peer) -> Result<Standing, Refusal> {
        let mut state = inbox.state.lock().await;
        state.settle();
        let watermark =
            self.target.watermark(peer).await.map_err(|error| target_refusal(&error))?;
        state.watermark = Some(watermark);
        if let Work::Applied { applied, .. } = &state.work
            && applied.through > watermark.sequence
        {
            // The database was restored from a backup since.
            state.work = Work::Idle;
        }
        let (unfinished, wanted) = match &state.work {
            Work::Applying { key, .. } => {
                (Some(Unfinished { key: *key, held: key.bytes }), RowList::default())
            }
            Work::Applied { applied, .. } if !applied.wanted.is_empty() => {
                (self.held(peer).await?, RowList::new(&applied.wanted))
            }
            Work::Applied { .. } | Work::Idle => {
                (self.held(peer).await?, self.still_missing(&mut state.asked, peer).await?)
            }
        };
        let set_aside = self.target.set_aside(peer).await;
        let set_aside = set_aside.map_err(|error| target_refusal(&error))?;
        Ok(Standing { watermark, set_aside, unfinished, wanted })
    }

    /// What earlier batches of this child wait for, asked now and then.
    async fn still_missing(
        &self,
        asked: &mut Option<Duration>,
        peer: &Peer,
    ) -> Result<RowList, Refusal> {
        let now = self.clock.monotonic();
        if asked.is_some_and(|asked| now.saturating_sub(asked) < ASK_AGAIN_AFTER) {
            return Ok(RowList::default());
        }
        let wanted = self.target.wanted(peer, ASKED_AT_HELLO_MAX).await;
        let wanted = wanted.map_err(|error| target_refusal(&error))?;
        *asked = Some(now);
        Ok(RowList::new(&wanted))
    }

    async fn held(&self, peer: &Peer) -> Result<Option<Unfinished>, Refusal> {
        let held = self.spool.incoming_held(&peer.name).await;
        let held = held.map_err(|error| store_refusal(&error))?;
        Ok(held.and_then(|(key, held)| Some(Unfinished { key: batch_key(&key)?, held })))
    }

    /// Takes a piece. Of one cut short in the middle, `bytes` is what came of it. Waits for a batch
    /// to be applied for less than the child's `patience`.
    pub(super) async fn piece(
        self: &Arc<Self>,
        inbox: &Arc<Inbox>,
        peer: &Peer,
        patience: Duration,
        header: PieceHeader,
        bytes: Bytes,
    ) -> Result<PieceAnswer, Refusal> {
        let key = header.key;
        let done = {
            let mut state = inbox.state.lock().await;
            state.settle();
            match &state.work {
                Work::Applying { key: applying, done } if *applying == key => done.clone(),
                Work::Applying { .. } => {
                    return Err(refusal(
                        Code::Busy,
                        "another batch of this child is being applied",
                    ));
                }
                Work::Applied { key: last, applied } if *last == key => {
                    return Ok(answer(applied));
                }
                Work::Applied { .. } | Work::Idle => {
                    state.work = Work::Idle;
                    match self.take(&mut state, peer, header, bytes).await? {
                        Taken::Answer(answer) => return Ok(answer),
                        Taken::Whole(content) => self.apply(&mut state, peer, key, content),
                    }
                }
            }
        };
        self.await_outcome(inbox, done, self.answer_after.min(patience / 2)).await
    }

    async fn take(
        &self,
        state: &mut State,
        peer: &Peer,
        header: PieceHeader,
        bytes: Bytes,
    ) -> Result<Taken, Refusal> {
        let PieceHeader { key, offset } = header;
        let watermark = match state.watermark {
            Some(watermark) => watermark,
            None => self.target.watermark(peer).await.map_err(|error| target_refusal(&error))?,
        };
        state.watermark = Some(watermark);
        let through = watermark.sequence;
        if key.through <= through {
            if watermark.is_of_another(key.through, key.checksum) {
                return Err(target_refusal(&TargetError::AnotherBatch { through }));
            }
            return Ok(Taken::Answer(answer(&Applied { through, ..Applied::default() })));
        }
        if key.from > through {
            let from = key.from;
            return Err(target_refusal(&TargetError::Gap { from, watermark: through }));
        }
        if key.bytes > self.batch_bytes_max {
            let limit = self.batch_bytes_max;
            let words = format!(
                "a batch of {} bytes is more than the {limit} this parent takes: raise `batch_bytes_max` in [listen] there",
                key.bytes
            );
            return Err(refusal(Code::TooLarge, words));
        }
        if offset == 0 && bytes.len() as u64 == key.bytes {
            let mut content = self.room.empty();
            content.append(&bytes).map_err(|error| batch_refusal(&error.into()))?;
            return Ok(Taken::Whole(content));
        }
        let held = self.keep(peer, &key, offset, bytes).await?;
        if held < key.bytes {
            return Ok(Taken::Answer(PieceAnswer::Held { held }));
        }
        self.gather(peer, key.bytes).await.map(Taken::Whole)
    }

    /// Adds a piece to what is held; an empty one only asks.
    async fn keep(
        &self,
        peer: &Peer,
        key: &BatchKey,
        offset: u64,
        bytes: Bytes,
    ) -> Result<u64, Refusal> {
        let wrong_offset = |held: u64| Refusal {
            expected: Some(held),
            ..refusal(
                Code::Offset,
                format!("a piece starts at {offset}, but {held} bytes are held"),
            )
        };
        if bytes.is_empty() {
            let held = self.held(peer).await?.filter(|held| held.key == *key);
            let held = held.map_or(0, |unfinished| unfinished.held);
            return if held == offset { Ok(held) } else { Err(wrong_offset(held)) };
        }
        if offset == 0 {
            // Whole, it is in the store and once more beside it, where it is applied from. What there
            // is no room for is better not begun.
            let twice = key.bytes.saturating_mul(2);
            self.spool.disk_has_room(twice).await.map_err(|error| store_refusal(&error))?;
        }
        let put = self.spool.incoming_put(&peer.name, incoming_key(key), offset, bytes).await;
        put.map_err(|error| {
            if let spool::Error::Offset { held, .. } = error {
                wrong_offset(held)
            } else if matches!(error, spool::Error::TooLarge { .. }) {
                refusal(Code::Malformed, error.to_string())
            } else {
                store_refusal(&error)
            }
        })
    }

    /// What is held, out of the store, to be read freely.
    async fn gather(&self, peer: &Peer, bytes: u64) -> Result<Content, Refusal> {
        let beside = if bytes > self.room.memory_bytes_max { bytes } else { 0 };
        self.spool.disk_has_room(beside).await.map_err(|error| store_refusal(&error))?;
        let reader = self.spool.incoming_reader(&peer.name);
        let mut reader = reader.map_err(|error| store_refusal(&error))?;
        let mut content = self.room.empty();
        let copied = tokio::task::spawn_blocking(move || {
            let mut buffer = vec![0; COPY_BYTES];
            loop {
                let count = std::io::Read::read(&mut reader, &mut buffer)?;
                if count == 0 {
                    return Ok(content);
                }
                content.append(buffer.get(..count).unwrap_or_default())?;
            }
        });
        let copied: std::io::Result<Content> =
            copied.await.unwrap_or_else(|error| Err(std::io::Error::other(error)));
        copied.map_err(|error| batch_refusal(&error.into()))
    }

    /// Starts to apply a whole batch.
    fn apply(
        self: &Arc<Self>,
        state: &mut State,
        peer: &Peer,
        key: BatchKey,
        content: Content,
    ) -> watch::Receiver<Option<Outcome>> {
        let (tell, done) = watch::channel(None);
        state.work = Work::Applying { key, done: done.clone() };
        let now = self.clock.monotonic();
        let note = state.told.is_none_or(|told| now.saturating_sub(told) >= CONTACT_EVERY);
        if note {
            state.told = Some(now);
        }
        let (receiver, peer, busy) = (Arc::clone(self), peer.clone(), self.applying.clone());
        tokio::spawn(async move {
            let outcome = receiver.apply_now(&peer, key, content, note).await;
            let _nobody_waits = tell.send(Some(outcome));
            drop(busy);
        });
        done
    }

    async fn apply_now(&self, peer: &Peer, key: BatchKey, content: Content, note: bool) -> Outcome {
        let opened = tokio::task::spawn_blocking(move || batch::open(content, &key)).await;
        let opened: Result<ReceivedBatch, BatchError> =
            opened.unwrap_or_else(|error| Err(std::io::Error::other(error).into()));
        let outcome = match opened {
            Ok(batch) => {
                self.target.apply(peer, batch).await.map_err(|error| target_refusal(&error))
            }
            Err(error) => Err(batch_refusal(&error)),
        };
        let useless = match &outcome {
            Ok(_) => true,
            Err(refusal) => matches!(refusal.code, Code::Checksum | Code::Gap),
        };
        if useless && let Err(error) = self.drop_held(peer).await {
            tracing::warn!(link = %peer.name, %error, "the pieces of a finished batch stay for now");
        }
        if note || outcome.is_err() {
            self.note(peer, &outcome).await;
        }
        outcome
    }

    async fn drop_held(&self, peer: &Peer) -> Result<(), spool::Error> {
        if self.spool.incoming_held(&peer.name).await?.is_some() {
            self.spool.incoming_clear(&peer.name).await?;
        }
        Ok(())
    }

    async fn note(&self, peer: &Peer, outcome: &Outcome) {
        let contact = Contact {
            at: Some(self.clock.now()),
            received: outcome.as_ref().ok().map(|applied| applied.through),
            error: outcome.as_ref().err().map(|refusal| refusal.message.clone()),
        };
        if let Err(error) = self.spool.contact(&peer.name, contact).await {
            tracing::warn!(link = %peer.name, %error, "the last contact could not be noted");
        }
    }

    async fn await_outcome(
        &self,
        inbox: &Inbox,
        mut done: watch::Receiver<Option<Outcome>>,
        wait: Duration,
    ) -> Result<PieceAnswer, Refusal> {
        tokio::select! {
            // Ends early if the task that applies has gone, which `settle` finds.
            _changed = done.wait_for(Option::is_some) => {}
            () = sleep(wait) => return Ok(PieceAnswer::Applying),
        }
        let outcome = done.borrow().clone();
        inbox.state.lock().await.settle();
        match outcome {
            Some(Ok(applied)) => Ok(answer(&applied)),
            Some(Err(refusal)) => Err(refusal),
            None => Err(refusal(Code::Internal, "applying the batch ended without a result")),
        }
    }
}

enum Taken {
    Answer(PieceAnswer),
    Whole(Content),
}

impl State {
    /// Takes note of how applying went, if it has ended.
    fn settle(&mut self) {
        let Work::Applying { key, done } = &self.work else { return };
        let outcome = done.borrow().clone();
        let key = *key;
        match outcome {
            Some(Ok(applied)) => {
                let (sequence, batch) = (applied.through, Some(key.checksum));
                self.watermark = (sequence == key.through).then_some(Watermark { sequence, batch });
                self.work = Work::Applied { key, applied };
            }
            Some(Err(_)) => {
                // The watermark may be another than was thought: ask the target again. And the next
                // batch that goes well takes back what is shown of this one.
                self.watermark = None;
                self.told = None;
                self.work = Work::Idle;
            }
            None if done.has_changed().is_err() => {
                self.watermark = None;
                self.work = Work::Idle;
            }
            None => {}
        }
    }
}

fn answer(applied: &Applied) -> PieceAnswer {
    PieceAnswer::Applied {
        through: applied.through,
        parked: applied.parked,
        quarantined: applied.quarantined,
        in_all: applied.in_all,
        wanted: RowList::new(&applied.wanted),
    }
}

fn incoming_key(key: &BatchKey) -> IncomingKey {
    IncomingKey {
        after: key.from,
        through: key.through,
        checksum: key.checksum.to_vec(),
        total_bytes: key.bytes,
    }
}

fn batch_key(key: &IncomingKey) -> Option<BatchKey> {
    Some(BatchKey {
        from: key.after,
        through: key.through,
        bytes: key.total_bytes,
        checksum: key.checksum.as_slice().try_into().ok()?,
    })
}
