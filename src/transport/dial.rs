//! A child's connection to its parent: TCP, TLS 1.3, HTTP/2, kept for as long as it lives. Every
//! wait on it has a deadline on progress.

use std::error::Error;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode, Uri};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::ServerName;
use rustls::{AlertDescription, CertificateError, ClientConfig, HandshakeKind};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_rustls::TlsConnector;

use super::progress::{Counted, Progress, Stalled};
use super::wire::{Code, JSON_BYTES_MAX, Refusal};
use crate::clock::SharedClock;

const DEFAULT_PORT: u16 = 443;
/// The other end can use a frame only when all of it has come: a cut loses at most this much.
const FRAME_BYTES: usize = 4096;
const WINDOW_BYTES: u32 = 2 * 1024 * 1024;

/// Why talking to the parent failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// The parent could not be reached.
    #[error("{address} cannot be reached: {reason}")]
    Unreachable {
        /// Host and port.
        address: String,
        /// What the system said.
        reason: String,
    },
    /// Nothing moved for too long.
    #[error("nothing came through for {} seconds while {doing}", patience.as_secs())]
    Stalled {
        /// What was waited for.
        doing: &'static str,
        /// For how long.
        patience: Duration,
    },
    /// The connection ended.
    #[error("the connection broke while {doing}: {reason}")]
    Broken {
        /// What was under way.
        doing: &'static str,
        /// What was found.
        reason: String,
    },
    /// One end does not accept the other's certificate; a person has to mend it.
    #[error("{0}")]
    Distrust(String),
    /// What came back is not from a headwater parent.
    #[error("the answer cannot be understood ({0}): is this address a headwater parent?")]
    Nonsense(String),
    /// The parent turned the request down.
    #[error("the parent refuses: {}", .0.message)]
    Refused(Refusal),
}

/// Where a parent is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParentAddress {
    /// A DNS name or an address.
    pub host: String,
    /// The port.
    pub port: u16,
}

impl std::fmt::Display for ParentAddress {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.host.contains(':') {
            write!(out, "[{}]:{}", self.host, self.port)
        } else {
            write!(out, "{}:{}", self.host, self.port)
        }
    }
}

impl std::str::FromStr for ParentAddress {
    type Err = String;

    /// Reads `https://HOST[:PORT]`.
    fn from_str(url: &str) -> Result<ParentAddress, String> {
        let wrong = |what: &str| format!("`{url}` is not a parent's address: {what}");
        let uri: Uri = url.parse().map_err(|_error| wrong("write https://HOST:PORT"))?;
        if uri.scheme_str() != Some("https") {
            return Err(wrong("it has to begin with https://"));
        }
        if uri.path_and_query().is_some_and(|path| path.as_str() != "/") {
            return Err(wrong("nothing may follow the port"));
        }
        let host = uri.host().ok_or_else(|| wrong("the host is missing"))?;
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        ServerName::try_from(host.clone()).map_err(|_error| wrong("the host is not a name"))?;
        Ok(ParentAddress { host, port: uri.port_u16().unwrap_or(DEFAULT_PORT) })
    }
}

/// How a parent is dialled.
#[derive(Clone)]
pub struct Dial {
    /// Where it is.
    pub address: ParentAddress,
    /// How long a silence is endured.
    pub patience: Duration,
    /// The clock.
    pub clock: SharedClock,
}

/// A connection to the parent.
pub struct Connection {
    dial: Dial,
    sender: SendRequest<Chunks>,
    distrust: Distrust,
    progress: Progress,
    resumed: bool,
    ended: watch::Receiver<()>,
}

