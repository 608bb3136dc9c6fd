//! One running node: capture, links and apply put together, and the housekeeping around them.
//!
//! A node with a `[parent]` captures and dials; a node with `[listen]` serves its children; a middle
//! tier does both. Each part runs in a task of its own and tells how it fares; when one of them can
//! no longer be trusted, all stop and the process ends.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use crate::apply::{self, Applier};
use crate::capture::{self, Capture, Doing};
use crate::change::NodeId;
use crate::clock::{SharedClock, SystemClock, sleep};
use crate::config::{self, Config};
use crate::database::schema::LiveSchema;
use crate::database::server::Server as DatabaseServer;
use crate::operate::{NAMELESS, Reach};
use crate::schema_map::{BoundMap, Direction, MapFile};
use crate::spool::{self, Spool};
use crate::transport::backoff::BackoffLimits;
use crate::transport::client::{self, ClientError, ClientOptions};
use crate::transport::codec::Compression;
use crate::transport::pace::PaceLimits;
use crate::transport::server::{Server, ServerError, ServerOptions};
use crate::transport::wire::hex;

/// Requests for whole rows that may wait for capture.
const WANTED_QUEUE: usize = 16;
/// How often acknowledged segments are released, and figures brought up to date.
const HOUSEKEEPING: Duration = Duration::from_secs(5);
/// The pause between tries to reach the database at the start.
const DATABASE_RETRY: Duration = Duration::from_secs(5);

