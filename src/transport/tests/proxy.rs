//! What lies between the two ends.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use crate::transport::dial::ParentAddress;

/// Between child and parent: cuts connections after so many bytes upwards, freezes them, and
/// comes to the parent from an address of choice.
pub(super) struct Proxy {
    pub(super) address: SocketAddr,
    /// Bytes upwards before a connection is cut; `u64::MAX` for never.
    pub(super) budget: Arc<AtomicU64>,
    pub(super) frozen: Arc<AtomicBool>,
    /// The last octet of the address it comes from.
    pub(super) from: Arc<AtomicU64>,
    pub(super) connections: Arc<AtomicU64>,
    pub(super) seen_from: Arc<Mutex<Vec<IpAddr>>>,
}

impl Proxy {
    pub(super) async fn start(to: SocketAddr) -> Proxy {
        Proxy::start_at(Ipv4Addr::LOCALHOST, to).await
    }

    /// At another address of this machine.
    pub(super) async fn start_at(at: Ipv4Addr, to: SocketAddr) -> Proxy {
        let listener = TcpListener::bind((at, 0)).await.unwrap();
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

    pub(super) fn url(&self) -> ParentAddress {
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
