//! A link that can be cut: a TCP proxy on 127.0.0.1 that counts what passes, and drops, delays,
//! slows, freezes or refuses at a word.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::edge;

/// What the link does to connections and bytes at the moment.
#[derive(Debug, Clone, PartialEq)]
pub struct Conditions {
    /// Where connections go.
    pub target: SocketAddr,
    /// The address from which they seem to come, one of 127.0.0.0/8.
    pub source: Option<Ipv4Addr>,
    /// Whether new connections are dropped as soon as they are made.
    pub refused: bool,
    /// Whether connections are held open and nothing passes.
    pub frozen: bool,
    /// Bytes per second and direction, shared by all connections.
    pub bytes_per_second: Option<u64>,
    /// How long each run of bytes is held back.
    pub delay: Duration,
}

/// A direction, seen from the one who dials.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From the one who dialled to the target.
    Up,
    /// From the target to the one who dialled.
    Down,
}

/// One direction's count, its armed cut, and when it is free again under a rate limit.
#[derive(Debug)]
struct Way {
    passed: AtomicU64,
    /// The count at which everything is cut; `u64::MAX` for never.
    cut_at: AtomicU64,
    /// How many bytes after a cut the next one comes; `u64::MAX` for never.
    cut_every: AtomicU64,
    busy_until: Mutex<Instant>,
}

impl Way {
    fn new() -> Way {
        Way {
            passed: AtomicU64::new(0),
            cut_at: AtomicU64::new(u64::MAX),
            cut_every: AtomicU64::new(u64::MAX),
            busy_until: Mutex::new(Instant::now()),
        }
    }

    /// The count at which to cut after a cut at this one.
    fn next_cut(&self, passed: u64) -> u64 {
        passed.saturating_add(self.cut_every.load(Ordering::SeqCst))
    }

    /// Takes the line for so many bytes; how long until they are through.
    fn reserve(&self, bytes: u64, bytes_per_second: u64) -> Duration {
        let mut busy = self.busy_until.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let takes = bytes.saturating_mul(1_000_000) / bytes_per_second.max(1);
        *busy = (*busy).max(now) + Duration::from_micros(takes);
        busy.saturating_duration_since(now)
    }
}

#[derive(Debug)]
struct Shared {
    conditions: watch::Sender<Conditions>,
    /// Counts up with every cut; connections from before are dropped.
    cuts: watch::Sender<u64>,
    /// The connections with lower numbers are forgotten.
    forgotten: AtomicU64,
    connections: AtomicU64,
    up: Way,
    down: Way,
}

impl Shared {
    fn way(&self, direction: Direction) -> &Way {
        match direction {
            Direction::Up => &self.up,
            Direction::Down => &self.down,
        }
    }

    fn cut(&self) {
        self.cuts.send_modify(|count| *count += 1);
    }
}

/// A proxy in front of a target, on a port of 127.0.0.1 that stays the same.
#[derive(Debug)]
pub struct Link {
    port: u16,
    shared: Arc<Shared>,
    listening: JoinHandle<()>,
}

