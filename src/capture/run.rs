//! Capture as a loop: connect, resume, follow, hand over; after an error again, at once or slowly
//! as the error demands.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use mysql_async::Conn;
use tokio::sync::{mpsc, watch};

use super::assembly::Assembly;
use super::fetch::Fetcher;
use super::follow::{Follower, Settings, Told};
use super::identities::Identities;
use super::place::{Place, Spot};
use super::resume::{self, Began};
use super::start::Filled;
use super::storing::{HandOver, Storing, moves};
use super::stream::{RawEvents, Request, Stream};
use super::tables::Tables;
use super::teller::Teller;
use super::watch::Watch;
use super::{Disposition, Error, Resume, start};
use crate::clock::{SharedClock, Timestamp, sleep};
use crate::database::connect;
use crate::database::schema::LiveSchema;
use crate::database::server::Server;
use crate::position::Position;
use crate::schema_map::{BoundMap, MapFile};
use crate::spool::{Append, Spool};
use crate::transport::Wanted;

/// Handed over at once when this much has been gathered; less is handed over as soon as the store
/// is free.
const HAND_OVER_BYTES: usize = 4 << 20;
/// A position that moved without anything to carry is written this often.
const POSITION_EVERY: Duration = Duration::from_secs(1);
/// Index changes that may be gathered before they are handed over.
const INDEX_CHANGES_MAX: usize = 20_000;
/// The same for a transaction of which nothing travels, so that it has no parts to go with.
const LONE_INDEX_CHANGES_MAX: usize = 20 * INDEX_CHANGES_MAX;
/// How often something that a person has to mend is tried again, unless the longest wait after
/// an error is shorter.
const STOPPED_RETRY: Duration = Duration::from_secs(30);

/// What capture works with.
#[derive(Debug, Clone)]
pub struct Options {
    /// The node's database.
    pub database: connect::Options,
    /// The schema map.
    pub map: Arc<MapFile>,
    /// The schema of headwater's own tables.
    pub state_schema: String,
    /// The replica id to show to the server.
    pub server_id: u32,
    /// How often the server speaks when it has nothing to say; three times this without a word
    /// means that it is dead.
    pub heartbeat: Duration,
    /// Identities held in memory.
    pub identities_cached_max: NonZeroUsize,
    /// The most bytes that one compressed event may inflate to.
    pub inflated_bytes_max: u64,
    /// Places (`file:offset`) whose content an operator has looked at and given up.
    pub accepted: Vec<String>,
    /// The first wait after an error, doubled up to the last.
    pub backoff_min: Duration,
    /// The longest wait.
    pub backoff_max: Duration,
}

/// What capture is doing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Doing {
    /// It has not connected yet.
    #[default]
    Starting,
    /// It reads the log.
    Following,
    /// It tries again soon: the words say why.
    Retrying(String),
    /// It waits for a person: the words say what to do.
    Stopped(String),
}

/// Capture as seen from outside.
#[derive(Debug, Clone, Default)]
pub struct State {
    /// What it is doing.
    pub doing: Doing,
    /// The position in the store.
    pub position: Option<Position>,
    /// All that was committed up to this moment has been captured.
    pub read_to: Option<Timestamp>,
    /// The server had nothing more to send.
    pub read_all: bool,
    /// Rows read since the start, of mapped tables.
    pub rows: u64,
    /// Transactions captured since the start.
    pub transactions: u64,
    /// Rows seen since the start that have no identity yet.
    pub nameless: u64,
    /// When the server was last heard of.
    pub heard_at: Option<Timestamp>,
}

impl State {
    /// How far capture is behind: 0 at the log's end, otherwise the time since the last transaction
    /// captured was committed.
    pub fn lag(&self, now: Timestamp) -> Duration {
        match self.read_to {
            None => Duration::ZERO,
            Some(read_to) if self.doing != Doing::Following => now.since(read_to),
            Some(_) if self.read_all => Duration::ZERO,
            // What there is comes at once: a server that sends nothing has nothing.
            Some(read_to) => self.heard_at.unwrap_or(now).since(read_to),
        }
    }
}

