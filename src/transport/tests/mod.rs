//! Two ends of a link over real TLS on the loopback, with a target in memory, and a proxy between
//! them that cuts, freezes and moves.

mod batches;
mod links;
mod refusals;

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use super::batch::Batch;
use super::client::{self, ClientOptions};
use super::codec::Codec;
use super::content::Room;
use super::credentials::joined;
use super::cut::{Cut, Cutter};
use super::dial::{Connection, Dial, LinkError, ParentAddress};
use super::enrol;
use super::server::{Server, ServerOptions};
use super::tls;
use super::wire::{Hello, PROTOCOL_VERSIONS, PieceAnswer, PieceHeader, Welcome, path};
use super::{Applied, Peer, ReceivedBatch, SetAside, Target, TargetError, Wanted, Watermark};
use crate::change::{Change, Epoch, Identity, Kind, NodeId, Sequence, Shape};
use crate::cli::join::{JoinError, JoinOptions, join};
use crate::clock::{Clock, SharedClock, SystemClock, Timestamp};
use crate::record::{End, Record, SegmentReader, SegmentWriter};
use crate::spool::{Append, Limits, Segment, Spool};
use crate::value::Value;

const MAP: &str = "00ff";

/// The machine's clock, moved by hours.
struct MovedClock {
    inner: SharedClock,
    micros: AtomicI64,
}

impl Clock for MovedClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.inner.now().0 + self.micros.load(Ordering::SeqCst))
    }
    fn monotonic(&self) -> Duration {
        self.inner.monotonic()
    }
}

fn clock() -> Arc<MovedClock> {
    Arc::new(MovedClock { inner: SystemClock::shared(), micros: AtomicI64::new(0) })
}

fn shared(clock: &Arc<MovedClock>) -> SharedClock {
    Arc::<MovedClock>::clone(clock)
}

impl MovedClock {
    fn move_years(&self, years: i64) {
        self.micros.store(years * 365 * 86_400 * 1_000_000, Ordering::SeqCst);
    }
}

/// What a test sees of a parent's database.
#[derive(Default)]
struct Memory {
    watermarks: HashMap<(NodeId, Epoch), Watermark>,
    transactions: Vec<(Sequence, u64)>,
    applies: u64,
    fail_next: Option<TargetError>,
    wanted_next: Vec<Wanted>,
    /// What is still missing, and how often that was asked.
    missing: Vec<Wanted>,
    asked: u64,
    delay: Duration,
    set_aside: SetAside,
}

#[derive(Default)]
struct MemoryTarget(Mutex<Memory>);

impl MemoryTarget {
    fn transactions(&self) -> Vec<u64> {
        self.0.lock().unwrap().transactions.iter().map(|(sequence, _)| sequence.0).collect()
    }
    fn changes(&self) -> u64 {
        self.0.lock().unwrap().transactions.iter().map(|(_, changes)| changes).sum()
    }
    fn applies(&self) -> u64 {
        self.0.lock().unwrap().applies
    }
    /// As a restored backup has it.
    fn rewind(&self, to: u64) {
        self.with(|memory| {
            for watermark in memory.watermarks.values_mut() {
                *watermark = Watermark { sequence: Sequence(to), batch: None };
            }
            memory.transactions.retain(|(sequence, _)| sequence.0 <= to);
        });
    }
    fn with<R>(&self, work: impl FnOnce(&mut Memory) -> R) -> R {
        work(&mut self.0.lock().unwrap())
    }
}

impl Target for MemoryTarget {
    async fn watermark(&self, peer: &Peer) -> Result<Watermark, TargetError> {
        let watermarks = &self.0.lock().unwrap().watermarks;
        Ok(watermarks.get(&(peer.node, peer.epoch)).copied().unwrap_or_default())
    }

    async fn apply(&self, peer: &Peer, batch: ReceivedBatch) -> Result<Applied, TargetError> {
        let delay = self.with(|memory| memory.delay);
        crate::clock::sleep(delay).await;
        let watermark = self.watermark(peer).await?.sequence;
        let mut memory = self.0.lock().unwrap();
        memory.applies += 1;
        if let Some(error) = memory.fail_next.take() {
            return Err(error);
        }
        if batch.from > watermark {
            return Err(TargetError::Gap { from: batch.from, watermark });
        }
        for segment in batch.segments.segments() {
            let segment = segment.map_err(|error| TargetError::Refused(error.to_string()))?;
            let mut reader = SegmentReader::new(&segment);
            while let Some(record) = reader.read().unwrap() {
                if let Record::End(end) = record
                    && end.sequence > watermark
                {
                    memory.transactions.push((end.sequence, end.changes));
                }
            }
        }
        let through = batch.through.max(watermark);
        let mark = Watermark { sequence: through, batch: Some(batch.checksum) };
        memory.watermarks.insert((peer.node, peer.epoch), mark);
        let wanted = std::mem::take(&mut memory.wanted_next);
        let SetAside { parked, quarantined } = memory.set_aside;
        Ok(Applied { through, parked, quarantined, wanted })
    }

