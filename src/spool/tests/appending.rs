//! Appending, reading back, and what is refused.

use super::*;
use crate::spool::{Error, Next};

#[tokio::test]
async fn what_is_appended_comes_back_in_order_with_its_position() {
    let folder = tempfile::tempdir().unwrap();
    let spool = open(folder.path());
    assert_eq!(spool.position().await.unwrap(), None);
    let mut heads = spool.head_changes();
    spool.append(captured(vec![whole(1, 3), whole(4, 4)])).await.unwrap();
    spool.append(captured(vec![whole(5, 9)])).await.unwrap();
    assert!(heads.has_changed().unwrap());
    assert_eq!(*heads.borrow_and_update(), Sequence(9));

    let segments = spool.segments(Sequence(0), u64::MAX).await.unwrap();
    assert_eq!(segments, vec![whole(1, 3), whole(4, 4), whole(5, 9)]);
    assert_eq!(spool.position().await.unwrap(), Some(position(900)));
    assert_eq!(spool.head(), Sequence(9));
}

#[tokio::test]
async fn reading_is_bounded_by_bytes_but_always_moves_on() {
    let folder = tempfile::tempdir().unwrap();
    let spool = open(folder.path());
    spool.append(captured((1..=10).map(|n| whole(n, n)).collect())).await.unwrap();
    let read =
        async |after, bytes| sequences(&spool.segments(Sequence(after), bytes).await.unwrap());
    assert_eq!(read(0, 1).await, [(1, 1, 0)]);
    assert_eq!(read(3, 1000).await, [(4, 4, 0), (5, 5, 0)]);
    assert_eq!(read(9, 1000).await, [(10, 10, 0)]);
    assert_eq!(read(10, 1000).await, []);
    let error = spool.segments(Sequence(11), 1).await.unwrap_err();
    assert!(matches!(error, Error::BeyondHead { .. }), "{error}");
}

#[tokio::test]
async fn a_segment_that_reaches_across_the_start_is_returned_whole() {
    let folder = tempfile::tempdir().unwrap();
    let spool = open(folder.path());
    spool.append(captured(vec![whole(1, 5), whole(6, 8)])).await.unwrap();
    let segments = spool.segments(Sequence(3), u64::MAX).await.unwrap();
    assert_eq!(sequences(&segments), [(1, 5, 0), (6, 8, 0)]);
}

#[tokio::test]
async fn a_gap_or_a_repetition_is_refused_and_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let spool = open(folder.path());
    spool.append(captured(vec![whole(1, 3)])).await.unwrap();
    for wrong in [
        vec![whole(5, 5)],
        vec![whole(3, 4)],
        vec![whole(4, 5), whole(7, 7)],
        vec![part(4, 1, true)],
        vec![Segment { last: Sequence(5), ..part(4, 0, false) }],
        vec![Segment { last: Sequence(3), ..whole(4, 4) }],
    ] {
        let error = spool.append(captured(wrong.clone())).await.unwrap_err();
        assert!(matches!(error, Error::Gap { .. }), "{wrong:?}: {error}");
        assert_eq!(error.next(), Next::Refuse);
    }
    assert_eq!(spool.head(), Sequence(3));
    assert_eq!(spool.position().await.unwrap(), Some(position(300)));
    spool.append(captured(vec![whole(4, 4)])).await.unwrap();
}

#[tokio::test]
async fn parts_are_invisible_until_their_transaction_ends() {
    let folder = tempfile::tempdir().unwrap();
    let spool = open(folder.path());
    spool.append(captured(vec![whole(1, 1)])).await.unwrap();
    for number in 0..3 {
        let append = Append { segments: vec![part(2, number, false)], ..Append::default() };
        spool.append(append).await.unwrap();
    }
    assert_eq!(spool.head(), Sequence(1));
    assert_eq!(spool.segments(Sequence(1), u64::MAX).await.unwrap(), []);

    spool.append(captured(vec![part(2, 3, true), whole(3, 4)])).await.unwrap();
    assert_eq!(spool.head(), Sequence(4));
    let segments = spool.segments(Sequence(1), 1000).await.unwrap();
    assert_eq!(sequences(&segments), [(2, 2, 0), (2, 2, 1)]);
    let segments = spool.segments_from(Sequence(2), 2, u64::MAX).await.unwrap();
    assert_eq!(sequences(&segments), [(2, 2, 2), (2, 2, 3), (3, 4, 0)]);
}

