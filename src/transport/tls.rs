//! TLS 1.3 at both ends: the parent's server, a child that has joined, and a child that joins and
//! knows no more of the parent than the fingerprint in its token.

use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::{ServerSessionMemoryCache, WebPkiClientVerifier};
use rustls::time_provider::TimeProvider;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, ServerConfig,
    SignatureScheme,
};

use super::credentials::Credentials;
use super::token::sha256;
use crate::clock::SharedClock;

/// A record can be read only when all of it has come: a cut loses at most this much of a piece.
/// It costs 22 bytes each.
const CHILD_RECORD_BYTES: usize = 4096;
/// Sessions kept for resumption; a child resumes one.
const SESSIONS: usize = 4096;
const SERVER_ALPN: [&[u8]; 2] = [b"h2", b"http/1.1"];
const CHILD_ALPN: &[u8] = b"h2";

/// A configuration of TLS that cannot be used.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the keys and certificates in data_dir/tls cannot be used: {0}")]
pub struct TlsError(String);

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn wrong(error: impl std::fmt::Display) -> TlsError {
    TlsError(error.to_string())
}

/// The node's clock, as rustls asks for it.
struct NodeTime(SharedClock);

impl std::fmt::Debug for NodeTime {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("NodeTime")
    }
}

impl TimeProvider for NodeTime {
    fn current_time(&self) -> Option<UnixTime> {
        let now = self.0.now().since(crate::clock::Timestamp(0));
        Some(UnixTime::since_unix_epoch(now))
    }
}

/// The server's side. A child's certificate is verified where one is shown; which requests need
/// one is decided per request, because a child that joins has none yet.
pub fn server(
    credentials: &Credentials,
    authority: &CertificateDer<'static>,
    clock: SharedClock,
) -> Result<ServerConfig, TlsError> {
    let verifier = WebPkiClientVerifier::builder_with_provider(roots(authority)?, provider())
        .allow_unauthenticated()
        .clear_root_hint_subjects()
        .build()
        .map_err(wrong)?;
    let key = PrivateKeyDer::Pkcs8(credentials.key.clone_key());
    let mut config = ServerConfig::builder_with_details(provider(), Arc::new(NodeTime(clock)))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(wrong)?
        .with_client_cert_verifier(verifier)
        .with_single_cert(credentials.chain.clone(), key)
        .map_err(wrong)?;
    config.alpn_protocols = SERVER_ALPN.map(<[u8]>::to_vec).to_vec();
    config.session_storage = ServerSessionMemoryCache::new(SESSIONS);
    config.send_tls13_tickets = 1;
    Ok(config)
}

/// The side of a child that has joined: shows its certificate, and trusts its parent's authority
/// only.
pub fn child(credentials: &Credentials, clock: SharedClock) -> Result<ClientConfig, TlsError> {
    let authority = credentials.chain.last().ok_or_else(|| wrong("no certificate"))?;
    let certificate = credentials.chain.first().ok_or_else(|| wrong("no certificate"))?;
    let key = PrivateKeyDer::Pkcs8(credentials.key.clone_key());
    let mut config = ClientConfig::builder_with_details(provider(), Arc::new(NodeTime(clock)))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(wrong)?
        .with_root_certificates(roots(authority)?)
        .with_client_auth_cert(vec![certificate.clone()], key)
        .map_err(wrong)?;
    config.max_fragment_size = Some(CHILD_RECORD_BYTES);
    config.alpn_protocols = vec![CHILD_ALPN.to_vec()];
    Ok(config)
}

/// The side of a child that joins.
pub fn joining(fingerprint: [u8; 32], clock: SharedClock) -> Result<ClientConfig, TlsError> {
    let verifier = Arc::new(Pinned { fingerprint, provider: provider() });
    let mut config = ClientConfig::builder_with_details(provider(), Arc::new(NodeTime(clock)))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(wrong)?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    config.alpn_protocols = vec![CHILD_ALPN.to_vec()];
    Ok(config)
}

fn roots(authority: &CertificateDer<'static>) -> Result<Arc<RootCertStore>, TlsError> {
    let mut roots = RootCertStore::empty();
    roots.add(authority.clone()).map_err(wrong)?;
    Ok(Arc::new(roots))
}

/// Trusts the authority with this fingerprint, which the server has to send along, and verifies
/// everything else as usual.
#[derive(Debug)]
struct Pinned {
    fingerprint: [u8; 32],
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let authority = intermediates
            .iter()
            .find(|certificate| sha256(certificate) == self.fingerprint)
            .ok_or(CertificateError::UnknownIssuer)?;
        let roots = roots(&authority.clone().into_owned())
            .map_err(|_error| CertificateError::BadEncoding)?;
        let verifier = WebPkiServerVerifier::builder_with_provider(roots, provider())
            .build()
            .map_err(|_error| CertificateError::BadEncoding)?;
        verifier.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::PeerIncompatible::ServerDoesNotSupportTls12Or13.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
