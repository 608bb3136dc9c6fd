//! What waits for a row, and in which order: the chains of changes set aside.

use std::collections::{HashMap, HashSet};

use mysql_async::Value as Param;

use super::{HASHES_MAX, Stored, find, forget, marks, padded, remove, shortened, whole};
use crate::apply::error::{Failure, State};
use crate::apply::session::Session;
use crate::apply::state::{Names, moment, number, text};
use crate::change::NodeId;
use crate::clock::Timestamp;
use crate::record::IdentityBytes;
use crate::transport::Wanted;
use crate::value::Name;

/// Changes read back at once for another try.
const RELEASE_MAX: u64 = 2_000;

/// Bytes of changes read back at once for another try.
const RELEASE_BYTES_MAX: u64 = 32 << 20;

/// How the changes of a row wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::apply) struct Chain {
    pub(in crate::apply) state: State,
    /// One of them changes what the row is called, so at the target it may have another name.
    pub(in crate::apply) renames: bool,
    /// One of them brings the row whole.
    pub(in crate::apply) whole: bool,
}

/// Which of some rows have changes of a node waiting, and how. There is no order between the
/// changes of different nodes.
pub(in crate::apply) async fn blocked(
    session: &mut Session,
    names: &Names,
    node: NodeId,
    hashes: &[u64],
) -> Result<HashMap<u64, Chain>, Failure> {
    let mut found = HashMap::new();
    for piece in hashes.chunks(HASHES_MAX) {
        let sql = format!(
            "SELECT row_hash, MAX(state = 'quarantined'), MAX(kind = 'rename'), \
             MAX(kind = 'insert') FROM {} WHERE row_hash IN ({}) AND node = ? GROUP BY row_hash",
            names.held,
            marks(piece.len())
        );
        let mut params = padded(piece);
        params.push(Param::from(node.to_string()));
        for row in session.rows(&sql, params).await? {
            let mut columns = row.unwrap().into_iter().map(number);
            let mut next = || columns.next().unwrap_or(0);
            let (hash, quarantined) = (next(), next() == 1);
            let (renames, whole) = (next() == 1, next() == 1);
            // The first change of the chain decides, and quarantine is what keeps it waiting.
            let state = if quarantined { State::Quarantined } else { State::Parked };
            found.insert(hash, Chain { state, renames, whole });
        }
    }
    Ok(found)
}

/// Forgets whatever waits for rows that were deleted: it would have changed what is gone.
pub(in crate::apply) async fn dissolve(
    session: &mut Session,
    names: &Names,
    node: NodeId,
    deleted: &[u64],
) -> Result<u64, Failure> {
    let mut dissolved = 0;
    for piece in deleted.chunks(HASHES_MAX) {
        let some = format!("row_hash IN ({}) AND node = ?", marks(piece.len()));
        let mut params = padded(piece);
        params.push(Param::from(node.to_string()));
        dissolved += forget(session, names, &some, params).await?;
    }
    Ok(dissolved)
}

/// Forgets the parked changes of rows that come whole now: what they would have written is older.
/// A chain with a delete in it keeps its order. Tells which rows have nothing waiting any more.
pub(in crate::apply) async fn supersede(
    session: &mut Session,
    names: &Names,
    node: NodeId,
    whole: &[u64],
) -> Result<Vec<u64>, Failure> {
    let mut superseded = Vec::new();
    for piece in whole.chunks(HASHES_MAX) {
        let sql = format!(
            "SELECT id, row_hash, state = 'parked' AND kind <> 'delete' FROM {} WHERE row_hash IN \
             ({}) AND node = ? FOR UPDATE",
            names.held,
            marks(piece.len())
        );
        let mut params = padded(piece);
        params.push(Param::from(node.to_string()));
        let mut chains: HashMap<u64, (Vec<u64>, bool)> = HashMap::new();
        for row in session.rows(&sql, params).await? {
            let mut columns = row.unwrap().into_iter().map(number);
            let mut next = || columns.next().unwrap_or(0);
            let (id, hash, moot) = (next(), next(), next() == 1);
            let chain = chains.entry(hash).or_insert((Vec::new(), true));
            chain.0.push(id);
            chain.1 &= moot;
        }
        for (hash, (ids, moot)) in chains {
            if moot {
                remove(session, names, &ids).await?;
                superseded.push(hash);
            }
        }
    }
    Ok(superseded)
}

