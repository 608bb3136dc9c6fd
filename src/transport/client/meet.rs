//! What a child says and hears beside its batches: hello, what the parent lacks and has set aside,
//! and a certificate made out anew.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD as BASE64;
use rustls::pki_types::CertificateDer;
use tokio::sync::mpsc;

use super::{Client, Ended};
use crate::spool;
use crate::transport::SetAside;
use crate::transport::authority::CERTIFICATE_LIFE;
use crate::transport::batch::Batch;
use crate::transport::credentials::{Credentials, Validity, child_file, replace};
use crate::transport::dial::{Connection, LinkError};
use crate::transport::offers::{OFFERED, Offers};
use crate::transport::session::{self, Acknowledged, Log, Start};
use crate::transport::wire::{Hello, JoinAnswer, PROTOCOL_VERSIONS, RowList, Welcome, path};

/// The note under which the store remembers what the parent has set aside of this node's changes, as
/// JSON of [`SetAside`].
pub const SET_ASIDE: &str = "link.set_aside";
/// The note under which the store remembers the version of the parent's database server, as that prints
/// it.
pub const PARENT_DATABASE: &str = "link.parent_database";
/// A server's version is not longer than so many bytes.
const VERSION_BYTES_MAX: usize = 100;
/// After a batch of which something was set aside, or while something is, the sum is asked for so
/// soon.
const ASK_SUM_AFTER: Duration = Duration::from_mins(1);

impl Client {
    pub(super) async fn hello(&mut self, connection: &mut Connection) -> Result<Start, Ended> {
        let hello = Hello {
            versions: PROTOCOL_VERSIONS.to_vec(),
            node: self.spool.node_id(),
            name: self.options.node_name.clone(),
            epoch: self.spool.epoch(),
            map: self.options.map_digest.clone(),
            clock: self.clock.now(),
            patience_seconds: self.options.patience.as_secs(),
        };
        let welcome: Welcome = connection.ask(path::HELLO, &hello, "saying hello").await?;
        // Not all children in the same second.
        let again = self.options.hello_every.mul_f64(1.0 - rand::random::<f64>() / 4.0);
        self.hello_due = self.clock.monotonic().saturating_add(again);
        let log = self.log().await?;
        self.offered.clone_from(&log.offered);
        let start = session::start(&log, &hello, &welcome)?;
        match start.acknowledged {
            Acknowledged::Same => {}
            Acknowledged::Forward => self.spool.acknowledge(&self.link, start.cursor).await?,
            Acknowledged::Back => {
                tracing::warn!(
                    link = %self.link, from = %log.acknowledged, to = %start.cursor,
                    "the parent has forgotten what it had acknowledged (a restored backup?); sending it again"
                );
                self.spool.rewind(&self.link, start.cursor).await?;
            }
        }
        self.contact(None).await.map_err(Ended::Fatal)?;
        self.note_set_aside(welcome.set_aside).await?;
        self.note_parent_database(welcome.database.as_deref()).await?;
        self.hand_over(&welcome.wanted)?;
        Ok(start)
    }

    async fn log(&self) -> Result<Log, Ended> {
        let usage = self.spool.usage().await?;
        let link = self.spool.link(&self.link).await?;
        let link = link.ok_or_else(|| spool::Error::UnknownLink(self.link.clone()))?;
        let noted = self.spool.note(OFFERED).await?;
        Ok(Log {
            head: self.spool.head(),
            released: usage.released,
            acknowledged: link.acknowledged,
            offered: Offers::read(noted.as_deref().unwrap_or_default()),
        })
    }

    /// Writes down what is about to be offered, before its first byte leaves.
    pub(super) async fn offer(&mut self, batch: &Batch) -> Result<(), Ended> {
        // A batch begins at what is acknowledged.
        if self.offered.add(&batch.key, batch.key.from) {
            self.spool.set_note(OFFERED, self.offered.bytes()).await?;
        }
        Ok(())
    }

