//! The parent's end of its links: listens, lets in who its authority has signed, and hands
//! requests to `routes.rs`.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::Duration;

use axum::Router;
use http::Request;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use rustls::pki_types::CertificateDer;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc, watch};

use super::acceptor::Acceptor;
use super::authority::Authority;
use super::content::Room;
use super::credentials::{CredentialError, Validity, key_fingerprint, public_key};
use super::newcomers::{Newcomer, Newcomers};
use super::peers::Peers;
use super::progress::{Counted, Progress};
use super::receive::{Inbox, Receiver};
use super::routes::{Caller, router};
use super::tls::TlsError;
use super::{Peer, Target, stopped};
use crate::change::{Epoch, NodeId};
use crate::clock::{SharedClock, sleep};
use crate::spool::{self, Spool};

const HEADER_BYTES_MAX: u32 = 16 * 1024;
const STREAMS_MAX: u32 = 8;
const WINDOW_BYTES: u32 = 2 * 1024 * 1024;
/// How long connections and running batches get to end when the node stops.
const STOP_WITHIN: Duration = Duration::from_secs(10);
/// How long a refused peer may take to read why.
const LINGER: Duration = Duration::from_secs(2);
/// After accept fails (no file descriptors, say) it is not tried again at once.
const ACCEPT_AGAIN: Duration = Duration::from_millis(200);

/// How a parent serves its children.
#[derive(Debug, Clone)]
pub struct ServerOptions {
    /// Where it listens.
    pub address: SocketAddr,
    /// The host names and addresses that children dial it under.
    pub names: Vec<String>,
    /// The node's name.
    pub node_name: String,
    /// The digest of its schema map, in hexadecimal ([`super::wire::hex`]).
    pub map_digest: String,
    /// The version of its database server, as that prints it, for its children's doctors.
    pub database: Option<String>,
    /// The node's folder.
    pub data_dir: PathBuf,
    /// Connections at a time; for a further one the oldest that has not said hello makes way. Default
    /// 1000.
    pub connections_max: usize,
    /// Of these, connections without a certificate, which can only ask to join. Default 64.
    pub strangers_max: usize,
    /// A connection on which no hello was accepted for so long is closed. Enough for a handshake at
    /// 1 kbit/s. Default 5 min.
    pub hello_within: Duration,
    /// A handshake or a request that does not move for so long is given up. Default 60 s.
    pub stall: Duration,
    /// A connection without a byte for so long is closed. Default 1 h.
    pub idle: Duration,
    /// A request waits so long for its batch to be applied, and at most for half the child's
    /// patience; then the child asks again. Default 8 s.
    pub answer_after: Duration,
    /// Received batches larger than this are kept in a file while they are applied. Default 4 MiB.
    pub memory_bytes_max: u64,
    /// The largest batch taken, in bytes as they arrive. Default 4 GiB.
    pub batch_bytes_max: u64,
}

impl ServerOptions {
    /// The defaults for what has one.
    pub fn new(address: SocketAddr, node_name: impl Into<String>, data_dir: PathBuf) -> Self {
        ServerOptions {
            address,
            names: Vec::new(),
            node_name: node_name.into(),
            map_digest: String::new(),
            database: None,
            data_dir,
            connections_max: 1000,
            strangers_max: 64,
            hello_within: Duration::from_mins(5),
            stall: Duration::from_mins(1),
            idle: Duration::from_hours(1),
            answer_after: Duration::from_secs(8),
            memory_bytes_max: 4 << 20,
            batch_bytes_max: 4 << 30,
        }
    }
}

/// Why a parent cannot serve.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {reason}; check [listen] address")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        reason: std::io::Error,
    },
    /// The keys and certificates cannot be used.
    #[error(transparent)]
    Credentials(#[from] CredentialError),
    /// TLS cannot be set up.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The store failed, and the node has to end.
    #[error(transparent)]
    Store(spool::Error),
}

/// What all requests share.
pub(super) struct Shared<T> {
    pub(super) options: ServerOptions,
    pub(super) receiver: Arc<Receiver<T>>,
    pub(super) peers: Peers,
    pub(super) authority: Arc<Authority>,
    pub(super) failure: OnceLock<spool::Error>,
    pub(super) failed: Notify,
    pub(super) joining: tokio::sync::Mutex<()>,
    links: Mutex<HashMap<(NodeId, Epoch), Arc<ChildLink>>>,
}

/// A child that has been heard of since the start.
#[derive(Default)]
pub(super) struct ChildLink {
    pub(super) inbox: Arc<Inbox>,
    connection: Mutex<Weak<Notify>>,
}

