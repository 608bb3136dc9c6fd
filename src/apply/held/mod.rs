//! The changes set aside, in the target: written, found again, released and listed.

mod chain;
mod list;

use mysql_async::Value as Param;

use super::error::{Awaits, Failure, Hold};
use super::plan::{Item, Source, row_hash};
use super::session::Session;
use super::state::{Names, moment};
use crate::change::{Change, Identity, Kind, NodeId, Sequence};
use crate::clock::Timestamp;
use crate::record::{End, IdentityBytes, Record, SegmentReader, SegmentWriter};
pub(super) use chain::{
    Chain, awaiting, blocked, chains, discard, discard_all, dissolve, had_their_turn, nodes_parked,
    put_off, supersede, undefined, waiting, wanted,
};
pub use list::{Shown, ShownValue, Waiting};
pub(super) use list::{count, counts, counts_since, find, list, show};

/// Hashes in one lookup.
const HASHES_MAX: usize = 512;

/// Bytes of changes in one insert, unless the server takes less. MySQL 5.6 takes no value above a tenth
/// of its redo log.
const INSERT_BYTES_MAX: usize = 4 << 20;

/// A change as it is stored.
pub(super) struct Stored {
    pub(super) id: u64,
    /// The hash of its row.
    pub(super) row: u64,
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
    let bytes_max = INSERT_BYTES_MAX.min(session.packet_bytes_max / 2);
    let mut rows: Vec<Vec<Param>> = Vec::new();
    let mut bytes = 0_usize;
    for (item, hold) in holds {
        let mut row = new_row(node, now, item, hold);
        let content = encode(&item.change);
        if content.len() > bytes_max {
            // Its number comes after those of what was set aside before it.
            insert_some(session, names, std::mem::take(&mut rows)).await?;
            bytes = 0;
            row.push(Param::from(""));
            insert_in_parts(session, names, row, &content, bytes_max).await?;
            continue;
        }
        row.push(Param::from(content));
        let size: usize = row.iter().map(super::cell::param_bytes).sum();
        if rows.len() == 64 || (!rows.is_empty() && bytes.saturating_add(size) > bytes_max) {
            insert_some(session, names, std::mem::take(&mut rows)).await?;
            bytes = 0;
        }
        bytes = bytes.saturating_add(size);
        rows.push(row);
    }
    insert_some(session, names, rows).await.map(|_| ())
}

/// Stores a change that is too long for one insert.
async fn insert_in_parts(
    session: &mut Session,
    names: &Names,
    row: Vec<Param>,
    content: &[u8],
    part_bytes: usize,
) -> Result<(), Failure> {
    let id = insert_some(session, names, vec![row]).await?;
    let sql = format!("INSERT INTO {} (held, number, content) VALUES (?, ?, ?)", names.part);
    for (number, part) in content.chunks(part_bytes).enumerate() {
        let params = vec![Param::from(id), Param::from(number), Param::from(part)];
        session.execute(&sql, params).await?;
    }
    Ok(())
}

/// Tells the number of the first.
async fn insert_some(
    session: &mut Session,
    names: &Names,
    rows: Vec<Vec<Param>>,
) -> Result<Option<u64>, Failure> {
    const COLUMNS: &str = "(state, node, sequence, place, row_table, row_hash, row_identity, kind, \
                           reason, awaits_hash, awaits_table, awaits_identity, held_at, tried_at, content)";
    if rows.is_empty() {
        return Ok(None);
    }
    let marks = vec!["(?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)"; rows.len()].join(",");
    let sql = format!("INSERT INTO {} {COLUMNS} VALUES {marks}", names.held);
    let done = session.execute(&sql, rows.into_iter().flatten().collect()).await?;
    Ok(done.last_insert_id)
}

