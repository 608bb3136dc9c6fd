//! The way in: batches, each in one transaction.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use mysql_async::Opts;
use tokio::sync::{Mutex, Semaphore};

use super::batch::{self, Progress, Standing};
use super::error::{Crowded, Error, Failure, State};
use super::held::{self, Shown, Waiting};
use super::layout::Layouts;
use super::session::Session;
use super::state::{self, Names};
use super::work::Work;
use crate::change::{Epoch, NodeId, Sequence};
use crate::clock::{self, SharedClock};
use crate::database::connect;
use crate::record::SegmentReader;
use crate::schema_map::{BoundMap, Direction, MapFile};
use crate::transport::{Applied, Peer, ReceivedBatch, SetAside, Wanted, Watermark};

/// What apply takes at most.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Changes planned together; a larger batch is worked through in chunks, in one transaction.
    pub chunk_changes_max: usize,
    /// Bytes of raw segments planned together, unless a single segment is larger.
    pub chunk_bytes_max: usize,
    /// Connections to the target, and so batches applied at the same time.
    pub connections_max: usize,
    /// How long a statement waits for another session's lock.
    pub lock_wait_seconds: u32,
    /// How often a batch is tried at once after a deadlock or a lost connection.
    pub tries: u32,
    /// Entries kept in the list of touched rows, one per table and chunk; 0 keeps no list.
    pub touched_entries_max: u64,
    /// Missing rows asked for in one answer.
    pub wanted_max: usize,
    /// Changes set aside, of all links together. A batch that would set more aside waits.
    pub held_changes_max: u64,
    /// After so long without an answer it is asked whether the target still works on a statement.
    pub patience: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            chunk_changes_max: 8_192,
            chunk_bytes_max: 16 << 20,
            connections_max: 8,
            lock_wait_seconds: 20,
            tries: 3,
            touched_entries_max: 10_000,
            wanted_max: 256,
            held_changes_max: 100_000,
            patience: Duration::from_secs(30),
        }
    }
}

/// How batches are applied.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The schema in the target that holds watermarks and what is set aside.
    pub schema: String,
    /// The direction of the tables that may come in: up at a parent, down at a child.
    pub incoming: Direction,
    /// What is taken at most.
    pub limits: Limits,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            schema: "headwater".to_owned(),
            incoming: Direction::Up,
            limits: Limits::default(),
        }
    }
}

/// What applying a batch came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// The link's watermark now.
    pub through: Sequence,
    /// Rows written.
    pub rows: u64,
    /// Statements executed, with BEGIN and COMMIT.
    pub statements: u64,
    /// Runs that could not be written as they were planned.
    pub halved: u64,
    /// Changes of the batch that were set aside.
    pub held: u64,
    /// Changes set aside, from this batch or before, that were applied.
    pub released: u64,
    /// Changes set aside that a delete of their row made moot.
    pub dissolved: u64,
    /// Rows whose parked changes were made moot by the row itself, which came whole.
    pub superseded: u64,
    /// Changes of the batch that still wait for a row.
    pub parked: u64,
    /// Changes of the batch that wait for a person.
    pub quarantined: u64,
    /// Rows that are missing here.
    pub wanted: Vec<Wanted>,
    /// What is set aside of the node's changes in all, where that was counted.
    pub in_all: Option<SetAside>,
    pub(super) tried_together: bool,
}

/// Writes batches into one target database.
pub struct Applier {
    opts: Opts,
    /// Where the password may change, what connections are made with in the place of `opts`.
    passwords: Option<connect::Options>,
    file: Arc<MapFile>,
    pub(super) bound: Mutex<Bound>,
    pub(super) clock: SharedClock,
    pub(super) settings: Settings,
    pub(super) names: Names,
    permits: Semaphore,
    idle: Mutex<Vec<Session>>,
}

/// The map as it fits the target's tables, and when that was looked at.
#[derive(Clone)]
pub(super) struct Bound {
    pub(super) map: Arc<BoundMap>,
    layouts: Arc<Layouts>,
    pub(super) at: Duration,
}

impl Bound {
    fn new(map: Arc<BoundMap>, at: Duration) -> Bound {
        Bound { map, layouts: Arc::default(), at }
    }
}

impl Applier {
    /// Connects nowhere yet; `opts` names the target database, and `map` is `file` as it fits the
    /// tables there now. When they change it is bound anew.
    pub fn new(
        opts: Opts,
        file: Arc<MapFile>,
        map: Arc<BoundMap>,
        clock: SharedClock,
        settings: Settings,
    ) -> Applier {
        let bound = Mutex::new(Bound::new(map, clock.monotonic()));
        Applier {
            names: Names::new(&settings.schema),
            permits: Semaphore::new(settings.limits.connections_max.max(1)),
            idle: Mutex::new(Vec::new()),
            opts,
            passwords: None,
            file,
            bound,
            clock,
            settings,
        }
    }

    /// The same, looking for the password anew at each connection: a password that is changed while
    /// we run is then changed in one place only.
    #[must_use]
    pub fn with_passwords_of(self, options: connect::Options) -> Applier {
        Applier { passwords: Some(options), ..self }
    }

