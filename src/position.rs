//! Where capture resumes in the binary log: always the end of a transaction.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Which server a position was taken from. A file and an offset of another server mean nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum ServerIdentity {
    /// MySQL's `server_uuid`.
    Mysql {
        /// As the server prints it.
        server_uuid: String,
    },
    /// `MariaDB` has no server uuid; its server id and replication domain take that place.
    Mariadb {
        /// `@@server_id`.
        server_id: u32,
        /// `@@gtid_domain_id`.
        domain_id: u32,
    },
}

impl fmt::Display for ServerIdentity {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ServerIdentity::Mysql { server_uuid } => write!(out, "MySQL {server_uuid}"),
            ServerIdentity::Mariadb { server_id, domain_id } => {
                write!(out, "MariaDB server {server_id} domain {domain_id}")
            }
        }
    }
}

/// The end of a transaction in a server's binary log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// Whose log it is.
    pub server: ServerIdentity,
    /// The log file's name.
    pub file: String,
    /// The byte after the transaction. 64 bits: the log's own field wraps at 4 GiB.
    pub offset: u64,
    /// What had been executed by then, in the server's own notation; `None` without GTIDs.
    pub gtids: Option<String>,
}

impl fmt::Display for Position {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}:{}", self.file, self.offset)?;
        match &self.gtids {
            Some(gtids) => write!(out, " ({gtids})"),
            None => Ok(()),
        }
    }
}
