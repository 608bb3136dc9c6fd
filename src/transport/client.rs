//! The child's end of its link: dials, says hello, sends what the parent lacks, notes what is
//! acknowledged, and begins again after every failure, for ever.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD as BASE64;
use bytes::Bytes;
use rustls::ClientConfig;
use rustls::pki_types::CertificateDer;
use tokio::sync::{mpsc, watch};

use super::authority::CERTIFICATE_LIFE;
use super::backoff::{Backoff, BackoffLimits};
use super::batch::Batch;
use super::codec::Compression;
use super::content::Room;
use super::credentials::{CredentialError, Credentials, Validity, child_file, joined, replace};
use super::cut::{Cut, CutError, Cutter, Taken};
use super::dial::{Connection, Dial, LinkError, ParentAddress};
use super::offers::{OFFERED, Offers};
use super::pace::{Meter, PaceLimits, pace};
use super::session::{self, Acknowledged, Log, Next, Start, Stop};
use super::tls::{self, TlsError};
use super::wire::{
    Hello, JoinAnswer, PIECE_BYTES_MAX, PROTOCOL_VERSIONS, PieceAnswer, PieceHeader, RowList,
    Unfinished, Welcome, path,
};
use super::{SetAside, Wanted, stopped};
use crate::change::{NodeId, Sequence};
use crate::clock::{SharedClock, sleep};
use crate::spool::{self, Contact, Direction, Segment, Spool, State};

/// Compressed bytes of segments read from the spool at a time.
const READ_BYTES: u64 = 4 << 20;
/// Hellos in a row without a piece getting through before the link backs off.
const HELLOS_MAX: u32 = 3;
/// The note under which the store remembers what the parent has set aside of this node's changes, as
/// JSON of [`SetAside`].
pub const SET_ASIDE: &str = "link.set_aside";
/// After a batch of which something was set aside, or while something is, the sum is asked for so
/// soon.
const ASK_SUM_AFTER: Duration = Duration::from_mins(1);
/// A connection that lasted so long before it was closed was a good one: it is dialled anew soon.
const GOOD_CONNECTION: Duration = Duration::from_mins(1);
/// An answer of "being applied" that came sooner than this is waited out, not asked again at once.
const POLL_AT_MOST_EVERY: Duration = Duration::from_millis(250);

/// When a child talks to its parent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Schedule {
    /// Whenever something was captured.
    Continuous,
    /// So often, if something was captured.
    Every(Duration),
}

/// How a child keeps its link.
#[derive(Debug, Clone)]
pub struct ClientOptions {
    /// The parent.
    pub parent: ParentAddress,
    /// The node's name.
    pub node_name: String,
    /// The digest of its schema map, in hexadecimal ([`super::wire::hex`]).
    pub map_digest: String,
    /// The node's folder.
    pub data_dir: PathBuf,
    /// When to send. Default continuous.
    pub schedule: Schedule,
    /// What compresses batches. Default auto.
    pub compression: Compression,
    /// A silence of so long ends the connection. Default 30 s.
    pub patience: Duration,
    /// A connection that lasts says hello again at least so often, also while there is nothing to
    /// send: a parent that was restored from a backup, or that lacks rows, tells it only there.
    /// Default 15 min.
    pub hello_every: Duration,
    /// The waits between tries.
    pub backoff: BackoffLimits,
    /// The bounds of pieces and batches.
    pub pace: PaceLimits,
    /// Batches larger than this are kept in a file. Default 4 MiB.
    pub memory_bytes_max: u64,
}

impl ClientOptions {
    /// The defaults for what has one.
    pub fn new(parent: ParentAddress, node_name: impl Into<String>, data_dir: PathBuf) -> Self {
        ClientOptions {
            parent,
            node_name: node_name.into(),
            map_digest: String::new(),
            data_dir,
            schedule: Schedule::Continuous,
            compression: Compression::Auto,
            patience: Duration::from_secs(30),
            hello_every: Duration::from_mins(15),
            backoff: BackoffLimits::default(),
            pace: PaceLimits::default(),
            memory_bytes_max: 4 << 20,
        }
    }
}

