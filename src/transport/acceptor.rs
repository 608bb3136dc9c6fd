//! TLS as a parent offers it to whoever connects. The parent is its own authority, so its certificate
//! is made out anew before it ends, also while the parent runs.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use rustls::pki_types::CertificateDer;
use tokio_rustls::TlsAcceptor;

use super::authority::{Authority, CERTIFICATE_LIFE};
use super::credentials::Validity;
use super::server::ServerError;
use super::tls;
use crate::clock::{SharedClock, Timestamp};

pub(super) struct Acceptor {
    authority: Arc<Authority>,
    data_dir: PathBuf,
    names: Vec<String>,
    clock: SharedClock,
    current: Mutex<Current>,
}

/// What is shown at present.
struct Current {
    certificate: Option<CertificateDer<'static>>,
    tls: TlsAcceptor,
}

impl Acceptor {
    /// Makes the server's certificate if there is none for these names.
    pub(super) fn new(
        authority: Arc<Authority>,
        data_dir: PathBuf,
        names: Vec<String>,
        clock: SharedClock,
    ) -> Result<Acceptor, ServerError> {
        let current = Current::made(&authority, &data_dir, &names, &clock)?;
        Ok(Acceptor { authority, data_dir, names, clock, current: Mutex::new(current) })
    }

    /// For the next connection. A certificate that cannot be made out anew is shown as it is: there
    /// are years left to mend that.
    pub(super) fn tls(&self) -> TlsAcceptor {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if current.is_ending(self.clock.now()) {
            match Current::made(&self.authority, &self.data_dir, &self.names, &self.clock) {
                Ok(renewed) => {
                    *current = renewed;
                    tracing::info!("the server's certificate was renewed");
                }
                Err(error) => tracing::warn!(%error, "the server's certificate stays as it is"),
            }
        }
        current.tls.clone()
    }
}

impl Current {
    fn made(
        authority: &Authority,
        data_dir: &std::path::Path,
        names: &[String],
        clock: &SharedClock,
    ) -> Result<Current, ServerError> {
        let credentials = authority.server(data_dir, names, clock.now())?;
        let config = tls::server(&credentials, authority.certificate(), Arc::clone(clock))?;
        let tls = TlsAcceptor::from(Arc::new(config));
        Ok(Current { certificate: credentials.chain.into_iter().next(), tls })
    }

    fn is_ending(&self, now: Timestamp) -> bool {
        let validity = self.certificate.as_ref().map(Validity::of).and_then(Result::ok);
        validity.is_none_or(|validity| validity.is_ending(now, CERTIFICATE_LIFE))
    }
}