impl Link {
    /// Listens on a free port, and passes everything on to `target`.
    pub async fn to(target: SocketAddr) -> Result<Link> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, edge::free_port()?))
            .await
            .context("cannot listen on 127.0.0.1")?;
        let port = listener.local_addr()?.port();
        let conditions = Conditions {
            target,
            source: None,
            refused: false,
            frozen: false,
            bytes_per_second: None,
            delay: Duration::ZERO,
        };
        let shared = Arc::new(Shared {
            conditions: watch::Sender::new(conditions),
            cuts: watch::Sender::new(0),
            forgotten: AtomicU64::new(0),
            connections: AtomicU64::new(0),
            up: Way::new(),
            down: Way::new(),
        });
        let listening = tokio::spawn(listen(listener, Arc::clone(&shared)));
        Ok(Link { port, shared, listening })
    }

    /// The same, to a port of 127.0.0.1.
    pub async fn to_port(port: u16) -> Result<Link> {
        Link::to(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)).await
    }

    /// The port on 127.0.0.1 to dial.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The address to dial.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), self.port)
    }

    /// Drops all connections, and lets new ones be made.
    pub fn cut(&self) {
        self.shared.cut();
    }

    /// Drops all connections when so many more bytes have passed in this direction: that many
    /// pass, not one more.
    pub fn cut_after(&self, direction: Direction, bytes: u64) {
        let way = self.shared.way(direction);
        way.cut_at.store(way.passed.load(Ordering::SeqCst) + bytes, Ordering::SeqCst);
    }

    /// The same each time that so many more bytes have passed; `None` for no more of it.
    pub fn cut_every(&self, direction: Direction, bytes: Option<u64>) {
        let way = self.shared.way(direction);
        way.cut_every.store(bytes.unwrap_or(u64::MAX), Ordering::SeqCst);
        way.cut_at.store(way.next_cut(way.passed.load(Ordering::SeqCst)), Ordering::SeqCst);
    }

    /// How often all connections were dropped since the link was made.
    pub fn cuts(&self) -> u64 {
        *self.shared.cuts.borrow()
    }

    /// Whether a cut was ordered by [`Link::cut_after`] and has not happened yet.
    pub fn cut_pending(&self, direction: Direction) -> bool {
        self.shared.way(direction).cut_at.load(Ordering::SeqCst) != u64::MAX
    }

    /// Drops all connections, and every new one until [`Link::allow`].
    pub fn refuse(&self) {
        self.change(|conditions| conditions.refused = true);
        self.shared.cut();
    }

    /// Lets connections be made again.
    pub fn allow(&self) {
        self.change(|conditions| conditions.refused = false);
    }

    /// Holds connections open and passes nothing, until [`Link::thaw`].
    pub fn freeze(&self) {
        self.change(|conditions| conditions.frozen = true);
    }

    /// Passes again what was held.
    pub fn thaw(&self) {
        self.change(|conditions| conditions.frozen = false);
    }

    /// Forgets the connections there are, as a firewall does: nothing passes on them any more, and
    /// neither end is told. New ones can be made.
    pub fn forget(&self) {
        self.shared.forgotten.store(self.connections(), Ordering::SeqCst);
    }

    /// Limits each direction to so many bytes per second; `None` for no limit.
    pub fn throttle(&self, bytes_per_second: Option<u64>) {
        self.change(|conditions| conditions.bytes_per_second = bytes_per_second);
    }

    /// Holds every run of bytes back for this long, in each direction.
    pub fn delay(&self, delay: Duration) {
        self.change(|conditions| conditions.delay = delay);
    }

    /// Sends new connections elsewhere; present ones are dropped.
    pub fn retarget(&self, target: SocketAddr) {
        self.change(|conditions| conditions.target = target);
        self.shared.cut();
    }

    /// Makes new connections come from this address, one of 127.0.0.0/8; present ones are dropped,
    /// as they are when a modem gets a new address.
    pub fn come_from(&self, source: Ipv4Addr) {
        self.change(|conditions| conditions.source = Some(source));
        self.shared.cut();
    }

    /// What the link does at the moment.
    pub fn conditions(&self) -> Conditions {
        self.shared.conditions.borrow().clone()
    }

    /// Bytes that have passed in this direction since the link was made.
    pub fn passed(&self, direction: Direction) -> u64 {
        self.shared.way(direction).passed.load(Ordering::SeqCst)
    }

    /// Connections that have been made through the link.
    pub fn connections(&self) -> u64 {
        self.shared.connections.load(Ordering::SeqCst)
    }

    fn change(&self, change: impl FnOnce(&mut Conditions)) {
        self.shared.conditions.send_modify(change);
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.listening.abort();
        self.shared.cut();
    }
}

async fn listen(listener: TcpListener, shared: Arc<Shared>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => drop(tokio::spawn(carry(stream, Arc::clone(&shared)))),
            // Out of file descriptors, most likely: connections that end will free some.
            Err(_) => edge::sleep(Duration::from_millis(50)).await,
        }
    }
}

