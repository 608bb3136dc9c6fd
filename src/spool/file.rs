//! The store's file: how it is made, opened, migrated and recognised.

use std::fs::OpenOptions;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior, params};

use super::error::Error;
use crate::clock::Timestamp;

/// `HDWR`: what `file` and a DBA's tools recognise the store by.
const APPLICATION_ID: u32 = 0x4844_5752;
/// Segments take many pages each, and every page written costs two calls. Stores made with another
/// size keep it.
const PAGE_BYTES: i64 = 8 * 1024;
/// How long another program may keep the file locked before a call gives up.
const BUSY_SECONDS: u64 = 5;
/// The page cache of the writing connection.
const WRITER_CACHE_KIB: i64 = 8 * 1024;
/// The page cache of each reading connection.
const READER_CACHE_KIB: i64 = 4 * 1024;
/// The write-ahead log is cut back to this once all of it has been copied into the file.
const LOG_BYTES_KEPT: i64 = 32 * 1024 * 1024;
/// Prepared statements kept by each connection.
const STATEMENTS: usize = 64;

/// `MIGRATIONS[n]` takes a store from schema version n to n + 1. What has been released is never
/// changed, only added to.
pub(super) const MIGRATIONS: &[&str] = &[V1, V2, V3];

/// See `docs/formats.md`, which explains every column.
const V1: &str = "
CREATE TABLE node (
    one         INTEGER PRIMARY KEY CHECK (one = 1),
    node        BLOB NOT NULL CHECK (length(node) = 16),
    epoch       BLOB NOT NULL CHECK (length(epoch) = 16),
    created_at  INTEGER NOT NULL,
    head        INTEGER NOT NULL DEFAULT 0,
    released    INTEGER NOT NULL DEFAULT 0 CHECK (released <= head),
    position    TEXT,
    position_at INTEGER
) STRICT;
CREATE TABLE segment (
    id           INTEGER PRIMARY KEY,
    first        INTEGER NOT NULL,
    last         INTEGER NOT NULL CHECK (last >= first),
    part         INTEGER NOT NULL,
    complete     INTEGER NOT NULL CHECK (complete IN (0, 1)),
    changes      INTEGER NOT NULL,
    raw_bytes    INTEGER NOT NULL,
    committed_at INTEGER NOT NULL,
    checksum     INTEGER NOT NULL,
    compressed   BLOB NOT NULL,
    UNIQUE (last, part)
) STRICT;
CREATE TABLE indexed_table (
    id   INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE
) STRICT;
CREATE TABLE identity (
    tab      INTEGER NOT NULL,
    local    INTEGER NOT NULL,
    identity BLOB NOT NULL,
    PRIMARY KEY (tab, local)
) STRICT, WITHOUT ROWID;
CREATE TABLE identity_pending (
    tab      INTEGER NOT NULL,
    local    INTEGER NOT NULL,
    identity BLOB,
    PRIMARY KEY (tab, local)
) STRICT, WITHOUT ROWID;
CREATE TABLE link (
    name               TEXT PRIMARY KEY,
    direction          TEXT NOT NULL CHECK (direction IN ('up', 'down')),
    state              TEXT NOT NULL CHECK (state IN ('invited', 'active', 'revoked')),
    node               BLOB,
    epoch              BLOB,
    certificate        BLOB,
    acknowledged       INTEGER NOT NULL DEFAULT 0,
    received           INTEGER NOT NULL DEFAULT 0,
    last_contact       INTEGER,
    last_error         TEXT,
    invited_token_hash BLOB,
    invited_expires    INTEGER
) STRICT;
CREATE TABLE acknowledgement (
    link    TEXT NOT NULL REFERENCES link (name) ON DELETE CASCADE,
    slot    INTEGER NOT NULL,
    through INTEGER NOT NULL,
    at      INTEGER NOT NULL,
    PRIMARY KEY (link, slot)
) STRICT, WITHOUT ROWID;
CREATE TABLE incoming (
    link     TEXT PRIMARY KEY,
    after    INTEGER NOT NULL,
    through  INTEGER NOT NULL,
    checksum BLOB NOT NULL,
    total    INTEGER NOT NULL,
    held     INTEGER NOT NULL
) STRICT;
CREATE TABLE piece (
    link   TEXT NOT NULL REFERENCES incoming (link) ON DELETE CASCADE,
    start  INTEGER NOT NULL,
    bytes  BLOB NOT NULL,
    UNIQUE (link, start)
) STRICT;
CREATE TABLE note (
    name  TEXT PRIMARY KEY,
    value BLOB NOT NULL
) STRICT;
";