/// A change's bytes, which stand in parts of their own where the row has none.
async fn whole(
    session: &mut Session,
    names: &Names,
    id: u64,
    content: Option<Param>,
) -> Result<Vec<u8>, Failure> {
    let bytes = |param| if let Some(Param::Bytes(bytes)) = param { bytes } else { Vec::new() };
    let content = bytes(content);
    if !content.is_empty() {
        return Ok(content);
    }
    let sql = format!("SELECT content FROM {} WHERE held = ? ORDER BY number", names.part);
    let parts = session.rows(&sql, vec![Param::from(id)]).await?;
    let parts = parts.into_iter().map(|row| bytes(row.unwrap().into_iter().next()));
    Ok(parts.collect::<Vec<_>>().concat())
}

/// All columns but the content.
fn new_row(node: NodeId, now: Timestamp, item: &Item<'_>, hold: &Hold) -> Vec<Param> {
    let change = &item.change;
    let (sequence, place) = match item.source {
        Source::Fresh { sequence, place } => (sequence.0, place),
        Source::Held { id } => (0, id),
    };
    let mut row = vec![
        Param::from(hold.state.word()),
        Param::from(node.to_string()),
        Param::from(sequence),
        Param::from(place),
        Param::from(column_name(&change.shape.table)),
        Param::from(row_hash(&change.shape.table, &change.identity)),
        Param::from(shortened(&change.identity.to_string())),
        Param::from(word(change)),
        Param::from(shortened(&hold.reason)),
    ];
    row.extend(awaits(hold));
    row.extend([moment(now), moment(now)]);
    row
}

fn word(change: &Change<'_>) -> &'static str {
    match change.kind {
        Kind::Insert => "insert",
        Kind::Update if change.previous.is_some() => "rename",
        Kind::Update => "update",
        Kind::Delete => "delete",
    }
}

/// What the change waits for, as the columns `awaits_hash`, `awaits_table` and `awaits_identity`.
fn awaits(hold: &Hold) -> [Param; 3] {
    match &hold.awaits {
        Some(Awaits::Row(table, identity)) => [
            Param::from(row_hash(table, identity)),
            Param::from(column_name(table)),
            Param::from(IdentityBytes::new(identity).as_slice()),
        ],
        Some(Awaits::Table(table)) => [Param::NULL, Param::from(column_name(table)), Param::NULL],
        Some(Awaits::Room) => [Param::from(room()), Param::NULL, Param::NULL],
        None => [Param::NULL, Param::NULL, Param::NULL],
    }
}

/// What fits a column for the names of tables; longer ones are no server's.
fn column_name(table: &str) -> String {
    table.chars().take(64).collect()
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
        "UPDATE {} SET state = ?, reason = ?, awaits_hash = ?, awaits_table = ?, \
         awaits_identity = ?, tried_at = ?, tries = tries + 1 WHERE id = ?",
        names.held
    );
    let mut params = vec![Param::from(hold.state.word()), Param::from(shortened(&hold.reason))];
    params.extend(awaits(hold));
    params.extend([moment(now), Param::from(id)]);
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
        let some = format!("id IN ({})", marks(piece.len()));
        removed += forget(session, names, &some, padded(piece)).await?;
    }
    Ok(removed)
}

/// Removes the changes that meet a condition, and tells how many they were.
async fn forget(
    session: &mut Session,
    names: &Names,
    condition: &str,
    params: Vec<Param>,
) -> Result<u64, Failure> {
    let Names { held, part, .. } = names;
    let sql = format!(
        "DELETE {part} FROM {part} JOIN {held} ON {held}.id = {part}.held WHERE {condition}"
    );
    session.execute(&sql, params.clone()).await?;
    let sql = format!("DELETE FROM {held} WHERE {condition}");
    Ok(session.execute(&sql, params).await?.affected)
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
    row_hash(&item.change.shape.table, &item.change.identity)
}

/// What a change waits for while a row is in its way: no row's hash, as no table has no name.
pub(super) fn room() -> u64 {
    row_hash("", &Identity::Many(Vec::new()))
}