    /// Makes the schema and the tables that apply keeps in the target, if they are not there.
    pub async fn prepare(&self) -> Result<(), Error> {
        self.with_session(async |session| state::prepare(session, &self.names).await).await
    }

    /// How far a node has been applied; 0 for one never heard of.
    pub async fn watermark(&self, node: NodeId, epoch: Epoch) -> Result<Watermark, Error> {
        self.with_session(async |session| state::read(session, &self.names, node, epoch).await)
            .await
    }

    /// Applies a batch in one transaction together with the watermark.
    pub async fn apply(&self, peer: &Peer, batch: ReceivedBatch) -> Result<Applied, Error> {
        let report = self.apply_counted(peer, &batch).await?;
        Ok(Applied {
            through: report.through,
            parked: report.parked,
            quarantined: report.quarantined,
            in_all: report.in_all,
            wanted: report.wanted,
        })
    }

    /// [`Applier::apply`], telling what it took.
    pub async fn apply_counted(&self, peer: &Peer, batch: &ReceivedBatch) -> Result<Report, Error> {
        let tries = self.settings.limits.tries.max(1);
        let mut attempt = 1;
        let mut bound_anew = false;
        let report = loop {
            let bound = self.bound().await;
            let result = self
                .with_session(async |session| self.transaction(session, &bound, peer, batch).await)
                .await;
            match result {
                Err(Error::Changed(reason)) if !bound_anew => {
                    tracing::info!(reason, "the target changed");
                    self.bind_anew().await?;
                    bound_anew = true;
                }
                Err(Error::Retry(reason)) if attempt < tries => {
                    tracing::debug!(attempt, reason, "the batch is tried again");
                    clock::sleep(Duration::from_millis(20 << attempt.min(6))).await;
                    attempt += 1;
                }
                result => break result?,
            }
        };
        tracing::debug!(
            link = %peer.name,
            through = %report.through,
            rows = report.rows,
            statements = report.statements,
            held = report.held,
            released = report.released,
            halved = report.halved,
            "batch applied"
        );
        Ok(report)
    }

    /// The changes that wait, of one node or of all, oldest first, at most `limit`.
    pub async fn list(
        &self,
        state: State,
        node: Option<NodeId>,
        limit: u32,
    ) -> Result<Vec<Waiting>, Error> {
        self.with_session(async |session| {
            held::list(session, &self.names, state, node, limit).await
        })
        .await
    }

    /// One waiting change with its values.
    pub async fn show(&self, id: u64) -> Result<Option<Shown>, Error> {
        self.with_session(async |session| held::show(session, &self.names, id).await).await
    }

    /// How many changes wait: parked, quarantined.
    pub async fn counts(&self) -> Result<(u64, u64), Error> {
        self.with_session(async |session| held::counts(session, &self.names).await).await
    }

    /// How many changes of a node wait.
    pub async fn set_aside(&self, node: NodeId) -> Result<SetAside, Error> {
        let (parked, quarantined) = self
            .with_session(async |session| {
                held::counts_since(session, &self.names, node, Sequence(0)).await
            })
            .await?;
        Ok(SetAside { parked, quarantined })
    }

    pub(super) async fn bound(&self) -> Bound {
        self.bound.lock().await.clone()
    }

    /// Holds the map against the target's tables as they are now.
    pub(super) async fn bind_anew(&self) -> Result<(), Error> {
        let database = self.opts.db_name().unwrap_or_default();
        let live = self.with_session(async |session| session.schema(database).await).await?;
        let map = BoundMap::bind(&self.file, &live);
        let mut bound = self.bound.lock().await;
        for problem in map.problems.iter().filter(|problem| problem.fatal) {
            if !bound.map.problems.contains(problem) {
                tracing::error!(table = %problem.table, "does not travel: {}", problem.message);
            }
        }
        *bound = Bound::new(Arc::new(map), self.clock.monotonic());
        Ok(())
    }

