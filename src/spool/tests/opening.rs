//! Who may open a store, and what is refused.

use std::os::unix::fs::PermissionsExt;

use rusqlite::Connection;

use super::*;
use crate::spool::{Error, Next, Peek};

#[tokio::test]
async fn node_and_epoch_are_made_once_and_stay() {
    let folder = tempfile::tempdir().unwrap();
    let spool = open(folder.path());
    let (node, epoch) = (spool.node_id(), spool.epoch());
    spool.close().await.unwrap();
    let spool = open(folder.path());
    assert_eq!((spool.node_id(), spool.epoch()), (node, epoch));

    let other = tempfile::tempdir().unwrap();
    let other = open(other.path());
    assert!(other.node_id() != node && other.epoch() != epoch);
    assert!(node.0 != epoch.0);
}

#[tokio::test]
async fn a_second_opener_is_refused_with_the_folder_and_the_holder() {
    let folder = tempfile::tempdir().unwrap();
    let spool = open(folder.path());
    let error = Spool::open(folder.path(), StillClock::shared(), Limits::default()).unwrap_err();
    let words = error.to_string();
    assert_eq!(error.next(), Next::Stop);
    assert!(words.contains(folder.path().to_str().unwrap()), "{words}");
    assert!(words.contains(&std::process::id().to_string()), "{words}");
    spool.close().await.unwrap();
    open(folder.path());
}

#[tokio::test]
async fn only_the_owner_can_read_what_the_store_writes() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("var").join("headwater");
    let spool = open(&folder);
    spool.append(captured(vec![whole(1, 1)])).await.unwrap();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&folder), 0o700);
    let mut names = Vec::new();
    for entry in std::fs::read_dir(&folder).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(mode(&entry.path()), 0o600, "{}", entry.path().display());
        names.push(entry.file_name().into_string().unwrap());
    }
    names.sort();
    assert_eq!(names, ["headwater.db", "headwater.db-shm", "headwater.db-wal", "lock"]);
}

#[tokio::test]
async fn a_look_beside_the_running_process_sees_what_was_appended_and_takes_no_lock() {
    let folder = tempfile::tempdir().unwrap();
    assert!(matches!(Spool::peek(folder.path()), Err(Error::Missing { .. })));
    let spool = open(folder.path());
    spool.append(captured(vec![whole(1, 4)])).await.unwrap();
    spool.set_note("map", [1, 2]).await.unwrap();
    let look = |peek: Peek| {
        assert_eq!(peek.node_id().unwrap(), spool.node_id());
        assert_eq!(peek.epoch().unwrap(), spool.epoch());
        assert_eq!(peek.position().unwrap(), Some(position(400)));
        assert_eq!(peek.usage().unwrap().transactions, 4);
        assert_eq!(peek.note("map").unwrap(), Some(vec![1, 2]));
        assert_eq!(peek.note("other").unwrap(), None);
    };
    look(Spool::peek(folder.path()).unwrap());
    spool.clone().close().await.unwrap();
    assert!(matches!(spool.append(Append::default()).await, Err(Error::Closed)));
    look(Spool::peek(folder.path()).unwrap());
}

#[tokio::test]
async fn a_store_of_a_later_version_is_refused_by_name_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    open(folder.path()).close().await.unwrap();
    let file = folder.path().join("headwater.db");
    Connection::open(&file).unwrap().pragma_update(None, "user_version", 99).unwrap();
    let before = std::fs::read(&file).unwrap();
    let open = || Spool::open(folder.path(), StillClock::shared(), Limits::default());
    let error = open().unwrap_err();
    assert!(matches!(error, Error::Newer { found: 99, .. }), "{error}");
    assert!(matches!(Spool::peek(folder.path()), Err(Error::Newer { .. })));
    assert_eq!(std::fs::read(&file).unwrap(), before);
    // The lock was not kept by the one that was refused.
    assert!(matches!(open().unwrap_err(), Error::Newer { .. }));
}

#[tokio::test]
async fn a_file_that_is_no_store_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("headwater.db");
    let open = || Spool::open(folder.path(), StillClock::shared(), Limits::default());

    std::fs::write(&file, b"Dear diary, this is no database at all.".repeat(100)).unwrap();
    let before = std::fs::read(&file).unwrap();
    assert!(matches!(open().unwrap_err(), Error::Foreign { .. }));
    assert_eq!(std::fs::read(&file).unwrap(), before);

    std::fs::remove_file(&file).unwrap();
    let other = Connection::open(&file).unwrap();
    other.execute("CREATE TABLE mine (a INTEGER)", []).unwrap();
    drop(other);
    assert!(matches!(open().unwrap_err(), Error::Foreign { .. }));
    assert!(matches!(Spool::peek(folder.path()), Err(Error::Foreign { .. })));
}

#[test]
fn a_folder_that_cannot_be_made_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, b"").unwrap();
    let inside = file.join("data");
    let error = Spool::open(&inside, StillClock::shared(), Limits::default()).unwrap_err();
    assert!(error.to_string().contains(inside.to_str().unwrap()), "{error}");
}
