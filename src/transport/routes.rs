//! What a parent answers to each request. Nothing is written before the child has proved who it is.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Extension, State};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use bytes::BytesMut;
use http::StatusCode;
use http_body_util::BodyExt;
use serde::de::DeserializeOwned;
use tokio::sync::Notify;

use super::enrol::Enrolment;
use super::newcomers::Newcomer;
use super::peers::PeerError;
use super::receive::store_refusal;
use super::server::Shared;
use super::wire::{
    Code, Hello, JSON_BYTES_MAX, JoinRequest, PIECE_BYTES_MAX, PIECE_HEADER_BYTES_MAX,
    PROTOCOL_VERSIONS, PieceAnswer, PieceHeader, Refusal, Welcome, path,
};
use super::{Peer, Target};
use crate::clock::sleep;
use crate::spool::{self, Contact, Next};

/// Clocks further apart than this are worth a word in the log.
const CLOCK_SKEW_MAX: Duration = Duration::from_mins(5);

/// One connection, as its requests see it.
pub(super) struct Caller {
    /// SHA-256 of the public key that the child's certificate proved.
    pub(super) key: Option<[u8; 32]>,
    /// The key itself (`SubjectPublicKeyInfo`, DER).
    pub(super) public_key: Vec<u8>,
    /// Whether a hello was accepted on this connection.
    pub(super) newcomer: Arc<Newcomer>,
    /// After how many seconds of silence the child gives up, as its hello said.
    pub(super) patience_seconds: AtomicU64,
    /// Ends the connection, because its child has a newer one.
    pub(super) superseded: Arc<Notify>,
}

type Shares<T> = State<Arc<Shared<T>>>;
type From = Extension<Arc<Caller>>;

/// All requests that a parent answers.
pub(super) fn router<T: Target>(shared: Arc<Shared<T>>) -> Router {
    Router::new()
        .route(path::JOIN, post(join::<T>))
        .route(path::RENEW, post(renew::<T>))
        .route(path::HELLO, post(hello::<T>))
        .route(path::PIECE, post(piece::<T>))
        .fallback(|| async { refuse(Code::NotFound, "there is nothing at this address") })
        .method_not_allowed_fallback(|| async {
            refuse(Code::NotFound, "only POST is answered at this address")
        })
        .with_state(shared)
}

fn refuse(code: Code, message: impl Into<String>) -> Refusal {
    Refusal { code, message: message.into(), expected: None }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = match self.code {
            Code::UnknownChild => StatusCode::UNAUTHORIZED,
            Code::Revoked | Code::Expired | Code::Epoch | Code::Map | Code::Invitation => {
                StatusCode::FORBIDDEN
            }
            Code::Protocol => StatusCode::UPGRADE_REQUIRED,
            Code::HelloFirst | Code::Gap | Code::Offset => StatusCode::CONFLICT,
            Code::Checksum | Code::Batch => StatusCode::UNPROCESSABLE_ENTITY,
            Code::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Code::Malformed | Code::Unknown => StatusCode::BAD_REQUEST,
            Code::NotFound => StatusCode::NOT_FOUND,
            Code::Busy => StatusCode::SERVICE_UNAVAILABLE,
            Code::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        };
        (status, Json(self)).into_response()
    }
}

impl<T: Target> Shared<T> {
    async fn peer(&self, caller: &Caller) -> Result<Peer, Refusal> {
        self.peers.find(caller.key).await.map_err(|error| match error {
            PeerError::Refused(refusal) => refusal,
            PeerError::Store(error) => self.store_failed(&error),
        })
    }

    /// A failure of the store that only a restart mends ends the server.
    fn store_failed(&self, error: &spool::Error) -> Refusal {
        if error.next() == Next::Stop {
            let _first = self.failure.set(error.clone());
            self.failed.notify_one();
        }
        store_refusal(error)
    }

