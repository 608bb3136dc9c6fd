//! The links of this node and how far each has come.

use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};

use super::error::Error;
use super::sql::{sequence, signed};
use crate::change::{Epoch, NodeId, Sequence};
use crate::clock::Timestamp;

/// Acknowledgements are remembered with their time once in this many seconds.
const SLOT_SECONDS: i64 = 60;

/// Which end of a link the other node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Direction {
    /// The other end is this node's parent.
    Up,
    /// The other end is a child of this node.
    Down,
}

/// Whether a link may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// A child was invited under this name and has not come yet.
    Invited,
    /// Both ends know each other. What the other end has not acknowledged stays in the spool.
    Active,
    /// Ended by a person.
    Revoked,
}

/// One link as the store knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// The name the child was invited under; at the child, its name for the parent.
    pub name: String,
    /// Which end the other node is.
    pub direction: Direction,
    /// Whether it may be used.
    pub state: State,
    /// The other end's node id, once known.
    pub node: Option<NodeId>,
    /// The epoch of the other end's store, once known.
    pub epoch: Option<Epoch>,
    /// SHA-256 of the other end's public key, which outlives renewed certificates.
    pub certificate: Option<[u8; 32]>,
    /// The last transaction of this node's log that the other end has applied. Moved by
    /// `acknowledge` and `rewind` only.
    pub acknowledged: Sequence,
    /// The last transaction of the other end's log that was applied here, for `status`; the truth
    /// is the watermark in the database. Moved by `contact` only.
    pub received: Sequence,
    /// When the other end was last heard of.
    pub last_contact: Option<Timestamp>,
    /// What went wrong last, if nothing has gone right since.
    pub last_error: Option<String>,
    /// SHA-256 of the invitation's secret. It stays when the invitation is used, so that the child
    /// it was used by may ask again.
    pub invited_token_hash: Option<[u8; 32]>,
    /// When the invitation ends.
    pub invited_expires: Option<Timestamp>,
}

impl Link {
    /// A link of which nothing is known yet but its name.
    pub fn new(name: impl Into<String>, direction: Direction, state: State) -> Link {
        Link {
            name: name.into(),
            direction,
            state,
            node: None,
            epoch: None,
            certificate: None,
            acknowledged: Sequence(0),
            received: Sequence(0),
            last_contact: None,
            last_error: None,
            invited_token_hash: None,
            invited_expires: None,
        }
    }
}

/// What was heard of the other end of a link, for `status`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Contact {
    /// When; `None` if it was not reached.
    pub at: Option<Timestamp>,
    /// The last transaction of its log applied here, if any came.
    pub received: Option<Sequence>,
    /// What went wrong; `None` clears what went wrong before.
    pub error: Option<String>,
}

const COLUMNS: &str = "SELECT name, direction, state, node, epoch, certificate, acknowledged,
     received, last_contact, last_error, invited_token_hash, invited_expires FROM link";

/// All links by name.
pub(super) fn list(connection: &Connection) -> Result<Vec<Link>, Error> {
    let mut statement = connection.prepare_cached(&format!("{COLUMNS} ORDER BY name"))?;
    let links = statement.query_map([], read)?.collect::<rusqlite::Result<Vec<_>>>()?;
    Ok(links)
}

/// One link.
pub(super) fn get(connection: &Connection, name: &str) -> Result<Option<Link>, Error> {
    let mut statement = connection.prepare_cached(&format!("{COLUMNS} WHERE name = ?1"))?;
    Ok(statement.query_row(params![name], read).optional()?)
}

fn read(row: &Row<'_>) -> rusqlite::Result<Link> {
    let direction: String = row.get(1)?;
    let state: String = row.get(2)?;
    Ok(Link {
        name: row.get(0)?,
        direction: if direction == "up" { Direction::Up } else { Direction::Down },
        state: match state.as_str() {
            "invited" => State::Invited,
            "active" => State::Active,
            // The table allows no fourth; if it did, refusing would be the safe reading.
            _ => State::Revoked,
        },
        node: row.get::<_, Option<[u8; 16]>>(3)?.map(|id| NodeId(uuid::Uuid::from_bytes(id))),
        epoch: row.get::<_, Option<[u8; 16]>>(4)?.map(|id| Epoch(uuid::Uuid::from_bytes(id))),
        certificate: row.get(5)?,
        acknowledged: sequence(row, 6)?,
        received: sequence(row, 7)?,
        last_contact: row.get::<_, Option<i64>>(8)?.map(Timestamp),
        last_error: row.get(9)?,
        invited_token_hash: row.get(10)?,
        invited_expires: row.get::<_, Option<i64>>(11)?.map(Timestamp),
    })
}

