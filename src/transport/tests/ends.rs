//! A parent and its children, each in a folder of its own.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use super::MAP;
use super::clock::{MovedClock, clock, shared};
use super::memory::MemoryTarget;
use crate::change::Sequence;
use crate::cli::join::{JoinError, JoinOptions, join};
use crate::clock::Clock;
use crate::spool::{Limits, Spool};
use crate::transport::Wanted;
use crate::transport::batch::Batch;
use crate::transport::client::{self, ClientOptions};
use crate::transport::codec::Codec;
use crate::transport::content::Room;
use crate::transport::credentials::joined;
use crate::transport::cut::{Cut, Cutter};
use crate::transport::dial::{Connection, Dial, LinkError, ParentAddress};
use crate::transport::enrol;
use crate::transport::server::{Server, ServerOptions};
use crate::transport::tls;
use crate::transport::wire::{Hello, PROTOCOL_VERSIONS, Welcome, path};

pub(super) struct Parent {
    pub(super) data_dir: tempfile::TempDir,
    pub(super) spool: Spool,
    pub(super) target: Arc<MemoryTarget>,
    pub(super) clock: Arc<MovedClock>,
    pub(super) address: SocketAddr,
    pub(super) stop: watch::Sender<bool>,
    pub(super) running: JoinHandle<Result<(), crate::transport::server::ServerError>>,
}

impl Parent {
    pub(super) async fn start() -> Parent {
        let data_dir = tempfile::tempdir().unwrap();
        Parent::start_in(data_dir, Arc::default(), 0, |_| {}).await
    }

    pub(super) async fn start_in(
        data_dir: tempfile::TempDir,
        target: Arc<MemoryTarget>,
        port: u16,
        tune: impl FnOnce(&mut ServerOptions),
    ) -> Parent {
        Parent::start_with(Limits::default(), data_dir, target, port, tune).await
    }

    pub(super) async fn start_with(
        limits: Limits,
        data_dir: tempfile::TempDir,
        target: Arc<MemoryTarget>,
        port: u16,
        tune: impl FnOnce(&mut ServerOptions),
    ) -> Parent {
        let clock = clock();
        let shared = shared(&clock);
        let spool = Spool::open(data_dir.path(), Arc::clone(&shared), limits).unwrap();
        // One that nobody else takes while the parent is down, whose children know it by that.
        let port = if port == 0 { headwater_rig::edge::free_port().unwrap() } else { port };
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
    pub(super) async fn stop(self) -> (tempfile::TempDir, Arc<MemoryTarget>, u16) {
        self.stop.send(true).unwrap();
        self.running.await.unwrap().unwrap();
        self.spool.close().await.unwrap();
        (self.data_dir, self.target, self.address.port())
    }

    pub(super) fn invite(&self, name: &str) -> String {
        let life = enrol::INVITATION_LIFE;
        let now = self.clock.now();
        enrol::invite(self.data_dir.path(), "parent", name, life, now).unwrap().to_string()
    }

    pub(super) fn revoke(&self, name: &str) {
        enrol::revoke(self.data_dir.path(), name, self.clock.now()).unwrap();
    }

    pub(super) fn url(&self) -> ParentAddress {
        format!("https://{}", self.address).parse().unwrap()
    }
}

pub(super) struct Child {
    pub(super) data_dir: tempfile::TempDir,
    pub(super) spool: Spool,
    pub(super) clock: Arc<MovedClock>,
    pub(super) parent: ParentAddress,
}

impl Child {
    pub(super) fn new(parent: &Parent) -> Child {
        Child::open(tempfile::tempdir().unwrap(), parent)
    }

    /// Closes the store, so that its folder can be copied.
    pub(super) async fn close(self) -> tempfile::TempDir {
        self.spool.close().await.unwrap();
        self.data_dir
    }

