//! One connection being followed: what comes is read, gathered, and handed over to the store while more
//! is read.

use std::time::Duration;

use super::follow::{Follower, Told};
use super::place::Spot;
use super::resume::Began;
use super::run::{Capture, Never};
use super::start::Filled;
use super::storing::{HandOver, Storing, moves};
use super::stream::{RawEvents, Stream};
use super::watch::Watch;
use super::{Error, Resume};
use crate::clock::sleep;
use crate::database::server::Server;
use crate::position::Position;
use crate::transport::Wanted;

/// Handed over at once when this much has been gathered; less is handed over as soon as the store
/// is free and nothing more is there to be read.
const HAND_OVER_BYTES: usize = 4 << 20;
/// While there is more to read, this much is gathered first: neighbours in the index and commits are
/// written once for many.
const GATHER_BYTES: usize = 2 << 20;
/// A position that moved without anything to carry is written this often.
const POSITION_EVERY: Duration = Duration::from_secs(1);
/// Index changes that may be gathered before they are handed over.
const INDEX_CHANGES_MAX: usize = 20_000;
/// The same for a transaction of which nothing travels, so that it has no parts to go with.
const LONE_INDEX_CHANGES_MAX: usize = 20 * INDEX_CHANGES_MAX;
/// A connection being followed.
pub(super) struct Session<'c> {
    pub(super) capture: &'c mut Capture,
    pub(super) stream: Stream,
    pub(super) server: Server,
    pub(super) watch: &'c mut Watch,
    pub(super) follower: Follower,
    pub(super) storing: Option<Storing>,
    pub(super) began: Began,
    pub(super) filled: Filled,
    /// The index has forgotten something that it has to be filled with again.
    pub(super) unfilled: bool,
    /// The position in the store, or on its way there.
    pub(super) written: Position,
    /// When the position was last handed over, on the monotonic clock.
    pub(super) moved_at: Duration,
    pub(super) base: Told,
}

/// Why something is handed over to the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Why {
    /// The store is free.
    Free,
    /// The connection ends.
    Ending,
}