    async fn transaction(
        &self,
        session: &mut Session,
        bound: &Bound,
        peer: &Peer,
        batch: &ReceivedBatch,
    ) -> Result<Report, Failure> {
        let before = session.statements;
        let now = self.clock.now();
        session.run("START TRANSACTION").await?;
        let mark = state::lock(session, &self.names, peer.node, peer.epoch, now).await?;
        let watermark = mark.watermark.sequence;
        match batch::standing(watermark, batch.from, batch.through) {
            Standing::Duplicate if mark.watermark.is_of_another(batch.through, batch.checksum) => {
                return Err(Failure::Whole(Error::AnotherBatch { through: watermark }));
            }
            Standing::Duplicate => {
                session.run("ROLLBACK").await?;
                return Ok(Report { through: watermark, ..Report::default() });
            }
            Standing::Gap => {
                return Err(Failure::Whole(Error::Gap { from: batch.from, watermark }));
            }
            Standing::Apply => {}
        }
        let to = Watermark { sequence: batch.through, batch: Some(batch.checksum) };
        state::advance(session, &self.names, peer.node, to, now).await?;
        let mut work = self.work(session, bound, peer.node, now, mark.any_held);
        let progress = Progress::new(watermark, batch.from, batch.through);
        self.work_through(&mut work, progress, batch).await?;
        work.release().await?;
        let any_held = work.any_held;
        let mut report = work.report;
        self.ask_for_more(session, peer.node, &mut report).await?;
        self.can_come(session, peer.node, &bound.map, &mut report.wanted).await?;
        if any_held {
            let counts = held::counts_since(session, &self.names, peer.node, Sequence(0));
            let (parked, quarantined) = counts.await?;
            report.in_all = Some(SetAside { parked, quarantined });
        }
        if report.held > 0 {
            let counts = held::counts_since(session, &self.names, peer.node, watermark);
            (report.parked, report.quarantined) = counts.await?;
            let held = held::count(session, &self.names).await?;
            self.has_room(held)?;
        }
        session.run("COMMIT").await?;
        report.through = batch.through;
        report.statements = session.statements - before;
        Ok(report)
    }

    /// Refuses what would set aside more than may be: nothing of it is written, so nothing is lost,
    /// and it comes again.
    fn has_room(&self, held: u64) -> Result<(), Error> {
        let most = self.settings.limits.held_changes_max;
        if held <= most {
            return Ok(());
        }
        Err(Error::Stop(format!(
            "this batch would bring the changes set aside at the parent to {held}, and \
             apply.held_changes_max there is {most}: mend what keeps them (headwater quarantine list, \
             headwater parked list), discard some, or raise it; until then the batch waits"
        )))
    }

    pub(super) fn work<'w>(
        &'w self,
        session: &'w mut Session,
        bound: &'w Bound,
        node: NodeId,
        now: clock::Timestamp,
        any_held: bool,
    ) -> Work<'w> {
        Work {
            session,
            names: &self.names,
            map: &bound.map,
            layouts: &bound.layouts,
            database: self.opts.db_name().unwrap_or_default(),
            looked_at: HashSet::new(),
            incoming: self.settings.incoming,
            limits: self.settings.limits,
            node,
            now,
            any_held,
            blocked: HashMap::new(),
            arrived: Vec::new(),
            report: Report::default(),
        }
    }

    /// Chunk by chunk, so that a batch of any size takes bounded memory.
    async fn work_through(
        &self,
        work: &mut Work<'_>,
        mut progress: Progress,
        batch: &ReceivedBatch,
    ) -> Result<(), Failure> {
        let limits = self.settings.limits;
        let mut segments = batch.segments.segments();
        loop {
            let group = batch::next_group(&mut *segments, limits.chunk_bytes_max)?;
            if group.is_empty() {
                break;
            }
            let mut items = Vec::new();
            for segment in &group {
                let mut reader = SegmentReader::new(segment);
                while let Some(record) = reader.read().map_err(Error::from)? {
                    if let Some(item) = progress.take(record)? {
                        work.let_in(&item)?;
                        items.push(item);
                    }
                    if items.len() >= limits.chunk_changes_max {
                        work.apply(&items).await?;
                        items.clear();
                    }
                }
            }
            work.apply(&items).await?;
        }
        Ok(progress.finish()?)
    }

    /// Lends a connection. One on which something failed is not used again: closing it also ends
    /// whatever it had begun.
    pub(super) async fn with_session<T>(
        &self,
        act: impl AsyncFnOnce(&mut Session) -> Result<T, Failure>,
    ) -> Result<T, Error> {
        let permit = self.permits.acquire().await;
        let _permit =
            permit.map_err(|_closed| Error::Retry("apply is shutting down".to_owned()))?;
        let mut session = self.connected().await?;
        session.wait_for_locks(self.lock_wait_seconds()).await.map_err(whole)?;
        match act(&mut session).await {
            Ok(outcome) => {
                self.idle.lock().await.push(session);
                Ok(outcome)
            }
            Err(failure) => {
                session.give_up().await;
                Err(whole(failure))
            }
        }
    }

    pub(super) fn lock_wait_seconds(&self) -> u32 {
        self.settings.limits.lock_wait_seconds
    }

    async fn connected(&self) -> Result<Session, Error> {
        loop {
            let idle = self.idle.lock().await.pop();
            let Some(mut session) = idle else { break };
            if session.is_alive().await {
                return Ok(session);
            }
        }
        let Limits { lock_wait_seconds, patience, .. } = self.settings.limits;
        let anew = self.passwords.as_ref().map(|options| options.driver(&[]));
        let opts = anew.as_ref().unwrap_or(&self.opts);
        Session::open(opts, Arc::clone(&self.clock), lock_wait_seconds, patience)
            .await
            .map_err(whole)
    }
}

fn whole(failure: Failure) -> Error {
    match failure {
        Failure::Whole(error) => error,
        Failure::Row(words) | Failure::Crowded(Crowded { words, .. }) => Error::Stop(words),
        Failure::Split => Error::Stop("the plan of a batch failed in no place".to_owned()),
    }
}