impl Dial {
    /// Connects and shakes hands.
    pub async fn connect(&self, config: Arc<ClientConfig>) -> Result<Connection, LinkError> {
        let progress = Progress::default();
        let address = self.address.to_string();
        let name = ServerName::try_from(self.address.host.clone())
            .map_err(|error| LinkError::Distrust(error.to_string()))?;
        let stalled = |doing| move |Stalled| LinkError::Stalled { doing, patience: self.patience };
        let dialling = TcpStream::connect((self.address.host.as_str(), self.address.port));
        let stream = progress
            .watch(&*self.clock, self.patience, dialling)
            .await
            .map_err(stalled("dialling"))?
            .map_err(|error| LinkError::Unreachable { address, reason: error.to_string() })?;
        stream.set_nodelay(true).map_err(|error| broken("dialling", &error))?;
        let stream = Counted::new(stream, progress.clone());
        let handshake = TlsConnector::from(config).connect(name, stream);
        let stream = progress
            .watch(&*self.clock, self.patience, handshake)
            .await
            .map_err(stalled("shaking hands"))?
            .map_err(|error| self.failed("shaking hands", &error))?;
        let resumed = stream.get_ref().1.handshake_kind() == Some(HandshakeKind::Resumed);
        let distrust = Distrust::default();
        let stream = Listening { inner: stream, distrust: distrust.clone() };
        let (sender, connection) = http2::Builder::new(TokioExecutor::new())
            .initial_stream_window_size(WINDOW_BYTES)
            .initial_connection_window_size(WINDOW_BYTES)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|error| self.failed("shaking hands", &error))?;
        let (end, ended) = watch::channel(());
        tokio::spawn(async move {
            // Whoever waits for an answer is told the same.
            if let Err(error) = connection.await {
                tracing::debug!(%error, "the connection to the parent ended");
            }
            drop(end);
        });
        Ok(Connection { dial: self.clone(), sender, distrust, progress, resumed, ended })
    }

    /// Sorts an error of the connection: certificates are for people, the rest mends itself.
    fn failed(&self, doing: &'static str, error: &(dyn Error + 'static)) -> LinkError {
        match tls_cause(error).and_then(|cause| self.distrust(cause)) {
            Some(words) => LinkError::Distrust(words),
            None => broken(doing, error),
        }
    }

    fn distrust(&self, cause: &rustls::Error) -> Option<String> {
        let host = &self.address.host;
        // Not our own enums: what they gain later is reported as a broken connection.
        #[expect(clippy::wildcard_enum_match_arm, reason = "rustls' enums are open-ended")]
        match cause {
            rustls::Error::AlertReceived(alert) => match alert {
                AlertDescription::CertificateExpired => Some(
                    "the parent says that this node's certificate has expired (or its clock is \
                     wrong): there run `headwater revoke NAME` and `headwater invite NAME`, then \
                     stop headwater here and run `headwater join TOKEN`"
                        .to_owned(),
                ),
                AlertDescription::UnknownCA
                | AlertDescription::BadCertificate
                | AlertDescription::CertificateUnknown
                | AlertDescription::DecryptError => Some(
                    "the parent does not accept this node's certificate, it is of another \
                     authority: ask this parent for a token and run `headwater join TOKEN`"
                        .to_owned(),
                ),
                _ => None,
            },
            rustls::Error::InvalidCertificate(reason) => Some(match reason {
                CertificateError::NotValidForName
                | CertificateError::NotValidForNameContext { .. } => format!(
                    "the parent's certificate is not made out for `{host}`: add it to `names` under \
                     [listen] at the parent and start it again"
                ),
                CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                    "the parent's certificate has expired: start the parent again, which renews it; \
                     if it has not, this machine's clock is wrong"
                        .to_owned()
                }
                CertificateError::UnknownIssuer | CertificateError::BadSignature => format!(
                    "the server at `{host}` is not the parent of the token or of this node's \
                     certificate"
                ),
                other => format!("the certificate of `{host}` is not valid: {other}"),
            }),
            _ => None,
        }
    }
}

fn broken(doing: &'static str, error: &(dyn Error + 'static)) -> LinkError {
    // The cause at the bottom says most: "connection reset", not "error sending request".
    let mut deepest = error;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    LinkError::Broken { doing, reason: deepest.to_string() }
}

/// The TLS error behind an error, however deep.
fn tls_cause<'e>(error: &'e (dyn Error + 'static)) -> Option<&'e rustls::Error> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<rustls::Error>() {
            return Some(found);
        }
        let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        if let Some(found) = inner.and_then(|inner| tls_cause(inner)) {
            return Some(found);
        }
        next = error.source();
    }
    None
}

