//! How full the spool is and how far each link has come, for `headwater status`.

use rusqlite::{Connection, OptionalExtension, params};

use super::error::Error;
use super::link::{self, Direction, Link};
use super::log;
use super::sql::{signed, unsigned};
use crate::change::Sequence;
use crate::clock::Timestamp;

/// What the spool holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Usage {
    /// The last whole transaction captured.
    pub head: Sequence,
    /// Everything through this transaction has been released.
    pub released: Sequence,
    /// Whole transactions held, whether acknowledged or not.
    pub transactions: u64,
    /// Their compressed bytes, unfinished parts included.
    pub bytes: u64,
    /// When the oldest segment held was committed at its source.
    pub oldest: Option<Timestamp>,
    /// The size of the store's file, without its write-ahead log.
    pub file_bytes: u64,
    /// Every link, and what waits for it.
    pub links: Vec<LinkUsage>,
}

/// One link and what waits for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkUsage {
    /// The link.
    pub link: Link,
    /// Transactions it has not acknowledged; 0 for a child, to whom nothing is sent yet.
    pub waiting_transactions: u64,
    /// When the first segment that waits was committed at its source.
    pub waiting_since: Option<Timestamp>,
}

pub(super) fn usage(connection: &Connection) -> Result<Usage, Error> {
    let snapshot = connection.unchecked_transaction()?;
    let (head, released) = log::ends(&snapshot)?;
    let links = link::list(&snapshot)?
        .into_iter()
        .map(|link| {
            if link.direction == Direction::Down {
                return Ok(LinkUsage { link, waiting_transactions: 0, waiting_since: None });
            }
            Ok(LinkUsage {
                waiting_transactions: head.0.saturating_sub(link.acknowledged.0),
                waiting_since: committed_after(&snapshot, link.acknowledged, head)?,
                link,
            })
        })
        .collect::<Result<Vec<_>, Error>>()?;
    Ok(Usage {
        head,
        released,
        transactions: head.0.saturating_sub(released.0),
        bytes: log::bytes(&snapshot)?,
        oldest: committed_after(&snapshot, released, head)?,
        file_bytes: pages(&snapshot, "page_count")?.saturating_mul(pages(&snapshot, "page_size")?),
        links,
    })
}

fn pages(connection: &Connection, name: &str) -> Result<u64, Error> {
    Ok(connection.pragma_query_value(None, name, |row| unsigned(row, 0))?)
}

fn committed_after(
    connection: &Connection,
    after: Sequence,
    head: Sequence,
) -> Result<Option<Timestamp>, Error> {
    let mut statement = connection.prepare_cached(
        // Only the last part of a long transaction knows when it was committed.
        "SELECT committed_at FROM segment WHERE last > ?1 AND last <= ?2 AND committed_at > 0
         ORDER BY last, part LIMIT 1",
    )?;
    Ok(statement
        .query_row(params![signed(after.0), signed(head.0)], |row| row.get(0))
        .optional()?
        .map(Timestamp))
}
