//! Capture as a loop: connect, resume, follow, hand over; after an error again, at once or slowly
//! as the error demands.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use mysql_async::Conn;
use tokio::sync::{mpsc, watch};

use super::assembly::Assembly;
use super::fetch::Fetcher;
use super::follow::xa::Prepared;
use super::follow::{Follower, Settings, Told};
use super::identities::Identities;
use super::place::{self, Place};
use super::resume::{self, Began};
use super::session::Session;
use super::start::{self, Filled};
use super::state::{Doing, State};
use super::stream::{Request, Stream};
use super::tables::Tables;
use super::teller::Teller;
use super::watch::Watch;
use super::{Disposition, Error};
use crate::clock::{SharedClock, sleep};
use crate::database::connect;
use crate::database::schema::LiveSchema;
use crate::database::server::Server;
use crate::position::Position;
use crate::schema_map::{BoundMap, MapFile};
use crate::spool::{Append, Spool};
use crate::transport::Wanted;

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
    /// Other databases of the server whose statements are known to change nothing of this one.
    pub harmless_databases: Vec<String>,
    /// The first wait after an error, doubled up to the last.
    pub backoff_min: Duration,
    /// The longest wait.
    pub backoff_max: Duration,
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
    capture.warn_of_accepted().await?;
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

/// What never comes to be.
pub(super) enum Never {}

impl Capture {
    pub(super) fn teller(&self) -> Teller {
        Teller { state: self.state.clone(), spool: self.spool.clone() }
    }

    /// What was accepted and passed must not stay: the same place may come again in another log.
    async fn warn_of_accepted(&self) -> Result<(), Error> {
        let Some(position) = self.spool.position().await? else { return Ok(()) };
        for place in place::passed(&self.options.accepted, &position) {
            tracing::warn!(
                place,
                "capture is past this place: take it out of [capture] accept, or rows that come to \
                 stand there in another log are given up too"
            );
        }
        Ok(())
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
            ignores_case: server.ignores_case(),
            state_schema: self.options.state_schema.clone(),
            accepted: self.options.accepted.clone(),
            harmless_databases: self.options.harmless_databases.clone(),
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
            Prepared::read(&self.spool).await?,
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
