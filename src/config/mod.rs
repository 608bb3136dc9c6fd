//! The configuration: [`file`] is the TOML file as typed, this is what it means, with every
//! default filled in. [`template`] is the same written out for a person to start from.
//!
//! This is the only place that reads the environment.

mod file;
mod meant;
pub mod template;
mod text;

use std::io::Read as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::database::connect::Options;
pub use text::Schedule;

/// Where the configuration is looked for unless `--config` says otherwise.
pub const DEFAULT_PATH: &str = "/etc/headwater/headwater.toml";

/// The environment variable that may hold the database password.
pub const PASSWORD_VARIABLE: &str = "HEADWATER_DATABASE_PASSWORD";

/// The environment variable that says what is logged, such as `info,headwater::capture=debug`.
pub const LOG_VARIABLE: &str = "HEADWATER_LOG";

/// The largest configuration or password file that is read, in bytes.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// One node's configuration, as meant: paths absolute or relative to the working directory,
/// defaults filled in, values checked.
#[derive(Debug, Clone)]
pub struct Config {
    /// The file it was read from.
    pub path: PathBuf,
    /// This node.
    pub node: Node,
    /// Its database.
    pub database: Database,
    /// How the binary log is read.
    pub capture: Capture,
    /// How much is kept, and for how long.
    pub spool: Spool,
    /// How batches are written.
    pub apply: Apply,
    /// The link to the parent, for a child.
    pub parent: Option<Parent>,
    /// Where children are listened to, for a parent.
    pub listen: Option<Listen>,
    /// Where figures and health are shown.
    pub status: Option<Status>,
    /// What is doubtful but does not stop anything, a sentence each.
    pub warnings: Vec<String>,
}

/// `[node]`
#[derive(Debug, Clone)]
pub struct Node {
    /// What people call it.
    pub name: String,
    /// Where the store, the certificates and what is spilled from memory live.
    pub data_dir: PathBuf,
}

/// `[database]`
#[derive(Debug, Clone)]
pub struct Database {
    /// How to connect, the password included.
    pub options: Options,
    /// The schema map's files; later ones add to the first.
    pub maps: Vec<PathBuf>,
    /// The schema of headwater's own tables in the same server.
    pub state_schema: String,
    /// How many connections are open at most.
    pub connections_max: usize,
}

/// `[capture]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Capture {
    /// The id under which the log is asked for; every reader of one server needs its own.
    /// Derived from the node's name unless stated.
    pub server_id: u32,
    /// How often the server says that it is alive; after three of these without a byte it is taken
    /// for dead.
    pub heartbeat: Duration,
    /// The most bytes that one compressed event or transaction of the log may take.
    pub inflated_bytes_max: u64,
    /// Places in the log (`file:offset`) that stopped capture and that a person has given up.
    pub accept: Vec<String>,
    /// Other databases of the server of which a person knows that nothing in them writes into this
    /// one: `MariaDB` does not log what a statement in statement format changes.
    pub harmless_databases: Vec<String>,
    /// How many rows of the identity index are kept in memory.
    pub identity_cache_rows_max: usize,
    /// The first wait before connecting again.
    pub backoff_min: Duration,
    /// The longest wait before connecting again.
    pub backoff_max: Duration,
}

/// `[spool]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spool {
    /// How large the spool may grow before capture waits.
    pub bytes_max: u64,
    /// How long what is acknowledged is kept, for a parent restored from a backup.
    pub grace: Duration,
    /// Capture pauses before the disk of `data_dir` has less than this left.
    pub disk_free_bytes_min: u64,
}

/// `[apply]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Apply {
    /// How many changes are planned together; a larger batch is worked through in such chunks, in
    /// one transaction.
    pub chunk_changes_max: usize,
    /// How many bytes of changes are planned together.
    pub chunk_bytes_max: u64,
    /// How long a statement waits for another session's lock.
    pub lock_wait: Duration,
    /// How often deadlocks, lock timeouts and lost connections are retried before the link waits.
    pub tries_max: u32,
    /// How often parked changes are looked at again, beside when what they wait for arrives.
    pub parked_retry: Duration,
    /// How many changes may be set aside, parked and quarantined together.
    pub held_changes_max: u64,
}

/// `[parent]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parent {
    /// `https://host:port`
    pub url: String,
    /// When the parent is called.
    pub schedule: Schedule,
    /// How batches are compressed.
    pub compression: Compression,
    /// How long a request may make no progress.
    pub timeout: Duration,
    /// How often hello is said on a connection that lasts.
    pub hello_every: Duration,
    /// The first wait after a failure.
    pub backoff_min: Duration,
    /// The longest wait after a failure.
    pub backoff_max: Duration,
    /// A batch is cut at this size.
    pub batch_bytes_max: u64,
    /// A piece is cut at this size.
    pub piece_bytes_max: u64,
}

/// How batches are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// Chosen by what the link turns out to carry.
    Auto,
    /// Not at all.
    None,
    /// LZ4.
    Lz4,
}

/// `[listen]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listen {
    /// Address and port.
    pub address: SocketAddr,
    /// The names and addresses children know this node by; they are in its certificate.
    pub names: Vec<String>,
    /// How many connections are open at most.
    pub connections_max: usize,
    /// How many of them without a certificate.
    pub strangers_max: usize,
    /// How long a connection may last without a hello.
    pub hello_within: Duration,
    /// How long a connection may make no progress in the middle of a request.
    pub timeout: Duration,
    /// The largest batch that is taken.
    pub batch_bytes_max: u64,
    /// How long an invitation is good for.
    pub token_expiry: Duration,
}

/// `[status]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// Where `/metrics` and `/healthz` are served.
    pub address: SocketAddr,
}

/// What is wrong with a configuration. All of it is for the operator to mend.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error(
        "cannot read the configuration {path}: {source}\n  remedy: name the file with --config FILE, or write one with: headwater --config {path} init"
    )]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Something at one place of the file.
    #[error("{path}:{line}:{column}: {problem}")]
    At {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// From 1, in characters.
        column: usize,
        /// What and what to do.
        problem: String,
    },
    /// Something that has no one place.
    #[error("{path}: {problem}")]
    Whole {
        /// The file.
        path: PathBuf,
        /// What and what to do.
        problem: String,
    },
}

impl Config {
    /// Reads and checks a configuration file, and the password it refers to.
    pub fn load(path: &Path) -> Result<Config, ConfigError> {
        let text = read(path)
            .map_err(|source| ConfigError::Unreadable { path: path.to_owned(), source })?;
        Config::parse(path, &text)
    }

    /// Reads and checks the text of the file at `path`, and the password it refers to.
    pub fn parse(path: &Path, text: &str) -> Result<Config, ConfigError> {
        let file = file::parse(path, text)?;
        meant::config(path, file, environment(PASSWORD_VARIABLE))
    }
}

/// The text of a file, if it is no larger than any that people write: a path can also name a device
/// that never ends.
fn read(path: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    std::fs::File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_string(&mut text)?;
    if text.len() as u64 > FILE_BYTES_MAX {
        let words = format!("it is larger than {FILE_BYTES_MAX} bytes");
        return Err(std::io::Error::new(std::io::ErrorKind::FileTooLarge, words));
    }
    Ok(text)
}

/// What the environment says shall be logged.
pub fn log_filter() -> Option<String> {
    environment(LOG_VARIABLE)
}

#[expect(clippy::disallowed_methods, reason = "this is the one reader of the environment")]
fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests;
