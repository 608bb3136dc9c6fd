//! What capture tells of itself.

use std::time::Duration;

use crate::clock::Timestamp;
use crate::position::Position;

/// What capture is doing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Doing {
    /// It has not connected yet.
    #[default]
    Starting,
    /// It reads the log.
    Following,
    /// It tries again soon: the words say why.
    Retrying(String),
    /// It waits for a person: the words say what to do.
    Stopped(String),
}

/// Capture as seen from outside.
#[derive(Debug, Clone, Default)]
pub struct State {
    /// What it is doing.
    pub doing: Doing,
    /// The position in the store.
    pub position: Option<Position>,
    /// All that was committed up to this moment has been captured.
    pub read_to: Option<Timestamp>,
    /// The server had nothing more to send.
    pub read_all: bool,
    /// Rows read since the start, of mapped tables.
    pub rows: u64,
    /// Transactions captured since the start.
    pub transactions: u64,
    /// Rows seen since the start that have no identity yet.
    pub nameless: u64,
    /// When the server was last heard of.
    pub heard_at: Option<Timestamp>,
}

impl State {
    /// How far capture is behind: 0 at the log's end, otherwise the time since the last transaction
    /// captured was committed.
    pub fn lag(&self, now: Timestamp) -> Duration {
        match self.read_to {
            None => Duration::ZERO,
            Some(read_to) if self.doing != Doing::Following => now.since(read_to),
            Some(_) if self.read_all => Duration::ZERO,
            // What there is comes at once: a server that sends nothing has nothing.
            Some(read_to) => self.heard_at.unwrap_or(now).since(read_to),
        }
    }
}
