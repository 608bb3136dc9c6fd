//! The identity index: in step with the log, whatever happens to a transaction.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::spool::Error;
use crate::value::Name;

fn append(segments: Vec<Segment>, index: Vec<IndexChange>) -> Append {
    Append { segments, index, ..Append::default() }
}

#[tokio::test]
async fn changes_are_applied_in_order_and_tables_do_not_mix() {
    let folder = tempfile::tempdir().unwrap();
    let spool = open(folder.path());
    let mut reader = spool.index_reader().unwrap();
    let (person, role) = (Name::from("person"), Name::from("role"));
    assert!(!reader.knows(&person).unwrap());
    assert_eq!(reader.get_many(&person, &[1, 2]).unwrap(), [None, None]);

    let changes = vec![
        put("person", 1, "one"),
        put("role", 1, "doctor"),
        remove("person", 1),
        put("person", 1, "another one"),
        put("person", -5, ""),
        put("person", 2, "two"),
        remove("person", 2),
        remove("person", 3),
    ];
    spool.append(append(vec![], changes)).await.unwrap();
    let found = reader.get_many(&person, &[-5, 1, 2, 3]).unwrap();
    assert_eq!(found, [Some(vec![]), Some(b"another one".to_vec()), None, None]);
    assert_eq!(reader.get(&role, 1).unwrap(), Some(b"doctor".to_vec()));
    assert!(reader.knows(&person).unwrap());
    let counts = vec![(person, 2), (role, 1)];
    assert_eq!(spool.index_counts().await.unwrap(), counts);
    assert_eq!(Spool::peek(folder.path()).unwrap().index_counts().unwrap(), counts);
}

#[tokio::test]
async fn an_unfinished_transaction_is_seen_by_the_reader_and_holds_once_it_ends() {
    let folder = tempfile::tempdir().unwrap();
    let spool = open(folder.path());
    let person = Name::from("person");
    let mut reader = spool.index_reader().unwrap();
    spool
        .append(append(vec![], vec![put("person", 1, "one"), put("person", 2, "two")]))
        .await
        .unwrap();
    let parts = vec![remove("person", 1), put("person", 3, "three")];
    spool.append(append(vec![part(1, 0, false)], parts)).await.unwrap();
    let seen = [None, Some(b"two".to_vec()), Some(b"three".to_vec())];
    assert_eq!(reader.get_many(&person, &[1, 2, 3]).unwrap(), seen);
    assert_eq!(spool.index_counts().await.unwrap(), [(Name::clone(&person), 2)]);

    spool.discard_unfinished().await.unwrap();
    assert_eq!(reader.get(&person, 1).unwrap(), Some(b"one".to_vec()));
    assert_eq!(reader.get(&person, 3).unwrap(), None);

    let many = (10..20_010).map(|local| put("person", local, "many")).collect();
    spool.append(append(vec![part(1, 0, false)], many)).await.unwrap();
    spool.append(append(vec![part(1, 1, false)], vec![remove("person", 1)])).await.unwrap();
    let last = vec![put("person", 10, "last")];
    spool.append(append(vec![part(1, 2, true)], last)).await.unwrap();
    assert_eq!(
        reader.get_many(&person, &[1, 10, 20_009]).unwrap(),
        [None, Some(b"last".to_vec()), Some(b"many".to_vec())]
    );
    assert_eq!(spool.index_counts().await.unwrap(), [(person, 20_001)]);
}

/// Runs hold 32 neighbours: these are rows of two runs, of a table that is forgotten and one that is not.
const FAR: [i64; 3] = [1, 2, 100];

fn filled() -> Vec<IndexChange> {
    let both = |local| [put("person", local, "known"), put("role", local, "known")];
    FAR.into_iter().flat_map(both).collect()
}

fn known() -> Vec<u8> {
    b"known".to_vec()
}

#[tokio::test]
async fn a_table_is_forgotten_in_order_and_alone() {
    let folder = tempfile::tempdir().unwrap();
    let spool = open(folder.path());
    let (person, role) = (Name::from("person"), Name::from("role"));
    let mut reader = spool.index_reader().unwrap();
    spool.append(append(vec![], filled())).await.unwrap();
    let changes = vec![
        put("person", 2, "before"),
        put("role", 2, "two"),
        forget("person"),
        put("person", 100, "after"),
        forget("never seen"),
    ];
    spool.append(append(vec![], changes)).await.unwrap();
    let after = Some(b"after".to_vec());
    assert_eq!(reader.get_many(&person, &FAR).unwrap(), [None, None, after]);
    assert_eq!(
        reader.get_many(&role, &FAR).unwrap(),
        [Some(known()), Some(b"two".to_vec()), Some(known())]
    );
    spool.append(append(vec![], vec![forget("person"), forget("person")])).await.unwrap();
    assert_eq!(reader.get_many(&person, &FAR).unwrap(), [None, None, None]);
    assert!(!reader.knows(&person).unwrap() && reader.knows(&role).unwrap());
}

