//! A log file on a server's disk: where its events stand, and how to change them.

use std::fs;
use std::path::PathBuf;

use headwater_rig::Server;

/// A closed log file.
#[derive(Clone)]
pub(crate) struct LogFile {
    path: PathBuf,
    pub(crate) bytes: Vec<u8>,
    pub(crate) checksums: bool,
}

/// Where an event stands in its file.
#[derive(Debug, Clone, Copy)]
pub(crate) struct At {
    pub(crate) offset: usize,
    pub(crate) size: usize,
    pub(crate) kind: u8,
}

pub(crate) const HEADER: usize = 19;

impl LogFile {
    /// The file of a server that was closed last.
    pub(crate) async fn last_closed(server: &Server) -> LogFile {
        LogFile::closed_before(server, 1).await
    }

    /// The file that is so many before the one that is written.
    pub(crate) async fn closed_before(server: &Server, files: usize) -> LogFile {
        let mut conn = server.conn("").await.unwrap();
        let names: Vec<mysql_async::Row> =
            mysql_async::prelude::Queryable::query(&mut conn, "SHOW BINARY LOGS").await.unwrap();
        let name: String = names[names.len() - 1 - files].get(0).unwrap();
        let path = server.data().join(name);
        let bytes = fs::read(&path).unwrap();
        let checksums =
            server.ask("", "SELECT @@binlog_checksum").await.unwrap().unwrap() != "NONE";
        LogFile { path, bytes, checksums }
    }

    pub(crate) fn events(&self) -> Vec<At> {
        let mut events = Vec::new();
        let mut offset = 4;
        while offset < self.bytes.len() {
            let size = u32::from_le_bytes(self.bytes[offset + 9..offset + 13].try_into().unwrap());
            let size = size as usize;
            events.push(At { offset, size, kind: self.bytes[offset + 4] });
            offset += size;
        }
        events
    }

    /// The last event of one of these types.
    pub(crate) fn last(&self, kinds: &[u8]) -> At {
        let found = self.events().into_iter().rfind(|at| kinds.contains(&at.kind));
        found.unwrap_or_else(|| panic!("none of {kinds:?} in {:?}", self.events()))
    }

    /// Makes the event's checksum right again.
    pub(crate) fn sign(&mut self, at: At) {
        if self.checksums {
            let end = at.offset + at.size - 4;
            let sum = crc32fast::hash(&self.bytes[at.offset..end]);
            self.bytes[end..end + 4].copy_from_slice(&sum.to_le_bytes());
        }
    }

    pub(crate) fn write(&self) {
        fs::write(&self.path, &self.bytes).unwrap();
    }

    /// Where the transaction begins that an event belongs to.
    pub(crate) fn transaction(&self, at: At) -> String {
        let begins = |kinds: &[u8]| {
            let before = |event: &At| event.offset < at.offset && kinds.contains(&event.kind);
            self.events().into_iter().rfind(before)
        };
        // Without GTIDs MySQL 5.6 begins with the statement BEGIN.
        self.place(begins(&[33, 34, 42, 162]).or_else(|| begins(&[2])).unwrap())
    }

    pub(crate) fn place(&self, at: At) -> String {
        format!("{}:{}", self.path.file_name().unwrap().to_string_lossy(), at.offset)
    }
}