    async fn set_aside(&self, _peer: &Peer) -> Result<SetAside, TargetError> {
        Ok(self.with(|memory| memory.set_aside))
    }

    async fn wanted(&self, _peer: &Peer, most: usize) -> Result<Vec<Wanted>, TargetError> {
        self.with(|memory| {
            memory.asked += 1;
            Ok(memory.missing.iter().take(most).cloned().collect())
        })
    }
}

/// A transaction of one row with so many bytes of text that do not compress.
fn segment(sequence: u64, text_bytes: usize, origin: Option<NodeId>) -> Segment {
    let mut writer = SegmentWriter::new();
    let shape = Arc::new(Shape { table: "obs".into(), columns: vec!["comments".into()] });
    let mut random = sequence.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let text: String = (0..text_bytes)
        .map(|_| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            char::from(b'!' + (random % 90) as u8)
        })
        .collect();
    writer.begin(Sequence(sequence));
    writer.change(&Change {
        shape,
        kind: Kind::Insert,
        identity: Identity::One(Value::UInt(sequence)),
        previous: None,
        values: vec![Value::Text(text.into())],
        base: None,
    });
    writer.end(End {
        sequence: Sequence(sequence),
        changes: 1,
        committed_at: Timestamp(5),
        origin,
    });
    let raw = writer.finish();
    Segment {
        first: Sequence(sequence),
        last: Sequence(sequence),
        part: 0,
        complete: true,
        changes: 1,
        raw_bytes: raw.len() as u64,
        committed_at: Timestamp(5),
        compressed: lz4_flex::block::compress(&raw),
    }
}

/// Appends `count` transactions to a spool.
async fn capture(spool: &Spool, count: u64, text_bytes: usize) {
    let head = spool.head().0;
    let segments = (head + 1..=head + count).map(|n| segment(n, text_bytes, None)).collect();
    spool.append(Append { segments, ..Append::default() }).await.unwrap();
}

struct Parent {
    data_dir: tempfile::TempDir,
    spool: Spool,
    target: Arc<MemoryTarget>,
    clock: Arc<MovedClock>,
    address: SocketAddr,
    stop: watch::Sender<bool>,
    running: JoinHandle<Result<(), super::server::ServerError>>,
}

impl Parent {
    async fn start() -> Parent {
        let data_dir = tempfile::tempdir().unwrap();
        Parent::start_in(data_dir, Arc::default(), 0, |_| {}).await
    }

    async fn start_in(
        data_dir: tempfile::TempDir,
        target: Arc<MemoryTarget>,
        port: u16,
        tune: impl FnOnce(&mut ServerOptions),
    ) -> Parent {
        Parent::start_with(Limits::default(), data_dir, target, port, tune).await
    }

    async fn start_with(
        limits: Limits,
        data_dir: tempfile::TempDir,
        target: Arc<MemoryTarget>,
        port: u16,
        tune: impl FnOnce(&mut ServerOptions),
    ) -> Parent {
        let clock = clock();
        let shared = shared(&clock);
        let spool = Spool::open(data_dir.path(), Arc::clone(&shared), limits).unwrap();
        let address = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port);
        let mut options = ServerOptions::new(address, "parent", data_dir.path().to_owned());
        options.names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        options.map_digest = MAP.to_owned();
        options.answer_after = Duration::from_millis(200);
        tune(&mut options);
        let server =
            Server::bind(options, spool.clone(), Arc::clone(&target), shared).await.unwrap();
        let address = server.address();
        let (stop, stopping) = watch::channel(false);
        let running = tokio::spawn(server.run(stopping));
        Parent { data_dir, spool, target, clock, address, stop, running }
    }

    /// Ends the parent as a crash would, as far as its folder and its database are concerned.
    async fn stop(self) -> (tempfile::TempDir, Arc<MemoryTarget>, u16) {
        self.stop.send(true).unwrap();
        self.running.await.unwrap().unwrap();
        self.spool.close().await.unwrap();
        (self.data_dir, self.target, self.address.port())
    }

    fn invite(&self, name: &str) -> String {
        let life = enrol::INVITATION_LIFE;
        let now = self.clock.now();
        enrol::invite(self.data_dir.path(), "parent", name, life, now).unwrap().to_string()
    }

    fn revoke(&self, name: &str) {
        enrol::revoke(self.data_dir.path(), name, self.clock.now()).unwrap();
    }

    fn url(&self) -> ParentAddress {
        format!("https://{}", self.address).parse().unwrap()
    }
}