impl ChildLink {
    /// Closes the connection that the child had before: it dials again only when that is dead.
    pub(super) fn newest_is(&self, connection: &Arc<Notify>) {
        let mut known = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(older) = known.upgrade()
            && !Arc::ptr_eq(&older, connection)
        {
            older.notify_one();
        }
        *known = Arc::downgrade(connection);
    }
}

impl<T> Shared<T> {
    /// What is known of a child. Only children that were let in come here, so it stays small. A
    /// machine that took another's name starts anew.
    pub(super) fn inbox(&self, peer: &Peer) -> Arc<ChildLink> {
        let mut links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(links.entry((peer.node, peer.epoch)).or_default())
    }
}

/// A parent that listens.
pub struct Server<T> {
    shared: Arc<Shared<T>>,
    listener: TcpListener,
    acceptor: Acceptor,
    applying: mpsc::Receiver<()>,
}

impl<T: Target> Server<T> {
    /// Makes what certificates are missing, and listens.
    pub async fn bind(
        options: ServerOptions,
        spool: Spool,
        target: Arc<T>,
        clock: SharedClock,
    ) -> Result<Server<T>, ServerError> {
        let now = clock.now();
        let authority = Arc::new(Authority::open(&options.data_dir, &options.node_name, now)?);
        let acceptor = Acceptor::new(
            Arc::clone(&authority),
            options.data_dir.clone(),
            options.names.clone(),
            Arc::clone(&clock),
        )?;
        let address = options.address;
        let listener = TcpListener::bind(address)
            .await
            .map_err(|reason| ServerError::Listen { address, reason })?;
        let (held, applying) = mpsc::channel(1);
        let receiver = Arc::new(Receiver {
            spool: spool.clone(),
            target,
            clock: Arc::clone(&clock),
            room: Room {
                directory: options.data_dir.clone(),
                memory_bytes_max: options.memory_bytes_max,
            },
            batch_bytes_max: options.batch_bytes_max,
            answer_after: options.answer_after,
            applying: held,
        });
        let shared = Arc::new(Shared {
            peers: Peers::new(spool, clock),
            options,
            receiver,
            authority,
            failure: OnceLock::new(),
            failed: Notify::new(),
            joining: tokio::sync::Mutex::new(()),
            links: Mutex::default(),
        });
        Ok(Server { shared, listener, acceptor, applying })
    }

    /// Where it listens, with the port that was really taken.
    pub fn address(&self) -> SocketAddr {
        self.listener.local_addr().unwrap_or(self.shared.options.address)
    }

    /// Serves until `stop` says true, then lets running batches end. Returns an error only if the
    /// store failed, which has to end the node.
    pub async fn run(self, mut stop: watch::Receiver<bool>) -> Result<(), ServerError> {
        let Server { shared, listener, acceptor, mut applying } = self;
        let router = router(Arc::clone(&shared));
        let doors = Arc::new(Doors {
            acceptor,
            router,
            permits: Arc::new(Semaphore::new(shared.options.connections_max.max(1))),
            newcomers: Newcomers::default(),
            strangers: Newcomers::default(),
            strangers_max: shared.options.strangers_max,
            stall: shared.options.stall,
            idle: shared.options.idle,
            hello_within: shared.options.hello_within,
            clock: Arc::clone(&shared.receiver.clock),
        });
        let mut connections = tokio::task::JoinSet::new();
        loop {
            // Not broken off by a connection that ends: one that was accepted would be lost.
            let mut accepting = std::pin::pin!(doors.accept(&listener));
            let accepted = loop {
                tokio::select! {
                    accepted = accepting.as_mut() => break Some(accepted),
                    () = stopped(&mut stop) => break None,
                    () = shared.failed.notified() => break None,
                    Some(_ended) = connections.join_next() => {}
                }
            };
            let Some(accepted) = accepted else { break };
            match accepted {
                Ok((stream, from, permit)) => {
                    let doors = Arc::clone(&doors);
                    connections.spawn(doors.serve(stream, from, permit, stop.clone()));
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    sleep(ACCEPT_AGAIN).await;
                }
            }
        }
        drop((listener, doors));
        let failure = shared.failure.get().cloned();
        let ended = async {
            while connections.join_next().await.is_some() {}
            drop(connections);
            drop(shared);
            // Ends when no task applies any more, because each holds a sender.
            while applying.recv().await.is_some() {}
        };
        tokio::select! {
            () = ended => {}
            () = sleep(STOP_WITHIN) => tracing::warn!("some links did not end in time"),
        }
        failure.map_or(Ok(()), |error| Err(ServerError::Store(error)))
    }
}

/// How connections get from TCP to requests, and how many of them.
struct Doors {
    acceptor: Acceptor,
    router: Router,
    permits: Arc<Semaphore>,
    newcomers: Newcomers,
    strangers: Newcomers,
    strangers_max: usize,
    stall: Duration,
    idle: Duration,
    hello_within: Duration,
    clock: SharedClock,
}