/// Why a child's link ended for good; everything else is tried again.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// This node has not joined a parent.
    #[error(
        "this node has not joined a parent yet: ask for a token (`headwater invite NAME` at the parent) and run `headwater join TOKEN`"
    )]
    NotJoined,
    /// The keys and certificates cannot be used.
    #[error(transparent)]
    Credentials(#[from] CredentialError),
    /// TLS cannot be set up.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The store failed, and the node has to end.
    #[error(transparent)]
    Store(spool::Error),
    /// What the spool holds cannot be sent.
    #[error(transparent)]
    Cut(CutError),
}

/// Why one connection ended.
#[derive(Debug)]
enum Ended {
    /// The node stops.
    Stopped,
    /// The connection was closed in peace while nothing was under way.
    Closed,
    /// Something passing went wrong.
    Failed(String),
    /// Something that a person has to mend.
    Refused(String),
    /// The node cannot go on.
    Fatal(ClientError),
}

impl From<LinkError> for Ended {
    fn from(error: LinkError) -> Ended {
        let words = error.to_string();
        if error.needs_a_person() { Ended::Refused(words) } else { Ended::Failed(words) }
    }
}

impl From<spool::Error> for Ended {
    fn from(error: spool::Error) -> Ended {
        match error.next() {
            spool::Next::Wait => Ended::Failed(error.to_string()),
            spool::Next::Refuse => Ended::Refused(error.to_string()),
            spool::Next::Stop => Ended::Fatal(ClientError::Store(error)),
        }
    }
}

impl From<CutError> for Ended {
    fn from(error: CutError) -> Ended {
        match error {
            CutError::Io(_) => Ended::Failed(error.to_string()),
            CutError::Damaged { .. } => Ended::Fatal(ClientError::Cut(error)),
        }
    }
}

impl From<Stop> for Ended {
    fn from(stop: Stop) -> Ended {
        Ended::Refused(stop.to_string())
    }
}

/// Keeps the link to the parent until `stop` says true. Rows that the parent lacks go to `wanted`.
/// Returns an error only for what no further try can mend.
pub async fn run(
    options: ClientOptions,
    spool: Spool,
    clock: SharedClock,
    wanted: mpsc::Sender<Vec<Wanted>>,
    stop: watch::Receiver<bool>,
) -> Result<(), ClientError> {
    let links = spool.links().await.map_err(ClientError::Store)?;
    let link = links
        .into_iter()
        .find(|link| link.direction == Direction::Up && link.state == State::Active)
        .ok_or(ClientError::NotJoined)?;
    let client = Client {
        heads: spool.head_changes(),
        link: link.name,
        parent: link.node,
        meter: Meter::default(),
        backoff: Backoff::default(),
        tls: None,
        hello_due: Duration::ZERO,
        set_aside: None,
        offered: Offers::default(),
        options,
        spool,
        clock,
        wanted,
        stop,
    };
    client.keep().await
}

struct Client {
    options: ClientOptions,
    spool: Spool,
    clock: SharedClock,
    wanted: mpsc::Sender<Vec<Wanted>>,
    stop: watch::Receiver<bool>,
    heads: watch::Receiver<Sequence>,
    link: String,
    parent: Option<NodeId>,
    meter: Meter,
    backoff: Backoff,
    /// When hello is to be said again, in monotonic time.
    hello_due: Duration,
    /// What the parent said last to have set aside of this node's changes.
    set_aside: Option<SetAside>,
    offered: Offers,
    tls: Option<(Vec<CertificateDer<'static>>, Arc<ClientConfig>)>,
}

impl Client {
    async fn keep(mut self) -> Result<(), ClientError> {
        loop {
            let mut stop = self.stop.clone();
            let begun = self.clock.monotonic();
            let ended = tokio::select! {
                ended = self.connect_and_talk() => ended,
                () = stopped(&mut stop) => Ended::Stopped,
            };
            let (words, wait) = match ended {
                Ended::Stopped => return Ok(()),
                Ended::Fatal(error) => return Err(error),
                Ended::Closed => {
                    // One that is closed again and again at once must not be dialled without a pause.
                    if self.clock.monotonic().saturating_sub(begun) >= GOOD_CONNECTION {
                        self.backoff.succeeded();
                    }
                    let wait = self.backoff.after_failure(&self.options.backoff, rand::random());
                    tokio::select! {
                        () = sleep(wait) => continue,
                        () = stopped(&mut stop) => return Ok(()),
                    }
                }
                Ended::Failed(words) => {
                    let wait = self.backoff.after_failure(&self.options.backoff, rand::random());
                    tracing::info!(link = %self.link, seconds = wait.as_secs(), "{words}; trying again");
                    (words, wait)
                }
                Ended::Refused(words) => {
                    let wait = Backoff::after_refusal(&self.options.backoff, rand::random());
                    tracing::error!(link = %self.link, seconds = wait.as_secs(), "{words}");
                    (words, wait)
                }
            };
            self.contact(Some(words)).await?;
            tokio::select! {
                () = sleep(wait) => {}
                () = stopped(&mut stop) => return Ok(()),
            }
        }
    }

