//! Pieces of batches not yet whole.

use std::io::Read;

use super::*;
use crate::spool::{Error, IncomingKey};

fn key(total_bytes: u64) -> IncomingKey {
    IncomingKey { after: Sequence(3), through: Sequence(9), checksum: vec![1, 2, 3], total_bytes }
}

fn content(spool: &Spool, link: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    spool.incoming_reader(link).unwrap().read_to_end(&mut bytes).unwrap();
    bytes
}

#[tokio::test]
async fn pieces_are_kept_over_a_restart_and_read_back_as_one() {
    let folder = tempfile::tempdir().unwrap();
    let spool = open(folder.path());
    let batch: Vec<u8> = (0..100_000_u32).map(|n| (n % 253) as u8).collect();
    assert_eq!(spool.incoming_held("a").await.unwrap(), None);
    let mut held = 0;
    for piece in batch[..60_000].chunks(7_000) {
        held = spool.incoming_put("a", key(100_000), held, piece.to_vec()).await.unwrap();
    }
    spool.incoming_put("b", key(2), 0, *b"xy").await.unwrap();
    spool.close().await.unwrap();

    let spool = open(folder.path());
    assert_eq!(spool.incoming_held("a").await.unwrap(), Some((key(100_000), 60_000)));
    let rest = batch[60_000..].to_vec();
    assert_eq!(spool.incoming_put("a", key(100_000), 60_000, rest).await.unwrap(), 100_000);
    assert_eq!(content(&spool, "a"), batch);
    assert_eq!(content(&spool, "b"), b"xy");
    spool.incoming_clear("a").await.unwrap();
    assert_eq!(spool.incoming_held("a").await.unwrap(), None);
    assert_eq!(content(&spool, "a"), b"");
    assert_eq!(content(&spool, "b"), b"xy");
}

#[tokio::test]
async fn a_piece_at_the_wrong_offset_is_refused_with_what_is_held() {
    let folder = tempfile::tempdir().unwrap();
    let spool = open(folder.path());
    let error = spool.incoming_put("a", key(10), 4, *b"efgh").await.unwrap_err();
    assert!(matches!(error, Error::Offset { held: 0, .. }), "{error}");
    spool.incoming_put("a", key(10), 0, *b"abcd").await.unwrap();
    for offset in [0, 3, 5] {
        let error = spool.incoming_put("a", key(10), offset, *b"efgh").await.unwrap_err();
        assert!(matches!(error, Error::Offset { held: 4, .. }), "{error}");
    }
    assert_eq!(content(&spool, "a"), b"abcd");
}

#[tokio::test]
async fn pieces_leave_on_the_disk_what_is_to_stay_free() {
    let folder = tempfile::tempdir().unwrap();
    let limits = Limits { disk_free_bytes_min: u64::MAX >> 1, ..Limits::default() };
    let spool = Spool::open(folder.path(), StillClock::shared(), limits).unwrap();
    let error = spool.incoming_put("a", key(10), 0, *b"abcd").await.unwrap_err();
    assert!(matches!(error, Error::DiskLow { .. }), "{error}");
    assert_eq!(error.next(), crate::spool::Next::Wait);
    assert_eq!(spool.incoming_held("a").await.unwrap(), None);
    assert!(spool.disk_has_room(1).await.is_err() && spool.disk_has_room(0).await.is_ok());
}

#[tokio::test]
async fn another_batch_takes_the_place_of_the_one_under_way() {
    let folder = tempfile::tempdir().unwrap();
    let spool = open(folder.path());
    spool.incoming_put("a", key(10), 0, *b"abcd").await.unwrap();
    for other in [
        IncomingKey { checksum: vec![9], ..key(10) },
        IncomingKey { through: Sequence(8), ..key(10) },
        IncomingKey { after: Sequence(2), ..key(10) },
        key(11),
    ] {
        assert_eq!(spool.incoming_put("a", other.clone(), 0, *b"xyz").await.unwrap(), 3);
        assert_eq!(spool.incoming_held("a").await.unwrap(), Some((other, 3)));
        assert_eq!(content(&spool, "a"), b"xyz");
    }
}

#[tokio::test]
async fn what_is_larger_than_announced_or_allowed_is_refused_before_it_is_stored() {
    let folder = tempfile::tempdir().unwrap();
    let limits = Limits { piece_bytes_max: 8, batch_bytes_max: 20, ..Limits::default() };
    let spool = Spool::open(folder.path(), StillClock::shared(), limits).unwrap();
    for (total, bytes) in [(20, 9), (21, 8), (7, 8)] {
        let error = spool.incoming_put("a", key(total), 0, vec![0; bytes]).await.unwrap_err();
        assert!(matches!(error, Error::TooLarge { .. }), "{error}");
    }
    assert_eq!(spool.incoming_held("a").await.unwrap(), None);
    assert_eq!(spool.incoming_put("a", key(0), 0, *b"").await.unwrap(), 0);
}