impl Doors {
    async fn accept(
        &self,
        listener: &TcpListener,
    ) -> std::io::Result<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
        let (stream, from) = listener.accept().await?;
        stream.set_nodelay(true)?;
        if self.permits.available_permits() == 0 {
            self.newcomers.make_way();
        }
        let permit = Arc::clone(&self.permits).acquire_owned();
        let permit = permit.await.map_err(std::io::Error::other)?;
        Ok((stream, from, permit))
    }

    async fn serve(
        self: Arc<Self>,
        stream: TcpStream,
        from: SocketAddr,
        _permit: OwnedSemaphorePermit,
        stop: watch::Receiver<bool>,
    ) {
        let newcomer = Arc::new(Newcomer::default());
        self.newcomers.enter(&newcomer, usize::MAX);
        tokio::select! {
            () = self.talk(stream, from, &newcomer, stop) => {}
            () = newcomer.has_to_leave(self.hello_within) => {
                tracing::debug!(%from, "a connection without a hello was closed");
            }
        }
    }

    async fn talk(
        &self,
        stream: TcpStream,
        from: SocketAddr,
        newcomer: &Arc<Newcomer>,
        mut stop: watch::Receiver<bool>,
    ) {
        let progress = Progress::default();
        let stream = Counted::new(stream, progress.clone());
        let handshake = self.acceptor.tls().accept(stream).into_fallible();
        let stream = match progress.watch(&*self.clock, self.stall, handshake).await {
            Ok(Ok(stream)) => stream,
            Ok(Err((error, stream))) => {
                tracing::info!(%from, %error, "a connection was refused");
                linger(stream).await;
                return;
            }
            Err(_stalled) => {
                tracing::debug!(%from, "a handshake did not go on");
                return;
            }
        };
        let shown = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
        if shown.is_none() {
            self.strangers.enter(newcomer, self.strangers_max);
        }
        let Ok(caller) = caller(shown, newcomer) else { return };
        let superseded = Arc::clone(&caller.superseded);
        let service = Requests { router: self.router.clone(), caller: Arc::new(caller) };
        let builder = http(self.stall);
        let connection =
            builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(service));
        let mut connection = std::pin::pin!(connection);
        let over = progress.watch(&*self.clock, self.idle, std::future::pending::<()>());
        let result = tokio::select! {
            result = connection.as_mut() => result,
            _idle = over => Ok(()),
            () = superseded.notified() => Ok(()),
            () = stopped(&mut stop) => {
                connection.as_mut().graceful_shutdown();
                tokio::select! {
                    result = connection.as_mut() => result,
                    () = sleep(STOP_WITHIN / 2) => Ok(()),
                }
            }
        };
        if let Err(error) = result {
            tracing::debug!(%from, %error, "a connection ended");
        }
    }
}

/// Lets the peer read why it was refused. A peer that has begun to send by then would find the
/// connection reset, and the reason lost with it, if its bytes were left unread.
async fn linger(mut stream: impl AsyncRead + AsyncWrite + Unpin) {
    let drained = async {
        if stream.shutdown().await.is_ok() {
            let mut dropped = [0; 4096];
            while stream.read(&mut dropped).await.is_ok_and(|count| count > 0) {}
        }
    };
    tokio::select! {
        () = drained => {}
        () = sleep(LINGER) => {}
    }
}

fn http(stall: Duration) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(stall).max_buf_size(64 * 1024);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES)
        .max_header_list_size(HEADER_BYTES_MAX);
    builder
}

fn caller(shown: Option<&CertificateDer<'_>>, newcomer: &Arc<Newcomer>) -> Result<Caller, String> {
    // TLS has verified the certificate; if it still cannot be read here, nobody is let in.
    let certificate = shown.map(|shown| Validity::of(shown).map(|_| shown)).transpose()?;
    Ok(Caller {
        key: certificate.map(key_fingerprint).transpose()?,
        public_key: certificate.map(public_key).transpose()?.unwrap_or_default(),
        newcomer: Arc::clone(newcomer),
        patience_seconds: AtomicU64::new(0),
        superseded: Arc::new(Notify::new()),
    })
}

/// Tells each request which connection it came by.
#[derive(Clone)]
struct Requests {
    router: Router,
    caller: Arc<Caller>,
}

impl tower_service::Service<Request<Incoming>> for Requests {
    type Response = axum::response::Response;
    type Error = std::convert::Infallible;
    type Future = axum::routing::future::RouteFuture<std::convert::Infallible>;

    fn poll_ready(
        &mut self,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Result<(), Self::Error>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<Incoming>) -> Self::Future {
        request.extensions_mut().insert(Arc::clone(&self.caller));
        tower_service::Service::call(&mut self.router, request)
    }
}