/// Writes a link, new or known. The cursors of a link already known stay where they are.
pub(super) fn put(transaction: &Transaction<'_>, link: &Link) -> Result<(), Error> {
    let mut statement = transaction.prepare_cached(
        "INSERT INTO link (name, direction, state, node, epoch, certificate, acknowledged, received,
             last_contact, last_error, invited_token_hash, invited_expires)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)
         ON CONFLICT (name) DO UPDATE SET direction = excluded.direction, state = excluded.state,
             node = excluded.node, epoch = excluded.epoch, certificate = excluded.certificate,
             last_contact = excluded.last_contact, last_error = excluded.last_error,
             invited_token_hash = excluded.invited_token_hash,
             invited_expires = excluded.invited_expires",
    )?;
    statement.execute(params![
        link.name,
        match link.direction {
            Direction::Up => "up",
            Direction::Down => "down",
        },
        match link.state {
            State::Invited => "invited",
            State::Active => "active",
            State::Revoked => "revoked",
        },
        link.node.as_ref().map(|node| node.0.as_bytes()),
        link.epoch.as_ref().map(|epoch| epoch.0.as_bytes()),
        link.certificate,
        signed(link.acknowledged.0),
        signed(link.received.0),
        link.last_contact.map(|at| at.0),
        link.last_error,
        link.invited_token_hash,
        link.invited_expires.map(|at| at.0),
    ])?;
    Ok(())
}

/// Forgets a link and its acknowledgements.
pub(super) fn delete(transaction: &Transaction<'_>, name: &str) -> Result<(), Error> {
    let deleted = transaction.execute("DELETE FROM link WHERE name = ?1", params![name])?;
    if deleted == 0 { Err(Error::UnknownLink(name.to_owned())) } else { Ok(()) }
}

/// Moves a link's cursor forward; an older acknowledgement changes nothing.
pub(super) fn acknowledge(
    transaction: &Transaction<'_>,
    name: &str,
    through: Sequence,
    at: Timestamp,
) -> Result<(), Error> {
    let mut update = transaction.prepare_cached(
        "UPDATE link SET acknowledged = max(acknowledged, ?2), last_contact = ?3, last_error = NULL
         WHERE name = ?1",
    )?;
    if update.execute(params![name, signed(through.0), at.0])? == 0 {
        return Err(Error::UnknownLink(name.to_owned()));
    }
    // Within a slot the later time counts for all of it, so the grace period is never shortened.
    let slot = at.0.div_euclid(SLOT_SECONDS.saturating_mul(1_000_000));
    transaction
        .prepare_cached(
            "INSERT INTO acknowledgement (link, slot, through, at) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (link, slot) DO UPDATE SET through = max(through, excluded.through),
                 at = max(at, excluded.at)",
        )?
        .execute(params![name, slot, signed(through.0), at.0])?;
    Ok(())
}

/// Moves a link's cursor back: the other end has lost what it had acknowledged.
pub(super) fn rewind(transaction: &Transaction<'_>, name: &str, to: Sequence) -> Result<(), Error> {
    let moved = transaction.execute(
        "UPDATE link SET acknowledged = min(acknowledged, ?2) WHERE name = ?1",
        params![name, signed(to.0)],
    )?;
    if moved == 0 {
        return Err(Error::UnknownLink(name.to_owned()));
    }
    transaction.execute(
        "DELETE FROM acknowledgement WHERE link = ?1 AND through > ?2",
        params![name, signed(to.0)],
    )?;
    Ok(())
}

/// Writes down what was heard of the other end.
pub(super) fn contact(
    transaction: &Transaction<'_>,
    name: &str,
    contact: &Contact,
) -> Result<(), Error> {
    let mut update = transaction.prepare_cached(
        "UPDATE link SET last_contact = coalesce(?2, last_contact),
             received = coalesce(?3, received), last_error = ?4 WHERE name = ?1",
    )?;
    let changed = update.execute(params![
        name,
        contact.at.map(|at| at.0),
        contact.received.map(|received| signed(received.0)),
        contact.error,
    ])?;
    if changed == 0 { Err(Error::UnknownLink(name.to_owned())) } else { Ok(()) }
}

/// The last transaction that every active link acknowledged longer than `grace` ago; `None` while
/// there is no active link. Only links to parents count: nothing is sent down to children yet.
pub(super) fn releasable(
    transaction: &Transaction<'_>,
    now: Timestamp,
    grace: Duration,
) -> Result<Option<Sequence>, Error> {
    // A clock that was ahead for a while must not hold the spool until that time comes again.
    transaction
        .prepare_cached("UPDATE acknowledgement SET at = ?1 WHERE at > ?1")?
        .execute(params![now.0])?;
    let before = now.0.saturating_sub(i64::try_from(grace.as_micros()).unwrap_or(i64::MAX));
    let mut statement = transaction.prepare_cached(
        "SELECT min(through) FROM (
             SELECT coalesce(max(acknowledgement.through), 0) AS through
             FROM link LEFT JOIN acknowledgement
                 ON acknowledgement.link = link.name AND acknowledgement.at <= ?1
             WHERE link.state = 'active' AND link.direction = 'up' GROUP BY link.name)",
    )?;
    let least: Option<i64> = statement.query_row(params![before], |row| row.get(0))?;
    // What is older than the newest acknowledgement past the grace period has nothing left to say.
    transaction
        .prepare_cached(
            "DELETE FROM acknowledgement WHERE at < (
                 SELECT max(later.at) FROM acknowledgement AS later
                 WHERE later.link = acknowledgement.link AND later.at <= ?1
                     AND later.through >= acknowledgement.through)",
        )?
        .execute(params![before])?;
    Ok(least.map(|through| Sequence(u64::try_from(through).unwrap_or(0))))
}