/// The ends of capture's connections with the rest of the node.
pub struct Capture {
    /// What to capture.
    pub options: Options,
    /// Where to.
    pub spool: Spool,
    /// Rows that the other end lacks.
    pub wanted: mpsc::Receiver<Vec<Wanted>>,
    /// Told as it changes.
    pub state: watch::Sender<State>,
    /// Tells the time.
    pub clock: SharedClock,
}

/// Captures until `stop` turns true, or until the store can no longer be trusted.
pub async fn run(mut capture: Capture, mut stop: watch::Receiver<bool>) -> Result<(), Error> {
    let (first, last) = (capture.options.backoff_min, capture.options.backoff_max);
    let mut wait = first;
    let mut by_offset = false;
    let mut watch = Watch::default();
    loop {
        let session = tokio::select! {
            session = capture.session(by_offset, &mut watch) => session,
            () = stopped(&mut stop) => return Ok(()),
        };
        let Err(error) = session;
        by_offset |= matches!(&error, Error::Resume(resume) if resume.is_of_gtids());
        let following = capture.state.borrow().doing == Doing::Following;
        if following {
            wait = first;
        }
        let pause = match error.disposition() {
            Disposition::Exit => return Err(error),
            Disposition::Retry => {
                tracing::warn!(%error, "capture will try again");
                capture.teller().doing(Doing::Retrying(error.to_string())).await;
                let pause = wait;
                wait = wait.saturating_mul(2).min(last);
                pause
            }
            Disposition::Stopped => {
                tracing::error!(%error, "capture waits until this is mended");
                capture.teller().doing(Doing::Stopped(error.to_string())).await;
                STOPPED_RETRY.min(last)
            }
        };
        tokio::select! {
            () = sleep(jittered(pause)) => {}
            () = stopped(&mut stop) => return Ok(()),
        }
    }
}