/// Carries one connection until an end hangs up or the link is cut.
async fn carry(dialled: TcpStream, shared: Arc<Shared>) {
    // First, so that a cut that comes with other conditions is not missed.
    let mut cuts = shared.cuts.subscribe();
    let conditions = shared.conditions.borrow().clone();
    if conditions.refused {
        reset(&dialled);
        return;
    }
    let Ok(target) = dial(&conditions).await else {
        reset(&dialled);
        return;
    };
    let number = shared.connections.fetch_add(1, Ordering::SeqCst);
    drop(dialled.set_nodelay(true));
    drop(target.set_nodelay(true));
    let (mut dialled, mut target) = (dialled, target);
    let cut = {
        let (from_dialler, to_dialler) = dialled.split();
        let (from_target, to_target) = target.split();
        let both = async {
            tokio::join!(
                pump(from_dialler, to_target, &shared, number, Direction::Up),
                pump(from_target, to_dialler, &shared, number, Direction::Down),
            )
        };
        tokio::select! {
            _ = both => false,
            _ = cuts.changed() => true,
        }
    };
    if cut {
        reset(&dialled);
        reset(&target);
    }
}

/// A dropped line is no orderly end: both sides are to see a reset.
fn reset(stream: &TcpStream) {
    drop(stream.set_zero_linger());
}

async fn dial(conditions: &Conditions) -> Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    if let Some(source) = conditions.source {
        socket.bind(SocketAddr::new(IpAddr::V4(source), 0))?;
    }
    Ok(socket.connect(conditions.target).await?)
}

async fn pump(
    mut from: impl tokio::io::AsyncRead + Unpin,
    mut to: impl tokio::io::AsyncWrite + Unpin,
    shared: &Shared,
    number: u64,
    direction: Direction,
) {
    let way = shared.way(direction);
    let mut conditions = shared.conditions.subscribe();
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let now = conditions.borrow_and_update().clone();
        // Small runs under a limit, so that bytes trickle as they do on a thin line.
        let run = now.bytes_per_second.map_or(buffer.len(), |rate| {
            usize::try_from(rate / 20).unwrap_or(usize::MAX).clamp(1, buffer.len())
        });
        let Some(space) = buffer.get_mut(..run) else { return };
        let count = match from.read(space).await {
            Ok(0) | Err(_) if number < shared.forgotten.load(Ordering::SeqCst) => {
                std::future::pending().await
            }
            Ok(0) | Err(_) => break,
            Ok(count) => count,
        };
        if number < shared.forgotten.load(Ordering::SeqCst) {
            continue;
        }
        let now = conditions.borrow().clone();
        if let Some(rate) = now.bytes_per_second {
            edge::sleep(way.reserve(count as u64, rate)).await;
        }
        if !now.delay.is_zero() {
            edge::sleep(now.delay).await;
        }
        if conditions.wait_for(|conditions| !conditions.frozen).await.is_err() {
            return;
        }
        let before = way.passed.fetch_add(count as u64, Ordering::SeqCst);
        let cut_at = way.cut_at.load(Ordering::SeqCst);
        let allowed = usize::try_from(cut_at.saturating_sub(before)).unwrap_or(usize::MAX);
        let passing = allowed.min(count);
        let Some(bytes) = buffer.get(..passing) else { return };
        if to.write_all(bytes).await.is_err() || to.flush().await.is_err() {
            break;
        }
        if passing < count || allowed == count {
            let kept_back = (count - passing) as u64;
            let passed = way.passed.fetch_sub(kept_back, Ordering::SeqCst) - kept_back;
            // Here and now, because who is told of the cut dials anew at once.
            way.cut_at.store(way.next_cut(passed), Ordering::SeqCst);
            // What was passed is to arrive before the reset does, which would discard it.
            edge::sleep(Duration::from_millis(5)).await;
            shared.cut();
            std::future::pending::<()>().await;
        }
    }
    drop(to.shutdown().await);
}