/// The rows of a node's parked changes that wait for one of these rows.
pub(in crate::apply) async fn awaiting(
    session: &mut Session,
    names: &Names,
    node: NodeId,
    arrived: &[u64],
) -> Result<Vec<u64>, Failure> {
    let mut rows = HashSet::new();
    for piece in arrived.chunks(HASHES_MAX) {
        let sql = format!(
            "SELECT DISTINCT row_hash FROM {} WHERE awaits_hash IN ({}) AND state = 'parked' AND \
             node = ?",
            names.held,
            marks(piece.len())
        );
        let mut params = padded(piece);
        params.push(Param::from(node.to_string()));
        let found = session.rows(&sql, params).await?;
        rows.extend(
            found.into_iter().filter_map(|row| row.unwrap().into_iter().next()).map(number),
        );
    }
    Ok(rows.into_iter().collect())
}

/// Everything that waits for some rows of a node, in the order it was set aside.
pub(in crate::apply) async fn chains(
    session: &mut Session,
    names: &Names,
    node: NodeId,
    rows: &[u64],
) -> Result<Vec<Stored>, Failure> {
    let mut stored = Vec::new();
    for piece in rows.chunks(HASHES_MAX) {
        let mut params = padded(piece);
        params.push(Param::from(node.to_string()));
        let some = format!("row_hash IN ({}) AND node = ?", marks(piece.len()));
        stored.extend(contents(session, names, &some, params).await?);
    }
    stored.sort_by_key(|stored| stored.id);
    Ok(stored)
}

/// The changes that meet a condition, as many as one try takes. A chain that is cut short goes
/// on at the next try.
async fn contents(
    session: &mut Session,
    names: &Names,
    condition: &str,
    params: Vec<Param>,
) -> Result<Vec<Stored>, Failure> {
    let sql = format!(
        "SELECT id, LENGTH(content) + (SELECT COALESCE(SUM(LENGTH(part.content)), 0) FROM {} AS part \
         WHERE part.held = held.id) FROM {} AS held WHERE {condition} ORDER BY id LIMIT \
         {RELEASE_MAX}",
        names.part, names.held
    );
    let mut ids = Vec::new();
    let mut bytes = 0_u64;
    for row in session.rows(&sql, params).await? {
        let mut columns = row.unwrap().into_iter().map(number);
        let id = columns.next().unwrap_or(0);
        bytes = bytes.saturating_add(columns.next().unwrap_or(0));
        if bytes > RELEASE_BYTES_MAX && !ids.is_empty() {
            break;
        }
        ids.push(id);
    }
    let mut stored = Vec::with_capacity(ids.len());
    for piece in ids.chunks(HASHES_MAX) {
        let sql = format!(
            "SELECT id, row_hash, content FROM {} WHERE id IN ({}) ORDER BY id FOR UPDATE",
            names.held,
            marks(piece.len())
        );
        for row in session.rows(&sql, padded(piece)).await? {
            let mut columns = row.unwrap().into_iter();
            let mut next = || number(columns.next().unwrap_or(Param::NULL));
            let (id, row) = (next(), next());
            let content = whole(session, names, id, columns.next()).await?;
            stored.push(Stored { id, row, content });
        }
    }
    Ok(stored)
}