struct Child {
    data_dir: tempfile::TempDir,
    spool: Spool,
    clock: Arc<MovedClock>,
    parent: ParentAddress,
}

impl Child {
    fn new(parent: &Parent) -> Child {
        Child::open(tempfile::tempdir().unwrap(), parent)
    }

    /// Closes the store, so that its folder can be copied.
    async fn close(self) -> tempfile::TempDir {
        self.spool.close().await.unwrap();
        self.data_dir
    }

    fn open(data_dir: tempfile::TempDir, parent: &Parent) -> Child {
        let clock = clock();
        let spool = Spool::open(data_dir.path(), shared(&clock), Limits::default()).unwrap();
        Child { data_dir, spool, clock, parent: parent.url() }
    }

    /// Another machine, made from an image of the first.
    fn copy_of(data_dir: &tempfile::TempDir, parent: &Parent) -> Child {
        let copy = tempfile::tempdir().unwrap();
        let mut folders = vec![(data_dir.path().to_owned(), copy.path().to_owned())];
        while let Some((from, to)) = folders.pop() {
            std::fs::create_dir_all(&to).unwrap();
            for entry in std::fs::read_dir(from).unwrap() {
                let entry = entry.unwrap();
                let target = to.join(entry.file_name());
                if entry.file_type().unwrap().is_dir() {
                    folders.push((entry.path(), target));
                } else {
                    std::fs::copy(entry.path(), target).unwrap();
                }
            }
        }
        Child::open(copy, parent)
    }

    async fn joined(parent: &Parent, name: &str) -> Child {
        let child = Child::new(parent);
        let known_as = child.join(&parent.invite(name)).await.unwrap();
        assert_eq!(known_as, name);
        child
    }

    async fn join(&self, token: &str) -> Result<String, JoinError> {
        let options = JoinOptions {
            data_dir: self.data_dir.path().to_owned(),
            node_name: "as it calls itself".to_owned(),
            parent: self.parent.clone(),
            patience: Duration::from_secs(5),
        };
        join(&options, token, &self.spool, shared(&self.clock)).await
    }

    fn dial(&self) -> Dial {
        Dial {
            address: self.parent.clone(),
            patience: Duration::from_secs(5),
            clock: shared(&self.clock),
        }
    }

    async fn connect(&self) -> Result<Connection, LinkError> {
        let credentials = joined(self.data_dir.path()).unwrap().unwrap();
        let config = tls::child(&credentials, shared(&self.clock)).unwrap();
        self.dial().connect(Arc::new(config)).await
    }

    fn hello(&self) -> Hello {
        Hello {
            versions: PROTOCOL_VERSIONS.to_vec(),
            node: self.spool.node_id(),
            name: "x".to_owned(),
            epoch: self.spool.epoch(),
            map: MAP.to_owned(),
            clock: self.clock.now(),
            patience_seconds: 5,
        }
    }

    async fn greet(&self) -> Result<(Connection, Welcome), LinkError> {
        let mut connection = self.connect().await?;
        let welcome = connection.ask(path::HELLO, &self.hello(), "saying hello").await?;
        Ok((connection, welcome))
    }

    /// Cuts `(from, through]` from the spool.
    async fn batch(&self, from: u64, through: u64, codec: Codec) -> Batch {
        let room = Room { directory: self.data_dir.path().to_owned(), memory_bytes_max: 1 << 20 };
        let cut = Cut {
            from: Sequence(from),
            through: Some(Sequence(through)),
            raw_bytes_max: u64::MAX,
            codec,
            to: None,
        };
        let mut cutter = Cutter::new(cut, room.empty()).unwrap();
        for segment in self.spool.segments(Sequence(from), u64::MAX).await.unwrap() {
            cutter.take(&segment).unwrap();
        }
        cutter.finish().unwrap().unwrap()
    }

    fn options(&self) -> ClientOptions {
        let mut options =
            ClientOptions::new(self.parent.clone(), "child", self.data_dir.path().to_owned());
        options.map_digest = MAP.to_owned();
        options.patience = Duration::from_secs(5);
        options.backoff.first = Duration::from_millis(20);
        options.backoff.longest = Duration::from_millis(100);
        options.backoff.refused = Duration::from_millis(100);
        options
    }

    fn run(&self, options: ClientOptions) -> Running {
        let (wanted, wanted_rows) = mpsc::channel(4);
        let (stop, stopping) = watch::channel(false);
        let link = client::run(options, self.spool.clone(), shared(&self.clock), wanted, stopping);
        Running { task: tokio::spawn(link), stop, wanted_rows }
    }

    async fn last_error(&self) -> Option<String> {
        self.spool.links().await.unwrap().first().and_then(|link| link.last_error.clone())
    }