/// How the tables were defined at the position, for reading the rows after it.
const V2: &str = "ALTER TABLE node ADD COLUMN tables TEXT";

/// What 32 neighbours are called, in one row: see `run.rs`.
const V3: &str = "
CREATE TABLE identity_run (
    tab   INTEGER NOT NULL,
    run   INTEGER NOT NULL,
    known INTEGER NOT NULL,
    bytes BLOB NOT NULL,
    PRIMARY KEY (tab, run)
) STRICT, WITHOUT ROWID;
CREATE TABLE pending_run (
    tab   INTEGER NOT NULL,
    run   INTEGER NOT NULL,
    known INTEGER NOT NULL,
    bytes BLOB NOT NULL,
    PRIMARY KEY (tab, run)
) STRICT, WITHOUT ROWID;
INSERT INTO identity_run (tab, run, known, bytes)
    SELECT tab, local >> 5, count(*), unhex(group_concat(
        printf('%02X%04X', local & 31, length(identity)) || hex(identity), '' ORDER BY local))
    FROM identity GROUP BY tab, local >> 5;
DROP TABLE identity;
DROP TABLE identity_pending;
";

/// Whether the store of a data folder has gone. What cannot be told is no reason to stop.
pub(super) fn is_gone(folder: &Path) -> bool {
    std::fs::metadata(path(folder)).is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound)
}

/// Where the store of a data folder is.
pub(super) fn path(folder: &Path) -> PathBuf {
    folder.join("headwater.db")
}

/// Opens the store for the one thread that writes it; makes or migrates it first if need be.
pub(super) fn open_writer(folder: &Path, now: Timestamp) -> Result<Connection, Error> {
    let file = path(folder);
    make_private(&file)?;
    let mut connection = Connection::open_with_flags(
        &file,
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    let version = recognise(&connection, &file)?;
    prepare(&connection, WRITER_CACHE_KIB)?;
    // These take effect only while the file is empty, and have to come before the journal mode.
    connection.pragma_update(None, "page_size", PAGE_BYTES)?;
    connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    let mode: String =
        connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))?;
    if mode != "wal" {
        let reason = std::io::Error::other(
            "this file system cannot hold a write-ahead log (is it a network drive?)",
        );
        return Err(Error::folder(folder, reason));
    }
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.pragma_update(None, "journal_size_limit", LOG_BYTES_KEPT)?;
    // The writer copies the log into the file itself, because SQLite's own automatic way swallows
    // a failed fsync.
    connection.pragma_update(None, "wal_autocheckpoint", 0)?;
    migrate(&mut connection, MIGRATIONS, version, now)?;
    Ok(connection)
}

/// Opens the store for reading only, beside its writer or without one.
pub(super) fn open_reader(folder: &Path) -> Result<Connection, Error> {
    let file = path(folder);
    if !file.exists() {
        return Err(Error::Missing { folder: folder.to_path_buf() });
    }
    let connection = Connection::open_with_flags(
        &file,
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    let version = recognise(&connection, &file)?;
    prepare(&connection, READER_CACHE_KIB)?;
    if version == 0 {
        return Err(Error::Missing { folder: folder.to_path_buf() });
    }
    if version < latest() {
        return Err(Error::Older { file, found: version, known: latest() });
    }
    Ok(connection)
}

/// The schema version this headwater writes.
pub(super) fn latest() -> u32 {
    u32::try_from(MIGRATIONS.len()).unwrap_or(u32::MAX)
}

fn make_private(file: &Path) -> Result<(), Error> {
    let opened = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(file)
        .map_err(|error| Error::folder(file, error))?;
    // SQLite gives its log and its shared memory the mode of the file itself.
    opened
        .set_permissions(std::fs::Permissions::from_mode(0o600))
        .map_err(|error| Error::folder(file, error))
}

fn prepare(connection: &Connection, cache_kib: i64) -> Result<(), Error> {
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    connection.pragma_update(None, "cache_size", -cache_kib)?;
    // Temporary files would hold what patients' rows are called by, outside the data folder.
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    connection.pragma_update(None, "trusted_schema", false)?;
    connection.pragma_update(None, "cell_size_check", true)?;
    Ok(())
}

/// The file's schema version, 0 for an empty one; an error for what is not ours to touch.
fn recognise(connection: &Connection, file: &Path) -> Result<u32, Error> {
    connection.busy_timeout(Duration::from_secs(BUSY_SECONDS))?;
    let number = |name| connection.pragma_query_value(None, name, |row| row.get::<_, u32>(0));
    let foreign = || Error::Foreign { file: file.to_path_buf() };
    let application = match number("application_id") {
        Ok(application) => application,
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::NotADatabase) => {
            return Err(foreign());
        }
        Err(error) => return Err(error.into()),
    };
    let version = number("user_version")?;
    let empty = "SELECT NOT EXISTS (SELECT 1 FROM sqlite_master)";
    if application != APPLICATION_ID {
        let blank = application == 0
            && version == 0
            && connection.query_row(empty, [], |row| row.get::<_, bool>(0))?;
        return if blank { Ok(0) } else { Err(foreign()) };
    }
    if version > latest() {
        return Err(Error::Newer { file: file.to_path_buf(), found: version, known: latest() });
    }
    Ok(version)
}

