//! What apply keeps in the target, in a schema of its own because it must commit with the rows:
//! the links' watermarks, the changes set aside, and the list of touched rows.

use mysql_async::{Value as Param, from_value_opt};

use super::error::{Error, Failure};
use super::session::Session;
use crate::change::{Epoch, NodeId, Sequence};
use crate::clock::Timestamp;
use crate::database::name::{quoted, table_of};
use crate::transport::Watermark;

/// The version of the tables below.
const VERSION: u32 = 4;

/// The names of the state's tables, quoted.
#[derive(Debug, Clone)]
pub(super) struct Names {
    schema: String,
    pub(super) watermark: String,
    pub(super) held: String,
    pub(super) part: String,
    pub(super) touched: String,
    version: String,
}

impl Names {
    pub(super) fn new(schema: &str) -> Names {
        let table = |name: &str| table_of(schema, name);
        Names {
            watermark: table("watermark"),
            held: table("held"),
            part: table("held_part"),
            touched: table("touched"),
            version: table("version"),
            schema: quoted(schema),
        }
    }
}

/// How far a link has been applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) watermark: Watermark,
    /// Whether any change at all is set aside.
    pub(super) any_held: bool,
}

/// Makes what is not there yet. Statements that are not needed are not run, so that a user
/// without the privilege to create tables can apply once the tables exist.
pub(super) async fn prepare(session: &mut Session, names: &Names) -> Result<(), Failure> {
    let sql = format!("SELECT number FROM {}", names.version);
    let found = match session.rows(&sql, Vec::new()).await {
        Ok(rows) => rows.into_iter().next().and_then(|row| row.unwrap().into_iter().next()),
        // No such table or database; every other trouble shows again below.
        Err(_) => None,
    };
    match found.and_then(|value| from_value_opt::<u32>(value).ok()) {
        Some(VERSION) => return Ok(()),
        Some(number @ 1..VERSION) => return migrate(session, names, number).await,
        Some(number) => {
            return Err(Failure::Whole(Error::Stop(format!(
                "the tables in schema {} are of version {number}, and this headwater knows \
                 version {VERSION}: run the newer headwater",
                names.schema
            ))));
        }
        None => {}
    }
    create_schema(session, names).await?;
    for sql in tables(names) {
        session.run(&sql).await?;
    }
    session.run(&format!("INSERT IGNORE INTO {} (number) VALUES ({VERSION})", names.version)).await
}

async fn migrate(session: &mut Session, names: &Names, number: u32) -> Result<(), Failure> {
    if number < 2 {
        migrate_from_1(session, names).await?;
    }
    if number < 3 {
        migrate_from_2(session, names).await?;
    }
    let there = format!("SELECT 1 FROM {} LIMIT 1", names.part);
    if session.rows(&there, Vec::new()).await.is_err() {
        session.run(&part_table(names)).await?;
    }
    session.run(&format!("UPDATE {} SET number = {VERSION}", names.version)).await
}

/// Adds what a change waits for, by name. What was parked before learns it at its next try.
async fn migrate_from_1(session: &mut Session, names: &Names) -> Result<(), Failure> {
    let Names { held, version, .. } = names;
    // Each statement commits by itself; one that was run before a crash is not run again.
    let present = format!("SHOW COLUMNS FROM {held} LIKE 'awaits_table'");
    if session.rows(&present, Vec::new()).await?.is_empty() {
        let kind = "MODIFY kind ENUM('insert', 'update', 'delete', 'rename') NOT NULL";
        let sql = format!("ALTER TABLE {held} {AWAITED_1}, {AWAITED_2}, {kind}");
        session.run(&sql).await?;
    }
    session.run(&format!("UPDATE {version} SET number = 2")).await
}

/// Adds which batch brought a watermark, and what counts a node's changes without reading them. What
/// was applied before has no batch, and is not asked for it.
async fn migrate_from_2(session: &mut Session, names: &Names) -> Result<(), Failure> {
    let Names { watermark, held, version, .. } = names;
    let present = format!("SHOW COLUMNS FROM {watermark} LIKE 'batch'");
    if session.rows(&present, Vec::new()).await?.is_empty() {
        session.run(&format!("ALTER TABLE {watermark} ADD COLUMN {BATCH}")).await?;
    }
    let present = format!("SHOW INDEX FROM {held} WHERE Key_name = 'node'");
    if session.rows(&present, Vec::new()).await?.is_empty() {
        session.run(&format!("ALTER TABLE {held} ADD {BY_NODE}")).await?;
    }
    session.run(&format!("UPDATE {version} SET number = 3")).await
}