/// Why a node ends.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store cannot be used.
    #[error(transparent)]
    Spool(#[from] spool::Error),
    /// The schema map cannot be used.
    #[error(transparent)]
    Map(#[from] crate::schema_map::file::Error),
    /// The database cannot be used as it is configured.
    #[error(transparent)]
    Database(#[from] crate::database::Error),
    /// Capture cannot go on in this process.
    #[error("capture ends the process: {0}")]
    Capture(#[from] capture::Error),
    /// The link to the parent cannot be set up.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// Children cannot be served.
    #[error(transparent)]
    Server(#[from] ServerError),
    /// The parent's address is not one.
    #[error("[parent] url: {0}")]
    Address(String),
    /// Headwater's own tables cannot be made in the target.
    #[error("{0}")]
    Apply(#[from] apply::Error),
    /// Metrics and health cannot be served.
    #[error("cannot serve [status] address: {0}")]
    Status(String),
    /// There is nothing to do.
    #[error("the configuration has neither [parent] nor [listen]: this node has nobody to talk to")]
    NothingToDo,
    /// A part ended without being asked.
    #[error("{0} ended unexpectedly")]
    Ended(&'static str),
}

/// Runs a node until `stop` turns true or a part of it can no longer be trusted.
pub async fn run(config: Config, stop: watch::Receiver<bool>) -> Result<(), Error> {
    if config.parent.is_none() && config.listen.is_none() {
        return Err(Error::NothingToDo);
    }
    let clock = SystemClock::shared();
    let spool = Spool::open(&config.node.data_dir, Arc::clone(&clock), limits(&config))?;
    let map = Arc::new(MapFile::load(&config.database.maps)?);
    tracing::info!(
        node = %config.node.name,
        id = %spool.node_id(),
        epoch = %spool.epoch(),
        "headwater {} starts",
        env!("CARGO_PKG_VERSION")
    );
    let node = Node { config, clock, spool, map };
    let result = node.parts(stop).await;
    // Whatever happened, what is written is written: the store closes in order.
    let closed = node.spool.close().await;
    result?;
    Ok(closed?)
}

/// What the store takes: as configured, for what is captured and for what comes in.
fn limits(config: &Config) -> spool::Limits {
    let defaults = spool::Limits::default();
    let incoming = config.listen.as_ref().map(|listen| listen.batch_bytes_max);
    spool::Limits {
        spool_bytes_max: config.spool.bytes_max,
        disk_free_bytes_min: config.spool.disk_free_bytes_min,
        batch_bytes_max: incoming.unwrap_or(defaults.batch_bytes_max),
        ..defaults
    }
}

struct Node {
    config: Config,
    clock: SharedClock,
    spool: Spool,
    map: Arc<MapFile>,
}

/// The tasks of a node, and the switch that stops them.
struct Parts {
    tasks: JoinSet<Result<(), Error>>,
    stop: watch::Sender<bool>,
}

impl Parts {
    fn add(&mut self, part: impl Future<Output = Result<(), Error>> + Send + 'static) {
        self.tasks.spawn(part);
    }
}

impl Node {
    async fn parts(&self, mut stop: watch::Receiver<bool>) -> Result<(), Error> {
        let (stop_parts, stopping) = watch::channel(false);
        let mut parts = Parts { tasks: JoinSet::new(), stop: stop_parts };
        let (state_in, state) = watch::channel(capture::State::default());
        // First of all: it counts from the first change on, and says what the rest waits for.
        self.show(&mut parts, &state, &stopping).await?;
        let mut applier = None;
        if self.config.listen.is_some() {
            // A parent that cannot reach its database yet waits for it, as a child does.
            let (made, version) = tokio::select! {
                made = self.applier() => made?,
                _ = stop.wait_for(|stop| *stop) => return Ok(()),
            };
            self.serve(&mut parts, &made, version, &stopping).await?;
            applier = Some(made);
        }
        if self.config.parent.is_some() {
            self.capture_and_dial(&mut parts, state_in, &stopping)?;
        }
        if let Some(applier) = applier {
            let parked_retry = self.config.apply.parked_retry;
            let retrier = Retrier { spool: self.spool.clone(), applier, parked_retry };
            parts.add(retrier.keep(stopping.clone()));
        }
        let grace = self.config.spool.grace;
        let clock = Arc::clone(&self.clock);
        let keeper = Keeper { spool: self.spool.clone(), grace, state, clock };
        parts.add(keeper.keep(stopping));
        let result = tokio::select! {
            ended = parts.tasks.join_next() => first(ended),
            _ = stop.wait_for(|stop| *stop) => Ok(()),
        };
        tracing::info!("headwater stops");
        parts.stop.send_replace(true);
        let mut result = result;
        while let Some(ended) = parts.tasks.join_next().await {
            if let (Ok(Err(error)), Ok(())) = (ended, &result) {
                result = Err(error);
            }
        }
        result
    }

    /// Connects to the target database, waiting until it is there, and makes headwater's tables. Also
    /// gives the server's version.
    async fn applier(&self) -> Result<(Arc<Applier>, String), Error> {
        let options = &self.config.database.options;
        let (map, version) = loop {
            match self.bind().await {
                Ok(found) => break found,
                Err(error) if error.is_transient() => {
                    tracing::warn!(%error, "waiting for the database");
                    sleep(DATABASE_RETRY).await;
                }
                Err(error) => return Err(error.into()),
            }
        };
        let wanted = &self.config.apply;
        let limits = apply::Limits {
            chunk_changes_max: wanted.chunk_changes_max,
            chunk_bytes_max: usize::try_from(wanted.chunk_bytes_max).unwrap_or(usize::MAX),
            connections_max: self.config.database.connections_max,
            lock_wait_seconds: u32::try_from(wanted.lock_wait.as_secs()).unwrap_or(u32::MAX).max(1),
            tries: wanted.tries_max,
            held_changes_max: wanted.held_changes_max,
            ..apply::Limits::default()
        };
        let settings = apply::Settings {
            schema: self.config.database.state_schema.clone(),
            incoming: Direction::Up,
            limits,
        };
        let applier = Applier::new(
            options.driver(&[]),
            Arc::clone(&self.map),
            Arc::new(map),
            Arc::clone(&self.clock),
            settings,
        )
        .with_passwords_of(options.clone());
        loop {
            match applier.prepare().await {
                Ok(()) => return Ok((Arc::new(applier), version)),
                Err(apply::Error::Retry(reason)) => {
                    tracing::warn!(reason, "waiting for the database");
                    sleep(DATABASE_RETRY).await;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    async fn bind(&self) -> Result<(BoundMap, String), crate::database::Error> {
        let options = &self.config.database.options;
        let mut connection = options.connect(&[]).await?;
        let server = DatabaseServer::read(&mut connection).await?;
        let live = LiveSchema::read(&mut connection, &options.database).await?;
        let map = BoundMap::bind(&self.map, &live);
        for problem in map.problems.iter().filter(|problem| problem.fatal) {
            tracing::error!(table = %problem.table, "does not travel: {}", problem.message);
        }
        Ok((map, server.version_text))
    }

    async fn serve(
        &self,
        parts: &mut Parts,
        applier: &Arc<Applier>,
        version: String,
        stopping: &watch::Receiver<bool>,
    ) -> Result<(), Error> {
        let Some(listen) = &self.config.listen else { return Ok(()) };
        let data_dir = self.config.node.data_dir.clone();
        let mut options = ServerOptions::new(listen.address, &self.config.node.name, data_dir);
        options.names.clone_from(&listen.names);
        options.map_digest = hex(&self.map.digest());
        options.database = Some(version);
        options.connections_max = listen.connections_max;
        options.strangers_max = listen.strangers_max;
        options.hello_within = listen.hello_within;
        options.stall = listen.timeout;
        options.batch_bytes_max = listen.batch_bytes_max;
        let server =
            Server::bind(options, self.spool.clone(), Arc::clone(applier), Arc::clone(&self.clock))
                .await?;
        tracing::info!(address = %server.address(), "listening for children");
        let stopping = stopping.clone();
        parts.add(async move { Ok(server.run(stopping).await?) });
        Ok(())
    }

    fn capture_and_dial(
        &self,
        parts: &mut Parts,
        state: watch::Sender<capture::State>,
        stopping: &watch::Receiver<bool>,
    ) -> Result<(), Error> {
        let Some(parent) = &self.config.parent else { return Ok(()) };
        let (wanted_in, wanted) = mpsc::channel(WANTED_QUEUE);
        let config = &self.config.capture;
        let cached = NonZeroUsize::new(config.identity_cache_rows_max);
        let options = capture::Options {
            database: self.config.database.options.clone(),
            map: Arc::clone(&self.map),
            state_schema: self.config.database.state_schema.clone(),
            server_id: config.server_id,
            heartbeat: config.heartbeat,
            identities_cached_max: cached.unwrap_or(NonZeroUsize::MIN),
            inflated_bytes_max: config.inflated_bytes_max,
            accepted: config.accept.clone(),
            harmless_databases: config.harmless_databases.clone(),
            backoff_min: config.backoff_min,
            backoff_max: config.backoff_max,
        };
        let capture = Capture {
            options,
            spool: self.spool.clone(),
            wanted,
            state,
            clock: Arc::clone(&self.clock),
        };
        let stop_capture = stopping.clone();
        parts.add(async move { Ok(capture::run(capture, stop_capture).await?) });
        let options = self.client_options(parent)?;
        let (spool, clock) = (self.spool.clone(), Arc::clone(&self.clock));
        let stopping = stopping.clone();
        parts
            .add(async move { Ok(client::run(options, spool, clock, wanted_in, stopping).await?) });
        Ok(())
    }

    fn client_options(&self, parent: &config::Parent) -> Result<ClientOptions, Error> {
        let address = parent.url.parse().map_err(Error::Address)?;
        let data_dir = self.config.node.data_dir.clone();
        let mut options = ClientOptions::new(address, &self.config.node.name, data_dir);
        options.map_digest = hex(&self.map.digest());
        options.schedule = match parent.schedule {
            config::Schedule::Continuous => client::Schedule::Continuous,
            config::Schedule::Every(interval) => client::Schedule::Every(interval),
        };
        options.compression = match parent.compression {
            config::Compression::None => Compression::None,
            config::Compression::Lz4 => Compression::Lz4,
            config::Compression::Auto => Compression::Auto,
        };
        options.patience = parent.timeout;
        options.hello_every = parent.hello_every;
        options.backoff = BackoffLimits {
            first: parent.backoff_min,
            longest: parent.backoff_max,
            refused: parent.backoff_max,
        };
        options.pace = PaceLimits {
            piece_bytes_max: parent.piece_bytes_max,
            batch_bytes_max: parent.batch_bytes_max,
            ..PaceLimits::default()
        };
        Ok(options)
    }

    /// Serves `/metrics` and `/healthz`, if the configuration says where.
    async fn show(
        &self,
        parts: &mut Parts,
        state: &watch::Receiver<capture::State>,
        stopping: &watch::Receiver<bool>,
    ) -> Result<(), Error> {
        let Some(status) = &self.config.status else { return Ok(()) };
        let captures = self.config.parent.is_some();
        // What a child captures waits in the log. What comes from children waits for this.
        let written = self
            .config
            .listen
            .as_ref()
            .map(|_| Reach::new(self.config.database.options.clone(), Arc::clone(&self.clock)));
        let state = state.clone();
        let healthy = move || {
            let doing = state.borrow().doing.clone();
            let written = written.clone();
            async move {
                if let (Doing::Stopped(words), true) = (doing, captures) {
                    return Err(format!("capture is stopped: {words}"));
                }
                match written {
                    Some(database) => database.ask().await,
                    None => Ok(()),
                }
            }
        };
        let serving = crate::operate::serve(status.address, healthy, stopping.clone())
            .await
            .map_err(|error| Error::Status(error.to_string()))?;
        parts.add(async move { serving.await.map_err(|error| Error::Status(error.to_string())) });
        Ok(())
    }
}

fn first(ended: Option<Result<Result<(), Error>, tokio::task::JoinError>>) -> Result<(), Error> {
    match ended {
        Some(Ok(Err(error))) => Err(error),
        Some(Ok(Ok(()))) => Err(Error::Ended("a part of the node")),
        Some(Err(_)) => Err(Error::Ended("a part of the node panicked and")),
        None => Ok(()),
    }
}

/// Releases what need not be kept, and keeps the figures.
struct Keeper {
    spool: Spool,
    grace: Duration,
    state: watch::Receiver<capture::State>,
    clock: SharedClock,
}

impl Keeper {
    async fn keep(self, mut stop: watch::Receiver<bool>) -> Result<(), Error> {
        let (mut state, mut noted) = (self.state.clone(), false);
        loop {
            tokio::select! {
                () = sleep(HOUSEKEEPING) => {}
                // Told at once: nothing else would say so after a power cut.
                Ok(_) = state.wait_for(|state| state.nameless > 0 && !noted) => {}
                _ = stop.wait_for(|stop| *stop) => return Ok(()),
            }
            let seen = self.state.borrow().nameless > 0;
            if seen && !noted {
                noted = true;
                if let Err(error) = self.spool.set_note(NAMELESS, "seen").await {
                    tracing::warn!(%error, "cannot note that rows without an identity were seen");
                }
            }
            match self.spool.release(self.grace).await {
                Ok(_) => {}
                Err(error) if error.next() == spool::Next::Stop => return Err(error.into()),
                Err(error) => tracing::warn!(%error, "nothing could be released"),
            }
            self.figures().await?;
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "figures for a graph")]
    async fn figures(&self) -> Result<(), Error> {
        let usage = self.spool.usage().await?;
        metrics::gauge!("headwater_spool_bytes").set(usage.bytes as f64);
        metrics::gauge!("headwater_spool_transactions").set(usage.transactions as f64);
        for usage in &usage.links {
            let link = &usage.link;
            if link.direction == spool::Direction::Up {
                metrics::gauge!("headwater_link_waiting_transactions", "link" => link.name.clone())
                    .set(usage.waiting_transactions as f64);
            }
            if let Some(at) = link.last_contact {
                metrics::gauge!("headwater_link_last_contact_timestamp_seconds", "link" => link.name.clone())
                    .set((at.0 / 1_000_000) as f64);
            }
        }
        let state = self.state.borrow().clone();
        let lag = state.lag(self.clock.now());
        metrics::gauge!("headwater_capture_lag_seconds").set(lag.as_secs() as f64);
        let following = state.doing == Doing::Following;
        metrics::gauge!("headwater_capture_following").set(f64::from(u8::from(following)));
        Ok(())
    }
}

/// Tries parked changes again, and counts what is set aside.
struct Retrier {
    spool: Spool,
    applier: Arc<Applier>,
    parked_retry: Duration,
}

impl Retrier {
    async fn keep(self, mut stop: watch::Receiver<bool>) -> Result<(), Error> {
        loop {
            tokio::select! {
                () = sleep(HOUSEKEEPING) => {}
                _ = stop.wait_for(|stop| *stop) => return Ok(()),
            }
            // What is not committed when the node stops is tried again after it.
            tokio::select! {
                tried = self.retry() => tried?,
                _ = stop.wait_for(|stop| *stop) => return Ok(()),
            }
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "figures for a graph")]
    async fn retry(&self) -> Result<(), Error> {
        // What a revoked node sent is older than what its successor sends.
        let usage = self.spool.usage().await?;
        let links = usage.links.into_iter().map(|usage| usage.link);
        let active = links.filter(|link| link.state == spool::State::Active);
        let nodes: Vec<NodeId> = active.filter_map(|link| link.node).collect();
        match self.applier.retry_parked(self.parked_retry, &nodes).await {
            Ok(retried) if retried.released > 0 => {
                tracing::info!(released = retried.released, "parked changes were applied");
            }
            Ok(_) => {}
            Err(error) => tracing::debug!(%error, "parked changes were not tried"),
        }
        if let Ok((parked, quarantined)) = self.applier.counts().await {
            metrics::gauge!("headwater_parked_changes").set(parked as f64);
            metrics::gauge!("headwater_quarantined_changes").set(quarantined as f64);
        }
        Ok(())
    }
}
