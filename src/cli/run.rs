//! `headwater run`: checks, then a node until SIGTERM or SIGINT.

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use super::{Error, Outcome};
use crate::clock::SystemClock;
use crate::config::Config;
use crate::doctor::{self, Check, Facts, Verdict};
use crate::node;
use crate::schema_map::MapFile;

pub(super) async fn run(config: Config) -> Result<Outcome, Error> {
    let stop = stop_on_signals()?;
    // Before the database is asked, which may be away: what is wrong with the files stays wrong.
    MapFile::load(&config.database.maps).map_err(|error| Error::Usage(error.to_string()))?;
    let facts = Facts::read(&config, &SystemClock::shared()).await;
    judge(&facts)?;
    node::run(config, stop).await.map_err(|error| ended(&error))?;
    Ok(Outcome::Well)
}

/// What stands in the files does not get better by trying again, as systemd does with the others.
fn ended(error: &node::Error) -> Error {
    match error {
        node::Error::Map(_) | node::Error::Address(_) | node::Error::NothingToDo => {
            Error::Usage(error.to_string())
        }
        node::Error::Spool(_)
        | node::Error::Database(_)
        | node::Error::Capture(_)
        | node::Error::Client(_)
        | node::Error::Server(_)
        | node::Error::Apply(_)
        | node::Error::Status(_)
        | node::Error::Ended(_) => Error::Failed(error.to_string()),
    }
}

/// Logs what is doubtful, and refuses to start with what is bad. A database that does not answer is
/// no reason: after a power cut headwater may well be there first.
fn judge(facts: &Facts) -> Result<(), Error> {
    let mut bad = Vec::new();
    for check in doctor::checks(facts) {
        match check.verdict {
            Verdict::Good => tracing::debug!("{}: {}", check.name, check.found),
            Verdict::Unknown => tracing::info!("{}: {}", check.name, check.found),
            // Many tables have a remark each; headwater map check lists them.
            Verdict::Doubtful if check.name == "schema map" => {
                tracing::info!("{}: {}", check.name, check.found);
            }
            Verdict::Doubtful => tracing::warn!("{}: {}", check.name, check.found),
            Verdict::Bad if facts.database.is_err() && check.name == "database" => {
                tracing::warn!("{}: {}", check.name, check.found);
            }
            // The store makes its folder; whether it can, it says itself. While its disk has too
            // little left capture pauses, and what waits can still be sent. A certificate that has
            // ended ends the link only: the log must be read before the server deletes it.
            Verdict::Bad if ["data_dir", "disk", "certificate"].contains(&check.name) => {
                tracing::warn!("{}", remark(&check));
            }
            Verdict::Bad => bad.push(check),
        }
    }
    if bad.is_empty() { Ok(()) } else { Err(Error::Failed(refusal(&bad))) }
}

/// What was found and, in one line, what mends it.
fn remark(check: &Check) -> String {
    let mend = check.mend.as_deref().unwrap_or_default().replace('\n', "; ");
    format!("{}: {}; mend: {mend}", check.name, check.found)
}

fn refusal(bad: &[Check]) -> String {
    let mut text = "does not start, because:".to_owned();
    for check in bad {
        text.push_str(&format!("\n  {}: {}", check.name, check.found));
        if let Some(mend) = &check.mend {
            text.push_str(&format!("\n    mend: {}", mend.replace('\n', "\n          ")));
        }
    }
    text.push_str("\n  headwater doctor says more");
    text
}

/// Turns true at the first SIGTERM or SIGINT; the second ends the process at once, which loses
/// nothing either.
fn stop_on_signals() -> Result<watch::Receiver<bool>, Error> {
    let failed = |error: std::io::Error| Error::Failed(format!("cannot wait for signals: {error}"));
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    let (stop, stopping) = watch::channel(false);
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            if *stop.borrow() {
                std::process::exit(130);
            }
            tracing::info!("asked to stop");
            stop.send_replace(true);
        }
    });
    Ok(stopping)
}