/// Makes the schema unless it is there: an administrator may have made it and granted no more.
async fn create_schema(session: &mut Session, names: &Names) -> Result<(), Failure> {
    let bare = names.schema.trim_matches('`').replace("``", "`");
    let there = session
        .rows(
            "SELECT 1 FROM information_schema.schemata WHERE schema_name = ?",
            vec![Param::from(bare)],
        )
        .await?;
    if there.is_empty() {
        let sql = format!("CREATE DATABASE IF NOT EXISTS {} CHARACTER SET utf8mb4", names.schema);
        session.run(&sql).await?;
    }
    Ok(())
}

/// The columns that version 2 brought.
const AWAITED_1: &str = "ADD COLUMN awaits_table VARCHAR(64) NULL AFTER awaits_hash";
const AWAITED_2: &str = "ADD COLUMN awaits_identity LONGBLOB NULL AFTER awaits_table";

/// The column and the key that version 3 brought.
const BATCH: &str =
    "batch BINARY(8) NULL COMMENT 'the first bytes of the checksum of the batch that brought it'";
const BY_NODE: &str = "KEY node (node, state, sequence)";

const ENDING: &str = "ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin";

/// What version 4 brought.
fn part_table(names: &Names) -> String {
    format!(
        "CREATE TABLE IF NOT EXISTS {} (
           held BIGINT UNSIGNED NOT NULL COMMENT 'the change, whose own content is empty',
           number INT UNSIGNED NOT NULL,
           content LONGBLOB NOT NULL COMMENT 'the next bytes of what is too long for a packet',
           PRIMARY KEY (held, number)
         ) {ENDING}",
        names.part
    )
}

fn tables(names: &Names) -> Vec<String> {
    let Names { watermark, held, touched, version, .. } = names;
    vec![
        format!(
            "CREATE TABLE IF NOT EXISTS {version} (number INT UNSIGNED NOT NULL PRIMARY KEY) \
             {ENDING}"
        ),
        format!(
            "CREATE TABLE IF NOT EXISTS {watermark} (
               node CHAR(36) NOT NULL PRIMARY KEY COMMENT 'the node at the other end of the link',
               epoch CHAR(36) NOT NULL COMMENT 'of its store: sequences count within it',
               sequence BIGINT UNSIGNED NOT NULL COMMENT 'the last transaction applied',
               applied_at DATETIME(6) NOT NULL COMMENT 'UTC',
               {BATCH}
             ) {ENDING}"
        ),
        format!(
            "CREATE TABLE IF NOT EXISTS {held} (
               id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
               state ENUM('parked', 'quarantined') NOT NULL,
               node CHAR(36) NOT NULL,
               sequence BIGINT UNSIGNED NOT NULL,
               place BIGINT UNSIGNED NOT NULL COMMENT 'of the change in its transaction',
               row_table VARCHAR(64) NOT NULL,
               row_hash BIGINT UNSIGNED NOT NULL,
               row_identity TEXT NOT NULL,
               kind ENUM('insert', 'update', 'delete', 'rename') NOT NULL,
               reason TEXT NOT NULL,
               awaits_hash BIGINT UNSIGNED NULL COMMENT 'the row whose arrival releases it',
               awaits_table VARCHAR(64) NULL COMMENT 'its table; alone: to be made or changed here',
               awaits_identity LONGBLOB NULL COMMENT 'what that row is called, as it travels',
               held_at DATETIME(6) NOT NULL,
               tried_at DATETIME(6) NOT NULL,
               tries INT UNSIGNED NOT NULL DEFAULT 1,
               content LONGBLOB NOT NULL COMMENT 'the change, as one segment; empty: in parts',
               KEY row_hash (row_hash), KEY awaits_hash (awaits_hash), KEY state (state, tried_at),
               {BY_NODE}
             ) {ENDING}"
        ),
        part_table(names),
        format!(
            "CREATE TABLE IF NOT EXISTS {touched} (
               id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
               node CHAR(36) NOT NULL,
               row_table VARCHAR(64) NOT NULL,
               identities LONGTEXT NOT NULL COMMENT 'one a line, + inserted, * updated, - deleted',
               touched_at DATETIME(6) NOT NULL
             ) {ENDING}"
        ),
    ]
}

