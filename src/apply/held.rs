//! The changes set aside, in the target: written, found again, released and listed.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use mysql_async::Value as Param;

use super::error::{Failure, Hold, State};
use super::plan::{Item, Source, row_hash};
use super::session::Session;
use super::state::{Names, moment, number, text};
use crate::change::{Change, Kind, NodeId, Sequence};
use crate::clock::Timestamp;
use crate::record::{End, Record, SegmentReader, SegmentWriter};

/// Hashes in one lookup.
const HASHES_MAX: usize = 512;
/// Bytes of changes in one insert, unless a single one is larger.
const INSERT_BYTES_MAX: usize = 4 << 20;
/// Changes read back at once for another try.
const RELEASE_MAX: u64 = 2_000;
/// Bytes of changes read back at once for another try.
const RELEASE_BYTES_MAX: u64 = 32 << 20;

/// A change that waits, as it is listed.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Waiting {
    /// What it is shown, retried and discarded by.
    pub id: u64,
    /// Whether it waits for a row or for a person.
    pub state: State,
    /// The node it came from.
    pub node: String,
    /// Its transaction there.
    pub sequence: u64,
    /// The row's table.
    pub table: String,
    /// The row.
    pub identity: String,
    /// `insert`, `update` or `delete`.
    pub kind: String,
    /// Why it waits.
    pub reason: String,
    /// When it was set aside, UTC.
    pub held_at: String,
    /// When it was tried last, UTC.
    pub tried_at: String,
    /// How often it was tried.
    pub tries: u64,
}

/// A change that waits, with what it would write.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Shown {
    /// The change as it is listed.
    #[serde(flatten)]
    pub waiting: Waiting,
    /// Its columns and their values.
    pub values: Vec<(String, String)>,
}

/// A change as it is stored.
pub(super) struct Stored {
    pub(super) id: u64,
    pub(super) content: Vec<u8>,
}

/// A change as one segment that stands for itself.
pub(super) fn encode(change: &Change<'_>) -> Vec<u8> {
    let mut writer = SegmentWriter::new();
    writer.begin(Sequence(1));
    writer.change(change);
    writer.end(End { sequence: Sequence(1), changes: 1, committed_at: Timestamp(0), origin: None });
    writer.finish()
}

/// The changes in what [`encode`] made. One that cannot be read any more is left out, and stays
/// where it is.
pub(super) fn decode(stored: &[Stored]) -> Vec<Item<'_>> {
    stored
        .iter()
        .filter_map(|stored| {
            let mut reader = SegmentReader::new(&stored.content);
            while let Ok(Some(record)) = reader.read() {
                if let Record::Change(change) = record {
                    return Some(Item { change, source: Source::Held { id: stored.id } });
                }
            }
            None
        })
        .collect()
}