#[tokio::test]
async fn what_an_unfinished_transaction_forgets_is_known_again_when_it_is_discarded() {
    let folder = tempfile::tempdir().unwrap();
    let spool = open(folder.path());
    let (person, role) = (Name::from("person"), Name::from("role"));
    let mut reader = spool.index_reader().unwrap();
    spool.append(append(vec![], filled())).await.unwrap();
    let all = [Some(known()), Some(known()), Some(known())];
    for ends in [false, true] {
        let first = vec![put("person", 1, "before"), remove("role", 1)];
        spool.append(append(vec![part(1, 0, false)], first)).await.unwrap();
        let second = vec![forget("person"), put("person", 2, "after")];
        spool.append(append(vec![part(1, 1, false)], second)).await.unwrap();
        let seen = [None, Some(b"after".to_vec()), None];
        assert_eq!(reader.get_many(&person, &FAR).unwrap(), seen);
        assert_eq!(reader.get_many(&role, &FAR).unwrap(), [None, Some(known()), Some(known())]);
        if ends {
            let last = vec![put("person", 100, "last")];
            spool.append(append(vec![part(1, 2, true)], last)).await.unwrap();
            let seen = [None, Some(b"after".to_vec()), Some(b"last".to_vec())];
            assert_eq!(reader.get_many(&person, &FAR).unwrap(), seen);
            assert_eq!(reader.get_many(&role, &FAR).unwrap(), [None, Some(known()), Some(known())]);
        } else {
            spool.discard_unfinished().await.unwrap();
            assert_eq!(reader.get_many(&person, &FAR).unwrap(), all);
            assert_eq!(reader.get_many(&role, &FAR).unwrap(), all);
        }
    }
}

#[tokio::test]
async fn an_append_that_is_refused_leaves_the_index_alone() {
    let folder = tempfile::tempdir().unwrap();
    let spool = open(folder.path());
    let too_long = IndexChange::Put {
        table: "new".into(),
        local: 2,
        identity: IdentityBytes::from_slice(&vec![0; 20_000]),
    };
    let error = spool
        .append(append(vec![whole(1, 1)], vec![put("new", 1, "x"), too_long]))
        .await
        .unwrap_err();
    assert!(matches!(error, Error::TooLarge { .. }), "{error}");
    assert_eq!(spool.head(), Sequence(0));
    // The table's number went with the rollback; another may have it now.
    spool.append(append(vec![], vec![put("other", 1, "y")])).await.unwrap();
    spool.append(append(vec![whole(1, 1)], vec![put("new", 1, "x")])).await.unwrap();
    let mut reader = spool.index_reader().unwrap();
    assert_eq!(reader.get(&"other".into(), 1).unwrap(), Some(b"y".to_vec()));
    assert_eq!(reader.get(&"new".into(), 1).unwrap(), Some(b"x".to_vec()));
}

#[tokio::test]
async fn a_reader_sees_every_append_and_does_not_keep_the_log_from_being_copied() {
    let folder = tempfile::tempdir().unwrap();
    let spool = open(folder.path());
    let person = Name::from("person");
    let mut reader = spool.index_reader().unwrap();
    let log = folder.path().join("headwater.db-wal");
    // What captures looks rows up at all times.
    let mut other = spool.index_reader().unwrap();
    let (done, table) = (Arc::new(AtomicBool::new(false)), Name::clone(&person));
    let over = Arc::clone(&done);
    let looking = std::thread::spawn(move || {
        while !over.load(Ordering::Relaxed) {
            other.get(&table, 1).unwrap();
        }
    });
    for round in 1..=120 {
        let large = Segment { compressed: vec![3; 1_000_000], ..whole(round, round) };
        let local = i64::try_from(round).unwrap();
        spool.append(append(vec![large], vec![put("person", local, "x")])).await.unwrap();
        assert_eq!(reader.get(&person, local).unwrap(), Some(b"x".to_vec()));
        assert_eq!(reader.get(&person, local + 1).unwrap(), None);
    }
    done.store(true, Ordering::Relaxed);
    looking.join().unwrap();
    // 16 MiB are copied at a time; one that begins while they are may keep the log for once, and a thread
    // that stands still in the middle of a look for longer.
    let bytes = || std::fs::metadata(&log).unwrap().len();
    for round in 121..1621 {
        if bytes() < 60_000_000 {
            break;
        }
        spool.append(append(vec![whole(round, round)], vec![])).await.unwrap();
        crate::clock::sleep(Duration::from_millis(20)).await;
    }
    assert!(bytes() < 60_000_000, "the write-ahead log has grown to {} bytes", bytes());
    assert_eq!(reader.get(&person, 120).unwrap(), Some(b"x".to_vec()));
}