    async fn contact(&self, error: Option<String>) -> Result<(), ClientError> {
        let at = error.is_none().then(|| self.clock.now());
        let noted = self.spool.contact(&self.link, Contact { at, received: None, error }).await;
        match noted {
            Err(error) if error.next() == spool::Next::Stop => Err(ClientError::Store(error)),
            Err(error) => {
                tracing::warn!(%error, "the state of the link could not be noted");
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }

    async fn connect_and_talk(&mut self) -> Ended {
        match self.try_connection().await {
            Ok(never) => match never {},
            Err(ended) => ended,
        }
    }

    async fn try_connection(&mut self) -> Result<std::convert::Infallible, Ended> {
        let credentials = self.credentials()?;
        let config = self.tls_config(&credentials)?;
        let dial = Dial {
            address: self.options.parent.clone(),
            patience: self.options.patience,
            clock: Arc::clone(&self.clock),
        };
        let mut connection = dial.connect(config).await?;
        let mut hellos = 0;
        loop {
            hellos += 1;
            if hellos > HELLOS_MAX {
                let words = "the two ends cannot agree on what was sent; see the parent's log";
                return Err(Ended::Failed(words.to_owned()));
            }
            let start = self.hello(&mut connection).await?;
            if hellos == 1 {
                self.renew_if_ending(&mut connection, &credentials).await;
            }
            if self.send_all(&mut connection, start).await? {
                hellos = 0;
            }
        }
    }

    fn credentials(&self) -> Result<Credentials, Ended> {
        let found = joined(&self.options.data_dir).map_err(|error| Ended::Fatal(error.into()))?;
        let credentials = found.ok_or(Ended::Fatal(ClientError::NotJoined))?;
        let validity = credentials.chain.first().map(Validity::of).and_then(Result::ok);
        match validity.filter(|validity| validity.is_over(self.clock.now())) {
            Some(validity) => Err(Ended::Refused(format!(
                "this node's certificate ended at {} (or the clock, which says {}, is wrong): ask \
                 for a new token and run `headwater join TOKEN`",
                validity.ends,
                self.clock.now()
            ))),
            None => Ok(credentials),
        }
    }

    /// The TLS configuration, which remembers the session to resume: the same one for as long as
    /// the certificate is the same.
    fn tls_config(&mut self, credentials: &Credentials) -> Result<Arc<ClientConfig>, Ended> {
        if let Some((chain, config)) = &self.tls
            && *chain == credentials.chain
        {
            return Ok(Arc::clone(config));
        }
        let config = tls::child(credentials, Arc::clone(&self.clock));
        let config = Arc::new(config.map_err(|error| Ended::Fatal(error.into()))?);
        self.tls = Some((credentials.chain.clone(), Arc::clone(&config)));
        Ok(config)
    }

    async fn hello(&mut self, connection: &mut Connection) -> Result<Start, Ended> {
        let hello = Hello {
            versions: PROTOCOL_VERSIONS.to_vec(),
            node: self.spool.node_id(),
            name: self.options.node_name.clone(),
            epoch: self.spool.epoch(),
            map: self.options.map_digest.clone(),
            clock: self.clock.now(),
            patience_seconds: self.options.patience.as_secs(),
        };
        let welcome: Welcome = connection.ask(path::HELLO, &hello, "saying hello").await?;
        // Not all children in the same second.
        let again = self.options.hello_every.mul_f64(1.0 - rand::random::<f64>() / 4.0);
        self.hello_due = self.clock.monotonic().saturating_add(again);
        let log = self.log().await?;
        self.offered.clone_from(&log.offered);
        let start = session::start(&log, &hello, &welcome)?;
        match start.acknowledged {
            Acknowledged::Same => {}
            Acknowledged::Forward => self.spool.acknowledge(&self.link, start.cursor).await?,
            Acknowledged::Back => {
                tracing::warn!(
                    link = %self.link, from = %log.acknowledged, to = %start.cursor,
                    "the parent has forgotten what it had acknowledged (a restored backup?); sending it again"
                );
                self.spool.rewind(&self.link, start.cursor).await?;
            }
        }
        self.contact(None).await.map_err(Ended::Fatal)?;
        self.note_set_aside(welcome.set_aside).await?;
        self.hand_over(&welcome.wanted)?;
        Ok(start)
    }

    async fn log(&self) -> Result<Log, Ended> {
        let usage = self.spool.usage().await?;
        let link = self.spool.link(&self.link).await?;
        let link = link.ok_or_else(|| spool::Error::UnknownLink(self.link.clone()))?;
        let noted = self.spool.note(OFFERED).await?;
        Ok(Log {
            head: self.spool.head(),
            released: usage.released,
            acknowledged: link.acknowledged,
            offered: Offers::read(noted.as_deref().unwrap_or_default()),
        })
    }

    /// Writes down what is about to be offered, before its first byte leaves.
    async fn offer(&mut self, batch: &Batch) -> Result<(), Ended> {
        // A batch begins at what is acknowledged.
        if self.offered.add(&batch.key, batch.key.from) {
            self.spool.set_note(OFFERED, self.offered.bytes()).await?;
        }
        Ok(())
    }

    async fn note_set_aside(&mut self, set_aside: SetAside) -> Result<(), Ended> {
        if self.set_aside != Some(set_aside) {
            let noted = serde_json::to_vec(&set_aside)
                .map_err(|error| Ended::Failed(format!("cannot be noted: {error}")))?;
            self.spool.set_note(SET_ASIDE, noted).await?;
            self.set_aside = Some(set_aside);
        }
        Ok(())
    }

    /// Takes note of what a batch added to what is set aside. What it released is not known, so the
    /// sum is asked for soon.
    async fn add_set_aside(&mut self, more: SetAside) -> Result<(), Ended> {
        let mut sum = self.set_aside.unwrap_or_default();
        if sum.is_none() && more.is_none() {
            return Ok(());
        }
        sum.parked = sum.parked.saturating_add(more.parked);
        sum.quarantined = sum.quarantined.saturating_add(more.quarantined);
        let soon = self.clock.monotonic().saturating_add(ASK_SUM_AFTER);
        self.hello_due = self.hello_due.min(soon);
        self.note_set_aside(sum).await
    }

    fn hand_over(&self, wanted: &RowList) -> Result<(), Ended> {
        let rows = wanted
            .rows()
            .ok_or_else(|| Ended::Failed("the parent's list of rows cannot be read".to_owned()))?;
        if rows.is_empty() {
            return Ok(());
        }
        match self.wanted.try_send(rows) {
            Ok(()) => Ok(()),
            Err(mpsc::error::TrySendError::Full(rows)) => {
                // The database they are looked up in is away. What waits is not kept from going up;
                // the parent asks for these again.
                tracing::debug!(
                    rows = rows.len(),
                    "rows that the parent lacks are not looked up now"
                );
                Ok(())
            }
            // Whoever looks rows up has ended, so the node is stopping.
            Err(mpsc::error::TrySendError::Closed(_)) => Err(Ended::Stopped),
        }
    }

    /// Sends what there is, then waits for more, for as long as the connection lives. Returns when
    /// the two ends have to meet again, with whether that is as it should be: something got through,
    /// or it is time.
    async fn send_all(&mut self, connection: &mut Connection, start: Start) -> Result<bool, Ended> {
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
                Sent::Acknowledged { through, set_aside, wanted } => {
                    self.hand_over(&wanted)?;
                    self.spool.acknowledge(&self.link, through).await?;
                    self.add_set_aside(set_aside).await?;
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

    async fn cut(&self, cut: Cut) -> Result<Option<Batch>, Ended> {
        let room = Room {
            directory: self.options.data_dir.clone(),
            memory_bytes_max: self.options.memory_bytes_max,
        };
        let mut cutter = Cutter::new(cut, room.empty()).map_err(CutError::from)?;
        let mut place = Place { after: cut.from, part: 0 };
        let bytes_max = cut.raw_bytes_max.min(READ_BYTES);
        loop {
            let next = place.after.next();
            let segments = if place.part == 0 {
                self.spool.segments(place.after, bytes_max).await?
            } else {
                self.spool.segments_from(next, place.part, bytes_max).await?
            };
            let Some(last) = segments.last() else { break };
            place = Place::after(last);
            let taken;
            (cutter, taken) = take(cutter, segments).await?;
            if taken == Taken::Full || (place.part == 0 && place.after >= self.spool.head()) {
                break;
            }
        }
        let finished = tokio::task::spawn_blocking(move || cutter.finish()).await;
        let finished = finished.unwrap_or_else(|error| Err(std::io::Error::other(error)));
        Ok(finished.map_err(CutError::from)?)
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
                Next::Done { through, set_aside, wanted } => {
                    if !set_aside.is_none() {
                        let SetAside { parked, quarantined } = set_aside;
                        tracing::warn!(link = %self.link, parked, quarantined, batch = %batch.key, "the parent has set changes aside; see `headwater parked` and `quarantine` there");
                    }
                    return Ok(Sent::Acknowledged { through, set_aside, wanted });
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

    /// Has the certificate made out anew while the old one is still good. A failure is only
    /// noted: years of tries are left.
    async fn renew_if_ending(&self, connection: &mut Connection, current: &Credentials) {
        let now = self.clock.now();
        let ending = current.chain.first().map(Validity::of).and_then(Result::ok);
        if !ending.is_some_and(|validity| validity.is_ending(now, CERTIFICATE_LIFE)) {
            return;
        }
        let answer: Result<JoinAnswer, LinkError> =
            connection.ask(path::RENEW, &serde_json::json!({}), "renewing").await;
        let renewed = answer.map_err(|error| error.to_string()).and_then(|answer| {
            let certificate =
                BASE64.decode(&answer.certificate).map_err(|error| error.to_string())?;
            let certificate = CertificateDer::from(certificate);
            Validity::of(&certificate)?;
            let mut renewed = current.clone();
            if let Some(own) = renewed.chain.first_mut() {
                *own = certificate;
            }
            replace(&child_file(&self.options.data_dir), &renewed).map_err(|e| e.to_string())
        });
        match renewed {
            Ok(()) => tracing::info!(link = %self.link, "the certificate was renewed"),
            Err(error) => {
                tracing::warn!(link = %self.link, error, "the certificate could not be renewed");
            }
        }
    }
}

/// What became of a batch.
enum Sent {
    Acknowledged { through: Sequence, set_aside: SetAside, wanted: RowList },
    HelloAgain { progress: bool },
}

/// Where reading the spool goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    after: Sequence,
    part: u32,
}

impl Place {
    fn after(segment: &Segment) -> Place {
        if segment.complete {
            Place { after: segment.last, part: 0 }
        } else {
            let before = Sequence(segment.first.0.saturating_sub(1));
            Place { after: before, part: segment.part.saturating_add(1) }
        }
    }
}

/// Takes segments on a thread that may block: it decodes, compresses and writes.
async fn take(mut cutter: Cutter, segments: Vec<Segment>) -> Result<(Cutter, Taken), Ended> {
    let work = tokio::task::spawn_blocking(move || {
        let mut taken = Taken::More;
        for segment in &segments {
            taken = cutter.take(segment)?;
            if taken == Taken::Full {
                break;
            }
        }
        Ok((cutter, taken))
    });
    let taken: Result<_, CutError> =
        work.await.unwrap_or_else(|error| Err(std::io::Error::other(error).into()));
    Ok(taken?)
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