/// Stores changes of a batch.
pub(super) async fn insert(
    session: &mut Session,
    names: &Names,
    node: NodeId,
    now: Timestamp,
    holds: &[(&Item<'_>, &Hold)],
) -> Result<(), Failure> {
    const COLUMNS: &str = "(state, node, sequence, place, row_table, row_hash, row_identity, kind, \
                           reason, awaits_hash, held_at, tried_at, content)";
    let mut rows: Vec<Vec<Param>> = Vec::new();
    let mut bytes = 0_usize;
    for (number, (item, hold)) in holds.iter().enumerate() {
        let row = new_row(node, now, item, hold);
        bytes = bytes.saturating_add(row.iter().map(super::cell::param_bytes).sum());
        rows.push(row);
        let last = number + 1 == holds.len();
        if last || rows.len() == 64 || bytes >= INSERT_BYTES_MAX {
            let marks = vec!["(?,?,?,?,?,?,?,?,?,?,?,?,?)"; rows.len()].join(",");
            let sql = format!("INSERT INTO {} {COLUMNS} VALUES {marks}", names.held);
            session
                .execute(&sql, std::mem::take(&mut rows).into_iter().flatten().collect())
                .await?;
            bytes = 0;
        }
    }
    Ok(())
}

fn new_row(node: NodeId, now: Timestamp, item: &Item<'_>, hold: &Hold) -> Vec<Param> {
    let change = &item.change;
    let (sequence, place) = match item.source {
        Source::Fresh { sequence, place } => (sequence.0, place),
        Source::Held { id } => (0, id),
    };
    vec![
        Param::from(hold.state.word()),
        Param::from(node.to_string()),
        Param::from(sequence),
        Param::from(place),
        Param::from(change.shape.table.chars().take(64).collect::<String>()),
        Param::from(row_hash(&change.shape.table, &change.identity)),
        Param::from(shortened(&change.identity.to_string())),
        Param::from(word(change.kind)),
        Param::from(shortened(&hold.reason)),
        awaits(hold),
        moment(now),
        moment(now),
        Param::from(encode(change)),
    ]
}

fn word(kind: Kind) -> &'static str {
    match kind {
        Kind::Insert => "insert",
        Kind::Update => "update",
        Kind::Delete => "delete",
    }
}

fn awaits(hold: &Hold) -> Param {
    match &hold.awaits {
        Some((table, identity)) => Param::from(row_hash(table, identity)),
        None => Param::NULL,
    }
}

/// What fits a TEXT column in any character set.
fn shortened(shown: &str) -> String {
    shown.chars().take(4_000).collect()
}

/// Notes that a change was tried again and still waits.
pub(super) async fn tried(
    session: &mut Session,
    names: &Names,
    now: Timestamp,
    id: u64,
    hold: &Hold,
) -> Result<(), Failure> {
    let sql = format!(
        "UPDATE {} SET state = ?, reason = ?, awaits_hash = ?, tried_at = ?, tries = tries + 1 \
         WHERE id = ?",
        names.held
    );
    let params = vec![
        Param::from(hold.state.word()),
        Param::from(shortened(&hold.reason)),
        awaits(hold),
        moment(now),
        Param::from(id),
    ];
    session.execute(&sql, params).await.map(|_| ())
}

/// Removes changes that were applied, or that somebody discarded.
pub(super) async fn remove(
    session: &mut Session,
    names: &Names,
    ids: &[u64],
) -> Result<u64, Failure> {
    let mut removed = 0;
    for piece in ids.chunks(HASHES_MAX) {
        let sql = format!("DELETE FROM {} WHERE id IN ({})", names.held, marks(piece.len()));
        let params = padded(piece);
        removed += session.execute(&sql, params).await?.affected;
    }
    Ok(removed)
}

/// Which of some rows have changes waiting, and how.
pub(super) async fn blocked(
    session: &mut Session,
    names: &Names,
    hashes: &[u64],
) -> Result<HashMap<u64, State>, Failure> {
    let mut found = HashMap::new();
    for piece in hashes.chunks(HASHES_MAX) {
        let sql = format!(
            "SELECT DISTINCT row_hash, state FROM {} WHERE row_hash IN ({})",
            names.held,
            marks(piece.len())
        );
        for row in session.rows(&sql, padded(piece)).await? {
            let mut columns = row.unwrap().into_iter();
            let hash = number(columns.next().unwrap_or(Param::NULL));
            let state = state_of(&text(columns.next().unwrap_or(Param::NULL)));
            // The first change of the chain decides, and quarantine is what keeps it waiting.
            let entry = found.entry(hash).or_insert(state);
            if state == State::Quarantined {
                *entry = state;
            }
        }
    }
    Ok(found)
}

/// The rows of a node's parked changes that wait for one of these rows.
pub(super) async fn awaiting(
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
pub(super) async fn chains(
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
        "SELECT id, LENGTH(content) FROM {} WHERE {condition} ORDER BY id LIMIT {RELEASE_MAX}",
        names.held
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
            "SELECT id, content FROM {} WHERE id IN ({}) ORDER BY id FOR UPDATE",
            names.held,
            marks(piece.len())
        );
        for row in session.rows(&sql, padded(piece)).await? {
            let mut columns = row.unwrap().into_iter();
            let id = number(columns.next().unwrap_or(Param::NULL));
            let content = match columns.next() {
                Some(Param::Bytes(content)) => content,
                Some(_) | None => Vec::new(),
            };
            stored.push(Stored { id, content });
        }
    }
    Ok(stored)
}

/// The nodes that have parked changes not tried since a moment.
pub(super) async fn nodes_parked(
    session: &mut Session,
    names: &Names,
    since: Timestamp,
) -> Result<Vec<(NodeId, Vec<u64>)>, Failure> {
    let sql = format!(
        "SELECT DISTINCT node, row_hash FROM {} WHERE state = 'parked' AND tried_at <= ? \
         LIMIT {RELEASE_MAX}",
        names.held
    );
    let mut nodes: HashMap<NodeId, Vec<u64>> = HashMap::new();
    for row in session.rows(&sql, vec![moment(since)]).await? {
        let mut columns = row.unwrap().into_iter();
        let node = text(columns.next().unwrap_or(Param::NULL));
        let hash = number(columns.next().unwrap_or(Param::NULL));
        if let Ok(node) = uuid::Uuid::parse_str(&node) {
            nodes.entry(NodeId(node)).or_default().push(hash);
        }
    }
    Ok(nodes.into_iter().collect())
}

