//! `headwater invite`, `join` and `revoke`, as the command line runs them.

use super::{Error, Outcome, Output, join};
use crate::clock::SystemClock;
use crate::config::{Config, Parent};
use crate::spool::{self, Spool};
use crate::transport::dial::LinkError;
use crate::transport::enrol::{self, EnrolError};
use join::{JoinError, JoinOptions};

/// The last line printed is the token, and nothing else.
pub(super) fn invite(config: &Config, name: &str, out: &mut Output) -> Result<Outcome, Error> {
    let listen = config.listen.as_ref().ok_or_else(|| {
        Error::Usage("only a parent invites: the configuration has no [listen]".to_owned())
    })?;
    let now = SystemClock::shared().now();
    let life = listen.token_expiry;
    let token = enrol::invite(&config.node.data_dir, &config.node.name, name, life, now)
        .map_err(|error| enrolled(&error))?;
    let place = listen.names.first().map_or("this node", String::as_str);
    let port = listen.address.port();
    out.line(format!("{name} may join until {}, once:", now.after(life)))?;
    out.line(format!(
        "at {name}: set [parent] url = \"https://{place}:{port}\", then headwater join TOKEN"
    ))?;
    out.line(token)?;
    Ok(Outcome::Well)
}

pub(super) fn revoke(config: &Config, name: &str, out: &mut Output) -> Result<Outcome, Error> {
    let now = SystemClock::shared().now();
    enrol::revoke(&config.node.data_dir, name, now).map_err(|error| enrolled(&error))?;
    out.line(format!("{name} is not let in any more"))?;
    Ok(Outcome::Well)
}

fn enrolled(error: &EnrolError) -> Error {
    match error {
        EnrolError::Name(_) | EnrolError::Parent(_) | EnrolError::Unknown(_) => {
            Error::Usage(error.to_string())
        }
        EnrolError::InUse(_) | EnrolError::Credentials(_) | EnrolError::Store(_) => {
            Error::Failed(error.to_string())
        }
    }
}

pub(super) async fn join(config: &Config, token: &str, out: &mut Output) -> Result<Outcome, Error> {
    let parent = config.parent.as_ref().ok_or_else(|| {
        Error::Usage("only a child joins: the configuration has no [parent]".to_owned())
    })?;
    let options = options(config, parent)?;
    let clock = SystemClock::shared();
    let stored = |error: spool::Error| Error::Failed(error.to_string());
    let spool = Spool::open(
        &config.node.data_dir,
        std::sync::Arc::clone(&clock),
        spool::Limits { spool_bytes_max: config.spool.bytes_max, ..spool::Limits::default() },
    )
    .map_err(stored)?;
    let joined = join::join(&options, token.trim(), &spool, clock).await;
    let closed = spool.close().await;
    let name = joined.map_err(|error| refused(&error))?;
    closed.map_err(stored)?;
    out.line(format!("joined {} as {name}", parent.url))?;
    if name != config.node.name {
        out.line(format!(
            "note: the token was made for {name}, and node.name here is {}: if it is the right token, \
             give the node that name",
            config.node.name
        ))?;
    }
    Ok(Outcome::Well)
}

fn options(config: &Config, parent: &Parent) -> Result<JoinOptions, Error> {
    Ok(JoinOptions {
        data_dir: config.node.data_dir.clone(),
        node_name: config.node.name.clone(),
        parent: parent.url.parse().map_err(Error::Usage)?,
        patience: parent.timeout,
    })
}

fn refused(error: &JoinError) -> Error {
    match error {
        JoinError::Token(_) => Error::Usage(error.to_string()),
        JoinError::Link(
            LinkError::Unreachable { .. } | LinkError::Stalled { .. } | LinkError::Broken { .. },
        ) => Error::Unreachable(error.to_string()),
        JoinError::Link(
            LinkError::Distrust(_) | LinkError::Nonsense(_) | LinkError::Refused(_),
        )
        | JoinError::Credentials(_)
        | JoinError::Tls(_)
        | JoinError::Store(_)
        | JoinError::Answer(_) => Error::Failed(error.to_string()),
    }
}
