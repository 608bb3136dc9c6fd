//! How a child keeps its link.

use std::path::PathBuf;
use std::time::Duration;

use crate::transport::backoff::BackoffLimits;
use crate::transport::codec::Compression;
use crate::transport::dial::ParentAddress;
use crate::transport::pace::PaceLimits;

/// When a child talks to its parent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Schedule {
    /// Whenever something was captured.
    Continuous,
    /// So often, if something was captured.
    Every(Duration),
}

/// How a child keeps its link.
#[derive(Debug, Clone)]
pub struct ClientOptions {
    /// The parent.
    pub parent: ParentAddress,
    /// The node's name.
    pub node_name: String,
    /// The digest of its schema map, in hexadecimal ([`crate::transport::wire::hex`]).
    pub map_digest: String,
    /// The node's folder.
    pub data_dir: PathBuf,
    /// When to send. Default continuous.
    pub schedule: Schedule,
    /// What compresses batches. Default auto.
    pub compression: Compression,
    /// A silence of so long ends the connection. Default 30 s.
    pub patience: Duration,
    /// A connection that lasts says hello again at least so often, also while there is nothing to
    /// send: a parent that was restored from a backup, or that lacks rows, tells it only there.
    /// Default 15 min.
    pub hello_every: Duration,
    /// The waits between tries.
    pub backoff: BackoffLimits,
    /// The bounds of pieces and batches.
    pub pace: PaceLimits,
    /// Batches larger than this are kept in a file. Default 4 MiB.
    pub memory_bytes_max: u64,
}

impl ClientOptions {
    /// The defaults for what has one.
    pub fn new(parent: ParentAddress, node_name: impl Into<String>, data_dir: PathBuf) -> Self {
        ClientOptions {
            parent,
            node_name: node_name.into(),
            map_digest: String::new(),
            data_dir,
            schedule: Schedule::Continuous,
            compression: Compression::Auto,
            patience: Duration::from_secs(30),
            hello_every: Duration::from_mins(15),
            backoff: BackoffLimits::default(),
            pace: PaceLimits::default(),
            memory_bytes_max: 4 << 20,
        }
    }
}