    async fn acknowledged(&self) -> u64 {
        self.spool.links().await.unwrap().first().map_or(0, |link| link.acknowledged.0)
    }
}

struct Running {
    task: JoinHandle<Result<(), client::ClientError>>,
    stop: watch::Sender<bool>,
    wanted_rows: mpsc::Receiver<Vec<Wanted>>,
}

impl Running {
    async fn stop(self) {
        self.stop.send(true).unwrap();
        self.task.await.unwrap().unwrap();
    }
}

/// Sends part of a batch.
async fn send(
    connection: &mut Connection,
    batch: &Batch,
    offset: u64,
    bytes: Vec<u8>,
) -> Result<PieceAnswer, LinkError> {
    let mut piece = postcard::to_stdvec(&PieceHeader { key: batch.key, offset }).unwrap();
    piece.extend_from_slice(&bytes);
    connection.post(path::PIECE, piece.into(), "sending").await
}

async fn send_whole(connection: &mut Connection, batch: &Batch) -> Result<PieceAnswer, LinkError> {
    let bytes = batch.content.read_at(0, usize::MAX).unwrap();
    send(connection, batch, 0, bytes).await
}

fn through(answer: Result<PieceAnswer, LinkError>) -> u64 {
    match answer {
        Ok(PieceAnswer::Applied { through, .. }) => through.0,
        other => panic!("not applied: {other:?}"),
    }
}

/// Waits for something that has to come true.
async fn eventually<F: Future<Output = bool>>(what: &str, mut is_so: impl FnMut() -> F) {
    for _ in 0..1500 {
        if is_so().await {
            return;
        }
        crate::clock::sleep(Duration::from_millis(20)).await;
    }
    panic!("did not come true within 30 seconds: {what}");
}

/// Between child and parent: cuts connections after so many bytes upwards, freezes them, and
/// comes to the parent from an address of choice.
struct Proxy {
    address: SocketAddr,
    /// Bytes upwards before a connection is cut; `u64::MAX` for never.
    budget: Arc<AtomicU64>,
    frozen: Arc<AtomicBool>,
    /// The last octet of the address it comes from.
    from: Arc<AtomicU64>,
    connections: Arc<AtomicU64>,
    seen_from: Arc<Mutex<Vec<IpAddr>>>,
}

impl Proxy {
    async fn start(to: SocketAddr) -> Proxy {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let proxy = Proxy {
            address: listener.local_addr().unwrap(),
            budget: Arc::new(AtomicU64::new(u64::MAX)),
            frozen: Arc::default(),
            from: Arc::new(AtomicU64::new(1)),
            connections: Arc::default(),
            seen_from: Arc::default(),
        };
        let (budget, frozen) = (Arc::clone(&proxy.budget), Arc::clone(&proxy.frozen));
        let (from, connections) = (Arc::clone(&proxy.from), Arc::clone(&proxy.connections));
        let seen_from = Arc::clone(&proxy.seen_from);
        tokio::spawn(async move {
            loop {
                let (child, _) = listener.accept().await.unwrap();
                connections.fetch_add(1, Ordering::SeqCst);
                let octet = u8::try_from(from.load(Ordering::SeqCst)).unwrap();
                let socket = TcpSocket::new_v4().unwrap();
                socket.bind(SocketAddr::from(([127, 0, 0, octet], 0))).unwrap();
                let Ok(parent) = socket.connect(to).await else { continue };
                seen_from.lock().unwrap().push(parent.local_addr().unwrap().ip());
                let (budget, frozen) = (budget.load(Ordering::SeqCst), Arc::clone(&frozen));
                tokio::spawn(carry(child, parent, budget, frozen));
            }
        });
        proxy
    }

    fn url(&self) -> ParentAddress {
        format!("https://{}", self.address).parse().unwrap()
    }
}

async fn carry(
    mut child: TcpStream,
    mut parent: TcpStream,
    mut budget: u64,
    frozen: Arc<AtomicBool>,
) {
    let (mut up, mut down) = (vec![0; 4096], vec![0; 4096]);
    while budget > 0 {
        while frozen.load(Ordering::SeqCst) {
            crate::clock::sleep(Duration::from_millis(20)).await;
        }
        let room = usize::try_from(budget).unwrap_or(usize::MAX).min(up.len());
        tokio::select! {
            read = child.read(&mut up[..room]) => match read {
                Ok(count) if count > 0 => {
                    budget = budget.saturating_sub(count as u64);
                    if parent.write_all(&up[..count]).await.is_err() { return; }
                }
                _ => return,
            },
            read = parent.read(&mut down) => match read {
                Ok(count) if count > 0 => {
                    if child.write_all(&down[..count]).await.is_err() { return; }
                }
                _ => return,
            },
        }
    }
}
