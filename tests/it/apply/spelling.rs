//! Rows whose names differ in case alone, at a target whose collation takes them for one.

use headwater::apply::State;
use headwater::change::{Change, Kind};

use super::on_both;
use super::stage::*;

on_both!(
    a_row_that_another_spelling_hides_is_no_update_of_it,
    what_borrows_its_name_from_a_hidden_row_writes_nothing,
);

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
    let called = format!("SELECT GROUP_CONCAT(name) FROM location WHERE uuid = '{lower}'");
    // A change by another spelling is for a person to decide, and so is a delete.
    let renamed = update("location", &upper, vec![("name", text("Ward 1"))]);
    for change in [renamed, delete("location", &upper)] {
        let report = stage.try_send(&[vec![change]]).await.unwrap();
        assert_eq!((report.parked, report.quarantined), (0, 1), "{report:?}");
        let waiting = stage.waiting(State::Quarantined).await;
        assert!(waiting[0].reason.contains("in case or blanks alone"), "{waiting:?}");
        assert_eq!(stage.ask(&called).await.as_deref(), Some("Ward"));
        assert!(stage.applier.discard(waiting[0].id).await.unwrap());
    }

    // All in one batch, what refers to it written before it and after.
    let made = location(&upper, "Another", None);
    let within = location(&uuid(), "Bed", Some(&upper));
    let early = location(&uuid(), "Bench", None);
    stage.send(&[vec![early.clone()]]).await;
    let moved = Change {
        kind: Kind::Update,
        ..with(&early, vec![("parent_location", refer("location", &upper))])
    };
    let report = stage.try_send(&[vec![made], vec![moved], vec![within]]).await.unwrap();
    assert_eq!((report.parked, report.quarantined), (2, 1), "{report:?}");
    let waiting = stage.waiting(State::Quarantined).await;
    assert!(waiting[0].reason.contains("in case or blanks alone"), "{waiting:?}");
    // Also in later batches, and for what is tried again.
    let within = location(&uuid(), "Cot", Some(&upper));
    let changed = update("location", &upper, vec![("name", text("Still another"))]);
    let report = stage.try_send(&[vec![within], vec![changed]]).await.unwrap();
    assert_eq!((report.parked, report.quarantined), (1, 1), "{report:?}");
    assert_eq!(stage.retry_parked().await.released, 0);
    assert_eq!(stage.waiting(State::Parked).await.len(), 3);
    assert_eq!(stage.ask(&called).await.as_deref(), Some("Ward"));

    // Its delete is no delete of the row that is here.
    stage.try_send(&[vec![delete("location", &upper)]]).await.unwrap();
    assert_eq!(stage.ask(&called).await.as_deref(), Some("Ward"));
    assert_eq!(stage.waiting(State::Quarantined).await.len(), 0);
}

/// What rests on such a row is as far from being the other's.
async fn what_borrows_its_name_from_a_hidden_row_writes_nothing(stage: Stage) {
    let lower = uuid();
    let upper = lower.to_uppercase();
    stage.send(&[vec![person(&lower), patient(&lower)]]).await;
    let sick = with(&patient(&upper), vec![("allergy_status", text("See list"))]);
    let report = stage.try_send(&[vec![person(&upper), sick]]).await.unwrap();
    assert_eq!((report.parked, report.quarantined), (1, 1), "{report:?}");
    let found = format!(
        "SELECT allergy_status FROM patient JOIN person ON person_id = patient_id WHERE uuid = '{lower}'"
    );
    assert_eq!(stage.ask(&found).await.as_deref(), Some("Unknown"));
    stage.try_send(&[vec![delete("patient", &upper)]]).await.unwrap();
    assert_eq!(stage.ask(&found).await.as_deref(), Some("Unknown"));
}