impl Connection {
    /// Whether requests can no longer be sent.
    pub fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }

    /// Returns when the connection has ended, as far as that can be seen from here.
    pub fn closed(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut ended = self.ended.clone();
        async move { while ended.changed().await.is_ok() {} }
    }

    /// Whether an earlier session was resumed, which saves the certificates.
    pub fn is_resumed(&self) -> bool {
        self.resumed
    }

    /// Sends JSON and reads JSON.
    pub async fn ask<R: DeserializeOwned>(
        &mut self,
        path: &'static str,
        request: &impl Serialize,
        doing: &'static str,
    ) -> Result<R, LinkError> {
        let body = serde_json::to_vec(request).map_err(|error| broken(doing, &error))?;
        self.post(path, body.into(), doing).await
    }

    /// Sends bytes and reads JSON.
    pub async fn post<R: DeserializeOwned>(
        &mut self,
        path: &'static str,
        body: Bytes,
        doing: &'static str,
    ) -> Result<R, LinkError> {
        let (clock, patience) = (Arc::clone(&self.dial.clock), self.dial.patience);
        let progress = self.progress.clone();
        let (status, body) = progress
            .watch(&*clock, patience, self.exchange(path, body, doing))
            .await
            .map_err(|Stalled| LinkError::Stalled { doing, patience })??;
        if status.is_success() {
            serde_json::from_slice(&body).map_err(|error| LinkError::Nonsense(error.to_string()))
        } else {
            match serde_json::from_slice::<Refusal>(&body) {
                Ok(refusal) => Err(LinkError::Refused(refusal)),
                Err(_) => Err(LinkError::Nonsense(format!("HTTP status {status}"))),
            }
        }
    }

    async fn exchange(
        &mut self,
        path: &'static str,
        body: Bytes,
        doing: &'static str,
    ) -> Result<(StatusCode, Bytes), LinkError> {
        let uri = format!("https://{}{path}", self.dial.address);
        let request = Request::post(uri)
            .body(Chunks(body))
            .map_err(|error| LinkError::Distrust(error.to_string()))?;
        let (dial, distrust) = (self.dial.clone(), self.distrust.clone());
        // HTTP/2 forgets what TLS found; the connection itself remembers it.
        let failed = |error: &(dyn Error + 'static)| match distrust.0.get() {
            Some(cause) => dial.failed(doing, cause),
            None => dial.failed(doing, error),
        };
        self.sender.ready().await.map_err(|error| failed(&error))?;
        let response = self.sender.send_request(request).await.map_err(|error| failed(&error))?;
        let status = response.status();
        let body = http_body_util::Limited::new(response.into_body(), JSON_BYTES_MAX)
            .collect()
            .await
            .map_err(|error| failed(&*error))?;
        Ok((status, body.to_bytes()))
    }
}

/// What TLS found wrong on a connection, if anything.
#[derive(Debug, Clone, Default)]
struct Distrust(Arc<OnceLock<rustls::Error>>);

/// A TLS connection that remembers why it ended: in TLS 1.3 the other end judges our certificate
/// only after the handshake has ended here.
struct Listening<S> {
    inner: S,
    distrust: Distrust,
}

impl<S: AsyncRead + Unpin> AsyncRead for Listening<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        task: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.inner).poll_read(task, buffer);
        if let Poll::Ready(Err(error)) = &polled
            && let Some(cause) = tls_cause(error)
        {
            let _first = self.distrust.0.set(cause.clone());
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Listening<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        task: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(task, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(task)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(task)
    }
}

/// A request's body in small frames.
struct Chunks(Bytes);

impl Body for Chunks {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let left = self.0.len().min(FRAME_BYTES);
        let frame = self.0.split_to(left);
        Poll::Ready((!frame.is_empty()).then(|| Ok(Frame::data(frame))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0.len() as u64)
    }
}

impl LinkError {
    /// Whether a person has to mend something before asking again makes sense.
    pub fn needs_a_person(&self) -> bool {
        match self {
            LinkError::Unreachable { .. }
            | LinkError::Stalled { .. }
            | LinkError::Broken { .. }
            | LinkError::Nonsense(_) => false,
            LinkError::Distrust(_) => true,
            LinkError::Refused(refusal) => !refusal.code.is_passing(),
        }
    }

    /// The code with which the parent refused.
    pub fn code(&self) -> Option<Code> {
        match self {
            LinkError::Refused(refusal) => Some(refusal.code),
            LinkError::Unreachable { .. }
            | LinkError::Stalled { .. }
            | LinkError::Broken { .. }
            | LinkError::Nonsense(_)
            | LinkError::Distrust(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parents_address_is_read_or_refused_with_words() {
        let read = |url: &str| url.parse::<ParentAddress>().map(|found| found.to_string());
        assert_eq!(read("https://parent.example.org:8443").unwrap(), "parent.example.org:8443");
        assert_eq!(read("https://parent.example.org/").unwrap(), "parent.example.org:443");
        assert_eq!(read("https://[::1]:9").unwrap(), "[::1]:9");
        assert_eq!(read("https://10.0.0.1:9").unwrap(), "10.0.0.1:9");
        for wrong in
            ["http://x:1", "parent:8443", "https://", "https://x:1/path", "", "https://a b"]
        {
            assert!(read(wrong).unwrap_err().contains("is not a parent's address"), "{wrong}");
        }
    }
}
