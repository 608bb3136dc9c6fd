//! A look at the store from outside the process that runs on it: `headwater status` and `doctor`.

use std::path::{Path, PathBuf};

use rusqlite::Connection;

use super::error::Error;
use super::index;
use super::link::{self, Link};
use super::reader::IndexReader;
use super::usage::{self, Usage};
use super::{file, log, note};
use crate::change::{Epoch, NodeId};
use crate::clock::Timestamp;
use crate::position::Position;
use crate::value::Name;

/// A store opened for reading only, beside the process that writes it or without one.
#[derive(Debug)]
pub struct Peek {
    connection: Connection,
    folder: PathBuf,
}

impl Peek {
    pub(super) fn open(folder: &Path) -> Result<Peek, Error> {
        let connection = file::open_reader(folder)?;
        Ok(Peek { connection, folder: folder.to_path_buf() })
    }

    /// The node's id.
    pub fn node_id(&self) -> Result<NodeId, Error> {
        Ok(log::node(&self.connection)?.0)
    }

    /// The epoch of the store.
    pub fn epoch(&self) -> Result<Epoch, Error> {
        Ok(log::node(&self.connection)?.1)
    }

    /// Where capture resumes.
    pub fn position(&self) -> Result<Option<Position>, Error> {
        log::position(&self.connection)
    }

    /// When the transaction that ends there was committed, by the clock of its server; before there
    /// was one, when the position was taken.
    pub fn read_to(&self) -> Result<Option<Timestamp>, Error> {
        let at: Option<i64> =
            self.connection
                .query_row("SELECT position_at FROM node WHERE one = 1", [], |row| row.get(0))?;
        Ok(at.map(Timestamp))
    }

    /// How full the spool is and how far each link has come.
    pub fn usage(&self) -> Result<Usage, Error> {
        usage::usage(&self.connection)
    }

    /// All links by name.
    pub fn links(&self) -> Result<Vec<Link>, Error> {
        link::list(&self.connection)
    }

    /// A note by name.
    pub fn note(&self, name: &str) -> Result<Option<Vec<u8>>, Error> {
        note(&self.connection, name)
    }

    /// How many rows of each table the identity index knows.
    pub fn index_counts(&self) -> Result<Vec<(Name, u64)>, Error> {
        index::counts(&self.connection)
    }

    /// A reader of the identity index.
    pub fn index_reader(&self) -> Result<IndexReader, Error> {
        IndexReader::open(&self.folder, None)
    }
}