    fn enrolment(&self) -> Enrolment<'_> {
        Enrolment {
            spool: &self.receiver.spool,
            authority: &self.authority,
            node_name: &self.options.node_name,
            now: self.receiver.clock.now(),
        }
    }

    /// Reads a body, as long as it moves; what came before it stopped is returned with the reason.
    async fn body(&self, mut body: Body, bytes_max: usize) -> (BytesMut, Result<(), Refusal>) {
        let mut read = BytesMut::new();
        loop {
            let frame = tokio::select! {
                frame = body.frame() => frame,
                () = sleep(self.options.stall) => {
                    return (read, Err(refuse(Code::Busy, "the request stopped in the middle")));
                }
            };
            match frame {
                None => return (read, Ok(())),
                Some(Err(error)) => {
                    let words = format!("the request broke off: {error}");
                    return (read, Err(refuse(Code::Malformed, words)));
                }
                Some(Ok(frame)) => {
                    let Ok(bytes) = frame.into_data() else { continue };
                    if read.len() + bytes.len() > bytes_max {
                        let words = format!("a request may have at most {bytes_max} bytes");
                        return (BytesMut::new(), Err(refuse(Code::TooLarge, words)));
                    }
                    read.extend_from_slice(&bytes);
                }
            }
        }
    }

    async fn json<R: DeserializeOwned>(&self, body: Body) -> Result<R, Refusal> {
        let (bytes, whole) = self.body(body, JSON_BYTES_MAX).await;
        whole?;
        serde_json::from_slice(&bytes).map_err(|error| {
            refuse(Code::Malformed, format!("the request cannot be read: {error}"))
        })
    }

    fn check_hello(&self, peer: &Peer, hello: &Hello) -> Result<u16, Refusal> {
        let offered = |version: &&u16| hello.versions.contains(version);
        let version = PROTOCOL_VERSIONS.iter().filter(offered).max().copied().ok_or_else(|| {
            let words = format!(
                "the two headwaters speak different versions ({:?} and {PROTOCOL_VERSIONS:?}): \
                 update the older one",
                hello.versions
            );
            refuse(Code::Protocol, words)
        })?;
        if hello.node != peer.node {
            return Err(refuse(
                Code::UnknownChild,
                format!(
                    "the certificate belongs to node {}, not to {}: data_dir/tls was copied from \
                 another machine; join with a token of its own",
                    peer.node, hello.node
                ),
            ));
        }
        if hello.epoch != peer.epoch {
            return Err(refuse(
                Code::Epoch,
                format!(
                    "`{}` joined with epoch {}, but its store has epoch {}: the store was made anew or \
                 restored, or this is a copy of the machine; at the parent run `headwater revoke \
                 {0}` and `headwater invite {0}`, then join again",
                    peer.name, peer.epoch, hello.epoch
                ),
            ));
        }
        if hello.map != self.options.map_digest {
            return Err(refuse(
                Code::Map,
                format!(
                    "the schema maps differ (digest {} at the child, {} at the parent): put the same \
                 map files on both and start both again",
                    hello.map, self.options.map_digest
                ),
            ));
        }
        Ok(version)
    }

    async fn welcome(&self, caller: &Caller, hello: Hello) -> Result<Welcome, Refusal> {
        let peer = self.peer(caller).await?;
        if let Err(refusal) = self.check_hello(&peer, &hello) {
            let error = Some(refusal.message.clone());
            self.contact(&peer, error).await;
            return Err(refusal);
        }
        let now = self.receiver.clock.now();
        let skew = now.since(hello.clock).max(hello.clock.since(now));
        if skew > CLOCK_SKEW_MAX {
            tracing::warn!(link = %peer.name, seconds = skew.as_secs(), "the child's clock differs");
        }
        let link = self.inbox(&peer);
        link.newest_is(&caller.superseded);
        let standing = self.receiver.standing(&link.inbox, &peer).await?;
        self.contact(&peer, None).await;
        caller.patience_seconds.store(hello.patience_seconds, Ordering::Relaxed);
        caller.newcomer.greet();
        Ok(Welcome {
            version: self.check_hello(&peer, &hello)?,
            node: self.receiver.spool.node_id(),
            name: self.options.node_name.clone(),
            epoch: self.receiver.spool.epoch(),
            map: self.options.map_digest.clone(),
            clock: now,
            database: self.options.database.clone(),
            watermark: standing.watermark.sequence,
            batch: standing.watermark.batch,
            set_aside: standing.set_aside,
            unfinished: standing.unfinished,
            wanted: standing.wanted,
        })
    }

    async fn contact(&self, peer: &Peer, error: Option<String>) {
        let at = Some(self.receiver.clock.now());
        let contact = Contact { at, received: None, error };
        if let Err(error) = self.receiver.spool.contact(&peer.name, contact).await {
            self.store_failed(&error);
        }
    }
}

async fn join<T: Target>(State(shared): Shares<T>, request: Body) -> Result<Response, Refusal> {
    let request: JoinRequest = shared.json(request).await?;
    // One after the other: whether a node is in already is looked up before it is let in.
    let _one_at_a_time = shared.joining.lock().await;
    let answer = shared.enrolment().join(&request).await?;
    shared.peers.forget();
    Ok(Json(answer).into_response())
}

async fn renew<T: Target>(
    State(shared): Shares<T>,
    Extension(caller): From,
) -> Result<Response, Refusal> {
    let peer = shared.peer(&caller).await?;
    Ok(Json(shared.enrolment().renew(&peer, &caller.public_key)?).into_response())
}

async fn hello<T: Target>(
    State(shared): Shares<T>,
    Extension(caller): From,
    request: Body,
) -> Result<Response, Refusal> {
    let hello: Hello = shared.json(request).await?;
    Ok(Json(shared.welcome(&caller, hello).await?).into_response())
}

async fn piece<T: Target>(
    State(shared): Shares<T>,
    Extension(caller): From,
    request: Body,
) -> Result<Response, Refusal> {
    let peer = shared.peer(&caller).await?;
    if !caller.newcomer.is_greeted() {
        return Err(refuse(
            Code::HelloFirst,
            "the first request of a connection has to be a hello",
        ));
    }
    let patience = Duration::from_secs(caller.patience_seconds.load(Ordering::Relaxed));
    let limit = PIECE_BYTES_MAX + PIECE_HEADER_BYTES_MAX;
    let (read, whole) = shared.body(request, limit).await;
    let parsed = PieceHeader::split(&read.freeze());
    let answer = match (parsed, whole) {
        (Ok((header, bytes)), Ok(())) => {
            shared
                .receiver
                .piece(&shared.inbox(&peer).inbox, &peer, patience, header, bytes)
                .await?
        }
        (Ok((header, bytes)), Err(refusal)) => {
            // What came before the link broke off need not come again. Nobody hears the answer.
            if !bytes.is_empty() {
                let inbox = &shared.inbox(&peer).inbox;
                let _unheard = shared.receiver.piece(inbox, &peer, patience, header, bytes).await;
            }
            return Err(refusal);
        }
        (Err(_), Err(refusal)) | (Err(refusal), Ok(())) => return Err(refusal),
    };
    let status = match answer {
        PieceAnswer::Applying => StatusCode::ACCEPTED,
        PieceAnswer::Held { .. } | PieceAnswer::Applied { .. } => StatusCode::OK,
    };
    Ok((status, Json(answer)).into_response())
}
