//! The child's end of its link: dials, says hello, sends what the parent lacks, notes what is
//! acknowledged, and begins again after every failure, for ever.

mod cut;
mod ended;
mod meet;
mod options;
mod send;

use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use rustls::pki_types::CertificateDer;
use tokio::sync::{mpsc, watch};

use super::backoff::Backoff;
use super::credentials::{Credentials, Validity, joined};
use super::dial::Dial;
use super::offers::Offers;
use super::pace::Meter;
use super::tls;
use super::{SetAside, Wanted, stopped};
use crate::change::{NodeId, Sequence};
use crate::clock::{SharedClock, sleep};
use crate::spool::{self, Contact, Direction, Spool, State};
pub use ended::ClientError;
use ended::Ended;
pub use meet::{PARENT_DATABASE, SET_ASIDE};
pub use options::{ClientOptions, Schedule};

/// Hellos in a row without a piece getting through before the link backs off.
const HELLOS_MAX: u32 = 3;
/// A connection that lasted so long before it was closed was a good one: it is dialled anew soon.
const GOOD_CONNECTION: Duration = Duration::from_mins(1);

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

    /// Whatever is wrong with them, only the link waits for a person: what ends the process would end
    /// capture too, and the server's log does not wait.
    fn credentials(&self) -> Result<Credentials, Ended> {
        let found = joined(&self.options.data_dir);
        let found = found.map_err(|error| Ended::Refused(error.to_string()))?;
        let credentials =
            found.ok_or_else(|| Ended::Refused(ClientError::NotJoined.to_string()))?;
        let validity = credentials.chain.first().map(Validity::of).and_then(Result::ok);
        match validity.filter(|validity| validity.is_over(self.clock.now())) {
            Some(validity) => Err(Ended::Refused(format!(
                "this node's certificate ended at {} (or the clock, which says {}, is wrong): at the \
                 parent run `headwater revoke {name}` and `headwater invite {name}`, then stop \
                 headwater here and run `headwater join TOKEN`; what is captured waits",
                validity.ends,
                self.clock.now(),
                name = self.options.node_name,
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
        let config = Arc::new(config.map_err(|error| Ended::Refused(error.to_string()))?);
        self.tls = Some((credentials.chain.clone(), Arc::clone(&config)));
        Ok(config)
    }
}
