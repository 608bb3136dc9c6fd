//! A batch applied once, whatever the link does with it.

use headwater::apply::Error;
use headwater::change::{Epoch, Sequence};
use headwater::transport::{Peer, ReceivedBatch, Target, TargetError, Watermark};

use super::on_both;
use super::stage::*;

on_both!(
    a_batch_sent_twice_is_applied_once,
    a_batch_that_overlaps_is_applied_from_the_first_new_transaction,
    a_batch_with_a_gap_before_it_names_the_watermark,
    an_unknown_epoch_is_refused,
    a_table_that_the_map_does_not_let_in_is_refused_and_nothing_is_written,
    a_damaged_batch_writes_nothing,
);

async fn count(stage: &Stage, uuids: &[&str]) -> String {
    let list = uuids.iter().map(|uuid| format!("'{uuid}'")).collect::<Vec<_>>().join(",");
    stage.ask(&format!("SELECT COUNT(*) FROM person WHERE uuid IN ({list})")).await.unwrap()
}

async fn a_batch_sent_twice_is_applied_once(stage: Stage) {
    let id = uuid();
    let rows = [vec![person(&id)]];
    let (first, through) = batch(Sequence(0), &rows);
    let (second, _) = batch(Sequence(0), &rows);
    assert_eq!(stage.applier.apply(&stage.peer, first).await.unwrap().through, through);
    stage.sql(&format!("UPDATE person SET gender = 'here' WHERE uuid = '{id}'")).await;
    let again = stage.applier.apply(&stage.peer, second).await.unwrap();
    assert_eq!(again.through, through);
    let query = format!("SELECT gender FROM person WHERE uuid = '{id}'");
    assert_eq!(stage.ask(&query).await.as_deref(), Some("here"));
    let watermark = Target::watermark(&stage.applier, &stage.peer).await.unwrap();
    assert_eq!(watermark, Watermark { sequence: through, batch: Some([0; 8]) });
    // Of a copy of that node: the same numbers, but not what was applied.
    let (theirs, _) = batch(Sequence(0), &rows);
    let theirs = ReceivedBatch { checksum: [1; 8], ..theirs };
    let refused = stage.applier.apply(&stage.peer, theirs).await;
    assert!(matches!(refused, Err(Error::AnotherBatch { .. })), "{refused:?}");
}

async fn a_batch_that_overlaps_is_applied_from_the_first_new_transaction(stage: Stage) {
    let (a, b, c) = (uuid(), uuid(), uuid());
    let (first, _) = batch(Sequence(0), &[vec![person(&a)], vec![person(&b)]]);
    stage.applier.apply(&stage.peer, first).await.unwrap();
    stage.sql(&format!("UPDATE person SET gender = 'here' WHERE uuid = '{b}'")).await;
    let (overlap, _) = batch(Sequence(1), &[vec![person(&b)], vec![person(&c)]]);
    let applied = stage.applier.apply(&stage.peer, overlap).await.unwrap();
    assert_eq!(applied.through, Sequence(3));
    assert_eq!(count(&stage, &[&a, &b, &c]).await, "3");
    let query = format!("SELECT gender FROM person WHERE uuid = '{b}'");
    assert_eq!(stage.ask(&query).await.as_deref(), Some("here"));
}

async fn a_batch_with_a_gap_before_it_names_the_watermark(stage: Stage) {
    let id = uuid();
    let (early, _) = batch(Sequence(4), &[vec![person(&id)]]);
    match stage.applier.apply(&stage.peer, early).await {
        Err(Error::Gap { from: Sequence(4), watermark: Sequence(0) }) => {}
        other => panic!("{other:?}"),
    }
    assert_eq!(count(&stage, &[&id]).await, "0");
}

async fn an_unknown_epoch_is_refused(stage: Stage) {
    stage.send(&[vec![person(&uuid())]]).await;
    let stranger = Peer { epoch: Epoch(uuid::Uuid::new_v4()), ..stage.peer.clone() };
    let id = uuid();
    let (next, _) = batch(Sequence(1), &[vec![person(&id)]]);
    let error = Target::apply(&stage.applier, &stranger, next).await.unwrap_err();
    assert!(matches!(&error, TargetError::Refused(words) if words.contains("epoch")), "{error}");
    assert!(Target::watermark(&stage.applier, &stranger).await.is_err());
    assert_eq!(count(&stage, &[&id]).await, "0");
}

async fn a_table_that_the_map_does_not_let_in_is_refused_and_nothing_is_written(stage: Stage) {
    let id = uuid();
    let row = change(
        headwater::change::Kind::Insert,
        "scheduler_task_config",
        one("x"),
        vec![("name", text("mallory"))],
    );
    let (evil, _) = batch(Sequence(0), &[vec![person(&id), row]]);
    let error = stage.applier.apply(&stage.peer, evil).await.unwrap_err();
    assert!(
        matches!(&error, Error::Refused(words) if words.contains("scheduler_task_config")),
        "{error}"
    );
    assert_eq!(count(&stage, &[&id]).await, "0");
    let watermark = stage.applier.watermark(stage.peer.node, stage.peer.epoch).await.unwrap();
    assert_eq!(watermark.sequence, Sequence(0));
}

async fn a_damaged_batch_writes_nothing(stage: Stage) {
    let id = uuid();
    let mut writer = headwater::record::SegmentWriter::new();
    writer.begin(Sequence(1));
    writer.change(&person(&id));
    let mut bytes = writer.finish();
    bytes.push(250);
    let cut = ReceivedBatch {
        from: Sequence(0),
        through: Sequence(1),
        checksum: [0; 8],
        segments: Box::new(Memory(vec![bytes])),
    };
    assert!(matches!(stage.applier.apply(&stage.peer, cut).await, Err(Error::Refused(_))));
    assert_eq!(count(&stage, &[&id]).await, "0");
}