#[tokio::test]
async fn an_unfinished_transaction_takes_no_position_and_no_company() {
    let folder = tempfile::tempdir().unwrap();
    let spool = open(folder.path());
    for wrong in [captured(vec![part(1, 0, false)]), captured(vec![whole(1, 1), part(2, 0, false)])]
    {
        let error = spool.append(wrong).await.unwrap_err();
        assert!(matches!(error, Error::Unfinished(_)), "{error}");
    }
    spool.append(Append { segments: vec![part(1, 0, false)], ..Append::default() }).await.unwrap();
    let error = spool.set_position(Some(position(5))).await.unwrap_err();
    assert!(matches!(error, Error::Unfinished(Sequence(1))), "{error}");
    assert_eq!(spool.position().await.unwrap(), None);
}

#[tokio::test]
async fn unfinished_parts_are_removed_when_the_store_is_opened_or_capture_starts_anew() {
    let folder = tempfile::tempdir().unwrap();
    let spool = open(folder.path());
    spool.append(captured(vec![whole(1, 1)])).await.unwrap();
    let unfinished = Append {
        segments: vec![part(2, 0, false)],
        position: None,
        index: vec![put("person", 7, "seven")],
        ..Append::default()
    };
    spool.append(unfinished.clone()).await.unwrap();
    spool.discard_unfinished().await.unwrap();
    spool.append(unfinished.clone()).await.unwrap();
    assert_eq!(spool.usage().await.unwrap().bytes, 1000);
    spool.close().await.unwrap();

    let spool = open(folder.path());
    assert_eq!(spool.usage().await.unwrap().bytes, 500);
    assert_eq!(spool.index_reader().unwrap().get(&"person".into(), 7).unwrap(), None);
    spool.append(captured(vec![whole(2, 2)])).await.unwrap();
    assert_eq!(sequences(&spool.segments(Sequence(1), 1).await.unwrap()), [(2, 2, 0)]);
}

#[tokio::test]
async fn a_full_spool_refuses_segments_but_not_positions() {
    let folder = tempfile::tempdir().unwrap();
    let limits = Limits { spool_bytes_max: 1200, ..Limits::default() };
    let spool = Spool::open(folder.path(), StillClock::shared(), limits).unwrap();
    spool.append(captured(vec![whole(1, 1), whole(2, 2)])).await.unwrap();
    let error = spool.append(captured(vec![whole(3, 3)])).await.unwrap_err();
    assert_eq!(error.next(), Next::Wait);
    assert!(error.to_string().contains("raise `bytes_max` in [spool]"), "{error}");
    spool.append(Append { position: Some(position(999)), ..Append::default() }).await.unwrap();
    assert_eq!(spool.position().await.unwrap(), Some(position(999)));
    assert_eq!(spool.head(), Sequence(2));
}

#[tokio::test]
async fn a_disk_with_too_little_left_takes_no_segments_but_positions() {
    let folder = tempfile::tempdir().unwrap();
    let limits = Limits { disk_free_bytes_min: u64::MAX, ..Limits::default() };
    let spool = Spool::open(folder.path(), StillClock::shared(), limits).unwrap();
    let error = spool.append(captured(vec![whole(1, 1)])).await.unwrap_err();
    assert_eq!(error.next(), Next::Wait);
    assert!(error.to_string().contains("lower `disk_free_bytes_min` in [spool]"), "{error}");
    spool.append(Append { position: Some(position(9)), ..Append::default() }).await.unwrap();
    assert_eq!((spool.position().await.unwrap(), spool.head()), (Some(position(9)), Sequence(0)));
}

#[tokio::test]
async fn a_flipped_bit_in_a_stored_segment_is_noticed_and_ends_the_use_of_the_store() {
    let folder = tempfile::tempdir().unwrap();
    let spool = open(folder.path());
    spool.append(captured(vec![whole(1, 1)])).await.unwrap();
    spool
        .call(|store| {
            store.connection().execute("UPDATE segment SET compressed = zeroblob(500)", [])?;
            Ok(())
        })
        .await
        .unwrap();
    let error = spool.segments(Sequence(0), 1).await.unwrap_err();
    assert!(matches!(error, Error::Damaged(_)), "{error}");
    assert_eq!(error.next(), Next::Stop);
    let later = spool.append(captured(vec![whole(2, 2)])).await.unwrap_err();
    assert_eq!(later.to_string(), error.to_string());
}
