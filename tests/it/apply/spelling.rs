//! Rows whose names differ in case alone, at a target whose collation takes them for one.

use headwater::apply::State;

use super::on_both;
use super::stage::*;

on_both!(a_row_that_another_spelling_hides_is_no_update_of_it);

/// A location with a name, and the one it lies in.
fn location(uuid: &str, called: &str, within: Option<&str>) -> Row {
    let mut values = vec![
        ("name", text(called)),
        ("creator", refer("users", DAEMON)),
        ("date_created", time("2024-01-01 00:00:00")),
    ];
    values.extend(within.map(|within| ("parent_location", refer("location", within))));
    insert("location", uuid, values)
}

async fn a_row_that_another_spelling_hides_is_no_update_of_it(stage: Stage) {
    let lower = uuid();
    let upper = lower.to_uppercase();
    stage.send(&[vec![location(&lower, "Ward", None)]]).await;
    // What is known here under another spelling is the same row, as long as nobody makes another.
    stage.send(&[vec![update("location", &upper, vec![("name", text("Ward 1"))])]]).await;
    let called = format!("SELECT GROUP_CONCAT(name) FROM location WHERE uuid = '{lower}'");
    assert_eq!(stage.ask(&called).await.as_deref(), Some("Ward 1"));

    let made = location(&upper, "Another", None);
    let within = location(&uuid(), "Bed", Some(&upper));
    let report = stage.try_send(&[vec![made], vec![within]]).await.unwrap();
    assert_eq!((report.parked, report.quarantined), (1, 1), "{report:?}");
    let waiting = stage.waiting(State::Quarantined).await;
    assert!(waiting[0].reason.contains("in case or blanks alone"), "{waiting:?}");
    // Also in later batches, and for what is tried again.
    let within = location(&uuid(), "Cot", Some(&upper));
    let changed = update("location", &upper, vec![("name", text("Still another"))]);
    let report = stage.try_send(&[vec![within], vec![changed]]).await.unwrap();
    assert_eq!((report.parked, report.quarantined), (1, 1), "{report:?}");
    assert_eq!(stage.retry_parked().await.released, 0);
    assert_eq!(stage.waiting(State::Parked).await.len(), 2);
    assert_eq!(stage.ask(&called).await.as_deref(), Some("Ward 1"));

    // Its delete is no delete of the row that is here.
    stage.try_send(&[vec![delete("location", &upper)]]).await.unwrap();
    assert_eq!(stage.ask(&called).await.as_deref(), Some("Ward 1"));
    assert_eq!(stage.waiting(State::Quarantined).await.len(), 0);
}