    pub(super) fn open(data_dir: tempfile::TempDir, parent: &Parent) -> Child {
        let clock = clock();
        let spool = Spool::open(data_dir.path(), shared(&clock), Limits::default()).unwrap();
        Child { data_dir, spool, clock, parent: parent.url() }
    }

    /// Another machine, made from an image of the first.
    pub(super) fn copy_of(data_dir: &tempfile::TempDir, parent: &Parent) -> Child {
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

    pub(super) async fn joined(parent: &Parent, name: &str) -> Child {
        let child = Child::new(parent);
        let known_as = child.join(&parent.invite(name)).await.unwrap();
        assert_eq!(known_as, name);
        child
    }

    pub(super) async fn join(&self, token: &str) -> Result<String, JoinError> {
        let options = JoinOptions {
            data_dir: self.data_dir.path().to_owned(),
            node_name: "as it calls itself".to_owned(),
            parent: self.parent.clone(),
            patience: Duration::from_secs(5),
        };
        join(&options, token, &self.spool, shared(&self.clock)).await
    }

    pub(super) fn dial(&self) -> Dial {
        Dial {
            address: self.parent.clone(),
            patience: Duration::from_secs(5),
            clock: shared(&self.clock),
        }
    }

    pub(super) async fn connect(&self) -> Result<Connection, LinkError> {
        let credentials = joined(self.data_dir.path()).unwrap().unwrap();
        let config = tls::child(&credentials, shared(&self.clock)).unwrap();
        self.dial().connect(Arc::new(config)).await
    }

    pub(super) fn hello(&self) -> Hello {
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

    pub(super) async fn greet(&self) -> Result<(Connection, Welcome), LinkError> {
        let mut connection = self.connect().await?;
        let welcome = connection.ask(path::HELLO, &self.hello(), "saying hello").await?;
        Ok((connection, welcome))
    }

    /// Cuts `(from, through]` from the spool.
    pub(super) async fn batch(&self, from: u64, through: u64, codec: Codec) -> Batch {
        let room = Room { directory: self.data_dir.path().to_owned(), memory_bytes_max: 1 << 20 };
        let cut = Cut {
            from: Sequence(from),
            through: Some(Sequence(through)),
            raw_bytes_max: u64::MAX,
            codec,
            to: None,
        };
        let mut cutter = Cutter::new(cut, room.empty()).unwrap();
        cutter.take_all(&self.spool.segments(Sequence(from), u64::MAX).await.unwrap()).unwrap();
        cutter.finish().unwrap().unwrap()
    }

    pub(super) fn options(&self) -> ClientOptions {
        let mut options =
            ClientOptions::new(self.parent.clone(), "child", self.data_dir.path().to_owned());
        options.map_digest = MAP.to_owned();
        options.patience = Duration::from_secs(5);
        options.backoff.first = Duration::from_millis(20);
        options.backoff.longest = Duration::from_millis(100);
        options.backoff.refused = Duration::from_millis(100);
        options
    }

    pub(super) fn run(&self, options: ClientOptions) -> Running {
        let (wanted, wanted_rows) = mpsc::channel(4);
        let (stop, stopping) = watch::channel(false);
        let link = client::run(options, self.spool.clone(), shared(&self.clock), wanted, stopping);
        Running { task: tokio::spawn(link), stop, wanted_rows }
    }

    pub(super) async fn last_error(&self) -> Option<String> {
        self.spool.links().await.unwrap().first().and_then(|link| link.last_error.clone())
    }

    pub(super) async fn acknowledged(&self) -> u64 {
        self.spool.links().await.unwrap().first().map_or(0, |link| link.acknowledged.0)
    }
}

pub(super) struct Running {
    pub(super) task: JoinHandle<Result<(), client::ClientError>>,
    pub(super) stop: watch::Sender<bool>,
    pub(super) wanted_rows: mpsc::Receiver<Vec<Wanted>>,
}

impl Running {
    pub(super) async fn stop(self) {
        self.stop.send(true).unwrap();
        self.task.await.unwrap().unwrap();
    }
}
