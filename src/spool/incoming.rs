//! Batches that have not arrived whole yet, piece by piece, so that a cut link goes on where it
//! stopped and a large batch is never in memory.

use std::io::{self, Read};
use std::path::Path;

use rusqlite::{Connection, OptionalExtension, Transaction, params};

use super::error::Error;
use super::file;
use super::sql::{sequence, signed, unsigned};
use crate::change::Sequence;

/// Which batch the pieces belong to: transactions `(after, through]` in exactly these bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IncomingKey {
    /// The last transaction before the batch.
    pub after: Sequence,
    /// The last transaction in the batch.
    pub through: Sequence,
    /// The checksum of the whole batch, as the link defines it.
    pub checksum: Vec<u8>,
    /// The length of the whole batch.
    pub total_bytes: u64,
}

/// What is held of the one batch under way from a link.
pub(super) fn held(
    connection: &Connection,
    link: &str,
) -> Result<Option<(IncomingKey, u64)>, Error> {
    Ok(connection
        .prepare_cached(
            "SELECT after, through, checksum, total, held FROM incoming WHERE link = ?1",
        )?
        .query_row(params![link], |row| {
            let key = IncomingKey {
                after: sequence(row, 0)?,
                through: sequence(row, 1)?,
                checksum: row.get(2)?,
                total_bytes: unsigned(row, 3)?,
            };
            Ok((key, unsigned(row, 4)?))
        })
        .optional()?)
}

/// Adds a piece; how many bytes are held then. Pieces of another batch are dropped first.
pub(super) fn put(
    transaction: &Transaction<'_>,
    link: &str,
    key: &IncomingKey,
    offset: u64,
    bytes: &[u8],
) -> Result<u64, Error> {
    let start = match held(transaction, link)? {
        Some((known, held)) if known == *key => held,
        Some(_) | None => {
            clear(transaction, link)?;
            transaction
                .prepare_cached(
                    "INSERT INTO incoming (link, after, through, checksum, total, held)
                     VALUES (?1, ?2, ?3, ?4, ?5, 0)",
                )?
                .execute(params![
                    link,
                    signed(key.after.0),
                    signed(key.through.0),
                    key.checksum,
                    signed(key.total_bytes),
                ])?;
            0
        }
    };
    if offset != start {
        return Err(Error::Offset { offset, held: start });
    }
    let end = start.saturating_add(bytes.len() as u64);
    if end > key.total_bytes {
        return Err(Error::TooLarge {
            what: "a batch",
            bytes: end,
            limit: key.total_bytes,
            name: "the announced length",
        });
    }
    if bytes.is_empty() {
        return Ok(end);
    }
    transaction
        .prepare_cached("INSERT INTO piece (link, start, bytes) VALUES (?1, ?2, ?3)")?
        .execute(params![link, signed(start), bytes])?;
    transaction
        .prepare_cached("UPDATE incoming SET held = ?2 WHERE link = ?1")?
        .execute(params![link, signed(end)])?;
    Ok(end)
}

/// Drops what is held from a link.
pub(super) fn clear(transaction: &Transaction<'_>, link: &str) -> Result<(), Error> {
    transaction.prepare_cached("DELETE FROM incoming WHERE link = ?1")?.execute(params![link])?;
    Ok(())
}

/// Reads what is held of a batch from its first byte, one piece in memory at a time, through a
/// connection of its own. Ends early if the batch is dropped meanwhile, which the batch's checksum
/// tells.
#[derive(Debug)]
pub struct IncomingReader {
    connection: Connection,
    link: String,
    offset: u64,
    piece: io::Cursor<Vec<u8>>,
}

impl IncomingReader {
    pub(super) fn open(folder: &Path, link: &str) -> Result<IncomingReader, Error> {
        Ok(IncomingReader {
            connection: file::open_reader(folder)?,
            link: link.to_owned(),
            offset: 0,
            piece: io::Cursor::new(Vec::new()),
        })
    }

    fn next_piece(&self) -> Result<Option<Vec<u8>>, Error> {
        Ok(self
            .connection
            .prepare_cached("SELECT bytes FROM piece WHERE link = ?1 AND start = ?2")?
            .query_row(params![self.link, signed(self.offset)], |row| row.get(0))
            .optional()?)
    }
}

impl Read for IncomingReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.piece.read(buffer)?;
        if count > 0 || buffer.is_empty() {
            return Ok(count);
        }
        match self.next_piece().map_err(io::Error::other)? {
            None => Ok(0),
            Some(piece) => {
                self.offset = self.offset.saturating_add(piece.len() as u64);
                self.piece = io::Cursor::new(piece);
                self.piece.read(buffer)
            }
        }
    }
}