async fn stopped(stop: &mut watch::Receiver<bool>) {
    // A sender that is gone means that nobody can stop us any more but by ending the process.
    if stop.wait_for(|stop| *stop).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Between half and all of a pause, so that many nodes do not come back at the same moment.
fn jittered(pause: Duration) -> Duration {
    pause.mul_f64(rand::random_range(0.5..=1.0))
}

enum Never {}

impl Capture {
    fn teller(&self) -> Teller {
        Teller { state: self.state.clone(), spool: self.spool.clone() }
    }

    /// Where to go on from a position in the store.
    async fn resumed(
        &self,
        connection: &mut Conn,
        server: &Server,
        position: Position,
        began: &mut Began,
    ) -> Result<Position, Error> {
        let before = position.server.clone();
        let options = &self.options.database;
        let position = resume::resumed(connection, options, server, position, began).await?;
        if position.server != before {
            // First: the dump may fail, and the next connection has only this to go by.
            began.forget(&self.spool).await?;
            self.spool.set_position(Some(position.clone())).await?;
        }
        Ok(position)
    }

    fn settings(&self, server: &Server) -> Settings {
        Settings {
            database: self.options.database.database.clone(),
            ignores_case: server.number("lower_case_table_names").is_some_and(|value| value > 0),
            state_schema: self.options.state_schema.clone(),
            accepted: self.options.accepted.clone(),
            inflated_bytes_max: self.options.inflated_bytes_max,
        }
    }

    /// Where to follow the log from, and how the tables are defined there: from the store, or, the
    /// first time, at the log's end.
    async fn place(
        &self,
        (connection, fetcher, identities): (&mut Conn, &mut Fetcher, &mut Identities),
        server: &Server,
        by_offset: bool,
        began: &mut Began,
    ) -> Result<(Position, Tables, Filled), Error> {
        let (spool, database) = (&self.spool, &self.options.database.database);
        let file = Arc::clone(&self.options.map);
        let Some(position) = spool.position().await? else {
            // Everything until now is before the log's end, which is taken later.
            let read_to = Some(self.clock.now());
            let begun = start::begin(connection, server, &file, fetcher, identities, spool).await?;
            let (position, live, filled) = begun;
            let mut definitions = Tables::at_end(file, live);
            let tables = definitions.for_store();
            let begun = Some(position.clone());
            let begun = Append { position: begun, read_to, tables, ..Append::default() };
            spool.append(begun).await?;
            tracing::info!(%position, "capture begins at the log's present end");
            return Ok((position, definitions, filled));
        };
        let stored = spool.tables().await?;
        let stored = stored.and_then(|stored| Tables::stored(file.clone(), &stored, database));
        let definitions = match stored {
            Some(definitions) => definitions,
            None => Tables::unknown(file.clone(), LiveSchema::read(connection, database).await?),
        };
        resume::may_see(connection, &file, definitions.names()).await?;
        let mut position = self.resumed(connection, server, position, began).await?;
        position.gtids.take_if(|_| by_offset || !start::resumes_by_gtids(server));
        let mut filled = Filled::read(spool).await?;
        if !filled.is_full(&definitions.bind()) {
            let map = BoundMap::bind(&file, &LiveSchema::read(connection, database).await?);
            filled.fill(&map, fetcher, identities, spool).await?;
        }
        Ok((position, definitions, filled))
    }

    /// One connection's worth of capture.
    async fn session(&mut self, by_offset: bool, watch: &mut Watch) -> Result<Never, Error> {
        // What a former connection left unfinished will be sent again from its beginning.
        self.spool.discard_unfinished().await?;
        let mut connection = self.options.database.connect(&[]).await?;
        let server = Server::read(&mut connection).await?;
        start::suitable(&server)?;
        let mut fetcher = Fetcher::new(self.options.database.clone());
        let mut identities =
            Identities::new(self.spool.index_reader()?, self.options.identities_cached_max);
        let mut began = Began::read(&self.spool).await?;
        let asked = (&mut connection, &mut fetcher, &mut identities);
        let (position, definitions, filled) =
            self.place(asked, &server, by_offset, &mut began).await?;
        drop(connection);
        let request =
            Request { server_id: self.options.server_id, heartbeat: self.options.heartbeat };
        let stream = Stream::open(&self.options.database, &request, &position).await?;
        tracing::info!(%position, server = %position.server, "capture follows the log");
        let follower = Follower::new(
            definitions,
            Place::new(&position)?,
            Assembly::new(self.spool.head()),
            identities,
            fetcher,
            self.settings(&server),
        );
        self.state.send_modify(|state| state.position = Some(position.clone()));
        self.teller().doing(Doing::Following).await;
        Session {
            capture: self,
            stream,
            server,
            watch,
            began,
            filled,
            unfilled: false,
            follower,
            storing: None,
            written: position,
            moved_at: Duration::ZERO,
            base: Told::default(),
        }
        .follow()
        .await
    }
}

/// A connection being followed.
struct Session<'c> {
    capture: &'c mut Capture,
    stream: Stream,
    server: Server,
    watch: &'c mut Watch,
    follower: Follower,
    storing: Option<Storing>,
    began: Began,
    filled: Filled,
    /// The index has forgotten something that it has to be filled with again.
    unfilled: bool,
    /// The position in the store, or on its way there.
    written: Position,
    /// When the position was last handed over, on the monotonic clock.
    moved_at: Duration,
    base: Told,
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
    async fn follow(mut self) -> Result<Never, Error> {
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

    /// Starts writing what has been gathered, if the store is free and there is reason to.
    fn hand_over(&mut self, why: Why) -> Result<(), Error> {
        // In the middle of a transaction those before it would have to be taken apart from it: its
        // end is on its way, unless there is much of it.
        let much = self.is_much_indexed();
        if self.storing.is_some() || (self.follower.assembly.shares() && !much && why == Why::Free)
        {
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
        let Follower { identities, assembly, definitions, .. } = &mut self.follower;
        let index = identities.hand_over_settled();
        let open = assembly.is_cut().then(|| identities.hand_over());
        let position = moves(&segments, &index, open.as_deref()).then_some(position);
        // Definitions belong to a position.
        let tables = position.as_ref().and_then(|_| definitions.for_store());
        if let Some(position) = &position {
            self.written = position.clone();
        }
        let began = begun.then(|| self.began.clone());
        let read_to = self.follower.told.committed_at;
        let work = HandOver { cuts: segments, position, read_to, tables, index, open, began };
        self.storing = Some(Storing::start(self.capture.teller(), work));
        Ok(())
    }
}