/// The node and row of a waiting change.
pub(super) async fn find(
    session: &mut Session,
    names: &Names,
    id: u64,
) -> Result<Option<(NodeId, u64)>, Failure> {
    let sql = format!("SELECT node, row_hash FROM {} WHERE id = ?", names.held);
    let row = session.rows(&sql, vec![Param::from(id)]).await?.into_iter().next();
    Ok(row.and_then(|row| {
        let mut columns = row.unwrap().into_iter();
        let node = uuid::Uuid::parse_str(&text(columns.next()?)).ok()?;
        Some((NodeId(node), number(columns.next()?)))
    }))
}

const LISTED: &str = "id, state, node, sequence, row_table, row_identity, kind, reason, \
                      CAST(held_at AS CHAR), CAST(tried_at AS CHAR), tries";

/// The changes in a state, oldest first.
pub(super) async fn list(
    session: &mut Session,
    names: &Names,
    state: State,
    limit: u32,
) -> Result<Vec<Waiting>, Failure> {
    let sql =
        format!("SELECT {LISTED} FROM {} WHERE state = ? ORDER BY id LIMIT {limit}", names.held);
    let rows = session.rows(&sql, vec![Param::from(state.word())]).await?;
    Ok(rows.into_iter().map(|row| listed(row.unwrap())).collect())
}

/// One change with its values.
pub(super) async fn show(
    session: &mut Session,
    names: &Names,
    id: u64,
) -> Result<Option<Shown>, Failure> {
    let sql = format!("SELECT {LISTED}, content FROM {} WHERE id = ?", names.held);
    let Some(row) = session.rows(&sql, vec![Param::from(id)]).await?.into_iter().next() else {
        return Ok(None);
    };
    let mut columns = row.unwrap();
    let content = match columns.pop() {
        Some(Param::Bytes(content)) => content,
        Some(_) | None => Vec::new(),
    };
    let stored = [Stored { id, content }];
    let values = decode(&stored)
        .into_iter()
        .next()
        .map(|item| {
            let columns = item.change.shape.columns.iter().map(ToString::to_string);
            let values = item.change.values.into_iter().map(|value| {
                let shown = crate::change::Identity::One(value).to_string();
                shown.chars().take(200).collect::<String>()
            });
            columns.zip(values).collect()
        })
        .unwrap_or_default();
    Ok(Some(Shown { waiting: listed(columns), values }))
}

/// How many changes wait, parked and quarantined.
pub(super) async fn counts(session: &mut Session, names: &Names) -> Result<(u64, u64), Failure> {
    let sql = format!(
        "SELECT COALESCE(SUM(state = 'parked'), 0), COALESCE(SUM(state = 'quarantined'), 0) \
         FROM {}",
        names.held
    );
    Ok(two(session.rows(&sql, Vec::new()).await?))
}

/// How many changes of a node's transactions after `from` wait, parked and quarantined.
pub(super) async fn counts_since(
    session: &mut Session,
    names: &Names,
    node: NodeId,
    from: Sequence,
) -> Result<(u64, u64), Failure> {
    let sql = format!(
        "SELECT COALESCE(SUM(state = 'parked'), 0), COALESCE(SUM(state = 'quarantined'), 0) \
         FROM {} WHERE node = ? AND sequence > ?",
        names.held
    );
    let params = vec![Param::from(node.to_string()), Param::from(from.0)];
    Ok(two(session.rows(&sql, params).await?))
}

fn two(rows: Vec<mysql_async::Row>) -> (u64, u64) {
    let row = rows.into_iter().next();
    let mut columns = row.map(mysql_async::Row::unwrap).unwrap_or_default().into_iter();
    let mut next = || {
        let shown = text(columns.next().unwrap_or(Param::NULL));
        shown.parse().unwrap_or(0)
    };
    (next(), next())
}

fn listed(row: Vec<Param>) -> Waiting {
    let mut columns = row.into_iter();
    let mut next = || columns.next().unwrap_or(Param::NULL);
    Waiting {
        id: number(next()),
        state: state_of(&text(next())),
        node: text(next()),
        sequence: number(next()),
        table: text(next()),
        identity: text(next()),
        kind: text(next()),
        reason: text(next()),
        held_at: text(next()),
        tried_at: text(next()),
        tries: number(next()),
    }
}

fn state_of(word: &str) -> State {
    if word == State::Quarantined.word() { State::Quarantined } else { State::Parked }
}

/// As many question marks as the next power of two, so that few statements are prepared.
fn marks(count: usize) -> String {
    vec!["?"; count.next_power_of_two()].join(",")
}

fn padded(numbers: &[u64]) -> Vec<Param> {
    let last = numbers.last().copied().unwrap_or(0);
    let mut params: Vec<Param> = numbers.iter().copied().map(Param::from).collect();
    params.resize(numbers.len().next_power_of_two(), Param::from(last));
    params
}

/// The hash under which a change waits.
pub(super) fn hash_of(item: &Item<'_>) -> u64 {
    row_hash(&Arc::clone(&item.change.shape.table), &item.change.identity)
}