/// Takes a store from `version` to the last of `migrations`, all or nothing.
fn migrate(
    connection: &mut Connection,
    migrations: &[&str],
    version: u32,
    now: Timestamp,
) -> Result<(), Error> {
    let done = usize::try_from(version).unwrap_or(usize::MAX);
    let target = u32::try_from(migrations.len()).unwrap_or(u32::MAX);
    if version >= target {
        return Ok(());
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for migration in migrations.iter().skip(done) {
        transaction.execute_batch(migration)?;
    }
    if version == 0 {
        let (node, epoch) = (uuid::Uuid::new_v4(), uuid::Uuid::new_v4());
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
        transaction.execute(
            "INSERT INTO node (one, node, epoch, created_at) VALUES (1, ?1, ?2, ?3)",
            params![node.as_bytes(), epoch.as_bytes(), now.0],
        )?;
    }
    transaction.pragma_update(None, "user_version", target)?;
    transaction.commit()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_of_an_earlier_version_is_migrated_and_keeps_what_it_holds() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = open_writer(folder.path(), Timestamp(1)).unwrap();
        store.execute("INSERT INTO note (name, value) VALUES ('a', x'01')", []).unwrap();
        let added = [MIGRATIONS, &["ALTER TABLE note ADD COLUMN at INTEGER NOT NULL DEFAULT 7"]];
        migrate(&mut store, &added.concat(), latest(), Timestamp(2)).unwrap();
        let found: (i64, i64, u32) = store
            .query_row(
                "SELECT at, created_at, (SELECT user_version FROM pragma_user_version)
                 FROM note, node",
                [],
                |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
            )
            .unwrap();
        assert_eq!(found, (7, 1, latest() + 1));
    }

    #[test]
    fn identities_of_an_earlier_store_are_found() {
        let folder = tempfile::tempdir().unwrap();
        let mut old = Connection::open(path(folder.path())).unwrap();
        migrate(&mut old, &[V1, V2], 0, Timestamp(1)).unwrap();
        old.execute_batch(
            "INSERT INTO indexed_table VALUES (7, 'person');
             INSERT INTO identity VALUES (7, 1, x'6f6e65'), (7, 31, x''), (7, 32, x'78'),
                 (7, -1, x'79');",
        )
        .unwrap();
        drop(old);
        drop(open_writer(folder.path(), Timestamp(2)).unwrap());
        let peek = super::super::Peek::open(folder.path()).unwrap();
        let (person, locals) = ("person".into(), [1, 31, 32, -1, 0]);
        let found = peek.index_reader().unwrap().get_many(&person, &locals).unwrap();
        let expected = [Some("one"), Some(""), Some("x"), Some("y"), None];
        assert_eq!(found, expected.map(|text| text.map(|text| text.as_bytes().to_vec())));
        assert_eq!(peek.index_counts().unwrap(), [(person, 4)]);
    }

    #[test]
    fn a_migration_that_fails_leaves_the_store_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = open_writer(folder.path(), Timestamp(1)).unwrap();
        let added = [MIGRATIONS, &["CREATE TABLE extra (a INTEGER)", "no such statement"]];
        migrate(&mut store, &added.concat(), latest(), Timestamp(2)).unwrap_err();
        assert_eq!(recognise(&store, &path(folder.path())).unwrap(), latest());
        let extra = "SELECT count(*) FROM sqlite_master WHERE name = 'extra'";
        assert_eq!(store.query_row(extra, [], |row| row.get::<_, i64>(0)).unwrap(), 0);
    }
}
