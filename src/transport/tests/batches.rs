//! Batches that come twice, out of order, overlapping, with gaps, damaged, or in pieces.

use std::sync::atomic::Ordering;

use super::*;
use crate::transport::wire::Code;

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_sent_twice_is_applied_once() {
    let parent = Parent::start().await;
    let child = Child::joined(&parent, "clinic").await;
    capture(&child.spool, 5, 100).await;
    let batch = child.batch(0, 5, Codec::Lz4).await;
    let (mut connection, welcome) = child.greet().await.unwrap();
    assert_eq!(welcome.watermark, Sequence(0));
    assert_eq!(through(send_whole(&mut connection, &batch).await), 5);
    assert_eq!(through(send_whole(&mut connection, &batch).await), 5);
    let (mut connection, welcome) = child.greet().await.unwrap();
    assert_eq!(welcome.watermark, Sequence(5));
    assert_eq!(through(send_whole(&mut connection, &batch).await), 5);
    assert_eq!(parent.target.transactions(), [1, 2, 3, 4, 5]);
    assert_eq!(parent.target.applies(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn batches_out_of_order_overlapping_and_with_a_gap_leave_each_transaction_once() {
    let parent = Parent::start().await;
    let child = Child::joined(&parent, "clinic").await;
    capture(&child.spool, 9, 100).await;
    let (mut connection, _) = child.greet().await.unwrap();
    let later = child.batch(3, 6, Codec::Lz4).await;
    let Err(LinkError::Refused(refusal)) = send_whole(&mut connection, &later).await else {
        panic!("a gap was not refused");
    };
    assert_eq!((refusal.code, refusal.expected), (Code::Gap, Some(0)));
    assert!(parent.target.transactions().is_empty());
    let first = child.batch(0, 3, Codec::Lz4).await;
    assert_eq!(through(send_whole(&mut connection, &first).await), 3);
    let overlap = child.batch(1, 5, Codec::Plain).await;
    assert_eq!(through(send_whole(&mut connection, &overlap).await), 5);
    assert_eq!(through(send_whole(&mut connection, &later).await), 6);
    assert_eq!(through(send_whole(&mut connection, &first).await), 6);
    assert_eq!(parent.target.transactions(), [1, 2, 3, 4, 5, 6]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flipped_bit_is_noticed_and_the_batch_sent_again() {
    let parent = Parent::start().await;
    let child = Child::joined(&parent, "clinic").await;
    capture(&child.spool, 3, 2000).await;
    let (mut connection, _) = child.greet().await.unwrap();
    let mut batch = child.batch(0, 3, Codec::Plain).await;
    for codec in [Codec::Plain, Codec::Lz4] {
        batch = child.batch(0, 3, codec).await;
        let good = batch.content.read_at(0, usize::MAX).unwrap();
        assert!(good.len() > 4_000, "{codec:?}: {}", good.len());
        // In each 97th byte, a different bit of each; and the last.
        for at in (0..good.len()).step_by(97).chain([good.len() - 1]) {
            let mut bad = good.clone();
            bad[at] ^= 1 << (at % 8);
            // Once as one piece, once in two, which the parent keeps in its store.
            for cut in [bad.len(), 1000] {
                let mut answer = send(&mut connection, &batch, 0, bad[..cut].to_vec()).await;
                if cut < bad.len() {
                    assert!(matches!(answer, Ok(PieceAnswer::Held { held: 1000 })), "{answer:?}");
                    answer = send(&mut connection, &batch, 1000, bad[cut..].to_vec()).await;
                }
                let code = answer.unwrap_err().code();
                assert_eq!(code, Some(Code::Checksum), "{codec:?}: byte {at}, cut at {cut}");
            }
        }
        assert!(parent.target.transactions().is_empty());
    }
    let (mut connection, welcome) = child.greet().await.unwrap();
    assert_eq!(welcome.unfinished, None);
    assert_eq!(through(send_whole(&mut connection, &batch).await), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_cut_at_every_thousandth_byte_is_gone_on_with() {
    let parent = Parent::start().await;
    let child = Child::joined(&parent, "clinic").await;
    capture(&child.spool, 4, 3000).await;
    let batch = child.batch(0, 4, Codec::Lz4).await;
    assert!(batch.key.bytes > 10_000);
    let mut held = 0;
    while held < batch.key.bytes {
        let (mut connection, welcome) = child.greet().await.unwrap();
        assert_eq!(welcome.unfinished.map_or(0, |unfinished| unfinished.held), held);
        let piece = batch.content.read_at(held, 1000).unwrap();
        held += piece.len() as u64;
        let answer = send(&mut connection, &batch, held - piece.len() as u64, piece).await;
        if held == batch.key.bytes {
            assert_eq!(through(answer), 4);
        } else {
            assert!(matches!(answer, Ok(PieceAnswer::Held { held: now }) if now == held));
            // The wrong byte is told, and does no harm.
            let wrong = send(&mut connection, &batch, held + 1, vec![0; 10]).await.unwrap_err();
            assert_eq!(wrong.code(), Some(Code::Offset));
        }
    }
    assert_eq!(parent.target.transactions(), [1, 2, 3, 4]);
    let (_, welcome) = child.greet().await.unwrap();
    assert_eq!(welcome.unfinished, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_cut_in_the_middle_of_every_piece_still_gets_there() {
    let parent = Parent::start().await;
    let mut child = Child::joined(&parent, "clinic").await;
    let proxy = Proxy::start(parent.address).await;
    child.parent = proxy.url();
    capture(&child.spool, 6, 6000).await;
    let mut options = child.options();
    options.pace.piece_bytes_min = 64 * 1024;
    // A handshake and a hello take about 2,000 bytes upwards; what is above is cut mid-piece.
    proxy.budget.store(9000, Ordering::SeqCst);
    let running = child.run(options);
    eventually("everything has arrived", || async { parent.target.transactions().len() == 6 })
        .await;
    proxy.budget.store(u64::MAX, Ordering::SeqCst);
    eventually("all is acknowledged", || async { child.acknowledged().await == 6 }).await;
    assert!(proxy.connections.load(Ordering::SeqCst) > 4);
    assert_eq!(parent.target.transactions(), [1, 2, 3, 4, 5, 6]);
    assert_eq!(parent.target.applies(), 1, "it was gone on with, not begun again");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_begun_before_a_restart_of_both_ends_is_gone_on_with() {
    let parent = Parent::start().await;
    let mut child = Child::joined(&parent, "clinic").await;
    capture(&child.spool, 4, 3000).await;
    let batch = child.batch(0, 3, Codec::Lz4).await;
    let (mut connection, _) = child.greet().await.unwrap();
    let first = batch.content.read_at(0, 5000).unwrap();
    assert!(matches!(send(&mut connection, &batch, 0, first).await, Ok(PieceAnswer::Held { .. })));
    drop(connection);
    child.spool.set_note("link.offered", 3_u64.to_le_bytes().to_vec()).await.unwrap();
    let (data_dir, target, _) = parent.stop().await;
    let parent = Parent::start_in(data_dir, target, 0, |_| {}).await;
    child.parent = parent.url();
    let running = child.run(child.options());
    eventually("all is acknowledged", || async { child.acknowledged().await == 4 }).await;
    // Its first batch is the old one, which ends with 3 although 4 was there.
    assert_eq!(parent.target.applies(), 2);
    assert_eq!(parent.target.transactions(), [1, 2, 3, 4]);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn applying_for_longer_than_the_childs_patience_does_not_end_the_link() {
    let parent = Parent::start().await;
    let mut child = Child::joined(&parent, "clinic").await;
    let proxy = Proxy::start(parent.address).await;
    child.parent = proxy.url();
    parent.target.with(|memory| memory.delay = Duration::from_secs(8));
    capture(&child.spool, 2, 100).await;
    let mut options = child.options();
    options.patience = Duration::from_secs(3);
    let running = child.run(options);
    eventually("all is acknowledged", || async { child.acknowledged().await == 2 }).await;
    assert_eq!(proxy.connections.load(Ordering::SeqCst), 1);
    assert_eq!(parent.target.applies(), 1);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_far_larger_than_memory_allows_passes_through_files() {
    let data_dir = tempfile::tempdir().unwrap();
    let tune = |options: &mut ServerOptions| options.memory_bytes_max = 1000;
    let parent = Parent::start_in(data_dir, Arc::default(), 0, tune).await;
    let child = Child::joined(&parent, "clinic").await;
    // One transaction in twenty parts.
    let shape = Arc::new(Shape { table: "obs".into(), columns: vec!["value".into()] });
    for part in 0..20_u32 {
        let mut writer = SegmentWriter::new();
        if part == 0 {
            writer.begin(Sequence(1));
        }
        for row in 0..5000_u64 {
            let id = u64::from(part) * 5000 + row;
            writer.change(&Change {
                shape: Arc::clone(&shape),
                kind: Kind::Insert,
                identity: Identity::One(Value::UInt(id)),
                previous: None,
                values: vec![Value::UInt(id.wrapping_mul(0x9E37_79B9_7F4A_7C15))],
                base: None,
            });
        }
        if part == 19 {
            let committed_at = Timestamp(1);
            let sequence = Sequence(1);
            writer.end(End { sequence, changes: 100_000, committed_at, origin: None });
        }
        let raw = writer.finish();
        let segment = Segment {
            first: Sequence(1),
            last: Sequence(1),
            part,
            complete: part == 19,
            changes: 5000,
            raw_bytes: raw.len() as u64,
            committed_at: Timestamp(1),
            compressed: lz4_flex::block::compress(&raw),
        };
        let append = Append { segments: vec![segment], ..Append::default() };
        child.spool.append(append).await.unwrap();
    }
    capture(&child.spool, 1, 10).await;
    let mut options = child.options();
    options.memory_bytes_max = 1000;
    options.pace.batch_bytes_min = 1;
    options.pace.batch_bytes_max = 1;
    let running = child.run(options);
    eventually("all is acknowledged", || async { child.acknowledged().await == 2 }).await;
    assert_eq!(parent.target.changes(), 100_001);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_came_from_the_other_end_is_not_sent_back() {
    let parent = Parent::start().await;
    let child = Child::joined(&parent, "clinic").await;
    let origin = Some(parent.spool.node_id());
    let segments = vec![
        segment(1, 10, None),
        segment(2, 10, origin),
        segment(3, 10, None),
        segment(4, 10, origin),
    ];
    child.spool.append(Append { segments, ..Append::default() }).await.unwrap();
    let running = child.run(child.options());
    eventually("all is acknowledged", || async { child.acknowledged().await == 4 }).await;
    assert_eq!(parent.target.transactions(), [1, 3]);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parent_without_room_says_so_and_takes_the_batch_once_there_is() {
    let data_dir = tempfile::tempdir().unwrap();
    let limits = Limits { disk_free_bytes_min: u64::MAX >> 1, ..Limits::default() };
    let parent = Parent::start_with(limits, data_dir, Arc::default(), 0, |_| {}).await;
    let mut child = Child::joined(&parent, "clinic").await;
    capture(&child.spool, 1, 400_000).await;
    let mut options = child.options();
    options.pace.piece_bytes_max = 64 * 1024;
    let running = child.run(options.clone());
    eventually("the child is told", || async {
        child.last_error().await.is_some_and(|words| words.contains("MiB are to stay free"))
    })
    .await;
    assert_eq!(parent.spool.incoming_held("clinic").await.unwrap(), None);
    running.stop().await;
    let (data_dir, target, _) = parent.stop().await;
    let parent = Parent::start_in(data_dir, target, 0, |_| {}).await;
    child.parent = parent.url();
    let running = child.run(ClientOptions { parent: parent.url(), ..options });
    eventually("acknowledged", || async { child.acknowledged().await == 1 }).await;
    running.stop().await;
}
