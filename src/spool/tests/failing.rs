//! Full disks, which pass, and failed writes, which do not.

use std::process::Command;

use super::*;
use crate::spool::{Error, Next};

/// Where the child process of a test finds its store.
pub(super) const FOLDER: &str = "HEADWATER_TEST_STORE";

#[tokio::test]
async fn a_full_disk_changes_nothing_and_is_got_over_once_there_is_space() {
    let folder = tempfile::tempdir().unwrap();
    let spool = open(folder.path());
    let pages_max = async |pages: i64| {
        let limit = move |store: &mut crate::spool::store::Store| {
            let connection = store.connection();
            connection.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(()))?;
            Ok(())
        };
        spool.call(limit).await.unwrap();
    };
    spool.append(captured(vec![whole(1, 1)])).await.unwrap();
    pages_max(60).await;
    let large = Append {
        segments: vec![Segment { compressed: vec![5; 1_000_000], ..whole(2, 2) }],
        position: Some(position(200)),
        index: vec![put("person", 1, "one")],
        ..Append::default()
    };
    for _ in 0..3 {
        let error = spool.append(large.clone()).await.unwrap_err();
        assert!(matches!(error, Error::Full), "{error}");
        assert_eq!(error.next(), Next::Wait);
    }
    assert_eq!(spool.head(), Sequence(1));
    assert_eq!(spool.position().await.unwrap(), Some(position(100)));
    assert_eq!(spool.index_reader().unwrap().get(&"person".into(), 1).unwrap(), None);

    pages_max(1_000_000).await;
    spool.append(large).await.unwrap();
    assert_eq!(spool.position().await.unwrap(), Some(position(200)));
    assert_eq!(spool.usage().await.unwrap().bytes, 1_000_500);
    spool.close().await.unwrap();
}

#[tokio::test]
async fn a_store_that_is_taken_away_ends_its_use() {
    let folder = tempfile::tempdir().unwrap();
    let spool = open(folder.path());
    spool.append(captured(vec![whole(1, 1)])).await.unwrap();
    let file = folder.path().join("headwater.db");
    std::fs::rename(&file, folder.path().join("away")).unwrap();
    for number in 0..2 {
        let error = spool.append(captured(vec![whole(2, 2)])).await.unwrap_err();
        assert!(error.to_string().contains("was removed"), "{number}: {error}");
        assert_eq!(error.next(), Next::Stop);
    }
}

/// The system refuses writes beyond a file size limit, which SQLite reports as it would a failing
/// disk.
#[test]
fn a_failed_write_ends_the_use_of_the_store_and_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new("sh")
        .args(["-c", "trap '' XFSZ; ulimit -f 8192; exec \"$0\" \"$@\""])
        .arg(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "spool::tests::failing::child_whose_writes_fail"])
        .env(FOLDER, folder.path())
        .output()
        .unwrap();
    let words = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{words}{}", String::from_utf8_lossy(&output.stderr));
    assert!(words.contains("1 passed"), "{words}");

    let peek = Spool::peek(folder.path()).unwrap();
    let head = peek.usage().unwrap().head.0;
    assert!(head > 5);
    assert_eq!(peek.position().unwrap(), Some(position(head * 100)));
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let spool = open(folder.path());
        spool.append(captured(vec![whole(head + 1, head + 1)])).await.unwrap();
    });
}

#[tokio::test]
#[ignore = "run by the test above, in a process whose files cannot grow"]
async fn child_whose_writes_fail() {
    let folder = std::env::var_os(FOLDER).expect("the test that runs this names the folder");
    let spool = open(Path::new(&folder));
    let mut sequence = 0;
    let error = loop {
        sequence += 1;
        let large = Segment { compressed: vec![5; 100_000], ..whole(sequence, sequence) };
        if let Err(error) = spool.append(captured(vec![large])).await {
            break error;
        }
        assert!(sequence < 1000, "no write has failed");
    };
    assert!(matches!(error, Error::Failed(_)), "{error}");
    assert_eq!(error.next(), Next::Stop);
    let words = error.to_string();
    for later in [
        spool.append(captured(vec![whole(sequence, sequence)])).await,
        spool.set_note("a", *b"b").await,
        spool.position().await.map(drop),
        spool.segments(Sequence(0), 1).await.map(drop),
    ] {
        assert_eq!(later.unwrap_err().to_string(), words);
    }
    assert_eq!(spool.close().await.unwrap_err().to_string(), words);
}
