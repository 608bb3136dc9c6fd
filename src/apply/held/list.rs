//! What waits, for people: listed, shown and counted.

use mysql_async::Value as Param;

use super::{Stored, decode, whole};
use crate::apply::error::{Failure, State};
use crate::apply::session::Session;
use crate::apply::state::{Names, number, text};
use crate::change::{Identity, NodeId, Sequence};
use crate::value::{Name, Value};

/// A longer value is cut where it is shown.
const SHOWN_LETTERS_MAX: usize = 200;

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
    pub values: Vec<ShownValue>,
}

/// One value that a change would write.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct ShownValue {
    /// The column.
    pub column: String,
    /// The start of its value, as text; `None` for NULL.
    pub value: Option<String>,
}

/// The node and row of a waiting change.
pub(in crate::apply) async fn find(
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
                      DATE_FORMAT(held_at, '%Y-%m-%dT%H:%i:%sZ'), \
                      DATE_FORMAT(tried_at, '%Y-%m-%dT%H:%i:%sZ'), tries";

/// The changes in a state, oldest first; of one node only, if it is named.
pub(in crate::apply) async fn list(
    session: &mut Session,
    names: &Names,
    state: State,
    node: Option<NodeId>,
    limit: u32,
) -> Result<Vec<Waiting>, Failure> {
    let mut params = vec![Param::from(state.word())];
    params.extend(node.map(|node| Param::from(node.to_string())));
    let of_node = if node.is_some() { " AND node = ?" } else { "" };
    let sql = format!(
        "SELECT {LISTED} FROM {} WHERE state = ?{of_node} ORDER BY id LIMIT {limit}",
        names.held
    );
    let rows = session.rows(&sql, params).await?;
    Ok(rows.into_iter().map(|row| listed(row.unwrap())).collect())
}

/// One change with its values.
pub(in crate::apply) async fn show(
    session: &mut Session,
    names: &Names,
    id: u64,
) -> Result<Option<Shown>, Failure> {
    let sql = format!("SELECT {LISTED}, content FROM {} WHERE id = ?", names.held);
    let Some(row) = session.rows(&sql, vec![Param::from(id)]).await?.into_iter().next() else {
        return Ok(None);
    };
    let mut columns = row.unwrap();
    let content = whole(session, names, id, columns.pop()).await?;
    let stored = [Stored { id, row: 0, content }];
    let values = decode(&stored)
        .into_iter()
        .next()
        .map(|item| {
            let shown = |(column, value): (&Name, Value<'_>)| ShownValue {
                column: column.to_string(),
                value: (!value.is_null()).then(|| {
                    Identity::One(value).to_string().chars().take(SHOWN_LETTERS_MAX).collect()
                }),
            };
            let columns = &item.change.shape.columns;
            columns.iter().zip(item.change.values).map(shown).collect()
        })
        .unwrap_or_default();
    Ok(Some(Shown { waiting: listed(columns), values }))
}

/// How many changes wait in all.
pub(in crate::apply) async fn count(session: &mut Session, names: &Names) -> Result<u64, Failure> {
    let sql = format!("SELECT COUNT(*) FROM {}", names.held);
    let row = session.rows(&sql, Vec::new()).await?.into_iter().next();
    Ok(row.and_then(|row| row.unwrap().into_iter().next()).map_or(0, number))
}

/// How many changes wait, parked and quarantined.
pub(in crate::apply) async fn counts(
    session: &mut Session,
    names: &Names,
) -> Result<(u64, u64), Failure> {
    let sql = format!(
        "SELECT COALESCE(SUM(state = 'parked'), 0), COALESCE(SUM(state = 'quarantined'), 0) \
         FROM {}",
        names.held
    );
    Ok(two(session.rows(&sql, Vec::new()).await?))
}

/// How many changes of a node's transactions after `from` wait, parked and quarantined.
pub(in crate::apply) async fn counts_since(
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