/// Some of the rows that parked changes of a node wait for, to be asked for at a hello. One that came
/// whole and was set aside itself would only come again; unless it waits for nothing that can come,
/// as when a row it refers to had no identity at its source: it may have one now.
pub(in crate::apply) async fn wanted(
    session: &mut Session,
    names: &Names,
    node: NodeId,
    most: usize,
) -> Result<Vec<Wanted>, Failure> {
    // By chance, so that rows that never come do not keep others from being asked for.
    let sql = format!(
        "SELECT MIN(awaits_table), MIN(awaits_identity) FROM {held} AS waiting WHERE node = ? AND \
         state = 'parked' AND awaits_identity IS NOT NULL AND NOT EXISTS (SELECT 1 FROM {held} AS \
         come WHERE come.row_hash = waiting.awaits_hash AND come.node = waiting.node AND \
         come.kind = 'insert' AND (come.state = 'quarantined' OR come.awaits_hash IS NOT NULL)) GROUP BY awaits_hash ORDER BY RAND() LIMIT {most}",
        held = names.held
    );
    let rows = session.rows(&sql, vec![Param::from(node.to_string())]).await?;
    Ok(rows
        .into_iter()
        .filter_map(|row| {
            let mut columns = row.unwrap().into_iter();
            let table = text(columns.next()?);
            let Param::Bytes(bytes) = columns.next()? else { return None };
            let identity = IdentityBytes::from_slice(&bytes).identity().ok()?.into_owned();
            Some(Wanted { table: Name::from(table), identity })
        })
        .collect())
}

/// The tables of which changes of a node wait for a row, a table or a column.
pub(in crate::apply) async fn waiting(
    session: &mut Session,
    names: &Names,
    node: NodeId,
) -> Result<Vec<String>, Failure> {
    let sql = format!(
        "SELECT DISTINCT row_table FROM {} WHERE node = ? AND state = 'parked' AND awaits_table IS \
         NOT NULL",
        names.held
    );
    let rows = session.rows(&sql, vec![Param::from(node.to_string())]).await?;
    Ok(rows.into_iter().filter_map(|row| row.unwrap().into_iter().next()).map(text).collect())
}

/// The parked changes that another try is made of: not tried since a moment, and of nodes whose
/// links are in use.
fn due(names: &Names, since: Timestamp, nodes: &[NodeId]) -> (String, Vec<Param>) {
    // None of them: no node is called so.
    let count = nodes.len().max(1);
    let marks = vec!["?"; count].join(",");
    let sql =
        format!("{} WHERE state = 'parked' AND tried_at <= ? AND node IN ({marks})", names.held);
    let mut params = vec![moment(since)];
    params.extend(nodes.iter().map(|node| Param::from(node.to_string())));
    params.resize(count + 1, Param::from(""));
    (sql, params)
}

/// Whether changes that are due wait for a table or a column to be made here.
pub(in crate::apply) async fn undefined(
    session: &mut Session,
    names: &Names,
    since: Timestamp,
    nodes: &[NodeId],
) -> Result<bool, Failure> {
    let (due, params) = due(names, since, nodes);
    let sql = format!(
        "SELECT EXISTS (SELECT 1 FROM {due} AND awaits_hash IS NULL AND awaits_table IS NOT NULL)"
    );
    let row = session.rows(&sql, params).await?.into_iter().next();
    Ok(row.and_then(|row| row.unwrap().into_iter().next()).map_or(0, number) == 1)
}

/// The rows whose parked changes are due, by node; those that wait longest for their turn first.
pub(in crate::apply) async fn nodes_parked(
    session: &mut Session,
    names: &Names,
    since: Timestamp,
    nodes: &[NodeId],
) -> Result<Vec<(NodeId, Vec<u64>)>, Failure> {
    let (due, params) = due(names, since, nodes);
    let sql = format!(
        "SELECT node, row_hash, MIN(tried_at) AS tried FROM {due} GROUP BY node, row_hash ORDER BY \
         tried LIMIT {RELEASE_MAX}"
    );
    let mut nodes: HashMap<NodeId, Vec<u64>> = HashMap::new();
    for row in session.rows(&sql, params).await? {
        let mut columns = row.unwrap().into_iter();
        let node = text(columns.next().unwrap_or(Param::NULL));
        let hash = number(columns.next().unwrap_or(Param::NULL));
        if let Ok(node) = uuid::Uuid::parse_str(&node) {
            nodes.entry(NodeId(node)).or_default().push(hash);
        }
    }
    Ok(nodes.into_iter().collect())
}