impl Session<'_> {
    pub(super) async fn follow(mut self) -> Result<Never, Error> {
        let Err(error) = self.steps().await;
        // What is on its way to the store belongs to this connection; the next one starts after it.
        self.wait_for_store().await?;
        let assembly = &self.follower.assembly;
        if !assembly.is_open() || assembly.shares() {
            // Whole transactions before what stopped it need not wait until that is mended.
            self.hand_over(Why::Ending)?;
            self.wait_for_store().await?;
        }
        Err(error)
    }

    async fn steps(&mut self) -> Result<Never, Error> {
        loop {
            let mut storing = self.storing.take();
            tokio::select! {
                group = self.stream.next() => {
                    self.storing = storing;
                    let group = group.map_err(|error| self.placed(error))?;
                    self.read(group).await?;
                    self.watch().await?;
                }
                stored = Storing::done(&mut storing) => self.stored(stored)?,
                wanted = self.capture.wanted.recv(), if self.follower.is_between() => {
                    self.storing = storing;
                    // The link that wants rows is gone with the node itself.
                    if let Some(wanted) = wanted {
                        self.send_whole(wanted).await?;
                    } else {
                        sleep(POSITION_EVERY).await;
                    }
                }
                () = sleep(POSITION_EVERY) => self.storing = storing,
            }
            self.hand_over(Why::Free)?;
        }
    }

    /// Asks where the log ends when the server says that it has sent everything.
    async fn watch(&mut self) -> Result<(), Error> {
        if !self.follower.told.caught_up {
            return Ok(());
        }
        let deadline = self.capture.options.heartbeat.saturating_mul(3);
        // What is committed from here on may be behind the end that the server tells.
        let now = self.capture.clock.now();
        let asked = tokio::time::timeout(deadline, self.follower.fetcher.log_end(&self.server));
        let silent = || Error::Silent { seconds: deadline.as_secs() };
        let end = asked.await.map_err(|_elapsed| silent())??;
        let here = self.follower.place.spot();
        let there = Spot::new(&end.file, end.offset);
        let at_end = there == here;
        if self.watch.sends_all(there, &here, self.follower.told.events) {
            let checked = tokio::time::timeout(deadline, self.follower.check_definitions(&end));
            checked.await.map_err(|_elapsed| silent())??;
            if at_end && self.storing.is_none() && self.follower.position() == self.written {
                self.capture.teller().read_all(now).await;
            }
            return Ok(());
        }
        // The next connection tells what has become of the log.
        let reason = format!("the server's log ends at {end}, and it sends none after {here}");
        Err(Error::Lost { reason })
    }

    /// What the server cannot read in the middle of its log is refused by place, as what we cannot.
    fn placed(&self, error: Error) -> Error {
        match error {
            Error::Unreadable { server } => self.follower.unreadable(&server),
            Error::Resume(Resume::NotAnEvent { position, server })
                if self.follower.position() != position =>
            {
                self.follower.unreadable(&server)
            }
            other => other,
        }
    }

    async fn read(&mut self, group: RawEvents) -> Result<(), Error> {
        for event in group.iter() {
            self.follower.read(event).await?;
            if self.follower.take_rolled_back() {
                self.undo().await?;
            }
            let forgotten = self.follower.take_unfilled();
            if !forgotten.is_empty() {
                self.unfilled |= self.filled.forget(&forgotten, &self.capture.spool).await?;
            }
            if self.unfilled && self.follower.may_fill() {
                self.fill().await?;
            }
            if self.follower.assembly.waiting_bytes() > HAND_OVER_BYTES || self.is_much_indexed() {
                self.wait_for_store().await?;
                self.hand_over(Why::Free)?;
            }
        }
        self.stream.give_back(group);
        Ok(())
    }

    /// Whether what happened to the index should be handed over for the sake of memory.
    fn is_much_indexed(&self) -> bool {
        let Follower { identities, assembly, .. } = &self.follower;
        identities.settled() > INDEX_CHANGES_MAX
            || (assembly.is_open() && identities.gathered() > INDEX_CHANGES_MAX)
            || identities.gathered() > LONE_INDEX_CHANGES_MAX
    }

    /// A transaction was rolled back after some of it was read: what the store has of it goes, and
    /// what it did to identities is forgotten.
    async fn undo(&mut self) -> Result<(), Error> {
        self.wait_for_store().await?;
        self.capture.spool.discard_unfinished().await?;
        self.hand_over(Why::Ending)?;
        self.wait_for_store().await?;
        self.follower.identities.undo();
        Ok(())
    }

    /// Fills the index again with what it had to forget, now that rows of those tables can be read.
    async fn fill(&mut self) -> Result<(), Error> {
        self.wait_for_store().await?;
        self.hand_over(Why::Ending)?;
        self.wait_for_store().await?;
        self.follower.fill(&self.capture.spool, &mut self.filled).await?;
        self.unfilled = false;
        Ok(())
    }

    /// Puts rows that the other end lacks into a transaction of their own.
    async fn send_whole(&mut self, wanted: Vec<Wanted>) -> Result<(), Error> {
        for row in wanted {
            self.follower.whole_row(&row.table, &row.identity).await?;
        }
        self.follower.assembly.commit(self.capture.clock.now(), None);
        self.follower.identities.settle();
        Ok(())
    }

    async fn wait_for_store(&mut self) -> Result<(), Error> {
        let mut storing = self.storing.take();
        if storing.is_some() {
            let stored = Storing::done(&mut storing).await;
            self.stored(stored)?;
        }
        Ok(())
    }

    fn stored(&mut self, stored: Result<Option<Position>, Error>) -> Result<(), Error> {
        let position = stored?;
        self.follower.identities.committed();
        let told = &self.follower.told;
        let now = self.capture.clock.now();
        let (read_to, read_all) = (told.committed_at, told.caught_up);
        let (rows, transactions, nameless) = (
            told.rows - self.base.rows,
            told.transactions - self.base.transactions,
            told.nameless - self.base.nameless,
        );
        self.base = told.clone();
        self.capture.state.send_modify(|state| {
            state.position = position.or_else(|| state.position.take());
            state.read_to = read_to.or(state.read_to);
            state.read_all = read_all;
            state.rows += rows;
            state.transactions += transactions;
            state.nameless += nameless;
            state.heard_at = Some(now);
        });
        metrics::counter!("headwater_capture_rows_total").increment(rows);
        metrics::counter!("headwater_capture_transactions_total").increment(transactions);
        metrics::counter!("headwater_capture_rows_without_identity_total").increment(nameless);
        Ok(())
    }

    /// Whether what has been gathered is little, and more is there to be read.
    fn gathers_more(&self) -> bool {
        let waited = self.capture.clock.monotonic().saturating_sub(self.moved_at);
        self.stream.has_more()
            && self.follower.assembly.waiting_bytes() < GATHER_BYTES
            && waited < POSITION_EVERY
    }

    /// Starts writing what has been gathered, if the store is free and there is reason to.
    fn hand_over(&mut self, why: Why) -> Result<(), Error> {
        // In the middle of a transaction those before it would have to be taken apart from it: its
        // end is on its way, unless there is much of it.
        let much = self.is_much_indexed();
        let assembly = &self.follower.assembly;
        let waits = assembly.shares() || self.gathers_more();
        if self.storing.is_some() || (waits && !much && why == Why::Free) {
            return Ok(());
        }
        let Follower { identities, assembly, .. } = &mut self.follower;
        let open = identities.gathered().saturating_sub(identities.settled());
        if assembly.is_open() && open > INDEX_CHANGES_MAX {
            assembly.cut_open()?;
        } else if open > LONE_INDEX_CHANGES_MAX {
            identities.settle();
        }
        let segments = self.follower.assembly.take()?;
        let now = self.capture.clock.monotonic();
        let file = self.follower.told.began.take();
        let begun = file.is_some_and(|(file, seconds)| self.began.add(&file, seconds));
        let urgent = !segments.is_empty() || much || begun || why == Why::Ending;
        if !urgent && now.saturating_sub(self.moved_at) < POSITION_EVERY {
            return Ok(());
        }
        let position = self.follower.position();
        if !urgent && position == self.written && self.follower.identities.settled() == 0 {
            self.moved_at = now;
            return Ok(());
        }
        self.moved_at = now;
        let Follower { identities, assembly, definitions, prepared, .. } = &mut self.follower;
        let index = identities.hand_over_settled();
        let open = assembly.is_cut().then(|| identities.hand_over());
        let position = moves(&segments, &index, open.as_deref()).then_some(position);
        // Definitions belong to a position, and so do transactions that are prepared there.
        let tables = position.as_ref().and_then(|_| definitions.for_store());
        let note = position.as_ref().and_then(|_| prepared.for_store());
        if let Some(position) = &position {
            self.written = position.clone();
        }
        let began = begun.then(|| self.began.clone());
        let read_to = self.follower.told.committed_at;
        let work = HandOver { cuts: segments, position, read_to, tables, note, index, open, began };
        self.storing = Some(Storing::start(self.capture.teller(), work));
        Ok(())
    }
}