    async fn note_parent_database(&self, version: Option<&str>) -> Result<(), Ended> {
        let is_one = |version: &&str| {
            version.len() <= VERSION_BYTES_MAX && !version.contains(char::is_control)
        };
        let Some(version) = version.filter(is_one).map(str::as_bytes) else { return Ok(()) };
        if self.spool.note(PARENT_DATABASE).await?.as_deref() != Some(version) {
            self.spool.set_note(PARENT_DATABASE, version).await?;
        }
        Ok(())
    }

    async fn note_set_aside(&mut self, set_aside: SetAside) -> Result<(), Ended> {
        if self.set_aside != Some(set_aside) {
            let noted = serde_json::to_vec(&set_aside)
                .map_err(|error| Ended::Failed(format!("cannot be noted: {error}")))?;
            self.spool.set_note(SET_ASIDE, noted).await?;
            self.set_aside = Some(set_aside);
        }
        Ok(())
    }

    /// Takes note of what a batch added to what is set aside. Where the parent does not say what that
    /// makes in all, what it released is not known, so the sum is asked for soon.
    pub(super) async fn add_set_aside(
        &mut self,
        more: SetAside,
        in_all: Option<SetAside>,
    ) -> Result<(), Ended> {
        if let Some(in_all) = in_all {
            return self.note_set_aside(in_all).await;
        }
        let mut sum = self.set_aside.unwrap_or_default();
        if sum.is_none() && more.is_none() {
            return Ok(());
        }
        sum.parked = sum.parked.saturating_add(more.parked);
        sum.quarantined = sum.quarantined.saturating_add(more.quarantined);
        let soon = self.clock.monotonic().saturating_add(ASK_SUM_AFTER);
        self.hello_due = self.hello_due.min(soon);
        self.note_set_aside(sum).await
    }

    pub(super) fn hand_over(&self, wanted: &RowList) -> Result<(), Ended> {
        let rows = wanted
            .rows()
            .ok_or_else(|| Ended::Failed("the parent's list of rows cannot be read".to_owned()))?;
        if rows.is_empty() {
            return Ok(());
        }
        match self.wanted.try_send(rows) {
            Ok(()) => Ok(()),
            Err(mpsc::error::TrySendError::Full(rows)) => {
                // The database they are looked up in is away. What waits is not kept from going up;
                // the parent asks for these again.
                tracing::debug!(
                    rows = rows.len(),
                    "rows that the parent lacks are not looked up now"
                );
                Ok(())
            }
            // Whoever looks rows up has ended, so the node is stopping.
            Err(mpsc::error::TrySendError::Closed(_)) => Err(Ended::Stopped),
        }
    }

    /// Has the certificate made out anew while the old one is still good. A failure is only
    /// noted: years of tries are left.
    pub(super) async fn renew_if_ending(&self, connection: &mut Connection, current: &Credentials) {
        let now = self.clock.now();
        let ending = current.chain.first().map(Validity::of).and_then(Result::ok);
        if !ending.is_some_and(|validity| validity.is_ending(now, CERTIFICATE_LIFE)) {
            return;
        }
        let answer: Result<JoinAnswer, LinkError> =
            connection.ask(path::RENEW, &serde_json::json!({}), "renewing").await;
        let renewed = answer.map_err(|error| error.to_string()).and_then(|answer| {
            let certificate =
                BASE64.decode(&answer.certificate).map_err(|error| error.to_string())?;
            let certificate = CertificateDer::from(certificate);
            Validity::of(&certificate)?;
            let mut renewed = current.clone();
            if let Some(own) = renewed.chain.first_mut() {
                *own = certificate;
            }
            replace(&child_file(&self.options.data_dir), &renewed).map_err(|e| e.to_string())
        });
        match renewed {
            Ok(()) => tracing::info!(link = %self.link, "the certificate was renewed"),
            Err(error) => {
                tracing::warn!(link = %self.link, error, "the certificate could not be renewed");
            }
        }
    }
}