/// Notes that some rows' parked changes had their turn, tried or not.
pub(in crate::apply) async fn had_their_turn(
    session: &mut Session,
    names: &Names,
    node: NodeId,
    now: Timestamp,
    rows: &[u64],
) -> Result<(), Failure> {
    for piece in rows.chunks(HASHES_MAX) {
        let sql = format!(
            "UPDATE {} SET tried_at = ? WHERE row_hash IN ({}) AND node = ? AND state = 'parked' \
             AND tried_at < ?",
            names.held,
            marks(piece.len())
        );
        let mut params = vec![moment(now)];
        params.extend(padded(piece));
        params.extend([Param::from(node.to_string()), moment(now)]);
        session.execute(&sql, params).await?;
    }
    Ok(())
}

/// Notes why a row's parked changes could not be tried at all; they have their turn again later.
pub(in crate::apply) async fn put_off(
    session: &mut Session,
    names: &Names,
    node: NodeId,
    row: u64,
    now: Timestamp,
    reason: &str,
) -> Result<(), Failure> {
    let sql = format!(
        "UPDATE {} SET tried_at = ?, tries = tries + 1, reason = ? WHERE row_hash = ? AND node = ? \
         AND state = 'parked'",
        names.held
    );
    let reason = shortened(&format!("it cannot be tried: {reason}"));
    let params =
        vec![moment(now), Param::from(reason), Param::from(row), Param::from(node.to_string())];
    session.execute(&sql, params).await.map(|_| ())
}

/// Removes a change for good. If it was the first of its row's, nothing is known to be wrong with
/// the later ones: they are tried at the next turn.
pub(in crate::apply) async fn discard(
    session: &mut Session,
    names: &Names,
    now: Timestamp,
    id: u64,
) -> Result<bool, Failure> {
    let Some((node, row)) = find(session, names, id).await? else { return Ok(false) };
    let sql = format!("SELECT MIN(id) FROM {} WHERE row_hash = ? AND node = ?", names.held);
    let chain = vec![Param::from(row), Param::from(node.to_string())];
    let first = session.rows(&sql, chain).await?.into_iter().next();
    let first = first.and_then(|row| row.unwrap().into_iter().next()).map_or(0, number);
    let removed = remove(session, names, &[id]).await?;
    if first == id {
        next_in_turn(session, names, now, node, &[row]).await?;
    }
    Ok(removed > 0)
}

/// The same for all changes of a node that wait in this way.
pub(in crate::apply) async fn discard_all(
    session: &mut Session,
    names: &Names,
    now: Timestamp,
    state: State,
    node: NodeId,
) -> Result<u64, Failure> {
    let (held, of_node) = (&names.held, Param::from(node.to_string()));
    let sql = format!(
        "SELECT row_hash FROM {held} WHERE node = ? GROUP BY row_hash \
         HAVING MIN(id) = MIN(CASE WHEN state = ? THEN id END)"
    );
    let params = vec![of_node, Param::from(state.word())];
    let rows = session.rows(&sql, params.clone()).await?;
    let first = rows.into_iter().filter_map(|row| row.unwrap().into_iter().next()).map(number);
    let first: Vec<u64> = first.collect();
    let removed = forget(session, names, "node = ? AND state = ?", params).await?;
    next_in_turn(session, names, now, node, &first).await?;
    Ok(removed)
}

/// Lets what waited behind changes that were discarded be tried at the next turn.
async fn next_in_turn(
    session: &mut Session,
    names: &Names,
    now: Timestamp,
    node: NodeId,
    rows: &[u64],
) -> Result<(), Failure> {
    for piece in rows.chunks(HASHES_MAX) {
        let sql = format!(
            "UPDATE {} SET state = 'parked', tried_at = ?, reason = 'the change it waited behind \
             was discarded' WHERE row_hash IN ({}) AND node = ? AND state = 'quarantined'",
            names.held,
            marks(piece.len())
        );
        let mut params = vec![moment(now)];
        params.extend(padded(piece));
        params.push(Param::from(node.to_string()));
        session.execute(&sql, params).await?;
    }
    Ok(())
}