/// Locks the link's watermark row, which is made if it is not there. Only one session at a time
/// applies what comes through a link.
pub(super) async fn lock(
    session: &mut Session,
    names: &Names,
    node: NodeId,
    epoch: Epoch,
    now: Timestamp,
) -> Result<Mark, Failure> {
    let Names { watermark, held, .. } = names;
    let sql = format!(
        "SELECT sequence, epoch, batch, EXISTS (SELECT 1 FROM {held}) FROM {watermark} \
         WHERE node = ? FOR UPDATE"
    );
    let mut rows = session.rows(&sql, vec![Param::from(node.to_string())]).await?;
    if rows.is_empty() {
        let insert = format!(
            "INSERT INTO {watermark} (node, epoch, sequence, applied_at) VALUES (?, ?, 0, ?) \
             ON DUPLICATE KEY UPDATE node = node"
        );
        session
            .execute(
                &insert,
                vec![Param::from(node.to_string()), Param::from(epoch.to_string()), moment(now)],
            )
            .await?;
        rows = session.rows(&sql, vec![Param::from(node.to_string())]).await?;
    }
    let row = rows.into_iter().next().map(mysql_async::Row::unwrap).unwrap_or_default();
    let mut columns = row.into_iter();
    let mut next = || columns.next().unwrap_or(Param::NULL);
    let sequence = Sequence(number(next()));
    same_epoch(&text(next()), epoch)?;
    let batch = checksum(next());
    Ok(Mark { watermark: Watermark { sequence, batch }, any_held: number(next()) != 0 })
}

/// Reads a link's watermark without locking it.
pub(super) async fn read(
    session: &mut Session,
    names: &Names,
    node: NodeId,
    epoch: Epoch,
) -> Result<Watermark, Failure> {
    let sql = format!("SELECT sequence, epoch, batch FROM {} WHERE node = ?", names.watermark);
    let rows = session.rows(&sql, vec![Param::from(node.to_string())]).await?;
    let Some(row) = rows.into_iter().next() else { return Ok(Watermark::default()) };
    let mut columns = row.unwrap().into_iter();
    let mut next = || columns.next().unwrap_or(Param::NULL);
    let sequence = Sequence(number(next()));
    same_epoch(&text(next()), epoch)?;
    Ok(Watermark { sequence, batch: checksum(next()) })
}

fn checksum(value: Param) -> Option<[u8; 8]> {
    from_value_opt::<Option<Vec<u8>>>(value).ok().flatten()?.try_into().ok()
}

fn same_epoch(known: &str, epoch: Epoch) -> Result<(), Failure> {
    if known == epoch.to_string() {
        return Ok(());
    }
    Err(Failure::Whole(Error::Refused(format!(
        "the node's store has epoch {epoch}, and what was applied from it here had epoch {known}: \
         it was restored, cloned or made anew, and its transactions cannot be told from earlier \
         ones; invite it again under a new name"
    ))))
}

/// Moves the watermark. Always the first row a transaction writes: capture at this node tells
/// by it that the transaction is headwater's own, and through which link it came.
pub(super) async fn advance(
    session: &mut Session,
    names: &Names,
    node: NodeId,
    to: Watermark,
    now: Timestamp,
) -> Result<(), Failure> {
    let sql = format!(
        "UPDATE {} SET sequence = GREATEST(sequence, ?), batch = COALESCE(?, batch), applied_at = ? \
         WHERE node = ?",
        names.watermark
    );
    let params = vec![
        Param::from(to.sequence.0),
        to.batch.as_ref().map_or(Param::NULL, |batch| Param::from(batch.as_slice())),
        moment(now),
        Param::from(node.to_string()),
    ];
    session.execute(&sql, params).await.map(|_| ())
}

/// A moment as a `DATETIME(6)` in UTC.
pub(super) fn moment(now: Timestamp) -> Param {
    let shown = now.to_string();
    let micros = now.0.rem_euclid(1_000_000);
    let shown = shown.trim_end_matches('Z').replace('T', " ");
    Param::from(format!("{shown}.{micros:06}"))
}

pub(super) fn number(value: Param) -> u64 {
    from_value_opt::<u64>(value).unwrap_or(0)
}

pub(super) fn text(value: Param) -> String {
    from_value_opt::<String>(value).unwrap_or_default()
}
